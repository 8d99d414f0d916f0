"""What a table's columns are like, in figures: one scan for the plain ones, a grouping where values are few.

Memory is bounded: how many values differ is estimated first (HyperLogLog, a few kilobytes a column), and only
columns with few of them are grouped; extremes and shapes come with the scan. A column is asked whether it is
unique by grouping, which spills, and only when the estimate allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from asgard.core.engine import Engine
from asgard.core.table import Mount
from asgard.quality.kinds import PATTERNS
from asgard.quality.predicates import Column, identifier, text
from asgard.quality.tables import is_own, rows_of

TABLE = "_asgard_profiled"
MOST_VALUES = 20
"""Columns of so few different values are looked at value by value."""
NEAR_UNIQUE = 0.9
"""The estimate of different values is within some percent; from this share of the rows on it is counted."""
SHAPES = {
    **PATTERNS,
    "digits": "[0-9]+",
    "code": "[A-Z]{2,4}[-_]?[0-9]{2,12}",
    "country": "[A-Z]{2}",
    "iso_date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
"""Forms of texts that are recognized."""
JSON = "json"
"""The shape of texts that are objects or lists of JSON."""
COLUMNS_A_SCAN = 50


@dataclass(frozen=True)
class Profile:
    """What is known of a column.

    Attributes:
        rows: of the table.
        nulls: rows without a value.
        distinct: different values; counted where `counted`, else estimated.
        least, greatest: as text; None where there is no value, or no order that means something.
        negative: values below zero, of numbers.
        shortest, longest: of texts, in characters.
        shapes: of texts, the forms that every value has; `json` is one of them.
        values: of a column of few different values, each and in how many rows; else empty.
    """

    name: str
    type: pa.DataType
    rows: int
    nulls: int
    distinct: int
    counted: bool
    least: str | None = None
    greatest: str | None = None
    negative: int = 0
    shortest: int = 0
    longest: int = 0
    shapes: tuple[str, ...] = ()
    values: tuple[tuple[str, int], ...] = ()

    @property
    def there(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers."""
        return any(is_(self.type) for is_ in (at.is_integer, at.is_decimal, at.is_floating))

    @property
    def is_unique(self) -> bool:
        """Whether no value comes twice, counted."""
        return self.counted and self.there > 1 and self.distinct == self.there


def profiles(engine: Engine, mount: Mount) -> list[Profile]:
    """A profile of each column of a table, without those that Asgard adds and those of nested types.

    Raises:
        DataError: a file of the table is damaged.
    """
    engine.attach(TABLE, mount)
    columns = [
        Column(field.name, field.type)
        for field in mount.schema
        if not is_own(field.name) and not at.is_nested(field.type) and not _is_binary(field.type)
    ]
    found = []
    for begin in range(0, len(columns), COLUMNS_A_SCAN):
        found += _scanned(engine, columns[begin : begin + COLUMNS_A_SCAN])
    return found


def _is_binary(kind: pa.DataType) -> bool:
    return bool(at.is_binary(kind) or at.is_large_binary(kind) or at.is_fixed_size_binary(kind))


def _scanned(engine: Engine, columns: Sequence[Column]) -> list[Profile]:
    asked = ["count(*) AS n"]
    for place, column in enumerate(columns):
        asked += [f"{sql} AS {name}{place}" for name, sql in _figures(column).items()]
    (row,) = rows_of(engine, f"SELECT {', '.join(asked)} FROM {identifier(TABLE)}")
    return [_profile(engine, column, place, row) for place, column in enumerate(columns)]


def _figures(column: Column) -> dict[str, str]:
    sql = column.sql
    figures = {"nulls": f"count(*) - count({sql})", "distinct": f"approx_count_distinct({sql})"}
    if column.is_text:
        figures |= {"shortest": f"min(length({sql}))", "longest": f"max(length({sql}))"}
        for name, shape in SHAPES.items():
            figures[f"shape_{name}_"] = f"count_if(regexp_full_match({sql}, {text(shape)}))"
        day = f"try_strptime({sql}, '%Y-%m-%d') IS NOT NULL"  # there is no 30th of February
        figures["shape_iso_date_"] = (
            f"count_if(regexp_full_match({sql}, {text(SHAPES['iso_date'])}) AND {day})"
        )
        figures["shape_json_"] = f"count_if(json_valid({sql}) AND regexp_matches({sql}, '^[[{{]'))"
        return figures
    figures |= {"least": f"CAST(min({sql}) AS VARCHAR)", "greatest": f"CAST(max({sql}) AS VARCHAR)"}
    if at.is_integer(column.type) or at.is_decimal(column.type) or at.is_floating(column.type):
        figures["negative"] = f"count_if({sql} < 0)"
    return figures


def _profile(engine: Engine, column: Column, place: int, row: dict[str, Any]) -> Profile:
    def figure(name: str, default: Any = 0) -> Any:
        value = row.get(f"{name}{place}")
        return default if value is None else value

    rows, nulls = int(row["n"]), int(figure("nulls"))
    there, distinct = rows - nulls, int(figure("distinct"))
    values: tuple[tuple[str, int], ...] = ()
    counted = False
    if 0 < distinct <= 2 * MOST_VALUES and distinct < there:
        values = _values(engine, column)
        if len(values) <= MOST_VALUES:
            distinct, counted = len(values), True
        else:
            values = ()
    elif there and distinct >= NEAR_UNIQUE * there and not at.is_floating(column.type):
        grouped = f"SELECT {column.sql} FROM {identifier(TABLE)} WHERE {column.sql} IS NOT NULL GROUP BY ALL"
        (answer,) = rows_of(engine, f"SELECT count(*) AS n FROM ({grouped})")
        distinct, counted = int(answer["n"]), True
    shapes = tuple(name for name in (*SHAPES, JSON) if there and int(figure(f"shape_{name}_")) == there)
    return Profile(
        column.name, column.type, rows, nulls, distinct, counted,
        figure("least", None), figure("greatest", None), int(figure("negative")),
        int(figure("shortest")), int(figure("longest")), shapes, values,
    )  # fmt: skip


def _values(engine: Engine, column: Column) -> tuple[tuple[str, int], ...]:
    grouped = (
        f"SELECT CAST({column.sql} AS VARCHAR) AS value, count(*) AS n FROM {identifier(TABLE)} "
        f"WHERE {column.sql} IS NOT NULL GROUP BY {column.sql} ORDER BY n DESC, value LIMIT {MOST_VALUES + 1}"
    )
    return tuple((str(row["value"]), int(row["n"])) for row in rows_of(engine, grouped))
