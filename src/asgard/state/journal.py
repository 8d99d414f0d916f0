"""The history of runs in SQLite: what was asked, how it ended, what every step did.

It never decides what is in a table; losing it loses history, not data.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asgard.state.sqlite_database import SqliteDatabase

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE runs (
    workspace TEXT NOT NULL,
    run TEXT NOT NULL,
    selector TEXT NOT NULL,
    project TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    pid INTEGER NOT NULL,
    pid_started TEXT NOT NULL,
    summary TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace, run)
) STRICT;
CREATE TABLE steps (
    workspace TEXT NOT NULL,
    run TEXT NOT NULL,
    step TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (workspace, run, step),
    FOREIGN KEY (workspace, run) REFERENCES runs (workspace, run) ON DELETE CASCADE
) STRICT;
CREATE INDEX runs_by_start ON runs (workspace, started_at DESC);
"""


class SqliteJournal:
    """Implements `core.journal.Journal` on one SQLite file; safe for several processes.

    Args:
        file: created with its folder when it is not there.
        workspace: whose runs; files may hold several.
        keep_days: older runs are forgotten when a new one starts.

    Raises:
        ConfigError: the file was written by a newer version.
        Refused: it cannot be written.
    """

    def __init__(self, file: Path, workspace: str = "default", keep_days: int = 90) -> None:
        self._database = SqliteDatabase(file, "run history")
        self._workspace = workspace
        self._keep_days = keep_days
        self._database.migrate(SCHEMA, SCHEMA_VERSION)

    def start_run(self, run: str, selector: str, project: str) -> None:
        """Remembers that a run begins in this process; forgets what is too old."""
        oldest = (datetime.now(UTC) - timedelta(days=self._keep_days)).isoformat()
        with self._database.writing() as rows:
            rows("DELETE FROM runs WHERE started_at < ?", (oldest,))
            rows(
                "INSERT INTO runs (workspace, run, selector, project, status, started_at, pid, pid_started)"
                " VALUES (?, ?, ?, ?, 'running', ?, ?, ?)",
                (self._workspace, run, selector, project, _now(), os.getpid(), _process_start(os.getpid())),
            )

    def finish_run(self, run: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers how it ended."""
        with self._database.writing() as rows:
            rows(
                "UPDATE runs SET status = ?, finished_at = ?, summary = ? WHERE workspace = ? AND run = ?",
                (status, _now(), json.dumps(summary), self._workspace, run),
            )

    def record_step(self, run: str, step: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers one step; the last record of a step wins."""
        with self._database.writing() as rows:
            rows(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)",
                (self._workspace, run, step, status, _now(), json.dumps(summary)),
            )

    def runs(self, limit: int = 20, before: str | tuple[str, str] = "") -> Iterator[dict[str, Any]]:
        """The newest first. A run whose process is gone without an end has the status `lost`.

        Args:
            before: a run's id, or its start and its id: only those that started before it; how a next page
                is asked for.
        """
        yield from self._runs(limit, before)

    def run(self, run: str) -> dict[str, Any] | None:
        """One of them; None when there is none of that id."""
        return next(self._runs(1, only=run), None)

    def _runs(
        self, limit: int, before: str | tuple[str, str] = "", only: str = ""
    ) -> Iterator[dict[str, Any]]:
        page = "AND (started_at, run) < (SELECT started_at, run FROM runs WHERE workspace = ? AND run = ?)"
        if isinstance(before, tuple):
            page, place = "AND (started_at, run) < (?, ?)", before
        else:
            place = (self._workspace, before)
        with self._database.reading() as rows:
            found = rows(
                "SELECT run, selector, project, status, started_at, finished_at, pid, pid_started, summary"
                f" FROM runs WHERE workspace = ? {page if before else ''}{'AND run = ?' if only else ''}"
                " ORDER BY started_at DESC, run DESC LIMIT ?",
                (
                    self._workspace,
                    *(place if before else ()),
                    *((only,) if only else ()),
                    limit,
                ),
            )
        for run, selector, project, status, started_at, finished_at, pid, pid_started, summary in found:
            if status == "running" and _process_start(pid) != pid_started:
                status = "lost"
            known = {"run": run, "selector": selector, "project": project, "status": status}
            known |= {"started_at": started_at, **json.loads(summary), "status": status}
            if finished_at is not None:
                known["finished_at"] = finished_at
            yield known

    def last_attempt(self, job: str) -> int:
        """The newest attempt of a job that began here; 0 when none did."""
        with self._database.reading() as rows:
            found = rows(
                "SELECT run FROM runs WHERE workspace = ? AND (run = ? OR run LIKE ?)",
                (self._workspace, job, f"{job}-%"),
            )
        numbers = [run.removeprefix(job).removeprefix("-") or "1" for (run,) in found]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def steps(self, run: str) -> list[dict[str, Any]]:
        """The steps of a run that have ended, in their order."""
        with self._database.reading() as rows:
            found = rows(
                "SELECT summary FROM steps WHERE workspace = ? AND run = ? ORDER BY finished_at, step",
                (self._workspace, run),
            )
        return [json.loads(summary) for (summary,) in found]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _process_start(pid: int) -> str:
    """When a process began, so that a reused pid is not mistaken for it; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"


def new_run_id() -> str:
    """A new id: sorts by time, and fits in file names."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"
