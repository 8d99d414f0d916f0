"""Random deeds on one table, each of which may be killed, against the table in plain Python.

Loads in every mode, columns that come, go and become wider, two streams, handles that race, undo, resync,
accept, compaction, vacuum, and another hand that restores, appends, deletes and compacts. After every step
rows, columns, positions, quarantine and an older version are what the model says.
"""

# ruff: noqa: PT017 - what was raised is judged by what the model says
from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asgard.core.errors import AsgardError, ConfigError, Conflict, DataError, PositionLost, SchemaChanged
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Load, LoadRequest, Staged
from tests.faults.grounds import Ground
from tests.faults.interruption import Trail, interrupted
from tests.faults.table_model import TYPES, Coming, Model, NullKeyError, RefusedByModelError, Row, State

STREAMS = ("one", "two")
MODES = {"replace": Mode.REPLACE, "append": Mode.APPEND, "keep": Mode.APPEND}
VALUES: dict[str, list[Any]] = {
    "int16": [0, 7, -(2**15)],
    "int32": [3, 2**31 - 1],
    "int64": [5, 2**53 + 1, -(2**63)],
    "double": [0.5, -3.0, 2.0**60],
    "text": ["", "ä", "7"],
    "flag": [True, False],
}
KINDS = {"v": ("text",), "n": ("int16", "int32", "int64", "double", "text"), "w": ("int32", "int64")}
IDS = ["int32", "int32", "int64", "int16"]
AT = st.one_of(st.none(), st.integers(1, 12))
"""At which boundary a deed is killed, if at one."""


@st.composite
def coming(draw: st.DrawFn, mode: str) -> Coming:
    """A load; by keys that meet those of others."""
    columns = {"id": draw(st.sampled_from(IDS))}
    if mode != "vanished":
        columns["v"] = "text"
        for name in sorted(draw(st.sets(st.sampled_from(["n", "n", "w"])))):
            columns[name] = draw(st.sampled_from(KINDS[name]))
    deleted = mode == "merge" and draw(st.booleans())
    if deleted:
        columns["gone"] = "flag"
    keys = st.integers(0, 6) if draw(st.integers(0, 19)) else st.one_of(st.none(), st.integers(0, 6))
    found = draw(st.lists(keys, max_size=5))
    unique = len(set(found)) == len(found) and draw(st.booleans())
    rows = [
        {"id": key, **{name: draw(st.sampled_from([None, *VALUES[kind]])) for name, kind in columns.items()
                       if name not in ("id", "gone")}, **({"gone": draw(st.booleans())} if deleted else {})}
        for key in found
    ]  # fmt: skip
    cut = draw(st.integers(0, len(rows)))
    return Coming(
        draw(st.sampled_from([*STREAMS, STREAMS[0]])),
        mode,
        columns,
        (tuple(rows[:cut]), tuple(rows[cut:])),
        run=draw(st.sampled_from(["run-1", "run-2"])),
        allow_missing=mode == "vanished" or draw(st.integers(0, 3)) > 0,
        widens=draw(st.booleans()),
        unique=unique,
        deleted=deleted,
        aside=(0,) if mode != "vanished" and draw(st.integers(0, 3)) == 0 else (),
    )


ORDINARY = st.sampled_from(["replace", "append", "append", "keep", "merge", "merge"]).flatmap(coming)
ANY = st.one_of(ORDINARY, ORDINARY, coming("vanished"))


