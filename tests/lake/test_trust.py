"""When a position may be trusted, when not, and the ways out: undo, accept, resync."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, TableFeatures, write_deltalake

from asgard.core.errors import ConfigError, DataError, PositionLost, SchemaChanged
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.delta.table import LakeTable
from tests.lake.ground import (
    SCHEMA,
    STREAM,
    content,
    copy_of,
    delta,
    folder_of,
    load,
    rows,
    set_aside,
    table_in,
    token,
)

A, B, C = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")], [(4, "c")]
THEIRS = pa.table({"id": pa.array([99], pa.int64()), "v": ["theirs"]})


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows(A), "1", run="run-1")
    load(table, Mode.APPEND, rows(C), "2", run="run-2")
    return table


def is_lost(table: LakeTable, match: str) -> None:
    with pytest.raises(PositionLost, match=match) as caught:
        table.position(STREAM)
    assert "resync" in caught.value.hint
    assert caught.value.where["table"] == "bronze.shop.orders"
    with pytest.raises(PositionLost, match=match):
        table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA))


# ---- other hands


HARMLESS: dict[str, Callable[[DeltaTable], object]] = {
    "compaction": lambda handle: handle.optimize.compact(),
    "z-order": lambda handle: handle.optimize.z_order(["id"]),
    "vacuum": lambda handle: handle.vacuum(0, dry_run=False, enforce_retention_duration=False),
    "checkpoint": lambda handle: handle.create_checkpoint(),
    "properties": lambda handle: handle.alter.set_table_properties({"delta.appendOnly": "false"}),
    "column": lambda handle: handle.alter.add_columns([Field("extra", "string")]),
    "constraint": lambda handle: handle.alter.add_constraint({"positive": "id > 0"}),
    "feature": lambda handle: handle.alter.add_feature(
        TableFeatures.AppendOnly, allow_protocol_versions_increase=True
    ),
    "append": lambda handle: write_deltalake(handle, THEIRS, mode="append"),
    "delete of some": lambda handle: handle.delete("id = 1"),
    "update": lambda handle: handle.update({"v": "'u'"}, predicate="id = 1"),
}


@pytest.mark.parametrize("deed", HARMLESS)
def test_what_others_do_without_harm_leaves_the_position(table: LakeTable, tmp_path: Path, deed: str) -> None:
    HARMLESS[deed](delta(tmp_path))
    assert token(table) == "2"
    before = content(table)
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA, allow_missing=True)) as one:
        one.publish(one.prepare([one.stage([rows([(5, "d")])])]), Position("3"))
    assert token(table) == "3"
    assert content(table) == sorted([*before, (5, "d", None)[: len(before[0])]])


HARMFUL: dict[str, Callable[[DeltaTable], object]] = {
    "restore": lambda handle: handle.restore(1),
    "overwrite": lambda handle: write_deltalake(handle, THEIRS, mode="overwrite"),
    "overwrite of a part": lambda handle: write_deltalake(
        handle, THEIRS, mode="overwrite", predicate="id > 3"
    ),
    "delete of everything": lambda handle: handle.delete(),
}


@pytest.mark.parametrize("deed", HARMFUL)
def test_what_takes_rows_away_stops_the_stream(table: LakeTable, tmp_path: Path, deed: str) -> None:
    HARMFUL[deed](delta(tmp_path))
    is_lost(table, "somebody else changed the table in version 3")


def test_an_operation_that_nobody_knows_stops_the_stream(table: LakeTable, tmp_path: Path) -> None:
    commit = {"commitInfo": {"timestamp": 1_900_000_000_000, "operation": "CONJURE"}}
    log = folder_of(tmp_path) / "_delta_log" / f"{3:020d}.json"
    log.write_text(json.dumps(commit, separators=(",", ":")) + "\n")
    is_lost(table, r"version 3 \(CONJURE\)")


def test_a_restore_during_a_load_stops_its_publishing(table: LakeTable, tmp_path: Path) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        delta(tmp_path).restore(1)
        with pytest.raises(PositionLost):
            one.publish(prepared, Position("3"))
    assert content(table) == A


def test_a_table_that_was_created_again(table: LakeTable, tmp_path: Path) -> None:
    shutil.rmtree(folder_of(tmp_path) / "_delta_log")
    with pytest.raises(PositionLost, match="log was taken away"):
        table.position(STREAM)
    DeltaTable.create(folder_of(tmp_path), Schema.from_arrow(SCHEMA))
    is_lost(table, "re-created or replaced")


def test_a_table_that_is_created_again_during_a_load(table: LakeTable, tmp_path: Path) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        shutil.rmtree(folder_of(tmp_path) / "_delta_log")
        handle = DeltaTable.create(folder_of(tmp_path), Schema.from_arrow(SCHEMA))
        for _ in range(2):
            write_deltalake(handle, THEIRS, mode="append")
            handle.update_incremental()
        with pytest.raises(PositionLost):
            one.publish(prepared, Position("3"))
    assert content(table) == [(99, "theirs")] * 2


def test_a_table_whose_records_were_taken_away(table: LakeTable, tmp_path: Path) -> None:
    shutil.rmtree(folder_of(tmp_path) / "_asgard")
    is_lost(table, "_asgard was taken away")


def test_one_record_that_is_missing_or_damaged(table: LakeTable, tmp_path: Path) -> None:
    records = sorted((folder_of(tmp_path) / "_asgard" / "positions").rglob("*.json"))
    records[-1].write_text("{")
    is_lost(table, "damaged")
    records[-1].write_text('{"format": 99}')
    with pytest.raises(PositionLost, match="format 99"):
        table.position(STREAM)
    records[-1].unlink()
    is_lost(table, "no record of it")


def test_a_whole_copy_goes_on_by_itself(table: LakeTable, tmp_path: Path) -> None:
    copy_of(tmp_path / "bronze", tmp_path / "copy" / "bronze")
    load(table, Mode.APPEND, rows(B), "3")
    copy = table_in(tmp_path / "copy")
    assert (token(copy), content(copy)) == ("2", A + C)
    load(copy, Mode.APPEND, rows([(7, "x")]), "2b")
    assert (token(copy), token(table)) == ("2b", "3")


def test_a_copy_of_the_rows_alone_is_no_silent_beginning(table: LakeTable, tmp_path: Path) -> None:
    copy_of(tmp_path / "bronze", tmp_path / "copy" / "bronze")
    shutil.rmtree(folder_of(tmp_path / "copy") / "_asgard")
    is_lost(table_in(tmp_path / "copy"), "taken away")


def test_a_log_that_was_cut_off(table: LakeTable, tmp_path: Path) -> None:
    write_deltalake(delta(tmp_path), THEIRS, mode="append")
    delta(tmp_path).create_checkpoint()
    (folder_of(tmp_path) / "_delta_log" / f"{2:020d}.json").unlink()
    is_lost(table, "does not hold version 2 any more")


def test_another_hands_table_begins_at_the_beginning(tmp_path: Path) -> None:
    write_deltalake(folder_of(tmp_path), THEIRS)
    table = table_in(tmp_path)
    assert table.position(STREAM) is None
    load(table, Mode.APPEND, rows(A), "1")
    assert (token(table), len(content(table))) == ("1", 3)


def test_tables_that_can_be_read_and_not_written(tmp_path: Path) -> None:
    write_deltalake(folder_of(tmp_path), THEIRS, partition_by=["v"])
    table = table_in(tmp_path)
    assert content(table) == [(99, "theirs")]
    mount = table.mount()
    assert mount.files == ()
    assert mount.reader is not None
    assert mount.reader().read_all().to_pylist() == [{"id": 99, "v": "theirs"}]
    assert table.scan(["v"], "id = 99").read_all().to_pylist() == [{"v": "theirs"}]
    with pytest.raises(DataError, match="partitioned by v"):
        table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA))


# ---- accept and resync


def test_accept_trusts_the_last_position(table: LakeTable, tmp_path: Path) -> None:
    delta(tmp_path).restore(1)
    table.accept(STREAM, resync=False)
    assert table.position(STREAM) == Position("2", epoch=1)
    load(table, Mode.APPEND, rows(B), "3")
    assert content(table) == sorted(A + B)
    assert table.position(STREAM) == Position("3", epoch=1)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_resync_begins_anew_and_replaces_every_row(table: LakeTable, tmp_path: Path, mode: Mode) -> None:
    delta(tmp_path).restore(1)
    table.accept(STREAM, resync=True)
    assert table.position(STREAM) is None
    assert content(table) == A  # until the first load is published
    other = pa.schema([("id", pa.string()), ("w", pa.string())])
    load(table, mode, rows([("x", "1"), ("y", "2")], other), "7", keys=("id",))
    assert content(table) == [("x", "1"), ("y", "2")]
    load(table, Mode.APPEND, rows([("z", "3")], other), "8")
    assert content(table) == [("x", "1"), ("y", "2"), ("z", "3")]
    assert table.position(STREAM) == Position("8", epoch=1)


def test_a_resync_that_was_begun_anew_by_a_load_without_rows(table: LakeTable) -> None:
    table.accept(STREAM, resync=True)
    load(table, Mode.APPEND, rows([]), "0")
    assert (content(table), token(table)) == ([], "0")


def test_accept_after_a_replacement_needs_a_position_that_the_log_chooses(
    table: LakeTable, tmp_path: Path
) -> None:
    shutil.rmtree(folder_of(tmp_path) / "_delta_log")
    with pytest.raises(PositionLost, match="no table"):
        table.accept(STREAM, resync=False)
    write_deltalake(folder_of(tmp_path), THEIRS)
    with pytest.raises(PositionLost, match="chooses no position"):
        table.accept(STREAM, resync=False)
    table.accept(STREAM, resync=True)
    load(table, Mode.APPEND, rows(A), "1")
    assert (content(table), token(table)) == (A, "1")


def test_resync_of_a_table_that_is_gone(table: LakeTable, tmp_path: Path) -> None:
    shutil.rmtree(folder_of(tmp_path) / "_delta_log")
    table.accept(STREAM, resync=True)
    assert table.position(STREAM) is None
    load(table, Mode.APPEND, rows(B), "1")
    assert (content(table), token(table)) == (B, "1")


def test_accept_twice_and_undo_afterwards(table: LakeTable) -> None:
    table.accept(STREAM, resync=False)
    table.accept(STREAM, resync=False)
    load(table, Mode.APPEND, rows(B), "3")
    table.undo()
    assert table.position(STREAM) == Position("2", epoch=3)
    assert content(table) == A + C


# ---- undo


def test_undo_takes_data_and_position_back(table: LakeTable) -> None:
    done = table.undo()
    assert (done.operation, content(table), token(table)) == ("undo", A, "1")
    load(table, Mode.APPEND, rows(C), "2")
    assert content(table) == A + C


def test_undo_goes_back_load_by_load_to_the_empty_table(table: LakeTable) -> None:
    load(table, Mode.MERGE, rows(B), "3", keys=("id",))
    load(table, Mode.REPLACE, pa.record_batch({"w": ["other"]}), "4")
    seen = []
    for _ in range(4):
        table.undo()
        seen.append((content(table), token(table)))
    assert seen == [
        ([(1, "a"), (2, "b"), (3, "b"), (4, "c")], "3"),
        (A + C, "2"),
        (A, "1"),
        ([], None),
    ]
    assert table.schema().names == ["id", "v"]
    with pytest.raises(ConfigError, match="no load to take back"):
        table.undo()
    load(table, Mode.APPEND, rows(A), "1")
    assert (content(table), token(table)) == (A, "1")


def test_undo_of_a_run_takes_all_its_last_loads_back(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(B), "3", run="run-3")
    load(table, Mode.APPEND, rows([(7, "x")]), "4", run="run-3")
    with pytest.raises(ConfigError, match="not of run run-2, but of run-3"):
        table.undo("run-2")
    table.undo("run-3")
    assert (content(table), token(table)) == (A + C, "2")


def test_undo_after_compaction_and_evolution(table: LakeTable, tmp_path: Path) -> None:
    wider = pa.schema([*SCHEMA, ("n", pa.timestamp("us"))])
    load(table, Mode.APPEND, pa.RecordBatch.from_pylist([{"id": 9, "v": "w"}], wider), "3")
    delta(tmp_path).optimize.compact()
    table.undo()
    assert token(table) == "2"
    assert [row[:2] for row in content(table)] == A + C


def test_undo_does_not_take_back_what_others_wrote(table: LakeTable, tmp_path: Path) -> None:
    write_deltalake(delta(tmp_path), THEIRS, mode="append")
    with pytest.raises(DataError, match="another writer changed the table in version 3"):
        table.undo()
    assert len(content(table)) == 4


def test_undo_is_refused_when_the_files_are_gone(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.REPLACE, rows(B), "3")
    delta(tmp_path).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(DataError, match="2 of its files were deleted"):
        table.undo()
    assert (content(table), token(table)) == (B, "3")


def test_undo_hides_what_the_load_set_aside(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(B), "3", aside=set_aside([(50, "x")]))
    quarantined = table.quarantined()
    assert quarantined is not None
    table.undo()
    assert table.quarantined() is None
    load(table, Mode.APPEND, rows(B), "3", aside=set_aside([(51, "x")]))
    load(table, Mode.APPEND, rows(B), "4")
    again = table.quarantined()
    assert again is not None
    assert again.rows == 1


def test_undo_with_two_streams(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(B), "x", stream="other")
    table.undo()
    assert (token(table), token(table, "other"), content(table)) == ("2", None, A + C)
    load(table, Mode.APPEND, rows([(8, "o")]), "y", stream="other")
    load(table, Mode.APPEND, rows([(9, "s")]), "3")
    table.undo()
    assert (token(table), token(table, "other")) == ("2", "y")


def test_after_undo_the_schema_is_that_of_before(table: LakeTable) -> None:
    load(table, Mode.REPLACE, pa.record_batch({"w": ["other"]}), "3")
    table.undo()
    with pytest.raises(SchemaChanged):
        table.load(LoadRequest(STREAM, Mode.APPEND, pa.schema([("w", pa.string())])))
