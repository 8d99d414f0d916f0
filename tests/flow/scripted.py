"""A source whose rows, splits, tokens and failures a test writes down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from asgard.core.config import Config
from asgard.core.position import DONE, Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("v", pa.string()), ("n", pa.int64())])


@dataclass
class Script:
    """What the source does.

    Attributes:
        splits: split id to the batches that it gives.
        token: what a plan ends at.
        resumable: whether a later plan may finish the splits.
        on_read: called before each batch of a split: raises what the test wants to see.
        planned: the positions that plans were given, in order.
        acknowledged: the positions that came back, in order.
    """

    splits: dict[str, list[pa.RecordBatch]]
    schema: pa.Schema = SCHEMA
    keys: tuple[str, ...] = ("id",)
    token: Token | None = None
    resumable: bool = False
    warnings: Sequence[str] = ()
    on_read: Callable[[str, int], None] = lambda split, number: None
    planned: list[Position | None] = field(default_factory=list)
    acknowledged: list[Position] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    @property
    def stream(self) -> Stream:
        """The one stream that there is."""
        return Stream("stream-1", "t", "", self.schema, self.keys)


class ScriptedPlan(Plan):
    """Writes down what it hears."""

    script: Script

    def acknowledge(self, stream: str, position: Position) -> None:
        self.script.acknowledged.append(position)


class ScriptedSource(Source):
    """Plays a script."""

    type = "scripted"
    Config = Config
    features = Feature.SPLITS | Feature.CURSOR | Feature.RESUME

    def __init__(self, script: Script) -> None:
        super().__init__(Config(), "scripted")
        self.script = script

    def check(self) -> None:
        pass

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        yield self.script.stream

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        position = since.get("stream-1")
        self.script.planned.append(position)
        done = position.splits if position is not None and position.half_read else {}
        left = [Split(name, "stream-1") for name in self.script.splits if done.get(name) != DONE]
        resumed = bool(done)
        token = position.pending if resumed and position is not None else self.script.token
        plan = ScriptedPlan(
            left,
            {"stream-1": token} if token is not None else {},
            frozenset({"stream-1"} if self.script.resumable else ()),
            frozenset({"stream-1"} if resumed else ()),
            self.script.warnings,
        )
        plan.script = self.script
        return plan

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        self.script.threads.add(threading.current_thread().name)
        for number, batch in enumerate(self.script.splits[split.id]):
            self.script.on_read(split.id, number)
            yield batch


def rows(*values: tuple[Any, ...], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """A batch of rows, each a tuple in the order of the schema."""
    columns = zip(*values, strict=True) if values else [[] for _ in schema]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
