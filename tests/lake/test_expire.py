"""The log forgets what no kept version needs: what is kept is read as before, by everybody, kills or not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from asgard.core.errors import QueryError
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.delta.table import LakeTable
from asgard.testing.content import content_hash
from tests.lake.ground import (
    SCHEMA,
    content,
    delta,
    folder_of,
    load,
    mounted,
    rows,
    set_aside,
    table_in,
    token,
    unknown_files,
)
from tests.nursery import Nursery

COMMITS = 45
"""With checkpoints at 20 and 40."""


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


def versions_in(lake: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder_of(lake) / "_delta_log").glob("0*.json"))


def records_in(lake: Path) -> int:
    return len([*(folder_of(lake) / "_asgard/positions").glob("*/*.json")])


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    table = table_in(tmp_path)
    for number in range(COMMITS):
        load(table, Mode.APPEND, rows([(number, "x")]), f"t{number}")
    return table


def test_what_no_kept_version_needs_goes_and_all_else_is_read_as_before(
    table: LakeTable, tmp_path: Path
) -> None:
    before, at = content(table), {version: content(table, at=version) for version in (40, 43)}
    told = table.expire(now(), dry_run=True)
    assert (versions_in(tmp_path)[0], told.oldest_version) == (0, 40)
    assert table.expire(now()) == told
    assert versions_in(tmp_path) == list(range(40, COMMITS + 1))
    assert content(table) == before
    assert {version: content(table, at=version) for version in at} == at
    assert content_hash(delta(tmp_path).to_pyarrow_table()) == content_hash(table.scan())
    assert DeltaTable(folder_of(tmp_path), version=41).version() == 41
    with pytest.raises(QueryError, match="no version at 39"):
        content(table, at=39)
    assert token(table) == f"t{COMMITS - 1}"
    load(table_in(tmp_path), Mode.APPEND, rows([(99, "y")]), "next")
    assert token(table) == "next"
    assert table.expire(now()).files == 0  # a second time there is nothing


def test_versions_that_are_kept_by_their_age_stay(table: LakeTable, tmp_path: Path) -> None:
    assert table.expire(datetime.now(UTC) - timedelta(days=30)).files == 0
    assert versions_in(tmp_path)[0] == 0


def test_records_go_that_no_kept_version_chose_and_undo_goes_on(table: LakeTable, tmp_path: Path) -> None:
    assert records_in(tmp_path) == COMMITS
    table.expire(now())
    assert 5 <= records_in(tmp_path) <= 8
    table.undo()
    assert token(table) == f"t{COMMITS - 2}"
    table.undo()
    assert token(table) == f"t{COMMITS - 3}"
    assert len(content(table)) == COMMITS - 2


def test_what_a_stream_is_judged_by_stays(table: LakeTable, tmp_path: Path) -> None:
    """A second stream loaded once, long ago: what happened since is read by its next load."""
    early = table_in(tmp_path / "two")
    load(early, Mode.APPEND, rows([(0, "a")]), "a0", stream="a")
    for number in range(COMMITS):
        load(early, Mode.APPEND, rows([(number, "b")]), f"b{number}", stream="b")
    early.expire(now())
    assert versions_in(tmp_path / "two")[0] == 0
    assert token(early, "a") == "a0"
    load(early, Mode.APPEND, rows([(1, "a")]), "a1", stream="a")
    early.expire(now())
    assert versions_in(tmp_path / "two")[0] == 40
    assert (token(early, "a"), token(early, "b")) == ("a1", f"b{COMMITS - 1}")


def test_what_a_load_under_way_began_on_stays(table: LakeTable, tmp_path: Path) -> None:
    other = table_in(tmp_path)
    with table_in(tmp_path).load(LoadRequest("other", Mode.APPEND, SCHEMA)) as one:
        staged = one.stage([rows([(500, "w")])])
        for number in range(40):
            load(other, Mode.APPEND, rows([(600 + number, "x")]), f"u{number}")
        other.expire(now())
        assert versions_in(tmp_path)[0] == 40
        one.publish(one.prepare([staged]), (one.position or Position()).finished("w"))
    assert (500, "w") in content(table)
    load(other, Mode.APPEND, rows([(501, "w")]), "w2", stream="other")
    other.expire(now())
    assert versions_in(tmp_path)[0] == 80


def test_schemas_go_that_no_kept_version_has_and_ids_are_not_given_again(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    for name in ("b", "c", "d"):
        wide = pa.RecordBatch.from_pylist([{"id": 1, name: "x"}])
        load(table, Mode.REPLACE, wide, name)
    for number in range(20):
        load(table, Mode.APPEND, wide, f"{number}")
    schemas = folder_of(tmp_path) / "_asgard/schemas"
    ids = [json.loads(path.read_bytes())["last_field_id"] for path in schemas.glob("*.json")]
    table.expire(now())
    left = [json.loads(path.read_bytes()) for path in schemas.glob("*.json")]
    assert len(left) < len(ids)
    assert max(one["last_field_id"] for one in left) == max(ids)
    assert [field["name"] for field in left[0]["fields"]] == ["id", "d"]
    load(table, Mode.REPLACE, pa.RecordBatch.from_pylist([{"id": 1, "e": "x"}]), "e")
    newest = json.loads(max(schemas.glob("*.json"), key=os.path.getmtime).read_bytes())
    assert newest["last_field_id"] == max(ids) + 1


def test_the_quarantine_twin_forgets_too(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    for number in range(45):
        load(table, Mode.APPEND, rows([(number, "x")]), f"{number}", aside=set_aside([(number, "bad")]))
    aside = table.quarantined()
    assert aside is not None
    before = mounted(aside)
    table.expire(now())
    table.vacuum(now())
    aside = table.quarantined()
    assert aside is not None
    assert mounted(aside) == before
    assert len(before) == 45


def test_a_pointer_to_what_goes_is_set_anew(table: LakeTable, tmp_path: Path) -> None:
    """Another writer's checkpoint may have left `_last_checkpoint` behind."""
    pointer = folder_of(tmp_path) / "_delta_log/_last_checkpoint"
    pointer.write_text(json.dumps({"version": 20, "size": 22}))
    before = content(table)
    table.expire(now())
    assert json.loads(pointer.read_bytes())["version"] >= 40
    assert content(table_in(tmp_path)) == before
    assert content_hash(delta(tmp_path).to_pyarrow_table()) == content_hash(table.scan())


