"""Data files as Iceberg's manifests tell of them: sizes, counts and bounds of columns, from the footer.

Readers leave files out by these figures, so a wrong one makes rows vanish: a column whose footer does not
tell the whole truth (a NaN among its floats, text that is not in order) gets no bounds.

Reference: https://iceberg.apache.org/spec/#manifests, https://iceberg.apache.org/spec/#appendix-d-single-value-serialization
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as t
from pyiceberg import types as i
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from asgard.core.table import DataFile as StagedFile
from asgard.lake.folder import Folder
from asgard.lake.iceberg.schemas import field_id

MOST_CHARACTERS = 32
"""Bounds of text are prefixes of so many: rounded down for the least, up for the greatest."""
_LAST = 0x10FFFF
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000


def data_file(folder: Folder, file: StagedFile, schema: pa.Schema) -> DataFile:
    """A staged file as a manifest's entry has it.

    Args:
        folder: of the data files.
        file: as it was staged.
        schema: the table's, with ids; the file may lack columns of it.
    """
    with folder.opened(folder.absolute(file.path)) as opened:
        footer = pq.read_metadata(opened)
    figures = _Figures(file, schema)
    for index in range(footer.num_row_groups):
        figures.add(footer.row_group(index))
    offsets = [_offset(footer.row_group(index)) for index in range(footer.num_row_groups)]
    told: dict[str, Any] = figures.told()
    made = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=folder.absolute(file.path),
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=file.rows,
        file_size_in_bytes=file.size_bytes,
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        split_offsets=sorted(offsets),
        **told,
    )
    made.spec_id = 0
    return made


class _Figures:
    def __init__(self, file: StagedFile, schema: pa.Schema) -> None:
        told = json.loads(file.stats, parse_float=Decimal)
        self._rows = file.rows
        self._nulls_told: dict[str, int] = told.get("nullCount", {})
        self._bounds_told = set(told.get("minValues", {}))
        self._leaves = {path: (number, kind) for path, number, kind in _leaves(schema)}
        self._sizes: dict[int, int] = {}
        self._values: dict[int, int] = {}
        self._nulls: dict[int, int | None] = {}
        self._least: dict[int, Any] = {}
        self._greatest: dict[int, Any] = {}
        self._unbounded: set[int] = set()

    def add(self, group: Any) -> None:
        """Takes in a row group's metadata."""
        for index in range(group.num_columns):
            chunk = group.column(index)
            path = chunk.path_in_schema
            if path not in self._leaves:
                continue
            number, kind = self._leaves[path]
            self._sizes[number] = self._sizes.get(number, 0) + chunk.total_compressed_size
            self._values[number] = self._values.get(number, 0) + chunk.num_values
            self._take(path, number, kind, chunk)

    def _take(self, path: str, number: int, kind: pa.DataType, chunk: Any) -> None:
        figures = chunk.statistics if chunk.is_stats_set else None
        if figures is None or not figures.has_null_count:
            self._nulls[number] = self._nulls_told.get(path)
            self._unbounded.add(number)
            return
        before = self._nulls.get(number, 0)
        self._nulls[number] = None if before is None else before + figures.null_count
        if figures.null_count == chunk.num_values:
            return  # only nulls: nothing to bound
        nan_may_be = t.is_floating(kind) and path not in self._bounds_told
        if not figures.has_min_max or nan_may_be or "." in path:
            self._unbounded.add(number)
            return
        by_value = t.is_decimal(kind) or t.is_string(kind)
        low, high = (figures.min, figures.max) if by_value else (figures.min_raw, figures.max_raw)
        self._least[number] = low if number not in self._least else min(self._least[number], low)
        self._greatest[number] = high if number not in self._greatest else max(self._greatest[number], high)

    def told(self) -> dict[str, dict[int, Any] | None]:
        """The figures by id, as a manifest's entry calls them."""
        low: dict[int, bytes] = {}
        high: dict[int, bytes] = {}
        for _, (number, kind) in self._leaves.items():
            if number in self._unbounded or number not in self._least:
                continue
            low[number] = _bytes(kind, _prefix(self._least[number]))
            greatest = _prefix_above(self._greatest[number])
            if greatest is not None:
                high[number] = _bytes(kind, greatest)
        return {
            "column_sizes": self._sizes,
            "value_counts": self._values,
            "null_value_counts": {key: count for key, count in self._nulls.items() if count is not None},
            "nan_value_counts": {},
            "lower_bounds": low,
            "upper_bounds": high,
        }


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, int, pa.DataType]]:
    """Path in the Parquet file, id and type of each column without others in it."""
    waiting = [(field.name, field) for field in schema]
    while waiting:
        path, field = waiting.pop()
        kind = field.type
        if t.is_struct(kind):
            waiting += [(f"{path}.{child.name}", child) for child in kind]
        elif t.is_list(kind):
            waiting.append((f"{path}.list.element", kind.value_field))
        elif t.is_map(kind):
            waiting.append((f"{path}.key_value.key", kind.key_field))
            waiting.append((f"{path}.key_value.value", kind.item_field))
        else:
            yield path, field_id(field), kind


