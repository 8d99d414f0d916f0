"""What an expression of Spark's SQL is while it is written: its text, its kind, and what is refused.

It knows how values of two kinds come together, and how a value that only one engine carries is refused while
a query runs. Which expressions there are is `transform.portable`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sqlglot import exp

from asgard.transform import kinds
from asgard.transform.kinds import BOOL, DOUBLE, EXACT_INTEGERS, NULL, TEXT, Kind


@dataclass(frozen=True)
class Typed:
    """An expression of Spark's SQL, and the kind of its values.

    Attributes:
        value: what it is, if it is written out: an integer or a text.
    """

    sql: str
    kind: Kind
    value: int | str | None = None


class Names(Protocol):
    """What an expression asks its query."""

    def column(self, node: exp.Column) -> Typed:
        """The column that a name means."""
        ...

    def subquery(self, node: exp.Expr) -> tuple[str, list[tuple[str, Kind]]]:
        """A query inside of this one: its SQL and its columns."""
        ...


class Refusal(Exception):
    """Something that is not known to mean the same on Spark."""

    def __init__(self, what: str, node: exp.Expr, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.node = node
        self.hint = hint


def refused(node: exp.Expr, what: str = "", hint: str = "") -> Refusal:
    """The refusal of a node, by its own text."""
    text = node.sql("duckdb")
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return Refusal(what or f"{shown} is not known to be equal on DuckDB and Spark", node, hint)


def only(node: exp.Expr, *handled: str) -> None:
    """Refuses a node that says more than is handled."""
    for name, value in node.args.items():
        if value not in (None, False, []) and name not in handled:
            raise refused(node)


def quoted(name: str) -> str:
    """A name as Spark writes it."""
    return "`" + name.replace("`", "``") + "`"


def text_literal(value: str) -> str:
    """A text as Spark writes it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cast(typed: Typed, kind: Kind) -> str:
    """The expression in a kind that holds all of its values, as `kinds.common` finds it."""
    if typed.kind == kind:
        return typed.sql
    if kind == DOUBLE and typed.kind.is_exact:
        return as_double(typed)
    return f"CAST({typed.sql} AS {kind.spark})"


def brought_together(node: exp.Expr, parts: Iterable[Typed]) -> tuple[list[str], Kind]:
    """The expressions in the one kind that holds them all."""
    parts = list(parts)
    kind = NULL
    for part in parts:
        both = with_literal(part, kind) or kinds.common(kind, part.kind)
        if both is None:
            raise refused(
                node,
                f"{node.sql('duckdb')[:60]} mixes {kind} with {part.kind}",
                "CAST one to the other's type",
            )
        kind = both
    if kind.name == "nested":
        raise refused(node)
    return [cast(part, kind) for part in parts], kind


def with_literal(part: Typed, kind: Kind) -> Kind | None:
    """The other's kind, if an integer that is written out fits into it."""
    limit = kinds.LIMITS.get(kind.name)
    return kind if limit and isinstance(part.value, int) and part.value < limit else None


def as_double(typed: Typed) -> str:
    """An exact number as a double, where there is exactly one: beyond, engines round differently."""
    kind = typed.kind
    if kind.is_whole and kind.name != "huge":
        return f"CAST({typed.sql} AS DOUBLE)"
    if kind.name == "decimal" and kind.digits <= 15:
        return f"CAST({typed.sql} AS DOUBLE)"
    bound = f"{EXACT_INTEGERS}" if not kind.scale else f"{EXACT_INTEGERS}e-{kind.scale}BD"
    return checked(
        f"CAST({typed.sql} AS DOUBLE)", f"abs({typed.sql}) <= {bound}", typed.sql, "is too long for a double"
    )


def checked(sql: str, condition: str, value: str, what: str) -> str:
    """The expression for values that meet the condition; others are refused while the query runs."""
    message = f"concat('the value ', CAST({value} AS STRING), ' {what} that is equal on DuckDB and Spark')"
    return f"CASE WHEN ({value}) IS NULL OR {condition} THEN {sql} ELSE raise_error({message}) END"


class Writing:
    """Writes expressions of one query for Spark; which ones, its heirs say by `methods`.

    Args:
        names: the query.
    """

    methods: ClassVar[Mapping[type, Callable[[Any, Any], Typed]]] = {}

    def __init__(self, names: Names) -> None:
        self._names = names

    def write(self, node: exp.Expr) -> Typed:
        """The expression for Spark.

        Raises:
            Refusal: it is not known to be equal.
        """
        method = self.methods.get(type(node))  # not what it derives from: TRY_CAST is a CAST there
        if method is not None:
            return method(self, node)
        raise refused(node)

    def condition(self, node: exp.Expr) -> str:
        """The expression, which must be true or false."""
        typed = self.write(node)
        if typed.kind not in (BOOL, NULL):
            raise refused(node, f"{node.sql('duckdb')[:60]} is no condition but {typed.kind}")
        return cast(typed, BOOL)

    def whole(self, node: exp.Expr | None) -> int:
        """An integer that is written out."""
        if isinstance(node, exp.Neg):
            return -self.whole(node.this)
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
            return int(node.name)
        raise refused(node or exp.Null(), hint="write the number itself")

    def texts(self, node: exp.Expr, *arguments: exp.Expr | None) -> list[str]:
        written = []
        for argument in arguments:
            typed = self.write(argument) if argument is not None else None
            if typed is None or typed.kind not in (TEXT, NULL):
                found = typed.kind if typed else "nothing"
                raise refused(
                    node, f"{node.sql('duckdb')[:60]} wants text, this is {found}", "CAST it AS VARCHAR"
                )
            written.append(typed.sql)
        return written

    def written_text(self, node: exp.Expr | None) -> str:
        if isinstance(node, exp.Literal) and node.is_string and node.name:
            return str(node.name)
        raise refused(node or exp.Null(), hint="write the text itself, and not an empty one")
