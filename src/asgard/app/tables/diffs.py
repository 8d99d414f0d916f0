"""Wishes about comparisons from elsewhere: a worker makes them, and their result stays with its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from asgard.app.config.project import Project
from asgard.app.jobs.jobs import as_dict, job, open_jobs, task_of
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.app.tables.diff import DiffWish, check_wish, diff, diff_as_dict
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.flow.outcome import Outcome
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import to_all
from asgard.state.queue import NewJob

KIND = "diff"


def add_diff(project: Project, wish: DiffWish) -> dict[str, Any]:
    """Puts a comparison into the queue; the answer is its job.

    Raises:
        ConfigError: there is no such table, version, column or environment.
    """
    check_wish(_opened(project), wish)
    asked = asdict(wish)
    with open_jobs(project) as store:
        (added,) = store.queue.add([NewJob(task_of(KIND, _said(wish), asked), attempts=2)])
        return as_dict(store.queue.job(added))


def found_diff(project: Project, job_id: str) -> dict[str, Any]:
    """A comparison: its job, and once it is done its `result`, as `asgard diff --json` prints it.

    Raises:
        ConfigError: there is none of that id.
    """
    known = job(project, job_id)
    if known.get("kind") != KIND:
        raise ConfigError(f"there is no comparison {job_id!r}", hint="POST /diffs makes one")
    steps = known.pop("steps")
    result = next((step["diff"] for step in steps if "diff" in step), None)
    return {**known, **({} if result is None else {"result": result})}


def diff_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Compares; called by the process of its job."""
    asked = {**task["asked"], "keys": tuple(task["asked"]["keys"]), "ignore": tuple(task["asked"]["ignore"])}
    wish = DiffWish(**asked)
    workspace = Workspace(project)
    log = RunLog(project, run_id)
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel or Cancel(),
        emit=to_all([emit, log]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
    )

    def work(setting: Setting) -> Outcome:
        outcome = Outcome(setting.step)
        outcome.about["diff"] = diff_as_dict(diff(_opened(project), wish, setting.cancel))
        return outcome

    try:
        step = Step(f"diff {_said(wish)}", work)
        return run_steps([step], setting, workspace.journal, step.name, str(project.file))
    finally:
        log.close()


def _said(wish: DiffWish) -> str:
    return f"{wish.a} {wish.b or wish.a}"


def _opened(project: Project) -> Callable[[str | None], Workspace]:
    def opened(environment: str | None) -> Workspace:
        return Workspace.open(project.file, environment or project.environment, with_sources=False)

    return opened
