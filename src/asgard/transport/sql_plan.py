"""What the plans of SQL databases have in common: a stream as it is to be read, what a plan says about it,
where a cursor stands.

Knows no database: which rows are new, how they are split and what a snapshot is stays with each connector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Generic, Protocol, Self, TypeVar

from pydantic import BeforeValidator, WithJsonSchema

from asgard.core.errors import PositionLost, QueryError
from asgard.core.position import Token
from asgard.core.source import Plan
from asgard.core.stream import Selection, Split

FORMAT = 1
RESYNC = "asgard resync reads the table anew"

SchemaNames = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value or ()),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
"""One name, or a list."""


class Named(Protocol):
    """A column as the catalog has it."""

    @property
    def name(self) -> str: ...


ReadingT = TypeVar("ReadingT")
AttributeT = TypeVar("AttributeT", bound=Named)
RelationT = TypeVar("RelationT")


@dataclass(frozen=True)
class SqlWish(Generic[ReadingT, AttributeT, RelationT]):
    """A stream as it is to be read.

    Attributes:
        attributes: all columns that there are: the cursor need not be read.
        relation: None for a query.
        source: what stands behind FROM.
    """

    selection: Selection
    reading: ReadingT
    attributes: Sequence[AttributeT]
    relation: RelationT | None
    source: str

    @property
    def name(self) -> str:
        """For messages."""
        return self.selection.stream.full_name

    @property
    def cursor_attribute(self) -> AttributeT | None:
        """The cursor's column; None when everything is read each time.

        Raises:
            QueryError: there is no such column.
        """
        name = self.selection.cursor
        if name is None:
            return None
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise QueryError(
            f"there is no column {name!r} for the cursor",
            hint=f"the columns are {', '.join(attribute.name for attribute in self.attributes)}",
        )


@dataclass
class StreamPlan:
    """What a plan says about one stream."""

    splits: list[Split] = field(default_factory=list)
    token: Token | None = None
    resumable: bool = False
    resumed: bool = False
    warnings: list[str] = field(default_factory=list)


class SqlPlan(Plan):
    """The plans of all streams as one."""

    def __init__(self, plans: Mapping[str, StreamPlan], warnings: Sequence[str] = ()) -> None:
        super().__init__(
            [split for plan in plans.values() for split in plan.splits],
            {stream: plan.token for stream, plan in plans.items() if plan.token is not None},
            frozenset(stream for stream, plan in plans.items() if plan.resumable),
            frozenset(stream for stream, plan in plans.items() if plan.resumed),
            [*(warning for plan in plans.values() for warning in plan.warnings), *warnings],
        )


@dataclass(frozen=True)
class CursorMark:
    """Where a stream stands: what its token says, in readable JSON. Databases add what they know besides.

    Attributes:
        cursor, type: the cursor's column and type.
        bound: a value of the cursor, as the server writes it; None when nothing can be said.
    """

    cursor: str
    type: str
    bound: str | None

    def token(self) -> Token:
        """The mark as text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    @classmethod
    def read(cls, token: Token) -> Self:
        """The mark of a token.

        Raises:
            PositionLost: it is none of ours, or of a newer format.
        """
        try:
            document = json.loads(token)
            if document.pop("format") != FORMAT:
                raise ValueError("unknown format")
            return cls(**document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PositionLost(f"the position is none of this version: {error}", hint=RESYNC) from error

    @classmethod
    def read_of(cls, token: Token, cursor: str, type: str) -> Self:
        """The mark of a token, if it is one of this cursor.

        Raises:
            PositionLost: as `read`; or it is of another column or type.
        """
        mark = cls.read(token)
        if (mark.cursor, mark.type) != (cursor, type):
            raise PositionLost(
                f"the position is of cursor {mark.cursor} ({mark.type}), wanted is {cursor} ({type})",
                hint=RESYNC,
            )
        return mark
