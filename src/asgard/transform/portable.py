"""DuckDB's expressions as Spark's, for those that are known to mean the same; everything else is refused.

It is a list of what is allowed. Each kind of node of the syntax tree has a method that knows the kinds of
its arguments (`transform.kinds`), and writes what gives the same value, of the same kind, on Spark. A node
without a method, an argument that its method does not know, and a kind that is not named there is refused by
name, so that a query is either equal on both engines or does not run. Where the values decide (a year before
1, text that is no date), the check is written into the SQL, and Spark refuses the value while it runs.

Decided here: NULL is sorted last, as DuckDB does; `/` is the division of doubles, also by zero; integers are
not widened, and overflow; casts round as DuckDB rounds; sums of floats, regular expressions and formats of
dates are refused, for no two engines have the same.

Reference: https://duckdb.org/docs/stable/sql/functions/overview,
https://spark.apache.org/docs/latest/sql-ref-functions-builtin.html
"""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp

from asgard.transform import kinds
from asgard.transform.kinds import BOOL, DATE, DOUBLE, NULL, TEXT, Kind
from asgard.transform.typed import (
    Typed,
    brought_together,
    cast,
    only,
    refused,
    text_literal,
    with_literal,
)
from asgard.transform.words import WORDS, Words

SIGNS: dict[type, str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
COMPARISONS: dict[type, str] = {
    **{exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="},
    **{exp.NullSafeEQ: "<=>", exp.NullSafeNEQ: ""},
}


class Expressions(Words):
    """Writes all expressions but aggregates and windows."""

    # ---- values and conditions

    def literal(self, node: exp.Literal) -> Typed:
        only(node, "this", "is_string")
        if node.is_string:
            return Typed(text_literal(node.name), TEXT, node.name)
        written = node.name
        if written.isdigit():
            kind = kinds.whole(int(written))
            suffix = {"int32": "", "int64": "L", "huge": "BD"}[kind.name]
            return Typed(f"{written}{suffix}", kind, int(written))
        if "e" in written.lower():
            return Typed(f"CAST({written} AS DOUBLE)", DOUBLE)
        before, _, after = written.partition(".")
        digits = len(before.lstrip("0")) + len(after)
        decimal = kinds.decimal(max(digits, 1), len(after)) if digits > len(after) else None
        if decimal is None:
            decimal = kinds.decimal(len(after) + 1, len(after))
        if decimal is None:
            raise refused(node)
        return Typed(f"CAST({written}BD AS {decimal.spark})", decimal)

    def constant(self, node: exp.Expr) -> Typed:
        only(node, "this")
        if isinstance(node, exp.Boolean):
            return Typed("TRUE" if node.this else "FALSE", BOOL)
        return Typed("NULL", NULL)

    def column(self, node: exp.Column) -> Typed:
        only(node, "this", "table", "db", "catalog")
        return self._names.column(node)

    def paren(self, node: exp.Paren) -> Typed:
        only(node, "this")
        typed = self.write(node.this)
        return Typed(f"({typed.sql})", typed.kind, typed.value)

    def connector(self, node: exp.Expr) -> Typed:
        only(node, "this", "expression")
        word = "AND" if isinstance(node, exp.And) else "OR"
        return Typed(f"({self.condition(node.this)} {word} {self.condition(node.expression)})", BOOL)

    def negation(self, node: exp.Not) -> Typed:
        only(node, "this")
        return Typed(f"(NOT {self.condition(node.this)})", BOOL)

    def comparison(self, node: exp.Expr) -> Typed:
        only(node, "this", "expression")
        (one, other), _ = brought_together(node, map(self.write, (node.this, node.expression)))
        if isinstance(node, exp.NullSafeNEQ):
            return Typed(f"(NOT ({one} <=> {other}))", BOOL)
        return Typed(f"({one} {COMPARISONS[type(node)]} {other})", BOOL)

    def null_test(self, node: exp.Is) -> Typed:
        only(node, "this", "expression")
        if not isinstance(node.expression, exp.Null):
            raise refused(node)
        return Typed(f"({self.write(node.this).sql} IS NULL)", BOOL)

    def between(self, node: exp.Between) -> Typed:
        only(node, "this", "low", "high")
        parts = [self.write(node.args[name]) for name in ("this", "low", "high")]
        (value, low, high), _ = brought_together(node, parts)
        return Typed(f"({value} BETWEEN {low} AND {high})", BOOL)

    def membership(self, node: exp.In) -> Typed:
        only(node, "this", "expressions", "query")
        value = self.write(node.this)
        if (query := node.args.get("query")) is not None:
            sql, columns = self._names.subquery(query)
            if len(columns) != 1 or columns[0][1] != value.kind:
                raise refused(node, hint="CAST both sides to one type")
            return Typed(f"({value.sql} IN ({sql}))", BOOL)
        (first, *others), _ = brought_together(node, [value, *map(self.write, node.expressions)])
        return Typed(f"({first} IN ({', '.join(others)}))", BOOL)

    def existence(self, node: exp.Exists) -> Typed:
        only(node, "this")
        return Typed(f"EXISTS ({self._names.subquery(node.this)[0]})", BOOL)

    def scalar(self, node: exp.Subquery) -> Typed:
        only(node, "this")
        sql, columns = self._names.subquery(node)
        if len(columns) != 1:
            raise refused(node)
        return Typed(f"({sql})", columns[0][1])

    def like(self, node: exp.Like) -> Typed:
        only(node, "this", "expression", "negate")
        (value,) = self.texts(node, node.this)
        pattern = self.written_text(node.expression)
        if "\\" in pattern:
            raise refused(node, hint="a backslash escapes in Spark's patterns, and does not in DuckDB's")
        if "_" in pattern:
            raise refused(node, hint="_ is not the same letter everywhere: use substr, length or % alone")
        negated = "NOT " if node.args.get("negate") else ""
        return Typed(f"({value} {negated}LIKE {text_literal(pattern)})", BOOL)

    def case(self, node: exp.Case) -> Typed:
        only(node, "this", "ifs", "default")
        subject = node.args.get("this")
        whens = []
        for branch in node.args["ifs"]:
            when = exp.EQ(this=subject, expression=branch.this) if subject is not None else branch.this
            whens.append(self.comparison(when).sql if subject is not None else self.condition(when))
        results = [self.write(branch.args["true"]) for branch in node.args["ifs"]]
        default = node.args.get("default")
        results.append(self.write(default) if default is not None else Typed("NULL", NULL))
        written, kind = brought_together(node, results)
        pairs = zip(whens, written[:-1], strict=True)
        said = " ".join(f"WHEN {when} THEN {then}" for when, then in pairs)
        return Typed(f"CASE {said} ELSE {written[-1]} END", kind)

    def choice(self, node: exp.Expr) -> Typed:
        only(node, "this", "expressions", "ignore_nulls")
        written, kind = brought_together(node, map(self.write, (node.this, *node.expressions)))
        if kind.is_float and not isinstance(node, exp.Coalesce):
            raise refused(node)
        name = type(node).__name__.lower()
        return Typed(f"{name}({', '.join(written)})" if len(written) > 1 else written[0], kind)

    def nullif(self, node: exp.Nullif) -> Typed:
        only(node, "this", "expression")
        value = self.write(node.this)
        (one, other), _ = brought_together(node, (value, self.write(node.expression)))
        return Typed(f"CASE WHEN {one} = {other} THEN NULL ELSE {value.sql} END", value.kind)

    # ---- numbers

    def arithmetic(self, node: exp.Expr) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        if isinstance(node.expression, exp.Interval) or isinstance(node.this, exp.Interval):
            return self.shifted(node)
        one, other = self.write(node.this), self.write(node.expression)
        sign = SIGNS[type(node)]
        if one.kind == DATE and sign != "*":
            return self.days_between(node, one, other, sign)
        if one.kind.is_exact and other.kind.is_exact:
            kind = self._exact_kind(node, one, other)
            if kind.is_whole:
                return Typed(f"({cast(one, kind)} {sign} {cast(other, kind)})", kind)
            a, b = (cast(part, part.kind.as_decimal()) for part in (one, other))
            return Typed(f"CAST(({a} {sign} {b}) AS {kind.spark})", kind)
        if NULL in (one.kind, other.kind):
            raise refused(node)
        (a, b), kind = brought_together(node, (one, other))
        if not kind.is_float:
            raise refused(node)
        return Typed(f"({a} {sign} {b})", kind)

    def _exact_kind(self, node: exp.Expr, one: Typed, other: Typed) -> Kind:
        both_whole = one.kind.is_whole and other.kind.is_whole
        adapted = both_whole and (with_literal(one, other.kind) or with_literal(other, one.kind))
        rule = kinds.multiplied if isinstance(node, exp.Mul) else kinds.summed
        kind = adapted or rule(one.kind, other.kind)
        if kind is None:
            raise refused(
                node, f"{node.sql('duckdb')[:60]} has more digits than a decimal carries on both engines",
                "CAST the arguments to narrower decimals",
            )  # fmt: skip
        return kind

    def division(self, node: exp.Div) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        one, other = (self._as_double(node, part) for part in (node.this, node.expression))
        # As IEEE 754 has it, which Spark's own division does not: it fails for zero.
        return Typed(f"CASE WHEN {other} = 0 THEN {one} * pow({other}, -1) ELSE {one} / {other} END", DOUBLE)

    def _as_double(self, node: exp.Expr, part: exp.Expr) -> str:
        typed = self.write(part)
        if not (typed.kind.is_exact or typed.kind == DOUBLE):
            raise refused(node, hint="CAST it AS DOUBLE")
        return cast(typed, DOUBLE)

    def whole_division(self, node: exp.Expr) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        one, other = self.write(node.this), self.write(node.expression)
        kind = self._exact_kind(node, one, other) if one.kind.is_whole and other.kind.is_whole else None
        if kind is None or kind.name == "huge":
            raise refused(node, hint="CAST both sides AS BIGINT")
        word = "DIV" if isinstance(node, exp.IntDiv) else "%"
        a, b = cast(one, kind), cast(other, kind)
        return Typed(f"CAST(CASE WHEN {b} = 0 THEN NULL ELSE {a} {word} {b} END AS {kind.spark})", kind)

    def minus(self, node: exp.Neg) -> Typed:
        only(node, "this")
        typed = self.write(node.this)
        if not (typed.kind.is_exact or typed.kind.is_float):
            raise refused(node)
        value = -typed.value if isinstance(typed.value, int) else None
        return Typed(f"(- {typed.sql})", typed.kind, value)

    def absolute(self, node: exp.Abs) -> Typed:
        only(node, "this")
        typed = self.write(node.this)
        if not (typed.kind.is_exact or typed.kind.is_float):
            raise refused(node)
        return Typed(f"abs({typed.sql})", typed.kind)

    def rounded(self, node: exp.Expr) -> Typed:
        only(node, "this", "decimals")
        typed, kind = self.write(node.this), None
        places = self.whole(node.args["decimals"]) if node.args.get("decimals") is not None else 0
        name = type(node).__name__.lower()
        if typed.kind.name == "decimal" and 0 <= places < typed.kind.scale:
            kind = kinds.decimal(typed.kind.digits, places)
            argument = f", {places}" if name == "round" else ""
            if kind is not None:
                return Typed(f"CAST({name}({typed.sql}{argument}) AS {kind.spark})", kind)
        raise refused(node, hint="CAST it to a DECIMAL first")

    methods: ClassVar = {
        **WORDS,
        **{
            exp.Literal: literal,
            exp.Boolean: constant,
            exp.Null: constant,
            exp.Column: column,
            exp.Paren: paren,
        },
        **dict.fromkeys((exp.And, exp.Or), connector),
        **dict.fromkeys(COMPARISONS, comparison),
        **{exp.Not: negation, exp.Is: null_test, exp.Between: between, exp.In: membership},
        **{exp.Exists: existence, exp.Subquery: scalar, exp.Like: like, exp.Case: case, exp.Nullif: nullif},
        **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), choice),
        **dict.fromkeys((exp.Add, exp.Sub, exp.Mul), arithmetic),
        **{exp.Div: division, exp.Neg: minus, exp.Abs: absolute},
        **dict.fromkeys((exp.IntDiv, exp.Mod), whole_division),
        **dict.fromkeys((exp.Round, exp.Floor, exp.Ceil), rounded),
    }
