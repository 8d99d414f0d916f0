"""Loads, other hands, undo, rollbacks, compaction and expiry in any order, against a table in plain Python.

Whatever happened, the table says how far its stream was read and holds exactly the rows up to there, besides
what others wrote - or it says that its position is lost.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asgard.core.errors import PositionLost
from asgard.core.stream import Mode
from tests.lake.ground import STREAM, content, load, rows, token
from tests.lake.iceberg.ground import as_any, iceberg_table, theirs

Rows = dict[int, str]


class IcebergModel(RuleBasedStateMachine):
    """One stream with a key; `versions` holds what the table was after each commit that changed rows."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="asgard-model-"))
        self.table = iceberg_table(self.folder)
        self.number = 0
        self.rows: Rows = {}
        self.loads: list[tuple[Rows, int]] = []
        """The rows and the position before each load that can be undone."""
        self.foreign = 0
        self.lost = False
        self.born = False

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(keys=st.lists(st.integers(0, 6), unique=True, max_size=4), mode=st.sampled_from(list(Mode)))
    def loads_rows(self, keys: list[int], mode: Mode) -> None:
        if self.lost or mode is Mode.HISTORY:
            return
        before = (dict(self.rows), self.number)
        self.number += 1
        came = dict.fromkeys(keys, f"{self.number}")
        wishes: dict[str, Any] = {"keys": ("id",), "keep_existing": mode is Mode.APPEND}
        load(as_any(self.table), mode, rows(list(came.items())), str(self.number), **wishes)
        kept = {} if mode is Mode.REPLACE else self.rows
        self.rows = {**came, **kept} if mode is Mode.APPEND else {**kept, **came}
        self.loads.append(before)
        self.born = True

    @precondition(lambda self: self.born and not self.lost)
    @rule()
    def others_append(self) -> None:
        self.foreign += 1
        key = 1000 + self.foreign
        theirs(self.table).append(pa.table({"id": pa.array([key], pa.int64()), "v": ["theirs"]}))
        self.rows[key] = "theirs"
        self.loads.clear()  # an undo would take that back, too

    @precondition(lambda self: self.born and self.loads and not self.lost)
    @rule()
    def undoes(self) -> None:
        self.table.undo()
        self.rows, self.number = self.loads.pop()

    @precondition(lambda self: self.born)
    @rule()
    def compacts(self) -> None:
        self.table.compact("run", lambda: False, _alone)

    @precondition(lambda self: self.born)
    @rule()
    def forgets_versions(self) -> None:
        self.table.expire(datetime.now(UTC) + timedelta(seconds=1))
        self.table.vacuum(datetime.now(UTC) + timedelta(seconds=1))
        self.loads.clear()

    @precondition(lambda self: self.born and not self.lost)
    @rule()
    def others_forget_versions(self) -> None:
        handle = theirs(self.table)
        current = handle.metadata.current_snapshot_id
        gone = [one.snapshot_id for one in handle.metadata.snapshots if one.snapshot_id != current]
        if gone:
            handle.maintenance.expire_snapshots().by_ids(gone).commit()
        self.loads.clear()

    @precondition(lambda self: self.born and not self.lost)
    @rule(data=st.data())
    def others_take_it_back(self, data: st.DataObject) -> None:
        handle = theirs(self.table)
        older = [
            one.sequence_number
            for one in handle.metadata.snapshots
            if one.snapshot_id != handle.metadata.current_snapshot_id
        ]
        if not older:
            return
        wanted = data.draw(st.sampled_from(older))
        one = next(one for one in handle.metadata.snapshots if one.sequence_number == wanted)
        current = handle.current_snapshot()
        assert current is not None
        handle.manage_snapshots().set_current_snapshot(snapshot_id=one.snapshot_id).commit()
        self.loads.clear()
        try:
            found = self.table.position(STREAM)
        except PositionLost:
            self.lost = True
            return
        # Nothing of ours was taken back: what others, or a compaction, did since is gone alone.
        assert found is not None
        assert int(found.token or 0) == self.number
        self.rows = dict(content(as_any(self.table)))  # type: ignore[arg-type]
        ours = {key for key in self.rows if key < 1000}
        assert ours == {key for key in self.before_rollback if key < 1000}

    @precondition(lambda self: self.lost)
    @rule()
    def begins_anew(self) -> None:
        self.table.accept(STREAM, resync=True)
        self.number += 1
        load(as_any(self.table), Mode.APPEND, rows([(0, "anew")]), str(self.number), keys=("id",))
        self.rows, self.lost = {0: "anew"}, False
        self.loads.clear()

    @invariant()
    def holds_what_it_says(self) -> None:
        if not getattr(self, "born", False):
            return
        self.table = iceberg_table(self.folder)
        if self.lost:
            with pytest.raises(PositionLost):
                self.table.position(STREAM)
            return
        assert content(as_any(self.table)) == sorted(self.rows.items(), key=repr)
        assert int(token(as_any(self.table)) or 0) == self.number
        self.before_rollback = dict(self.rows)


class _Alone:
    def __enter__(self) -> None: ...

    def __exit__(self, *told: object) -> None: ...


def _alone() -> Any:
    return _Alone()


RULES = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
IcebergModel.TestCase.settings = settings(max_examples=4, stateful_step_count=12, **RULES)  # type: ignore[arg-type]
TestIcebergModel = IcebergModel.TestCase


@pytest.mark.long
class TestIcebergModelLong(IcebergModel.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=150, stateful_step_count=25, **RULES)  # type: ignore[arg-type]