def test_a_damaged_checkpoint_replaces_nothing(table: LakeTable, tmp_path: Path) -> None:
    checkpoint = folder_of(tmp_path) / f"_delta_log/{40:020d}.checkpoint.parquet"
    content_of = checkpoint.read_bytes()
    checkpoint.write_bytes(content_of[:100])
    with pytest.raises(Exception, match=r"."):
        table.expire(now())
    assert versions_in(tmp_path)[0] == 0
    checkpoint.write_bytes(content_of)
    assert table.expire(now()).oldest_version == 40


# ---- kills


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.lake.upkeep_nursery")
    yield nursery
    nursery.close()


@pytest.mark.parametrize(
    "place",
    ["rows_moved:1", "moved:1", "log_shortened:1", "records_forgotten:1", "vacuumed:1", "ticket_written:1"],
)
def test_a_kill_at_any_boundary_of_upkeep_changes_no_row(
    place: str, nursery: Nursery, tmp_path: Path
) -> None:
    table = table_in(tmp_path)
    for number in range(22):
        load(
            table,
            Mode.MERGE,
            rows([(key, f"{number}") for key in range(number, 40, 3)]),
            f"t{number}",
            keys=("id",),
        )
    before = content(table)
    status = nursery.run(kill_at=place, lake=tmp_path)
    assert status == (-signal.SIGKILL if place != "ticket_written:1" else 0)
    fresh = table_in(tmp_path)
    assert content(fresh) == before
    assert token(fresh) == "t21"
    assert content_hash(delta(tmp_path).to_pyarrow_table()) == content_hash(fresh.scan())
    load(fresh, Mode.MERGE, rows([(1000, "later")]), "t22", keys=("id",))
    fresh.undo()
    assert content(fresh) == before
    assert nursery.run(lake=tmp_path) == 0
    assert content(table_in(tmp_path)) == before
    with fresh.load(LoadRequest("sweeper", Mode.APPEND, SCHEMA)):
        pass  # opening a load sweeps what killed ones left
    assert unknown_files(tmp_path) == set()


def test_kills_at_random_instants_change_no_row(nursery: Nursery, tmp_path: Path) -> None:
    table = table_in(tmp_path)
    for number in range(COMMITS):
        load(table, Mode.APPEND, rows([(number, "x")]), f"t{number}")
    before = content(table)
    for tenth in range(1, 8):
        nursery.run(lake=tmp_path, kill_after=0.03 * tenth)
        assert content(table_in(tmp_path)) == before
    assert nursery.run(lake=tmp_path) == 0
    assert content(table_in(tmp_path)) == before
    assert token(table_in(tmp_path)) == f"t{COMMITS - 1}"


def test_drafts_that_never_got_their_name_go(table: LakeTable, tmp_path: Path) -> None:
    log = folder_of(tmp_path) / "_delta_log"
    old, young, foreign = log / ".1.json.abc", log / ".2.json.abc", log / f".{3:020d}.json.crc"
    for path in (old, young, foreign):
        path.write_bytes(b"x")
    long_ago = time.time() - 86_400
    os.utime(old, (long_ago, long_ago))
    os.utime(foreign, (long_ago, long_ago))
    assert table.vacuum(datetime.now(UTC) - timedelta(hours=1)).files == 1
    assert [path.exists() for path in (old, young, foreign)] == [False, True, True]


def test_a_stream_without_its_record_keeps_the_whole_log(table: LakeTable, tmp_path: Path) -> None:
    for path in (folder_of(tmp_path) / "_asgard/positions").glob("*/*.json"):
        path.unlink()
    assert table.expire(now()).files == 0
    assert versions_in(tmp_path)[0] == 0
