"""Transforms that programs ask for over the API: one SELECT over a sink's tables, into a table of silver.

Each runs as a job of the queue, on the engine that the settings name: the embedded one, or Spark. What only
Spark has, is null in the status of the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgard.app.config.project import Project
from asgard.app.documents.documents import found, open_documents
from asgard.app.documents.sinks import first_sink, lake_of
from asgard.app.jobs import jobs
from asgard.app.runs.run_events import lines_of
from asgard.app.spark.transforms import chosen, driver_log, live, live_events, names_in
from asgard.core.errors import ConfigError
from asgard.core.events import Kind
from asgard.schedule.timetable import instant_text
from asgard.state.documents import Document
from asgard.state.queue import Job, NewJob

KIND = "transform"
QUEUE = "transforms"
ENGINE = "duckdb"
TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
STATES = {
    "queued": "SUBMITTED",
    "running": "RUNNING",
    "cancelling": "FAILING",
    "done": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}
"""The queue's words as the operator of Spark on Kubernetes says them; it has none for what was cancelled."""
AGAIN = "PENDING_RERUN"
OF_STATE = {
    **{state: status for status, state in STATES.items() if status != "cancelling"},
    AGAIN: "queued",
    "FAILING": "running",
}
WARNINGS = (Kind.WARNING, Kind.RETRIED, Kind.CRASHED)


@dataclass(frozen=True)
class NewTransform:
    """A transform as it is posted.

    Attributes:
        sql: exactly one SELECT.
        append: adds the rows to those that are there, instead of replacing them.
        table: the silver table, without its layer; by default one that belongs to this SQL alone.
        wanted: what a cluster is asked for; told again, and of no effect on the embedded engine.
    """

    sql: str
    append: bool = False
    table: str | None = None
    wanted: Mapping[str, Any] | None = None


def add_transform(project: Project, new: NewTransform) -> dict[str, Any]:
    """Puts a transform into the queue.

    Raises:
        QueryError: the SQL is not exactly one SELECT over tables.
        ConfigError: the table's name is none, or the table is a model's.
    """
    from asgard.transform.dependencies import names_read  # with sqlglot, which other wishes do not need

    names_read(new.sql)
    sink = first_sink(project)
    table = _table(project, new)
    asked: dict[str, Any] = {
        "sql": new.sql,
        "write_mode": "append" if new.append else "overwrite",
        "table": table,
        "sink": sink,
        "wanted": dict(new.wanted or {}),
        **chosen(project, sink),
    }
    run_id, job = _queued(project, asked)
    lake = lake_of(project, sink).location
    return {
        "run_id": run_id,
        "status": "submitted",
        "engine": asked.get("engine", ENGINE),
        "job_id": job,
        "table": f"silver.{table}",
        "destination": f"{lake.rstrip('/')}/silver/{table}",
        "write_mode": asked["write_mode"],
        **(new.wanted or {}),
    }


def status(project: Project, run_id: str) -> dict[str, Any]:
    """How one is going; every field is there, and null where this engine has none.

    Raises:
        ConfigError: there is none, or the queue has forgotten it.
    """
    job = _job(project, run_id)
    known = _status(run_id, job)
    if "spark" not in job.task["asked"]:
        return known
    if job.status == "running" and job.cancel_at is None:
        return {**known, **live(project, run_id, job.task["asked"])}
    return {**known, "executor_count": _measured(project, job).get("executors")}


def transforms(project: Project, state: str | None, before: str | None, limit: int) -> jobs.Page:
    """The transforms, the newest first.

    Raises:
        ConfigError: there is no such state.
    """
    if state is not None and state.upper() not in OF_STATE:
        raise ConfigError(f"there is no state {state!r}", hint=f"there are: {', '.join(sorted(OF_STATE))}")
    wanted = OF_STATE[state.upper()] if state else None
    with jobs.open_jobs(project) as store:
        listed = store.queue.jobs(status=wanted, queue=QUEUE, before=before, limit=limit + 1)
    items = [_status(job.task["of"], job) for job in listed[:limit]]
    return jobs.Page(items, listed[limit - 1].id if len(listed) > limit else None)


def logs(project: Project, run_id: str) -> dict[str, Any]:
    """What the newest attempt said; empty as long as it has not begun.

    Raises:
        ConfigError: there is none, or it ran on another machine.
    """
    job = _job(project, run_id)
    text = driver_log(project, run_id, job.task["asked"]) if job.attempt else ""
    if job.attempt and not text:
        text = jobs.log_of(project, job.id).read_text(errors="replace")
    return {"run_id": run_id, "state": _state(job), "logs": text}


