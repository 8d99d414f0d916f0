"""What the log says about a data file's columns: rows, nulls, least and greatest value, exact or absent.

Readers skip files by these figures, so a wrong one makes rows vanish. They are taken from the Parquet footer
that was just written; a column whose footer does not tell the whole truth (NaN in floats, values beyond what
Delta's text can say, nested types) gets no bounds.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from asgard.core.table import ColumnFigures

MOST_CHARACTERS = 64
"""Longer texts are bounded by a prefix: rounded down for the smallest, up for the largest."""
MOST_COLUMNS = 32
"""Delta's readers look at the first columns only (delta.dataSkippingNumIndexedCols)."""

_LAST_CHARACTER = "\U0010ffff"
_EPOCH_DAY = date(1970, 1, 1)
_DAYS = ((date.min - _EPOCH_DAY).days, (date.max - _EPOCH_DAY).days)
_MICROSECONDS = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)


@dataclass
class _Column:
    nulls: int | None = 0
    smallest: Any = None
    largest: Any = None
    bounded: bool = True


@dataclass
class FileStatistics:
    """Figures of one file, gathered row group by row group.

    Attributes:
        schema: of the file.
        unbounded: columns without bounds: floats in which a NaN was seen.
        nulls: how many there are in columns that the footer says nothing about.
    """

    schema: pa.Schema
    unbounded: Collection[str] = ()
    nulls: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    _columns: dict[str, _Column] = field(default_factory=dict)

    def add(self, row_groups: Iterable[Any]) -> None:
        """Takes in row groups' metadata, as the footer has them."""
        for group in row_groups:
            self.rows += group.num_rows
            index = 0
            for column in self.schema:
                if not t.is_nested(column.type):
                    self._take(column.name, group.column(index))
                index += _leaves(column.type)

    def _take(self, name: str, chunk: Any) -> None:
        if name in self.nulls:
            self._columns[name] = _Column(self.nulls[name])
            return
        column = self._columns.setdefault(name, _Column())
        figures = chunk.statistics if chunk.is_stats_set else None
        if figures is None or not figures.has_null_count:
            column.nulls, column.bounded = None, False
            return
        if column.nulls is not None:
            column.nulls += figures.null_count
        if figures.null_count == chunk.num_values:
            return  # only nulls: nothing to bound
        if not figures.has_min_max:
            column.bounded = False
            return
        low, high = _value(figures, self.schema.field(name).type)
        column.smallest = low if column.smallest is None else min(column.smallest, low)
        column.largest = high if column.largest is None else max(column.largest, high)

    def to_json(self, told: Collection[str]) -> str:
        """The figures as Delta's log has them; numbers with all their digits.

        Args:
            told: the columns that are told about.
        """
        nulls, low, high = [], [], []
        for name, column in self._columns.items():
            if name not in told or column.nulls is None:
                continue
            key = json.dumps(name, ensure_ascii=False)
            nulls.append(f"{key}:{column.nulls}")
            if not column.bounded or column.smallest is None or name in self.unbounded:
                continue
            bounds = _told(self.schema.field(name).type, column.smallest, column.largest)
            if bounds is not None:
                low.append(f"{key}:{bounds[0]}")
                high.append(f"{key}:{bounds[1]}")
        parts = ["minValues", "maxValues", "nullCount"]
        told = [f'"{part}":{{{",".join(v)}}}' for part, v in zip(parts, (low, high, nulls), strict=True) if v]
        return "{" + ",".join([f'"numRecords":{self.rows}', *told]) + "}"


def figures_of(files: Sequence[str], schema: pa.Schema) -> dict[str, ColumnFigures]:
    """What the statistics of files say together: of columns of numbers the bounds, of any column the nulls.

    Args:
        files: statistics as `FileStatistics.to_json` wrote them: a stranger's may be rounded.
        schema: of all the files.
    """
    told = [json.loads(stats, parse_float=Decimal) for stats in files]
    counts = [one.get("nullCount", {}) for one in told]
    found = {}
    for column in schema:
        if told and all(column.name in nulls for nulls in counts):
            found[column.name] = ColumnFigures(
                sum(nulls[column.name] for nulls in counts), *_span(told, column.name, column.type)
            )
    return found


def _span(told: Sequence[Any], name: str, type_: pa.DataType) -> tuple[Any, Any]:
    """The least and the greatest number in files; nothing where one of them with values does not say."""
    if not (t.is_signed_integer(type_) or t.is_decimal(type_) or t.is_floating(type_)):
        return None, None
    filled = [one for one in told if one["nullCount"][name] < one["numRecords"]]
    try:
        low = [one["minValues"][name] for one in filled]
        high = [one["maxValues"][name] for one in filled]
    except KeyError:
        return None, None
    if not filled:
        return None, None
    number: Any = float if t.is_floating(type_) else Decimal if t.is_decimal(type_) else int
    return min(map(number, low)), max(map(number, high))


def _leaves(type_: pa.DataType) -> int:
    if not t.is_nested(type_):
        return 1
    return sum(_leaves(type_.field(index).type) for index in range(type_.num_fields))


def _value(figures: Any, type_: pa.DataType) -> tuple[Any, Any]:
    if t.is_decimal(type_) or t.is_string(type_):
        return figures.min, figures.max
    return figures.min_raw, figures.max_raw  # days and microseconds as integers, however far away


def _told(type_: pa.DataType, low: Any, high: Any) -> tuple[str, str] | None:
    """Both bounds as JSON; None when Delta has no way to say them."""
    if t.is_integer(type_):
        return str(low), str(high)
    if t.is_decimal(type_):
        return _decimal_text(low), _decimal_text(high)
    if t.is_floating(type_):
        finite = all(value - value == 0 for value in (low, high))
        return (json.dumps(low), json.dumps(high)) if finite else None
    if t.is_date(type_) and _within((low, high), _DAYS):
        return _quoted(_day(low)), _quoted(_day(high))
    if t.is_timestamp(type_) and _within((low, high), _MICROSECONDS):
        zone = "Z" if type_.tz else ""
        return _quoted(_instant(low) + zone), _quoted(_instant(high) + zone)
    if t.is_string(type_):
        return _text_bounds(low, high)
    return None


def _within(values: Iterable[int], bounds: tuple[int, int]) -> bool:
    return all(bounds[0] <= value <= bounds[1] for value in values)


def _day(days: int) -> str:
    return (_EPOCH_DAY + timedelta(days=days)).isoformat()


def _instant(microseconds: int) -> str:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds")


def _decimal_text(value: Decimal) -> str:
    return format(value, "f")


def _text_bounds(low: str, high: str) -> tuple[str, str] | None:
    if len(high) > MOST_CHARACTERS:
        if high[MOST_CHARACTERS] == _LAST_CHARACTER:
            return None
        high = high[:MOST_CHARACTERS] + _LAST_CHARACTER
    return _quoted(low[:MOST_CHARACTERS]), _quoted(high)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
