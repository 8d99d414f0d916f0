"""The kinds of checks as users write them: what each takes, its short form, and the question it makes.

A kind is a mapping; most have a short form besides (`not_null: id` for `not_null: {columns: [id]}`). Errors
keep the place of what was written: the short form adds nothing to an error's `loc`. What a kind means in SQL
is said in `asgard.quality.predicates`, and how whole tables are asked in `asgard.quality.audit`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from asgard.core.check import OnFail
from asgard.core.config import Config
from asgard.quality.types import is_known_type

PATTERNS = {
    "email": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "url": r"(?i)https?://[^\s/?#]+([/?#]\S*)?",
    "uuid": r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
"""What the names that stand for a pattern mean."""

DURATION = re.compile(r"(?:\s*\d+\s*(?:w|d|h|m|s)\s*)+")
SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
NAME_PARTS = {"bronze": 3, "silver": 2, "gold": 2}


def fault(what: str) -> PydanticCustomError:
    """The error of a kind whose fields do not fit together."""
    return PydanticCustomError("check", what)


def _columns(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise fault("must be a column or a list of columns")
    if len({str(name).casefold() for name in value}) < len(value):
        raise fault("names a column twice")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str | date):
        raise fault("must be a number, a date or a text")
    return value


def checked_member(value: Any) -> Any:
    """Refuses what a cell of a table cannot be."""
    return value if isinstance(value, bool) else _scalar(value)


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and DURATION.fullmatch(value):
        return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)\s*([wdhms])", value))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise fault("must be a duration such as 30m, 12h, 1d or 1d12h")


def checked_type(value: Any) -> Any:
    """Refuses what names no SQL type."""
    if isinstance(value, str) and not is_known_type(value):
        raise fault(
            f"{value!r} is no SQL type; use for example bigint, decimal(12,2), text, date, timestamptz"
        )
    return value


def checked_pattern(value: Any) -> Any:
    """Refuses what the engine cannot match by."""
    if isinstance(value, str) and value not in PATTERNS:
        try:  # the same engine of regular expressions as DuckDB's, RE2
            pc.match_substring_regex(pa.nulls(1, pa.string()), pattern=value)
        except pa.ArrowInvalid as error:
            raise fault(f"is no regular expression: {error}") from error
    return value


def checked_table(value: Any) -> Any:
    """Refuses what names no table."""
    if isinstance(value, str):
        parts = value.split(".")
        if len(parts) != NAME_PARTS.get(parts[0]) or not all(parts):
            raise fault("must be a table such as bronze.shop.customers, silver.customers or gold.customers")
    return value


def _expression(value: Any) -> Any:
    from asgard.quality.expression import fault_of  # with sqlglot, for the few projects that have one

    if isinstance(value, str) and (wrong := fault_of(value)):
        raise fault(wrong)
    return value


SCALAR_SCHEMA = {"type": ["number", "string"]}
MEMBER_SCHEMA = {"type": ["number", "string", "boolean"]}
Name = Annotated[str, Field(min_length=1)]
Columns = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(_columns),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(SCALAR_SCHEMA)]
Member = Annotated[Any, BeforeValidator(checked_member), WithJsonSchema(MEMBER_SCHEMA)]
Seconds = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["1d", "12h", "1d12h"]}, {"type": "integer"}]}),
]
SqlType = Annotated[str, BeforeValidator(checked_type)]
Condition = Annotated[str, Field(min_length=1), BeforeValidator(_expression)]
Question = tuple[tuple[str, ...], dict[str, Any]]
"""The columns that a check is about, and its options."""


class Kind(Config):
    """What every kind takes besides; inside of its mapping or beside the kind's key."""

    kind: ClassVar[str]
    short: ClassVar[str] = ""
    """The field that a plain value stands for."""

    mostly: float | None = Field(None, gt=0, le=1, description="the share of rows that has to be good")
    severity: Literal["info", "warning", "error", "critical"] | None = Field(
        None, description="for people and alerts"
    )
    on_fail: OnFail | None = Field(
        None, description="stop the load, set the bad rows aside (quarantine), or only warn"
    )
    name: Name | None = Field(None, description="for reports; made from kind and columns when missing")
    where: Condition | None = Field(
        None, description="SQL about one row: only rows for which it is true are looked at"
    )

    @abstractmethod
    def questions(self) -> Iterator[Question]:
        """What is asked, one question for each check."""

    def default_name(self, columns: tuple[str, ...]) -> str:
        """How a question is called when the user gave no name."""
        return f"{self.kind}({', '.join(columns)})"

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """The mapping that a short form stands for; a mapping stays."""
        return {cls.short: value} if cls.short and not isinstance(value, Mapping | cls) else value

    @model_validator(mode="wrap")
    @classmethod
    def _short_form(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        long = cls.long_form(value)
        if long is value:
            return handler(value)
        try:
            return handler(long)
        except ValidationError as error:
            (added,) = long
            lines = [
                InitErrorDetails(
                    type=fault(line["msg"]),
                    loc=line["loc"][1:] if line["loc"][:1] == (added,) else line["loc"],
                    input=line["input"],
                )
                for line in error.errors(include_url=False)
            ]
            raise ValidationError.from_exception_data(cls.__name__, lines) from None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """For editors: the short form beside the mapping, and no nulls."""
        full = handler.resolve_ref_schema(handler(schema))
        without_nulls(full)
        if not cls.short:
            return full
        short = {k: v for k, v in full["properties"][cls.short].items() if k not in {"title", "default"}}
        return {"title": full["title"], "anyOf": [short, full]}


def strictness(low: bool, high: bool) -> dict[str, Any]:
    """The options of bounds that are not allowed themselves."""
    return {name: True for name, strict in (("strict_min", low), ("strict_max", high)) if strict}


def without_nulls(schema: JsonSchemaValue) -> None:
    """Takes the alternative null and the default null out of a model's properties, in place."""
    for value in schema.get("properties", {}).values():
        if value.get("default", ...) is None:
            del value["default"]
        options = [option for option in value.get("anyOf", []) if option != {"type": "null"}]
        if len(options) == 1:
            del value["anyOf"]
            value |= options[0]
        elif options:
            value["anyOf"] = options


class NotNull(Kind):
    """Columns that must have a value in every row."""

    kind = "not_null"
    short = "columns"
    columns: Columns

    def questions(self) -> Iterator[Question]:
        for column in self.columns:
            yield (column,), {}


class NonNegative(NotNull):
    """Columns of numbers that must not be below zero."""

    kind = "non_negative"


class Unique(Kind):
    """Columns that together must not come twice in the table; rows with a null among them are left out."""

    kind = "unique"
    short = "columns"
    columns: Columns

    def questions(self) -> Iterator[Question]:
        yield self.columns, {}


class NoDuplicates(Kind):
    """Columns, or `all`, in which no two rows of the table may be the same; nulls are the same as nulls."""

    kind = "no_duplicates"
    short = "columns"
    columns: Columns

    def questions(self) -> Iterator[Question]:
        yield (() if self.columns == ("all",) else self.columns), {}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return super().default_name(columns or ("all",))


class Between(Kind):
    """A column whose values must lie between two bounds; NaN does not."""

    kind = "between"
    column: Name
    min: Scalar | None = None
    max: Scalar | None = None
    strict_min: bool = Field(False, description="the bound itself is not allowed")
    strict_max: bool = Field(False, description="the bound itself is not allowed")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise fault("needs min, max or both")
        return self

    def questions(self) -> Iterator[Question]:
        bounds = {"min": self.min, "max": self.max}
        said = {key: value for key, value in bounds.items() if value is not None}
        yield (self.column,), said | strictness(self.strict_min, self.strict_max)


class AcceptedValues(Kind):
    """A column whose values must be among those listed."""

    kind = "accepted_values"
    column: Name
    values: tuple[Member, ...] = Field(min_length=1)

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"values": list(self.values)}


