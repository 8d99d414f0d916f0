"""A SQLite file that several processes share.

Reference: https://www.sqlite.org/lang_transaction.html, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from asgard.core.errors import AsgardError, ConfigError, OutOfSpace, Refused, Unreachable
from asgard.state.database import PATIENCE_SECONDS, Rows, newer_format

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SqliteDatabase:
    """One file; safe for several processes and threads of one machine.

    Args:
        file: created with its folder when it is not there.
        what: what the file is, for messages: `run history`.
        careful: only its owner may read it, and what was committed is there after a loss of power.
    """

    # julianday is there in every SQLite; its double is good for 0.1 ms.
    now = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, file: Path, what: str, *, careful: bool = False) -> None:
        self._file = file
        self._what = what
        self._careful = careful

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """Implements `Database.reading`."""
        with self.connected() as connection:
            yield lambda sql, parameters=(): connection.execute(sql, parameters).fetchall()

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        """Implements `Database.writing`: SQLite's default transactions lose updates of racing processes."""
        with self.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield lambda sql, parameters=(): connection.execute(sql, parameters).fetchall()
            connection.execute("COMMIT")

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; what it has not committed at the end is taken back.

        Raises:
            Refused: the file cannot be written.
            OutOfSpace: its disk is full.
            Unreachable: another process holds the lock for too long, or the disk fails.
            ConfigError: the file is something else.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._careful and not self._file.exists():
                _make_private(self._file)
            connection = sqlite3.connect(self._file, timeout=PATIENCE_SECONDS, isolation_level=None)
            try:
                connection.execute(f"PRAGMA synchronous = {'FULL' if self._careful else 'NORMAL'}")
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()
        except OSError as error:
            if error.errno in _FULL:
                raise self._out_of_space(str(error.strerror)) from error
            raise Refused(
                f"cannot use {self._file}: {error.strerror}", hint="check the folder's rights"
            ) from error
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def migrate(self, schema: str, version: int) -> None:
        """Makes the tables where there are none.

        Raises:
            ConfigError: the file was written by a newer version.
        """
        with self.connected() as connection:
            # Promise 10: what an older version wrote is opened, what a newer one wrote is refused by name.
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found > version:
                raise newer_format(str(self._file), found, version)
            if found == version:
                return
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found == 0:  # nobody was faster
                for statement in schema.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")

    def close(self) -> None:
        """Implements `Database.close`: nothing is kept open."""

    def _translated(self, error: sqlite3.Error) -> AsgardError:
        text, name = str(error), getattr(error, "sqlite_errorname", "")
        if "full" in text or (name.startswith("SQLITE_IOERR") and not self._free_bytes()):
            return self._out_of_space(text)
        if name.startswith("SQLITE_IOERR"):
            return Unreachable(f"cannot use {self._file}: {text}", hint="look at the disk; nothing was lost")
        if name == "SQLITE_CANTOPEN" and not _has_open_files_left():
            return OutOfSpace(f"cannot open {self._file}: too many open files", hint="raise ulimit -n")
        if "locked" in text or "busy" in text:
            return Unreachable(f"{self._file} is locked by another process", hint="try again")
        if "readonly" in text or "unable to open" in text:
            return Refused(f"cannot write {self._file}: {text}", hint="check the folder's rights")
        return ConfigError(
            f"{self._file} is not a {self._what}: {text}",
            hint="put a backup in its place"
            if self._careful
            else f"move it away; the {self._what} starts anew, no data is lost",
        )

    def _out_of_space(self, text: str) -> OutOfSpace:
        return OutOfSpace(f"cannot write {self._file}: {text}", hint="free space and run again")

    def _free_bytes(self) -> int:
        """What its disk has left; memory that SQLite shares with others is mapped there, too."""
        disk = os.statvfs(self._file.parent)
        return disk.f_bavail * disk.f_frsize


def _has_open_files_left() -> bool:
    """Whether there were as many as SQLite takes for one database."""
    with ExitStack() as stack, suppress(OSError):
        for _ in range(4):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        return True
    return False


def _make_private(file: Path) -> None:
    """Makes an empty file for its owner alone; SQLite's own files beside it take its mode."""
    # Under another name first: who closes a file that SQLite has open in this process takes its locks away.
    handle, draft = tempfile.mkstemp(dir=file.parent)
    os.close(handle)
    try:
        with suppress(FileExistsError):  # somebody was faster
            os.link(draft, file)
    finally:
        os.unlink(draft)
