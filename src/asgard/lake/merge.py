"""Copy-on-write: which rows share a key, and files written anew without the rows that have to go.

Nothing is joined as whole rows. DuckDB joins keys alone - those that were staged with those of the files
whose bounds admit them - and answers with places: file and row number. Files without such a place stay as
they are; `lake.rewrite` streams the others once, leaving those rows out. Memory is bounded by DuckDB's limit,
which spills, and by the places of one file (Promise 5). docs/decisions/0022-merge.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.lake.folder import Folder
from asgard.lake.rewrite import NO_ROWS, left_out, rows_of
from asgard.transport import duck

LEAST_BYTES_FOR_TWO_WORKERS = 192 << 20
FILE, ROW = '"_asgard_file"', '"_asgard_row"'
"""Where a row lies: which of the files, and its number there. No column of a table has such a name."""


@dataclass(frozen=True)
class Keys:
    """How rows are told apart.

    Attributes:
        columns: the key.
        order_by: of rows with one key the one with the greatest value here is kept; empty: the last staged.
        deleted: the column by which a row says that it is deleted; empty: no row does.
    """

    columns: tuple[str, ...]
    order_by: str = ""
    deleted: str = ""


class KeyIndex:
    """The keys of staged files, for questions about them. A context manager: it holds a DuckDB.

    Args:
        folder: of the table.
        files: the staged files, absolute, in the order in which they count as later.
        keys: how rows are told apart.
        memory_bytes: what DuckDB may hold.
        gone: rows of the table's files that do not count, by file.
    """

    def __init__(
        self,
        folder: Folder,
        files: Sequence[str],
        keys: Keys,
        memory_bytes: int,
        gone: Mapping[str, pa.Int64Array] | None = None,
    ) -> None:
        self._folder = folder
        self._gone = gone or {}
        self._files = list(files)
        self._keys = keys
        self._answers = self._tables = 0
        self._schemas: dict[str, pa.Schema] = {}
        self._names = ", ".join(duck.identifier(name) for name in keys.columns)
        with duck.translated():
            # Each worker of a query that sorts or groups needs a share that cannot be spilled.
            threads = 1 if memory_bytes < LEAST_BYTES_FOR_TWO_WORKERS else 2
            self._connection = duck.connect(
                memory_bytes=memory_bytes, threads=threads, filesystem=folder.filesystem
            )
        columns = self._columns(self._files[0]) if self._files else []
        self._floats = duck.replacing_floats([field for field in columns if field.name in keys.columns])
        if self._files:
            self._connection.execute(f"CREATE VIEW staged AS SELECT * FROM {self._files_sql(self._files)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def bounds(self) -> dict[str, tuple[pa.Scalar, pa.Scalar]]:
        """Smallest and largest staged value of each key column; empty when nothing is staged."""
        asked = ", ".join(f"min({name}), max({name})" for name in map(duck.identifier, self._keys.columns))
        with duck.translated():
            row = self._connection.sql(f"SELECT {asked} FROM staged").to_arrow_table()
        values = [column[0] for column in row.columns]
        if not values[0].is_valid:
            return {}
        pairs = zip(values[::2], values[1::2], strict=True)
        return dict(zip(self._keys.columns, pairs, strict=True))

    def unwanted(self, repeat: bool) -> Places:
        """Staged rows that yield to another staged row with the same key, and those that are deleted.

        Args:
            repeat: whether a key may have been staged more than once.
        """
        parts = [self._repeated()] if repeat else []
        if self._keys.deleted:
            parts.append(f"SELECT {FILE}, {ROW} FROM staged WHERE {self._deleted()}")
        return self._places(self._files if parts else [], _together(parts))

    def repeated_or_known(self, table_files: Sequence[str], repeat: bool) -> Places:
        """Staged rows whose key is in the table, and those that yield to another staged row.

        Args:
            table_files: the table's files, absolute, that may hold the keys.
            repeat: whether a key may have been staged more than once.
        """
        files = self._with_keys(table_files)
        known = (
            f"SELECT {FILE}, {ROW} FROM staged "
            f"SEMI JOIN (SELECT {self._names} FROM {self._files_sql(files)}) USING ({self._names})"
        )
        parts = [*([known] if files else []), *([self._repeated()] if repeat else [])]
        return self._places(self._files if parts else [], _together(parts))

    def matched(self, table_files: Sequence[str]) -> Places:
        """Rows of the table whose key was staged."""
        files = self._with_keys(table_files)
        return self._places(
            files,
            f"SELECT {FILE}, {ROW} FROM {self._files_sql(files)} "
            f"SEMI JOIN (SELECT {self._names} FROM staged) USING ({self._names})",
        )

    def absent(self, table_files: Sequence[str]) -> Places:
        """Rows of the table whose key was not staged."""
        files = self._with_keys(table_files)
        found = f"SELECT {FILE}, {ROW} FROM {self._files_sql(files)}"
        if self._files:
            found += f" ANTI JOIN (SELECT {self._names} FROM staged) USING ({self._names})"
        return self._places(files, found)

    def _deleted(self) -> str:
        """SQL of whether a staged row says that it is deleted."""
        name = duck.identifier(self._keys.deleted)
        kind = self._columns(self._files[0]).field(self._keys.deleted).type
        return f"coalesce({name}, false)" if pa.types.is_boolean(kind) else f"{name} IS NOT NULL"

    def _repeated(self) -> str:
        order = f"{FILE} DESC, {ROW} DESC"
        if self._keys.order_by:
            order = f"{duck.identifier(self._keys.order_by)} DESC NULLS LAST, {order}"
        with duck.translated():
            self._connection.execute(
                "CREATE OR REPLACE TABLE repeated AS "
                f"SELECT {self._names} FROM staged GROUP BY ALL HAVING count(*) > 1"
            )
        return (
            f"SELECT {FILE}, {ROW} FROM staged SEMI JOIN repeated USING ({self._names}) "
            f"QUALIFY row_number() OVER (PARTITION BY {self._names} ORDER BY {order}) > 1"
        )

    def _with_keys(self, files: Sequence[str]) -> list[str]:
        """The files that have the key columns; others are from before these were added."""
        return [path for path in files if {*self._keys.columns} <= {*self._columns(path).names}]

    def _columns(self, path: str) -> pa.Schema:
        if path not in self._schemas:
            with self._folder.opened(path) as file:
                self._schemas[path] = pq.read_schema(file)
        return self._schemas[path]

    def _files_sql(self, files: Sequence[str]) -> str:
        hidden = {name.lower() for path in files for name in self._columns(path).names} & duck.COUNTS
        if hidden:
            return f"(SELECT *{self._floats} FROM {self._numbered(files)})"
        listed = ", ".join(duck.literal(path) for path in files)
        return (
            f"(SELECT *{self._floats}, file_index AS {FILE}, file_row_number AS {ROW} "
            f"FROM read_parquet([{listed}], union_by_name = true){self._keeping(files)})"
        )

    def _keeping(self, files: Sequence[str]) -> str:
        """SQL that leaves out the rows of files that do not count."""
        marked = {path: self._gone.get(path, NO_ROWS) for path in files}
        if not any(map(len, marked.values())):
            return ""
        self._tables += 1
        return duck.keeping(self._connection, f"gone_{self._tables}", marked)

    def _numbered(self, files: Sequence[str]) -> str:
        """A table of the rows of files in which DuckDB cannot count them: a column has the count's name."""
        own = pa.unify_schemas([self._columns(path) for path in files], promote_options="permissive")
        own = own.remove_metadata()
        schema = pa.schema(
            [*own, pa.field(FILE.strip('"'), pa.int64()), pa.field(ROW.strip('"'), pa.int64())]
        )

        def batches() -> Iterator[pa.RecordBatch]:
            for index, path in enumerate(files):
                start, gone = 0, self._gone.get(path, NO_ROWS)
                for batch in rows_of(self._folder, [path], own):
                    stop = start + batch.num_rows
                    place = [pa.repeat(index, batch.num_rows), pa.arange(start, stop)]
                    numbered = pa.RecordBatch.from_arrays([*batch.columns, *place], schema=schema)
                    yield left_out(numbered, start, gone)
                    start = stop

        self._tables += 1
        name = f"numbered_{self._tables}"
        rows = pa.RecordBatchReader.from_batches(schema, batches())
        with duck.translated():
            self._connection.register("rows_to_number", rows)
            self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM rows_to_number")
            self._connection.unregister("rows_to_number")
        return name

    def _places(self, files: Sequence[str], query: str) -> Places:
        self._answers += 1
        name = f"places_{self._answers}"
        with duck.translated():
            source = query if files else f"SELECT 0 AS {FILE}, 0 AS {ROW} WHERE false"
            self._connection.execute(f"CREATE TABLE {name} AS {source}")
        return Places(self._connection, name, files)


def _together(parts: Sequence[str]) -> str:
    return " UNION ALL ".join(f"({part})" for part in parts)


class Places:
    """Rows of files, by number. They lie in the DuckDB of their index, which spills, as long as that is open.

    Attributes:
        files: those that have some.
        counts: how many rows of each, as often as they were found.
        count: of all.
    """

    def __init__(self, connection: duck.Connection, table: str, files: Sequence[str]) -> None:
        self._connection = connection
        self._table = table
        with duck.translated():
            found = f"SELECT {FILE}, count(*) FROM {table} GROUP BY 1 ORDER BY 1"
            counts = dict(connection.sql(found).fetchall())
        self._indices = {files[index]: index for index in counts}
        self.files = tuple(self._indices)
        self.counts = {files[index]: int(count) for index, count in counts.items()}
        self.count = sum(self.counts.values())

    def rows(self, file: str) -> pa.Int64Array:
        """The ascending numbers of one file's rows; from any thread."""
        with duck.translated(), self._connection.cursor() as cursor:
            found = cursor.execute(
                f"SELECT DISTINCT {ROW} FROM {self._table} WHERE {FILE} = {self._indices[file]} ORDER BY 1"
            ).to_arrow_table()
        return found.column(0).combine_chunks()
