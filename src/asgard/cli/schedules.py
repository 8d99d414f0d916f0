"""`asgard schedules`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, project_options
from asgard.cli.output import print_json, print_table

if TYPE_CHECKING:
    from asgard.app.config.project import Project


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def schedules(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List schedules; pause, resume, run one now, or show its next times."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.jobs.schedules import listed

    found = listed(_read(project, env))
    if as_json:
        print_json(found)
        return
    print_table(
        ["schedule", "when", "runs", "next (UTC)", "last job"],
        (
            (
                one["schedule"],
                one["when"],
                " ".join(one["selectors"]) or "everything",
                "paused" if one["paused"] else one.get("next", "")[:19].replace("T", " "),
                one.get("last_job", {}).get("status"),
            )
            for one in found
        ),
    )


@schedules.command("pause")
@click.argument("name")
@project_options
def pause(name: str, project: str | None, env: str | None) -> None:
    """Let a schedule ask for no more jobs; one that runs goes on."""
    from asgard.app.jobs.schedules import pause as do_pause

    do_pause(_read(project, env), name, paused=True)
    click.echo(f"{name} is paused")


@schedules.command("resume")
@click.argument("name")
@project_options
def resume(name: str, project: str | None, env: str | None) -> None:
    """Let a schedule go on; `catch_up` says what becomes of the times that passed."""
    from asgard.app.jobs.schedules import pause as do_pause

    do_pause(_read(project, env), name, paused=False)
    click.echo(f"{name} goes on")


@schedules.command("run")
@click.argument("name")
@project_options
@json_option
def run(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Put a schedule's job into the queue now."""
    from asgard.app.jobs.schedules import run_now

    job = run_now(_read(project, env), name)
    if as_json:
        print_json(job)
    else:
        click.echo(f"job {job['job']} {job['status']}")


@schedules.command("next")
@click.argument("name")
@click.option("--count", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@project_options
@json_option
def next_(name: str, count: int, project: str | None, env: str | None, as_json: bool) -> None:
    """Show the next times of a schedule; none for one that waits for files or another schedule."""
    from asgard.app.jobs.schedules import next_times

    times = next_times(_read(project, env), name, count)
    if as_json:
        print_json(times)
        return
    for instant in times:
        click.echo(instant)


def _read(project: str | None, env: str | None) -> Project:
    from asgard.app.config.project import load_project

    return load_project(project, env)
