"""When a position on Iceberg may be trusted, and when not: what others do to snapshots, and to the table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.types import LongType, NestedField, StringType

from asgard.core.errors import PositionLost
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.snapshot import MARK, Snapshot
from asgard.lake.iceberg.table import IcebergTable
from tests.lake.ground import SCHEMA, STREAM, content, folder_of, load, rows, token
from tests.lake.iceberg.ground import as_any, iceberg_table, theirs

A, B, C = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")], [(4, "c")]
THEIRS = pa.table({"id": pa.array([99], pa.int64()), "v": ["theirs"]})


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, rows(A), "1", run="run-1")
    load(as_any(table), Mode.APPEND, rows(C), "2", run="run-2")
    return table


def is_lost(table: IcebergTable, match: str) -> None:
    with pytest.raises(PositionLost, match=match) as caught:
        table.position(STREAM)
    assert "resync" in caught.value.hint
    assert caught.value.where["table"] == "bronze.shop.orders"
    with pytest.raises(PositionLost, match=match):
        table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA))


def take_back(handle: Table, sequence: int) -> None:
    """What Spark's rollback_to_snapshot and set_current_snapshot do."""
    found = next(one for one in handle.metadata.snapshots if one.sequence_number == sequence)
    handle.manage_snapshots().set_current_snapshot(snapshot_id=found.snapshot_id).commit()


