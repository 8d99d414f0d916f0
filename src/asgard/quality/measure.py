"""The figures that checks are judged by: all checks of rows and all aggregates of a table in one scan.

Whole-table questions of other sorts have a query each: uniqueness groups (and spills, where count(distinct)
would fill memory), references are anti joins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.quality.predicates import ALWAYS, NEVER, Column, bad, column_of, columns_of, looked_at
from asgard.quality.proof import proven
from asgard.quality.repetition import Ranges, all_there, bitmap_ranges, marks, repetitions
from asgard.quality.tables import Tables, rows_of


@dataclass(frozen=True)
class Figures:
    """What was found for one check.

    Attributes:
        rows: how many rows, or values, were looked at; None when none were.
        failed: how many of them are bad; None when it is not rows that fail.
        keys: how many keys come more than once, for uniqueness.
        observed: what a check compares: rows, or the newest time in microseconds since 1970.
    """

    rows: int | None = None
    failed: int | None = None
    keys: int = 0
    observed: int | None = None


@dataclass
class Scan:
    """Aggregates over one table, asked for one by one and calculated in one pass."""

    table: str
    _aggregates: dict[str, str] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def ask(self, aggregate: str) -> str:
        """The name that the value of this SQL will have; what is asked twice is calculated once."""
        return self._aggregates.setdefault(aggregate, f"v{len(self._aggregates)}")

    def run(self, engine: Engine) -> None:
        """Calculates everything that was asked for."""
        if self._aggregates:
            asked = ", ".join(f"{sql} AS {name}" for sql, name in self._aggregates.items())
            self._values = rows_of(engine, f"SELECT {asked} FROM {self.table}")[0]

    def value(self, name: str) -> int | None:
        """The value under a name."""
        found = self._values[name]
        return None if found is None else int(found)

    def count(self, name: str) -> int:
        """The same where null is nothing."""
        return self.value(name) or 0


def measured(engine: Engine, checks: Sequence[Check], tables: Tables) -> list[Figures]:
    """The figures of each check, in the order of the checks.

    Raises:
        ConfigError: a check does not fit its column.
        DataError: an expression cannot be calculated for a row.
    """
    fresh = Scan(tables.fresh_sql)
    whole = fresh if tables.is_whole else Scan(tables.whole_sql)
    ranges = bitmap_ranges(engine, checks, tables)
    proofs = [proven(check, tables) for check in checks]
    questions = [
        _Question() if proof else _ask(check, tables, (fresh, whole), ranges)
        for check, proof in zip(checks, proofs, strict=True)
    ]
    fresh.run(engine)
    if whole is not fresh:
        whole.run(engine)
    return [
        Figures(*proof) if proof else _answer(engine, check, tables, question, (fresh, whole))
        for check, proof, question in zip(checks, proofs, questions, strict=True)
    ]


@dataclass(frozen=True)
class _Question:
    """The names of what was asked for a check; empty for what was not."""

    rows: str = ""
    failed: str = ""
    observed: str = ""
    distinct: str = ""


def _ask(
    check: Check, tables: Tables, scans: tuple[Scan, Scan], ranges: Mapping[tuple[str, ...], Ranges]
) -> _Question:
    fresh, whole = scans
    if check.kind == "row_count":
        known = tables.whole.rows is not None
        return _Question(observed="" if known else whole.ask("count(*)"))
    if check.kind == "fresh":
        return _Question(observed=whole.ask(f"max({_microseconds(columns_of(check, tables.schema)[0])})"))
    if check.kind == "unique":
        keys = tables.keys(check)
        rows = fresh.ask(f"count({keys[0]})" if len(keys) == 1 else f"count_if({all_there(keys)})")
        near = ranges.get(tuple(keys))
        return _Question(rows, distinct=fresh.ask(marks(keys, near)) if near else "")
    if check.kind == "no_duplicates":
        return _Question(rows=fresh.ask("count(*)"))
    column = looked_at(check, tables.schema)
    rows = fresh.ask(f"count({column})" if column else "count(*)")
    predicate = bad(check, tables.schema)
    if check.kind == "not_null":
        (column,) = tables.keys(check)
        return _Question(rows, failed=fresh.ask(f"count(*) - count({column})"))
    if predicate is None or predicate == NEVER:
        return _Question(rows)
    if predicate == ALWAYS:
        return _Question(rows, failed=rows)
    return _Question(rows, failed=fresh.ask(f"count_if({predicate})"))


def _answer(
    engine: Engine, check: Check, tables: Tables, question: _Question, scans: tuple[Scan, Scan]
) -> Figures:
    fresh, whole = scans
    if check.kind == "row_count":
        return Figures(observed=whole.count(question.observed) if question.observed else tables.whole.rows)
    if check.kind == "fresh":
        return Figures(observed=whole.value(question.observed))
    rows = fresh.count(question.rows)
    if check.kind in {"unique", "no_duplicates"}:
        if rows == 0 or (question.distinct and fresh.count(question.distinct) == rows):
            return Figures(rows, 0)
        (found,) = rows_of(engine, repetitions(check, tables))
        return Figures(rows, int(found["bad_rows"] or 0), keys=int(found["bad_keys"]))
    if check.kind == "referential":
        orphans = orphan(check, tables)
        (found,) = rows_of(engine, f"SELECT count(*) AS bad_rows FROM {tables.fresh_sql} WHERE {orphans}")
        return Figures(rows, int(found["bad_rows"]))
    return Figures(rows, fresh.count(question.failed) if question.failed else 0)


def orphan(check: Check, tables: Tables) -> str:
    """SQL that is true for the rows of the load whose value is not in the other table."""
    (own,) = columns_of(check, tables.schema)
    table, schema = tables.others[check.options["to"]]
    other = column_of(check, schema, check.options["field"])
    mine, theirs = own.sql, other.sql
    if own.is_text != other.is_text:  # a text that is no number is an orphan, not a failed cast
        mine, theirs = f"CAST({mine} AS VARCHAR)", f"CAST({theirs} AS VARCHAR)"
    known = f"SELECT {theirs} FROM {table} WHERE {other.sql} IS NOT NULL"
    return f"({own.sql} IS NOT NULL AND {mine} NOT IN ({known}))"


def _microseconds(column: Column) -> str:
    """Microseconds since 1970 of a time; a date counts to its end, and a naive time as UTC."""
    if at.is_date(column.type):
        return f"epoch_us(CAST({column.sql} AS TIMESTAMP)) + 86400000000"
    if column.is_text:
        return f"epoch_us(TRY_CAST({column.sql} AS TIMESTAMPTZ))"
    return f"epoch_us({column.sql})"
