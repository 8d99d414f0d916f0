"""Parquet files: the footer's types as they are, row groups one after the other.

Several files of one set may lack columns of each other, and may have narrower or wider numbers; what else
differs is refused. Pages whose checksum is wrong are refused where writers left one. Leaves the canonical
types to `core.types`.

An INT96 is a time of nanoseconds in 96 bits. Arrow reads it as nanoseconds of 64 bits, which turns the year
9999 into 1816 without a word, or as microseconds, which cuts digits off: both are read, and compared.

Reference: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as t

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, DataError
from asgard.transport.column_types import word_of
from asgard.transport.files import FoundFile, refuse_changed, translated
from asgard.transport.parquet_pages import encrypted, row_bytes

MOST_BATCH_ROWS = 16_384
BUFFER_BYTES = 1 << 20
FAR_BYTES = 64 << 20


@contextmanager
def _opened(file: FoundFile, int96_unit: str = "us") -> Iterator[pq.ParquetFile]:
    if file.compression:
        raise ConfigError(
            f"{file.name} is Parquet inside {file.compression}, which cannot be read from its end",
            hint="unpack it; Parquet is compressed inside",
            where={"file": file.name},
        )
    with translated(file.name):
        refuse_changed(file)
        try:
            with file.place.content(file) as content, _reader(content, int96_unit) as opened:
                # What is far away is asked for in large pieces, as long as a row group of it may be held.
                if isinstance(content, str) or _most_stored_bytes(opened.metadata) > FAR_BYTES:
                    yield opened
                else:
                    yield _reader(content, int96_unit, metadata=opened.metadata, pre_buffer=True)
        except OSError as error:
            if "crypt" not in str(error):
                raise
            raise encrypted(file) from error


def _reader(content: str | IO[bytes], int96_unit: str, **how: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        content,
        buffer_size=BUFFER_BYTES,
        coerce_int96_timestamp_unit=int96_unit,
        page_checksum_verification=True,
        **{"pre_buffer": False, **how},
    )


def _most_stored_bytes(about: pq.FileMetaData) -> int:
    """The largest row group as it is stored."""
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    sizes = [sum(group.column(n).total_compressed_size for n in range(about.num_columns)) for group in groups]
    return max(sizes, default=0)


def row_groups(file: FoundFile) -> list[tuple[int, int]]:
    """Rows and bytes (as unpacked) of each row group.

    Raises:
        DataError: the file is truncated or damaged.
    """
    with _opened(file) as opened:
        about = opened.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        return [(group.num_rows, group.total_byte_size) for group in groups]


def parquet_schema(files: Sequence[FoundFile]) -> pa.Schema:
    """The columns of all files together, by name, in order of appearance.

    Raises:
        DataError: a column has types that do not go together, or a file is damaged; names the files.
    """
    fields: dict[str, pa.Field] = {}
    origin: dict[str, str] = {}
    for file in files:
        with _opened(file) as opened:
            schema = opened.schema_arrow
        for field in schema:
            known = fields.get(field.name)
            if known is None:
                fields[field.name], origin[field.name] = field.with_nullable(True), file.name
                continue
            wider = _wider(known.type, field.type)
            if wider is None:
                raise DataError(
                    f"column {field.name} is {known.type} in {origin[field.name]}, "
                    f"{field.type} in {file.name}",
                    hint="load them as two tables, each with a path of its own",
                    where={"file": file.name, "column": field.name},
                )
            fields[field.name] = known.with_type(wider)
    return pa.schema(list(fields.values()))


def _wider(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    if first == second or t.is_null(second):
        return first
    if t.is_null(first):
        return second
    for kind in (t.is_signed_integer, t.is_unsigned_integer, t.is_floating):
        if kind(first) and kind(second):
            return first if first.bit_width >= second.bit_width else second
    texts = (pa.string(), pa.large_string())
    return pa.large_string() if first in texts and second in texts else None


def read_parquet(
    file: FoundFile,
    groups: Sequence[int],
    schema: pa.Schema,
    batch_bytes: int,
    cancel: Cancel,
    reader_bytes: int = 1 << 31,
) -> Iterator[pa.RecordBatch]:
    """The rows of some row groups in the schema of the file's set.

    Raises:
        DataError: it takes more than `reader_bytes` to hold what cannot be read in parts, or it is damaged.
    """
    for group in groups:
        with _opened(file) as opened:
            width = max(row_bytes(file, opened.metadata, group, reader_bytes), 1)
            batch_rows = max(min(batch_bytes // width, MOST_BATCH_ROWS), 1)
            for batch in _exact_batches(opened, file, group, batch_rows):
                cancel.check()
                yield _fitted(batch, schema, file)
    refuse_changed(file)


def _exact_batches(
    opened: pq.ParquetFile, file: FoundFile, group: int, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    batches = opened.iter_batches(batch_rows, row_groups=[group], use_threads=False)
    leaves = opened.schema
    if all(leaves.column(number).physical_type != "INT96" for number in range(len(leaves))):
        yield from batches
        return
    with ExitStack() as stack:
        finer = stack.enter_context(_opened(file, "ns"))
        both = zip(opened.schema_arrow, finer.schema_arrow, strict=True)
        names = [coarse.name for coarse, fine in both if coarse.type != fine.type]
        twins = finer.iter_batches(batch_rows, row_groups=[group], columns=names, use_threads=False)
        for batch, twin in zip(batches, twins, strict=True):
            for name in names:
                place = batch.schema.get_field_index(name)
                exact = _exact_times(batch.column(name), twin.column(name), name, file)
                batch = batch.set_column(place, name, exact)
            yield batch


def _exact_times(coarse: pa.Array, fine: pa.Array, column: str, file: FoundFile) -> pa.Array:
    """The microseconds where nothing is below them, else the nanoseconds (Promise 2)."""
    pairs = list(zip(_ticks(coarse), _ticks(fine), strict=True))
    if all(pc.multiply(micros, 1000).equals(nanos) for micros, nanos in pairs):  # both wrap at 2**64
        return coarse
    if all(_floor_thousandth(nanos).equals(micros) for micros, nanos in pairs):
        return fine
    raise DataError(
        f"{file.name} has INT96 times that cannot be read exactly: beyond the year 294000, or nanoseconds "
        "beside times outside of 1677 to 2262",
        hint="write the column as a timestamp of microseconds",
        where={"file": file.name, "column": column},
    )


def _floor_thousandth(ticks: pa.Array) -> pa.Array:
    rest = pc.subtract(ticks, pc.multiply(pc.divide(ticks, 1000), 1000))
    return pc.subtract(pc.divide(ticks, 1000), pc.less(rest, 0).cast(pa.int64()))


def _ticks(array: pa.Array) -> Iterator[pa.Array]:
    """The numbers of every timestamp in a column, however deep, the fields of structs one by one."""
    if t.is_timestamp(array.type):
        yield array.view(pa.int64())
    elif t.is_struct(array.type):
        for child in array.flatten():
            yield from _ticks(child)
    elif t.is_map(array.type):
        yield from _ticks(array.keys)
        yield from _ticks(array.items)
    elif t.is_list(array.type):
        yield from _ticks(array.flatten())


def _fitted(batch: pa.RecordBatch, schema: pa.Schema, file: FoundFile) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        array = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, field.type)
        if array.type != field.type:
            try:
                array = array.cast(field.type)
            except pa.ArrowInvalid as error:
                raise DataError(
                    f"{file.name} has a value that is no {word_of(field.type)}: {error}",
                    hint=f"`columns: {{{field.name}: text}}` in asgard.yml carries the column as text",
                    where={"file": file.name, "column": field.name},
                ) from error
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
