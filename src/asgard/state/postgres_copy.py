"""The rows of one workspace in PostgreSQL's tables of shared state, as PostgreSQL's own COPY writes them.

All tables are read in one snapshot, and put back in one transaction, while everybody else waits who would
write there. Columns go by their names: tables of a later format take the rows of an older one.

Reference: https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asgard.core.errors import ConfigError
from asgard.transport.postgres import Connection, Server

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Snapshot:
    """The tables at one instant."""

    connection: Connection
    workspace: str

    def format(self, name: str) -> int | None:
        """The format of a store's tables; None where it has none."""
        (there,) = self.connection.row("SELECT to_regclass(%s) IS NOT NULL", (f"{name}_format",))
        return int(self.connection.row(f"SELECT version FROM {name}_format")[0]) if there else None

    def columns(self, table: str) -> tuple[str, ...]:
        """Of a table, without the workspace."""
        return _columns(self.connection, table)

    def count(self, table: str) -> int:
        """How many rows of the workspace are there."""
        where = f"WHERE {WORKSPACE} = %s"
        return int(self.connection.row(f"SELECT count(*) FROM {table} {where}", (self.workspace,))[0])

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[bytes]:
        """The workspace's rows."""
        chosen = f"SELECT {', '.join(columns)} FROM {table} WHERE {WORKSPACE} = '{self.workspace}'"
        return self.connection.copy_out(f"COPY ({chosen} ORDER BY 1) TO STDOUT")


@contextmanager
def snapshot(server: Server, workspace: str) -> Iterator[Snapshot]:
    """Opens the tables as they are now; the workspace is a name of letters, digits, - and _.

    Raises:
        Unreachable, AuthenticationError, ConfigError: the database cannot be used.
    """
    connection = Connection(server)
    try:
        connection.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.rows("SET LOCAL extra_float_digits = 3; SET LOCAL TimeZone = 'UTC'")
        yield Snapshot(connection, workspace)
        connection.rows("COMMIT")
    finally:
        connection.close()


class Import:
    """Rows on their way back, in one transaction."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def clear(self, table: str) -> int:
        """Takes the workspace's rows away; gives how many."""
        sql = f"DELETE FROM {table} WHERE {WORKSPACE} = %s RETURNING 1"
        return len(self._connection.rows(sql, (self._workspace,)))

    def put(self, table: str, columns: Sequence[str], chunks: Iterable[bytes]) -> None:
        """Puts rows in, as `Snapshot.rows` gave them.

        Raises:
            ConfigError: the table has no such columns.
        """
        unknown = set(columns) - set(_columns(self._connection, table))
        if unknown:
            raise ConfigError(
                f"the table {table} has no column {sorted(unknown)[0]!r}",
                hint="restore with the version of Asgard that made the backup, or a newer one",
            )
        # By way of a table of this transaction alone, so that rows cannot name another workspace.
        names = ", ".join(columns)
        self._connection.rows(
            f"CREATE TEMPORARY TABLE asgard_import ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0"
        )
        self._connection.copy_in(f"COPY asgard_import ({names}) FROM STDIN", chunks)
        self._connection.rows(
            f"INSERT INTO {table} ({WORKSPACE}, {names}) SELECT %s, {names} FROM asgard_import",
            (self._workspace,),
        )
        self._connection.rows("DROP TABLE asgard_import")

    def run(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """A statement of `state.recovery`, within the transaction."""
        return self._connection.rows(sql.replace("?", "%s"), parameters or None)


@contextmanager
def importing(server: Server, workspace: str, names: Iterable[str]) -> Iterator[Import]:
    """A transaction that alone writes to some stores; an error takes it back.

    Args:
        names: of the stores, whose locks are held.

    Raises:
        Unreachable, AuthenticationError, ConfigError: the database cannot be used.
    """
    connection = Connection(server)
    try:
        connection.rows("BEGIN")
        for name in sorted(names):
            lock = "SELECT pg_advisory_xact_lock(hashtextextended(current_database() || %s, 0))"
            connection.rows(lock, (name,))
        yield Import(connection, workspace)
        connection.rows("COMMIT")
    finally:
        connection.close()


def _columns(connection: Connection, table: str) -> tuple[str, ...]:
    found = connection.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
        " AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return tuple(name for (name,) in found if name != WORKSPACE)
