"""SQLite: tables, views and queries of one database file, read-only and in one snapshot.

SQLite types values, not columns. What a column is declared as says what it should hold; every batch sees that
it does hold that, and columns whose declaration says little (NUMERIC, DECIMAL, BOOLEAN, DATE, none, all those
of queries) are looked through first. A column of mixed values is refused by name, with `columns: {x: text}`
as the way to allow it. Dates that are stored as text stay the text that they are; `columns: {x: timestamp}`
makes them times if every value is one.

A reader keeps one read transaction for all rows: in WAL mode writers go on beside it, in the older journal
modes they wait for it. SQLite has one writer at a time, so commits have an order; but a value that a client
made up before its turn (a time) may be committed after a higher one: `cursor_lag` reads so much again.

Reference: https://www.sqlite.org/datatype3.html, https://www.sqlite.org/isolation.html,
https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import AliasChoices, Field

from asgard.connectors._sqlite.catalog import (
    Relation,
    as_stream,
    looked_schema,
    named_relation,
    narrowed,
    query_relation,
    relations,
)
from asgard.connectors._sqlite.columns import batch_of, identifier, mixed_values
from asgard.connectors._sqlite.cursor import Cursor
from asgard.core.config import Config, LocalPath
from asgard.core.errors import (
    AsgardError,
    Bug,
    Cancelled,
    ConfigError,
    DataError,
    OutOfSpace,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.position import Position, Token
from asgard.core.source import Example, Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import ColumnTypes, field_of, refuse_unknown

MOST_CHUNK_ROWS = 2048


class SqliteConfig(Config):
    """Where the database is."""

    database: LocalPath = Field(
        validation_alias=AliasChoices("database", "path", "file"), description="The database file."
    )
    timeout_seconds: float = Field(
        default=30.0,
        ge=0,
        validation_alias=AliasChoices("timeout_seconds", "connection_timeout"),
        description="How long to wait for a writer that holds the file.",
    )


class SqliteStreamOptions(Config):
    """How one table is read."""

    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not be found out: text, int64, float64, decimal(p, s), "
        "bool, date, timestamp, timestamptz, binary, json.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns that are not read.")
    where: str | None = Field(
        default=None, min_length=1, description="An SQL condition: only these rows are read."
    )


class SqliteSource(Source):
    """One SQLite database file."""

    type = "sqlite"
    Config = SqliteConfig
    StreamOptions = SqliteStreamOptions
    features = Feature.CURSOR | Feature.SNAPSHOT | Feature.QUERY
    quote = '"'
    examples = (
        Example(
            "One table, anew each time",
            {"type": "sqlite", "database": "shop.sqlite", "tables": [{"name": "orders"}]},
        ),
        Example(
            "Only what changed, by key",
            {
                "type": "sqlite",
                "database": "shop.sqlite",
                "tables": [
                    {"name": "orders", "primary_key": "id", "cursor": "updated_at", "cursor_lag": "5m"},
                    {"name": "notes", "columns": {"extra": "text"}},
                ],
            },
            note="The lag reads the last five minutes again, for rows that were committed late.",
        ),
        Example(
            "A query",
            {
                "type": "sqlite",
                "database": "shop.sqlite",
                "tables": [
                    {
                        "name": "totals",
                        "query": "SELECT customer, sum(amount) AS total FROM orders GROUP BY 1",
                    }
                ],
            },
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._snapshots: dict[str, sqlite3.Connection] = {}

    def check(self) -> None:
        """Opens the file and reads its catalog."""
        with self._connected() as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """Tables and views, with the types that are declared; `describe` looks at the values too."""
        with self._connected() as connection:
            for relation in relations(connection, pattern):
                fields = [column.field(column.meant) for column in relation.columns]
                yield as_stream(connection, relation, pa.schema(fields))

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table, view or query with the types that its values have; looks through columns whose
        declaration does not tell.

        Raises:
            DataError: columns have values of several types; all of them are named.
        """
        wanted: SqliteStreamOptions = options or SqliteStreamOptions()
        pinned = wanted.columns
        with self._connected(stream=name) as connection:
            relation = _wanted_relation(connection, name, wanted, query)
            refuse_unknown(pinned, [column.name for column in relation.columns], name)
            return as_stream(connection, relation, looked_schema(connection, relation, pinned))

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """One split for each selection, all in one snapshot: it cannot be shared between connections."""
        connection, warnings = self._connect()
        forget = self.settings.cancel.on_cancel(lambda: _interrupt(connection))
        try:
            with _translated():
                connection.execute("BEGIN")
                identity = _identity(connection, self.config.database)  # the first read takes the snapshot
                key = uuid.uuid4().hex
                readings = [
                    _reading(connection, selection, since.get(selection.stream.id), until, identity)
                    for selection in selections
                ]
        except BaseException:
            forget()
            connection.close()
            raise
        self._snapshots[key] = connection
        splits = [
            Split(s.stream.id, s.stream.id, {**r.spec, "snapshot": key}, rows=s.stream.rows)
            for s, r in zip(selections, readings, strict=True)
        ]
        tokens = {s.stream.id: r.token for s, r in zip(selections, readings, strict=True) if r.token}

        def close() -> None:
            forget()
            if self._snapshots.pop(key, None) is not None:
                connection.close()

        return _SnapshotPlan(splits, tokens, [*warnings, *(w for r in readings for w in r.warnings)], close)

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The rows in the plan's snapshot; where the plan is not of this process, in one of their own."""
        connection = self._snapshots.get(split.spec["snapshot"])
        with _translated(stream=split.stream):
            if connection is not None:
                yield from self._rows(connection, split)
                return
            with self._connected(stream=split.stream) as own:
                yield from self._rows(own, split)

    def _rows(self, connection: sqlite3.Connection, split: Split) -> Iterator[pa.RecordBatch]:
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(split.spec["schema"])))
        rows = connection.execute(split.spec["sql"], split.spec["bound"])
        chunk_rows, held_bytes = 16, 0
        chunks: list[pa.RecordBatch] = []
        while found := rows.fetchmany(chunk_rows):
            self.settings.cancel.check()
            try:
                chunk = batch_of(found, schema, split.spec["as_text"], split.stream)
            except DataError as error:
                raise _told_in_full(connection, split, error) from error
            # A chunk is never far larger than the one before: rows may be of any size (Promise 5).
            row_bytes = max(chunk.nbytes // len(found), 1)
            wanted = max(self.settings.batch_bytes // 4 // row_bytes, 1)
            chunk_rows = min(chunk_rows * 4, wanted, MOST_CHUNK_ROWS)
            chunks.append(chunk)
            held_bytes += chunk.nbytes
            if held_bytes >= self.settings.batch_bytes:
                yield _joined(chunks)
                chunks, held_bytes = [], 0
        if chunks:
            yield _joined(chunks)

    def close(self) -> None:
        """Closes what plans have open."""
        for key in list(self._snapshots):
            self._snapshots.pop(key).close()

    @contextmanager
    def _connected(self, **where: str) -> Iterator[sqlite3.Connection]:
        with _translated(**where):
            connection, _ = self._connect()
            forget = self.settings.cancel.on_cancel(lambda: _interrupt(connection))
            try:
                yield connection
            finally:
                forget()
                connection.close()

    def _connect(self) -> tuple[sqlite3.Connection, list[str]]:
        """A read-only connection, and what the user should know about it."""
        path = Path(self.config.database).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"there is no database file {path}" if not path.exists() else f"{path} is no file",
                hint=_files_beside(path),
            )
        with _translated():
            try:
                return self._opened(path, ""), []
            except sqlite3.OperationalError as error:
                if not _may_be_immutable(path, error):
                    raise
            warning = (
                f"{path.name} is in WAL mode in a folder that this user cannot write to: it is read as a "
                "file that nobody writes to meanwhile"
            )
            return self._opened(path, "&immutable=1"), [warning]

    def _opened(self, path: Path, options: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro{options}",
            uri=True,
            timeout=self.config.timeout_seconds,
            isolation_level=None,
            check_same_thread=False,  # one worker reads what the plan opened; SQLite is built thread-safe
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


class _SnapshotPlan(Plan):
    def __init__(
        self,
        splits: Sequence[Split],
        tokens: Mapping[str, Token],
        warnings: Sequence[str],
        give_back: Callable[[], None],
    ) -> None:
        super().__init__(splits, tokens, warnings=warnings)
        self._give_back = give_back

    def close(self) -> None:
        """Ends the transaction that holds the snapshot."""
        self._give_back()


# ---- what is to be read


@dataclass(frozen=True)
class _Reading:
    """What one selection comes to: the spec of its split, the token behind it, warnings."""

    spec: dict[str, Any]
    token: Token | None = None
    warnings: tuple[str, ...] = ()


def _wanted_relation(
    connection: sqlite3.Connection, name: str, options: SqliteStreamOptions, query: str | None
) -> Relation:
    relation = query_relation(connection, name, query) if query else named_relation(connection, name)
    return narrowed(relation, options.where, options.exclude_columns)


def _reading(
    connection: sqlite3.Connection,
    selection: Selection,
    position: Position | None,
    until: Token | None,
    identity: Mapping[str, Any],
) -> _Reading:
    stream = selection.stream
    options: SqliteStreamOptions = selection.options or SqliteStreamOptions()
    pinned = options.columns
    relation = _wanted_relation(connection, stream.name, options, selection.query)
    missing = set(stream.schema.names) - {column.name for column in relation.columns}
    if missing:
        raise QueryError(
            f"{stream.name} has lost its column {', '.join(sorted(missing))}",
            hint="its columns changed a moment ago: run again",
            where={"stream": stream.name},
        )
    selected = ", ".join(
        f"CAST({identifier(name)} AS BLOB)" if pinned.get(name) == "binary" else identifier(name)
        for name in stream.schema.names
    )
    spec = {
        "sql": f"SELECT {selected} FROM {relation.sql}",
        "bound": [],
        "schema": stream.schema.serialize().to_pybytes().hex(),
        "as_text": [name for name, word in pinned.items() if field_of(name, word).type == pa.string()],
        "relation": relation.sql,
    }
    if selection.cursor is None:
        return _Reading(spec)
    if selection.cursor not in stream.schema.names:
        raise QueryError(
            f"{stream.name} has no column {selection.cursor!r} to be its cursor",
            hint=f"its columns: {', '.join(stream.schema.names)}",
        )
    grows = relation.autoincrement and selection.cursor == relation.rowid_column
    cursor = Cursor(relation.sql, selection, identity, grows)
    bounds = cursor.bounds(connection, position.token if position else None, until)
    condition, values = cursor.condition(bounds)
    spec |= {"sql": f"{spec['sql']} WHERE {condition}", "bound": values}
    return _Reading(spec, cursor.token(bounds), tuple(cursor.warnings))


def _identity(connection: sqlite3.Connection, database: str) -> dict[str, Any]:
    """What differs when another database stands under the name, or its tables were made anew."""
    about = os.stat(os.path.expanduser(database))
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    return {"file": f"{about.st_dev}:{about.st_ino}", "schema": version}


def _told_in_full(connection: sqlite3.Connection, split: Split, error: DataError) -> DataError:
    """The error about one value as one about its column: how many values of which type it has."""
    name = error.where.get("column", "")
    counts = connection.execute(
        f"SELECT typeof({identifier(name)}), count(*) FROM {split.spec['relation']} "
        f"WHERE {identifier(name)} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC"
    ).fetchall()
    if len(counts) < 2:
        word = {"real": "float64", "blob": "binary"}.get(counts[0][0], "text") if counts else "text"
        error.hint = f"`columns: {{{name}: {word}}}` in asgard.yml carries the column as it is"
        return error
    told = ", ".join(f"{count} {storage}" for storage, count in counts)
    return mixed_values([(name, f"{told}: {error.what}")])


def _joined(chunks: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return chunks[0] if len(chunks) == 1 else pa.concat_batches(chunks)


# ---- what goes wrong


@contextmanager
def _translated(**where: str) -> Iterator[None]:
    """Turns SQLite's exceptions into ours."""
    try:
        yield
    except AsgardError as error:
        raise error.at(**where) from error.__cause__
    except sqlite3.Error as error:
        raise _as_ours(error, where) from error


def _as_ours(error: sqlite3.Error, where: dict[str, str]) -> AsgardError:
    text = str(error)
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        if bad := re.match(r"Could not decode to UTF-8 column '(.*?)' with text", text):
            return DataError(
                f"a text in column {bad[1]} is no UTF-8",
                hint=f"`columns: {{{bad[1]}: binary}}` in asgard.yml carries its bytes",
                where={**where, "column": bad[1]},
            )
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.Warning):
            return QueryError(text, hint="a query is one SELECT", where=where)
        return DataError(text, where=where)
    primary = code & 0xFF  # an extended code has the primary one in its low byte
    if primary == sqlite3.SQLITE_INTERRUPT:
        return Cancelled("cancelled", where=where)
    kind, hint = _ERRORS.get(primary, (DataError, ""))
    return kind(text, hint=hint, where=where)


_ERRORS: dict[int, tuple[type[AsgardError], str]] = {
    sqlite3.SQLITE_ERROR: (QueryError, "asgard discover lists the tables and their columns"),
    sqlite3.SQLITE_BUSY: (Unreachable, "a writer holds the file: raise timeout_seconds, or use WAL mode"),
    sqlite3.SQLITE_LOCKED: (Unreachable, "a writer holds the table: raise timeout_seconds"),
    sqlite3.SQLITE_PROTOCOL: (Unreachable, ""),
    sqlite3.SQLITE_IOERR: (Unreachable, "look at the disk"),
    sqlite3.SQLITE_SCHEMA: (Unreachable, "its tables changed a moment ago"),
    sqlite3.SQLITE_PERM: (Refused, "give this user the right to read the file"),
    sqlite3.SQLITE_AUTH: (Refused, "give this user the right to read the file"),
    sqlite3.SQLITE_CANTOPEN: (Refused, "give this user the right to read the file and its folder"),
    sqlite3.SQLITE_READONLY: (
        Refused,
        "the journal of an interrupted writer is left: open it once for writing",
    ),
    sqlite3.SQLITE_CORRUPT: (DataError, "restore it from a backup, or try: sqlite3 FILE '.recover'"),
    sqlite3.SQLITE_NOTADB: (DataError, "the file is no SQLite database, is encrypted, or is cut off"),
    sqlite3.SQLITE_FULL: (OutOfSpace, "free space for temporary files"),
    sqlite3.SQLITE_NOMEM: (OutOfSpace, "the query needs more memory than there is"),
    sqlite3.SQLITE_MISUSE: (Bug, ""),
}


def _interrupt(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.ProgrammingError):  # it was closed meanwhile
        connection.interrupt()


def _may_be_immutable(path: Path, error: sqlite3.OperationalError) -> bool:
    """Whether opening failed only because WAL mode needs to write beside the file, which nobody does."""
    blocked = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
    if error.sqlite_errorcode & 0xFF not in blocked or os.access(path.parent, os.W_OK, effective_ids=True):
        return False
    with suppress(OSError), path.open("rb") as file:
        wal = file.read(20)[18:20] == b"\x02\x02"
        log = path.with_name(f"{path.name}-wal")
        return wal and (not log.exists() or not log.stat().st_size)
    return False


def _files_beside(path: Path) -> str:
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    near = get_close_matches(path.name, names, 3, 0.4)
    return f"{folder} has {', '.join(near)}" if near else "look at `database`"


CONNECTOR = SqliteSource
