"""Wishes about the jobs of an Airbyte server: start one, follow it to its end, call it off.

A job that is started here is called off when its caller is: Ctrl-C leaves nothing behind. What it tells on
the way are the events of a run (`core.events`), with the connection as the step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Cancelled, ConfigError, Conflict, ConnectionError, Unreachable
from asgard.core.events import Emit, Event, Kind
from asgard.transport.airbyte import PAGE_ROWS, AirbyteClient
from asgard.transport.airbyte_answers import Connection, Job, JobType

FIRST_POLL_SECONDS = 1.0
LONGEST_POLL_SECONDS = 15.0
PATIENCE_SECONDS = 600.0
"""How long a server may be away while a job of it is followed: upgrades restart it, and jobs go on."""
CALL_OFF_SECONDS = 60.0
AGAIN_SECONDS = (0.0, 1.0, 5.0)
"""How long to wait before a job that may have been started is looked for, and started if it was not."""


def run_job(airbyte: AirbyteClient, connection: Connection, emit: Emit, job_type: str = "sync") -> Job:
    """Starts a job and follows it to its end, whatever that is; see `job_error`.

    Args:
        job_type: sync, reset, refresh or clear.

    Raises:
        Conflict: one of the connection is under way.
        Cancelled: the caller was cancelled; the job is too, or the hint says that it may go on.
        Refused, Unreachable: as the server answers, or does not.
    """
    start = _Start(airbyte, connection)
    try:
        return follow_job(airbyte, start.job(_type(job_type)), connection.name, emit)
    except Cancelled as error:
        error.hint = start.call_off()
        raise


def start_job(airbyte: AirbyteClient, connection: Connection, job_type: str = "sync") -> Job:
    """Starts a job, once, and leaves it.

    Raises:
        Conflict: one of the connection is under way.
    """
    return _Start(airbyte, connection).job(_type(job_type))


def follow_job(airbyte: AirbyteClient, job: Job, name: str, emit: Emit) -> Job:
    """Asks how a job is until it has ended, less and less often, and tells what changes.

    Args:
        name: of the connection, for events.

    Raises:
        Cancelled: the caller was cancelled; the job goes on.
        Unreachable: the server was away for 10 minutes; the job may go on.
    """
    began = time.monotonic()
    emit(Event(Kind.STEP_STARTED, step=name, data={"mode": job.type, "job": job.id}))
    wait_seconds, told = FIRST_POLL_SECONDS, None
    while True:
        if told is None or told.status != job.status:
            _tell_status(job, name, emit)
        if (figures := _figures(job)) and (told is None or figures != _figures(told)):
            emit(Event(Kind.STEP_PROGRESS, step=name, data=figures))
        if job.has_ended:
            break
        told = job
        airbyte.sleep(wait_seconds)
        wait_seconds = min(wait_seconds * 1.5, LONGEST_POLL_SECONDS)
        job = _looked_at(airbyte, job, name, emit)
    error = job_error(job, name)
    data = {"status": job.state, "seconds": round(time.monotonic() - began, 3), **_figures(job)}
    emit(Event(Kind.STEP_FINISHED, step=name, data=data | ({"error": error.as_dict()} if error else {})))
    return job


def cancel_job(airbyte: AirbyteClient, job_id: int) -> Job:
    """Asks for the end of a job, and waits a minute for it; one that has ended stays as it is.

    Raises:
        QueryError: there is none of that id.
        Unreachable: it has not ended within a minute.
    """
    job = airbyte.cancel_job(job_id)
    deadline = time.monotonic() + CALL_OFF_SECONDS
    while not job.has_ended:
        if time.monotonic() >= deadline:
            raise Unreachable(
                f"job {job_id} is {job.status}, {CALL_OFF_SECONDS:g} s after it was called off",
                hint="Airbyte ends it later, or look at its workers",
            )
        airbyte.sleep(FIRST_POLL_SECONDS)
        job = airbyte.job(job_id)
    return job


def job_under_way(airbyte: AirbyteClient, connection: Connection) -> Job:
    """The job of a connection that has not ended.

    Raises:
        ConfigError: there is none.
    """
    for job in islice(airbyte.jobs(connection.id), PAGE_ROWS):
        if not job.has_ended:
            return job
    raise ConfigError(f"no job of Airbyte's connection {connection.name!r} is under way")


def job_error(job: Job, name: str) -> AsgardError | None:
    """Why a job that has ended is not done; None for one that is.

    The API says no more than that: the reason is in Airbyte's log.
    """
    where = {"connection": name, "job": str(job.id)}
    if job.state == "failed":
        hint = f"the timeline of the connection {name} in Airbyte has its log"
        return ConnectionError(f"Airbyte's job {job.id} ({job.type}) failed", hint=hint, where=where)
    if job.state == "cancelled":
        return Cancelled(f"Airbyte's job {job.id} ({job.type}) was cancelled", where=where)
    return None


def job_as_dict(job: Job) -> dict[str, Any]:
    """A job as JSON; what is not known is absent (Promise 8)."""
    known = {
        "job": job.id,
        "type": job.type,
        "status": job.state,
        "airbyte_status": job.status,
        "connection": job.connection_id,
        "duration": job.duration,
    }
    return {name: value for name, value in known.items() if value is not None} | _figures(job)


@dataclass
class _Start:
    """One start of a job, which happens once though the server breaks off.

    Attributes:
        newest: the id of the newest job before; what has a greater one may be ours.
        is_uncertain: a job may have been started of which we do not know.
    """

    airbyte: AirbyteClient
    connection: Connection
    newest: int = 0
    started: Job | None = None
    is_uncertain: bool = False

    def job(self, job_type: JobType) -> Job:
        """Starts it, or finds it started."""
        self.newest = max((job.id for job in self._jobs(self.airbyte)), default=0)
        waits = iter(AGAIN_SECONDS)
        while self.started is None:
            try:
                self.started = self.airbyte.create_job(self.connection.id, job_type)
            except Conflict as error:
                raise self._under_way(error) from None
            except Unreachable as error:
                wait_seconds = next(waits, None)
                if wait_seconds is None or not error.retryable:
                    raise
                self.is_uncertain = True
                self.airbyte.sleep(wait_seconds)
                self.started = self._newer(self.airbyte, job_type)
        return self.started

    def call_off(self) -> str:
        """Cancels what was started, and says how it went; with a client of its own, as ours is cancelled."""
        if self.started is None and not self.is_uncertain:
            return "no job was started"
        try:
            with AirbyteClient(self.airbyte.settings, Cancel(CALL_OFF_SECONDS)) as client:
                job = self.started or self._newer(client)
                if job is None:
                    return "no job was started"
                ended = cancel_job(client, job.id)
        except AsgardError as error:
            known = f"job {self.started.id}" if self.started else "a job"
            return f"{known} may go on in Airbyte, which could not be asked to end it: {error.what}"
        return f"job {job.id} of Airbyte is {ended.state}"

    def _newer(self, client: AirbyteClient, job_type: JobType | None = None) -> Job | None:
        newer = [
            job for job in self._jobs(client) if job.id > self.newest and job.type == (job_type or job.type)
        ]
        return min(newer, key=lambda job: job.id, default=None)

    def _jobs(self, client: AirbyteClient) -> list[Job]:
        return list(islice(client.jobs(self.connection.id), PAGE_ROWS))

    def _under_way(self, error: Conflict) -> Conflict:
        for job in self._jobs(self.airbyte):
            if not job.has_ended:
                return Conflict(
                    f"Airbyte's job {job.id} ({job.type}) of the connection is {job.state}",
                    hint=f"wait for it, or end it: asgard airbyte cancel {job.id}",
                    where={"connection": self.connection.name, "job": str(job.id)},
                )
        return error


def _type(given: str) -> JobType:
    try:
        return JobType(given)
    except ValueError:
        raise ConfigError(f"Airbyte has no jobs of type {given!r}", hint=", ".join(JobType)) from None


def _looked_at(airbyte: AirbyteClient, job: Job, name: str, emit: Emit) -> Job:
    """The job as it is now, once the server can be asked."""
    gone_at, has_told = time.monotonic(), False
    while True:
        try:
            return airbyte.job(job.id)
        except Unreachable as error:
            if time.monotonic() - gone_at >= PATIENCE_SECONDS:
                error.where.setdefault("job", str(job.id))
                raise
            if not has_told:
                emit(Event(Kind.WARNING, step=name, data={"what": error.what, "hint": "it is asked again"}))
            has_told = True
        airbyte.sleep(LONGEST_POLL_SECONDS)


def _tell_status(job: Job, name: str, emit: Emit) -> None:
    emit(Event(Kind.STEP_PHASE, step=name, data={"phase": job.status}))
    if job.status == "incomplete":
        what = f"an attempt of job {job.id} failed; Airbyte may try again"
        emit(Event(Kind.WARNING, step=name, data={"what": what, "hint": "its log in Airbyte says why"}))


def _figures(job: Job) -> dict[str, Any]:
    known = {"rows": job.rows, "bytes": job.size_bytes}
    return {name: value for name, value in known.items() if value is not None}
