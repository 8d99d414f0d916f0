"""Columns that become wider: the table is written anew in the commit that brings the first wider value."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import Conflict, DataError, SchemaChanged
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, Table
from asgard.lake.widening import common_type
from tests.lake.ground import table_in

OLD, NEW = datetime.date(1, 1, 1), datetime.datetime(2024, 5, 6, 7, 8, 9, 10)


def load(table: Table, columns: dict[str, pa.Array], mode: Mode, *, widens: bool = True) -> Any:
    batch = pa.record_batch(columns)
    keys = () if mode in (Mode.APPEND, Mode.REPLACE) else ("id",)
    request = LoadRequest("s", mode, batch.schema, keys, widens=widens, run="r")
    with table.load(request) as one:
        staged = one.stage([batch])
        position = Position(token=f"after {len(batch)} rows of {mode}")
        commit = one.publish(one.prepare([staged]), position)
        return one.evolution, commit


def content(table: Table, at: int | None = None) -> list[dict[str, Any]]:
    rows = table.scan(["id", "n"], at=at).read_all()
    return sorted(rows.to_pylist(), key=lambda row: (row["id"], repr(row["n"])))


@pytest.mark.parametrize(
    ("before", "old", "now", "new", "held"),
    [
        (pa.int32(), -(2**31), pa.int64(), 2**60 + 1, pa.int64()),
        (pa.float32(), 1.5, pa.float64(), 0.1, pa.float64()),
        (pa.int32(), 2**31 - 1, pa.float32(), 0.5, pa.float64()),
        (pa.decimal128(5, 2), Decimal("999.99"), pa.decimal128(7, 1), Decimal("123456.7"), None),
        (pa.int64(), 2**63 - 1, pa.decimal128(4, 2), Decimal("1.25"), pa.decimal128(21, 2)),
        (pa.date32(), OLD, pa.timestamp("us"), NEW, pa.timestamp("us")),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
def test_old_and_new_values_are_what_they_were(
    tmp_path: Path, mode: Mode, before: Any, old: Any, now: Any, new: Any, held: Any
) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1, 2]), "n": pa.array([old, None], before)}, mode)
    evolution, commit = load(table, {"id": pa.array([2, 3]), "n": pa.array([None, new], now)}, mode)
    wide = held or pa.decimal128(8, 2)
    assert table.schema().field("n").type == wide
    assert evolution.rewritten == {"n": (str(before), str(wide))}
    first = datetime.datetime(1, 1, 1) if old is OLD else old
    kept = [] if mode is Mode.MERGE else [{"id": 2, "n": None}]
    assert content(table) == [{"id": 1, "n": first}, *kept, {"id": 2, "n": None}, {"id": 3, "n": new}]
    assert (commit.rows_added, commit.rows_removed) == ((2, 1) if mode is Mode.MERGE else (2, 0))
    assert commit.total_rows == len(content(table))


def test_old_versions_stay_as_they_were_and_the_position_is_kept(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1]), "n": pa.array([1], pa.int16())}, Mode.APPEND)
    before = table.versions(1)[0].version
    ids = {f.name: f.metadata[b"asgard.field_id"] for f in table.schema()}
    load(table, {"id": pa.array([2]), "n": pa.array([2**40]), "new": pa.array(["x"])}, Mode.APPEND)
    after = table.versions(1)[0].version
    assert after == before + 1, "columns, types, rows and position came in one commit"
    assert table.schema(before).field("n").type == pa.int16()
    assert content(table, at=before) == [{"id": 1, "n": 1}]
    assert content(table) == [{"id": 1, "n": 1}, {"id": 2, "n": 2**40}]
    assert {f.name: f.metadata[b"asgard.field_id"] for f in table.schema() if f.name in ids} == ids
    position = table.position("s")
    assert position is not None
    assert position.token == "after 1 rows of append"
    narrow = {"id": pa.array([3]), "n": pa.array([3], pa.int16()), "new": pa.array(["y"])}
    load(table, narrow, Mode.APPEND)
    assert content(table)[-1] == {"id": 3, "n": 3}


def test_a_key_becomes_wider_and_still_finds_its_rows(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1, 2], pa.int32()), "n": pa.array(["a", "b"])}, Mode.MERGE)
    load(table, {"id": pa.array([2, 2**40]), "n": pa.array(["B", "c"])}, Mode.MERGE)
    assert content(table) == [{"id": 1, "n": "a"}, {"id": 2, "n": "B"}, {"id": 2**40, "n": "c"}]


def test_without_the_word_for_it_nothing_becomes_wider(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1]), "n": pa.array([1], pa.int32())}, Mode.APPEND)
    with pytest.raises(SchemaChanged, match="n: the table has int32, int64 comes"):
        load(table, {"id": pa.array([2]), "n": pa.array([2])}, Mode.APPEND, widens=False)
    assert content(table) == [{"id": 1, "n": 1}]


def test_a_date_that_no_time_holds_stops_the_load(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    far = pa.array([2**31 - 1], pa.int32()).cast(pa.date32())
    load(table, {"id": pa.array([1]), "n": far}, Mode.APPEND)
    with pytest.raises(DataError):
        load(table, {"id": pa.array([2]), "n": pa.array([NEW])}, Mode.APPEND)
    assert table.schema().field("n").type == pa.date32()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.string()),
        (pa.int64(), pa.float64()),
        (pa.int64(), pa.float32()),
        (pa.date32(), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.decimal128(38, 0), pa.decimal128(2, 1)),
        (pa.list_(pa.int32()), pa.list_(pa.int64())),
        (pa.bool_(), pa.int8()),
    ],
    ids=str,
)
def test_what_has_no_common_type_is_not_made_one(one: pa.DataType, other: pa.DataType) -> None:
    assert common_type(one, other) is None
    assert common_type(other, one) is None


def test_undo_takes_the_wider_type_back_with_the_rows(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1]), "n": pa.array([1], pa.int32())}, Mode.APPEND)
    load(table, {"id": pa.array([2]), "n": pa.array([2**40])}, Mode.APPEND)
    table.undo()
    assert table.schema().field("n").type == pa.int32()
    assert content(table) == [{"id": 1, "n": 1}]
    load(table, {"id": pa.array([3]), "n": pa.array([2**41])}, Mode.APPEND)
    assert content(table) == [{"id": 1, "n": 1}, {"id": 3, "n": 2**41}]


def test_a_race_of_widening_and_another_stream_loses_neither(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1]), "n": pa.array([1], pa.int32())}, Mode.APPEND)
    wide = pa.record_batch({"id": pa.array([2]), "n": pa.array([2**40])})
    narrow = pa.record_batch({"id": pa.array([3]), "n": pa.array([3], pa.int32())})
    with table.load(LoadRequest("s", Mode.APPEND, wide.schema, widens=True)) as slower:
        prepared = slower.prepare([slower.stage([wide])])
        with table.load(LoadRequest("other", Mode.APPEND, narrow.schema)) as faster:
            faster.publish(faster.prepare([faster.stage([narrow])]), Position())
        slower.publish(prepared, Position(token="t"))
    assert content(table) == [{"id": 1, "n": 1}, {"id": 2, "n": 2**40}, {"id": 3, "n": 3}]


def test_who_staged_before_the_table_became_wider_begins_anew(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, {"id": pa.array([1]), "n": pa.array([1], pa.int32())}, Mode.APPEND)
    narrow = pa.record_batch({"id": pa.array([3]), "n": pa.array([3], pa.int32())})
    with table.load(LoadRequest("other", Mode.APPEND, narrow.schema)) as slower:
        prepared = slower.prepare([slower.stage([narrow])])
        load(table, {"id": pa.array([2]), "n": pa.array([2**40])}, Mode.APPEND)
        with pytest.raises(Conflict, match="columns changed during the load"):
            slower.publish(prepared, Position(token="t"))
    assert content(table) == [{"id": 1, "n": 1}, {"id": 2, "n": 2**40}]
