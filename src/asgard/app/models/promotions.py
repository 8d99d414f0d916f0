"""Wishes about promotions from elsewhere: shown as a plan, and done by a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgard.app.config.project import Project
from asgard.app.jobs.jobs import as_dict, open_jobs, task_of
from asgard.app.models.promote import promote, promotions, way_out
from asgard.app.project.workspace import Workspace
from asgard.core.cancel import Cancel
from asgard.core.errors import Refused
from asgard.core.events import Emit
from asgard.flow.run import Summary
from asgard.state.queue import NewJob

KIND = "promotion"


def planned_promotion(project: Project, environment: str) -> dict[str, Any]:
    """What a promotion would do, as JSON.

    Raises:
        ConfigError: there is no such environment, or it is not beside production.
    """
    workspace = Workspace.open(project.file, environment, with_sources=False)
    return {"environment": environment, "tables": [one.as_dict() for one in promotions(workspace)]}


def add_promotion(project: Project, environment: str, *, force: bool = False) -> dict[str, Any]:
    """Puts a promotion into the queue; the answer is its job. Of one environment one is done at a time.

    Raises:
        ConfigError: there is no such environment, or it is not beside production.
        Refused: a table is stale or in conflict, as things are now.
    """
    workspace = Workspace.open(project.file, environment, with_sources=False)
    planned = promotions(workspace)
    wrong = [f"{one.name}: {one.problem}" for one in planned if one.stale or (one.conflict and not force)]
    if wrong:
        raise Refused("; ".join(wrong), hint=way_out(environment))
    asked = {"environment": environment, "force": force}
    with open_jobs(project) as store:
        # Tried once: a promotion that was broken off is looked at again by who asked for it.
        new = NewJob(task_of(KIND, environment, asked), alone=f"{KIND} of {environment}", attempts=1)
        (job,) = store.queue.add([new])
        return as_dict(store.queue.job(job))


def promote_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Promotes; called by the process of its job.

    Raises:
        ConfigError, Refused: as for `promote`.
    """
    asked = task["asked"]
    workspace = Workspace.open(project.file, asked["environment"], with_sources=False)
    return promote(workspace, emit, cancel, force=asked["force"], run_id=run_id)
