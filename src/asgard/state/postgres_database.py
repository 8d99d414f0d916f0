"""Tables in PostgreSQL that several machines share.

Reference: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from asgard.core.errors import AsgardError
from asgard.state.database import PATIENCE_SECONDS, Rows, newer_format
from asgard.transport.postgres import Connection, Server


class PostgresDatabase:
    """Tables in the first schema of a PostgreSQL user's search path; for several machines.

    Args:
        server: where it is and how to sign in.
        name: what holds the tables together: those who give the same name share the lock.
    """

    # The clock, not the transaction's start: who has waited for the lock must not live in the past.
    now = "extract(epoch FROM clock_timestamp())::double precision"

    def __init__(self, server: Server, name: str) -> None:
        # A process that is stopped while it holds the lock must not stop everybody: the server puts it out.
        limits = " ".join(
            f"-c {setting}={PATIENCE_SECONDS}s"
            for setting in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout")
        )
        self._server = replace(server, options={"options": limits, **server.options})
        self._name = name
        self._own = threading.local()
        self._all: list[Connection] = []

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """Implements `Database.reading`; every thread has a connection of its own."""
        connection = self._connection()
        try:
            yield lambda sql, parameters=(): connection.rows(sql.replace("?", "%s"), parameters or None)
        except BaseException:
            self._own.connection = None  # it may be broken, or in the middle of something
            connection.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        """Implements `Database.writing`."""
        with self.reading() as rows:
            rows("BEGIN")
            # Every later statement takes a snapshot of its own, so it sees what the last writer committed.
            rows("SELECT pg_advisory_xact_lock(hashtextextended(current_database() || ?, 0))", (self._name,))
            yield rows
            rows("COMMIT")

    def migrate(self, schema: str, version: int) -> None:
        """Makes the tables where there are none.

        Raises:
            ConfigError: they were made by a newer version.
        """
        table = f"{self._name}_format"
        with suppress(AsgardError), self.reading() as rows:
            if rows(f"SELECT version FROM {table}") == [(version,)]:
                return
        with self.writing() as rows:
            rows(f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL)")
            found = [number for (number,) in rows(f"SELECT version FROM {table}")]
            if found and found[0] > version:
                raise newer_format(self._server.where, found[0], version)
            if not found:
                for statement in filter(str.strip, schema.split(";")):
                    rows(statement)
                rows(f"INSERT INTO {table} VALUES (?)", (version,))

    def close(self) -> None:
        """Implements `Database.close`."""
        for connection in self._all:
            connection.close()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = Connection(self._server)
            self._all = [one for one in self._all if not one.closed] + [connection]
        return connection
