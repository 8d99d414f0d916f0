"""Promise 1 at the table: SIGKILL at every boundary and at random instants, in every mode.

A killed process is started again until it comes to its end. Then the table, its position and its quarantine
hold exactly what they would hold without any kill, and nothing else lies in its folder.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.boundaries import BOUNDARIES
from asgard.testing.content import content_hash
from tests.lake.ground import SCHEMA, mounted, rows, table_in, token, unknown_files
from tests.lake.scenarios import LOADS, SCENARIOS
from tests.nursery import Nursery

AGAIN = ("prepared", "record_written", "quarantine_committed", "before_commit", "committed", "log_synced")
ALWAYS = {
    *("ticket_written", "staged", "prepared", "table_created", "record_written", "before_commit"),
    *("committed", "log_synced", "settled"),
}
ASIDE = {"before_quarantine_commit", "quarantine_committed"}
WANTED = {
    "replace": ALWAYS,
    "append": ALWAYS,
    "append-keyed": ALWAYS,
    "merge": ALWAYS,
    "merge-set-aside": ALWAYS | ASIDE,
    "append-evolving": ALWAYS | ASIDE | {"evolved"},
    "append-undone": {"epoch_written", "restored", "committed", "before_commit"},
    "merge-undone": {"epoch_written", "restored", "committed", "before_commit"},
    "merge-marked": ALWAYS | ASIDE | {"evolved"},
    "merge-marked-undone": {"epoch_written", "restored", "committed", "before_commit"},
    "append-widening": ALWAYS,
    "merge-widening": ALWAYS,
}
"""Scenario to the boundaries at which a process of it is killed."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.lake.nursery")
    yield nursery
    nursery.close()


def check(scenario: str, lake: Path) -> None:
    table, wanted = table_in(lake), SCENARIOS[scenario]
    assert token(table) == str(LOADS)
    assert content_hash(table.scan(["id", "v"])) == content_hash(rows(wanted.expected()))
    aside = sorted(pair for number in wanted.loads() for pair in wanted.aside(number))
    found = table.quarantined()
    assert [row[:2] for row in (mounted(found) if found else [])] == aside
    with table.load(LoadRequest("sweeper", Mode.APPEND, SCHEMA, allow_missing=True)):
        pass  # opening a load sweeps what killed ones left
    assert unknown_files(lake) == set()
    assert list((lake / "bronze" / "shop" / "orders" / "_asgard" / "loads").glob("*")) == []


def places(scenario: str) -> list[str]:
    """Where to kill: at every boundary in the first load, at most of them in the second."""
    if SCENARIOS[scenario].undoes:
        return [f"{name}:1" for name in ("epoch_written", "restored")] + ["committed:2", "before_commit:3"]
    return [f"{name}:1" for name in BOUNDARIES] + [f"{name}:2" for name in AGAIN]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_boundary_loses_nothing_and_repeats_nothing(
    scenario: str, nursery: Nursery, tmp_path: Path
) -> None:
    hits: Counter[str] = Counter()
    for place in places(scenario):
        lake = tmp_path / place
        status = nursery.run(scenario=scenario, lake=lake, kill_at=place)
        assert status in (0, -signal.SIGKILL)
        if status:
            hits[place.partition(":")[0]] += 1
            assert nursery.run(scenario=scenario, lake=lake) == 0
        check(scenario, lake)
        shutil.rmtree(lake)
    print(scenario, dict(hits))
    assert set(hits) == WANTED[scenario]


def test_every_boundary_is_hit_in_some_scenario() -> None:
    assert set().union(*WANTED.values()) == set(BOUNDARIES)


def test_kills_at_random_instants(nursery: Nursery, tmp_path: Path) -> None:
    dice, kills = random.Random(20), 0
    for scenario in SCENARIOS:
        lake = tmp_path / scenario
        for _ in range(4):
            kills += (
                nursery.run(scenario=scenario, lake=lake, kill_after=dice.uniform(0.01, 0.3))
                == -signal.SIGKILL
            )
        assert nursery.run(scenario=scenario, lake=lake) == 0
        check(scenario, lake)
    assert kills >= len(SCENARIOS)


@pytest.mark.parametrize("scenario", ["append", "merge-set-aside", "append-keyed"])
def test_a_kill_in_every_load_one_after_the_other(scenario: str, nursery: Nursery, tmp_path: Path) -> None:
    for boundary in ("before_commit", "committed", "quarantine_committed", "record_written", "staged"):
        nursery.run(scenario=scenario, lake=tmp_path, kill_at=f"{boundary}:1")
    assert nursery.run(scenario=scenario, lake=tmp_path) == 0
    check(scenario, tmp_path)


@pytest.mark.parametrize("fault", ["forget-position", "commit-elsewhere"])
def test_the_kill_test_notices_when_a_piece_of_the_protocol_is_taken_out(
    fault: str, nursery: Nursery, tmp_path: Path
) -> None:
    assert (
        nursery.run(scenario="append", lake=tmp_path, kill_at="committed:2", fault=fault) == -signal.SIGKILL
    )
    assert nursery.run(scenario="append", lake=tmp_path) == 0
    with pytest.raises(AssertionError):
        check("append", tmp_path)
