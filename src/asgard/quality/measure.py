"""The figures that checks are judged by: all checks of rows and all aggregates of a table in one scan.

Whole-table questions of other sorts have a query each: uniqueness groups (and spills, where count(distinct)
would fill memory), references are anti joins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.quality.failing import question_of
from asgard.quality.predicates import ALWAYS, NEVER, columns_of
from asgard.quality.proof import proven
from asgard.quality.registry import ROW_KINDS, TABLE_KINDS
from asgard.quality.repetition import Ranges, all_there, bitmap_ranges, marks, repetitions
from asgard.quality.tables import Tables, rows_of


@dataclass(frozen=True)
class Figures:
    """What was found for one check.

    Attributes:
        rows: how many rows, or values, were looked at; None when none were.
        failed: how many of them are bad; None when it is not rows that fail.
        keys: how many keys come more than once, for uniqueness.
        found: what came back for a kind of tables, with the load's columns in `schema`.
    """

    rows: int | None = None
    failed: int | None = None
    keys: int = 0
    found: tuple[Mapping[str, Any], ...] | None = None
    schema: pa.Schema | None = None


@dataclass(eq=False)
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

    def raw(self, name: str) -> Any:
        """The value under a name."""
        return self._values[name]

    def count(self, name: str) -> int:
        """The same of a number, where null is nothing."""
        return int(self._values[name] or 0)


def measured(engine: Engine, checks: Sequence[Check], tables: Tables) -> list[Figures]:
    """The figures of each check, in the order of the checks: one scan for each condition that rows must meet.

    Raises:
        ConfigError: a check does not fit its column.
        DataError: an expression cannot be calculated for a row.
    """
    asked = [question_of(check) for check in checks]
    found: dict[int, Figures] = {}
    for where in dict.fromkeys(check.options.get("where", "") for check in asked):
        places = [i for i, check in enumerate(asked) if check.options.get("where", "") == where]
        figures = _measured(engine, [asked[i] for i in places], tables.only(where))
        found |= dict(zip(places, figures, strict=True))
    return [found[i] for i in range(len(asked))]


def _measured(engine: Engine, checks: Sequence[Check], tables: Tables) -> list[Figures]:
    fresh = Scan(tables.fresh_sql)
    scans = (fresh, fresh if tables.is_whole else Scan(tables.whole_sql))
    ranges = bitmap_ranges(engine, checks, tables)
    proofs = [proven(check, tables) for check in checks]
    questions = [
        _Question() if proof else _ask(check, tables, scans, ranges)
        for check, proof in zip(checks, proofs, strict=True)
    ]
    for scan in dict.fromkeys(scans):
        scan.run(engine)
    return [
        Figures(*proof) if proof else _answer(engine, check, tables, question, scans)
        for check, proof, question in zip(checks, proofs, questions, strict=True)
    ]


@dataclass(frozen=True)
class _Question:
    """The names of what was asked for a check; empty for what was not."""

    rows: str = ""
    failed: str = ""
    distinct: str = ""
    aggregates: Mapping[str, str] = field(default_factory=dict)


def _ask(
    check: Check, tables: Tables, scans: tuple[Scan, Scan], ranges: Mapping[tuple[str, ...], Ranges]
) -> _Question:
    fresh, whole = scans
    if check.kind in TABLE_KINDS:
        kind = TABLE_KINDS[check.kind]
        wanted = kind.aggregates(check, tables) if kind.aggregates else {}
        scan = fresh if kind.of_load else whole
        return _Question(aggregates={name: scan.ask(sql) for name, sql in wanted.items()})
    if check.kind == "unique":
        keys = tables.keys(check)
        rows = fresh.ask(f"count({keys[0]})" if len(keys) == 1 else f"count_if({all_there(keys)})")
        near = ranges.get(tuple(keys))
        return _Question(rows, distinct=fresh.ask(marks(keys, near)) if near else "")
    rows = fresh.ask(_counted(check, tables))
    if check.kind == "not_null":
        (column,) = tables.keys(check)
        return _Question(rows, failed=fresh.ask(f"count(*) - count({column})"))
    of_rows = ROW_KINDS[check.kind]
    predicate = NEVER if of_rows.alone else of_rows.bad(check, tables)
    if predicate == NEVER:
        return _Question(rows)
    if predicate == ALWAYS:
        return _Question(rows, failed=rows)
    return _Question(rows, failed=fresh.ask(f"count_if({predicate})"))


def _counted(check: Check, tables: Tables) -> str:
    """SQL of how many rows or values a check looks at."""
    kind = ROW_KINDS[check.kind]
    if kind.counted is not None:
        return f"count_if({kind.counted(check, tables)})"
    columns = columns_of(check, tables.schema)
    return "count(*)" if kind.every_row or len(columns) != 1 else f"count({columns[0].sql})"


def _answer(
    engine: Engine, check: Check, tables: Tables, question: _Question, scans: tuple[Scan, Scan]
) -> Figures:
    fresh, whole = scans
    if check.kind in TABLE_KINDS:
        kind = TABLE_KINDS[check.kind]
        scan = fresh if kind.of_load else whole
        found = [{name: scan.raw(asked) for name, asked in question.aggregates.items()}]
        if kind.query is not None and (sql := kind.query(check, tables)):
            found = rows_of(engine, sql)
        return Figures(found=tuple(found), schema=tables.schema)
    rows = fresh.count(question.rows)
    if check.kind in {"unique", "no_duplicates"}:
        if rows == 0 or (question.distinct and fresh.count(question.distinct) == rows):
            return Figures(rows, 0)
        (repeated,) = rows_of(engine, repetitions(check, tables))
        return Figures(rows, int(repeated["bad_rows"] or 0), keys=int(repeated["bad_keys"]))
    if ROW_KINDS[check.kind].alone:
        predicate = ROW_KINDS[check.kind].bad(check, tables)
        (bad,) = rows_of(engine, f"SELECT count(*) AS n FROM {tables.fresh_sql} WHERE {predicate}")
        return Figures(rows, int(bad["n"]))
    return Figures(rows, fresh.count(question.failed) if question.failed else 0)
