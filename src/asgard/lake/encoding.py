"""How columns are written, judged by their first rows: encoding, compression, bounds.

DELTA_BINARY_PACKED for integers, dates, timestamps and decimals of up to 18 digits; a dictionary where values
repeat; zstd level 1 where it makes the column smaller; bounds for texts that lie in order. Figures are in
docs/decisions/0021-parquet.md.

Reference: https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as t

SAMPLE_ROWS = 8192
TELLING_ROWS = 1024
"""A smaller sample does not show whether a column gets smaller."""
MOST_DISTINCT = 0.5
"""A dictionary pays below this share of distinct values in the sample."""
MOST_LEFT = 0.9
"""Compression pays where less than this share of the encoded bytes is left."""
MOST_INTEGER_DIGITS = 18
"""Decimals of so many digits are stored as integers."""


@dataclass(frozen=True)
class Encoding:
    """How the columns of one stream of rows are written.

    Attributes:
        options: arguments of pyarrow's ParquetWriter.
        unbounded: columns for which the footer gets no figures, nulls included.
    """

    options: dict[str, Any]
    unbounded: tuple[str, ...]


def chosen(rows: pa.Table, keys: Collection[str] = ()) -> Encoding:
    """How such rows are best written.

    Args:
        rows: the first rows, at least one.
        keys: columns that get bounds whatever they look like: a merge finds its files by them.
    """
    sample = rows.slice(0, SAMPLE_ROWS)
    packed = {field.name: "DELTA_BINARY_PACKED" for field in sample.schema if _is_countable(field.type)}
    repeating = [
        field.name
        for field in sample.schema
        if field.name not in packed and not t.is_nested(field.type) and _repeats(sample.column(field.name))
    ]
    unbounded = tuple(
        field.name
        for field in sample.schema
        if t.is_string(field.type) and field.name not in keys and not _ascends(sample.column(field.name))
    )
    encodings = {
        "store_decimal_as_integer": True,
        "use_dictionary": repeating or False,
        "column_encoding": packed or None,
    }
    leaves = _leaves(sample, encodings)
    options = {
        **encodings,
        "compression": {path: "zstd" if smaller else "none" for path, smaller in leaves.items()},
        "compression_level": {path: 1 for path, smaller in leaves.items() if smaller},
        "write_statistics": [path for path in leaves if path not in unbounded],
    }
    return Encoding(options, unbounded)


def _leaves(sample: pa.Table, encodings: dict[str, Any]) -> dict[str, bool]:
    """The paths of all leaf columns, and whether compression makes them smaller: it is tried."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, sample.schema, compression="zstd", compression_level=1, write_statistics=False, **encodings
    ) as writer:
        writer.write_table(sample)
    footer = writer.writer.metadata
    if not footer.num_row_groups:
        return {}
    group = footer.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    return {
        column.path_in_schema: sample.num_rows < TELLING_ROWS
        or column.total_compressed_size < column.total_uncompressed_size * MOST_LEFT
        for column in columns
    }


def _is_countable(type_: pa.DataType) -> bool:
    if t.is_decimal(type_):
        return bool(type_.precision <= MOST_INTEGER_DIGITS)
    return bool(t.is_integer(type_) or t.is_date(type_) or t.is_timestamp(type_))


def _repeats(column: pa.ChunkedArray) -> bool:
    if t.is_boolean(column.type):
        return False
    return bool(pc.count_distinct(column).as_py() <= len(column) * MOST_DISTINCT)


def _ascends(column: pa.ChunkedArray) -> bool:
    """Whether texts come in order: only then do bounds spare a reader anything, and they cost a comparison
    for each value."""
    texts = column.drop_null().combine_chunks()
    return not pc.any(pc.less(texts.slice(1), texts.slice(0, max(len(texts) - 1, 0)))).as_py()
