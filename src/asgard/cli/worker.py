"""`asgard worker`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, project_options
from asgard.cli.runs import drained_by_signals

if TYPE_CHECKING:
    from asgard.core.events import Event


@click.command()
@click.option(
    "--slots", default=2, show_default=True, type=click.IntRange(1, 64), help="Jobs at the same time."
)
@click.option("--no-clock", is_flag=True, help="Do not ask for what schedules have due; only run jobs.")
@click.option("--until-idle", is_flag=True, help="End when no job waits or runs.")
@click.option(
    "--lease",
    "lease_seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=2),
    help="Seconds after which the jobs of a worker that is not heard of are given to another.",
)
@project_options
@json_option
def worker(
    slots: int,
    no_clock: bool,
    until_idle: bool,
    lease_seconds: float,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Run jobs from the queue, and ask for those that schedules have due.

    The first SIGTERM or Ctrl-C drains: no new job, and the end when those that run have ended. The second one
    ends them too; they wait for another worker.
    """
    from asgard.app.jobs.worker import WorkerWish, work

    wish = WorkerWish(project, env, slots, not no_clock, until_idle, lease_seconds)
    with drained_by_signals() as (drain, stop):
        work(wish, _say_json if as_json else _say, drain, stop)


def _say_json(event: Event) -> None:
    click.echo(json.dumps(event.as_dict()))


def _say(event: Event) -> None:
    told = event.data
    if "job" not in told:
        click.secho(f"warning: {told['what']}", fg="yellow", err=True)
        return
    attempt = f" (attempt {told['attempt']})" if told["attempt"] > 1 else ""
    whose = f" of {told['schedule']}" if "schedule" in told else ""
    said = {"queued": "to be tried again"}.get(told.get("status", ""), told.get("status", "started"))
    error = f": {told['error']}" if "error" in told else ""
    click.echo(f"{event.at:%H:%M:%S} job {told['job']}{whose}{attempt} {said}{error}", err=True)
