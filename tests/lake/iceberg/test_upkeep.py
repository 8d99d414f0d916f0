"""Upkeep of Iceberg tables: files are put together, versions forgotten, files deleted, loads taken back."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import ConfigError, DataError, PositionLost
from asgard.core.secret import Secret
from asgard.core.stream import Mode
from asgard.core.table import Compacted, LoadRequest
from asgard.lake.iceberg.catalog import RestAccess
from asgard.lake.iceberg.lake import IcebergLake
from asgard.lake.iceberg.table import IcebergTable
from tests.lake.ground import NAME, SCHEMA, STREAM, content, folder_of, load, rows, token
from tests.lake.iceberg.ground import as_any, count_of_metadata, iceberg_table, theirs
from tests.servers.iceberg_rest import CLIENT, SECRET, shared_iceberg_rest

SOON = timedelta(minutes=1)


def far() -> datetime:
    """An instant by which all that was written up to now is old."""
    return datetime.now(UTC) + SOON


def many(lake: Path, loads: int, mode: Mode = Mode.APPEND, start: int = 0) -> IcebergTable:
    table = iceberg_table(lake)
    for number in range(start, start + loads):
        load(as_any(table), mode, rows([(number, f"v{number}")]), str(number), run=f"r{number}")
    return table


def compacted(table: IcebergTable, **wishes: Any) -> Compacted | None:
    return table.compact("upkeep", lambda: False, nullcontext, **wishes)


def data_files(lake: Path) -> set[str]:
    return {path.name for path in (folder_of(lake) / "data").glob("*.parquet")}


# ---- compact


def test_small_files_are_put_together_and_nothing_else_changes(tmp_path: Path) -> None:
    table = many(tmp_path, 10)
    before = content(as_any(table))
    assert table.upkeep().files == 10
    done = compacted(table)
    assert done is not None
    assert (done.version, done.files_before, done.files_after) == (11, 10, 1)
    assert content(as_any(table)) == before
    assert token(as_any(table)) == "9"
    assert len(table.mount().files) == 1
    assert compacted(table) is None
    assert table.upkeep().files == 0
    snapshot = theirs(table).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary.operation.value == "replace"
    assert (snapshot.summary["total-records"], snapshot.summary["total-data-files"]) == ("10", "1")
    assert content(as_any(table), at=10) == before
    assert theirs(table).scan().to_arrow().num_rows == 10


def test_loads_go_on_over_it_exactly_once(tmp_path: Path) -> None:
    table = many(tmp_path, 8)
    compacted(table)
    many(tmp_path, 3, Mode.APPEND, start=8)
    load(as_any(table), Mode.MERGE, rows([(2, "new"), (99, "x")]), "m", keys=("id",))
    wanted = {number: f"v{number}" for number in range(11)} | {2: "new", 99: "x"}
    assert content(as_any(table)) == sorted(wanted.items(), key=repr)
    assert token(as_any(table)) == "m"


def test_a_load_that_was_under_way_is_worked_out_again(tmp_path: Path) -> None:
    table = many(tmp_path, 8)
    request = LoadRequest(STREAM, Mode.MERGE, SCHEMA, ("id",))
    with table.load(request) as one:
        prepared = one.prepare([one.stage([rows([(3, "new")])])])
        assert compacted(table) is not None
        position = one.position
        assert position is not None
        one.publish(prepared, position.finished("m"))
    assert content(as_any(table)) == sorted(
        [(number, "new" if number == 3 else f"v{number}") for number in range(8)], key=repr
    )


def test_it_stands_aside_for_who_took_a_file(tmp_path: Path) -> None:
    table = many(tmp_path, 8)

    class Rival:
        def __enter__(self) -> None:
            load(as_any(table), Mode.REPLACE, rows([(1, "all")]), "r")

        def __exit__(self, *_: object) -> None:
            return

    assert table.compact("upkeep", lambda: False, Rival) is None
    assert content(as_any(table)) == [(1, "all")]
    table.vacuum(far())
    assert len(data_files(tmp_path)) == 1


def test_it_tries_again_behind_who_was_faster(tmp_path: Path) -> None:
    table, rivals = many(tmp_path, 8), iter([True])

    class Rival:
        def __enter__(self) -> None:
            if next(rivals, False):
                many(tmp_path, 1, start=50)

        def __exit__(self, *_: object) -> None:
            return

    done = table.compact("upkeep", lambda: False, Rival)
    assert done is not None
    assert done.version == 10
    assert len(content(as_any(table))) == 9


def test_who_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    table = many(tmp_path, 8)
    before = data_files(tmp_path)
    assert table.compact("upkeep", lambda: True, nullcontext) is None
    assert data_files(tmp_path) == before
    assert os.listdir(folder_of(tmp_path) / "_asgard" / "loads") == []


def test_rows_are_put_in_order_where_that_is_wanted(tmp_path: Path) -> None:
    table = iceberg_table(tmp_path)
    for number in range(8):
        part = rows([(n, "x") for n in range(7 - number, 800, 8)])
        load(as_any(table), Mode.APPEND, part, str(number), cluster_by=("id",))
    assert table.upkeep().order_by == ("id",)
    assert table.upkeep(()).order_by == ()
    compacted(table, order_by=("id",))
    assert table.upkeep().order_by == ("id",)
    stream = table.scan().read_all().column("id").to_pylist()
    assert stream == sorted(stream) == list(range(800))


def test_a_table_of_many_commits_has_few_files(tmp_path: Path) -> None:
    table = many(tmp_path, 20)
    while compacted(table) is not None:
        pass
    many(tmp_path, 9, start=20)
    while compacted(table) is not None:
        pass
    assert len(table.mount().files) == 1
    assert [row[0] for row in sorted(content(as_any(table)))] == list(range(29))


# ---- expire and vacuum


def test_versions_are_forgotten_with_their_files(tmp_path: Path) -> None:
    table = many(tmp_path, 5, Mode.REPLACE)
    assert len(data_files(tmp_path)) == 5
    gone = table.vacuum(far())
    assert gone.oldest_version == 5
    assert gone.files > 4
    assert len(data_files(tmp_path)) == 1
    assert content(as_any(table)) == [(4, "v4")]
    assert [version.version for version in table.versions()] == [5]
    assert count_of_metadata(tmp_path)["lists"] == 1
    assert token(as_any(table)) == "4"
    many(tmp_path, 2, Mode.APPEND, start=5)
    assert token(as_any(table)) == "6"
    assert len(content(as_any(table))) == 3
    assert theirs(table).scan().to_arrow().num_rows == 3


def test_it_is_the_same_with_a_server(tmp_path: Path) -> None:
    server = shared_iceberg_rest()
    access = RestAccess(server.catalog(), credential=Secret(f"{CLIENT}:{SECRET}"))
    table: Any = IcebergLake(tmp_path, access=access).table(NAME)
    for number in range(9):
        load(table, Mode.APPEND, rows([(number, "v")]), str(number))
    before = content(table)
    assert compacted(table) is not None
    assert table.vacuum(far()).oldest_version == 10
    assert len(data_files(tmp_path)) == 1
    assert content(table) == before
    load(table, Mode.APPEND, rows([(9, "v")]), "9")
    table.undo()
    assert content(table) == before
    assert token(table) == "8"
    assert theirs(table).scan().to_arrow().num_rows == 9


def test_young_versions_stay_readable(tmp_path: Path) -> None:
    table = many(tmp_path, 4, Mode.REPLACE)
    before = count_of_metadata(tmp_path)
    gone = table.vacuum(datetime.now(UTC) - timedelta(hours=1))
    assert (gone.files, gone.oldest_version) == (0, 1)
    assert count_of_metadata(tmp_path) == before
    assert [content(as_any(table), at=version) for version in range(1, 5)] == [
        [(number, f"v{number}")] for number in range(4)
    ]


def test_a_dry_run_says_what_would_go_and_deletes_nothing(tmp_path: Path) -> None:
    table = many(tmp_path, 5, Mode.REPLACE)
    data, metadata = data_files(tmp_path), count_of_metadata(tmp_path)
    would = table.vacuum(far(), dry_run=True)
    assert (data_files(tmp_path), count_of_metadata(tmp_path)) == (data, metadata)
    assert would.oldest_version == 5
    gone = table.vacuum(far())
    assert would.files <= gone.files
    assert would.files >= 4


def test_what_a_load_under_way_wrote_stays(tmp_path: Path) -> None:
    table = many(tmp_path, 3)
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        staged = one.stage([rows([(77, "x")])])
        table.vacuum(far())
        position = one.position
        assert position is not None
        one.publish(one.prepare([staged]), position.finished("n"))
    assert (77, "x") in content(as_any(table))


def test_positions_outlive_the_versions_that_they_came_with(tmp_path: Path) -> None:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, rows([(100, "a")]), "other", stream="slow")
    many(tmp_path, 12)
    compacted(table)
    table.vacuum(far())
    assert [version.version for version in table.versions()] == [14]
    assert len(data_files(tmp_path)) == 1
    assert (token(as_any(table), "slow"), token(as_any(table))) == ("other", "11")
    for stream, number in (("slow", 200), (STREAM, 300)):
        load(as_any(table), Mode.APPEND, rows([(number, "b")]), str(number), stream=stream)
        assert token(as_any(table), stream) == str(number)
    assert len(content(as_any(table))) == 15
    handle = theirs(table)
    first = min(handle.metadata.snapshots, key=lambda one: one.sequence_number or 0)
    handle.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    for stream in ("slow", STREAM):
        with pytest.raises(PositionLost):
            table.position(stream)


def test_a_position_that_was_lost_is_not_found_again_by_upkeep(tmp_path: Path) -> None:
    table = many(tmp_path, 3)
    handle = theirs(table)
    handle.manage_snapshots().rollback_to_snapshot(handle.metadata.snapshots[0].snapshot_id).commit()
    for number in range(3):
        theirs(table).append(pa.table({"id": [50 + number], "v": ["theirs"]}))
    table.vacuum(far())
    with pytest.raises(PositionLost):
        table.position(STREAM)


def test_what_positions_are_judged_by_stays_while_a_load_is_under_way(tmp_path: Path) -> None:
    table = many(tmp_path, 3)
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows([(9, "x")])])])
        position = one.position
        assert position is not None
        theirs(table).append(pa.table({"id": [50], "v": ["theirs"]}))
        table.vacuum(far())
        assert [version.version for version in table.versions()] == [4, 3]
        one.publish(prepared, position.finished("9"))
    assert token(as_any(table)) == "9"
    assert len(content(as_any(table))) == 5


def test_branches_and_tags_of_others_stay(tmp_path: Path) -> None:
    table = many(tmp_path, 4, Mode.REPLACE)
    handle = theirs(table)
    second = next(one for one in handle.metadata.snapshots if one.sequence_number == 2)
    handle.manage_snapshots().create_tag(second.snapshot_id, "audit").commit()
    table.vacuum(far())
    assert theirs(table).scan(snapshot_id=second.snapshot_id).to_arrow().to_pylist() == [{"id": 1, "v": "v1"}]
    assert len(data_files(tmp_path)) == 2


def test_what_others_left_among_the_data_stays(tmp_path: Path) -> None:
    table = many(tmp_path, 1)
    foreign = folder_of(tmp_path) / "data" / "00000-1-abc.parquet"
    foreign.write_bytes(b"x")
    table.vacuum(far())
    assert foreign.exists()


def test_metadata_that_nobody_names_goes_by_its_age(tmp_path: Path) -> None:
    table = many(tmp_path, 2)
    metadata = folder_of(tmp_path) / "metadata"
    uuid = "0b5e51cb-2f4f-4c1e-9c2a-1f3f6f1b2a3c"
    orphans = [metadata / f"{uuid}-m0.avro", metadata / f"00007-{uuid}.metadata.json"]
    for orphan in orphans:
        orphan.write_bytes(b"x")
    assert table.vacuum(datetime.now(UTC) - SOON).files == 0
    assert table.vacuum(far()).files >= 2
    assert not any(orphan.exists() for orphan in orphans)
    assert len(content(as_any(table))) == 2


def test_a_table_of_others_is_left_alone(tmp_path: Path) -> None:
    table = iceberg_table(tmp_path)
    catalog = table.place.catalogue.opened(create=True)
    assert catalog is not None
    catalog.create_namespace("bronze")
    catalog.create_namespace(("bronze", "shop"))
    where = f"file://{folder_of(tmp_path)}"
    handle = catalog.create_table(
        ("bronze", "shop", "orders"), pa.schema([("id", pa.int64())]), location=where
    )
    for number in range(9):
        handle.append(pa.table({"id": [number]}))
    assert compacted(table) is None
    assert table.vacuum(far()).oldest_version == -1
    assert len(handle.refresh().metadata.snapshots) == 9


# ---- undo


def test_the_last_load_is_taken_back_with_its_position(tmp_path: Path) -> None:
    table = many(tmp_path, 3)
    version = table.undo()
    assert (version.version, version.operation) == (4, "undo")
    assert content(as_any(table)) == [(0, "v0"), (1, "v1")]
    assert token(as_any(table)) == "1"
    table.undo()
    assert token(as_any(table)) == "0"
    many(tmp_path, 1, start=7)
    assert content(as_any(table)) == [(0, "v0"), (7, "v7")]
    assert theirs(table).scan().to_arrow().num_rows == 2


def test_the_first_load_is_taken_back(tmp_path: Path) -> None:
    table = many(tmp_path, 1)
    table.undo()
    assert content(as_any(table)) == []
    assert token(as_any(table)) is None
    with pytest.raises(ConfigError, match="no load"):
        table.undo()
    many(tmp_path, 1, start=3)
    assert content(as_any(table)) == [(3, "v3")]


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.MERGE])
def test_rows_that_went_come_back(tmp_path: Path, mode: Mode) -> None:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, rows([(1, "a"), (2, "b")]), "1")
    load(as_any(table), mode, rows([(2, "c")]), "2", keys=("id",))
    table.undo()
    assert content(as_any(table)) == [(1, "a"), (2, "b")]
    assert token(as_any(table)) == "1"


def test_columns_go_back(tmp_path: Path) -> None:
    table = many(tmp_path, 1)
    wider = pa.schema([*SCHEMA, ("w", pa.float64())])
    batch = pa.RecordBatch.from_pylist([{"id": 5, "v": "x", "w": 1.5}], wider)
    load(as_any(table), Mode.APPEND, batch, "w")
    table.undo()
    assert table.schema().names == ["id", "v"]
    load(as_any(table), Mode.APPEND, batch, "w")
    assert table.scan().read_all().sort_by("id").to_pylist() == [
        {"id": 0, "v": "v0", "w": None},
        {"id": 5, "v": "x", "w": 1.5},
    ]


def test_all_loads_of_a_run_are_taken_back(tmp_path: Path) -> None:
    table = iceberg_table(tmp_path)
    for number, run in enumerate(["one", "two", "two"]):
        load(as_any(table), Mode.APPEND, rows([(number, "x")]), str(number), run=run)
    compacted(table)
    with pytest.raises(ConfigError, match="not of run one"):
        table.undo("one")
    table.undo("two")
    assert content(as_any(table)) == [(0, "x")]
    assert token(as_any(table)) == "0"


def test_what_another_writer_did_is_not_taken_back(tmp_path: Path) -> None:
    table = many(tmp_path, 2)
    theirs(table).append(pa.table({"id": [9], "v": ["theirs"]}))
    with pytest.raises(DataError, match="another writer"):
        table.undo()
    assert len(content(as_any(table))) == 3


def test_a_version_that_is_gone_cannot_come_back(tmp_path: Path) -> None:
    table = many(tmp_path, 2, Mode.REPLACE)
    table.vacuum(far())
    with pytest.raises(DataError, match="cannot come back"):
        table.undo()
    assert content(as_any(table)) == [(1, "v1")]


def test_a_load_that_was_under_way_does_not_go_on_over_an_undo(tmp_path: Path) -> None:
    table = many(tmp_path, 2)
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows([(9, "late")])])])
        position = one.position
        table.undo()
        assert position is not None
        with pytest.raises(Exception, match="another load of the same stream was faster"):
            one.publish(prepared, position.finished("late"))
    assert content(as_any(table)) == [(0, "v0")]


def test_positions_are_lost_by_a_rollback_and_not_by_undo(tmp_path: Path) -> None:
    table = many(tmp_path, 3)
    table.undo()
    assert token(as_any(table)) == "1"
    handle = theirs(table)
    first = next(one for one in handle.metadata.snapshots if one.sequence_number == 1)
    handle.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    with pytest.raises(PositionLost):
        table.position(STREAM)
