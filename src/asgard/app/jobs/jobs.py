"""Wishes about jobs: runs that wait for a worker, are tried again, and can be called off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from asgard.app.config.project import Project
from asgard.app.config.shared_database import Tables, open_database
from asgard.app.runs.history import journal_file
from asgard.core.errors import ConfigError
from asgard.schedule.timetable import instant_text
from asgard.state.journal import SqliteJournal
from asgard.state.queue import NAME, SCHEMA, SCHEMA_VERSION, Job, NewJob, Queue
from asgard.state.schedules import ScheduleStore

TABLES = Tables(NAME, "queue.db", "queue", SCHEMA, SCHEMA_VERSION)
TASK_FORMAT = 1
RUN = "run"
"""The kind of a task that is a run of the project."""
UNDONE = ("failed", "skipped", "cancelled")


@dataclass(frozen=True)
class JobStore:
    """The queue and the schedules of a project, opened."""

    queue: Queue
    schedules: ScheduleStore


@dataclass(frozen=True)
class Page:
    """Some of a list, the newest first; `next` is the cursor of the page behind it, None for the last."""

    items: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True)
class JobWish:
    """What a worker is to run; selectors, full_refresh and between are those of `app.runs.runs.RunWish`.

    Attributes:
        follow: reads logs on and on, until the worker is drained.
        queue, priority, attempts, timeout_seconds: see `state.queue.NewJob`.
        task: of a job that is no plain run, by `task_of`; None for one that is.
    """

    selectors: tuple[str, ...] = ()
    full_refresh: bool = False
    follow: bool = False
    queue: str = "default"
    priority: int = 0
    attempts: int = 4
    timeout_seconds: float | None = None
    between: tuple[str, str] | None = None
    task: Mapping[str, Any] | None = None


@contextmanager
def open_jobs(project: Project) -> Iterator[JobStore]:
    """The project's queue: a file of its state, or the PostgreSQL database that it names.

    Raises:
        Unreachable, AuthenticationError, ConfigError: the database cannot be used.
    """
    database = open_database(project, TABLES)
    queue = Queue(database, project.workspace)
    try:
        yield JobStore(queue, ScheduleStore(database, queue, project.workspace))
    finally:
        database.close()


def add_job(project: Project, wish: JobWish) -> dict[str, Any]:
    """Puts a run into the queue.

    Args:
        project: read with its sources: a job counts against the limits of those that it reads.
    """
    with open_jobs(project) as store:
        (job,) = store.queue.add([new_job(project, wish)])
        return as_dict(store.queue.job(job))


def new_job(
    project: Project, wish: JobWish, schedule: str | None = None, due_at: float | None = None
) -> NewJob:
    """A wish as the queue wants it."""
    return NewJob(
        task=_task(wish),
        queue=wish.queue,
        # Who follows never ends, and would hold the source's place for ever.
        sources=() if wish.follow or wish.task is not None else _sources_read(project, wish.selectors),
        alone=f"schedule {schedule}" if schedule is not None else None,
        schedule=schedule,
        priority=wish.priority,
        attempts=wish.attempts,
        timeout_seconds=wish.timeout_seconds,
        due_at=due_at,
    )


def _task(wish: JobWish) -> dict[str, Any]:
    if wish.task is not None:
        return dict(wish.task)
    return {
        "format": TASK_FORMAT,
        "kind": RUN,
        "selectors": list(wish.selectors),
        "full_refresh": wish.full_refresh,
        "follow": wish.follow,
        "between": list(wish.between) if wish.between else None,
    }


def task_of(kind: str, of: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The task of a job that is something else than a run of the project; `app.jobs.tasks` does it.

    Args:
        of: its own id among those of its kind.
        asked: what it takes; JSON values.
    """
    plain = {"selectors": [], "full_refresh": False, "follow": False, "between": None}
    return {"format": TASK_FORMAT, "kind": kind, "of": of, "asked": asked, **plain}


def _sources_read(project: Project, selectors: Sequence[str]) -> tuple[str, ...]:
    """The sources that a run may read: all of them where that hangs on models."""
    if not selectors or any(selector.startswith("+") for selector in selectors):
        return tuple(project.sources)
    heads = {selector.removeprefix("bronze.").split(".")[0] for selector in selectors}
    return tuple(name for name in project.sources if any(fnmatchcase(name, head) for head in heads))


