"""Parameters of suites: `{"$PARAMETER": "trunc(0.9 * upstream_rows)"}` as the value that they stand for.

Names are looked up among those that were given; what earlier validations observed is one, under its whole
name (`urn:great_expectations:validations:...`). Sums, products, now() and timedelta() are calculated, numbers
exactly.

Reference: https://docs.greatexpectations.io/docs/core/define_expectations/ (suite parameters)
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from asgard.core.errors import ConfigError

MARK = "$PARAMETER"
URN = re.compile(r"urn:great_expectations:[\w.:=-]+")
SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "trunc": math.trunc, "round": round, "abs": abs, "ceil": math.ceil, "floor": math.floor,
}  # fmt: skip
SPANS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def with_values(value: Any, known: Mapping[str, Any], now: datetime) -> Any:
    """The same tree with every parameter replaced.

    Raises:
        ConfigError: a parameter is not known, or its expression is none.
    """
    if isinstance(value, Mapping):
        if MARK in value:
            return _evaluated(str(value[MARK]), known, now)
        return {key: with_values(item, known, now) for key, item in value.items()}
    return [with_values(item, known, now) for item in value] if isinstance(value, list) else value


def _evaluated(expression: str, known: Mapping[str, Any], now: datetime) -> Any:
    if expression in known:
        return known[expression]
    urns = list(dict.fromkeys(URN.findall(expression)))
    for place, urn in enumerate(urns):
        expression = expression.replace(urn, f"_urn_{place}")
    names = {**known, **{f"_urn_{place}": known[urn] for place, urn in enumerate(urns) if urn in known}}
    unknown = next((urn for urn in urns if urn not in known), None)
    if unknown is not None:
        raise ConfigError(f"the parameter {unknown} is not known", hint="give it: --parameter NAME=VALUE")
    try:
        tree = ast.parse(expression, mode="eval").body
        return _plain(_calculated(tree, names, now))
    except (SyntaxError, TypeError, ArithmeticError, ValueError, KeyError) as error:
        raise ConfigError(f"the parameter {expression!r} cannot be calculated: {error}") from error


def _calculated(node: ast.expr, known: Mapping[str, Any], now: datetime) -> Any:
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value)) if type(node.value) in (int, float) else node.value
    if isinstance(node, ast.Name):
        if node.id not in known:
            raise ConfigError(f"the parameter {node.id} is not known", hint="give it: --parameter NAME=VALUE")
        value = known[node.id]
        return Fraction(str(value)) if type(value) in (int, float) else value
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        sides = _calculated(node.left, known, now), _calculated(node.right, known, now)
        return SIGNS[type(node.op)](*sides)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_calculated(node.operand, known, now)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "now" and not node.args:
            return now
        if node.func.id == "timedelta" and not node.args:
            spans = {str(word.arg): float(_calculated(word.value, known, now)) for word in node.keywords}
            return timedelta(**{name: value for name, value in spans.items() if name in SPANS})
        if node.func.id in FUNCTIONS and len(node.args) == 1:
            return FUNCTIONS[node.func.id](_calculated(node.args[0], known, now))
    raise ValueError("only names, numbers, + - * /, now(), timedelta() and rounding are known")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    return value
