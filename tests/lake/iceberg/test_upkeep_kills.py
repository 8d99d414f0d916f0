"""Promise 1 over upkeep on Iceberg: a kill at any boundary changes no row and no position."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.core.stream import Mode
from asgard.testing.content import content_hash
from tests.lake.ground import folder_of, load, rows, token
from tests.lake.iceberg.ground import as_any, count_of_metadata, iceberg_table, theirs, unknown_data_files
from tests.nursery import Nursery

LOADS = 9


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.lake.iceberg.keeping")
    yield nursery
    nursery.close()


@pytest.mark.parametrize("place", ["rows_moved:1", "moved:1", "expired:1", "vacuumed:1", "vacuumed:2"])
def test_a_kill_changes_no_row_and_no_position(place: str, nursery: Nursery, tmp_path: Path) -> None:
    table = as_any(iceberg_table(tmp_path))
    for number in range(LOADS):
        load(table, Mode.APPEND, rows([(number, "x")]), str(number))
    before = content_hash(table.scan())
    assert nursery.run(lake=tmp_path, kill_at=place) == -signal.SIGKILL
    assert content_hash(table.scan()) == before
    assert token(table) == str(LOADS - 1)
    load(table, Mode.MERGE, rows([(0, "y"), (LOADS, "x")]), "m", keys=("id",))
    assert nursery.run(lake=tmp_path) == 0
    wanted = rows([(0, "y"), *((number, "x") for number in range(1, LOADS + 1))])
    assert content_hash(table.scan()) == content_hash(wanted)
    assert content_hash(theirs(iceberg_table(tmp_path)).scan().to_arrow()) == content_hash(wanted)
    assert token(table) == "m"
    assert unknown_data_files(tmp_path) == set()
    assert count_of_metadata(tmp_path)["lists"] == 1
    assert list((folder_of(tmp_path) / "_asgard" / "loads").glob("*")) == []
