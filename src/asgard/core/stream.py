"""Streams and splits: what a source has, and the parts that one worker reads alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

JSON_TYPE = b"asgard.type"
"""Field metadata: the type as the source calls it (`json`, `numeric`, `interval`, ...), when Arrow's type
does not say it. A text column with it holds the source's own exact text."""


class Mode(StrEnum):
    """What a load does with the rows that are there already."""

    REPLACE = "replace"
    APPEND = "append"
    MERGE = "merge"
    HISTORY = "history"


@dataclass(frozen=True)
class Stream:
    """One table, collection, endpoint or file set of a source.

    Attributes:
        id: stable identity inside the source (survives renames where the source has such an id).
        name: the source's own name, for example `orders`.
        namespace: what the name lives in, for example `public`; empty when the source has none.
        schema: Arrow schema of the batches; field metadata `asgard.type` names the source's type.
        primary_key: columns that the source guarantees unique and not null; empty when it does not.
        cursor_candidates: columns that could serve as cursor, best first.
        rows, size_bytes: estimates; None when unknown.
    """

    id: str
    name: str
    namespace: str
    schema: pa.Schema
    primary_key: tuple[str, ...] = ()
    cursor_candidates: tuple[str, ...] = ()
    rows: int | None = None
    size_bytes: int | None = None

    @property
    def full_name(self) -> str:
        """`namespace.name`, or the name alone."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Selection:
    """A stream as a pipeline wants it read.

    Attributes:
        stream: what is read; its schema is already the one after `columns` and `casts`.
        mode: what the table will do with the rows. `append` without a key asks for every row at most once.
        primary_key: columns that tell rows apart; empty when there is none.
        cursor: the column that grows when a row changes; None reads everything each time.
        cursor_lag: how far below the last bound reading starts again, in seconds for times, else in the
            cursor's own unit; for sources without a snapshot guard against late commits.
        query: the user's own query instead of a table; None for a table.
        options: an instance of the connector's `StreamOptions`; None for its defaults.
        limit_rows: how many rows are enough: a source that can stops there. None for all.
        endless: reads on and on what comes, for sources with Feature.ENDLESS; else what there is now.
    """

    stream: Stream
    mode: Mode = Mode.REPLACE
    primary_key: tuple[str, ...] = ()
    cursor: str | None = None
    cursor_lag: float = 0.0
    query: str | None = None
    options: Any = None
    limit_rows: int | None = None
    endless: bool = False


@dataclass(frozen=True)
class Split:
    """A part of a stream that one worker reads alone: picklable, without secrets.

    Attributes:
        id: stable across restarts of the same plan.
        stream: id of the stream.
        spec: what the connector needs to read it, as JSON values.
        rows, size_bytes: estimates; None when unknown.
    """

    id: str
    stream: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None
    size_bytes: int | None = None
