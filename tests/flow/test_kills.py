"""Promise 1, attacked: SIGKILL at every named boundary and at random instants, in every mode.

A source changes between runs, runs are killed, and after each one the lake must hold exactly one of the two
contents that are right: that before the run, or that after it. Nothing lost, nothing twice, by content. The
kills per boundary are printed; a boundary that was never hit fails the test, and so does a run without its
position record (the mutation at the end).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asgard.app.project.workspace import Workspace
from asgard.app.tables.rows import json_rows
from asgard.core.table import Mount, TableName
from asgard.lake.boundaries import BOUNDARIES
from tests.nursery import Nursery

Rows = Counter[tuple[int, str, int]]
"""Rows by content: id, v, n; a Counter, so that a row that came twice is seen."""

MODES = {
    "replace": {"mode": "replace"},
    "append": {"mode": "append"},
    "append-cursor": {"mode": "append", "primary_key": "id", "cursor": "changed"},
    "append-cursor-keyless": {"mode": "append", "cursor": "id"},
    "merge": {"mode": "merge", "primary_key": "id"},
    "merge-cursor": {"mode": "merge", "primary_key": "id", "cursor": "changed"},
    "replace-cursor": {"mode": "replace", "primary_key": "id", "cursor": "changed"},
    "history": {"mode": "history", "primary_key": "id"},
    "history-cursor": {"mode": "history", "primary_key": "id", "cursor": "changed"},
}
CHANGING = {"replace", "merge", "merge-cursor", "replace-cursor", "history", "history-cursor"}
"""Modes in which a row of the source may change; the others are for sources that only grow."""

ELSEWHERE = {"table_created", "evolved", "epoch_written", "restored"}
"""Boundaries that an ordinary run does not pass; tests/lake kills there."""
RUN_BOUNDARIES = [name for name in BOUNDARIES if name not in ELSEWHERE]
QUARANTINE = [name for name in RUN_BOUNDARIES if "quarantine" in name]
ALWAYS = [name for name in RUN_BOUNDARIES if name not in QUARANTINE]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.flow.nursery")
    yield nursery
    nursery.close()


@dataclass
class Arena:
    """A project over a SQLite table that changes, and what its lake must hold.

    Attributes:
        good: what the table held when it was last looked at.
        bad: what its quarantine held then.
    """

    folder: Path
    mode: str
    dice: random.Random
    with_bad_rows: bool = False
    good: Rows = field(default_factory=Counter)
    bad: Rows = field(default_factory=Counter)
    next_id: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        checks = [{"non_negative": "n", "on_fail": "quarantine"}, {"not_null": ["id", "v"]}]
        entry = {"name": "t", **MODES[self.mode], "checks": checks}
        sources = {"shop": {"type": "sqlite", "database": "shop.db", "tables": [entry]}}
        (self.folder / "asgard.yml").write_text(json.dumps({"version": 1, "data_sources": sources}))
        key = "" if "keyless" in self.mode or self.mode == "append" else "PRIMARY KEY"
        self._do(f"CREATE TABLE t (id INTEGER {key}, v TEXT NOT NULL, n INTEGER NOT NULL, changed INTEGER)")

    @property
    def project(self) -> Path:
        return self.folder / "asgard.yml"

    def _do(self, sql: str, rows: list[tuple[int | str, ...]] | None = None) -> None:
        connection = sqlite3.connect(self.folder / "shop.db")
        with connection:
            if rows is None:
                connection.execute(sql)
            else:
                connection.executemany(sql, rows)
        connection.close()

    def change_source(self) -> None:
        """Adds rows, three to a cursor value so that reading stops inside of ties; changes one where the mode
        allows it."""
        fresh: list[tuple[int | str, ...]] = []
        for number in range(self.dice.randint(1, 7)):
            bad = self.with_bad_rows and (number == 0 or self.dice.random() < 0.3)
            fresh.append((self.next_id, f"v{self.next_id}", -1 if bad else self.next_id, self.next_id // 3))
            self.next_id += 1
        self._do("INSERT INTO t VALUES (?, ?, ?, ?)", fresh)
        if self.mode in CHANGING and self.next_id > 10:
            newest = (self.next_id - 1) // 3
            chosen = self.dice.randrange(self.next_id)
            self._do(f"UPDATE t SET v = v || '+', changed = {newest} WHERE id = {chosen}")

    def source(self) -> list[tuple[int, str, int, int]]:
        connection = sqlite3.connect(self.folder / "shop.db")
        rows = connection.execute("SELECT id, v, n, changed FROM t").fetchall()
        connection.close()
        return rows

    def after(self) -> tuple[Rows, Rows]:
        """What the table and its quarantine hold once a run is through."""
        rows = self.source()
        good = Counter(row[:3] for row in rows if row[2] >= 0)
        bad = Counter(row[:3] for row in rows if row[2] < 0)
        if self.mode.startswith("history"):
            return self.good | good, bad  # each version once: one that changes never is again what it was
        return (self.good + good if self.mode == "append" else good), bad

    def lake(self) -> tuple[Rows, Rows]:
        """The rows of the table, and those that were set aside."""
        workspace = Workspace.open(self.project)
        table = workspace.lake.table(TableName("bronze", "shop", "t"))
        if not table.exists():
            return Counter(), Counter()
        aside = table.quarantined()
        return _rows(workspace, table.mount()), _rows(workspace, aside) if aside else Counter()

    def judge(self, status: int) -> None:
        """Looks at the lake after a run: it holds what it held before, or what it must hold after it."""
        good, bad = self.lake()
        if not self.with_bad_rows:
            bad = self.bad  # what is set aside when read again is another matter
        if status == 0 or (good, bad) != (self.good, self.bad):
            after_good, after_bad = self.after()
            assert good == after_good, _difference(self.mode, good, after_good)
            assert bad == after_bad, _difference(self.mode + ", quarantine", bad, after_bad)
        self.good, self.bad = good, bad


def _rows(workspace: Workspace, mount: Mount) -> Rows:
    with workspace.open_engine(64 << 20) as engine:
        engine.attach("t", mount)
        return Counter(
            (row["id"], row["v"], row["n"]) for row in json_rows(engine.query("SELECT id, v, n FROM t"))
        )


def _difference(mode: str, found: Rows, wanted: Rows) -> str:
    return (
        f"{mode}: lost {sorted((wanted - found).elements())}, too many {sorted((found - wanted).elements())}"
    )


def _storm(nursery: Nursery, arena: Arena, orders: list[str], kills: Counter[str], fault: str = "") -> None:
    """Runs and kills in turn; each order is a boundary with its count, or `random`."""
    for order in orders:
        arena.change_source()
        if order == "random":
            status = nursery.run(
                project=arena.project, kill_after=arena.dice.uniform(0.001, 0.25), fault=fault
            )
        else:
            status = nursery.run(project=arena.project, kill_at=order, fault=fault)
        assert status in (0, -signal.SIGKILL), f"the run ended with {status}"
        if status == -signal.SIGKILL:
            kills[order.partition(":")[0]] += 1
        arena.judge(status)
    assert nursery.run(project=arena.project, fault=fault) == 0
    if arena.mode != "append":  # which would append the whole source once more, rightly
        arena.judge(0)


def _orders(dice: random.Random, kills: int, reached: list[str]) -> list[str]:
    """A list of so many kills: each boundary of a run at least once, half of the rest at random instants."""
    orders = [*reached, "staged:2"]
    while len(orders) < kills:
        orders.append("random" if dice.random() < 0.4 else dice.choice(reached))
    dice.shuffle(orders)
    return orders


def _attack(nursery: Nursery, folder: Path, kills_per_mode: int, seed: int) -> Counter[str]:
    kills: Counter[str] = Counter()
    for number, mode in enumerate(MODES):
        dice = random.Random(seed + number)
        arena = Arena(folder / mode, mode, dice)
        _storm(nursery, arena, _orders(dice, kills_per_mode, ALWAYS), kills)
    dice = random.Random(seed)
    arena = Arena(folder / "bad", "append-cursor-keyless", dice, with_bad_rows=True)
    _storm(nursery, arena, _orders(dice, kills_per_mode, [*QUARANTINE, "committed"]), kills)
    return kills


def _tell(kills: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\nkills:", sum(kills.values()), dict(sorted(kills.items())))
    never = [name for name in RUN_BOUNDARIES if not kills[name]]
    assert not never, f"never killed at {never}"


def test_a_hundred_kills_lose_nothing_and_repeat_nothing(
    nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = _attack(nursery, tmp_path, kills_per_mode=15, seed=int(os.environ.get("ASGARD_SEED", "7")))
    _tell(kills, capsys)
    assert sum(kills.values()) >= 100


@pytest.mark.long
def test_a_thousand_kills_lose_nothing_and_repeat_nothing(
    nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills: Counter[str] = Counter()
    seed = random.SystemRandom().randrange(1 << 30)
    while sum(kills.values()) < 1000:
        seed += 100
        (tmp_path / str(seed)).mkdir()
        kills += _attack(nursery, tmp_path / str(seed), kills_per_mode=30, seed=seed)
    _tell(kills, capsys)


def test_without_its_position_the_same_attack_is_noticed(nursery: Nursery, tmp_path: Path) -> None:
    arena = Arena(tmp_path / "mutant", "append-cursor-keyless", random.Random(1))
    orders = ["committed", "before_commit", "committed"]
    with pytest.raises(AssertionError, match="too many"):
        _storm(nursery, arena, orders, Counter(), fault="forget-position")
