"""Files of loads of Iceberg tables that ended without a commit: which go, and which stay."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake import leftovers
from asgard.lake.iceberg.leftovers import lost_loads, sweep
from asgard.lake.iceberg.table import IcebergTable
from tests.lake.ground import SCHEMA, content, folder_of, load, rows, set_aside
from tests.lake.iceberg.ground import as_any, iceberg_table


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, rows([(1, "a")]), "1")
    return table


def data_files(lake: Path) -> list[str]:
    return sorted(path.name for path in folder_of(lake).rglob("part-*.parquet"))


def given_up(table: IcebergTable) -> Path:
    """A load that staged rows and set one aside, and whose process is no more, as far as its ticket tells."""
    one = table.load(LoadRequest("lost", Mode.APPEND, SCHEMA))
    one.stage([rows([(7, "lost")])])
    one.quarantine([set_aside([(8, "lost")])])
    one._ticket.leave()  # type: ignore[attr-defined]
    return folder_of(Path(str(table.place.folder)).parents[2]) / leftovers.LOADS


def test_files_of_a_lost_load_are_swept_behind_the_next_commit(table: IcebergTable, tmp_path: Path) -> None:
    before = data_files(tmp_path)
    tickets = given_up(table)
    assert len(data_files(tmp_path)) == len(before) + 2
    with table.load(LoadRequest("other", Mode.APPEND, SCHEMA)):
        assert len(data_files(tmp_path)) == len(before) + 2  # its commit may still be on the way
    load(as_any(table), Mode.APPEND, rows([]), "2")
    assert data_files(tmp_path) == before
    assert list(tickets.glob("*.json")) == []


def test_files_of_a_living_load_stay(table: IcebergTable) -> None:
    with table.load(LoadRequest("one", Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows([(2, "b")])])])
        assert lost_loads(table.place.folder) == []
        load(as_any(table), Mode.APPEND, rows([(3, "c")]), "1", stream="two")
        one.publish(prepared, Position("1"))
    assert content(as_any(table)) == [(1, "a"), (2, "b"), (3, "c")]


def test_files_that_any_snapshot_names_stay(table: IcebergTable, tmp_path: Path) -> None:
    """A load that was killed behind its commit left a ticket; its file was replaced since."""
    (name,) = data_files(tmp_path)
    number = name.removeprefix("part-").partition("-")[0]
    ticket = folder_of(tmp_path) / leftovers.LOADS / f"{number}.json"
    ticket.write_text(json.dumps({"format": 1, "machine": leftovers.machine()}))
    lost = folder_of(tmp_path) / "data" / f"part-{number}-bbbbbbbbbbbb.parquet"
    lost.write_bytes(b"")
    load(as_any(table), Mode.REPLACE, rows([(2, "b")]), "2")
    assert not lost.exists()
    assert not ticket.exists()
    assert content(as_any(table), 1) == [(1, "a")]


def test_tickets_of_other_machines_are_left_until_they_are_old(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "machine", lambda: "elsewhere")
        (ticket,) = given_up(table).glob("*.json")
    assert lost_loads(table.place.folder) == []
    os.utime(ticket, (time.time() - 8 * 86_400,) * 2)
    assert lost_loads(table.place.folder) == [ticket.stem]
    assert len(sweep(table.place, [ticket.stem])) == 2
    assert not ticket.exists()


def test_tickets_of_a_newer_version_are_left_alone_and_damaged_ones_cost_nothing(
    table: IcebergTable, tmp_path: Path
) -> None:
    place = folder_of(tmp_path) / leftovers.LOADS
    for name, text in (("newer", '{"format": 2}'), ("damaged", "{")):
        (place / f"{name}.json").write_text(text)
        os.utime(place / f"{name}.json", (0, 0))
    load(as_any(table), Mode.APPEND, rows([(2, "b")]), "2")
    assert [path.name for path in place.glob("*.json")] == ["newer.json"]
    assert content(as_any(table)) == [(1, "a"), (2, "b")]
