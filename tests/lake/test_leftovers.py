"""Sweeping: files of dead loads go, files of living loads and of other machines stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake import leftovers
from asgard.lake.delta.positions import Positions, Record, next_number
from asgard.lake.leftovers import announce, sweep
from asgard.lake.local import LocalFolder
from tests.lake.ground import SCHEMA, STREAM, content, delta, folder_of, load, rows, table_in, token

STAGE_AND_DIE = """
import os, sys
from pathlib import Path
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from tests.lake.ground import SCHEMA, rows, set_aside, table_in
one = table_in(Path(sys.argv[1])).load(LoadRequest("s", Mode.APPEND, SCHEMA))
one.stage([rows([(9, "x")])])
one.quarantine([set_aside([(9, "x")])])
os.kill(os.getpid(), 9)
"""


ROOT = Path(__file__).parents[2]


def stage_and_die(lake: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STAGE_AND_DIE, str(lake)], cwd=ROOT, check=False)
    assert done.returncode == -9


def data_files(lake: Path) -> list[Path]:
    return sorted(folder_of(lake).rglob("part-*.parquet"))


def test_files_of_a_dead_load_are_swept_by_the_next(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows([(1, "a")]), "1")
    before = data_files(tmp_path)
    stage_and_die(tmp_path)
    assert len(data_files(tmp_path)) == len(before) + 2
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)):
        assert data_files(tmp_path) == before


def test_files_of_a_living_load_stay(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    with table.load(LoadRequest("one", Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows([(1, "a")])])])
        load(table, Mode.APPEND, rows([(2, "b")]), "1", stream="two")
        assert sweep(LocalFolder(folder_of(tmp_path))) == []
        one.publish(prepared, Position("1"))
    assert content(table) == [(1, "a"), (2, "b")]


def test_tickets_of_other_machines_are_left_until_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "machine", lambda: "elsewhere")
    stage_and_die(tmp_path)  # it writes its own machine down
    ticket = next((folder_of(tmp_path) / "_asgard" / "loads").glob("*.json"))
    assert sweep(LocalFolder(folder_of(tmp_path))) == []
    os.utime(ticket, (time.time() - 8 * 86_400,) * 2)
    assert len(sweep(LocalFolder(folder_of(tmp_path)))) == 2
    assert not ticket.exists()


def test_committed_files_are_never_swept(tmp_path: Path) -> None:
    """A load that was killed after its commit left a ticket: the log has its files, also when they were
    removed since, for time travel."""
    folder = folder_of(tmp_path)
    folder.mkdir(parents=True)
    ticket = announce(LocalFolder(folder), -1)
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows([(1, "a")]), "1")
    (file,) = data_files(tmp_path)
    committed = folder / f"{ticket.prefix}aaaaaaaaaaaa.parquet"
    lost = folder / f"{ticket.prefix}bbbbbbbbbbbb.parquet"
    os.link(file, committed)
    os.link(file, lost)
    log = folder / "_delta_log" / f"{1:020d}.json"
    log.write_text(log.read_text().replace(file.name, committed.name))
    load(table, Mode.REPLACE, rows([(2, "b")]), "2")
    ticket.leave()
    assert sweep(LocalFolder(folder)) == [lost.name]
    assert content(table, 1) == [(1, "a")]


def test_nothing_is_swept_when_the_log_does_not_tell_all(tmp_path: Path) -> None:
    load(table_in(tmp_path), Mode.APPEND, rows([(1, "a")]), "1")
    stage_and_die(tmp_path)
    before = data_files(tmp_path)
    for _ in range(3):
        write_deltalake(delta(tmp_path), pa.table({"id": [7], "v": ["theirs"]}), mode="append")
    delta(tmp_path).create_checkpoint()
    (folder_of(tmp_path) / "_delta_log" / f"{3:020d}.json").unlink()
    swept = sweep(LocalFolder(folder_of(tmp_path)))
    gone = set(before) - set(data_files(tmp_path))
    assert {path.name for path in gone} == set(swept)
    assert all("quarantine" in str(path) for path in gone)  # its own log tells all


def test_a_damaged_ticket_costs_nothing(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows([(1, "a")]), "1")
    ticket = folder_of(tmp_path) / "_asgard" / "loads" / "deadbeef.json"
    ticket.write_text("{")
    os.utime(ticket, (0, 0))
    assert sweep(LocalFolder(folder_of(tmp_path))) == []
    assert not ticket.exists()
    assert content(table) == [(1, "a")]


# ---- records


def test_integers_grow_and_are_sparse() -> None:
    first = next_number(None)
    assert next_number(first) > first
    assert next_number(first + 2**62) == first + 2**62 + 1  # a clock that went back
    assert first >> 8 == pytest.approx(time.time() * 1e6, rel=1e-3)


def test_a_record_is_written_once(tmp_path: Path) -> None:
    positions = Positions(LocalFolder(tmp_path), "Stream/ä")
    record = Record(7, Position("x", "y", {"s": "DONE"}, 3), 5, 2, "part-", 4, anew=True)
    assert positions.put(record)
    assert not positions.put(Record(7, None, None, 0))
    assert positions.read(7) == record


def test_a_record_of_before_there_was_since_is_read(tmp_path: Path) -> None:
    positions = Positions(LocalFolder(tmp_path), "s")
    positions.put(Record(7, Position("x"), None, 2))
    (path,) = (tmp_path / "positions").rglob("7.json")
    document = json.loads(path.read_text())
    del document["since"]
    path.write_text(json.dumps(document))
    assert positions.read(7) == Record(7, Position("x"), None, 2)


def test_streams_that_differ_only_by_case_or_signs_have_records_of_their_own(tmp_path: Path) -> None:
    streams = ["a.b", "A.B", "a-b", "a/b", "x" * 500, "x" * 501, ""]
    for number, stream in enumerate(streams):
        Positions(LocalFolder(tmp_path), stream).put(Record(1, Position(f"{number}"), None, 0))
    read = [Positions(LocalFolder(tmp_path), stream).read(1).position for stream in streams]
    assert read == [Position(f"{number}") for number in range(len(streams))]
    folders = [path.name.lower() for path in (tmp_path / "positions").iterdir()]
    assert len(set(folders)) == len(streams)


def test_epochs_have_their_names_once(tmp_path: Path) -> None:
    positions = Positions(LocalFolder(tmp_path), "s")
    assert positions.epochs() == [0]
    assert [positions.new_epoch("undo"), positions.new_epoch("resync")] == [1, 2]
    assert positions.epochs() == [0, 1, 2]


def test_old_records_that_nobody_can_choose_are_collected(tmp_path: Path) -> None:
    positions = Positions(LocalFolder(tmp_path), "s")
    old = [int((time.time() - days * 86_400) * 1e6) << 8 for days in (50, 45, 40)]
    new = next_number(old[-1])
    for number in (*old, new):
        positions.put(Record(number, None, None, 0))
    assert positions.prune(30 * 86_400, [new, old[2]]) == 2
    assert positions.numbers() == [old[2], new]


def test_a_stream_that_loads_often_keeps_a_quick_log_and_its_records(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    for number in range(45):
        load(table, Mode.APPEND, rows([(number, "x")]), f"{number}")
    log = folder_of(tmp_path) / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    assert json.loads((log / "_last_checkpoint").read_text())["version"] == 40
    assert (len(content(table)), token(table)) == (45, "44")
    assert len(Positions(LocalFolder(folder_of(tmp_path) / "_asgard"), STREAM).numbers()) == 45
