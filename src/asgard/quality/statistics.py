"""Figures of a column: extremes, sum, mean, median, quantiles, deviation, how many differ or are missing.

They are about the table as it would be. Sums, means, medians and quantiles of integers and decimals are exact
and compared exactly; a standard deviation, and whatever is made of floating point numbers, is of double
precision. What has to be sorted or grouped is, by the engine, which spills: nothing is held in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal, Self

import pyarrow.types as at
from pydantic import Field, model_validator

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality.bounds import BoundedKind, figure_json, figure_text, number_of_text, wanted_text, within
from asgard.quality.families import Asked, Found, TableKind, column
from asgard.quality.kinds import Name, Question, fault
from asgard.quality.predicates import ALWAYS, NEVER, Column, beyond
from asgard.quality.tables import Tables

Metric = Literal[
    "min",
    "max",
    "sum",
    "mean",
    "median",
    "stdev",
    "quantile",
    "distinct",
    "distinct_share",
    "nulls",
    "null_share",
]
OF_NUMBERS = ("sum", "mean", "median", "stdev")
ORDERED = ("min", "max", "quantile")
"""Metrics that are values of the column, and are compared as such."""
SORTED = ("median", "quantile")
GROUPED = ("distinct", "distinct_share")
WORDS = {
    "min": "the least {}",
    "max": "the greatest {}",
    "sum": "the sum of {}",
    "mean": "the mean of {}",
    "median": "the median of {}",
    "stdev": "the standard deviation of {}",
    "distinct": "the number of different values of {}",
    "distinct_share": "the share of different values of {}",
    "nulls": "the number of rows without {}",
    "null_share": "the share of rows without {}",
}


class Statistic(BoundedKind):
    """A figure of a column; without bounds it is measured, and never fails."""

    kind = "statistic"
    column: Name
    metric: Metric
    quantile: float | None = Field(None, ge=0, le=1, description="of the metric quantile: 0.95")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.metric == "quantile") != (self.quantile is not None):
            raise fault("the metric quantile needs quantile, and no other has it")
        for bound in (self.min, self.max):
            if self.metric not in ORDERED and bound is not None and number_of_text(bound) is None:
                raise fault(f"{bound!r} is no number, and every {self.metric} is one")
        return self

    def questions(self) -> Iterator[Question]:
        quantile = {} if self.quantile is None else {"quantile": self.quantile}
        yield (self.column,), {"metric": self.metric, **quantile, **self.bounds()}

    def default_name(self, columns: tuple[str, ...]) -> str:
        metric = self.metric if self.quantile is None else f"quantile {self.quantile:g}"
        return f"{metric}({', '.join(columns)})"


def figures_sql(check: Check, found: Column) -> dict[str, str]:
    """The aggregates of a metric that one scan answers: `value` as text, `n` values, `low` and `high` for
    what is compared by the engine, in the column's own type.

    Raises:
        ConfigError: the column's type has no such figure.
    """
    metric, sql = check.options["metric"], _number(check, found)
    count = {"n": f"count({found.sql})"}
    if metric in {"min", "max"}:
        value = f"{metric}({found.sql})"
        return {"value": f"CAST({value} AS VARCHAR)", **_sides(check, found, value)}
    if metric in {"sum", "mean"}:
        # Of doubles, a sum that does not depend on their order as much as a plain one does.
        total = f"fsum({sql})" if at.is_floating(found.type) else f"sum({sql})"
        return {"value": f"CAST({total} AS VARCHAR)", **count}
    if metric == "stdev":
        return {"value": f"CAST(stddev_samp(CAST({sql} AS DOUBLE)) AS VARCHAR)", **count}
    return {"value": f"CAST(count(*) - count({found.sql}) AS VARCHAR)", "n": "count(*)"}


def query_sql(check: Check, found: Column, table: str) -> str:
    """A SELECT of the same for the metrics that are sorted or grouped for."""
    metric, name = check.options["metric"], found.sql
    there = f"SELECT {name} AS v FROM {table} WHERE {name} IS NOT NULL"
    if metric in GROUPED:
        count = f"(SELECT count({name}) FROM {table})"
        return f"SELECT CAST(count(*) AS VARCHAR) AS value, {count} AS n FROM ({there} GROUP BY {name})"
    if metric == "median":
        ordered = f"SELECT {_number(check, found)} AS v FROM {table} WHERE {name} IS NOT NULL"
        limit = f"(SELECT 2 - count({name}) % 2 FROM {table})"
        offset = f"(SELECT greatest(count({name}) - 1, 0) // 2 FROM {table})"
        return f"SELECT CAST(v AS VARCHAR) AS value FROM ({ordered}) ORDER BY v LIMIT {limit} OFFSET {offset}"
    part = Fraction(number_of_text(check.options["quantile"]) or 0)
    rank = f"CAST(count({name}) AS HUGEINT) * {part.numerator} + {part.denominator - 1}"
    offset = f"(SELECT CAST(greatest(({rank}) // {part.denominator} - 1, 0) AS BIGINT) FROM {table})"
    sides = "".join(f", {sql} AS {side}" for side, sql in _sides(check, found, "v").items())
    return f"SELECT CAST(v AS VARCHAR) AS value{sides} FROM ({there}) ORDER BY v LIMIT 1 OFFSET {offset}"


def _number(check: Check, found: Column) -> str:
    """The column as numbers; truth is 1 and 0."""
    metric = check.options["metric"]
    if metric not in OF_NUMBERS:
        return found.sql
    if at.is_boolean(found.type):
        return f"CAST({found.sql} AS INTEGER)"
    numeric = (at.is_integer, at.is_decimal, at.is_floating, at.is_null)
    if not any(is_(found.type) for is_ in numeric):
        what = f"{found.name} is {found.type}, and only numbers have a {metric}"
        raise ConfigError(what, where={"check": check.name})
    return found.sql


def _sides(check: Check, found: Column, value: str) -> dict[str, str]:
    sides = {"low": beyond(check, found, value, "min", check.options)}
    sides["high"] = beyond(check, found, value, "max", check.options)
    # A bound that every value is beyond, or none, is no aggregate by itself.
    plain = {ALWAYS, NEVER}
    return {side: f"({value} IS NOT NULL AND {sql})" if sql in plain else sql for side, sql in sides.items()}


def _aggregates(check: Check, tables: Tables) -> Mapping[str, str]:
    return {} if _alone(check) else figures_sql(check, column(check, tables))


def _query(check: Check, tables: Tables) -> str:
    return query_sql(check, column(check, tables), tables.whole_sql) if _alone(check) else ""


def _alone(check: Check) -> bool:
    return check.options["metric"] in (*SORTED, *GROUPED)


def figure_of(check: Check, rows: Any) -> Any:
    """The figure that the rows of a query mean: a Fraction, the text of a value, or None for nothing."""
    metric = check.options["metric"]
    values = [row["value"] for row in rows]
    if not values or None in values:
        return None
    if metric in ORDERED:
        return number_of_text(values[0]) if number_of_text(values[0]) is not None else values[0]
    numbers = [number_of_text(value) for value in values]
    if None in numbers:
        return values[0]  # NaN, or beyond all numbers
    total = sum(number for number in numbers if number is not None)
    if metric == "median":
        return total / len(values)
    count = int(rows[0].get("n") or 0)
    if metric in {"mean", "distinct_share", "null_share"}:
        return Fraction(total) / count if count else None
    return Fraction(total)


def _judged(check: Check, asked: Asked) -> Found:
    metric, options = check.options["metric"], check.options
    (name,) = check.columns
    value = figure_of(check, asked.rows)
    words = WORDS.get(metric, f"the quantile {options.get('quantile')} of {{}}").format(name)
    if value is None:
        passed = within(options, None)
        wanted = "" if passed else f", {wanted_text(options)} is wanted"
        return Found(passed, f"{name} has no values{wanted}")
    if metric in ORDERED:
        inside = not (asked.row["low"] or asked.row["high"])
        passed = inside != bool(options.get("outside"))
    else:
        passed = within(options, value)
    message = f"{words} is {figure_text(value)}"
    if not passed:
        message += f", {wanted_text(options)} is wanted"
    return Found(passed, message, figure_json(value))


KINDS = {"statistic": TableKind(_judged, aggregates=_aggregates, query=_query)}
