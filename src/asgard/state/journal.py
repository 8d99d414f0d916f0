"""The history of runs in SQLite: what was asked, how it ended, what every step did.

It never decides what is in a table; losing it loses history, not data. Writers take the lock before they
read (BEGIN IMMEDIATE): SQLite's default transactions lose updates of racing processes in silence.

Reference: https://www.sqlite.org/lang_transaction.html, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asgard.core.errors import AsgardError, ConfigError, OutOfSpace, Refused, Unreachable

SCHEMA_VERSION = 1
_SCHEMA = """
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
        self._file = file
        self._workspace = workspace
        self._keep_days = keep_days
        with self._connected() as connection:
            self._migrate(connection)

    def start_run(self, run: str, selector: str, project: str) -> None:
        """Remembers that a run begins in this process; forgets what is too old."""
        oldest = (datetime.now(UTC) - timedelta(days=self._keep_days)).isoformat()
        with self._writing() as connection:
            connection.execute("DELETE FROM runs WHERE started_at < ?", (oldest,))
            connection.execute(
                "INSERT INTO runs (workspace, run, selector, project, status, started_at, pid, pid_started)"
                " VALUES (?, ?, ?, ?, 'running', ?, ?, ?)",
                (self._workspace, run, selector, project, _now(), os.getpid(), _process_start(os.getpid())),
            )

    def finish_run(self, run: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers how it ended."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE runs SET status = ?, finished_at = ?, summary = ? WHERE workspace = ? AND run = ?",
                (status, _now(), json.dumps(summary), self._workspace, run),
            )

    def record_step(self, run: str, step: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers one step; the last record of a step wins."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)",
                (self._workspace, run, step, status, _now(), json.dumps(summary)),
            )

    def runs(self, limit: int = 20) -> Iterator[dict[str, Any]]:
        """The newest first. A run whose process is gone without an end has the status `lost`."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT run, selector, project, status, started_at, finished_at, pid, pid_started, summary"
                " FROM runs WHERE workspace = ? ORDER BY started_at DESC LIMIT ?",
                (self._workspace, limit),
            ).fetchall()
        for run, selector, project, status, started_at, finished_at, pid, pid_started, summary in rows:
            if status == "running" and _process_start(pid) != pid_started:
                status = "lost"
            known = {"run": run, "selector": selector, "project": project, "status": status}
            known |= {"started_at": started_at, **json.loads(summary), "status": status}
            if finished_at is not None:
                known["finished_at"] = finished_at
            yield known

    def steps(self, run: str) -> list[dict[str, Any]]:
        """The steps of a run that have ended, in their order."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT summary FROM steps WHERE workspace = ? AND run = ? ORDER BY finished_at, step",
                (self._workspace, run),
            ).fetchall()
        return [json.loads(summary) for (summary,) in rows]

    def _migrate(self, connection: sqlite3.Connection) -> None:
        # Promise 10: what an older version wrote is opened, what a newer one wrote is refused by name.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{self._file} has format {version}, this version reads {SCHEMA_VERSION}",
                hint="run the version of Asgard that wrote it, or a newer one",
            )
        if version == SCHEMA_VERSION:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:  # nobody was faster
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()
        except OSError as error:
            raise Refused(
                f"cannot use {self._file}: {error.strerror}", hint="check the folder's rights"
            ) from error
        except sqlite3.Error as error:
            raise _translated(error, self._file) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def _translated(error: sqlite3.Error, file: Path) -> AsgardError:
    text = str(error)
    if "full" in text:
        return OutOfSpace(f"cannot write {file}: {text}", hint="free space and run again")
    if "locked" in text or "busy" in text:
        return Unreachable(f"{file} is locked by another process", hint="try again")
    if "readonly" in text or "unable to open" in text:
        return Refused(f"cannot write {file}: {text}", hint="check the folder's rights")
    return ConfigError(
        f"{file} is not a run history: {text}", hint="move it away; the history starts anew, no data is lost"
    )


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
