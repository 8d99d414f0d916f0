"""Ingestions that Airbyte moves: a connection there, and a job of ours that starts its sync and follows it.

A job that is tried again, because its worker was killed, follows the sync that was started, and starts no
second one (Promise 1): which one it was is in a document of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from asgard.app.airbyte.documents import id_at_airbyte
from asgard.app.airbyte.jobs import cancel_job, follow_job, job_error, job_under_way, start_job
from asgard.app.airbyte.server import airbyte_settings, open_airbyte, put_connection
from asgard.app.airbyte.words import stream_words
from asgard.app.config.project import Project
from asgard.app.documents.documents import open_documents
from asgard.app.jobs import jobs
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Cancelled, ConfigError, DataError
from asgard.core.events import Emit, Event
from asgard.core.events import Kind as Told
from asgard.flow.outcome import Outcome
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import to_all
from asgard.state.documents import Document
from asgard.transport.airbyte import AirbyteClient
from asgard.transport.airbyte_answers import Connection, Job, Kind

STARTED = "airbyte job"
"""The kind of the documents that say which job of Airbyte an ingestion is."""
PASSED_ON = (Told.STEP_PHASE, Told.STEP_PROGRESS, Told.WARNING)
CALL_OFF_SECONDS = 60.0


def connect(
    project: Project, ends: tuple[str, str], workspace: str, name: str, tables: Sequence[Any]
) -> dict[str, str]:
    """Puts the connection of an ingestion in place; nothing is moved yet. Gives what its job must know.

    Args:
        ends: ids of the posted source and sink.

    Raises:
        ConfigError: the connection of that name joins others, or something is not taken.
        Refused, Unreachable: the server does not let us, or does not answer.
    """
    options: dict[str, Any] = {"schedule": {"scheduleType": "manual"}}
    if tables:
        options["configurations"] = {"streams": [stream_words(one) for one in tables]}
    with open_airbyte(settings=airbyte_settings(project.folder)) as airbyte:
        source = id_at_airbyte(project, airbyte, Kind.SOURCE, ends[0])
        sink = id_at_airbyte(project, airbyte, Kind.DESTINATION, ends[1])
        made = put_connection(airbyte, workspace, name, source, sink, options)
    return {"connection_id": made.id, "connection_name": name}


def sync_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Runs the sync of an ingestion; called by the process of its job."""
    name = task["asked"]["airbyte"]["connection_name"]
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
        return _sync(project, task, setting)

    try:
        step = Step(f"airbyte.{name}", work, about={"mode": "airbyte"})
        return run_steps([step], setting, workspace.journal, f"ingestion {task['of']}", str(project.file))
    finally:
        log.close()


def disconnect(project: Project, ingestion: Document, *, is_last: bool) -> None:
    """Ends the sync of an ingestion if it runs, and takes its connection away with the last that uses it.

    Raises:
        Refused, Unreachable: the server does not let us, or does not answer; asking again goes on from there.
    """
    with open_airbyte(settings=airbyte_settings(project.folder)) as airbyte:
        if (started := started_job(project, ingestion.id)) is not None:
            _end(airbyte, started)
        if is_last:
            airbyte.delete_connection(ingestion.body["airbyte"]["connection_id"])
    with open_documents(project) as store:
        store.delete(STARTED, ingestion.id)


def started_job(project: Project, ingestion: str) -> int | None:
    """The number of the job of Airbyte that an ingestion is; None before it is started."""
    with open_documents(project) as store:
        known = store.get(STARTED, ingestion)
    return int(known.body["job"]) if known is not None else None


def _sync(project: Project, task: Mapping[str, Any], setting: Setting) -> Outcome:
    asked = task["asked"]["airbyte"]

    def tell(event: Event) -> None:
        if event.kind in PASSED_ON:
            setting.tell(event.kind, dict(event.data))

    settings = airbyte_settings(project.folder)
    with open_airbyte(setting.cancel, settings) as airbyte:
        connection = airbyte.connection(asked["connection_id"])
        job = _begun(project, airbyte, task["of"], connection)
        try:
            job = follow_job(airbyte, job, connection.name, tell)
        except Cancelled:
            # A worker that stops ends its runs, too: then the sync goes on, and the next attempt follows it.
            if _is_called_off(project, task["of"]):
                with open_airbyte(Cancel(CALL_OFF_SECONDS), settings) as patient:
                    patient.cancel_job(job.id)
            raise
    error = job_error(job, connection.name)
    if isinstance(error, Cancelled):
        raise error
    if error is not None:
        # Airbyte has tried it several times already: to follow it once more changes nothing.
        raise DataError(error.what, hint=error.hint, where=error.where)
    outcome = Outcome(setting.step, about={"airbyte_job": job.id})
    outcome.rows_read, outcome.bytes_read = job.rows or 0, job.size_bytes or 0
    return outcome


def _begun(project: Project, airbyte: AirbyteClient, ingestion: str, connection: Connection) -> Job:
    """The job that was started for it, one that is under way anyway, or a new one."""
    started = started_job(project, ingestion)
    if started is not None:
        return airbyte.job(started)
    try:
        # Perhaps ours: its start may have been the last that an earlier attempt did.
        job = job_under_way(airbyte, connection)
    except ConfigError:
        job = start_job(airbyte, connection)
    with open_documents(project) as store:
        store.add(Document(STARTED, ingestion, ingestion, {"job": job.id}))
    return job


def _is_called_off(project: Project, ingestion: str) -> bool:
    with open_documents(project) as store:
        known = store.get("ingestion", ingestion)
    if known is None:
        return True
    with suppress(AsgardError):
        return str(jobs.job(project, known.body["job"])["status"]) in ("cancelling", "cancelled")
    return False


def _end(airbyte: AirbyteClient, started: int) -> None:
    if not airbyte.job(started).has_ended:
        cancel_job(airbyte, started)
