"""Streams the rows of data files, all of them or without some, in batches bounded by bytes (Promise 5).

The table's own files and those that other writers made: columns that a file does not have are null, types
that only look different (INT96, large strings) become the table's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asgard.core.budget import MEBIBYTE
from asgard.lake.folder import Folder

BATCH_ROWS = 1 << 14
BATCH_BYTES = 8 * MEBIBYTE
SAMPLE_ROWS = 256
NO_ROWS = pa.nulls(0, pa.int64())

RowsOf = Callable[[str], pa.Int64Array]
"""The ascending numbers of the rows of a file that are to be left out."""


def rows_of(
    folder: Folder, files: Sequence[str], schema: pa.Schema, without: RowsOf | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of files, file by file.

    Args:
        folder: of the table that they belong to.
        files: absolute.
        schema: what the rows come in; columns that a file does not have are null.
        without: the rows to leave out; asked once a file. None leaves none out.
    """
    for path in files:
        start, gone = 0, without(path) if without else None
        with _opened(folder, path) as file:
            there = {*file.schema_arrow.names}
            columns = [name for name in schema.names if name in there]
            for batch in file.iter_batches(_batch_rows(file, columns), columns=columns, use_threads=False):
                # First in the schema: Arrow leaves none of the strings out that delta-rs writes.
                whole = _in_schema(batch, schema)
                yield whole if gone is None else left_out(whole, start, gone)
                start += batch.num_rows


def left_out(batch: pa.RecordBatch, start: int, gone: pa.Int64Array) -> pa.RecordBatch:
    """A batch of a file without some rows.

    Args:
        start: the number of its first row.
        gone: ascending numbers of the file's rows.
    """
    stop = start + batch.num_rows
    inside = gone.slice(*span(gone, start, stop))
    if not len(inside):
        return batch
    return batch.filter(pc.invert(pc.is_in(pa.arange(start, stop), value_set=inside)))


def span(numbers: pa.Int64Array, start: int, stop: int) -> tuple[int, int]:
    """Where the numbers from start until stop begin among ascending ones, and how many they are."""
    if not len(numbers):
        return 0, 0
    plain = memoryview(numbers.buffers()[1]).cast("q")[numbers.offset : numbers.offset + len(numbers)]
    first = bisect_left(plain, start)
    return first, bisect_left(plain, stop, lo=first) - first


@contextmanager
def _opened(folder: Folder, path: str) -> Iterator[pq.ParquetFile]:
    with folder.opened(path) as source:
        # A small read buffer: without one a whole column chunk is held, and other writers' chunks are large.
        file = pq.ParquetFile(source, buffer_size=1 << 20, coerce_int96_timestamp_unit="us")
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
