"""Parquet files: the footer's types as they are, row groups one after the other.

Several files of one set may lack columns of each other, and may have narrower or wider numbers; what else
differs is refused. Leaves the canonical types to `core.types`.

Reference: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as t

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, DataError
from asgard.transport.column_types import word_of
from asgard.transport.files import FoundFile, refuse_changed, translated

MOST_BATCH_ROWS = 16_384
BUFFER_BYTES = 1 << 20


@contextmanager
def _opened(file: FoundFile) -> Iterator[pq.ParquetFile]:
    if file.compression:
        raise ConfigError(
            f"{file.name} is Parquet inside {file.compression}, which cannot be read from its end",
            hint="unpack it; Parquet is compressed inside",
            where={"file": file.name},
        )
    with translated(file.name):
        refuse_changed(file)
        with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=BUFFER_BYTES) as opened:
            yield opened


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
    file: FoundFile, groups: Sequence[int], schema: pa.Schema, batch_bytes: int, cancel: Cancel
) -> Iterator[pa.RecordBatch]:
    """The rows of some row groups in the schema of the file's set."""
    for group in groups:
        with _opened(file) as opened:
            about = opened.metadata.row_group(group)
            row_bytes = max(about.total_byte_size // max(about.num_rows, 1), 1)
            batch_rows = max(min(batch_bytes // row_bytes, MOST_BATCH_ROWS), 1)
            for batch in opened.iter_batches(batch_rows, row_groups=[group], use_threads=False):
                cancel.check()
                yield _fitted(batch, schema, file)
    refuse_changed(file)


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
