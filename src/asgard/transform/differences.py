"""What a changed SELECT means for its table: other rows, other values, or only more columns.

Knows the SQL of both sides and nothing else: which types its columns have, an engine says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from asgard.transform.dependencies import DIALECT, parsed

MAKING_MORE_ROWS = (exp.Unnest, exp.Explode, exp.ExplodeOuter, exp.Posexplode)
UNKNOWN_AGGREGATES = frozenset(
    (
        "arbitrary", "arg_max_null", "arg_max_nulls_last", "arg_min_null", "arg_min_nulls_last",
        "bitstring_agg", "count_star", "entropy", "favg", "fill", "fsum", "histogram",
        "histogram_exact", "kahan_sum", "kurtosis_pop", "mad", "mean", "product", "rank_dense",
        "reservoir_quantile", "sem", "sum_no_overflow", "sumkahan",
    )
)  # fmt: skip
"""Aggregates of DuckDB that the parser takes for functions of a single row."""


@dataclass(frozen=True)
class SqlChange:
    """How one SELECT differs from another.

    Attributes:
        rows: why the rows may be others than before; empty when they are the same ones.
        values: columns that are made in another way.
        added, removed: columns that came and went, where both name them.
    """

    rows: str = ""
    values: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_additive(self) -> bool:
        """Only columns came: who read the table before reads the same."""
        return not (self.rows or self.values or self.removed)


def same_sql(one: str, other: str, dialect: str = DIALECT) -> bool:
    """Whether two statements differ in comments, white space, words' case or needless quotes alone."""
    return canonical(parsed(one, dialect), dialect) == canonical(parsed(other, dialect), dialect)


def canonical(statement: exp.Expr, dialect: str = DIALECT) -> str:
    """A statement as one text, whoever wrote it."""
    plain = statement.copy()
    for identifier in plain.find_all(exp.Identifier):
        identifier.set("quoted", True)
    return str(plain.sql(dialect, comments=False))


def sql_change(before: str, after: str, dialect: str = DIALECT) -> SqlChange:
    """What became of a SELECT.

    Raises:
        QueryError: one of them cannot be parsed.
    """
    old, new = parsed(before, dialect), parsed(after, dialect)
    if not isinstance(old, exp.Select) or not isinstance(new, exp.Select):
        return SqlChange(rows="it is another statement")
    if (part := _other_part(old, new, dialect)) is not None:
        return SqlChange(rows=f"its {part} changed")
    was, now = _columns(old, dialect), _columns(new, dialect)
    if was is None or now is None:
        return SqlChange(rows="two of its columns have one name")
    added = tuple(name for name in now if name not in was)
    if (reason := _other_rows(old, new, added)) is not None:
        return SqlChange(rows=reason)
    return SqlChange(
        values=tuple(name for name in was if name in now and was[name] != now[name]),
        added=added,
        removed=tuple(name for name in was if name not in now),
    )


def _other_part(old: exp.Select, new: exp.Select, dialect: str) -> str | None:
    """The first clause besides the columns that differs."""
    for part in dict.fromkeys([*old.args, *new.args]):
        if part == "expressions":
            continue
        if _said(old.args.get(part), dialect) != _said(new.args.get(part), dialect):
            words = {"with_": "WITH", "with": "WITH", "from_": "FROM", "from": "FROM", "joins": "JOIN"}
            return words.get(part, part.replace("_", " ").strip().upper())
    return None


def _said(value: object, dialect: str) -> str:
    if isinstance(value, exp.Expr):
        return canonical(value, dialect)
    if isinstance(value, list):
        return ", ".join(_said(one, dialect) for one in value)
    return "" if value is None or value is False else str(value)


def _columns(select: exp.Select, dialect: str) -> dict[str, str] | None:
    """Column to what makes it, in their order; None when a name stands twice."""
    found: dict[str, str] = {}
    for column in select.expressions:
        name = column.alias_or_name or canonical(column, dialect)
        if name in found:
            return None
        found[name] = canonical(column.unalias(), dialect)
    return found


def _other_rows(old: exp.Select, new: exp.Select, added: Iterable[str]) -> str | None:
    """Columns can make rows: an aggregate makes one of many, UNNEST many of one."""
    fresh = [column for column in new.expressions if column.alias_or_name in set(added)]
    if any(column.find(*MAKING_MORE_ROWS) for column in (*fresh, *_changed(old, new))):
        return "a column makes rows"
    if not new.args.get("group") and aggregates(old.expressions) != aggregates(new.expressions):
        return "it aggregates now, or does no longer"
    return None


def _changed(old: exp.Select, new: exp.Select) -> list[exp.Expr]:
    before = set(old.expressions)
    return [column for column in new.expressions if column not in before]


def aggregates(expressions: Iterable[exp.Expr]) -> bool:
    """Whether one of them is an aggregate over rows, and no window."""
    for expression in expressions:
        for found in expression.find_all(exp.AggFunc, exp.Anonymous):
            known = not isinstance(found, exp.Anonymous) or found.name.lower() in UNKNOWN_AGGREGATES
            if known and found.find_ancestor(exp.Window, exp.Subquery) is None:
                return True
    return False
