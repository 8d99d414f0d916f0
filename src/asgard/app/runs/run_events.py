"""Wishes about what runs tell: the log of one that begins, and the events of one, wherever it runs.

A run writes its events into a file of its machine's state folder. Where several machines share a queue they
go into its database as well, so that each of them can tell what a run on another one does.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from asgard.app.config.project import Project
from asgard.app.config.shared_database import Tables, open_database
from asgard.app.runs.history import log_file
from asgard.core.errors import ConfigError
from asgard.core.events import Event, Kind
from asgard.observe.event_log import EventLog
from asgard.observe.shared_events import SharedEvents
from asgard.state.run_events import NAME, SCHEMA, SCHEMA_VERSION, RunEventStore

TABLES = Tables(NAME, "events.db", "events of runs", SCHEMA, SCHEMA_VERSION)
PAGE = 500


class RunLog:
    """Writes the events of one run wherever they can be asked for; a listener.

    Args:
        run: its id.
    """

    def __init__(self, project: Project, run: str) -> None:
        self._file = EventLog(log_file(project.state_folder, run))
        self._shared = None if project.queue.postgres is None else SharedEvents(_writer(project, run))

    @property
    def broken(self) -> str:
        """Why events could not be written; empty where they could."""
        return self._file.broken or (self._shared.broken if self._shared is not None else "")

    def __call__(self, event: Event) -> None:
        """Writes one event; the first says on which machine."""
        if event.kind is Kind.RUN_STARTED:
            event = replace(event, data={**event.data, "machine": platform.node()})
        self._file(event)
        if self._shared is not None:
            self._shared(event)

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._file.close()
        if self._shared is not None:
            self._shared.close()


def events_after(project: Project, run: str, number: int = 0) -> list[tuple[int, str]]:
    """Some of the events of a run on any machine that shares the queue, behind a number; each with its own.

    Nothing where the project's state is of one machine.

    Raises:
        Unreachable, AuthenticationError: the database cannot be used.
    """
    if project.queue.postgres is None:
        return []
    with _open_events(project) as store:
        return store.after(run, number, PAGE)


def told_runs(project: Project, limit: int, before: float | None) -> list[tuple[str, str, str]]:
    """The runs of all machines that share the queue, as `RunEventStore.runs`.

    Raises:
        Unreachable, AuthenticationError: the database cannot be used.
    """
    with _open_events(project) as store:
        return store.runs(limit, before)


def goes_on_elsewhere(project: Project, run: str) -> bool:
    """Whether a worker holds the job whose newest attempt is this run.

    Raises:
        Unreachable, AuthenticationError: the database cannot be used.
    """
    from asgard.app.jobs.jobs import open_jobs, run_of  # the queue, of which a run itself knows nothing

    with open_jobs(project) as store:
        for name in dict.fromkeys((run, run.rpartition("-")[0])):
            try:
                job = store.queue.job(name)
            except ConfigError:
                continue
            return job.status == "running" and run_of(job) == run
    return False


def lines_of(project: Project, run: str) -> Iterator[str]:
    """All events of a run so far, one JSON line each: from its file here, else from the shared database."""
    file = log_file(project.state_folder, run)
    if file.exists():
        with file.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)
        return
    known = 0
    while found := events_after(project, run, known):
        known = found[-1][0]
        yield from (line for _, line in found)


def is_last(line: str) -> bool:
    """Whether an event is the last that a run tells."""
    return bool(json.loads(line)["event"] == Kind.RUN_FINISHED)


def forget_events(project: Project) -> None:
    """Takes away what is older than the queue keeps jobs.

    Raises:
        Unreachable, AuthenticationError: the database cannot be used.
    """
    if project.queue.postgres is not None:
        with _open_events(project) as store:
            store.forget(project.queue.keep_days)


@contextmanager
def _open_events(project: Project) -> Iterator[RunEventStore]:
    database = open_database(project, TABLES)
    try:
        yield RunEventStore(database, project.workspace)
    finally:
        database.close()


def _writer(project: Project, run: str) -> Callable[[int, Sequence[str]], None]:
    """Writes lines of a run; the database is opened when there are some, by the thread that has them."""

    def write(first: int, lines: Sequence[str]) -> None:
        with _open_events(project) as store:
            store.add(run, first, lines)

    return write
