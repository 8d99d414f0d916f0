"""Jobs that are no plain run of the project: which work each kind is. Called by the process of a job."""

from __future__ import annotations

from asgard.app.config.project import load_project
from asgard.app.documents import ingestions, transforms
from asgard.app.documents.ingestions import ingest_task
from asgard.app.documents.transforming import transform_task
from asgard.app.jobs import upkeep
from asgard.app.jobs.jobs import open_jobs
from asgard.app.models import promotions
from asgard.app.tables import diffs
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.flow.run import Summary

WORK = {
    ingestions.KIND: ingest_task,
    transforms.KIND: transform_task,
    promotions.KIND: promotions.promote_task,
    diffs.KIND: diffs.diff_task,
    upkeep.KIND: upkeep.upkeep_task,
}


def do_task(
    project: str | None, env: str | None, job_id: str, run_id: str, emit: Emit, cancel: Cancel
) -> Summary:
    """Does the work of a job.

    Raises:
        ConfigError: there is none of that id, or it is of another kind.
    """
    opened = load_project(project, env, with_sources=False)
    with open_jobs(opened) as store:
        task = store.queue.job(job_id).task
    if task["kind"] not in WORK:
        kind = task["kind"]
        raise ConfigError(f"job {job_id} is of the kind {kind!r}", hint="asgard run does plain runs")
    return WORK[task["kind"]](opened, task, run_id, emit, cancel)
