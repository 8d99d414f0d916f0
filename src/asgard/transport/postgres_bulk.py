"""Rows of PostgreSQL in bulk: DuckDB's reader of the binary COPY protocol, in a transaction of our own.

Any SELECT may be read; what it gives must be of types that DuckDB carries unbent, which is the caller's
business. DuckDB fills one vector (2048 rows) at a time, so wide rows must come in smaller queries: also the
caller's business. The password goes by a DuckDB secret, which neither errors nor catalogs show (Promise 6).

Reference: https://duckdb.org/docs/stable/core_extensions/postgres
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError, Cancelled, DataError, Unreachable
from asgard.core.secret import reveal
from asgard.transport import duck
from asgard.transport.postgres import Connection, Server, explained, session_settings

VECTOR_ROWS = 2048
MEMORY_BYTES = 256 * MEBIBYTE
"""DuckDB only passes vectors on: what it holds is far below."""

_instances: dict[int, duck.Connection] = {}
_opening = threading.Lock()
_numbers = itertools.count(1)


def _instance() -> duck.Connection:
    """The process's DuckDB with the extension in it: one serves all readers."""
    with _opening:
        pid = os.getpid()  # a forked child must not use its parent's
        if pid not in _instances:
            _instances[pid] = duck.connect(
                memory_bytes=MEMORY_BYTES, threads=1, extensions=["postgres_scanner"]
            )
            # Connections go with the split that they were opened for.
            _instances[pid].execute("SET GLOBAL pg_pool_max_connections = 1; SET lock_configuration = true")
        return _instances[pid]


_CODES = {
    "lock timeout": "55P03",
    "read-only transaction": "25006",
    "permission denied": "42501",
    "canceling statement": "57014",
    "conflict with recovery": "40001",
}
"""The codes that matter, by the words of the server: DuckDB passes on its text alone."""

Explain = Callable[[str], AsgardError | None]
"""Reads the server's text for the caller's own meaning."""


class BulkReader:
    """One transaction of one server connection, read through DuckDB. Used by one thread; `cancel` by any.

    Args:
        server: whom to sign in to; it was reached before.
        snapshot: the exported snapshot that the rows are to show; empty for one of the reader's own.
        version: the server's version.

    Raises:
        Unreachable: the server does not answer any more, or the snapshot is gone.
    """

    def __init__(self, server: Server, snapshot: str, version: int) -> None:
        self._server = server
        self._cancelled = False
        self._closed = False
        self._lock = threading.Lock()
        self._name = f"server{next(_numbers)}"
        self._duck = _instance().cursor()
        try:
            self._attach()
            self._duck.execute("BEGIN")
            if snapshot:
                self._command(f"SET TRANSACTION SNAPSHOT {duck.literal(snapshot)}")
            self._command(session_settings(version))
            [(self._backend,)] = self._query("SELECT pg_backend_pid() AS pid").fetchall()
        except duck.Error as error:
            self.close()
            raise _unreachable(server, str(error)) from None

    def _attach(self) -> None:
        server = self._server
        secret = {"HOST": server.host, "PORT": str(server.port), "DATABASE": server.database}
        if server.username is not None:
            secret["USER"] = server.username
        if server.password is not None:
            secret["PASSWORD"] = reveal(server.password) or ""
        entries = ", ".join(f"{key} {duck.literal(value)}" for key, value in secret.items())
        rest = " ".join(f"{key}={_quoted(value)}" for key, value in server.parameters().items())
        name = self._name
        self._duck.execute(f"CREATE SECRET {name} (TYPE postgres, {entries})")
        self._duck.execute(f"ATTACH {duck.literal(rest)} AS {name} (TYPE postgres, READ_ONLY, SECRET {name})")

    def _command(self, sql: str) -> None:
        self._duck.execute(f"CALL postgres_execute('{self._name}', {duck.literal(sql)})")

    def _query(self, sql: str) -> duck.Relation:
        return self._duck.sql(f"FROM postgres_query('{self._name}', {duck.literal(sql)})")

    def stream(self, sql: str, explain: Explain) -> Iterator[pa.RecordBatch]:
        """The rows of a SELECT as they come, at most 2048 in a batch, with DuckDB's names and types.

        Raises:
            Cancelled: `cancel` was called.
            Unreachable: the connection broke off, or somebody holds a lock on a table.
            DataError: the server fails on a value, unless `explain` says better.
        """
        failed: AsgardError | None = None
        try:
            yield from self._query(sql).to_arrow_reader(VECTOR_ROWS)
        except (duck.Error, OSError, pa.ArrowException) as error:
            failed = self._explained(self._server.clean(str(error)), explain)
        if failed:
            raise failed

    def _explained(self, text: str, explain: Explain) -> AsgardError:
        if self._cancelled:
            return Cancelled("cancelled", hint="run again: it goes on from the last commit")
        message = _server_message(text)
        if known := explain(text):
            return known
        if not self._alive():
            return _unreachable(self._server, text)
        for words, sqlstate in _CODES.items():
            if words in message:
                return explained(self._server, sqlstate, message)
        return DataError(message, hint="the server failed on a value; columns: {name: text} avoids casts")

    def _alive(self) -> bool:
        """Whether the connection still stands: a proof that needs no understanding of the text."""
        try:
            self._duck.execute("ROLLBACK")
        except (duck.Error, OSError):
            return False
        return True

    def cancel(self) -> None:
        """Breaks off what the server and DuckDB do for this reader. From any thread."""
        with self._lock:
            if self._cancelled or self._closed:
                return
            self._cancelled = True
        with suppress(AsgardError):
            # DuckDB looks up only between two vectors: the server has to end the statement.
            side = Connection(self._server)
            side.rows("SELECT pg_cancel_backend(%s)", [self._backend])
            side.close()
        with suppress(duck.Error):  # it may have ended meanwhile
            self._duck.interrupt()

    def close(self) -> None:
        """Ends the transaction and the connection. From the reading thread; more than once is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for ending in ("ROLLBACK", f"DETACH {self._name}", f"DROP SECRET {self._name}"):
            with suppress(duck.Error, OSError):
                self._duck.execute(ending)
        self._duck.close()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _server_message(text: str) -> str:
    """What the server said, without what DuckDB says around it."""
    first = re.split(r"\b(?:ERROR|FATAL):\s+", text, maxsplit=1)[-1].strip()
    return first.splitlines()[0] if first else text


def _unreachable(server: Server, text: str) -> Unreachable:
    message = _server_message(server.clean(text))
    if "snapshot" in message:
        message = f"the connection that held the snapshot is gone: {message}"
    return Unreachable(f"the connection to {server.where} broke off: {message}", hint="try again")
