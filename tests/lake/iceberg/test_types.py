"""Every Arrow type through an Iceberg table and back, read by us and by pyiceberg; ids, bounds, metadata."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as t
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg import types as i
from pyiceberg.conversions import from_bytes
from pyiceberg.schema import assign_fresh_schema_ids

from asgard.core.stream import Mode
from asgard.core.table import History, LoadRequest
from asgard.core.types import canonical_schema
from asgard.lake.iceberg.schemas import from_iceberg, stored_schema, to_iceberg, with_ids
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.iceberg.table import IcebergTable
from asgard.testing.arrow import FLAT_TYPES, arrays, batches, schemas
from asgard.testing.content import content_hash
from tests.lake.ground import STREAM, content, load, rows
from tests.lake.iceberg.ground import as_any, iceberg_table, theirs

SLOW = settings(
    max_examples=12, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    return iceberg_table(tmp_path)


def one_of_each(data: st.DataObject) -> pa.RecordBatch:
    columns = {f"c{number}": data.draw(arrays(kind, 4)) for number, kind in enumerate(FLAT_TYPES)}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_values_of_every_flat_type_arrive_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    table = iceberg_table(tmp_path_factory.mktemp("types"))
    batch = one_of_each(data)
    load(as_any(table), Mode.APPEND, batch, "1")
    wanted = content_hash(batch)
    assert content_hash(table.scan()) == wanted
    assert content_hash(theirs(table).scan().to_arrow()) == wanted
    load(as_any(table), Mode.REPLACE, table.scan().read_all().to_batches(), "2")
    assert content_hash(table.scan()) == wanted


@SLOW
@given(data=st.data())
def test_nested_values_arrive_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    table = iceberg_table(tmp_path_factory.mktemp("nested"))
    batch = data.draw(batches(data.draw(schemas())))
    load(as_any(table), Mode.APPEND, batch, "1")
    assert content_hash(table.scan()) == content_hash(batch)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_new_tables_are_numbered_as_catalogs_do_it(schema: pa.Schema) -> None:
    numbered, last = with_ids(stored_schema(canonical_schema(schema)), None, 0)
    ours = to_iceberg(numbered, 0)
    assert assign_fresh_schema_ids(ours).fields == ours.fields
    assert ours.highest_field_id == last
    back = from_iceberg(ours, None)
    assert back.equals(
        stored_schema(canonical_schema(schema)).remove_metadata(), check_metadata=False
    ) or any(not field.nullable for field in schema)


def test_a_missing_list_of_structs_is_not_an_empty_one(table: IcebergTable) -> None:
    """pyiceberg writes and reads such lists as empty; our files hold null."""
    kind = pa.list_(pa.struct([("a", pa.int64())]))
    schema = pa.schema([("id", pa.int64()), ("l", kind), ("m", pa.map_(pa.string(), kind.value_type))])
    values = [{"id": 1}, {"id": 2, "l": [], "m": []}, {"id": 3, "l": [None, {"a": None}], "m": [("k", None)]}]
    batch = pa.RecordBatch.from_pylist(values, schema)
    load(as_any(table), Mode.APPEND, batch, "1")
    assert content_hash(table.scan()) == content_hash(batch)
    load(as_any(table), Mode.MERGE, batch.slice(2), "2", keys=("id",))
    assert content_hash(table.scan()) == content_hash(batch)


def test_what_pyiceberg_would_read_wrongly_is_refused_by_name(table: IcebergTable) -> None:
    kind = pa.list_(pa.struct([("a", pa.int64())]))
    schema = pa.schema([("id", pa.int64()), ("l", kind)])
    load(as_any(table), Mode.APPEND, pa.RecordBatch.from_pylist([{"id": 1}], schema), "1")
    with theirs(table).update_schema() as update:
        update.rename_column("id", "number")
    assert table.mount().reader is not None
    with pytest.raises(Exception, match="would arrive as an empty one: l"):
        table.scan().read_all()
    assert table.scan(["number"]).read_all().to_pylist() == [{"number": 1}]


def test_renamed_columns_are_read_by_their_ids(table: IcebergTable) -> None:
    load(as_any(table), Mode.APPEND, rows([(1, "a")]), "1")
    with theirs(table).update_schema() as update:
        update.rename_column("v", "w")
    with theirs(table).update_schema() as update:
        update.add_column("v", i.LongType())
    assert table.scan().read_all().to_pylist() == [{"id": 1, "w": "a", "v": None}]
    assert table.scan(["w"], "w = 'a'").read_all().to_pylist() == [{"w": "a"}]
    with pytest.raises(Exception, match="other names or types in its files"):
        load(as_any(table), Mode.APPEND, rows([(2, "b")]), "2", allow_missing=True)


def test_files_without_ids_are_read_by_name_mapping(table: IcebergTable, tmp_path: Path) -> None:
    """What `add_files` brings has no ids; the mapping that comes with it does not get in our way."""
    load(as_any(table), Mode.APPEND, rows([(1, "a")]), "1")
    strange = tmp_path / "strange.parquet"
    pq.write_table(pa.table({"id": pa.array([2], pa.int64()), "v": ["theirs"]}), strange)
    theirs(table).add_files([str(strange)])
    assert "schema.name-mapping.default" in theirs(table).metadata.properties
    load(as_any(table), Mode.APPEND, rows([(3, "c")]), "2")
    assert content(as_any(table)) == [(1, "a"), (2, "theirs"), (3, "c")]
    wider = pa.schema([("id", pa.int64()), ("v", pa.string()), ("n", pa.int64())])
    load(as_any(table), Mode.MERGE, pa.RecordBatch.from_pylist([{"id": 2, "n": 7}], wider), "3", keys=("id",))
    assert content(as_any(table)) == [(1, "a", None), (2, None, 7), (3, "c", None)]
    assert theirs(table).scan(row_filter="n = 7").to_arrow().to_pylist() == [{"id": 2, "v": None, "n": 7}]


def test_types_of_other_writers_are_read(table: IcebergTable) -> None:
    catalog = table.place.catalogue.opened(create=True)
    assert catalog is not None
    catalog.create_namespace(("bronze", "shop"))
    schema = pa.schema([("t", pa.time64("us")), ("b", pa.binary(4)), ("u", pa.uuid())])
    made = catalog.create_table(table.place.identifier, schema, str(table.place.folder))
    made.append(pa.Table.from_pylist([{"t": 12_000_000, "b": b"abcd", "u": bytes(range(16))}], schema=schema))
    (row,) = table.scan().read_all().to_pylist()
    assert row == {"t": "00:00:12", "b": b"abcd", "u": "00010203-0405-0607-0809-0a0b0c0d0e0f"}


def test_what_iceberg_has_no_place_for_is_kept(table: IcebergTable) -> None:
    inner = pa.struct([pa.field("x", pa.string(), metadata={"asgard.name": "X y"})])
    schema = pa.schema(
        [
            pa.field("order_id", pa.uuid(), metadata={"asgard.name": "Order ID"}),
            pa.field("at", pa.timestamp("us", "Europe/Berlin")),
            pa.field("s", inner),
        ]
    )
    load(as_any(table), Mode.APPEND, pa.RecordBatch.from_pylist([], schema), "1")
    found = table.schema()
    assert found.field("order_id").metadata[b"asgard.name"] == b"Order ID"
    assert found.field("order_id").metadata[b"asgard.type"] == b"uuid"
    assert found.field("at").metadata[b"asgard.timezone"] == b"Europe/Berlin"
    assert found.field("s").type.field(0).metadata[b"asgard.name"] == b"X y"


def test_ids_stay_and_are_never_given_twice(table: IcebergTable) -> None:
    def ids() -> dict[str, int]:
        return {field.name: field.field_id for field in theirs(table).schema().fields}

    def loaded(mode: Mode, **columns: pa.DataType) -> None:
        batch = pa.RecordBatch.from_pylist([{}], pa.schema(list(columns.items())))
        load(as_any(table), mode, batch, "x", allow_missing=True, widens=True)

    nested = pa.list_(pa.struct([("a", pa.int8())]))
    loaded(Mode.APPEND, id=pa.int32(), n=nested)
    assert ids() == {"id": 1, "n": 2}
    loaded(Mode.REPLACE, id=pa.int32())
    loaded(Mode.REPLACE, id=pa.int64(), n=nested)
    assert ids() == {"id": 1, "n": 5}  # int to long is Iceberg's own; another column of the same name
    loaded(Mode.APPEND, id=pa.decimal128(4, 2))
    assert ids() == {"id": 8, "n": 5}
    (field,) = (one for one in pq.read_schema(table.mount().files[0]) if one.name == "id")
    assert field.metadata[b"PARQUET:field_id"] == b"8"


def bounds(table: IcebergTable) -> Iterator[tuple[i.NestedField, Any, Any]]:
    snapshot = Snapshot.open(table.place)
    assert snapshot is not None
    (file,) = snapshot.entries
    for field in snapshot.iceberg_schema.fields:
        if field.field_id in file.lower_bounds:
            low, high = file.lower_bounds[field.field_id], file.upper_bounds.get(field.field_id)
            kind: Any = field.field_type
            yield field, from_bytes(kind, low), None if high is None else from_bytes(kind, high)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bounds_hold_every_value(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    table = iceberg_table(tmp_path_factory.mktemp("bounds"))
    load(as_any(table), Mode.APPEND, one_of_each(data), "1")
    read = table.scan().read_all()
    told = 0
    for field, low, high in bounds(table):
        column = read.column(field.name).combine_chunks().drop_null()
        if t.is_timestamp(column.type):
            column = column.cast(pa.int64())
        elif t.is_date(column.type):
            column = column.cast(pa.int32()).cast(pa.int64())
        values = column.to_pylist()
        assert all(low <= value for value in values), field
        assert high is None or all(value <= high for value in values), field
        told += 1
    assert told > 10


def test_bounds_of_long_texts_and_of_floats(table: IcebergTable) -> None:
    text = "\U0010ffff" * 3 + "\ud7ff" * 40
    schema = pa.schema([("k", pa.string()), ("f", pa.float64()), ("d", pa.decimal128(38, 2))])
    values = [
        {"k": text, "f": float("nan"), "d": Decimal("-999999999999999999999999999999999999.99")},
        {"k": "a" * 50, "f": 1.0, "d": Decimal("1.50")},
    ]
    load(as_any(table), Mode.MERGE, pa.RecordBatch.from_pylist(values, schema), "1", keys=("k",))
    found = {field.name: (low, high) for field, low, high in bounds(table)}
    assert found["k"][0] == "a" * 32
    assert text < found["k"][1]
    assert found["d"] == (values[0]["d"], values[1]["d"])
    assert "f" not in found  # NaN is in no order
    assert theirs(table).scan(row_filter="f = 1.0").to_arrow().num_rows == 1


def test_a_column_that_another_writer_widened(table: IcebergTable) -> None:
    narrow = pa.schema([("id", pa.int64()), ("n", pa.int32())])
    wide = narrow.set(1, pa.field("n", pa.int64()))
    load(as_any(table), Mode.APPEND, rows([(1, 1), (2, 2)], narrow), "1")  # type: ignore[list-item]
    with theirs(table).update_schema() as update:
        update.update_column("n", i.LongType())
    with pytest.raises(Exception, match="narrower types in some of its files"):
        table.load(LoadRequest(STREAM, Mode.HISTORY, wide, keys=("id",), history=History()))
    load(as_any(table), Mode.MERGE, rows([(2, 2**40), (3, 3)], wide), "2", keys=("id",))  # type: ignore[list-item]
    assert content(as_any(table)) == [(1, 1), (2, 2**40), (3, 3)]
    assert table.scan(where="n > 1").read_all().num_rows == 2
