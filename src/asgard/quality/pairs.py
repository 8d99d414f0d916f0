"""Columns of one row together: which is greater, which pairs there are, that all differ, what they add to."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations
from typing import Annotated, Any, Literal

import pyarrow.types as at
from pydantic import BeforeValidator, Field, WithJsonSchema

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality.families import RowKind
from asgard.quality.kinds import MEMBER_SCHEMA, Columns, Kind, Question, checked_member
from asgard.quality.phrases import Forms, listed, shown
from asgard.quality.predicates import ALWAYS, Column, columns_of, literal, number_of
from asgard.quality.tables import Tables

Without = Annotated[
    Literal["any", "all", "none"],
    Field(description="rows left out: where any of the columns is missing, where all are, or none"),
]


def _cell(value: Any) -> Any:
    return value if value is None else checked_member(value)


Cell = Annotated[Any, BeforeValidator(_cell), WithJsonSchema(MEMBER_SCHEMA)]


class Compare(Kind):
    """Two columns of a row, of which the first must be above, below or the same as the second."""

    kind = "compare"
    columns: Columns = Field(min_length=2, max_length=2)
    sign: Literal["<", "<=", ">", ">=", "=", "!="]
    without: Without = "any"

    def questions(self) -> Iterator[Question]:
        yield self.columns, {"sign": self.sign, "without": self.without}


class PairValues(Kind):
    """Two columns of a row whose values must be one of the pairs listed."""

    kind = "pair_values"
    columns: Columns = Field(min_length=2, max_length=2)
    values: tuple[tuple[Cell, Cell], ...] = Field(min_length=1)
    without: Without = "any"

    def questions(self) -> Iterator[Question]:
        yield self.columns, {"values": [list(pair) for pair in self.values], "without": self.without}


class Different(Kind):
    """Columns of a row no two of which may have the same value; missing ones are the same."""

    kind = "different"
    short = "columns"
    columns: Columns = Field(min_length=2)
    without: Without = "any"

    def questions(self) -> Iterator[Question]:
        yield self.columns, {"without": self.without}


class SumOf(Kind):
    """Columns of numbers that must add up to a number in each row; missing ones count as zero."""

    kind = "sum_of"
    columns: Columns
    equals: int | float | str
    without: Without = "any"

    def questions(self) -> Iterator[Question]:
        yield self.columns, {"equals": self.equals, "without": self.without}


def _counted(check: Check, tables: Tables) -> str:
    there = [f"{column.sql} IS NOT NULL" for column in columns_of(check, tables.schema)]
    joins = {"any": " AND ", "all": " OR "}
    without = check.options["without"]
    return f"({joins[without].join(there)})" if without in joins else ALWAYS


def _only_counted(check: Check, tables: Tables, good: str) -> str:
    return f"({_counted(check, tables)} AND NOT coalesce({good}, false))"


def _bad_compare(check: Check, tables: Tables) -> str:
    left, right = columns_of(check, tables.schema)
    return _only_counted(check, tables, f"{left.sql} {check.options['sign']} {right.sql}")


def _bad_pair(check: Check, tables: Tables) -> str:
    columns = columns_of(check, tables.schema)
    pairs = []
    for values in check.options["values"]:
        sides = zip(columns, values, strict=True)
        pairs.append(" AND ".join(_is(check, column, value) for column, value in sides))
    return _only_counted(check, tables, " OR ".join(f"({pair})" for pair in pairs))


def _is(check: Check, column: Column, value: object) -> str:
    return f"{column.sql} IS NULL" if value is None else f"{column.sql} = {literal(check, column, value)}"


def _bad_different(check: Check, tables: Tables) -> str:
    names = [column.sql for column in columns_of(check, tables.schema)]
    good = " AND ".join(f"{a} IS DISTINCT FROM {b}" for a, b in combinations(names, 2))
    return _only_counted(check, tables, good)


def _bad_sum(check: Check, tables: Tables) -> str:
    columns = columns_of(check, tables.schema)
    for column in columns:
        if not (at.is_integer(column.type) or at.is_decimal(column.type) or at.is_floating(column.type)):
            what = f"{column.name} is {column.type}, and only numbers can be added"
            raise ConfigError(what, where={"check": check.name})
    exact = not any(at.is_floating(column.type) for column in columns)
    wider = "HUGEINT" if all(at.is_integer(column.type) for column in columns) else ""
    # 64-bit integers would overflow; decimals widen by themselves.
    cast = (lambda sql: f"CAST({sql} AS {wider})") if wider else (lambda sql: sql)
    total = " + ".join(f"coalesce({cast(column.sql)}, 0)" for column in columns)
    number = number_of(check, columns[0], check.options["equals"])
    if not exact:
        return _only_counted(check, tables, f"{total} = CAST('{float(number)!r}' AS DOUBLE)")
    if wider and number != number.to_integral_value():
        return _counted(check, tables)
    return _only_counted(check, tables, f"{total} = {_exact(number)}")


def _exact(number: Decimal) -> str:
    digits = f"{number:f}"
    scale = len(digits.partition(".")[2])
    return f"CAST('{digits}' AS {f'DECIMAL(38, {scale})' if scale else 'HUGEINT'})"


def _compare(check: Check) -> tuple[Forms, Forms]:
    left, right = check.columns
    what = f"{left} {check.options['sign']} {right}"
    return (f"keeps to {what}", f"keep to {what}"), (f"breaks {what}", f"break {what}")


def _pair(check: Check) -> tuple[Forms, Forms]:
    pairs = [f"({', '.join(shown(value) for value in pair)})" for pair in check.options["values"]]
    what = f"one of {listed(pairs)} in {', '.join(check.columns)}"
    return (f"has {what}", f"have {what}"), (f"does not have {what}", f"do not have {what}")


def _different(check: Check) -> tuple[Forms, Forms]:
    what = f"values in {', '.join(check.columns)}"
    return (f"has different {what}", f"have different {what}"), (f"has equal {what}", f"have equal {what}")


def _sum(check: Check) -> tuple[Forms, Forms]:
    what = f"{' + '.join(check.columns)} = {check.options['equals']}"
    return (f"keeps to {what}", f"keep to {what}"), (f"breaks {what}", f"break {what}")


KINDS = {
    "compare": RowKind(_bad_compare, _compare, noun="row", counted=_counted),
    "pair_values": RowKind(_bad_pair, _pair, noun="row", counted=_counted),
    "different": RowKind(_bad_different, _different, noun="row", counted=_counted),
    "sum_of": RowKind(_bad_sum, _sum, noun="row", counted=_counted),
}
