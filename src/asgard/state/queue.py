"""Jobs that wait, run and have ended: what several workers share, so that none runs a thing twice.

A worker leases a job for some seconds and renews the lease while it works. A lease that nobody renews comes
to an end by the database's clock, and the job is leased again. Its attempt is counted up by every lease and
is the fencing token: only who holds the newest attempt can end a job.

Knows nothing of what a job is: its task is a document that workers understand.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asgard.core.errors import ConfigError
from asgard.state.database import Database, Rows

SCHEMA_VERSION = 1
NAME = "asgard_queue"
SCHEMA = """
CREATE TABLE asgard_jobs (
    workspace TEXT NOT NULL,
    job TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    sources TEXT NOT NULL,
    alone TEXT,
    schedule TEXT,
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    timeout_seconds DOUBLE PRECISION,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    due_at DOUBLE PRECISION NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    cancel_at DOUBLE PRECISION,
    worker TEXT,
    lease_until DOUBLE PRECISION,
    exit_code INTEGER,
    error TEXT,
    PRIMARY KEY (workspace, job)
);
CREATE INDEX asgard_jobs_active ON asgard_jobs (workspace, status) WHERE finished_at IS NULL;
CREATE INDEX asgard_jobs_by_status ON asgard_jobs (workspace, status, job);
CREATE INDEX asgard_jobs_by_schedule ON asgard_jobs (workspace, schedule, job);
CREATE INDEX asgard_jobs_done ON asgard_jobs (workspace, schedule, finished_at) WHERE status = 'done';
CREATE TABLE asgard_schedules (
    workspace TEXT NOT NULL,
    schedule TEXT NOT NULL,
    paused INTEGER NOT NULL,
    reached TEXT NOT NULL,
    PRIMARY KEY (workspace, schedule)
)
"""
_COLUMNS = (
    "job, task, queue, sources, alone, schedule, priority, attempts, timeout_seconds, status, attempt,"
    " due_at, created_at, started_at, finished_at, cancel_at, worker, exit_code, error"
)
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class NewJob:
    """What is to be done.

    Attributes:
        task: what workers understand; JSON values.
        queue: whose limit counts.
        sources: the sources that it reads, whose limits count.
        alone: of the jobs with the same text here only one runs at a time; None for a job that may run
            beside any other.
        schedule: the schedule that asked for it.
        priority: higher ones first.
        attempts: so many times it is tried at most.
        timeout_seconds: an attempt that takes longer is ended.
        due_at: not before then, seconds since 1970; None for now.
    """

    task: Mapping[str, Any]
    queue: str = "default"
    sources: tuple[str, ...] = ()
    alone: str | None = None
    schedule: str | None = None
    priority: int = 0
    attempts: int = 4
    timeout_seconds: float | None = None
    due_at: float | None = None


@dataclass(frozen=True)
class Job(NewJob):
    """A job in the store; instants are seconds since 1970 by the database's clock, None while there are none.

    Attributes:
        id: sorts by the time at which it came, to the second.
        status: queued, running, done, failed or cancelled.
        attempt: how often it was leased: the fencing token.
        started_at: of the newest attempt.
        cancel_at: when somebody asked for its end.
        worker: who holds it, or who ended it.
        exit_code: of the newest attempt that ended by itself.
        error: why it failed, or is tried again.
    """

    id: str = ""
    status: str = "queued"
    attempt: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    cancel_at: float | None = None
    worker: str | None = None
    exit_code: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Limits:
    """How many jobs may run at the same time, over all workers.

    Attributes:
        queues: by queue; one that is not named has no limit.
        per_source: of every source; None for no limit.
    """

    queues: Mapping[str, int] = field(default_factory=dict)
    per_source: int | None = 1


@dataclass(frozen=True)
class End:
    """How an attempt ended.

    Attributes:
        status: done, failed, cancelled, or queued: to be tried again.
        again_in_seconds: when, if it is to be tried again.
    """

    status: str
    exit_code: int | None = None
    error: str | None = None
    again_in_seconds: float = 0.0


class Queue:
    """The jobs of one workspace. Safe to use from any thread.

    Args:
        database: where they lie; its tables are made by `migrate(SCHEMA, SCHEMA_VERSION)`.

    Raises:
        Unreachable: by every method: the database does not answer, or was not fast enough.
    """

    def __init__(self, database: Database, workspace: str = "default") -> None:
        self._database = database
        self._workspace = workspace

    # ---- who asks

    def add(self, jobs: Iterable[NewJob]) -> list[str]:
        """Puts jobs in, all or none; gives their ids."""
        with self._database.writing() as rows:
            return [self.put(rows, job) for job in jobs]

    def put(self, rows: Rows, new: NewJob) -> str:
        """The same for one job, within a transaction that is under way."""
        job = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(5).hex()}"
        due, when = ("?", (new.due_at,)) if new.due_at is not None else (self._database.now, ())
        rows(
            "INSERT INTO asgard_jobs (workspace, job, task, queue, sources, alone, schedule, priority,"
            " attempts, timeout_seconds, status, due_at, created_at)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', {due}, {self._database.now})",
            (self._workspace, job, json.dumps(new.task), new.queue, json.dumps(new.sources), new.alone,
             new.schedule, new.priority, new.attempts, new.timeout_seconds, *when),
        )  # fmt: skip
        return job

    def cancel(self, job: str) -> Job:
        """Asks for the end of a job. One that waits has ended then; one that runs ends when its process has.

        Raises:
            ConfigError: there is none of that id.
        """
        with self._database.writing() as rows:
            rows(
                f"UPDATE asgard_jobs SET cancel_at = {self._database.now},"
                f" finished_at = CASE WHEN status = 'queued' THEN {self._database.now} END,"
                " status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END"
                " WHERE workspace = ? AND job = ? AND cancel_at IS NULL AND status IN ('queued', 'running')",
                (self._workspace, job),
            )
        return self.job(job)

    # ---- who looks

    def job(self, job: str) -> Job:
        """One job.

        Raises:
            ConfigError: there is none of that id.
        """
        with self._database.reading() as rows:
            found = rows(
                f"SELECT {_COLUMNS} FROM asgard_jobs WHERE workspace = ? AND job = ?", (self._workspace, job)
            )
        if not found:
            raise ConfigError(f"there is no job {job!r}", hint="asgard jobs lists them")
        return _job(found[0])

    def jobs(
        self,
        *,
        status: str | None = None,
        schedule: str | None = None,
        queue: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """The newest first.

        Args:
            before: a job's id: only older ones; how a next page is asked for.
        """
        asked = [
            ("status = ?", status), ("schedule = ?", schedule), ("queue = ?", queue), ("job < ?", before)
        ]  # fmt: skip
        kept = [(sql, value) for sql, value in asked if value is not None]
        where = "".join(f" AND {sql}" for sql, _ in kept)
        with self._database.reading() as rows:
            found = rows(
                f"SELECT {_COLUMNS} FROM asgard_jobs WHERE workspace = ?{where} ORDER BY job DESC LIMIT ?",
                (self._workspace, *(value for _, value in kept), limit),
            )
        return [_job(row) for row in found]

    def newest_of_schedules(self) -> dict[str, Job]:
        """The newest job of every schedule that has one."""
        with self._database.reading() as rows:
            found = rows(
                f"SELECT {_COLUMNS} FROM asgard_jobs WHERE workspace = ? AND job IN (SELECT max(job)"
                " FROM asgard_jobs WHERE workspace = ? AND schedule IS NOT NULL GROUP BY schedule)",
                (self._workspace, self._workspace),
            )
        return {job.schedule: job for job in map(_job, found) if job.schedule is not None}

    # ---- who works

    def lease(self, worker: str, limits: Limits, seconds: float) -> Job | None:
        """The next job that may run, held for so many seconds; None when there is none.

        Jobs whose lease has come to an end are taken back first. A worker must have ended the processes of a
        job before the end of its lease.
        """
        now = self._database.now
        with self._database.writing() as rows:
            self._take_back(rows)
            chosen = self._next(rows, limits)
            if chosen is None:
                return None
            (found,) = rows(
                "UPDATE asgard_jobs SET status = 'running', attempt = attempt + 1, worker = ?,"
                f" exit_code = NULL, error = NULL, started_at = {now}, lease_until = {now} + ?"
                f" WHERE workspace = ? AND job = ? RETURNING {_COLUMNS}",
                (worker, seconds, self._workspace, chosen),
            )
        return _job(found)

    def renew(self, jobs: Sequence[Job], seconds: float) -> set[str]:
        """Holds these attempts for so many seconds from now; gives the ids of those that are ours yet.

        What a worker was given without hearing of it, because the answer was lost, is not renewed.
        """
        ours = " OR ".join(["(job = ? AND attempt = ?)"] * len(jobs))
        named = [value for job in jobs for value in (job.id, job.attempt)]
        with self._database.writing() as rows:
            found = rows(
                f"UPDATE asgard_jobs SET lease_until = {self._database.now} + ?"
                f" WHERE workspace = ? AND status = 'running' AND ({ours}) RETURNING job",
                (seconds, self._workspace, *named),
            )
        return {job for (job,) in found}

    def to_be_cancelled(self, worker: str) -> set[str]:
        """The jobs of the worker whose end is asked for."""
        with self._database.reading() as rows:
            found = rows(
                "SELECT job FROM asgard_jobs WHERE workspace = ? AND worker = ? AND status = 'running'"
                " AND cancel_at IS NOT NULL",
                (self._workspace, worker),
            )
        return {job for (job,) in found}

    def finish(self, job: Job, end: End) -> bool:
        """Ends an attempt; False when the lease was lost: then nothing has changed.

        A job that is to be tried again, but whose end was asked for meanwhile, is cancelled.
        """
        now = self._database.now
        if end.status == "queued":
            then = (
                "status = CASE WHEN cancel_at IS NULL THEN 'queued' ELSE 'cancelled' END,"
                f" finished_at = CASE WHEN cancel_at IS NOT NULL THEN {now} END, due_at = {now} + ?"
            )
        else:
            then = f"status = ?, finished_at = {now}"
        with self._database.writing() as rows:
            found = rows(
                f"UPDATE asgard_jobs SET {then}, exit_code = ?, error = ?, lease_until = NULL"
                " WHERE workspace = ? AND job = ? AND attempt = ? AND status = 'running' RETURNING job",
                (end.again_in_seconds if end.status == "queued" else end.status, end.exit_code, end.error,
                 self._workspace, job.id, job.attempt),
            )  # fmt: skip
        return bool(found)

    def forget(self, keep_days: float) -> int:
        """Takes away what ended longer ago; gives how many jobs that were."""
        with self._database.writing() as rows:
            return len(
                rows(
                    f"DELETE FROM asgard_jobs WHERE workspace = ? AND finished_at < {self._database.now} - ?"
                    " RETURNING job",
                    (self._workspace, keep_days * 86400),
                )
            )

    def _take_back(self, rows: Rows) -> None:
        """Jobs whose worker is lost wait again; or end, if that was asked for or they were tried enough."""
        now = self._database.now
        rows(
            "UPDATE asgard_jobs SET lease_until = NULL, error = 'its worker was lost', status ="
            " CASE WHEN cancel_at IS NOT NULL THEN 'cancelled' WHEN attempt >= attempts THEN 'failed'"
            " ELSE 'queued' END,"
            f" finished_at = CASE WHEN cancel_at IS NOT NULL OR attempt >= attempts THEN {now} END"
            f" WHERE workspace = ? AND status = 'running' AND lease_until < {now}",
            (self._workspace,),
        )

    def _next(self, rows: Rows, limits: Limits) -> str | None:
        """The first job in line that no limit holds back."""
        running = rows(
            "SELECT queue, sources, alone FROM asgard_jobs WHERE workspace = ? AND status = 'running'",
            (self._workspace,),
        )
        queues = Counter(queue for queue, _, _ in running)
        sources = Counter(source for _, listed, _ in running for source in json.loads(listed))
        alone = {alone for _, _, alone in running if alone is not None}
        waiting = rows(
            "SELECT job, queue, sources, alone FROM asgard_jobs WHERE workspace = ? AND status = 'queued'"
            f" AND due_at <= {self._database.now} ORDER BY priority DESC, due_at, job",
            (self._workspace,),
        )
        for job, queue, listed, only in waiting:
            full = queue in limits.queues and queues[queue] >= limits.queues[queue]
            most = limits.per_source
            busy = most is not None and any(sources[source] >= most for source in json.loads(listed))
            if not (full or busy or only in alone):
                return str(job)
        return None


def _job(row: tuple[Any, ...]) -> Job:
    (job, task, queue, sources, alone, schedule, priority, attempts, timeout, status, attempt, due_at,
     created_at, started_at, finished_at, cancel_at, worker, exit_code, error) = row  # fmt: skip
    return Job(
        json.loads(task), queue, tuple(json.loads(sources)), alone, schedule, priority, attempts, timeout,
        due_at, job, status, attempt, created_at, started_at, finished_at, cancel_at, worker, exit_code,
        error,
    )  # fmt: skip
