"""Columns: new ones come, changed ones are carried or refused, ids stay with their column for ever."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.errors import DataError, SchemaChanged
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Evolution, LoadRequest
from asgard.lake.delta.table import LakeTable
from tests.lake.ground import STREAM, content, delta, folder_of, load, table_in, token


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_in(tmp_path)


def batch(schema: pa.Schema, **row: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row], schema)


def ids(schema: pa.Schema) -> dict[str, int]:
    return {field.name: int(field.metadata[b"asgard.field_id"]) for field in schema}


NARROW = pa.schema([("id", pa.int64()), ("n", pa.int32())])


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.timestamp("us"),
        pa.list_(pa.struct([("x", pa.int8())])),
        pa.map_(pa.string(), pa.timestamp("us")),
    ],
    ids=str,
)
def test_a_new_column_comes_and_old_rows_have_null(table: LakeTable, mode: Mode, type_: pa.DataType) -> None:
    load(table, mode, batch(NARROW, id=1, n=1), "1", keys=("id",))
    wider = pa.schema([("id", pa.int64()), ("new", type_), ("n", pa.int32())])
    with table.load(LoadRequest(STREAM, mode, wider, keys=("id",))) as one:
        assert one.evolution == Evolution(added=("new",))
        prepared = one.prepare([one.stage([batch(wider, id=2, n=2)])])
        assert prepared.mount().schema.names == ["id", "n", "new"]
        assert table.schema().names == ["id", "n"]  # not before the commit
        one.publish(prepared, Position("2"))
    assert content(table) == [(1, 1, None), (2, 2, None)]
    assert table.schema().field("new").type == type_
    load(table, mode, batch(wider, id=1, n=3), "3", keys=("id",), allow_missing=True)
    assert token(table) == "3"


def test_a_first_load_with_naive_timestamps_inside_of_a_map(table: LakeTable) -> None:
    """Delta's own writer makes a table of it that nobody can open."""
    schema = pa.schema([("m", pa.map_(pa.string(), pa.list_(pa.timestamp("us"))))])
    aside = batch(schema, m=[("bad", [])]).append_column("_asgard_reason", pa.array(["x"]))
    load(table, Mode.APPEND, batch(schema, m=[("a", [datetime(2026, 1, 2)])]), "1", aside=aside)
    load(table, Mode.APPEND, batch(schema, m=None), "2", aside=aside)
    assert content(table) == [(None,), ([("a", [datetime(2026, 1, 2)])],)]
    assert ids(table.schema()) == {"m": 1}
    set_aside = table.quarantined()
    assert set_aside is not None
    assert set_aside.rows == 2


def test_a_load_that_fails_leaves_the_columns(table: LakeTable) -> None:
    load(table, Mode.APPEND, batch(NARROW, id=1, n=1), "1")
    wider = NARROW.append(pa.field("new", pa.string()))
    with table.load(LoadRequest(STREAM, Mode.APPEND, wider)) as one:
        one.prepare([one.stage([batch(wider, id=2)])])
    assert table.schema().names == ["id", "n"]


def test_narrower_values_are_carried_and_told(table: LakeTable) -> None:
    load(table, Mode.APPEND, batch(NARROW, id=1, n=1), "1")
    narrower = pa.schema([("id", pa.int8()), ("n", pa.int32())])
    with table.load(LoadRequest(STREAM, Mode.APPEND, narrower)) as one:
        assert one.evolution.widened == {"id": ("int8", "int64")}
        one.publish(one.prepare([one.stage([batch(narrower, id=2, n=2)])]), Position("2"))
    assert content(table) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("schema", [pa.schema([("id", pa.string()), ("n", pa.int32())]), NARROW.remove(1)])
def test_what_does_not_fit_is_refused(table: LakeTable, schema: pa.Schema) -> None:
    load(table, Mode.APPEND, batch(NARROW, id=1, n=1), "1")
    with pytest.raises(SchemaChanged) as caught:
        table.load(LoadRequest(STREAM, Mode.APPEND, schema))
    assert caught.value.where["table"] == "bronze.shop.orders"


