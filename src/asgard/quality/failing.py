"""How many rows may fail: another check's bad rows, counted, in rows or in percent.

`mostly` says how much has to be good; this says any bound of what is bad, such as contracts do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from asgard.core.check import Check
from asgard.quality.bounds import BoundedKind, figure_text, wanted_text, within
from asgard.quality.families import Found
from asgard.quality.kinds import Question, fault
from asgard.quality.phrases import some


def _inner(value: Any) -> Any:
    from asgard.quality.registry import ROW_KINDS  # which knows this kind
    from asgard.quality.spec import CheckSpec

    checks = CheckSpec.model_validate(value).checks()
    if len(checks) != 1 or checks[0].kind not in ROW_KINDS:
        raise fault("must be one check that looks at rows, such as {not_null: id}")
    return checks[0]


class Failing(BoundedKind):
    """How many rows another check may find bad."""

    kind = "failing"
    check: Annotated[Any, BeforeValidator(_inner), WithJsonSchema({"type": "object"})] = Field(
        description="a check of rows: {not_null: email}"
    )
    unit: Literal["rows", "percent"] = "rows"

    def questions(self) -> Iterator[Question]:
        yield self.check.columns, {"of": self.check, "unit": self.unit, **self.bounds()}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return f"{self.kind}({self.check.name})"


def question_of(check: Check) -> Check:
    """The check that is asked: the inner one of `failing`, any other itself."""
    inner = check.options.get("of")
    if not isinstance(inner, Check):
        return check
    where = {"where": check.options["where"]} if "where" in check.options else {}
    return replace(inner, columns=check.columns, options={**inner.options, **where})


def within_limits(check: Check, rows: int, failed: int) -> Found:
    """Whether so many bad rows are allowed."""
    percent = check.options["unit"] == "percent"
    value = Fraction(100 * failed, rows) if percent and rows else Fraction(0 if percent else failed)
    shown = f"{figure_text(value)} %" if percent else f"{failed:,}"
    message = f"{shown} of {some(rows, 'row')} fail {check.options['of'].name}"
    passed = within(check.options, value)
    if not passed:
        message += f", {wanted_text(check.options)} is wanted"
    return Found(passed, message)
