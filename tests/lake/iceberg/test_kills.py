"""Promise 1 on Iceberg: SIGKILL at every boundary and at random instants, in every mode, and races.

A killed process is started again until it comes to its end. Then the table, its position and its quarantine
hold exactly what they would hold without any kill, and no data file lies there that no snapshot names.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asgard.core.errors import PositionLost
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.testing.content import content_hash
from tests.lake.ground import SCHEMA, STREAM, folder_of, mounted, rows, token
from tests.lake.iceberg.ground import as_any, iceberg_table, unknown_data_files
from tests.lake.scenarios import LOADS, SCENARIOS
from tests.nursery import FAILED, Nursery

MODULE = "tests.lake.iceberg.nursery"
BOUNDARIES = ("ticket_written", "staged", "prepared", "before_commit", "committed", "log_synced", "settled")
AGAIN = ("prepared", "before_commit", "committed", "log_synced")
ASIDE = ("before_quarantine_commit", "quarantine_committed")
LOADED = [name for name, scenario in SCENARIOS.items() if not scenario.undoes]
UNDONE = [name for name, scenario in SCENARIOS.items() if scenario.undoes]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery(MODULE)
    yield nursery
    nursery.close()


def check(scenario: str, lake: Path) -> None:
    table, wanted = iceberg_table(lake), SCENARIOS[scenario]
    assert token(as_any(table)) == str(LOADS)
    assert content_hash(table.scan(["id", "v"])) == content_hash(rows(wanted.expected()))
    aside = sorted(pair for number in wanted.loads() for pair in wanted.aside(number))
    found = table.quarantined()
    assert [row[:2] for row in (mounted(found) if found else [])] == aside
    with table.load(LoadRequest("sweeper", Mode.APPEND, SCHEMA, allow_missing=True)) as one:
        one.publish(one.prepare([]), Position("swept"))  # a commit sweeps what killed ones left
    assert unknown_data_files(lake) == set()
    assert list((folder_of(lake) / "_asgard" / "loads").glob("*")) == []


def places(scenario: str) -> list[str]:
    aside = ASIDE if SCENARIOS[scenario].set_aside else ()
    return [f"{name}:1" for name in (*BOUNDARIES, *aside)] + [f"{name}:2" for name in (*AGAIN, *aside)]


def kill_at(scenario: str, wanted: list[str], nursery: Nursery, folder: Path) -> None:
    for place in wanted:
        lake = folder / place
        assert nursery.run(scenario=scenario, lake=lake, kill_at=place) == -signal.SIGKILL
        assert nursery.run(scenario=scenario, lake=lake) == 0
        check(scenario, lake)
        shutil.rmtree(lake)


@pytest.mark.parametrize("scenario", ["append", "merge-set-aside"])
def test_a_kill_around_the_commit_loses_nothing_and_repeats_nothing(
    scenario: str, nursery: Nursery, tmp_path: Path
) -> None:
    aside = ["quarantine_committed:2"] if SCENARIOS[scenario].set_aside else []
    kill_at(scenario, ["before_commit:1", "committed:1", "committed:2", *aside], nursery, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("scenario", LOADED)
def test_a_kill_at_any_boundary_loses_nothing_and_repeats_nothing(
    scenario: str, nursery: Nursery, tmp_path: Path
) -> None:
    kill_at(scenario, places(scenario), nursery, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("scenario", UNDONE)
def test_a_kill_around_an_undo_undoes_it_once_or_not_at_all(
    scenario: str, nursery: Nursery, tmp_path: Path
) -> None:
    kill_at(scenario, ["restored:1", "committed:2", "before_commit:3"], nursery, tmp_path)


@pytest.mark.long
def test_kills_at_random_instants(nursery: Nursery, tmp_path: Path) -> None:
    dice, kills = random.Random(20), Counter[str]()
    for scenario in LOADED:
        lake = tmp_path / scenario
        for _ in range(6):
            status = nursery.run(scenario=scenario, lake=lake, kill_after=dice.uniform(0.05, 0.6))
            kills[scenario] += status == -signal.SIGKILL
        assert nursery.run(scenario=scenario, lake=lake) == 0
        check(scenario, lake)
    assert kills.total() >= len(LOADED)


def test_the_kill_test_notices_when_a_position_is_forgotten(nursery: Nursery, tmp_path: Path) -> None:
    fault = "forget-position"
    killed = nursery.run(scenario="append", lake=tmp_path, kill_at="committed:2", fault=fault)
    assert killed == -signal.SIGKILL
    assert nursery.run(scenario="append", lake=tmp_path) == 0
    with pytest.raises(AssertionError):
        check("append", tmp_path)


def test_a_position_that_does_not_come_with_its_data_is_missed_at_once(
    nursery: Nursery, tmp_path: Path
) -> None:
    assert nursery.run(scenario="append", lake=tmp_path, fault="commit-elsewhere") == FAILED
    with pytest.raises(PositionLost, match="was taken away"):
        iceberg_table(tmp_path).position(STREAM)


@pytest.mark.parametrize(("processes", "loads"), [(3, 9), pytest.param(4, 200, marks=pytest.mark.long)])
def test_racing_processes_lose_nothing_and_repeat_nothing(processes: int, loads: int, tmp_path: Path) -> None:
    nurseries = [Nursery(MODULE) for _ in range(processes)]
    try:
        with ThreadPoolExecutor(processes) as pool:
            ended = list(pool.map(lambda one: one.run(lake=tmp_path, race=loads), nurseries))
    finally:
        for one in nurseries:
            one.close()
    assert ended == [0] * processes
    table = as_any(iceberg_table(tmp_path))
    number = int(token(table, STREAM) or 0)
    assert number >= loads
    assert content_hash(table.scan()) == content_hash(rows([(n, "x") for n in range(number)]))
    assert unknown_data_files(tmp_path) == set()
