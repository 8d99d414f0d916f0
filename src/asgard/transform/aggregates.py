"""Aggregates and windows of DuckDB's SQL as Spark's: those that are known to give the same.

Sums and averages of integers and decimals are exact here as there, and of DuckDB's types. Those of floats are
refused: they depend on the order of the rows, which no two engines have the same.

Reference: https://duckdb.org/docs/stable/sql/functions/aggregates,
https://spark.apache.org/docs/latest/sql-ref-syntax-qry-select-window.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from asgard.transform.kinds import BOOL, DOUBLE, HUGE, INT64, NULL, Kind
from asgard.transform.portable import Expressions
from asgard.transform.typed import Typed, cast, only, refused

RANKS: dict[type, str] = {exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank"}
NEIGHBOURS: dict[type, str] = {exp.Lag: "lag", exp.Lead: "lead"}
ENDS: dict[type, str] = {exp.FirstValue: "first_value", exp.LastValue: "last_value"}


@dataclass(frozen=True)
class _Over:
    """What an aggregate is taken over.

    Attributes:
        filter: of the rows that count.
        window: what follows OVER; empty for a group.
    """

    filter: str = ""
    window: str = ""

    def __str__(self) -> str:
        chosen = f" FILTER (WHERE {self.filter})" if self.filter else ""
        return chosen + (f" OVER ({self.window})" if self.window else "")


class Queries(Expressions):
    """Expressions with aggregates and windows: those of a query's columns, HAVING and QUALIFY."""

    def write(self, node: exp.Expr) -> Typed:
        """As `Expressions.write`, for aggregates and windows too."""
        if isinstance(node, exp.Window):
            return self._window(node)
        if isinstance(node, exp.Filter):
            return self._aggregate(node.this, _Over(filter=self.condition(node.expression.this)))
        if type(node) in AGGREGATES:
            return self._aggregate(node, _Over())
        return super().write(node)

    def _aggregate(self, node: exp.Expr, over: _Over) -> Typed:
        method = AGGREGATES.get(type(node))
        if method is None:
            raise refused(node)
        return method(self, node, over)

    def count(self, node: exp.Count, over: _Over) -> Typed:
        only(node, "this", "big_int")
        if isinstance(node.this, exp.Star) or node.this is None:
            return Typed(f"count(*){over}", INT64)
        value, distinct = self._value(node)
        if distinct and (value.kind.is_float or value.kind.name == "nested"):
            raise refused(node, hint="CAST it to DECIMAL or text")
        return Typed(f"count({distinct}{value.sql}){over}", INT64)

    def count_if(self, node: exp.CountIf, over: _Over) -> Typed:
        only(node, "this")
        condition = self.condition(node.this)  # of nothing but NULL it is NULL, and not zero
        number = f"CASE WHEN {condition} THEN 1BD WHEN NOT {condition} THEN 0BD END"
        return Typed(f"CAST(sum({number}){over} AS {HUGE.spark})", HUGE)

    def sum(self, node: exp.Sum, over: _Over) -> Typed:
        value, distinct = self._value(node)
        kind = self._sum_kind(node, value)
        # Wide enough that the sum overflows where DuckDB's does, at 38 digits.
        argument = cast(value, Kind("decimal", 28, 0)) if value.kind.is_whole else value.sql
        return Typed(f"CAST(sum({distinct}{argument}){over} AS {kind.spark})", kind)

    def _sum_kind(self, node: exp.Expr, value: Typed) -> Kind:
        if value.kind.is_float:
            raise refused(
                node,
                f"{node.sql('duckdb')[:60]}: a sum of floats depends on the order of the rows",
                "make it a DECIMAL where it is loaded, or build the model with engine: duckdb",
            )
        if not value.kind.is_exact or value.kind.name == "huge":
            raise refused(node, hint="CAST it AS BIGINT or DECIMAL")
        return HUGE if value.kind.is_whole else Kind("decimal", 38, value.kind.scale)

    def average(self, node: exp.Avg, over: _Over) -> Typed:
        value, distinct = self._value(node)
        self._sum_kind(node, value)
        scale, exact = value.kind.scale, value.kind.as_decimal()
        if exact.digits + 2 * scale > 27:
            raise refused(node, hint="CAST it to a narrower DECIMAL")
        # As DuckDB: the sum of whole numbers, divided once.
        number = f"CAST({value.sql} * {10**scale}BD AS DECIMAL(28, 0))" if scale else cast(value, WIDE)
        total = Typed(f"CAST(sum({distinct}{number}){over} AS {HUGE.spark})", HUGE)
        counted = f"count({distinct}{value.sql}){over}"
        return Typed(f"({cast(total, DOUBLE)} / nullif({counted} * {10**scale}D, 0D))", DOUBLE)

    def extreme(self, node: exp.Expr, over: _Over) -> Typed:
        only(node, "this")
        value, _ = self._value(node)
        if value.kind.name in ("nested", "blob") or value.kind == NULL:
            raise refused(node)
        return Typed(f"{'min' if isinstance(node, exp.Min) else 'max'}({value.sql}){over}", value.kind)

    def logical(self, node: exp.Expr, over: _Over) -> Typed:
        only(node, "this")
        name = "bool_and" if isinstance(node, exp.LogicalAnd) else "bool_or"
        return Typed(f"{name}({self.condition(node.this)}){over}", BOOL)

    def _value(self, node: exp.Expr) -> tuple[Typed, str]:
        """The argument of an aggregate, and DISTINCT if it is said."""
        only(node, "this", "big_int")
        argument, distinct = node.this, ""
        if isinstance(argument, exp.Distinct):
            only(argument, "expressions")
            if len(argument.expressions) != 1:
                raise refused(node)
            argument, distinct = argument.expressions[0], "DISTINCT "
        return Expressions.write(self, argument), distinct

    # ---- windows

    def _window(self, node: exp.Window) -> Typed:
        only(node, "this", "partition_by", "order", "spec", "over")
        window = self._over(node)
        function, over = node.this, _Over(window=window)
        if isinstance(function, exp.Filter):
            over = replace(over, filter=self.condition(function.expression.this))
            function = function.this
        kind = type(function)
        if kind in AGGREGATES:
            if isinstance(function.this, exp.Distinct):
                raise refused(node)
            return self._aggregate(function, over)
        if not node.args.get("order"):
            raise refused(node, f"{function.sql('duckdb')} without ORDER BY takes any row", "add ORDER BY")
        if kind in RANKS:
            only(function)
            return Typed(f"CAST({RANKS[kind]}(){over} AS BIGINT)", INT64)
        if kind in NEIGHBOURS:
            return self._neighbour(function, over)
        if kind in ENDS:
            only(function, "this")
            value = Expressions.write(self, function.this)
            return Typed(f"{ENDS[kind]}({value.sql}){over}", value.kind)
        raise refused(node)

    def _neighbour(self, node: exp.Expr, over: _Over) -> Typed:
        only(node, "this", "offset")
        value = Expressions.write(self, node.this)
        offset = self.whole(node.args["offset"]) if node.args.get("offset") is not None else 1
        if offset < 0:
            raise refused(node)
        return Typed(f"{NEIGHBOURS[type(node)]}({value.sql}, {offset}){over}", value.kind)

    def _over(self, node: exp.Window) -> str:
        from asgard.transform.dialect import direction

        parts = []
        if keys := node.args.get("partition_by"):
            written = [self.write(key) for key in keys]
            if any(key.kind.is_float or key.kind.name == "nested" for key in written):
                raise refused(node, "a window over parts of floats is not portable", "CAST them to DECIMAL")
            parts.append(f"PARTITION BY {', '.join(key.sql for key in written)}")
        if (order := node.args.get("order")) is not None:
            for key in order.expressions:
                only(key, "this", "desc", "nulls_first")
            said = [f"{self.write(key.this).sql} {direction(key)}" for key in order.expressions]
            parts.append(f"ORDER BY {', '.join(said)}")
        if (spec := node.args.get("spec")) is not None:
            parts.append(self._frame(spec))
        return " ".join(parts) or "PARTITION BY NULL"

    def _frame(self, spec: Any) -> str:
        only(spec, "kind", "start", "start_side", "end", "end_side")
        if str(spec.args["kind"]).upper() != "ROWS":
            raise refused(spec, "only ROWS frames are portable", "write ROWS BETWEEN")
        start = self._bound(spec.args["start"], spec.args.get("start_side"))
        end = self._bound(spec.args.get("end") or "CURRENT ROW", spec.args.get("end_side"))
        return f"ROWS BETWEEN {start} AND {end}"

    def _bound(self, bound: Any, side: Any) -> str:
        said = bound.upper() if isinstance(bound, str) else str(self.whole(bound))
        return f"{said} {str(side).upper()}" if side else said


WIDE = Kind("decimal", 28, 0)
AGGREGATES: dict[type, Callable[[Any, Any, _Over], Typed]] = {
    **{
        exp.Count: Queries.count,
        exp.CountIf: Queries.count_if,
        exp.Sum: Queries.sum,
        exp.Avg: Queries.average,
    },
    **{exp.Min: Queries.extreme, exp.Max: Queries.extreme},
    **{exp.LogicalAnd: Queries.logical, exp.LogicalOr: Queries.logical},
}
