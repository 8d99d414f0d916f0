"""Bounds of a figure: what a count, a share or a mean of a table may be, compared exactly."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Self

from pydantic import Field, model_validator

from asgard.quality.kinds import Kind, Scalar, fault, strictness
from asgard.quality.phrases import range_text, shown


class BoundedKind(Kind):
    """What every kind takes whose figure has bounds."""

    min: Scalar | None = None
    max: Scalar | None = None
    strict_min: bool = Field(False, description="the bound itself is not allowed")
    strict_max: bool = Field(False, description="the bound itself is not allowed")
    outside: bool = Field(False, description="the figure must not lie between the bounds")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = number_of_text(self.min), number_of_text(self.max)
        if low is not None and high is not None and low > high:
            raise fault(f"min {self.min} is above max {self.max}")
        if self.outside and self.min is None and self.max is None:
            raise fault("outside needs min, max or both")
        return self

    def bounds(self) -> dict[str, Any]:
        """The bounds as options of a check."""
        said = {"min": self.min, "max": self.max, "outside": self.outside or None}
        known = {name: value for name, value in said.items() if value is not None}
        return known | strictness(self.strict_min, self.strict_max)


def number_of_text(value: Any) -> Fraction | None:
    """A number, or the text of one, exactly; None for what is none, and for NaN and the infinite."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except ArithmeticError:
        return None
    return Fraction(number) if number.is_finite() else None


def within(options: Mapping[str, Any], value: Any) -> bool:
    """Whether a figure keeps to the bounds; what is no number is compared as text, and nothing is nowhere.

    >>> within({"min": 0, "max": "0.1", "strict_max": True}, "0.10")
    False
    """
    if value is None:
        return not {"min", "max"} & set(options)
    inside = _above(options, value) and _below(options, value)
    return not inside if options.get("outside") else inside


def _above(options: Mapping[str, Any], value: Any) -> bool:
    sides = _comparable(value, options.get("min"))
    if sides is None:
        return "min" not in options
    mine, bound = sides
    return bool(mine > bound or (mine == bound and not options.get("strict_min")))


def _below(options: Mapping[str, Any], value: Any) -> bool:
    sides = _comparable(value, options.get("max"))
    if sides is None:
        return "max" not in options
    mine, bound = sides
    return bool(mine < bound or (mine == bound and not options.get("strict_max")))


def _comparable(value: Any, bound: Any) -> tuple[Any, Any] | None:
    """Both as numbers, or both as texts; None for what is no number, such as NaN, and a bound that is one."""
    mine, other = value if isinstance(value, Fraction) else number_of_text(value), number_of_text(bound)
    if other is None:
        return None if bound is None else (_text(value), str(bound))
    return None if mine is None else (mine, other)


def _text(value: Any) -> str:
    return figure_text(value) if isinstance(value, Fraction) else str(value)


def wanted_text(options: Mapping[str, Any]) -> str:
    """`at least 5`, `10`, `not 10`, `not between 1 and 2`; empty without bounds."""
    low, high = options.get("min"), options.get("max")
    if low is None and high is None:
        return ""
    text = shown(low) if low == high else range_text(options)
    return f"not {text}" if options.get("outside") else text


def figure_text(value: Any) -> str:
    """A figure as people read it: whole numbers whole, large ones to the hundredth, others to six digits."""
    if not isinstance(value, Fraction):
        return str(value)
    if value.denominator == 1:
        return f"{value.numerator:,}"
    return f"{float(value):,.2f}" if abs(value) >= 1_000 else f"{float(value):.6g}"


def figure_json(value: Any) -> Any:
    """A figure as JSON: whole numbers and texts as they are, others as the nearest double."""
    if not isinstance(value, Fraction):
        return value
    return value.numerator if value.denominator == 1 else float(value)
