"""Values that a column must not have, and what the different values of a column must be as a set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from asgard.core.check import Check
from asgard.quality.families import Asked, Found, RowKind, TableKind, column
from asgard.quality.kinds import Kind, Member, Name, Question
from asgard.quality.phrases import Forms, listed, some
from asgard.quality.predicates import NEVER, Column, member
from asgard.quality.tables import Tables

SHOWN = 21
"""How many values a message may need: those that it names, and one to know that there are more."""


class RejectedValues(Kind):
    """A column whose values must not be among those listed."""

    kind = "rejected_values"
    column: Name
    values: tuple[Member, ...] = Field(min_length=1)

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"values": list(self.values)}


class DistinctValues(Kind):
    """What the different values of a column are: all among those listed, all of those listed, or both."""

    kind = "distinct_values"
    column: Name
    values: tuple[Member, ...] = Field(min_length=1)
    are: Literal["among", "all", "exactly"] = Field(
        "exactly", description="among: no other value comes; all: each of them comes; exactly: both"
    )

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"values": list(self.values), "are": self.are}


class MostCommon(Kind):
    """A column whose most common value must be among those listed."""

    kind = "most_common"
    column: Name
    values: tuple[Member, ...] = Field(min_length=1)
    ties: bool = Field(False, description="of several values that are equally common, one is enough")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"values": list(self.values), "ties": self.ties}


def _literals(check: Check, found: Column) -> dict[str, Any]:
    """The listed values that the column can hold, by their SQL."""
    literals = ((member(check, found, value), value) for value in check.options["values"])
    return {sql: value for sql, value in literals if sql is not None}


def _bad_rejected(check: Check, tables: Tables) -> str:
    found = column(check, tables)
    literals = _literals(check, found)
    return f"({found.sql} IN ({', '.join(literals)}))" if literals else NEVER


def _rejected(check: Check) -> tuple[Forms, Forms]:
    what = f"one of {listed(check.options['values'])}"
    return (f"is not {what}", f"are not {what}"), (f"is {what}", f"are {what}")


def _distinct(check: Check, tables: Tables) -> str:
    """Values that come although they are not listed, and listed ones that do not."""
    found = column(check, tables)
    literals = _literals(check, found)
    there = f"SELECT {found.sql} AS v FROM {tables.whole_sql} WHERE {found.sql} IS NOT NULL"
    others = f" AND {found.sql} NOT IN ({', '.join(literals)})" if literals else ""
    grouped = f"FROM ({there}{others} GROUP BY ALL) LIMIT {SHOWN}"
    parts = [f"(SELECT 'other' AS what, CAST(v AS VARCHAR) AS value {grouped})"]
    for place, sql in enumerate(literals):
        parts.append(f"SELECT 'missing', '{place}' WHERE {sql} NOT IN ({there} AND {found.sql} = {sql})")
    return " UNION ALL ".join(parts)


def _judged_distinct(check: Check, asked: Asked) -> Found:
    (name,) = check.columns
    found = next(field for field in asked.schema if field.name.casefold() == name.casefold())
    literals = list(_literals(check, Column(found.name, found.type)).values())
    others = [row["value"] for row in asked.rows if row["what"] == "other"]
    missing = [literals[int(row["value"])] for row in asked.rows if row["what"] == "missing"]
    missing += [value for value in check.options["values"] if value not in literals]
    wanted = check.options["are"]
    faults = []
    if others and wanted != "all":
        faults.append(f"{name} has other values, such as {listed(others)}")
    if missing and wanted != "among":
        faults.append(f"{name} never is {listed(missing)}")
    said = {"among": "no other value than", "all": "each value of", "exactly": "exactly the values"}[wanted]
    return Found(not faults, "; ".join(faults) or f"{name} has {said} {listed(check.options['values'])}")


def _commonest(check: Check, tables: Tables) -> str:
    found = column(check, tables)
    literals = _literals(check, found)
    good = f"{found.sql} IN ({', '.join(literals)})" if literals else "false"
    counted = (
        f"SELECT CAST({found.sql} AS VARCHAR) AS value, {good} AS good, count(*) AS n "
        f"FROM {tables.whole_sql} WHERE {found.sql} IS NOT NULL GROUP BY {found.sql}"
    )
    ranked = f"SELECT *, max(n) OVER () AS most FROM ({counted})"
    return f"SELECT value, good, n FROM ({ranked}) WHERE n = most ORDER BY good DESC, value LIMIT {SHOWN}"


def _judged_commonest(check: Check, asked: Asked) -> Found:
    (name,) = check.columns
    if not asked.rows:
        return Found(False, f"{name} has no value at all")
    values = [row["value"] for row in asked.rows]
    good = [bool(row["good"]) for row in asked.rows]
    passed = any(good) if check.options["ties"] else all(good)
    message = f"the most common {name} is {listed(values)}, in {some(int(asked.rows[0]['n']), 'row')}"
    if not passed:
        message += f"; wanted is one of {listed(check.options['values'])}"
    return Found(passed, message, values if len(values) > 1 else values[0])


ROW_KINDS = {"rejected_values": RowKind(_bad_rejected, _rejected)}
TABLE_KINDS = {
    "distinct_values": TableKind(_judged_distinct, query=_distinct),
    "most_common": TableKind(_judged_commonest, query=_commonest),
}
