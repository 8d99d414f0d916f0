"""`asgard run` and `asgard runs`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgard.app.runs.drift_lines import drift_lines
from asgard.cli.options import budget_options, json_option, open_workspace, project_options
from asgard.cli.output import cell_text, print_json, print_table, seconds_text

if TYPE_CHECKING:
    from asgard.app.runs.runs import Summary
    from asgard.core.cancel import Cancel
    from asgard.core.events import Emit


@click.command()
@click.argument("selectors", nargs=-1)
@click.option(
    "--full-refresh", "--full", is_flag=True, help="Read and build everything anew, and replace the tables."
)
@click.option(
    "--follow",
    is_flag=True,
    help="Go on reading logs (Kafka) until Ctrl-C or SIGTERM; what was read stays.",
)
@click.option("--config", "config_file", metavar="FILE", help="Load a file with one `data:` block instead.")
@click.option(
    "--to", "to_table", metavar="TABLE", help="With --config: load into the lake, as bronze.NAME.TABLE."
)
@click.option(
    "--between",
    nargs=2,
    metavar="FROM TO",
    help="Only rows whose cursor is in this range, TO left out; merged, whatever was read before.",
)
@click.option("--run-id", default="", hidden=True, help="What the run is called, for who started it.")
@click.option("--job", "job_id", hidden=True, help="The job that is done, if it is no plain run.")
@project_options
@budget_options
@json_option
def run(
    selectors: tuple[str, ...],
    full_refresh: bool,
    follow: bool,
    config_file: str | None,
    to_table: str | None,
    between: tuple[str, str] | None,
    run_id: str,
    job_id: str | None,
    project: str | None,
    env: str | None,
    memory: str | None,
    parallel: int | None,
    as_json: bool,
) -> int:
    """Load sources and build models.

    SELECTORS: a source (shop), a stream (shop.orders), a table (bronze.shop.orders), a model (gold.revenue),
    a model with what it reads (+gold.revenue), globs (silver.*). Without any: everything.
    """
    if follow and (full_refresh or config_file is not None):
        raise click.UsageError("--follow goes with neither --full-refresh nor --config")
    if between is not None and (follow or full_refresh or config_file is not None):
        raise click.UsageError("--between goes with none of --follow, --full-refresh and --config")
    if config_file is not None and to_table is None:
        return _show_block(config_file, as_json)
    from asgard.app.runs.runs import RunWish
    from asgard.app.runs.runs import run as do_run

    def start(emit: Emit, cancel: Cancel, drain: Cancel | None) -> Summary:
        if job_id is not None:
            from asgard.app.jobs.tasks import do_task

            return do_task(project, env, job_id, run_id, emit, cancel)
        if config_file is not None and to_table is not None:
            from asgard.app.runs.block_runs import load_block

            return load_block(Path(config_file), to_table, emit, cancel)
        workspace = open_workspace(project, env, memory, parallel)
        return do_run(workspace, RunWish(selectors, full_refresh, drain, run_id, between), emit, cancel)

    with ExitStack() as stack:
        drain = None
        if follow:
            drain, cancel = stack.enter_context(drained_by_signals())
        else:
            cancel = stack.enter_context(cancelled_by_signals())
        if as_json:
            return start(lambda event: click.echo(json.dumps(event.as_dict())), cancel, drain).exit_code
        from asgard.cli.screen import Screen

        summary = start(stack.enter_context(Screen()), cancel, drain)
    rows = sum(outcome.rows_read for outcome in summary.outcomes)
    colour = "green" if summary.status == "done" else "red"
    figures = f"{len(summary.outcomes)} steps, {rows:,} rows in {seconds_text(summary.seconds)}"
    click.echo(f"{click.style(summary.status, fg=colour, bold=True)}: {figures}, run {summary.run}", err=True)
    return summary.exit_code


def _show_block(config_file: str, as_json: bool) -> int:
    from asgard.app.runs.block_runs import sample_block
    from asgard.app.tables.rows import json_rows, text_rows

    rows = sample_block(Path(config_file))
    if as_json:
        schema = {field.name: str(field.type) for field in rows.schema}
        print_json({"schema": schema, "rows": json_rows(rows.to_batches())})
        return 0
    print_table(["column", "type"], ((field.name, field.type) for field in rows.schema))
    click.echo()
    print_table(rows.schema.names, text_rows(rows.to_batches()))
    click.echo("--to bronze.SOURCE.TABLE loads it into the lake", err=True)
    return 0


@contextmanager
def cancelled_by_signals() -> Iterator[Cancel]:
    """A Cancel that the first Ctrl-C or SIGTERM asks; the second Ctrl-C ends the process as usual."""
    from asgard.core.cancel import Cancel

    cancel = Cancel()
    with _signals_ask([cancel]):
        yield cancel


@contextmanager
def drained_by_signals() -> Iterator[tuple[Cancel, Cancel]]:
    """A drain that the first Ctrl-C or SIGTERM asks, and a Cancel that the second does."""
    from asgard.core.cancel import Cancel

    drain, cancel = Cancel(), Cancel()
    with _signals_ask([drain, cancel]):
        yield drain, cancel


@contextmanager
def _signals_ask(asked: list[Cancel]) -> Iterator[None]:
    """Each signal asks the next; when nobody is left, Ctrl-C ends the process as usual."""
    left = list(asked)

    def on_signal(number: int, frame: Any) -> None:
        if len(left) == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if left:
            # In a thread of its own: a handler must not wait for locks that the interrupted code may hold.
            why = f"stopped by {signal.Signals(number).name}"
            threading.Thread(target=left.pop(0).cancel, args=(why,)).start()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


NOT_SEEN = "set detect_deletes: keys, soft_delete, or mode: replace to see them"


@click.group(invoke_without_command=True)
@click.option("--limit", default=20, show_default=True, help="How many, the newest first.")
@project_options
@json_option
@click.pass_context
def runs(ctx: click.Context, limit: int, project: str | None, env: str | None, as_json: bool) -> None:
    """List past runs, show one, or its log."""
    if ctx.invoked_subcommand is not None:
        return
    found = _runs(project, env, limit)
    if as_json:
        print_json(found)
        return
    machines = len({one.get("machine") for one in found}) > 1
    print_table(
        ["run", *(["machine"] if machines else []), "started (UTC)", "status", "steps", "time", "selected"],
        (
            (
                one["run"],
                *([one.get("machine")] if machines else []),
                one["started_at"][:19].replace("T", " "),
                one["status"],
                len(one.get("steps", [])) or None,
                seconds_text(one["seconds"]) if "seconds" in one else None,
                one["selector"] or "everything",
            )
            for one in found
        ),
        right=["steps", "time"],
    )


@runs.command("show")
@click.argument("run_id")
@project_options
@json_option
def show(run_id: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show the steps of a run: what was read, checked, set aside, and what failed."""
    steps = _steps(project, env, run_id)
    if not steps:
        raise click.UsageError(f"there is no run {run_id!r}, or none of its steps has ended; see asgard runs")
    if as_json:
        print_json(steps)
        return
    print_table(
        ["step", "status", "rows read", "set aside", "version", "time", "error"],
        (
            (
                step["step"],
                step["status"],
                step["rows_read"],
                step["quarantined"] or None,
                step.get("version"),
                seconds_text(step["seconds"]),
                cell_text(step["error"]["what"]) if "error" in step else None,
            )
            for step in steps
        ),
        right=["rows read", "set aside", "version", "time"],
    )
    for step in steps:
        for line in drift_lines(step.get("schema_changes", {})):
            click.echo(f"{step['step']}: {line}")
        if step.get("deletes") == "not seen":
            click.echo(f"{step['step']}: rows that the source deletes stay: {NOT_SEEN}")


