"""Streams the rows of data files in the order of some columns, whatever their size (Promise 5).

DuckDB orders the keys alone, and spills them: it says for each row the place that it gets. The rows
themselves are only moved by Arrow, so that no value passes through a second type system: what does not fit
into memory goes to parts on the disk, each a range of places, and every part is put in order by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from asgard.core.budget import MEBIBYTE
from asgard.lake.folder import Folder
from asgard.lake.rewrite import BATCH_BYTES, RowsOf, rows_of
from asgard.transport import duck
from asgard.transport.spill import SpillFolder

PART_BYTES = 24 * MEBIBYTE
"""What is put in order at once; it is held twice."""
MOST_PARTS = 64
INDEX_BYTES = 128 * MEBIBYTE
"""What DuckDB may hold of the keys."""
PLACE = "_asgard_place"
"""The column of the places; no column of a table has such a name."""
_FILE, _ROW = "_asgard_file", "_asgard_row"


@dataclass(frozen=True)
class Unordered:
    """Rows of some files that are wanted in order.

    Attributes:
        folder: of the table.
        files: absolute.
        schema: what the rows come in; columns that a file does not have are null.
        by: the columns; missing values come last.
        without: the rows of a file to leave out, as `rows_of` takes them.
    """

    folder: Folder
    files: Sequence[str]
    schema: pa.Schema
    by: Sequence[str]
    without: RowsOf | None = None

    def rows(
        self, schema: pa.Schema | None = None, files: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows as the files have them, some of their columns or all."""
        return rows_of(
            self.folder, self.files if files is None else files, schema or self.schema, self.without
        )


def sorted_rows(wanted: Unordered, stopped: Callable[[], bool] = lambda: False) -> Iterator[pa.RecordBatch]:
    """The rows in order, in batches bounded by bytes; ends early when it is stopped.

    Raises:
        OutOfSpace: the disk for what is spilled is full.
    """
    with ExitStack() as stack:
        spill = SpillFolder(None)
        stack.callback(spill.remove)
        connection = duck.connect(memory_bytes=INDEX_BYTES, threads=1, filesystem=wanted.folder.filesystem)
        stack.callback(connection.close)
        count = _index(connection, wanted)
        batches = _with_places(connection, wanted)
        yield from _Ordering(spill.path, stopped).ordered(batches, 0, count)


def _index(connection: duck.Connection, wanted: Unordered) -> int:
    """Makes the table of places; how many there are."""
    keys = pa.schema([wanted.schema.field(name).remove_metadata() for name in wanted.by])
    named = [pa.field(f"k{index}", column.type) for index, column in enumerate(keys)]
    schema = pa.schema([*named, (_FILE, pa.int64()), (_ROW, pa.int64())])

    def numbered() -> Iterator[pa.RecordBatch]:
        for index, path in enumerate(wanted.files):
            start = 0
            for batch in wanted.rows(keys, [path]):
                stop = start + batch.num_rows
                place = [pa.repeat(index, batch.num_rows), pa.arange(start, stop)]
                yield pa.RecordBatch.from_arrays([*batch.columns, *place], schema=schema)
                start = stop

    order = ", ".join([*(f"{field.name} NULLS LAST" for field in named), _FILE, _ROW])
    with duck.translated():
        connection.register("numbered", pa.RecordBatchReader.from_batches(schema, numbered()))
        connection.execute(
            f"CREATE TABLE placed AS SELECT {_FILE}, {_ROW}, "
            f"row_number() OVER (ORDER BY {order}) - 1 AS {PLACE} FROM numbered"
        )
        connection.unregister("numbered")
        found = connection.sql("SELECT count(*) FROM placed").fetchone()
    return int(found[0]) if found else 0


def _with_places(connection: duck.Connection, wanted: Unordered) -> Iterator[pa.RecordBatch]:
    """The rows as the files have them, each with its place."""
    schema = pa.schema([*wanted.schema, (PLACE, pa.int64())])
    with duck.translated():
        query = connection.sql(f"SELECT {PLACE} FROM placed ORDER BY {_FILE}, {_ROW}")
        places = _Places(query.to_arrow_reader(1 << 14))
    for batch in wanted.rows():
        yield pa.RecordBatch.from_arrays([*batch.columns, places.next(batch.num_rows)], schema=schema)


class _Places:
    """The places of rows, one after the other."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._left = pa.arange(0, 0)

    def next(self, rows: int) -> pa.Int64Array:
        parts = [self._left]
        while sum(map(len, parts)) < rows:
            with duck.translated():
                parts.append(self._reader.read_next_batch().column(0))
        together = pa.concat_arrays(parts)
        self._left = together.slice(rows)
        return together.slice(0, rows)


@dataclass(frozen=True)
class _Ordering:
    """Puts rows at their places.

    Attributes:
        folder: for the parts.
        stopped: asked between batches.
    """

    folder: Path
    stopped: Callable[[], bool]

    def ordered(self, batches: Iterator[pa.RecordBatch], first: int, count: int) -> Iterator[pa.RecordBatch]:
        """Rows with the places from `first` on, in their order and without them.

        Args:
            batches: in any order.
            count: how many rows.
        """
        held: list[pa.RecordBatch] = []
        size_bytes = 0
        for batch in batches:
            if self.stopped():
                return
            held.append(batch)
            size_bytes += batch.nbytes
            if size_bytes > PART_BYTES and count > 1:
                break
        else:
            yield from _in_order(held)
            return
        rows = sum(batch.num_rows for batch in held)
        parts = min(max(-(-2 * size_bytes * count // (rows * PART_BYTES)), 2), MOST_PARTS, count)
        spilled = _Parts(self.folder, held[0].schema, first, -(-count // parts), parts)
        with spilled:
            while held:
                spilled.write(held.pop(0))
            for batch in batches:
                if self.stopped():
                    return
                spilled.write(batch)
        for number, path in enumerate(spilled.paths):
            start = first + number * spilled.rows
            if start < first + count:
                with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
                    yield from self.ordered(iter(reader), start, min(spilled.rows, first + count - start))
            path.unlink()


class _Parts:
    """Files that are each a range of places. A context manager: it closes them.

    Attributes:
        paths: of the files.
        rows: places of each.
    """

    _made = 0

    def __init__(self, folder: Path, schema: pa.Schema, first: int, rows: int, parts: int) -> None:
        self.rows = rows
        self._first = first
        _Parts._made += 1
        self.paths = [folder / f"part-{_Parts._made}-{number}.arrow" for number in range(parts)]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._files = [pa.OSFile(str(path), "wb") for path in self.paths]
        self._writers = [pa.ipc.new_stream(file, schema, options=options) for file in self._files]

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for one in (*self._writers, *self._files):
            one.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Gives each row to the file of its place."""
        part = pc.divide(pc.subtract(batch.column(PLACE), self._first), self.rows)
        order = pc.sort_indices(part)
        moved = batch.take(order)
        counts = pc.value_counts(part.take(order))
        start = 0
        for number, rows in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
            self._writers[number].write_batch(moved.slice(start, rows))
            start += rows


def _in_order(held: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows that are all in memory, at their places and without them."""
    if not held:
        return
    rows = pa.Table.from_batches(held)
    held.clear()
    rows = rows.take(pc.sort_indices(rows.column(PLACE))).drop_columns([PLACE])
    fitting = max(1, rows.num_rows * BATCH_BYTES // max(rows.nbytes, 1))
    yield from rows.combine_chunks().to_batches(max_chunksize=fitting)