class TableMachine(RuleBasedStateMachine):
    """One table. A subclass says on which ground it lies."""

    ground_of: Callable[[Path], Ground]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="asgard-machine-"))
        self.ground = type(self).ground_of(self.folder / "lake")
        self.model = Model()
        self.versions: dict[int, State] = {}
        self.counted = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- loads

    @initialize(load=coming("append"), at=AT)
    def begin(self, load: Coming, at: int | None) -> None:
        self.load(load, at)

    @rule(load=ANY, at=AT)
    def load(self, load: Coming, at: int | None) -> None:
        """A load that may be refused, or killed."""
        load = self._numbered(load)
        expected = self._refusal(load)
        trail = Trail()
        try:
            with interrupted(self.ground.folder, at) as trail:
                self._load(load)
        except AsgardError as error:
            assert expected is not None, f"{load} was refused: {error!r}"
            assert isinstance(error, expected)
        else:
            assert expected is None or trail.killed, f"{load} was not refused with {expected}"
        self._reckon(load, trail)

    @rule(load=ANY)
    def load_as_ever(self, load: Coming) -> None:
        """A load that nobody kills: they are most of a table's life."""
        self.load(load, None)

    @precondition(lambda self: self.model.state is not None)
    @rule(load=ANY, other=ANY, deed=st.sampled_from(["load", "load", "undo", "accept", "resync", "restore",
                                                    "compact", "maintain", "append", "delete"]))  # fmt: skip
    def race(self, load: Coming, other: Coming, deed: str) -> None:
        """Something happens to the table between a load's preparation and its commit."""
        load, ended = self._numbered(load), "published"
        if self._refusal(load) is not None:
            return
        stood = self.model.streams.get(load.stream)
        with self.ground.table().load(self._request(load)) as one:
            prepared, aside = self._staged(one, load)
            if deed == "load":
                self.load(other, None)
            elif deed in ("accept", "resync"):
                self.accept(load.stream, resync=deed == "resync", at=None)
            else:
                getattr(self, deed)(*_FIRST.get(deed, ()))
            moved = self.model.streams.get(load.stream) is not stood
            try:
                one.publish(prepared, self._position(one, load), aside)
            except AsgardError as error:
                assert isinstance(error, Conflict | PositionLost | SchemaChanged), repr(error)
                ended = type(error).__name__
        if ended != "published":
            by_columns = deed in ("load", "undo", "restore")
            assert moved or by_columns or load.stream in self.model.lost, (deed, ended)
            return
        assert not moved
        assert load.stream not in self.model.lost
        assert self._refusal(load) is None
        self.model.load(load)
        self._remember()

    def _numbered(self, load: Coming) -> Coming:
        """The load with a token and keys in the quarantine that no other has."""
        self.counted += 1
        aside = tuple(1000 + self.counted for _ in load.aside)
        token = self.model.token(load.stream) if load.mode == "vanished" else f"t{self.counted}"
        return Coming(**{**load.__dict__, "token": token or "", "aside": aside})

    def _refusal(self, load: Coming) -> type[AsgardError] | None:
        if load.stream in self.model.lost:
            return PositionLost
        try:
            self.model.after(load)
        except RefusedByModelError:
            return SchemaChanged
        except NullKeyError:
            return DataError
        return None

    def _request(self, load: Coming) -> LoadRequest:
        schema = pa.schema([(name, TYPES[kind]) for name, kind in load.columns.items()])
        keyed = load.mode in ("keep", "merge", "vanished")
        return LoadRequest(
            load.stream,
            MODES.get(load.mode, Mode.MERGE),
            schema,
            keys=("id",) if keyed else (),
            keys_unique=keyed and load.unique,
            keep_existing=load.mode == "keep",
            deleted="gone" if load.deleted else "",
            vanished=load.mode == "vanished",
            allow_missing=load.allow_missing,
            widens=load.widens,
            run=load.run,
        )

    def _staged(self, one: Load, load: Coming) -> tuple[Any, Staged | None]:
        schema = self._request(load).schema
        staged = [one.stage([pa.RecordBatch.from_pylist(list(part), schema)]) for part in load.parts]
        aside = None
        if load.aside:
            batch = pa.RecordBatch.from_pylist([{"id": key} for key in load.aside], schema)
            reasons = pa.array(["bad"] * batch.num_rows, pa.string())
            aside = one.quarantine([batch.append_column("_asgard_reason", reasons)])
        return one.prepare(staged), aside

    def _position(self, one: Load, load: Coming) -> Position:
        before = one.position or Position()
        return before if load.mode == "vanished" else before.finished(load.token)

    def _load(self, load: Coming) -> None:
        with self.ground.table().load(self._request(load)) as one:
            prepared, aside = self._staged(one, load)
            one.publish(prepared, self._position(one, load), aside)

    def _reckon(self, load: Coming, trail: Trail) -> None:
        """Tells the model what became of a load."""
        if trail.passed("committed"):
            self.model.load(load)
        elif trail.passed("evolved"):
            self.model.prepare_columns(load)
        elif trail.passed("table_created") and self.model.state is None:
            self.model.born = dict(load.columns)
        self._remember()

    # ---- ways back

    @rule(at=AT)
    def undo(self, at: int | None = None) -> None:
        """The last load is taken back."""
        trail = Trail()
        try:
            with interrupted(self.ground.folder, at) as trail:
                self.ground.table().undo()
        except (ConfigError, DataError) as error:
            if "were deleted" not in str(error):
                assert not self.model.undo(), repr(error)
            return
        if not trail.killed or trail.passed("restored"):
            assert self.model.undo()
        self._remember()

    @precondition(lambda self: self.model.deeds and self.model.deeds[-1].stream)
    @rule()
    def undo_run(self) -> None:
        """All that the last run loaded last is taken back."""
        run = self.model.deeds[-1].run
        try:
            self.ground.table().undo(run)
        except DataError as error:
            assert "were deleted" in str(error), repr(error)
            return
        self.model.undo_run(run)
        self._remember()

    @precondition(lambda self: self.model.state is not None)
    @rule(stream=st.sampled_from(STREAMS), resync=st.booleans(), at=AT)
    def accept(self, stream: str, resync: bool, at: int | None) -> None:
        """A position is accepted, or begun anew."""
        trail = Trail()
        try:
            with interrupted(self.ground.folder, at) as trail:
                self.ground.table().accept(stream, resync)
        except PositionLost as error:
            assert not resync
            assert stream not in self.model.streams, repr(error)
            return
        if not trail.killed:
            assert self.model.accept(stream, resync=resync)
        self._remember()

    @precondition(lambda self: self.model.lost)
    @rule()
    def accept_all(self) -> None:
        """Whoever restored a table goes on with it."""
        for stream in sorted(self.model.lost):
            self.accept(stream, resync=False, at=None)

    # ---- upkeep

    @precondition(lambda self: self.model.state is not None)
    @rule()
    def maintain(self) -> None:
        """Small files are put together, and no row is another."""
        self.ground.table().compact("upkeep", lambda: False, nullcontext)
        self._remember()

    @precondition(lambda self: self.model.state is not None)
    @rule(ours=st.booleans())
    def vacuum(self, ours: bool) -> None:
        """Files go that the newest version does not need."""
        if ours:
            self.ground.table().vacuum(datetime.now(UTC))
        else:
            self.ground.vacuum()
        self.versions.clear()
        self._remember()

    # ---- another hand

    @precondition(lambda self: self.versions)
    @rule(which=st.integers(0, 30))
    def restore(self, which: int = 1) -> None:
        """Somebody else goes back to an older version."""
        known = sorted(self.versions)
        version = known[max(len(known) - 1 - which, 0)]
        if self.model.state is None or version == known[-1]:
            return
        state = self.versions[version]
        self.model.restored(state, moved_files=self.ground.restore(version))
        self._remember()

    @precondition(lambda self: self.model.state is not None)
    @rule()
    def compact(self) -> None:
        """Somebody else puts small files together."""
        self.ground.compact()
        self._remember()

    @precondition(lambda self: self.model.state is not None)
    @rule(key=st.integers(0, 6))
    def append(self, key: int = 0) -> None:
        """Somebody else adds a row."""
        state = self.model.state
        assert state is not None
        row: Row = {"id": key, "v": "theirs"}
        self.ground.append([row], self.ground.table().schema())
        self.model.changed((*state.rows, {name: row.get(name) for name in state.columns}))
        self._remember()

    @precondition(lambda self: self.model.state is not None)
    @rule(key=st.integers(0, 6))
    def delete(self, key: int = 0) -> None:
        """Somebody else deletes the rows of a key."""
        state = self.model.state
        assert state is not None
        self.ground.delete(key)
        self.model.changed(tuple(row for row in state.rows if row["id"] != key))
        self._remember()

    # ---- what must be true

    def _remember(self) -> None:
        """Notes what readers see in the newest version."""
        if self.model.state is not None:
            self.versions[self.ground.table().versions(1)[0].version] = self.model.state

    @invariant()
    def table_is_what_the_model_says(self) -> None:
        table, state = self.ground.table(), self.model.state
        assert table.exists() == (state is not None)
        if state is None:
            return
        self._same(state, None)
        for version in sorted(self.versions)[-4:-1:2]:
            self._same(self.versions[version], version)

    def _same(self, state: State, at: int | None) -> None:
        table = self.ground.table()
        schema = table.schema(at)
        assert {column.name: column.type for column in schema} == {
            name: TYPES[kind] for name, kind in state.columns.items()
        }
        names = sorted(state.columns)
        found = table.scan(names, at=at).read_all().to_pylist()
        content = Counter(tuple(row[name] for name in names) for row in found)
        assert content == state.content(), (content - state.content(), state.content() - content)

    @invariant()
    def positions_are_what_the_model_says(self) -> None:
        table = self.ground.table()
        for stream in STREAMS:
            if stream in self.model.lost:
                with pytest.raises(PositionLost):
                    table.position(stream)
                continue
            position = table.position(stream)
            told = position.token if position else None
            assert told == self.model.token(stream), (stream, told, self.model.streams)

    @invariant()
    def quarantine_is_what_the_model_says(self) -> None:
        mount = self.ground.table().quarantined() if self.model.state else None
        wanted = self.model.aside()
        found: Counter[int] = Counter()
        for path in mount.files if mount else ():
            found.update(pq.ParquetFile(path).read(["id"]).column("id").to_pylist())
        assert found <= wanted, (found, wanted)
        assert bool(found) == bool(wanted), (found, wanted)  # older ones show when no newer kind of rows does


_FIRST: dict[str, Sequence[Any]] = {"restore": (1,), "append": (0,), "delete": (0,), "undo": (None,)}


def machine(ground_of: Callable[[Path], Ground]) -> type[TableMachine]:
    """The machine on a ground of one's own."""
    return type("Machine", (TableMachine,), {"ground_of": staticmethod(ground_of)})