def _offset(group: Any) -> int:
    first = group.column(0)
    if first.has_dictionary_page and first.dictionary_page_offset:
        return int(min(first.dictionary_page_offset, first.data_page_offset))
    return int(first.data_page_offset)


def _prefix(value: Any) -> Any:
    return value[:MOST_CHARACTERS] if isinstance(value, str | bytes) else value


def _prefix_above(value: Any) -> Any:
    """A short value that none below it exceeds; None where there is none."""
    if not isinstance(value, str | bytes) or len(value) <= MOST_CHARACTERS:
        return value
    if isinstance(value, bytes):
        kept = value[:MOST_CHARACTERS].rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
    text = value[:MOST_CHARACTERS].rstrip(chr(_LAST))
    if not text:
        return None
    above = ord(text[-1]) + 1
    return text[:-1] + chr(_AFTER_SURROGATES if above == _BEFORE_SURROGATES + 1 else above)


def _bytes(kind: pa.DataType, value: Any) -> bytes:
    if t.is_boolean(kind):
        return b"\x01" if value else b"\x00"
    if t.is_int32(kind) or t.is_date(kind):
        return struct.pack("<i", value)
    if t.is_int64(kind) or t.is_timestamp(kind):
        return struct.pack("<q", value)
    if t.is_floating(kind):
        return struct.pack("<f" if kind.bit_width == 32 else "<d", value)
    if t.is_decimal(kind):
        digits = _unscaled(value, kind.scale)
        return digits.to_bytes((digits.bit_length() + 8) // 8, "big", signed=True)
    return value.encode() if isinstance(value, str) else bytes(value)


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits)) + "0" * (scale + exponent))
    return -number if sign else number


# ---- which files may hold values between two others


def may_hold(file: DataFile, number: int, kind: i.PrimitiveType, low: pa.Scalar, high: pa.Scalar) -> bool:
    """Whether a file may have a value of a column between two others; it may, when nothing tells."""
    least = (file.lower_bounds or {}).get(number)
    greatest = (file.upper_bounds or {}).get(number)
    first, last = comparable(low), comparable(high)
    if first is None or last is None:
        return True
    if least is not None and _value(kind, least) > last:
        return False
    return greatest is None or not _value(kind, greatest) < first


def comparable(value: pa.Scalar) -> Any:
    """A scalar as `from_bytes` gives such values; None for what cannot be compared so."""
    kind = value.type
    if t.is_date(kind):
        return value.cast(pa.int32()).as_py()
    if t.is_timestamp(kind):
        return value.cast(pa.timestamp("us", kind.tz)).value
    if t.is_floating(kind) and value.as_py() != value.as_py():
        return None
    return value.as_py()


def _value(kind: i.PrimitiveType, content: bytes) -> Any:
    return from_bytes(kind, content)
