"""`asgard airbyte`: the connections of an Airbyte server, run and called off from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option
from asgard.cli.output import print_json, print_table, size_text
from asgard.cli.runs import cancelled_by_signals

if TYPE_CHECKING:
    from asgard.core.events import Event

TYPES = ("sync", "reset", "refresh", "clear")
workspace_option = click.option(
    "--workspace", metavar="NAME", help="Airbyte's workspace, by name or id; default: all that can be seen."
)


@click.group()
def airbyte() -> None:
    """Run connections of the Airbyte server at AIRBYTE_BASE_URL.

    AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET are those of an application there. They may stand in .env too.
    """


@airbyte.command()
@json_option
def check(as_json: bool) -> None:
    """Sign in, and show the workspaces."""
    from asgard.app.airbyte.server import check_airbyte, open_airbyte

    with open_airbyte() as client:
        found = check_airbyte(client)
    if as_json:
        print_json(found)
        return
    print_table(["workspace", "id"], ((one["name"], one["id"]) for one in found["workspaces"]))
    click.echo(f"{found['url']} answers", err=True)


@airbyte.command()
@workspace_option
@json_option
def connections(workspace: str | None, as_json: bool) -> None:
    """List the connections."""
    from asgard.app.airbyte.server import connection_as_dict, list_connections, open_airbyte

    with open_airbyte() as client:
        found = [connection_as_dict(one) for one in list_connections(client, workspace)]
    if as_json:
        print_json({"connections": found})
    else:
        print_table(
            ["connection", "status", "id"], ((one["name"], one["status"], one["connection"]) for one in found)
        )


@airbyte.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Follow the job to its end; Ctrl-C cancels it.")
@click.option("--type", "job_type", type=click.Choice(TYPES), default="sync", show_default=True)
@workspace_option
@json_option
def sync(name: str, wait: bool, job_type: str, workspace: str | None, as_json: bool) -> None:
    """Start a job of the connection NAME (or of its id); with --wait, the exit code says how it ended."""
    from asgard.app.airbyte.jobs import job_as_dict, job_error, run_job, start_job
    from asgard.app.airbyte.server import find_connection, open_airbyte

    with cancelled_by_signals() as cancel, open_airbyte(cancel) as client:
        connection = find_connection(client, name, workspace)
        if wait:
            job = run_job(client, connection, _tell, job_type)
        else:
            job = start_job(client, connection, job_type)
    if job.has_ended and (error := job_error(job, connection.name)) is not None:
        raise error
    if as_json:
        print_json(job_as_dict(job))
        return
    moved = [f"{job.rows:,} rows" if job.rows is not None else "", size_text(job.size_bytes)]
    figures = "".join(f", {figure}" for figure in moved if figure)
    click.echo(f"job {job.id} of {connection.name} is {job.state}{figures}")


@airbyte.command()
@click.argument("which", metavar="JOB|NAME")
@workspace_option
@json_option
def cancel(which: str, workspace: str | None, as_json: bool) -> None:
    """End a job, by its number, or the one that is under way of a connection; wait until it has ended."""
    from asgard.app.airbyte.jobs import cancel_job, job_as_dict, job_under_way
    from asgard.app.airbyte.server import find_connection, open_airbyte

    with cancelled_by_signals() as asked, open_airbyte(asked) as client:
        if which.isascii() and which.isdigit():
            job_id = int(which)
        else:
            job_id = job_under_way(client, find_connection(client, which, workspace)).id
        job = cancel_job(client, job_id)
    if as_json:
        print_json(job_as_dict(job))
    else:
        click.echo(f"job {job.id} is {job.state}")


def _tell(event: Event) -> None:
    """What happens on the way, for people; the result alone goes to standard output."""
    data = event.data
    if event.kind == "step.phase":
        click.echo(f"{event.step}: {data['phase']}", err=True)
    elif event.kind == "step.progress" and "rows" in data:
        size = f", {size_text(data['bytes'])}" if "bytes" in data else ""
        click.echo(f"{event.step}: {data['rows']:,} rows{size}", err=True)
    elif event.kind == "warning":
        click.echo(f"{event.step}: {data['what']}; {data['hint']}", err=True)
