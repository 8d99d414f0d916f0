"""The figures that checks are judged by: all checks of rows and all aggregates of a table in one scan.

Whole-table questions of other sorts have a query each: uniqueness groups (and spills, where count(distinct)
would fill memory), references are anti joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.quality.predicates import ALWAYS, NEVER, Column, bad, column_of, columns_of, looked_at
from asgard.quality.tables import Tables

BITMAP_KEYS = 1 << 27
"""How far apart the smallest and the largest key may be to be marked in a bitmap: 16 MiB for each worker."""


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
    bitmaps = _bitmaps(engine, checks, tables)
    questions = [_ask(check, tables, fresh, whole, bitmaps) for check in checks]
    fresh.run(engine)
    if whole is not fresh:
        whole.run(engine)
    return [
        _answer(engine, check, tables, question, (fresh, whole))
        for check, question in zip(checks, questions, strict=True)
    ]


def rows_of(engine: Engine, sql: str) -> list[dict[str, Any]]:
    """All rows of a small result."""
    with engine.query(sql) as reader:
        return list(reader.read_all().to_pylist())


@dataclass(frozen=True)
class _Question:
    """The names of what was asked for a check; empty for what was not."""

    rows: str = ""
    failed: str = ""
    observed: str = ""
    distinct: str = ""


def _ask(
    check: Check, tables: Tables, fresh: Scan, whole: Scan, bitmaps: dict[str, tuple[int, int]]
) -> _Question:
    if check.kind == "row_count":
        known = tables.whole.rows is not None
        return _Question(observed="" if known else whole.ask("count(*)"))
    if check.kind == "fresh":
        return _Question(observed=whole.ask(f"max({_microseconds(columns_of(check, tables.schema)[0])})"))
    if check.kind == "unique":
        keys = tables.keys(check)
        asked = [f"count({keys[0]})" if len(keys) == 1 else f"count_if({_all_there(keys)})"]
        distinct = ""
        if len(keys) == 1 and keys[0] in bitmaps:
            low, high = bitmaps[keys[0]]
            distinct = fresh.ask(f"bit_count(bitstring_agg({keys[0]}, {low}, {high}))")
        return _Question(rows=fresh.ask(asked[0]), distinct=distinct)
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
        (found,) = rows_of(engine, _repeated_sql(check, tables))
        return Figures(rows, int(found["bad_rows"] or 0), keys=int(found["bad_keys"]))
    if check.kind == "referential":
        orphans = orphan(check, tables)
        (found,) = rows_of(engine, f"SELECT count(*) AS bad_rows FROM {tables.fresh_sql} WHERE {orphans}")
        return Figures(rows, int(found["bad_rows"]))
    return Figures(rows, fresh.count(question.failed) if question.failed else 0)


def _bitmaps(engine: Engine, checks: Sequence[Check], tables: Tables) -> dict[str, tuple[int, int]]:
    """Single integer keys whose values lie close enough together for a bitmap: column to its bounds.

    A bit for each key finds out that nothing comes twice for a fifth of what grouping costs; where something
    does, it is grouped after all. The bounds come out of the Parquet footers.
    """
    keys = {
        column.sql
        for check in checks
        if check.kind == "unique" and len(check.columns) == 1 and tables.is_whole and tables.fresh.files
        for column in columns_of(check, tables.schema)
        if at.is_integer(column.type)
    }
    if not keys:
        return {}
    ordered = sorted(keys)
    asked = ", ".join(f"min({key}) AS low{i}, max({key}) AS high{i}" for i, key in enumerate(ordered))
    (found,) = rows_of(engine, f"SELECT {asked} FROM {tables.fresh_sql}")
    bounds = {key: (found[f"low{i}"], found[f"high{i}"]) for i, key in enumerate(ordered)}
    return {k: (lo, hi) for k, (lo, hi) in bounds.items() if lo is not None and hi - lo < BITMAP_KEYS}


def _repeated_sql(check: Check, tables: Tables) -> str:
    """How many keys come more than once, and how many rows of the load have them."""
    keys = tables.keys(check)
    listed = ", ".join(keys)
    there = f"WHERE {_all_there(keys)}" if check.kind == "unique" else ""
    if tables.is_whole:
        groups = f"SELECT count(*) AS n FROM {tables.fresh_sql} {there} GROUP BY {listed} HAVING count(*) > 1"
        return f"SELECT count(*) AS bad_keys, sum(n) AS bad_rows FROM ({groups})"
    same = "=" if check.kind == "unique" else "IS NOT DISTINCT FROM"
    joined = " AND ".join(f"w.{key} {same} f.{key}" for key in keys)
    grouped = ", ".join(f"w.{key}" for key in keys)
    fresh = f"SELECT {listed}, count(*) AS _asgard_n FROM {tables.fresh_sql} {there} GROUP BY {listed}"
    return (
        "SELECT count(*) AS bad_keys, sum(n) AS bad_rows FROM (SELECT any_value(f._asgard_n) AS n "
        f"FROM {tables.whole_sql} w JOIN ({fresh}) f ON {joined} GROUP BY {grouped} HAVING count(*) > 1)"
    )


def repeated(check: Check, tables: Tables) -> str:
    """SQL that is true for rows of the load whose key comes more than once in the table as it would be."""
    keys = tables.keys(check)
    listed = ", ".join(keys)
    # A struct equals another with nulls in the same places; a row value with a null equals nothing.
    key = f"struct_pack({', '.join(f'k{i} := {k}' for i, k in enumerate(keys))})"
    there = _all_there(keys)
    old = "true" if tables.is_whole else f"{key} IN (SELECT {key} FROM {tables.fresh_sql})"
    where = f"{there} AND {old}" if check.kind == "unique" else old
    found = f"SELECT {key} FROM {tables.whole_sql} WHERE {where} GROUP BY {listed} HAVING count(*) > 1"
    return f"({there} AND {key} IN ({found}))" if check.kind == "unique" else f"{key} IN ({found})"


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


def _all_there(keys: list[str]) -> str:
    return " AND ".join(f"{key} IS NOT NULL" for key in keys)


def _microseconds(column: Column) -> str:
    """Microseconds since 1970 of a time; a date counts to its end, and a naive time as UTC."""
    if at.is_date(column.type):
        return f"epoch_us(CAST({column.sql} AS TIMESTAMP)) + 86400000000"
    if column.is_text:
        return f"epoch_us(TRY_CAST({column.sql} AS TIMESTAMPTZ))"
    return f"epoch_us({column.sql})"
