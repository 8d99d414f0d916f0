"""`asgard jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from asgard.cli.options import json_option, project_options
from asgard.cli.output import cell_text, print_json, print_table

if TYPE_CHECKING:
    from asgard.app.config.project import Project

STATUSES = ("queued", "running", "done", "failed", "cancelled")


@click.group(invoke_without_command=True)
@click.option("--status", type=click.Choice(STATUSES), help="Only those of this status.")
@click.option("--schedule", metavar="NAME", help="Only those of this schedule.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@click.option("--before", metavar="JOB", help="Only older ones: the next page.")
@project_options
@json_option
@click.pass_context
def jobs(
    ctx: click.Context,
    status: str | None,
    schedule: str | None,
    limit: int,
    before: str | None,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """List jobs, the newest first; add, show, cancel or rerun one."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.jobs.jobs import jobs as list_jobs

    page = list_jobs(_read(project, env), status=status, schedule=schedule, before=before, limit=limit)
    if as_json:
        print_json({"jobs": page.items, "next": page.next})
        return
    print_table(
        ["job", "status", "attempt", "schedule", "selected", "due (UTC)", "error"],
        (
            (
                one["job"],
                one["status"],
                f"{one['attempt']}/{one['attempts']}",
                one.get("schedule"),
                " ".join(one["selectors"]) or "everything",
                one["due_at"][:19].replace("T", " "),
                cell_text(one.get("error")),
            )
            for one in page.items
        ),
    )
    if page.next is not None:
        click.echo(f"more: --before {page.next}", err=True)


@jobs.command("add")
@click.argument("selectors", nargs=-1)
@click.option("--full-refresh", is_flag=True, help="Read everything anew and replace the tables.")
@click.option("--follow", is_flag=True, help="Go on reading logs (Kafka) until the worker is drained.")
@click.option("--queue", default="default", show_default=True, help="The queue whose limit counts.")
@click.option("--priority", default=0, show_default=True, help="Higher ones go first.")
@click.option(
    "--attempts", default=4, show_default=True, type=click.IntRange(1), help="How often it is tried."
)
@click.option("--timeout", metavar="DURATION", help="An attempt that takes longer is ended: 90m.")
@project_options
@json_option
def add(
    selectors: tuple[str, ...],
    full_refresh: bool,
    follow: bool,
    queue: str,
    priority: int,
    attempts: int,
    timeout: str | None,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Let a worker run SELECTORS, as `asgard run` would."""
    from asgard.app.config.quantities import parse_duration
    from asgard.app.jobs.jobs import JobWish, add_job

    seconds = None if timeout is None else parse_duration(timeout)
    wish = JobWish(selectors, full_refresh, follow, queue, priority, attempts, seconds)
    _show(add_job(_read(project, env, with_sources=True), wish), as_json)


@jobs.command("backfill")
@click.argument("selectors", nargs=-1, required=True)
@click.option(
    "--between", nargs=2, metavar="FROM TO", required=True, help="The range of the cursor, TO left out."
)
@click.option("--chunk", metavar="SIZE", help="One job for every 1d (of times) or 100000 (of numbers).")
@click.option("--priority", default=-1, show_default=True, help="Higher ones go first.")
@project_options
@json_option
def backfill(
    selectors: tuple[str, ...],
    between: tuple[str, str],
    chunk: str | None,
    priority: int,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Read the rows of a range of the cursor again, and merge them; the next run goes on where it would have.

    For tables with `mode: merge` and a cursor, of sources that take an SQL condition.
    """
    from asgard.app.jobs.jobs import JobWish
    from asgard.app.sources.backfill import add_backfill

    wish = JobWish(selectors, priority=priority, between=between)
    added = add_backfill(_read(project, env, with_sources=True), wish, chunk)
    if as_json:
        print_json(added)
        return
    for job in added:
        click.echo(f"job {job['job']} {' to '.join(job['between'])} {job['status']}")


@jobs.command("show")
@click.argument("job_id")
@project_options
@json_option
def show(job_id: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show a job, and the steps of its newest attempt."""
    from asgard.app.jobs.jobs import job

    found = job(_read(project, env), job_id)
    if as_json:
        print_json(found)
        return
    steps = found.pop("steps")
    print_table(["", "value"], ((name, cell_text(value, 500)) for name, value in found.items()))
    if steps:
        click.echo()
        print_table(
            ["step", "status", "rows read"], ((s["step"], s["status"], s["rows_read"]) for s in steps)
        )


@jobs.command("log")
@click.argument("job_id")
@project_options
def log(job_id: str, project: str | None, env: str | None) -> None:
    """Print what the newest attempt of a job said."""
    from asgard.app.jobs.jobs import log_of

    click.echo(log_of(_read(project, env), job_id).read_text(errors="replace"), nl=False)


@jobs.command("cancel")
@click.argument("job_id")
@project_options
@json_option
def cancel(job_id: str, project: str | None, env: str | None, as_json: bool) -> None:
    """End a job; what its run has committed stays."""
    from asgard.app.jobs.jobs import cancel_job

    _show(cancel_job(_read(project, env), job_id), as_json)


@jobs.command("rerun")
@click.argument("job_id")
@click.option("--failed", is_flag=True, help="Only the tables and models that did not end well.")
@project_options
@json_option
def rerun(job_id: str, failed: bool, project: str | None, env: str | None, as_json: bool) -> None:
    """Put the same run into the queue again."""
    from asgard.app.jobs.jobs import rerun_job

    _show(rerun_job(_read(project, env, with_sources=True), job_id, failed_only=failed), as_json)


def _show(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        click.echo(f"job {job['job']} {job['status']}")


def _read(project: str | None, env: str | None, *, with_sources: bool = False) -> Project:
    from asgard.app.config.project import load_project

    return load_project(project, env, with_sources=with_sources)