def compact(table: IcebergTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files in one, as another hand's compaction does it."""
    snapshot = Snapshot.open(table.place)
    assert snapshot is not None
    kept = snapshot.entries
    with monkeypatch.context() as patch:
        patch.setattr("asgard.lake.iceberg.commit.MARK", "theirs")
        moved = [table.place.data.absolute(f"moved-{uuid4().hex}.parquet") for _ in kept]
        for file, path in zip(kept, moved, strict=True):
            shutil.copy(file.file_path, path)
        gone = [file.file_path for file in kept]
        adds = [_at(file, path) for file, path in zip(kept, moved, strict=True)]
        Draft(table.place, snapshot).commit(Edit(adds, gone, Operation.REPLACE))


def _at(file: object, path: str) -> object:
    file._data[1] = path  # type: ignore[attr-defined]
    return file


def expire_all(table: IcebergTable) -> None:
    """Forgets every snapshot but the current one."""
    handle = theirs(table)
    gone = [
        one.snapshot_id
        for one in handle.metadata.snapshots
        if one.snapshot_id != handle.metadata.current_snapshot_id
    ]
    handle.maintenance.expire_snapshots().by_ids(gone).commit()


# ---- other hands

HARMLESS: dict[str, Callable[[Table], object]] = {
    "append": lambda handle: handle.append(THEIRS),
    "delete of some": lambda handle: handle.delete("id = 1"),
    "upsert": lambda handle: handle.upsert(pa.table({"id": [1], "v": ["u"]}).cast(SCHEMA), ["id"]),
    "properties": lambda handle: handle.transaction().set_properties(owner="me").commit_transaction(),
    "tag": lambda handle: (
        handle.manage_snapshots().create_tag(handle.metadata.current_snapshot_id or 0, "kept").commit()
    ),
}


@pytest.mark.parametrize("deed", HARMLESS)
def test_what_others_do_without_harm_leaves_the_position(table: IcebergTable, deed: str) -> None:
    HARMLESS[deed](theirs(table))
    assert token(as_any(table)) == "2"
    before = content(as_any(table))
    load(as_any(table), Mode.APPEND, rows([(5, "d")]), "3")
    assert token(as_any(table)) == "3"
    assert content(as_any(table)) == sorted([*before, (5, "d")])


def test_a_column_that_another_hand_added(table: IcebergTable) -> None:
    with theirs(table).update_schema() as update:
        update.add_column("extra", StringType())
    assert token(as_any(table)) == "2"
    load(as_any(table), Mode.APPEND, rows([(5, "d")]), "3", allow_missing=True)
    assert content(as_any(table)) == [(1, "a", None), (2, "a", None), (4, "c", None), (5, "d", None)]


HARMFUL: dict[str, tuple[Callable[[Table], object], str]] = {
    "rollback": (lambda handle: take_back(handle, 1), "took the table back"),
    "overwrite": (lambda handle: handle.overwrite(THEIRS), "changed the table in version 3"),
    "delete of everything": (lambda handle: handle.delete(), "changed the table in version 3"),
}


@pytest.mark.parametrize("deed", HARMFUL)
def test_what_takes_rows_away_stops_the_stream(table: IcebergTable, deed: str) -> None:
    act, told = HARMFUL[deed]
    act(theirs(table))
    is_lost(table, told)


def test_a_rollback_is_seen_whatever_is_done_after_it(
    table: IcebergTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when every snapshot is gone that would tell: older metadata does."""
    take_back(theirs(table), 1)
    theirs(table).append(THEIRS)
    is_lost(table, "took the table back")
    compact(table, monkeypatch)
    expire_all(table)
    is_lost(table, "took the table back")


def test_a_rollback_and_back_again_is_none(table: IcebergTable) -> None:
    take_back(theirs(table), 1)
    take_back(theirs(table), 2)
    assert token(as_any(table)) == "2"


def test_compaction_and_expiry_leave_the_position(
    table: IcebergTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(as_any(table))
    for _ in range(3):
        compact(table, monkeypatch)
        theirs(table).append(THEIRS)
        expire_all(table)
    now = theirs(table).metadata
    assert [one.parent_snapshot_id for one in now.snapshots] == [None]
    assert now.snapshots[0].summary is not None
    assert MARK not in now.snapshots[0].summary.additional_properties
    assert (token(as_any(table)), len(content(as_any(table)))) == ("2", len(before) + 3)
    load(as_any(table), Mode.MERGE, rows(B), "3", keys=("id",))
    assert (token(as_any(table)), len(content(as_any(table)))) == ("3", len(before) + 4)


def test_a_history_that_nothing_tells_any_more_stops_the_stream(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(table, monkeypatch)
    theirs(table).append(THEIRS)
    expire_all(table)
    newest = Path(theirs(table).metadata_location)
    for path in (folder_of(tmp_path) / "metadata").glob("*.metadata.json"):
        if path != newest:
            path.unlink()
    is_lost(table, "does not tell any more")


def test_a_rollback_during_a_load_stops_its_publishing(table: IcebergTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        take_back(theirs(table), 1)
        with pytest.raises(PositionLost):
            one.publish(prepared, Position("3"))
    assert content(as_any(table)) == A


def test_a_position_that_was_taken_away_is_no_beginning(table: IcebergTable) -> None:
    handle = theirs(table)
    handle.transaction().remove_properties(f"asgard.position.{STREAM}").commit_transaction()
    is_lost(table, "property with the position was taken away")
    assert table.position("other") is None


def test_a_position_that_is_damaged_or_of_another_format(table: IcebergTable) -> None:
    for text, told in (("{", "damaged"), ('{"format": 99}', "format 99")):
        handle = theirs(table)
        handle.transaction().set_properties({f"asgard.position.{STREAM}": text}).commit_transaction()
        with pytest.raises(PositionLost, match=told):
            table.position(STREAM)
    table.accept(STREAM, resync=True)
    assert table.position(STREAM) is None


def test_an_identity_of_another_format_is_refused(table: IcebergTable, tmp_path: Path) -> None:
    (folder_of(tmp_path) / "_asgard" / "table.json").write_text('{"format": 2, "id": "x"}')
    with pytest.raises(PositionLost, match=r"table\.json has format 2") as caught:
        table.position(STREAM)
    assert "newer" in caught.value.hint


def test_of_two_streams_one_may_be_lost(table: IcebergTable) -> None:
    load(as_any(table), Mode.APPEND, rows(B), "x", stream="other")
    take_back(theirs(table), 2)
    assert token(as_any(table)) == "2"
    with pytest.raises(PositionLost, match="took the table back"):
        table.position("other")
    load(as_any(table), Mode.APPEND, rows([(9, "s")]), "3")
    with pytest.raises(PositionLost, match="took the table back"):
        table.position("other")


# ---- another table


def drop(table: IcebergTable) -> None:
    theirs(table).catalog.drop_table(table.place.identifier)


def create(table: IcebergTable) -> Table:
    catalog = table.place.catalogue.opened()
    assert catalog is not None
    columns = [NestedField(1, "id", LongType()), NestedField(2, "v", StringType())]
    return catalog.create_table(table.place.identifier, Schema(*columns), str(table.place.folder))


def test_a_table_that_was_dropped_and_created_again(table: IcebergTable) -> None:
    drop(table)
    with pytest.raises(PositionLost, match="was dropped"):
        table.position(STREAM)
    with pytest.raises(PositionLost, match="was dropped"):
        table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA))
    create(table)
    is_lost(table, "re-created or replaced")
    table.accept(STREAM, resync=True)
    load(as_any(table), Mode.APPEND, rows(B), "1")
    assert (content(as_any(table)), token(as_any(table))) == (B, "1")


def test_a_table_that_is_created_again_during_a_load(table: IcebergTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        drop(table)
        create(table).append(THEIRS)
        with pytest.raises(PositionLost):
            one.publish(prepared, Position("3"))
    assert content(as_any(table)) == [(99, "theirs")]


def test_resync_of_a_table_that_is_gone(table: IcebergTable) -> None:
    drop(table)
    with pytest.raises(PositionLost, match="no table"):
        table.accept(STREAM, resync=False)
    table.accept(STREAM, resync=True)
    assert table.position(STREAM) is None
    load(as_any(table), Mode.APPEND, rows(B), "1")
    assert (content(as_any(table)), token(as_any(table))) == (B, "1")


def test_another_hands_table_begins_at_the_beginning(tmp_path: Path) -> None:
    first = iceberg_table(tmp_path)
    catalog = first.place.catalogue.opened(create=True)
    assert catalog is not None
    catalog.create_namespace(("bronze", "shop"))
    create(first).append(THEIRS)
    table = iceberg_table(tmp_path)
    assert table.position(STREAM) is None
    load(as_any(table), Mode.APPEND, rows(A), "1")
    assert (token(as_any(table)), len(content(as_any(table)))) == ("1", 3)


# ---- accept and resync


def test_accept_trusts_the_last_position(table: IcebergTable) -> None:
    take_back(theirs(table), 1)
    table.accept(STREAM, resync=False)
    assert table.position(STREAM) == Position("2", epoch=1)
    load(as_any(table), Mode.APPEND, rows(B), "3")
    assert content(as_any(table)) == sorted(A + B)
    assert table.position(STREAM) == Position("3", epoch=1)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_resync_begins_anew_and_replaces_every_row(table: IcebergTable, mode: Mode) -> None:
    take_back(theirs(table), 1)
    table.accept(STREAM, resync=True)
    assert table.position(STREAM) is None
    assert content(as_any(table)) == A  # until the first load is published
    other = pa.schema([("id", pa.string()), ("w", pa.string())])
    load(as_any(table), mode, rows([("x", "1"), ("y", "2")], other), "7", keys=("id",))  # type: ignore[list-item]
    assert content(as_any(table)) == [("x", "1"), ("y", "2")]
    load(as_any(table), Mode.APPEND, rows([("z", "3")], other), "8")  # type: ignore[list-item]
    assert content(as_any(table)) == [("x", "1"), ("y", "2"), ("z", "3")]
    assert table.position(STREAM) == Position("8", epoch=1)


def test_a_resync_meanwhile_stops_a_load_that_is_under_way(table: IcebergTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        table.accept(STREAM, resync=True)
        with pytest.raises(Exception, match="another load of the same stream"):
            one.publish(prepared, Position("3"))
    assert (table.position(STREAM), content(as_any(table))) == (None, A + C)
