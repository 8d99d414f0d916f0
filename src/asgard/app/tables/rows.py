"""Rows of any engine as JSON values and as text, without bending a value.

What JSON has no exact form for becomes text: decimals, instants, binary (hex), integers beyond 2^53 stay
integers. Dates that Python cannot hold are still shown: the cast to text is Arrow's.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc


def json_rows(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Rows as dictionaries of JSON values."""
    return [row for batch in batches for row in _rows(batch)]


def text_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[list[str | None]]:
    """Rows as lists of text; null stays None."""
    for batch in batches:
        for row in _rows(batch):
            yield [None if value is None else _text(value) for value in row.values()]


def write_csv(batches: Iterable[pa.RecordBatch], stream: TextIO) -> None:
    """Rows as CSV with a header; null is empty, nested values are JSON."""
    writer = csv.writer(stream)
    for number, batch in enumerate(batches):
        if number == 0:
            writer.writerow(batch.schema.names)
        for row in _rows(batch):
            writer.writerow(
                "" if value is None else json.dumps(value) if isinstance(value, list | dict) else _text(value)
                for value in row.values()
            )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else value.hex() for value in column.to_pylist()]
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return [None if value is None else int(value) for value in column.to_pylist()]
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return list(pc.cast(column, pa.string()).to_pylist())
    if pa.types.is_floating(kind):
        return [None if v is None else v if math.isfinite(v) else str(v) for v in column.to_pylist()]
    if pa.types.is_nested(kind):
        return [None if not value.is_valid else _nested(value) for value in column]
    return list(column.to_pylist())


def _nested(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    if isinstance(value, pa.StructScalar):
        return {name: _nested(value[name]) for name in value}
    if isinstance(value, pa.MapScalar):
        return [[_nested(entry["key"]), _nested(entry["value"])] for entry in value.values]
    if isinstance(value, pa.ListScalar | pa.LargeListScalar):
        return [_nested(item) for item in value.values]
    return _values(pa.array([value], type=value.type))[0]
