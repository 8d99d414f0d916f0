"""The same protocol where the catalog is a server: Iceberg's own, over REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from asgard.core.errors import Conflict, PositionLost
from asgard.core.position import Position
from asgard.core.secret import Secret
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.iceberg.catalog import RestAccess
from asgard.lake.iceberg.lake import IcebergLake
from asgard.lake.iceberg.table import IcebergTable
from tests.lake.ground import NAME, SCHEMA, STREAM, content, load, rows, token
from tests.lake.iceberg.ground import as_any, theirs
from tests.servers.iceberg_rest import CLIENT, SECRET, shared_iceberg_rest

A, B, C = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")], [(4, "c")]


@pytest.fixture
def access() -> RestAccess:
    return RestAccess(shared_iceberg_rest().catalog(), credential=Secret(f"{CLIENT}:{SECRET}"))


@pytest.fixture
def lake(tmp_path: Path, access: RestAccess) -> IcebergLake:
    return IcebergLake(tmp_path, access=access)


@pytest.fixture
def table(lake: IcebergLake) -> IcebergTable:
    return lake.table(NAME)


def test_every_mode_and_new_columns(lake: IcebergLake, table: IcebergTable) -> None:
    same = as_any(table)
    assert not table.exists()
    load(same, Mode.APPEND, rows(A), "1")
    load(same, Mode.MERGE, rows(B), "2", keys=("id",))
    assert content(same) == [(1, "a"), (2, "b"), (3, "b")]
    nested = pa.list_(pa.struct([("x", pa.map_(pa.string(), pa.int8()))]))
    wider = pa.schema([*SCHEMA, ("n", nested)])
    load(same, Mode.APPEND, pa.RecordBatch.from_pylist([{"id": 9, "n": [{"x": [("k", 1)]}]}], wider), "3")
    load(same, Mode.APPEND, rows([]), "4", allow_missing=True)
    assert (token(same), len(content(same))) == ("4", 4)
    first = pa.RecordBatch.from_pylist([{"id": 1, "n": None}], wider)
    load(same, Mode.REPLACE, first, "5")
    assert (token(same), content(same)) == ("5", [(1, None, None)])
    assert content(same, at=1) == A
    assert list(lake.tables()) == [NAME]
    assert {field.name: field.field_id for field in theirs(table).schema().fields} == {
        "id": 1,
        "v": 2,
        "n": 3,
    }


def test_who_was_slower_gives_way_or_prepares_again(
    tmp_path: Path, access: RestAccess, table: IcebergTable
) -> None:
    other = as_any(IcebergLake(tmp_path, access=access).table(NAME))
    load(as_any(table), Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        load(other, Mode.APPEND, rows(C), "o", stream="other")
        one.publish(prepared, Position("2"))
    assert content(other) == [(1, "a"), (2, "b"), (3, "b"), (4, "c")]
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        load(other, Mode.APPEND, rows([]), "3")
        with pytest.raises(Conflict, match="another load of the same stream"):
            one.publish(prepared, Position("3b"))
    assert (token(other), token(other, "other"), len(content(other))) == ("3", "o", 4)


def test_first_loads_at_the_same_time(tmp_path: Path, access: RestAccess) -> None:
    def one(number: int) -> None:
        table = as_any(IcebergLake(tmp_path, access=access).table(NAME))
        load(table, Mode.APPEND, rows([(number, "x")]), str(number), stream=f"s{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    table = as_any(IcebergLake(tmp_path, access=access).table(NAME))
    assert content(table) == [(number, "x") for number in range(4)]
    assert [token(table, f"s{number}") for number in range(4)] == ["0", "1", "2", "3"]


def test_a_rollback_is_seen_and_expiry_is_none(table: IcebergTable) -> None:
    same = as_any(table)
    for number in range(3):
        load(same, Mode.APPEND, rows([(number, "x")]), str(number))
    theirs(table).append(pa.table({"id": pa.array([99], pa.int64()), "v": ["theirs"]}))
    handle = theirs(table)
    first, *gone = [one.snapshot_id for one in handle.metadata.snapshots][:-1]
    handle.maintenance.expire_snapshots().by_ids(gone).commit()
    assert token(same) == "2"
    theirs(table).manage_snapshots().set_current_snapshot(snapshot_id=first).commit()
    with pytest.raises(PositionLost, match="took the table back"):
        table.position(STREAM)
