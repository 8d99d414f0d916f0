"""Small files are put together: rows, positions and what was set aside stay what they are, and it yields."""

from __future__ import annotations

import random
import threading
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.errors import OutOfSpace
from asgard.core.stream import Mode
from asgard.core.table import Compacted, LoadRequest
from asgard.lake.delta import compact as compacting
from asgard.lake.delta.compact import FEW, chosen_files
from asgard.lake.delta.snapshot import LakeFile, Snapshot
from asgard.lake.delta.table import LakeTable
from asgard.lake.local import LocalFolder
from tests.lake.ground import (
    content,
    folder_of,
    load,
    mounted,
    rows,
    set_aside,
    table_in,
    token,
    unknown_files,
)

RUN = "20260101-000000-aaaaaa"


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_in(tmp_path)


def compact(table: LakeTable) -> Compacted | None:
    return table.compact(RUN, lambda: False, nullcontext)


def appended(table: LakeTable, count: int, start: int = 0) -> list[tuple[int, str]]:
    for number in range(start, start + count):
        load(table, Mode.APPEND, rows([(number, "x" * number)]), f"to {number}")
    return [(number, "x" * number) for number in range(start + count)]


def files(tmp_path: Path) -> list[str]:
    snapshot = Snapshot.open(LocalFolder(folder_of(tmp_path)))
    assert snapshot is not None
    return [snapshot.absolute(file.path) for file in snapshot.files()]


def test_rows_and_position_stay_and_files_become_few(table: LakeTable, tmp_path: Path) -> None:
    expected = appended(table, FEW)
    ids = pq.read_schema(files(tmp_path)[0])
    done = compact(table)
    assert done is not None
    assert (done.files_before, done.files_after) == (FEW, 1)
    assert content(table) == mounted(table.mount()) == sorted(expected, key=repr)
    assert pq.read_schema(files(tmp_path)[0]).equals(ids, check_metadata=True)
    assert token(table) == f"to {FEW - 1}"
    assert compact(table) is None
    assert not unknown_files(tmp_path)
    expected = appended(table, 3, FEW)
    assert content(table) == sorted(expected, key=repr)
    assert content(table, at=3) == sorted(expected[:3], key=repr)  # older versions are there


def test_merge_and_replace_go_on_over_it(table: LakeTable) -> None:
    for number in range(FEW):
        load(table, Mode.MERGE, rows([(number, "old")]), f"{number}", keys=("id",))
    assert compact(table) is not None
    load(table, Mode.MERGE, rows([(0, "new"), (99, "new")]), "later", keys=("id",))
    assert content(table) == sorted([(0, "new"), (99, "new"), *((n, "old") for n in range(1, FEW))], key=repr)
    load(table, Mode.REPLACE, rows([(1, "only")]), "last")
    assert content(table) == [(1, "only")]


def test_columns_that_came_later_are_null_in_what_was_there(table: LakeTable) -> None:
    appended(table, FEW - 1)
    wide = pa.RecordBatch.from_pylist([{"id": 100, "v": "y", "more": 1.5}])
    load(table, Mode.APPEND, wide, "wide")
    assert compact(table) is not None
    found = content(table)
    assert (100, "y", 1.5) in found
    assert sum(row[2] is None for row in found) == FEW - 1


def test_undo_takes_a_load_back_over_a_compaction(table: LakeTable) -> None:
    expected = appended(table, FEW)
    assert compact(table) is not None
    table.undo()
    assert content(table) == sorted(expected[:-1], key=repr)
    assert token(table) == f"to {FEW - 2}"


def test_what_was_set_aside_stays_seen(table: LakeTable) -> None:
    appended(table, FEW)
    load(table, Mode.APPEND, rows([(50, "good")]), "with", aside=set_aside([(51, "bad")]))
    assert compact(table) is not None
    aside = table.quarantined()
    assert aside is not None
    assert mounted(aside) == [(51, "bad", "bad")]


def test_it_yields_to_a_load_that_is_under_way(table: LakeTable) -> None:
    appended(table, FEW)
    with table.load(LoadRequest("public.orders", Mode.APPEND, rows([(77, "w")]).schema)) as one:
        prepared = one.prepare([one.stage([rows([(77, "w")])])])
        before = one.position
        assert before is not None
        assert compact(table) is not None
        one.publish(prepared, before.finished("77"))
    assert (77, "w") in content(table)
    assert token(table) == "77"


def test_it_stands_aside_when_a_file_is_gone(
    table: LakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended(table, FEW)
    commit = compacting._commit

    def late(*arguments: object) -> int | None:
        load(table, Mode.REPLACE, rows([(1, "only")]), "replaced")
        return commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compacting, "_commit", late)
    assert compact(table) is None
    assert content(table) == [(1, "only")]
    assert not unknown_files(tmp_path)


def test_it_gives_up_when_it_is_stopped(table: LakeTable, tmp_path: Path) -> None:
    expected = appended(table, FEW)
    assert table.compact(RUN, lambda: True, nullcontext) is None
    assert content(table) == sorted(expected, key=repr)
    assert not unknown_files(tmp_path)


def test_an_error_after_the_commit_takes_no_file_away(
    table: LakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = appended(table, FEW)
    commit = compacting._commit

    def broken(*arguments: object) -> int | None:
        commit(*arguments)  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compacting, "_commit", broken)
    with pytest.raises(OutOfSpace):
        compact(table)
    assert content(table) == sorted(expected, key=repr)
    assert len(files(tmp_path)) == 1


def test_writers_and_compaction_at_the_same_time(table: LakeTable) -> None:
    over = threading.Event()
    done: list[Compacted] = []

    def tidy() -> None:
        while not over.is_set():
            one = compact(table)
            if one is not None:
                done.append(one)

    thread = threading.Thread(target=tidy)
    thread.start()
    try:
        expected = appended(table, 40)
    finally:
        over.set()
        thread.join()
    assert done
    assert content(table) == sorted(expected, key=repr)
    assert len(table.mount().files) < 20


def test_files_stay_few_and_each_is_written_seldom() -> None:
    dice = random.Random(3)
    lake = [LakeFile("0", 10_000, 1)]
    written = total = 0
    for number in range(5000):
        size = dice.randrange(10_000, 200_000)
        total += size
        lake.append(LakeFile(str(number), size, 1))
        while chosen := chosen_files(lake, 128 << 20):
            together = sum(file.size_bytes for file in chosen)
            written += together
            lake = [file for file in lake if file not in chosen]
            lake.append(LakeFile(f"c{number}", together, 1))
    assert len(lake) < 50
    assert written < 7 * total
