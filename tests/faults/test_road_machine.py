"""Random runs of a stream, from its source into its table: kills, undo, resync, drift and late rows between.

After every run that came to its end the table holds what the source holds - and, of a history, every version
that a run ever saw; after every kill the next run mends it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from asgard.core.errors import ConfigError
from asgard.core.names import VALID_FROM, VALID_TO
from asgard.core.stream import Mode, Selection
from asgard.flow.ingest import Pipeline, ingest
from tests.faults.arena import judge_ranges
from tests.faults.changing_source import ChangingSource, Rows
from tests.faults.interruption import interrupted
from tests.flow.test_ingest import Road

KEYS = st.integers(0, 3)
COME = st.lists(st.tuples(KEYS, st.sampled_from("abc")), min_size=1, max_size=4)
AT = st.one_of(st.none(), st.integers(1, 24))
SHORT = settings(
    max_examples=4, stateful_step_count=20, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
Lines = dict[int, list[tuple[Any, ...] | None]]
"""Of each key the versions that were seen; None where it was gone."""


class RoadMachine(RuleBasedStateMachine):
    """One stream. A subclass says how it is loaded."""

    mode = Mode.MERGE
    cursor: str | None = "changed"
    history: str | None = None
    only_grows = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="asgard-road-"))
        self.road = Road(self.folder / "lake")
        self.rows = Rows()
        self.seen: Lines = {}
        self.known = True
        self.runs = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(come=COME, go=st.lists(KEYS, max_size=2), late=st.booleans(), at=AT)
    def day(self, come: list[tuple[int, str]], go: list[int], late: bool, at: int | None) -> None:
        """Rows come, change, commit late and go; then there is a run, which may be killed."""
        for key, value in come:
            self.rows.put(self.rows.commits + 10 if self.only_grows else key, value, late=late)
        for key in () if self.only_grows else go:
            self.rows.live.pop(key, None)
        self.run(at)

    @rule(come=COME, go=st.lists(KEYS, max_size=2))
    def day_as_ever(self, come: list[tuple[int, str]], go: list[int]) -> None:
        """A day without a kill."""
        self.day(come, go, late=False, at=None)

    @rule(at=AT)
    def run(self, at: int | None) -> None:
        """A run of which nothing new is known."""
        self.runs += 1
        with interrupted(self.folder / "lake", at) as trail:
            self._ingest()
        if not trail.killed:
            self._saw(self.rows.live)
            self._judge()
        elif trail.passed("committed"):  # in part: what it saw is there, what it missed comes with the next
            self.known = False
            self._saw(self.rows.live)

    @precondition(lambda self: self.runs)
    @rule()
    def undo(self) -> None:
        """The last load is taken back: what was seen since is seen again, or never was."""
        try:
            self.road.table.undo()
        except ConfigError:
            return
        self.known = False

    @precondition(lambda self: self.runs)
    @rule()
    def resync(self) -> None:
        """The next run reads everything anew."""
        if self.road.table.exists():
            self.road.table.accept("stream", resync=True)

    @precondition(lambda self: self.runs > 2)
    @rule()
    def widen(self) -> None:
        """The source has a column more, for rows from now on."""
        self.rows.wide = True

    def _ingest(self) -> None:
        source = ChangingSource(self.rows)
        (stream,) = source.streams()
        selection = Selection(stream, self.mode, ("id",), self.cursor)
        keyed = self.mode is Mode.MERGE and self.cursor is not None
        keys = source.keys_alone() if keyed else None
        pipeline = Pipeline(source, selection, self.road.table, history=self.history, keys=keys)
        ingest(pipeline, self.road.setting(f"run-{self.runs}", parallel=1))

    def _saw(self, live: dict[int, dict[str, Any]]) -> None:
        for key in {*live, *self.seen}:
            row = live.get(key)
            now = None if row is None else (row["v"], row["changed"], row.get("w"))
            line = self.seen.setdefault(key, [])
            if not line or line[-1] != now:
                line.append(now)

    # ---- what must be true

    def _judge(self) -> None:
        found = self.road.table.scan().read_all()
        wanted = Counter((key, row["v"], row["changed"], row.get("w")) for key, row in self.rows.live.items())
        rows = [{"w": None, **row} for row in found.to_pylist()]
        holds = [row for row in rows if row.get(VALID_TO) is None]
        assert Counter((r["id"], r["v"], r["changed"], r["w"]) for r in holds) == wanted
        if self.history is not None:
            self._judge_history(rows)
            judge_ranges(found)

    def _judge_history(self, rows: list[dict[str, Any]]) -> None:
        """Every version is one that some run saw; and if none was in doubt, in that order and no more."""
        lines: dict[int, list[tuple[Any, ...]]] = {}
        for row in sorted(rows, key=lambda one: one[VALID_FROM]):
            lines.setdefault(row["id"], []).append((row["v"], row["changed"], row["w"]))
        for key, line in lines.items():
            assert set(line) <= set(self.seen[key])
            if self.known:
                assert line == [one for one in self.seen[key] if one is not None]

    @invariant()
    def no_key_comes_twice(self) -> None:
        if not self.road.table.exists():
            return
        rows = self.road.table.scan().read_all().to_pylist()
        keys = Counter(row["id"] for row in rows if row.get(VALID_TO) is None)
        assert all(count == 1 for count in keys.values()), keys


WAYS: dict[str, dict[str, Any]] = {
    "replace": {"mode": Mode.REPLACE, "cursor": None},
    "append": {"mode": Mode.APPEND, "only_grows": True},
    "merge": {},
    "history": {"history": ""},
    "history-whole": {"mode": Mode.REPLACE, "cursor": None, "history": ""},
}


def machine(way: str) -> type[RoadMachine]:
    return type("Machine", (RoadMachine,), WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_a_table_follows_its_source_whatever_happens(way: str) -> None:
    run_state_machine_as_test(machine(way), settings=SHORT)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_table_follows_its_source_for_thousands_of_steps(way: str) -> None:
    number = int(os.environ.get("ASGARD_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
    print(f"ASGARD_SEED={number}")
    examples = int(os.environ.get("ASGARD_EXAMPLES", "100"))
    how = settings(SHORT, max_examples=examples, derandomize=False)
    run_state_machine_as_test(seed(number)(machine(way)), settings=how)
