"""A worker: takes jobs from the queue, runs each in a process of its own, and lets the clock tick.

One thread starts processes, sees them end and says so to the queue. Another one, which waits for nothing
else, renews the leases and hears whose end is asked for. A process is killed by its guard before its lease
can be given to somebody else, whatever becomes of the worker: see `schedule.guard`.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asgard.app.config.project import Project, load_project
from asgard.app.jobs.jobs import RUN, TASK_FORMAT, JobStore, job_log, open_jobs, run_of
from asgard.app.jobs.schedules import Schedule, schedules_of, tick
from asgard.app.runs.history import journal_file
from asgard.app.runs.run_events import forget_events
from asgard.app.sources.arrivals import Arrivals
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Bug, Cancelled, ConfigError, Unreachable
from asgard.core.events import Emit, Event, Kind
from asgard.schedule.guard import lease_clock
from asgard.schedule.process import GuardedProcess
from asgard.state.journal import SqliteJournal
from asgard.state.queue import End, Job, Limits

LEASE_USED = 0.8
"""The part of a lease after which the guard kills: the rest is for the killing."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 900.0
GRACE_SECONDS = 1.0
"""From the signal that asks a run to end to the one that kills it; a cancelled run is dead within two."""
LOOK_SECONDS = 0.5
HEAR_SECONDS = 0.25
STEP_SECONDS = 0.05
TIDY_SECONDS = 3600.0
SIGNALLED = 128
"""Exit codes above are signals."""
KINDS = (RUN, "ingestion", "transform", "promotion", "diff", "maintenance")
"""What this version does."""
CANCELLED, TIMED_OUT, STOPPED = "cancelled", "timed out", "stopped"
LONGEST_ERROR = 500


@dataclass(frozen=True)
class WorkerWish:
    """What a worker does.

    Attributes:
        project, env: as `asgard --project --env` has them; read again when its files change.
        slots: jobs at the same time; each has the project's memory.
        clock: whether it also asks for what is due by schedules.
        until_idle: ends when no job waits or runs.
        lease_seconds: how long a job stays with a worker that is not heard of.
        first_pause_seconds: before the second attempt; it grows four times with every further one.
    """

    project: str | None = None
    env: str | None = None
    slots: int = 2
    clock: bool = True
    until_idle: bool = False
    lease_seconds: float = 30.0
    first_pause_seconds: float = FIRST_PAUSE_SECONDS


@dataclass
class _Running:
    """A job that this worker holds; `ask_end` gives the reason for which it ends before its time."""

    job: Job
    process: GuardedProcess
    began: float
    reason: str = ""
    kill_at: float | None = None
    lost: bool = False

    def ask_end(self, reason: str, grace_seconds: float | None = GRACE_SECONDS) -> None:
        """Asks the run to end itself, which leaves nothing half-done; it is killed after the grace."""
        if not self.reason:
            self.reason = reason
            self.kill_at = None if grace_seconds is None else time.monotonic() + grace_seconds
            self.process.signal(signal.SIGTERM)

    def look(self) -> int | None:
        """The exit code, when all of its processes are gone."""
        timeout = self.job.timeout_seconds
        if timeout is not None and time.monotonic() - self.began > timeout:
            self.ask_end(TIMED_OUT)
        if self.kill_at is not None and time.monotonic() > self.kill_at:
            self.process.signal(signal.SIGKILL)
        return self.process.ended()


def work(wish: WorkerWish, emit: Emit, drain: Cancel, stop: Cancel) -> None:
    """Works until it is drained, or until nothing is left to do.

    Args:
        emit: told what begins and how it ends.
        drain: takes no more jobs, and ends when those that run have ended; logs are followed no further.
        stop: ends the runs too; their jobs wait for another worker.

    Raises:
        ConfigError: the project cannot be read.
        AsgardError: the queue cannot be opened.
    """
    project = load_project(wish.project, wish.env)
    with open_jobs(project) as store:
        _Worker(wish, project, store, emit).run(drain, stop)