def jobs(
    project: Project,
    *,
    status: str | None = None,
    schedule: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> Page:
    """The jobs, a page at a time.

    Args:
        before: the cursor of an earlier page.
    """
    with open_jobs(project) as store:
        found = store.queue.jobs(status=status, schedule=schedule, before=before, limit=limit + 1)
    return Page([as_dict(job) for job in found[:limit]], found[limit - 1].id if len(found) > limit else None)


def job(project: Project, job_id: str) -> dict[str, Any]:
    """One job, with the steps of its newest attempt where that ran on this machine.

    Raises:
        ConfigError: there is none of that id.
    """
    with open_jobs(project) as store:
        found = store.queue.job(job_id)
    return {**as_dict(found), "steps": _steps(project, found)}


def cancel_job(project: Project, job_id: str) -> dict[str, Any]:
    """Asks for the end of a job; its status is `cancelled` once its processes are gone.

    Raises:
        ConfigError: there is none of that id.
    """
    with open_jobs(project) as store:
        return as_dict(store.queue.cancel(job_id))


def rerun_job(project: Project, job_id: str, *, failed_only: bool = False) -> dict[str, Any]:
    """Puts the same run into the queue again.

    Args:
        failed_only: only what did not end well, as `bronze.shop.orders`.

    Raises:
        ConfigError: there is none of that id, or nothing of it failed.
    """
    with open_jobs(project) as store:
        old = store.queue.job(job_id)
    if old.task["kind"] != RUN:
        kind = old.task["kind"]
        raise ConfigError(f"job {job_id} is that of one {kind}", hint=f"POST /{kind} asks for another one")
    selectors = tuple(old.task["selectors"])
    if failed_only:
        selectors = tuple(step["step"] for step in _steps(project, old) if step["status"] in UNDONE)
        if not selectors:
            raise ConfigError(
                f"no step of job {job_id} is known to have failed", hint="leave --failed out to run all of it"
            )
    wish = JobWish(
        selectors, old.task["full_refresh"], old.task["follow"], old.queue, old.priority, old.attempts,
        old.timeout_seconds, tuple(old.task["between"]) if old.task["between"] else None,
    )  # fmt: skip
    return add_job(project, wish)


def log_of(project: Project, job_id: str) -> Path:
    """The file with what the newest attempt of a job says.

    Raises:
        ConfigError: there is no such job, it has not begun, or it ran on another machine.
    """
    with open_jobs(project) as store:
        found = store.queue.job(job_id)
    file = job_log(project.state_folder, run_of(found))
    if not file.exists():
        where = f"it ran at {found.worker}" if found.worker else "it has not begun"
        raise ConfigError(f"there is no log of job {job_id} here", hint=where)
    return file


def run_of(job: Job) -> str:
    """The id of the run that is the newest attempt of a job."""
    return job.id if job.attempt <= 1 else f"{job.id}-{job.attempt}"


def job_log(state_folder: Path, run: str) -> Path:
    """Where the words of an attempt go."""
    return state_folder / "jobs" / f"{run}.log"


def as_dict(job: Job) -> dict[str, Any]:
    """A job as JSON; what is not known is absent (Promise 8)."""
    known: dict[str, Any] = {
        "job": job.id,
        "status": "cancelling" if job.status == "running" and job.cancel_at is not None else job.status,
        "run": run_of(job) if job.attempt else None,
        "kind": job.task["kind"] if job.task["kind"] != RUN else None,
        "selectors": job.task["selectors"],
        "sources": list(job.sources),
        "full_refresh": job.task["full_refresh"] or None,
        "follow": job.task["follow"] or None,
        "between": job.task["between"],
        "schedule": job.schedule,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "attempts": job.attempts,
        "timeout_seconds": job.timeout_seconds,
        "worker": job.worker,
        "exit_code": job.exit_code,
        "error": job.error,
    }
    instants = ("created_at", "due_at", "started_at", "finished_at")
    known |= {name: _when(getattr(job, name)) for name in instants}
    return {name: value for name, value in known.items() if value is not None}


def _when(instant: float | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _steps(project: Project, job: Job) -> list[dict[str, Any]]:
    return SqliteJournal(journal_file(project.state_folder), project.workspace).steps(run_of(job))
