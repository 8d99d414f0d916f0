"""Upkeep as a job: asked for over the API, or by the schedule that `maintenance:` of the project makes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from asgard.app.config.project import Project
from asgard.app.config.schedule_specs import MaintenanceSpec
from asgard.app.jobs.jobs import JobWish, add_job, task_of
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.app.tables.maintenance import UpkeepWish, maintain
from asgard.core.cancel import Cancel
from asgard.core.events import Emit
from asgard.flow.outcome import Outcome, Status
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import to_all

KIND = "maintenance"
STEP = "upkeep"


def upkeep_job(spec: MaintenanceSpec, asked: Mapping[str, Any] | None = None) -> JobWish:
    """The job of one upkeep.

    Args:
        asked: fields of `MaintenanceSpec` that go before the project's, as JSON.
    """
    task = task_of(KIND, of=str(uuid.uuid4()), asked=dict(asked or {}))
    return JobWish(queue=spec.queue, priority=spec.priority, timeout_seconds=spec.timeout, task=task)


def add_upkeep(project: Project, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Puts an upkeep into the queue; gives its job.

    Raises:
        ConfigError: there is no table of a name, or too little would be kept.
    """
    wish = wish_of(project.maintenance, asked)
    wish.check()
    if wish.tables:
        workspace = Workspace.open(project.file, project.environment, with_sources=False)
        for name in wish.tables:
            workspace.table(name)
    return add_job(project, upkeep_job(project.maintenance, asked))


def wish_of(spec: MaintenanceSpec, asked: Mapping[str, Any], run: str = "") -> UpkeepWish:
    """What a project wants of upkeep, with what goes before it."""
    told = {**spec.model_dump(), **{name: value for name, value in asked.items() if value is not None}}
    return UpkeepWish(
        tables=tuple(told["tables"]),
        keep=timedelta(seconds=told["keep"]),
        keep_log=timedelta(seconds=told["keep_log"]),
        seconds=told["budget"],
        size_bytes=told["budget_bytes"],
        cluster=told["cluster"],
        dry_run=bool(told.get("dry_run")),
        run=run,
    )


def upkeep_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Looks after the tables of a project; called by the process of its job.

    Raises:
        ConfigError: a table was taken away since it was asked for.
    """
    workspace = Workspace.open(project.file, project.environment, with_sources=False)
    log = RunLog(project, run_id)
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel or Cancel(),
        emit=to_all([emit, log]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
    )
    wish = wish_of(project.maintenance, task["asked"], run_id)

    def work(setting: Setting) -> Outcome:
        done = maintain(workspace, wish, setting.emit, setting.cancel)
        setting.cancel.check()
        outcome = Outcome(setting.step, about={"tables": [one.as_dict() for one in done]})
        errors = [one.error for one in done if one.error is not None]
        if errors:
            outcome.status, outcome.error = Status.FAILED, errors[0]
        return outcome

    try:
        selector = " ".join([KIND, *wish.tables])
        return run_steps([Step(STEP, work)], setting, workspace.journal, selector, str(project.file))
    finally:
        log.close()