class Matches(Kind):
    """A column whose texts must match, from end to end, email, url, uuid or a regular expression."""

    kind = "matches"
    column: Name
    pattern: Annotated[Name, BeforeValidator(checked_pattern)]

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"pattern": self.pattern}


class Type(Kind):
    """Columns that must have a SQL type; texts must be readable as it."""

    kind = "type"
    short = "columns"
    column: Name | None = None
    type: SqlType | None = None
    columns: dict[str, SqlType] = Field(default_factory=dict, description="column to type")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """A mapping that has neither `column` nor `columns` is one of columns to types."""
        if isinstance(value, Mapping) and not {"column", "columns"} & set(value):
            return {"columns": value}
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.column is None) != (self.type is None):
            raise fault("needs column and type")
        if self.column is None and not self.columns:
            raise fault("needs a column and its type")
        return self

    def questions(self) -> Iterator[Question]:
        single = {self.column: self.type} if self.column and self.type else {}
        for column, kind in (single | self.columns).items():
            yield (column,), {"type": kind}


class RowCount(Kind):
    """How many rows the table must have; `change` is against the last good version, 0.5 is half."""

    kind = "row_count"
    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)
    change: float | None = Field(None, ge=0, description="largest change, as a share of the rows before")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None and self.change is None:
            raise fault("needs min, max or change")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise fault(f"min {self.min} is above max {self.max}")
        return self

    def questions(self) -> Iterator[Question]:
        bounds = {"min": self.min, "max": self.max, "change": self.change}
        yield (), {key: value for key, value in bounds.items() if value is not None}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return self.kind


class Fresh(Kind):
    """A column of times whose newest value must not be older than `within`."""

    kind = "fresh"
    column: Name
    within: Seconds

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"within_seconds": self.within}


class Referential(Kind):
    """A column whose values must be in a column of another table."""

    kind = "referential"
    column: Name
    to: Annotated[str, BeforeValidator(checked_table)] = Field(
        description="for example bronze.shop.customers"
    )
    field: Name | None = Field(None, description="the other table's column; the same name by default")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"to": self.to, "field": self.field or self.column}


class Expression(Kind):
    """A SQL expression that must be true for every row; null counts as true, as in SQL's CHECK."""

    kind = "expression"
    short = "sql"
    sql: Annotated[Name, BeforeValidator(_expression)]

    def questions(self) -> Iterator[Question]:
        yield (), {"sql": self.sql}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return f"{self.kind}({' '.join(self.sql.split())})"
