"""Copy-on-write: which rows share a key, and files written anew without the rows that have to go.

Nothing is joined as whole rows. DuckDB joins keys alone - those that were staged with those of the files
whose bounds admit them - and answers with places: file and row number. Files without such a place stay as
they are; the others are streamed through Arrow once, leaving those rows out. Memory is bounded by DuckDB's
limit, which spills, and by one row group (Promise 5). docs/decisions/0022-merge.md has the figures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asgard.core.budget import MEBIBYTE
from asgard.transport import duck

BATCH_ROWS = 1 << 14
BATCH_BYTES = 8 * MEBIBYTE
SAMPLE_ROWS = 256


@dataclass(frozen=True)
class Keys:
    """How rows are told apart.

    Attributes:
        columns: the key.
        order_by: of rows with one key the one with the greatest value here is kept; empty: the last staged.
    """

    columns: tuple[str, ...]
    order_by: str = ""


@dataclass(frozen=True)
class Places:
    """Rows of files.

    Attributes:
        rows: file to the ascending numbers of its rows.
    """

    rows: Mapping[str, pa.Int64Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(len(numbers) for numbers in self.rows.values())

    def __or__(self, other: Places) -> Places:
        both = dict(self.rows)
        for file, numbers in other.rows.items():
            if file in both:
                numbers = pc.unique(pa.concat_arrays([both[file], numbers])).sort()
            both[file] = numbers
        return Places(both)

    def within(self, file: str, start: int, stop: int) -> pa.Int64Array:
        """Those of one file from a row number up to another."""
        numbers = self.rows[file]
        plain = memoryview(numbers.buffers()[1]).cast("q")[numbers.offset : numbers.offset + len(numbers)]
        first = bisect_left(plain, start)
        return numbers.slice(first, bisect_left(plain, stop, lo=first) - first)


LEAST_BYTES_FOR_TWO_WORKERS = 192 << 20


class KeyIndex:
    """The keys of staged files, for questions about them. A context manager: it holds a DuckDB.

    Args:
        files: absolute paths of the staged files, in the order in which they count as later.
        keys: how rows are told apart.
        memory_bytes: what DuckDB may hold.
    """

    def __init__(self, files: Sequence[str], keys: Keys, memory_bytes: int) -> None:
        self._files = list(files)
        self._keys = keys
        self._names = ", ".join(duck.identifier(name) for name in keys.columns)
        with duck.translated():
            # Each worker of a query that sorts or groups needs a share that cannot be spilled.
            threads = 1 if memory_bytes < LEAST_BYTES_FOR_TWO_WORKERS else 2
            self._connection = duck.connect(memory_bytes=memory_bytes, threads=threads)
        self._connection.execute(f"CREATE VIEW staged AS SELECT * FROM {_files_sql(self._files)}")

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

    def repeated(self) -> Places:
        """Staged rows that yield to another staged row with the same key."""
        order = "file_index DESC, file_row_number DESC"
        if self._keys.order_by:
            order = f"{duck.identifier(self._keys.order_by)} DESC NULLS LAST, {order}"
        with duck.translated():
            self._connection.execute(
                "CREATE OR REPLACE TEMP TABLE repeated AS "
                f"SELECT {self._names} FROM staged GROUP BY ALL HAVING count(*) > 1"
            )
            if not self._connection.sql("SELECT 1 FROM repeated LIMIT 1").fetchall():
                return Places()
            self._collect(
                f"SELECT file_index, file_row_number FROM staged SEMI JOIN repeated USING ({self._names}) "
                f"QUALIFY row_number() OVER (PARTITION BY {self._names} ORDER BY {order}) > 1"
            )
            return self._places(self._files)

    def matched(self, table_files: Sequence[str]) -> Places:
        """Rows of the table whose key was staged."""
        table_files = self._with_keys(table_files)
        if not table_files or not self._files:
            return Places()
        with duck.translated():
            self._collect(
                f"SELECT file_index, file_row_number FROM {_files_sql(table_files)} "
                f"SEMI JOIN (SELECT {self._names} FROM staged) USING ({self._names})"
            )
            return self._places(table_files)

    def known(self, table_files: Sequence[str]) -> Places:
        """Staged rows whose key is in the table."""
        table_files = self._with_keys(table_files)
        if not table_files or not self._files:
            return Places()
        with duck.translated():
            self._collect(
                "SELECT file_index, file_row_number FROM staged "
                f"SEMI JOIN (SELECT {self._names} FROM {_files_sql(table_files)}) USING ({self._names})"
            )
            return self._places(self._files)

    def _with_keys(self, files: Sequence[str]) -> list[str]:
        """The files that have the key columns; others are from before these were added."""
        return [path for path in files if {*self._keys.columns} <= {*pq.read_schema(path).names}]

    def _collect(self, query: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE places AS {query}")

    def _places(self, files: Sequence[str]) -> Places:
        indices = self._connection.sql("SELECT DISTINCT file_index FROM places ORDER BY 1").fetchall()
        found = {}
        for (index,) in indices:
            numbers = self._connection.sql(
                f"SELECT file_row_number FROM places WHERE file_index = {index} ORDER BY 1"
            ).to_arrow_table()
            found[files[index]] = numbers.column(0).combine_chunks()
        return Places(found)


def rows_without(files: Sequence[str], places: Places, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of files but for some, file by file, in small batches.

    Args:
        files: absolute paths.
        places: the rows to leave out.
        schema: what the rows come in; columns that a file does not have are null.
    """
    for path in files:
        start = 0
        with _opened(path) as file:
            there = {*file.schema_arrow.names}
            columns = [name for name in schema.names if name in there]
            for batch in file.iter_batches(_batch_rows(file, columns), columns=columns, use_threads=False):
                stop = start + batch.num_rows
                if path in places.rows and len(dropped := places.within(path, start, stop)):
                    batch = batch.filter(pc.invert(pc.is_in(pa.arange(start, stop), value_set=dropped)))
                start = stop
                yield _in_schema(batch, schema)


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    # A small read buffer: without one a whole column chunk is held, and other writers' chunks are large.
    file = pq.ParquetFile(path, buffer_size=1 << 20, coerce_int96_timestamp_unit="us")
    try:
        yield file
    finally:
        file.close()


def _batch_rows(file: pq.ParquetFile, columns: list[str]) -> int:
    """How many rows are about `BATCH_BYTES`, judged by the first: a dictionary hides how wide they are."""
    for sample in file.iter_batches(SAMPLE_ROWS, columns=columns):
        row_bytes = max(sample.nbytes // max(sample.num_rows, 1), 1)
        return int(min(max(BATCH_BYTES // row_bytes, 1), BATCH_ROWS))
    return BATCH_ROWS


def _in_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column in schema:
        index = batch.schema.get_field_index(column.name)
        array = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, column.type)
        columns.append(array if array.type == column.type else array.cast(column.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _files_sql(files: Sequence[str]) -> str:
    listed = ", ".join(duck.literal(path) for path in files)
    return f"(SELECT *, file_index, file_row_number FROM read_parquet([{listed}], union_by_name = true))"