def events(project: Project, run_id: str) -> dict[str, Any]:
    """What happened, in its order: to the job, and then in its newest attempt.

    Raises:
        ConfigError: there is none.
    """
    job = _job(project, run_id)
    told = [_event("Submitted", job.created_at, f"job {job.id} waits in the queue {job.queue}")]
    if job.started_at is not None:
        told.append(_event("Started", job.started_at, f"attempt {job.attempt} at {job.worker}"))
    told += sorted(
        [*live_events(project, run_id, job.task["asked"]), *_told_by_run(project, job)],
        key=lambda event: datetime.fromisoformat(event["timestamp"]),
    )
    if job.finished_at is not None:
        reason = STATES[job.status].capitalize()
        told.append(_event(reason, job.finished_at, job.error or "", good=job.status == "done"))
    return {"run_id": run_id, "events": told}


def metrics(project: Project, run_id: str) -> dict[str, Any]:
    """What it took, and how much it read and wrote; null where that is not known.

    Raises:
        ConfigError: there is none.
    """
    job = _job(project, run_id)
    known = _measured(project, job)
    end = job.finished_at
    took = None if end is None or job.started_at is None else round(end - job.started_at, 3)
    figures = ("rows_in", "bytes_in", "rows_out", "bytes_out", "peak_memory_bytes", "executors")
    return {
        "run_id": run_id,
        "state": _state(job),
        "engine": job.task["asked"].get("engine", ENGINE),
        "duration_seconds": known.get("duration_seconds", took),
        **{name: known.get(name) for name in figures},
    }


def _table(project: Project, new: NewTransform) -> str:
    if new.table is None:
        # Its own for each SQL: nobody's rows are replaced by those of somebody else's question.
        return f"sql_{hashlib.sha256(' '.join(new.sql.split()).encode()).hexdigest()[:8]}"
    name = new.table.removeprefix("silver.")
    if not TABLE_NAME.fullmatch(name):
        raise ConfigError(f"{new.table!r} cannot be a table's name", hint="use letters, digits and _")
    from asgard.app.project.model_files import read_models

    if any(model.name.layer == "silver" and model.name.name == name for model in read_models(project)):
        raise ConfigError(f"silver.{name} is made by a model", hint="give the result another name")
    return name


def _queued(project: Project, asked: Mapping[str, Any]) -> tuple[str, str]:
    """The run's id and the job's."""
    with open_documents(project) as documents, jobs.open_jobs(project) as store:
        documents.forget(KIND, project.queue.keep_days)
        while documents.get(KIND, run_id := os.urandom(4).hex()) is not None:
            pass  # eight digits are few
        task = jobs.task_of(KIND, run_id, asked)
        alone = f"{KIND} into {asked['sink']} {asked['table'].casefold()}"
        (job,) = store.queue.add([NewJob(task, queue=QUEUE, alone=alone)])
        documents.add(Document(KIND, run_id, run_id, {"job": job}))
    return run_id, job


def _job(project: Project, run_id: str) -> Job:
    document = found(project, KIND, run_id)
    with jobs.open_jobs(project) as store:
        return store.queue.job(document.body["job"])


def _state(job: Job) -> str:
    if job.status == "queued" and job.attempt:
        return AGAIN
    cancelling = job.status == "running" and job.cancel_at is not None
    return STATES["cancelling" if cancelling else job.status]


def _status(run_id: str, job: Job) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "spark_application": None,
        "namespace": None,
        "state": _state(job),
        "driver_pod": None,
        "executor_count": None,
        "creation_time": instant_text(job.created_at),
        "spark_version": None,
        "engine": ENGINE,
        "job_id": job.id,
        "table": f"silver.{job.task['asked']['table']}",
        "write_mode": job.task["asked"]["write_mode"],
        "attempt": job.attempt,
        "error": job.error,
        **names_in(run_id, job.task["asked"]),
    }


def _event(reason: str, instant: float, message: str, *, good: bool = True) -> dict[str, Any]:
    kind = "Normal" if good else "Warning"
    return {
        "type": kind, "reason": reason, "message": message, "timestamp": instant_text(instant), "data": {}
    }  # fmt: skip


def _told_by_run(project: Project, job: Job) -> list[dict[str, Any]]:
    return [
        {
            "type": "Warning" if "error" in event or event["event"] in WARNINGS else "Normal",
            "reason": event["event"],
            "message": _message(event),
            "timestamp": event["at"],
            "data": {key: value for key, value in event.items() if key not in ("at", "event", "run")},
        }
        for event in _log(project, job)
    ]


def _message(event: Mapping[str, Any]) -> str:
    error = event.get("error")
    if isinstance(error, dict):
        return str(error.get("what", ""))
    return " ".join(str(event[key]) for key in ("step", "phase", "what", "status") if key in event)


def _measured(project: Project, job: Job) -> dict[str, Any]:
    """The figures of the newest attempt; empty where they are not known."""
    known: dict[str, Any] = {}
    for event in _log(project, job):
        if event["event"] == Kind.MEASURED:
            known = event
    return known


def _log(project: Project, job: Job) -> Iterator[dict[str, Any]]:
    """The events of the newest attempt; of another machine's where machines share their state."""
    if job.attempt:
        yield from map(json.loads, lines_of(project, jobs.run_of(job)))
