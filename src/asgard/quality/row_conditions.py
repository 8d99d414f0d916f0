"""Conditions of rows as Great Expectations writes them: of pandas, its own, of Spark, as documents; to SQL.

What is not plainly a comparison of a column with a value, or a question for missing values, joined by and, or
and not, is refused: a condition that is misread makes a check of other rows.

Reference: https://docs.greatexpectations.io/docs/core/define_expectations/ (row_condition, condition_parser)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import sqlglot

from asgard.core.errors import ConfigError
from asgard.quality.expression import fault_of
from asgard.quality.predicates import identifier, text

SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
WORDS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
MISSING = {"isnull": "IS NULL", "isna": "IS NULL", "notnull": "IS NOT NULL", "notna": "IS NOT NULL"}
PARSERS = ("pandas", "great_expectations", "great_expectations__experimental__", "spark", "sql")


def condition_sql(condition: Any, parser: str | None) -> str:
    """The condition as SQL about one row.

    Raises:
        ConfigError: there is no such parser, or the condition is none of those that are known.
    """
    if isinstance(condition, Mapping):
        return _document(condition)
    if parser in ("spark", "sql"):
        return _spark(str(condition))
    if parser is not None and parser not in PARSERS:
        raise ConfigError(f"there is no condition_parser {parser!r}", hint=f"known are {', '.join(PARSERS)}")
    names: list[str] = []

    def kept(match: re.Match[str]) -> str:
        names.append(match[1])
        return f"_quoted_{len(names) - 1}"

    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", kept, str(condition)), mode="eval")
    except SyntaxError as error:
        raise _unknown(condition) from error
    return _Reading(str(condition), names).sql(tree.body)


class _Reading:
    """Walks a condition's tree."""

    def __init__(self, condition: str, names: list[str]) -> None:
        self._condition = condition
        self._names = names

    def sql(self, node: ast.expr) -> str:
        """A condition."""
        if isinstance(node, ast.BoolOp):
            word = " AND " if isinstance(node.op, ast.And) else " OR "
            return "(" + word.join(self.sql(part) for part in node.values) + ")"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            word = "AND" if isinstance(node.op, ast.BitAnd) else "OR"
            return f"({self.sql(node.left)} {word} {self.sql(node.right)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            return f"(NOT {self.sql(node.operand)})"
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SIGNS:
            sides = self._side(node.left), self._side(node.comparators[0])
            return f"({sides[0]} {SIGNS[type(node.ops[0])]} {sides[1]})"
        if (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and isinstance(node.ops[0], ast.In | ast.NotIn)
        ):
            return self._among(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args:
            question = MISSING.get(node.func.attr.lower())
            if question:
                return f"({self._side(node.func.value)} {question})"
        raise _unknown(self._condition)

    def _among(self, node: ast.Compare) -> str:
        values = node.comparators[0]
        if not isinstance(values, ast.List | ast.Tuple):
            raise _unknown(self._condition)
        word = "IN" if isinstance(node.ops[0], ast.In) else "NOT IN"
        return f"({self._side(node.left)} {word} ({', '.join(self._side(value) for value in values.elts)}))"

    def _side(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            quoted = re.fullmatch(r"_quoted_(\d+)", node.id)
            return identifier(self._names[int(quoted[1])] if quoted else node.id)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("col", "Column")
        ):
            (name,) = node.args
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                return identifier(name.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return f"-{self._side(node.operand)}"
        if isinstance(node, ast.Constant):
            return constant(node.value, self._condition)
        raise _unknown(self._condition)


def constant(value: Any, condition: Any) -> str:
    """A value of a condition in SQL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int | float):
        return repr(value)
    raise _unknown(condition)


def _spark(condition: str) -> str:
    try:
        (sql,) = sqlglot.transpile(condition, read="spark", write="duckdb")
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        raise _unknown(condition) from error
    if wrong := fault_of(sql):
        raise ConfigError(f"the row_condition {condition!r} {wrong}")
    return sql


def spark_condition(sql: str) -> str:
    """A condition of a check, as SQL of Spark."""
    (condition,) = sqlglot.transpile(sql, read="duckdb", write="spark")
    return condition


def _document(condition: Mapping[str, Any]) -> str:
    """A condition as newer suites hold it."""
    kind = condition.get("type")
    if kind in ("and", "or"):
        parts = [_document(part) for part in condition.get("conditions", ())]
        return "(" + f" {kind.upper()} ".join(parts) + ")"
    name = condition.get("column", {}).get("name")
    if kind == "nullity" and name:
        return f"({identifier(name)} IS {'' if condition.get('is_null') else 'NOT '}NULL)"
    sign, value = condition.get("operator"), condition.get("parameter")
    if kind == "comparison" and name and sign in WORDS:
        return f"({identifier(name)} {WORDS[sign]} {constant(value, condition)})"
    if kind == "comparison" and name and sign in ("IN", "NOT_IN") and isinstance(value, list):
        values = ", ".join(constant(one, condition) for one in value)
        return f"({identifier(name)} {sign.replace('_', ' ')} ({values}))"
    raise _unknown(condition)


def _unknown(condition: Any) -> ConfigError:
    return ConfigError(
        f"the row_condition {condition!r} is not understood",
        hint='write comparisons such as a == "x" and not b > 3, or SQL with condition_parser: spark',
    )
