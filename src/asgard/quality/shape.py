"""The columns of a table: which there are, in which order, how many, of which types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

import pyarrow as pa
import pyarrow.types as at
from pydantic import BeforeValidator, Field, model_validator

from asgard.core.check import Check
from asgard.quality import types
from asgard.quality.bounds import BoundedKind, wanted_text, within
from asgard.quality.families import Asked, Found, TableKind
from asgard.quality.kinds import Columns, Kind, Name, Question, checked_type, fault
from asgard.quality.phrases import listed
from asgard.quality.predicates import columns_of
from asgard.quality.tables import is_own

SqlType = Annotated[str, BeforeValidator(checked_type)]
Family = Literal["string", "number", "integer", "boolean", "date", "time", "timestamp", "array", "object"]


class ColumnsAre(Kind):
    """Columns that the table must have; the columns that Asgard adds are not counted."""

    kind = "columns"
    short = "names"
    names: Columns
    exactly: bool = Field(False, description="the table has no other columns")
    in_order: bool = Field(False, description="and they stand in this order")
    at: int | None = Field(None, ge=0, description="where the only column stands; the first is 0")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.at is not None and len(self.names) != 1:
            raise fault("at is the place of one column")
        if self.in_order and not self.exactly:
            raise fault("in_order needs exactly: true")
        return self

    def questions(self) -> Iterator[Question]:
        yield self.names, {"exactly": self.exactly, "in_order": self.in_order, "at": self.at}


class ColumnCount(BoundedKind):
    """How many columns the table must have, without those that Asgard adds."""

    kind = "column_count"

    def questions(self) -> Iterator[Question]:
        yield (), self.bounds()

    def default_name(self, columns: tuple[str, ...]) -> str:
        return self.kind


class ColumnType(Kind):
    """A column that must itself be of one of some types; `type` also takes texts that can be read so."""

    kind = "column_type"
    column: Name
    types: tuple[SqlType, ...] = Field((), description="SQL types: [bigint, 'decimal(12,2)']")
    family: Family | None = Field(None, description="or a family of types: number, string, timestamp")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.types) == (self.family is not None):
            raise fault("needs either types or family")
        return self

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"types": list(self.types), "family": self.family}


def columns_named(schema: pa.Schema) -> list[str]:
    """The columns of a table without those that Asgard adds."""
    return [name for name in schema.names if not is_own(name)]


def _judged_columns(check: Check, asked: Asked) -> Found:
    there, wanted = columns_named(asked.schema), list(check.columns)
    found, names = [n.casefold() for n in there], [n.casefold() for n in wanted]
    faults = [f"the table has no column {name}" for name in wanted if name.casefold() not in found]
    if check.options["exactly"]:
        faults += [f"it has {name} besides" for name in there if name.casefold() not in names]
        if not faults and check.options["in_order"] and found != names:
            faults.append(f"the columns stand in the order {', '.join(there)}")
    place = check.options["at"]
    if place is not None and not faults and (place >= len(found) or found[place] != names[0]):
        faults.append(f"{wanted[0]} stands at {found.index(names[0])}, not at {place}")
    return Found(not faults, "; ".join(faults) or f"the table has {listed(wanted)}", there)


def _judged_count(check: Check, asked: Asked) -> Found:
    count = len(columns_named(asked.schema))
    passed = within(check.options, count)
    message = f"the table has {count} columns"
    return Found(passed, message if passed else f"{message}, {wanted_text(check.options)} is wanted", count)


def _judged_type(check: Check, asked: Asked) -> Found:
    (found,) = columns_of(check, asked.schema)
    family, wanted = check.options["family"], check.options["types"]
    passed = of_family(found.type, family) if family else carries_any(found.type, wanted)
    message = f"{found.name} is {found.type}"
    said = family or " or ".join(wanted)
    return Found(passed, message if passed else f"{message}, not {said}", str(found.type))


def carries_any(kind: pa.DataType, wanted: Sequence[str]) -> bool:
    """Whether an Arrow type fulfils one of some SQL types."""
    parsed = (types.parsed(one) for one in wanted)
    return any(types.carries(kind, one) for one in parsed if one is not None)


def of_family(kind: pa.DataType, family: str) -> bool:
    """Whether an Arrow type is of a family of `ColumnType`."""
    found = types.family_of(kind)
    if family == "number":
        return found in {"integer", "float", "decimal"}
    if family == "array":
        return bool(at.is_list(kind) or at.is_large_list(kind) or at.is_fixed_size_list(kind))
    if family == "object":
        return bool(at.is_struct(kind) or at.is_map(kind))
    if family == "string":
        return found == "text"
    if family == "timestamp":
        return found in {"timestamp", "timestamptz"}
    return found == family


KINDS = {
    "columns": TableKind(_judged_columns),
    "column_count": TableKind(_judged_count),
    "column_type": TableKind(_judged_type),
}
