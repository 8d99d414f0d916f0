"""Texts: how long they are, what stands in them, whether they are times of a form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from asgard.core.check import Check
from asgard.quality.families import RowKind, column, text_column
from asgard.quality.kinds import Kind, Name, Question, checked_pattern, fault, strictness
from asgard.quality.phrases import Forms, being, listed, range_text
from asgard.quality.predicates import text
from asgard.quality.tables import Tables


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Pattern = Annotated[str, BeforeValidator(checked_pattern)]
Several = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})


class Null(Kind):
    """Columns that must have no value in any row."""

    kind = "is_null"
    short = "columns"
    columns: Annotated[tuple[Name, ...], BeforeValidator(_one_or_many), Several] = Field(min_length=1)

    def questions(self) -> Iterator[Question]:
        for name in self.columns:
            yield (name,), {}


class Length(Kind):
    """A column whose texts must have so many characters (code points), both bounds included."""

    kind = "length"
    column: Name
    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)
    strict_min: bool = Field(False, description="the bound itself is not allowed")
    strict_max: bool = Field(False, description="the bound itself is not allowed")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise fault("needs min, max or both")
        return self

    def questions(self) -> Iterator[Question]:
        bounds = {"min": self.min, "max": self.max}
        said = {name: value for name, value in bounds.items() if value is not None}
        yield (self.column,), said | strictness(self.strict_min, self.strict_max)


class Regex(Kind):
    """A column in whose texts regular expressions must be found, anywhere; `matches` is from end to end."""

    kind = "regex"
    column: Name
    patterns: Annotated[tuple[Pattern, ...], BeforeValidator(_one_or_many), Several] = Field(min_length=1)
    found: Literal["all", "any", "none"] = Field("all", description="how many of them must be found")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"patterns": list(self.patterns), "found": self.found}


class Like(Kind):
    """A column whose texts must be like patterns of SQL, in which % is any text and _ any character."""

    kind = "like"
    column: Name
    patterns: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Several] = Field(min_length=1)
    found: Literal["all", "any", "none"] = Field("all", description="how many of them must match")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"patterns": list(self.patterns), "found": self.found}


class TimeFormat(Kind):
    """A column whose texts must be readable as a time of a form, such as %Y-%m-%d %H:%M:%S."""

    kind = "time_format"
    column: Name
    format: str = Field(min_length=1, pattern="%[a-zA-Z]", description="as strptime writes it")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"format": self.format}


def _bad_length(check: Check, tables: Tables) -> str:
    length = f"length({text_column(check, tables, 'have a length').sql})"
    parts = []
    for side, sign in (("min", "<"), ("max", ">")):
        if side in check.options:
            strict = "=" if check.options.get(f"strict_{side}") else ""
            parts.append(f"{length} {sign}{strict} {int(check.options[side])}")
    return "(" + " OR ".join(parts) + ")"


def _bad_patterns(check: Check, tables: Tables) -> str:
    found = text_column(check, tables, "match a pattern").sql
    form = "regexp_matches({}, {})" if check.kind == "regex" else "({} LIKE {})"
    hits = [form.format(found, text(pattern)) for pattern in check.options["patterns"]]
    wanted = check.options["found"]
    if wanted == "none":
        return "(" + " OR ".join(hits) + ")"
    return "(NOT (" + (" AND " if wanted == "all" else " OR ").join(hits) + "))"


def _patterns(check: Check) -> tuple[Forms, Forms]:
    quantity = {"all": "", "any": "one of ", "none": "one of "} if len(check.options["patterns"]) > 1 else {}
    what = quantity.get(check.options["found"], "") + listed(check.options["patterns"])
    holds = f"matches {what}", f"match {what}"
    fails = f"does not match {what}", f"do not match {what}"
    return (fails, holds) if check.options["found"] == "none" else (holds, fails)


def _bad_time(check: Check, tables: Tables) -> str:
    found = text_column(check, tables, "be of a form").sql
    return f"({found} IS NOT NULL AND try_strptime({found}, {text(check.options['format'])}) IS NULL)"


def _length(check: Check) -> tuple[Forms, Forms]:
    same = check.options.get("min") == check.options.get("max")
    what = f"{check.options['min']}" if same else range_text(check.options)
    return (f"has {what} characters", f"have {what} characters"), (
        f"does not have {what} characters",
        f"do not have {what} characters",
    )


KINDS = {
    "is_null": RowKind(
        lambda check, tables: f"({column(check, tables).sql} IS NOT NULL)",
        lambda check: (("is missing", "are missing"), ("is there", "are there")),
        every_row=True,
    ),
    "length": RowKind(_bad_length, _length),
    "regex": RowKind(_bad_patterns, _patterns),
    "like": RowKind(_bad_patterns, _patterns),
    "time_format": RowKind(_bad_time, lambda check: being(f"of the form {check.options['format']}")),
}