def test_columns_that_do_not_come_are_null_where_allowed(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.MERGE, batch(NARROW, id=1, n=1), "1", keys=("id",))
    load(table, Mode.MERGE, batch(NARROW.remove(1), id=2), "2", keys=("id",), allow_missing=True)
    load(table, Mode.MERGE, batch(NARROW.remove(1), id=1), "3", keys=("id",), allow_missing=True)
    assert content(table) == [(1, None), (2, None)]
    theirs = pa.RecordBatchReader.from_stream(delta(tmp_path).scan()).read_all()
    assert sorted(theirs.to_pydict()["id"]) == [1, 2]


def test_a_merge_over_files_from_before_the_key_column(table: LakeTable) -> None:
    load(table, Mode.APPEND, batch(NARROW, id=1, n=1), "1")
    wider = NARROW.append(pa.field("k", pa.string()))
    load(table, Mode.MERGE, batch(wider, id=2, n=2, k="x"), "2", keys=("k",))
    load(table, Mode.MERGE, batch(wider, id=3, n=3, k="x"), "3", keys=("k",))
    assert content(table) == [(1, 1, None), (3, 3, "x")]


def test_replace_takes_the_new_columns_whole(table: LakeTable) -> None:
    load(table, Mode.REPLACE, batch(NARROW, id=1, n=1), "1")
    other = pa.schema([("id", pa.int64()), ("n", pa.timestamp("us")), ("w", pa.string())])
    with table.load(LoadRequest(STREAM, Mode.REPLACE, other)) as one:
        assert one.evolution == Evolution(added=("n", "w"), missing=("n",))
        one.publish(one.prepare([one.stage([batch(other, id=2, w="x")])]), Position("2"))
    assert content(table) == [(2, None, "x")]


def test_field_ids_stay_and_are_never_given_twice(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.REPLACE, batch(NARROW, id=1, n=1), "1")
    assert ids(table.schema()) == {"id": 1, "n": 2}
    load(table, Mode.REPLACE, batch(NARROW.remove(1), id=1), "2")
    load(table, Mode.REPLACE, batch(NARROW, id=1, n=1), "3")
    assert ids(table.schema()) == {"id": 1, "n": 3}  # another column of the same name
    changed = pa.schema([("id", pa.string()), ("n", pa.int32())])
    load(table, Mode.REPLACE, batch(changed, id="x", n=1), "4")
    assert ids(table.schema()) == {"id": 4, "n": 3}
    nested = changed.append(pa.field("s", pa.struct([("a", pa.int8()), ("b", pa.int8())])))
    load(table, Mode.APPEND, batch(nested, id="x"), "5")
    inner = table.schema().field("s").type
    assert [int(field.metadata[b"asgard.field_id"]) for field in inner] == [6, 7]
    (newest,) = (path for path in table.mount().files if "s" in pq.read_schema(path).names)
    parquet = pq.ParquetFile(newest).schema_arrow
    assert {f.name: f.metadata[b"PARQUET:field_id"] for f in parquet} == {"id": b"4", "n": b"3", "s": b"5"}
    documents = [
        json.loads(path.read_text()) for path in (folder_of(tmp_path) / "_asgard" / "schemas").glob("*.json")
    ]
    assert {document["format"] for document in documents} == {1}
    assert max(document["last_field_id"] for document in documents) == 7


def test_names_and_types_of_the_source_stay_in_the_metadata(table: LakeTable, tmp_path: Path) -> None:
    schema = pa.schema(
        [pa.field("order_id", pa.string(), metadata={"asgard.name": "Order ID", "asgard.type": "uuid"})]
    )
    load(table, Mode.APPEND, batch(schema, order_id="x"), "1")
    metadata = table.schema().field("order_id").metadata
    assert (metadata[b"asgard.name"], metadata[b"asgard.type"]) == (b"Order ID", b"uuid")
    (document,) = (folder_of(tmp_path) / "_asgard" / "schemas").glob("*.json")
    assert json.loads(document.read_text())["fields"][0]["source_name"] == "Order ID"


def test_a_column_with_a_type_that_no_lake_carries(table: LakeTable) -> None:
    schema = pa.schema([("u", pa.dense_union([pa.field("a", pa.int8())]))])
    with pytest.raises(DataError, match="u"):
        table.load(LoadRequest(STREAM, Mode.APPEND, schema))


def test_a_table_without_columns_is_refused(table: LakeTable) -> None:
    with pytest.raises(DataError, match="no columns"):
        table.load(LoadRequest(STREAM, Mode.APPEND, pa.schema([])))
