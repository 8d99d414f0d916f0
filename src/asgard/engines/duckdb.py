"""The embedded engine: SELECT over attached mounts in one process, streamed as Arrow, within its memory.

It knows how mounts become views, and how a connection is locked so that a SELECT reads the attached tables
and nothing else. What tables are and where their files lie is the lake's matter; how DuckDB is opened, and
how its errors become ours, is `transport.duck`'s.

Reference: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.types as t

from asgard.core.errors import DataError, QueryError, Refused
from asgard.core.table import Mount, TableName
from asgard.transport import duck

BATCH_ROWS = 8192
"""Small, because the width of a row is not known before it is there (Promise 5). To stream 10 M whole rows
takes a tenth more CPU time than in batches of 100,000; aggregates do not notice."""

WORKER_BYTES = 128 << 20
"""What one worker holds when it reads wide Parquet: with less memory than that for each, fewer work."""

SQL_TYPES = {
    **{"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"},
    **{"uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT"},
    **{"halffloat": "FLOAT", "float": "FLOAT", "double": "DOUBLE", "null": "INTEGER"},
    **{"date32[day]": "DATE", "date64[ms]": "DATE", "month_day_nano_interval": "INTERVAL"},
    **dict.fromkeys(("time32[s]", "time32[ms]", "time64[us]", "time64[ns]"), "TIME"),
    **dict.fromkeys(("string", "large_string", "string_view"), "VARCHAR"),
    **dict.fromkeys(("binary", "large_binary", "binary_view"), "BLOB"),
}
"""The Arrow types without parameters."""

TABLE_FUNCTION = re.compile(r'"type":"TABLE_FUNCTION".*?"function_name":"([^"]*)"')
"""In the syntax tree that DuckDB makes as JSON; inside of texts of the statement its quotes are escaped."""

FUNCTIONS = frozenset(
    ("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram")
)
"""What may stand after FROM besides tables. Of the others some read files, some take addresses in memory or
hide a second statement, and `enable_logging` with a file it may not write ends the whole process."""


class DuckDBEngine:
    """Runs SELECT statements over attached mounts, inside this process.

    A layer is a database in memory, a source a schema in it, and a table a view: `bronze.shop.orders` is
    found in the schema `shop`, `silver.orders` in the main schema of its layer; a plain name in the main
    database. Names are found without regard to case.

    Files are opened when a query runs. From then on the connection may open nothing but the attached files,
    and its settings are locked; attaching something later opens a new connection at the next query.

    Args:
        memory_bytes: DuckDB's limit; what exceeds it is spilled.
        threads: workers of one query; fewer where memory is short.
        spill_folder: where it makes a folder of its own to spill; the system's temporary folder by default.
    """

    dialect = "duckdb"

    def __init__(self, memory_bytes: int, threads: int = 2, spill_folder: str | Path | None = None) -> None:
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._spill_folder = spill_folder
        self._mounts: dict[tuple[str, ...], _Attached] = {}
        self._connection: duck.Connection | None = None

    def attach(self, name: TableName | str, mount: Mount) -> None:
        """Makes the mount readable under its name; a string is one plain name, dots and all."""
        parts = (name,) if isinstance(name, str) else name.parts
        self._mounts[tuple(part.casefold() for part in parts)] = _Attached(parts, mount)
        self.close()

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Runs one SELECT (or VALUES, DESCRIBE, SHOW, SUMMARIZE) and streams its rows in small batches.

        Raises:
            QueryError: not exactly one SELECT, or it names what is not there; the hint names near tables.
            Refused: it reaches for a file, an address, or a function that does more than make rows.
            DataError: a value cannot be cast or calculated, or a file of a table is damaged or gone. Comes
                while reading, too.
            OutOfSpace: neither memory nor the spill folder sufficed. Comes while reading, too.
            Cancelled: `interrupt` was called. Comes while reading, too.
        """
        with self._translated(sql):
            reader = self._checked(sql).sql(sql).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader, sql))

    def explain(self, sql: str) -> str:
        """The plan of one SELECT as text, without running it.

        Raises:
            QueryError: as for `query`.
        """
        with self._translated(sql):
            rows = self._checked(sql).execute(f"EXPLAIN {sql}").fetchall()
        return "\n".join(text for _, text in rows)

    def interrupt(self) -> None:
        """Breaks the running query off, from any thread; nothing when none runs."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        """Gives memory and spill files back; another query opens the engine anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, sql: str) -> duck.Connection:
        connection = self._opened()
        kinds = [statement.type.name for statement in connection.extract_statements(sql)]
        if kinds != ["SELECT"]:
            found = "nothing" if not kinds else " and ".join(kinds)
            raise QueryError(
                f"a query is exactly one SELECT, this is {found}",
                hint="PIVOT needs its values: PIVOT ... ON column IN (...)" if "CREATE" in kinds else "",
            )
        # Not as a parameter: for those DuckDB imports pandas where that is, half a second for nothing.
        (tree,) = connection.execute(f"SELECT json_serialize_sql({duck.literal(sql)})").fetchall()[0]
        if tree.startswith('{"error":true'):
            # A PRAGMA becomes a SELECT before it is said to be one; what has no tree, nobody looked into.
            raise QueryError("a query is exactly one SELECT, this is another statement")
        for function in TABLE_FUNCTION.findall(tree):
            if function not in FUNCTIONS:
                raise Refused(
                    f"{function} is refused in a query", hint="a query reads tables and nothing else"
                )
        return connection

    def _opened(self) -> duck.Connection:
        if self._connection is None:
            mounts = [attached.mount for attached in self._mounts.values()]
            connection = duck.connect(
                memory_bytes=self._memory_bytes,
                threads=min(self._threads, self._memory_bytes // WORKER_BYTES),
                spill_folder=self._spill_folder,
                filesystem=next((mount.filesystem for mount in mounts if mount.filesystem), None),
            )
            try:
                # A load's rows keep their order through a SELECT: of two with one key the later one counts.
                connection.execute("SET preserve_insertion_order = true")
                for number, attached in enumerate(self._mounts.values()):
                    attached.create(connection, number)
                _lock(connection, {file for mount in mounts for file in (*mount.files, *mount.marked)})
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _batches(self, reader: pa.RecordBatchReader, sql: str) -> Iterator[pa.RecordBatch]:
        with self._translated(sql), reader:
            yield from reader

    @contextmanager
    def _translated(self, sql: str) -> Iterator[None]:
        try:
            with duck.translated():
                yield
        except Refused as error:
            # A file that went after the connection was locked is looked for as a folder, which is forbidden.
            mounts = (attached.mount for attached in self._mounts.values())
            near = (mount for mount in mounts if mount.filesystem is None)
            files = (file for mount in near for file in (*mount.files, *mount.marked))
            gone = next((file for file in files if not Path(file).exists()), None)
            if gone is None:
                raise
            raise duck.file_gone(gone) from error
        except QueryError as error:
            names = [".".join(attached.parts) for attached in self._mounts.values()]
            raise _placed(error, sql, names) from error


@dataclass(frozen=True)
class _Attached:
    """A mount under the name that it was given."""

    parts: tuple[str, ...]
    mount: Mount

    def create(self, connection: duck.Connection, number: int) -> None:
        """Makes the view. The number makes the names of its parts unique."""
        if len(self.parts) > 1:
            connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {duck.identifier(self.parts[0])}")
            schema = ".".join(duck.identifier(part) for part in self.parts[:-1])
            if len(self.parts) > 2:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        name = ".".join(duck.identifier(part) for part in self.parts)
        connection.execute(f"CREATE VIEW {name} AS {self._select(connection, number)}")

    def _select(self, connection: duck.Connection, number: int) -> str:
        counted = not duck.COUNTS & {name.lower() for name in self.mount.schema.names}
        marked = self.mount.marked if counted else {}
        if self.mount.reader is not None and not marked:
            reader = f"_asgard_reader_{number}"
            connection.register(reader, _Reopened(self.mount))
            return f"SELECT * FROM temp.main.{reader}"
        types = {field.name: _sql_type(field.type) for field in self.mount.schema}
        files = self.mount.files or tuple(marked)
        if not files:
            columns = ", ".join(f"NULL::{kind} AS {duck.identifier(name)}" for name, kind in types.items())
            return f"SELECT {columns} WHERE false"
        listed = ", ".join(duck.literal(_pattern(file)) for file in files)
        # The table's columns and types, whatever a file has: a reader that is told them casts what is
        # narrower and fills what is missing, without opening every file beforehand as union_by_name does.
        columns = ", ".join(_column(duck.literal(name), duck.literal(kind)) for name, kind in types.items())
        floats = duck.replacing_floats(self.mount.schema)
        kept = duck.keeping(connection, f"_asgard_gone_{number}", marked) if marked else ""
        return (
            f"SELECT *{floats} FROM read_parquet([{listed}], hive_partitioning=false, "
            f"schema=MAP {{{columns}}}){kept}"
        )


@dataclass(frozen=True)
class _Reopened:
    """What DuckDB scans: each scan of a query opens the mount's reader anew."""

    mount: Mount

    def __arrow_c_schema__(self) -> Any:
        return self.mount.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = self.mount.reader()
        if reader.schema != self.mount.schema:
            reader = reader.cast(self.mount.schema)
        return reader.__arrow_c_stream__(requested_schema)


def _column(name: str, kind: str) -> str:
    return f"{name}: {{name: {name}, type: {kind}, default_value: NULL}}"


def _sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type. To ask DuckDB itself would import pandas, where that is installed."""
    if t.is_decimal(kind) and kind.precision <= 38:
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if t.is_timestamp(kind):
        units = {"s": "_S", "ms": "_MS", "us": "", "ns": "_NS"}
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else f"TIMESTAMP{units[kind.unit]}"
    if t.is_map(kind):
        return f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})"
    if t.is_struct(kind):
        return f"STRUCT({', '.join(f'{duck.identifier(f.name)} {_sql_type(f.type)}' for f in kind)})"
    if t.is_list(kind) or t.is_large_list(kind) or t.is_list_view(kind) or t.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if t.is_fixed_size_binary(kind):
        return "BLOB"
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return _sql_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _sql_type(kind.storage_type)
    if str(kind) not in SQL_TYPES:
        raise DataError(f"DuckDB has no type for Arrow's {kind}", hint="cast the column to another type")
    return SQL_TYPES[str(kind)]


def _pattern(file: str) -> str:
    """The pattern that only this file matches: DuckDB reads every path as a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", file)


def _lock(connection: duck.Connection, files: set[str]) -> None:
    allowed = files | {_pattern(file) for file in files}
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET allowed_paths = [{', '.join(duck.literal(path) for path in sorted(allowed))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _placed(error: QueryError, sql: str, names: list[str]) -> QueryError:
    """The error with its place in the statement, and with near names instead of DuckDB's system tables."""
    text, _, excerpt = re.sub(r"^\w+ Error: ", "", error.what).partition("\n\nLINE ")
    missing = re.match(r'(?:Table with name|Catalog) "?(?P<name>.+?)"? does not exist', text)
    if missing is None:
        return QueryError(text, hint=error.hint, where=error.where | _caret(excerpt, sql))
    name = missing["name"].casefold()
    written = next(
        (n for n in re.finditer(r'[\w."]+', sql) if name in n[0].replace('"', "").casefold()), None
    )
    wanted = written[0].replace('"', "") if written else missing["name"]
    near = get_close_matches(wanted, names, n=3, cutoff=0.5)
    return QueryError(
        f"there is no table {wanted}",
        hint=f"did you mean {' or '.join(near)}?" if near else "asgard tables lists what there is",
        where=error.where | (_place(sql, written.start()) if written else {}),
    )


def _caret(excerpt: str, sql: str) -> dict[str, str]:
    """The place that DuckDB's `LINE 3: ...some text...` with a caret below means."""
    shown = re.match(r"(?P<line>\d+): (?P<cut>(?:\.\.\.)?)(?P<text>.*?)(?:\.\.\.)?\n(?P<to>.*)\^", excerpt)
    lines = sql.split("\n")
    if shown is None or int(shown["line"]) > len(lines):
        return {}
    start = lines[int(shown["line"]) - 1].find(shown["text"])
    inside = len(shown["to"]) - len(f"LINE {shown['line']}: {shown['cut']}")
    return {} if start < 0 else {"line": shown["line"], "column": str(start + inside + 1)}


def _place(sql: str, index: int) -> dict[str, str]:
    before = sql[:index]
    return {"line": str(before.count("\n") + 1), "column": str(index - before.rfind("\n"))}