@dataclass
class _Worker:
    wish: WorkerWish
    project: Project
    store: JobStore
    emit: Emit
    name: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{os.urandom(3).hex()}")

    def __post_init__(self) -> None:
        self._schedules = self._read_schedules()
        self._files = self._stamp()
        self._arrivals = Arrivals(patient=self.wish.until_idle)
        self._running: list[_Running] = []
        self._ended = threading.Event()
        self._looked = self._tidied = -TIDY_SECONDS
        self._trouble = ""

    def run(self, drain: Cancel, stop: Cancel) -> None:
        """Until it is drained or idle; leaves no process behind, however it ends."""
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        try:
            while heart.is_alive() and self._step(drain, stop):
                time.sleep(STEP_SECONDS if self._running else LOOK_SECONDS / 2)
            if not heart.is_alive():
                raise Bug(
                    "the thread that renews leases has ended", hint="its trace is above; start it again"
                )
        finally:
            for one in self._running:
                one.process.signal(signal.SIGKILL)
            self._ended.set()
            heart.join()

    def _step(self, drain: Cancel, stop: Cancel) -> bool:
        """One look at everything; False when there is nothing left to do."""
        for one in list(self._running):
            self._look(one)
        if stop.requested:
            for one in self._running:
                one.ask_end(STOPPED, GRACE_SECONDS * 10)
        if drain.requested:
            for one in self._running:
                if one.job.task["follow"]:
                    one.ask_end(STOPPED, None)
            return bool(self._running)
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return True
        try:
            idle = self._ask_queue()
            self._trouble = ""
        except AsgardError as error:
            idle = False
            self._warn(error)
        self._looked = time.monotonic()
        return not (idle and self.wish.until_idle)

    # ---- jobs begin and end

    def _ask_queue(self) -> bool:
        """Asks for what is due and takes what may run; True when no job waits or runs anywhere."""
        queue = self.store.queue
        if self.wish.clock:
            self._follow_project()
            tick(self.project, self._schedules, self.store, self._arrivals)
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            queue.forget(self.project.queue.keep_days)
            _forget_logs(self.project)
            self._tidied = time.monotonic()
            forget_events(self.project)
        limits = Limits(self.project.queue.limits, self.project.queue.per_source)
        while len(self._running) < self.wish.slots:
            asked = lease_clock()
            job = queue.lease(self.name, limits, self.wish.lease_seconds)
            if job is None:
                break
            self._begin(job, asked)
        return not self._running and not any(queue.jobs(status=one, limit=1) for one in ("queued", "running"))

    def _begin(self, job: Job, asked: float) -> None:
        try:
            process = GuardedProcess(
                command_of(self.project, job),
                self.project.folder,
                job_log(self.project.state_folder, run_of(job)),
                os.environ,
                asked + self.wish.lease_seconds * LEASE_USED,
            )
        except AsgardError as error:
            self.store.queue.finish(job, End("failed", error=error.what))
            self._tell(Kind.JOB_FINISHED, job, status="failed", error=error.what)
            return
        self._running.append(_Running(job, process, time.monotonic()))
        self._tell(Kind.JOB_STARTED, job)

    def _look(self, one: _Running) -> None:
        """Says how a run has ended, and keeps it until that is said: its place is free only then."""
        code = one.look()
        if code is None:
            return
        end = self._end(one, code)
        try:
            kept = one.lost or self.store.queue.finish(one.job, end)
        except Unreachable as error:
            self._warn(error)
            return
        self._running.remove(one)
        self._looked = -TIDY_SECONDS  # there is a place for the next one at once
        status = end.status if kept and not one.lost else "lost"
        self._tell(Kind.JOB_FINISHED, one.job, status=status, exit_code=code, error=end.error)

    def _end(self, one: _Running, code: int) -> End:
        job = one.job
        if code == 0:
            return End("done", code)
        if one.reason == CANCELLED:
            return End("cancelled", code, "cancelled")
        if one.reason == STOPPED:
            return End("queued", code, "its worker was stopped")
        error = self._why(job, code)
        if one.reason == TIMED_OUT:
            error = f"it took longer than {job.timeout_seconds:g} seconds"
        heals = one.reason == TIMED_OUT or code > SIGNALLED or code == Unreachable.exit_code
        if not heals or job.attempt >= job.attempts:
            return End("failed", code, error)
        pause = min(self.wish.first_pause_seconds * 4.0 ** (job.attempt - 1), LONGEST_PAUSE_SECONDS)
        return End("queued", code, error, pause * random.uniform(0.5, 1.0))

    def _why(self, job: Job, code: int) -> str:
        """The error of the first step that failed, or else the last words of the process."""
        if SIGNALLED < code != Cancelled.exit_code:
            return f"killed by {signal.Signals(code - SIGNALLED).name}"
        journal = SqliteJournal(journal_file(self.project.state_folder), self.project.workspace)
        for step in journal.steps(run_of(job)):
            if "error" in step:
                return str(step["error"]["what"])[:LONGEST_ERROR]
        words = b""
        with suppress(OSError):
            words = job_log(self.project.state_folder, run_of(job)).read_bytes()
        return words[-LONGEST_ERROR:].decode(errors="replace").strip() or f"exit code {code}"

    # ---- the heart

    def _beat(self) -> None:
        """Renews leases and hears who is to be cancelled, until the worker ends."""
        renew_at = 0.0
        while not self._ended.wait(HEAR_SECONDS):
            mine = list(self._running)
            if not mine:
                continue
            try:
                asked_to_end = self.store.queue.to_be_cancelled(self.name)
                for one in mine:
                    if one.job.id in asked_to_end:
                        one.ask_end(CANCELLED)
                asked = lease_clock()
                if asked >= renew_at:
                    self._renew(mine, asked)
                    renew_at = asked + self.wish.lease_seconds / 4
            except AsgardError as error:  # the guards know how long the leases hold
                self._warn(error)

    def _renew(self, mine: Sequence[_Running], asked: float) -> None:
        held = self.store.queue.renew([one.job for one in mine], self.wish.lease_seconds)
        for one in mine:
            if one.job.id in held:
                # Counted from before the question: the database counts from after it.
                one.process.renew(asked + self.wish.lease_seconds * LEASE_USED)
            elif one in self._running:  # it has not just been ended
                one.lost = True
                one.process.signal(signal.SIGKILL)

    # ---- the project

    def _follow_project(self) -> None:
        """Reads the project again when its files have changed; a mistake leaves the old one in force."""
        stamp = self._stamp()
        if stamp == self._files:
            return
        self._files = stamp
        try:
            self.project = load_project(self.wish.project, self.wish.env)
            self._schedules = self._read_schedules()
        except AsgardError as error:
            self._warn(error)

    def _read_schedules(self) -> dict[str, Schedule]:
        return schedules_of(self.project) if self.wish.clock else {}

    def _stamp(self) -> list[tuple[str, float]]:
        found = []
        with suppress(OSError):
            for path in sorted(self.project.folder.glob("*.y*ml")):
                found.append((path.name, path.stat().st_mtime))
        return found

    def _tell(self, kind: Kind, job: Job, **known: object) -> None:
        about = {"job": job.id, "attempt": job.attempt, "schedule": job.schedule, **known}
        self.emit(
            Event(kind, run_of(job), data={name: value for name, value in about.items() if value is not None})
        )

    def _warn(self, error: AsgardError) -> None:
        """Told once, not at every look."""
        if error.what != self._trouble:
            self._trouble = error.what
            self.emit(Event(Kind.WARNING, data={"what": error.what, "hint": error.hint}))


def command_of(project: Project, job: Job) -> list[str]:
    """The command that a job is.

    Raises:
        ConfigError: a newer version put it into the queue.
    """
    task = job.task
    if task.get("format") != TASK_FORMAT or task.get("kind") not in KINDS:
        raise ConfigError(
            f"job {job.id} is of a kind that this version does not know", hint="bring the workers up to date"
        )
    # The installed command's own way in; -P because the folder of the project is no place for our imports.
    command = [sys.executable, "-P", "-c", "from asgard.cli.main import main; main()", "run"]
    command += ["--run-id", run_of(job), "--project", str(project.file)]
    command += ["--env", project.environment] if project.environment else []
    command += ["--full-refresh"] if task["full_refresh"] else []
    command += ["--follow"] if task["follow"] else []
    command += ["--job", job.id] if task["kind"] != RUN else []
    command += ["--between", *task["between"]] if task["between"] else []
    return [*command, "--", *task["selectors"]]


def _forget_logs(project: Project) -> None:
    oldest = time.time() - project.queue.keep_days * 86400
    for file in Path(job_log(project.state_folder, "x")).parent.glob("*.log"):
        with suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()
