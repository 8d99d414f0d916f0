"""A source in memory whose rows come, change, commit late and go; read by a cursor that misses none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from asgard.core.config import Config
from asgard.core.position import DONE, Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream

SPLITS = 2
KEY = pa.field("id", pa.int64(), nullable=False)


@dataclass
class Rows:
    """What the source holds.

    Attributes:
        live: id to its row.
        written: id to the number of the commit that wrote it last. It is the guard against late commits: a
            row's own `changed` may be older than what was read already.
        commits: how many there were.
        wide: whether there is a column more.
    """

    live: dict[int, dict[str, Any]] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)
    commits: int = 0
    wide: bool = False

    def put(self, key: int, value: str, *, late: bool) -> None:
        self.commits += 1
        changed = self.commits - (5 if late else 0)
        self.live[key] = {"id": key, "v": value, "changed": changed, **({"w": changed} if self.wide else {})}
        self.written[key] = self.commits

    @property
    def schema(self) -> pa.Schema:
        more = [("w", pa.int64())] if self.wide else []
        return pa.schema([KEY, ("v", pa.string()), ("changed", pa.int64()), *more])


class ChangingSource(Source):
    """Reads what there is, or what was committed after a position."""

    type = "changing"
    Config = Config
    features = Feature.SPLITS | Feature.CURSOR | Feature.RESUME | Feature.SNAPSHOT | Feature.LATE_COMMITS

    def __init__(self, rows: Rows) -> None:
        super().__init__(Config(), "changing")
        self._rows = rows
        self._shown: dict[str, list[dict[str, Any]]] = {}
        self._schema = rows.schema

    def check(self) -> None:
        pass

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        yield Stream("stream", "t", "", self._rows.schema, ("id",))

    def keys_alone(self) -> Selection:
        """How the keys are read."""
        return Selection(Stream("stream", "t", "", pa.schema([KEY]), ("id",)), primary_key=("id",))

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        (selection,) = selections
        position = since.get("stream") or Position()
        self._schema = selection.stream.schema
        low = int(position.token or 0)
        names = self._schema.names
        shown = [row for key, row in sorted(self._rows.live.items()) if self._rows.written[key] > low]
        self._shown = {
            str(part): [
                {name: row.get(name) for name in names} for row in shown if row["id"] % SPLITS == part
            ]
            for part in range(SPLITS)
        }
        left = [Split(name, "stream") for name in self._shown if position.splits.get(name) != DONE]
        token = position.pending if position.half_read else str(self._rows.commits)
        return Plan(
            left,
            {"stream": token} if token is not None else {},
            resumable=frozenset({"stream"} if selection.cursor else ()),
            resumed=frozenset({"stream"} if position.half_read else ()),
        )

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        rows = self._shown[split.id]
        for start in range(0, len(rows), 3):
            yield pa.RecordBatch.from_pylist(rows[start : start + 3], self._schema)
