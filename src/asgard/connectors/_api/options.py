"""One stream of an API: what is asked, how its pages follow each other, how answers become records.

The same model reads an endpoint of asgard.yml and a stream of a manifest.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema, model_validator

from asgard.connectors._api.paging import AutoPages, Pagination
from asgard.core.config import Config
from asgard.transport.column_types import ColumnTypes

_SIGN_IN = re.compile(
    r"(api|access)?[_-]?key|(api|auth|access)?[_-]?token|password|(client)?[_-]?secret", re.I
)

Method = Annotated[
    Literal["GET", "POST"],
    BeforeValidator(lambda word: word.upper() if isinstance(word, str) else word),
    WithJsonSchema({"enum": ["GET", "POST"]}),
]


class Increment(Config):
    """How only what changed is asked for. `{since}` in params and body stands for the bound; path, method,
    params, body, pagination and records are those of such requests, where they differ."""

    cursor: str | None = Field(default=None, description="The column that the bound is of.")
    param: str | None = Field(default=None, min_length=1, description="The parameter that has the bound.")
    end_param: str | None = Field(default=None, min_length=1, description="The parameter for an upper bound.")
    format: Literal["as_is", "iso", "date", "unix", "unix_ms"] = Field(
        default="as_is",
        description="How the bound is written: as_is as records have it, iso (2026-01-31T10:00:00Z), date, "
        "unix (seconds since 1970), unix_ms.",
    )
    as_text: bool = Field(default=False, description="A number is sent as text where it stands in a body.")
    lag_seconds: float = Field(
        default=0, ge=0, description="How far below the last bound reading starts again, if nobody says more."
    )
    path: str | None = Field(default=None, description="Instead of the stream's.")
    method: Method | None = Field(default=None, description="Instead of the stream's.")
    params: dict[str, Any] | None = Field(default=None, repr=False, description="Besides the stream's.")
    body: Any = Field(default=None, repr=False, description="Instead of the stream's.")
    pagination: Pagination | None = Field(default=None, description="Instead of the stream's.")
    records: str | None = Field(default=None, min_length=1, description="Instead of the stream's.")
    first_passes: int = Field(
        default=1, ge=1, description="How many of the stream's passes these requests replace."
    )


class Parent(Config):
    """The stream whose every record is asked for records of its own: `{parent.id}` in path, params and body
    stands for what the record has there."""

    stream: str | None = Field(default=None, description="A stream of the manifest.")
    path: str | None = Field(default=None, description="Or its path.")
    params: dict[str, Any] = Field(default_factory=dict, repr=False, description="Its query parameters.")
    records: str | None = Field(default=None, min_length=1, description="Where its records are.")
    pagination: Pagination = Field(default=AutoPages(), description="How its pages follow each other.")
    include: dict[str, str] = Field(
        default_factory=dict,
        description="Column to what of the parent's record goes into it: {order_id: id}.",
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.stream is None) == (self.path is None):
            raise ValueError("a parent is a stream of the manifest, or a path: give one of them")
        return self


class TypesFrom(Config):
    """An endpoint that tells the types of a stream's columns."""

    path: str = Field(description="Behind base_url.")
    records: str | None = Field(default=None, min_length=1, description="Where its list is.")
    name: str = Field(default="name", description="What of an element is the column's name.")
    kind: str = Field(default="type", description="What of an element is its type.")
    words: ColumnTypes = Field(description="Their type to ours; columns of other types are text.")


class ApiStreamOptions(Config):
    """One endpoint, and how its answers are read."""

    path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("path", "endpoint"),
        description="Behind base_url; the table's name when left out.",
    )
    method: Method = Field(default="GET", description="GET or POST.")
    params: dict[str, Any] = Field(default_factory=dict, repr=False, description="Query parameters.")
    body: Any = Field(default=None, repr=False, description="Sent as JSON.")
    repeatable: bool = Field(
        default=False, description="A POST that only asks: it is sent again when an answer fails."
    )
    format: Literal["json", "csv"] = Field(default="json", description="What answers are written in.")
    records: str | None = Field(
        default=None,
        min_length=1,
        description="Where the answer has the list of records, for example data.items; found when left out.",
    )
    lift: tuple[str, ...] = Field(
        default=(), description="Objects of a record whose names become columns: [properties]."
    )
    pagination: Pagination = Field(
        default=AutoPages(),
        description="How the next page is asked for: auto, link, next_url, page, offset, cursor, relay, "
        "keyset, none.",
    )
    incremental: Increment | None = Field(
        default=None, description="How only what changed is asked for: {param: updated_since}."
    )
    parent: Parent | None = Field(
        default=None, description="The stream whose records this one is asked for, one by one."
    )
    passes: tuple[dict[str, Any], ...] = Field(
        default=(), description="The list is asked for several times, with these parameters in turn."
    )
    properties: tuple[str, ...] = Field(
        default=(),
        description="What {properties} in params and body stands for: names of fields that are wanted.",
    )
    types_from: TypesFrom | None = Field(default=None, description="An endpoint that tells column types.")
    label: str | None = Field(
        default=None, description="What {name} in path, params and body stands for; the table's name."
    )
    record_key: tuple[str, ...] = Field(
        default=(), description="The columns that the API promises to tell records apart."
    )
    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not be found out: text, int64, float64, decimal(p, s), "
        "bool, date, timestamp, timestamptz, json.",
    )
    empty_is_null: bool = Field(
        default=False, description="An empty text in a column that is no text means null."
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Names that are no columns.")
    errors: str | None = Field(
        default=None, min_length=1, description="Where an answer with status 200 has its errors, if any."
    )

    @model_validator(mode="after")
    def _without_secrets(self) -> Self:
        """Options travel with splits to other processes; secrets do not (Promise 6)."""
        body = self.body if isinstance(self.body, dict) else {}
        for name in (*self.params, *body, *(name for one in self.passes for name in one)):
            if _SIGN_IN.fullmatch(str(name)):
                raise ValueError(
                    f"{name!r} looks like a secret: give it to the source, as api_key or in params"
                )
        return self