@runs.command("log")
@click.argument("run_id")
@project_options
def log(run_id: str, project: str | None, env: str | None) -> None:
    """Print the events of a run, one JSON line each."""
    from asgard.app.runs.history import log_file, place

    file = log_file(place(project, env)[0], Path(run_id).name)
    if file.exists():
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                click.echo(line, nl=False)
    elif not _told_elsewhere(run_id, project, env):
        raise click.UsageError(f"there is no log of a run {run_id!r}; see asgard runs")


def _told_elsewhere(run_id: str, project: str | None, env: str | None) -> bool:
    """Prints the events of a run on another machine that shares the queue; False when there are none."""
    from asgard.app.config.project import load_project
    from asgard.app.runs.run_events import lines_of

    told = False
    for line in lines_of(load_project(project, env, with_sources=False), Path(run_id).name):
        click.echo(line)
        told = True
    return told


def _runs(project: str | None, env: str | None, limit: int) -> list[dict[str, Any]]:
    from asgard.app.runs.history import is_shared, open_journal

    if not is_shared(project, env):
        return list(open_journal(project, env).runs(limit))
    from asgard.app.config.project import load_project
    from asgard.app.runs.shared_runs import runs_anywhere

    return runs_anywhere(load_project(project, env, with_sources=False), limit)


def _steps(project: str | None, env: str | None, run_id: str) -> list[dict[str, Any]]:
    from asgard.app.runs.history import is_shared, open_journal

    if not is_shared(project, env):
        return open_journal(project, env).steps(run_id)
    from asgard.app.config.project import load_project
    from asgard.app.runs.shared_runs import run_anywhere

    found = run_anywhere(load_project(project, env, with_sources=False), run_id)
    return found["steps"] if found is not None else []
