"""What a process does that may be killed at any instant and is started again until it comes to its end.

Every step looks at the table alone to learn how far it is: the position in it is the number of loads done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from asgard.core.stream import Mode
from asgard.lake.delta import publish
from asgard.lake.delta.positions import Positions, Record
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits
from tests.lake.ground import SCHEMA, load, set_aside, token

LOADS = 3
NARROWER = pa.schema([pa.field("id", pa.int32()), SCHEMA.field("v")])
WIDER = pa.schema([*SCHEMA, ("at", pa.timestamp("us"))])


@dataclass(frozen=True)
class Scenario:
    """A way to load, and what it must come to."""

    mode: Mode
    keyed: bool = False
    keep_existing: bool = False
    set_aside: bool = False
    evolves: bool = False
    undoes: bool = False
    widens: bool = False
    marks: bool = False

    @property
    def limits(self) -> Limits | None:
        """With marks no row is too many to be marked as deleted, and no file too small."""
        return Limits(gone_share=1.0, marked_bytes=0) if self.marks else None

    def schema(self, number: int) -> pa.Schema:
        """The columns of one load: with widening and evolution others come after the first."""
        if self.widens and not number:
            return NARROWER
        return WIDER if self.evolves and number else SCHEMA

    def pairs(self, number: int) -> list[tuple[int, str]]:
        """The rows of one load. With keys each load repeats half of the keys of the one before."""
        step = 5 if self.keyed else 10
        return [(step * number + index, f"{number}") for index in range(10)]

    def aside(self, number: int) -> list[tuple[int, str]]:
        """What is set aside with one load; an ordinary scenario has a load without."""
        return [(1000 + number, "bad")] if self.set_aside and (number != 1 or self.undoes) else []

    def loads(self) -> list[int]:
        """The loads whose rows are in the table at the end; with undo the second was taken back."""
        return [0, 2] if self.undoes else list(range(LOADS))

    def expected(self) -> list[tuple[int, str]]:
        if self.mode is Mode.REPLACE:
            return self.pairs(self.loads()[-1])
        if not self.keyed:
            return sorted(pair for number in self.loads() for pair in self.pairs(number))
        found: dict[int, str] = {}
        for number in self.loads():
            for key, value in self.pairs(number):
                if not (self.keep_existing and key in found):
                    found[key] = value
        return sorted(found.items())


SCENARIOS = {
    "replace": Scenario(Mode.REPLACE),
    "append": Scenario(Mode.APPEND),
    "append-keyed": Scenario(Mode.APPEND, keyed=True, keep_existing=True),
    "merge": Scenario(Mode.MERGE, keyed=True),
    "merge-set-aside": Scenario(Mode.MERGE, keyed=True, set_aside=True),
    "append-evolving": Scenario(Mode.APPEND, evolves=True, set_aside=True),
    "append-undone": Scenario(Mode.APPEND, set_aside=True, undoes=True),
    "merge-undone": Scenario(Mode.MERGE, keyed=True, undoes=True),
    "merge-marked": Scenario(Mode.MERGE, keyed=True, set_aside=True, marks=True),
    "merge-marked-undone": Scenario(Mode.MERGE, keyed=True, undoes=True, marks=True),
    "append-widening": Scenario(Mode.APPEND, widens=True),
    "merge-widening": Scenario(Mode.MERGE, keyed=True, widens=True),
}


def run(name: str, table: LakeTable) -> None:
    """Does what is left to do."""
    scenario = SCENARIOS[name]
    while (done := _done(table, scenario)) < LOADS:
        schema = scenario.schema(done)
        batch = pa.RecordBatch.from_pylist(
            [dict(zip(schema.names, pair, strict=False)) for pair in scenario.pairs(done)], schema
        )
        aside = scenario.aside(done)
        load(
            table,
            scenario.mode,
            [batch.slice(0, 4), batch.slice(4)],
            str(done + 1),
            aside=_aside(aside, schema) if aside else None,
            keys=("id",) if scenario.keyed else (),
            keep_existing=scenario.keep_existing,
            widens=scenario.widens,
        )
        if scenario.undoes and done == 1:
            table.undo()


def _done(table: LakeTable, scenario: Scenario) -> int:
    done = int(token(table) or 0)
    if scenario.undoes and table.exists():
        undone = any(version.operation == "undo" for version in table.versions(100))
        if done == 2 and not undone:
            table.undo()
            return 2
        if undone and done == 1:
            return 2
    return done


def _aside(pairs: list[tuple[int, str]], schema: pa.Schema) -> pa.RecordBatch:
    batch = set_aside(pairs)
    if len(schema) > len(SCHEMA):
        batch = batch.append_column("at", pa.nulls(batch.num_rows, pa.timestamp("us")))
    return batch


def _forget_position() -> None:
    """The record is written without its position."""
    put = Positions.put
    Positions.put = lambda self, record: put(self, _without(record))  # type: ignore[method-assign]


def _without(record: Record) -> Record:
    return replace(record, position=None)


def _commit_elsewhere() -> None:
    """The integer is committed where nobody looks for it."""
    real = publish.Transaction
    publish.Transaction = lambda app, number: real(f"{app}/elsewhere", number)  # type: ignore[misc,assignment]


def _nothing() -> None:
    """The product as it is."""


FAULTS: dict[str, Callable[[], None]] = {
    "": _nothing,
    "forget-position": _forget_position,
    "commit-elsewhere": _commit_elsewhere,
}
"""Pieces of the protocol taken out: the kill tests must notice."""
