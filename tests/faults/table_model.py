"""A table in plain Python: rows, columns, positions, what was set aside, and the way back.

It says what a table of the lake must be after each deed, by the rules of docs/decisions/0020, 0022 and 0181
alone; it shares no code with the lake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

TYPES = {
    "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "double": pa.float64(), "text": pa.string(), "flag": pa.bool_(),
}  # fmt: skip
HOLDS = {
    "int16": {"int16"},
    "int32": {"int16", "int32"},
    "int64": {"int16", "int32", "int64"},
    "double": {"int16", "int32", "double"},
    "text": {"text"},
    "flag": {"flag"},
}
"""Type to those whose every value it holds; narrower ones first."""
Row = Mapping[str, Any]


class RefusedByModelError(Exception):
    """The columns do not fit: the load must be refused."""


class NullKeyError(Exception):
    """A key is null: the load must be refused."""


@dataclass(frozen=True)
class State:
    """What readers see."""

    columns: Mapping[str, str]
    rows: tuple[Row, ...] = ()

    def content(self) -> Counter[tuple[Any, ...]]:
        names = sorted(self.columns)
        return Counter(tuple(row.get(name) for name in names) for row in self.rows)


@dataclass(frozen=True)
class Coming:
    """One load.

    Attributes:
        parts: rows, by the calls that stage them.
        mode: replace, append, keep (append with a key), merge, vanished.
        aside: ids that go to the quarantine.
    """

    stream: str
    mode: str
    columns: Mapping[str, str]
    parts: tuple[tuple[Row, ...], ...]
    token: str = ""
    run: str = ""
    aside: tuple[int, ...] = ()
    allow_missing: bool = False
    widens: bool = False
    unique: bool = False
    deleted: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for part in self.parts for row in part)


@dataclass(frozen=True)
class Stands:
    """Where a stream stands."""

    token: str | None = None
    anew: bool = False
    asides: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Deed:
    """What an undo may take back; without a stream it was somebody else's, and stands in the way.

    Attributes:
        before: what readers saw before it.
        stood: where its stream stood before it; None: it had no position.
    """

    stream: str = ""
    run: str = ""
    before: State | None = None
    stood: Stands | None = None


@dataclass
class Model:
    """A table.

    Attributes:
        state: None before the first load.
        born: the columns of the empty table that the first load makes before its rows come.
        lost: streams whose position cannot be trusted.
    """

    state: State | None = None
    born: Mapping[str, str] | None = None
    streams: dict[str, Stands] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    deeds: list[Deed] = field(default_factory=list)

    def token(self, stream: str) -> str | None:
        return self.streams[stream].token if stream in self.streams else None

    def aside(self) -> Counter[int]:
        return Counter(key for one in self.streams.values() for keys in one.asides for key in keys)

    # ---- loads

    def replaces(self, load: Coming) -> bool:
        """Whether a load takes every row out that is there."""
        stands = self.streams.get(load.stream, Stands())
        return self.state is None or load.mode == "replace" or (stands.anew and load.mode != "vanished")

    def evolved(self, load: Coming) -> State:
        """The table with the load's columns, before its rows come.

        Raises:
            RefusedByModelError: they do not fit.
        """
        if self.state is None or self.replaces(load):
            return State(load.columns)
        have = dict(self.state.columns)
        if set(have) - set(load.columns) and not (load.allow_missing or load.mode == "vanished"):
            raise RefusedByModelError
        for name, kind in load.columns.items():
            if name not in have:
                have[name] = kind
            elif kind not in HOLDS[have[name]]:
                have[name] = _common(have[name], kind, load.widens)
        return State(have, self.state.rows)

    def widens(self, load: Coming) -> bool:
        """Whether a column gets another type, so that every row is written anew."""
        if self.state is None or self.replaces(load):
            return False
        now = self.evolved(load).columns
        return any(now[name] != kind for name, kind in self.state.columns.items())

    def after(self, load: Coming) -> State:
        """What readers see after a load.

        Raises:
            RefusedByModelError: its columns do not fit.
            NullKeyError: it is by key, and a key is null.
        """
        there = self.evolved(load)
        if load.mode in ("replace", "append"):
            return replace(there, rows=(*there.rows, *load.rows))
        if load.mode != "vanished" and any(row["id"] is None for row in load.rows):
            raise NullKeyError
        came = {row["id"]: row for row in load.rows}  # of several the last one stays
        known = {row["id"] for row in there.rows}
        if load.mode == "vanished":
            return replace(
                there, rows=tuple(row for row in there.rows if row["id"] in came and row["id"] is not None)
            )
        if load.mode == "keep":
            return replace(there, rows=(*there.rows, *(r for key, r in came.items() if key not in known)))
        left = tuple(row for row in there.rows if row["id"] not in came)
        return replace(there, rows=(*left, *(r for r in came.values() if not (load.deleted and r["gone"]))))

    def load(self, load: Coming) -> None:
        """The load is published."""
        after, before, stood = self.after(load), self.state, self.streams.get(load.stream)
        replaces = self.replaces(load)
        if before is None:
            before = State(self.born or load.columns)
        elif not replaces and not self.widens(load):
            before = replace(self.evolved(load), rows=before.rows)  # its columns came in a commit before
        was = stood or Stands()
        asides = (*(() if replaces else was.asides), *((load.aside,) if load.aside else ()))
        token = was.token if load.mode == "vanished" else load.token
        self.streams[load.stream] = Stands(token, was.anew and load.mode == "vanished", asides)
        self.deeds.append(Deed(load.stream, load.run, before, stood))
        self.state = after

    def prepare_columns(self, load: Coming) -> None:
        """The load was killed when its columns had come, and its rows had not."""
        if self.state is not None and not self.replaces(load) and not self.widens(load):
            self.state = self.evolved(load)

    # ---- the ways back

    def undo(self) -> bool:
        """The last load is taken back; False when there is none, or somebody else's deed is in the way."""
        if not self.deeds or not self.deeds[-1].stream:
            return False
        self._take_back(self.deeds.pop())
        return True

    def undo_run(self, run: str) -> None:
        """The last loads of the run that made the last one are taken back."""
        while self.deeds and self.deeds[-1].stream and self.deeds[-1].run == run:
            self._take_back(self.deeds.pop())

    def _take_back(self, deed: Deed) -> None:
        self.state = deed.before
        self.streams[deed.stream] = deed.stood or Stands()
        self.lost.discard(deed.stream)

    def restored(self, state: State, *, moved_files: bool) -> None:
        """Somebody else went back to what readers saw once."""
        self.state = state
        self.lost |= set(self.streams)
        if moved_files:
            self.deeds.append(Deed())

    def changed(self, rows: tuple[Row, ...]) -> None:
        """Somebody else changed rows, and says so."""
        assert self.state is not None
        if len(rows) != len(self.state.rows):
            self.deeds.append(Deed())
        self.state = replace(self.state, rows=rows)

    def accept(self, stream: str, *, resync: bool) -> bool:
        """A position is trusted again, or begins anew; False when there is none to trust."""
        known = self.streams.get(stream)
        if known is None and not resync:
            return False
        known = known or Stands()
        self.streams[stream] = replace(known, token=None, anew=True) if resync else replace(known)
        self.lost.discard(stream)
        return True


def _common(one: str, other: str, widens: bool) -> str:
    for kind, held in HOLDS.items():
        if widens and {one, other} <= held:
            return kind
    raise RefusedByModelError
