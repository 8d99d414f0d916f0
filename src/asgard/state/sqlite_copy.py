"""Copies of a SQLite file that several processes use: taken while they write, and put back in its place.

Both go through SQLite's own backup, never through the file system: what a writer has not committed is in no
copy, and a process that has the file open sees the old content or the new.

Reference: https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from asgard.core.errors import DataError, Unreachable
from asgard.state.database import PATIENCE_SECONDS
from asgard.state.sqlite_database import SqliteDatabase

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file; of another file, it would be read into this one."""


def copy_out(file: Path, target: Path, what: str) -> int:
    """Copies what was committed, at one instant, into a file of its own.

    Args:
        target: need not exist; for its owner alone.
        what: what the file is, for messages.

    Returns:
        The format of its tables.

    Raises:
        DataError: the file is damaged.
        Unreachable, Refused, OutOfSpace, ConfigError: it cannot be read, or the copy not be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
    with (
        SqliteDatabase(file, what).connected() as source,
        SqliteDatabase(target, f"copy of the {what}").connected() as copy,
    ):
        _copy(source, copy, what)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, and nothing beside it
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DataError(f"{file} is damaged: {found}", hint=f"bring the {what} back from a backup")
        return format_of(copy)


def put_back(copy: Path, file: Path, what: str) -> None:
    """Makes a file what a copy is, in one transaction: others may have it open.

    Raises:
        Unreachable: another process holds its lock for too long; nothing has changed.
        Refused, OutOfSpace, ConfigError: it cannot be written, or is no database: then it stays as it is.
    """
    with (
        SqliteDatabase(copy, f"copy of the {what}").connected() as source,
        SqliteDatabase(file, what).connected() as target,
    ):
        _copy(source, target, what)


def put_new(copy: Path, file: Path) -> None:
    """Moves a copy to where no file is, durably; what SQLite kept beside the one that was there goes."""
    for suffix in BESIDE:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    handle = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(copy, file)


def format_of(connection: sqlite3.Connection) -> int:
    """The format of the tables, as `SqliteDatabase.migrate` writes it down."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, what: str) -> None:
    """All pages in one step: in several, every writer in between would make it begin again."""
    until = time.monotonic() + PATIENCE_SECONDS

    def patient(status: int, remaining: int, total: int) -> None:
        # SQLite would ask again for ever.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > until:
            raise Unreachable(f"the {what} is locked by another process", hint="try again")

    source.backup(target, pages=-1, progress=patient)
