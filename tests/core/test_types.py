"""The canonical types: every Arrow type has one, or is refused by name; what fits a table, what is said."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgard.core.errors import DataError, SchemaChanged
from asgard.core.table import Evolution
from asgard.core.types import (
    canonical_batch,
    canonical_schema,
    canonical_type,
    fingerprint,
    metadata,
    reconcile,
    widened,
    with_metadata,
)
from asgard.testing.arrow import FLAT_TYPES, arrays, schemas

US, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
TEXT = pa.string()
CANONICAL = {
    pa.bool_(): pa.bool_(),
    **{kind: kind for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64())},
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.decimal32(9, 2): pa.decimal128(9, 2),
    pa.decimal64(18, 18): pa.decimal128(18, 18),
    pa.decimal128(38, 0): pa.decimal128(38, 0),
    pa.decimal128(38, 38): pa.decimal128(38, 38),
    pa.decimal128(10, 2): pa.decimal128(10, 2),
    pa.decimal128(5, -3): pa.decimal128(8, 0),
    pa.decimal128(2, 5): pa.decimal128(5, 5),
    pa.decimal256(38, 10): pa.decimal128(38, 10),
    pa.date32(): pa.date32(),
    pa.date64(): pa.date32(),
    pa.timestamp("s"): US,
    pa.timestamp("ms"): US,
    pa.timestamp("us"): US,
    pa.timestamp("ns"): US,
    pa.timestamp("s", "UTC"): UTC,
    pa.timestamp("us", "UTC"): UTC,
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.string_view(): TEXT,
    pa.binary(): pa.binary(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.binary(16): pa.binary(),
    pa.bool8(): pa.bool_(),
    pa.list_(pa.uint8()): pa.list_(pa.int16()),
    pa.large_list(pa.float16()): pa.list_(pa.float32()),
    pa.list_(pa.uint64(), 3): pa.list_(pa.decimal128(20, 0)),
    pa.list_view(pa.string_view()): pa.list_(TEXT),
    pa.large_list_view(pa.list_(pa.date64())): pa.list_(pa.list_(pa.date32())),
    pa.struct([("a", pa.uint8()), ("b", pa.list_(pa.uuid()))]): pa.struct(
        [("a", pa.int16()), ("b", pa.list_(TEXT))]
    ),
    pa.map_(pa.large_string(), pa.uint16()): pa.map_(TEXT, pa.int32()),
    pa.dictionary(pa.int8(), pa.large_string()): TEXT,
    pa.dictionary(pa.int8(), pa.uint32()): pa.int64(),
    pa.run_end_encoded(pa.int32(), pa.float16()): pa.float32(),
    pa.fixed_shape_tensor(pa.uint8(), [2, 2]): pa.list_(pa.int16()),
}
"""Types whose canonical type says it all."""
LABELLED = {
    pa.decimal256(76, 38): "decimal(76,38)",
    pa.decimal256(76, 0): "decimal(76,0)",
    pa.decimal128(38, -2): "decimal(38,-2)",
    pa.time32("s"): "time",
    pa.time32("ms"): "time",
    pa.time64("us"): "time",
    pa.time64("ns"): "time",
    pa.duration("s"): "duration",
    pa.duration("ns"): "duration",
    pa.month_day_nano_interval(): "interval",
    pa.uuid(): "uuid",
    pa.json_(): "json",
    pa.null(): "null",
    pa.opaque(pa.string(), "kind", "vendor"): "arrow.opaque",
}
"""Types that are carried as text, with the label that says what the text is."""
REFUSED = {
    pa.dense_union([pa.field("a", pa.int8())]): "dense_union<a: int8=0>",
    pa.list_(pa.sparse_union([pa.field("a", pa.int8())])): "sparse_union<a: int8=0>",
    pa.struct([]): "struct<>",
}


def one(kind: pa.DataType, **entries: str) -> pa.Schema:
    return pa.schema([pa.field("c", kind, metadata=entries or None)])


def text(label: str) -> pa.Schema:
    return pa.schema([with_metadata(pa.field("c", TEXT), {"asgard.type": label} if label else {})])


@pytest.mark.parametrize(("source", "canonical"), CANONICAL.items(), ids=str)
def test_a_type_that_needs_no_label(source: pa.DataType, canonical: pa.DataType) -> None:
    field = canonical_schema(one(source)).field("c")
    assert canonical_type(source) == field.type == canonical
    assert not set(metadata(field)) - ({"asgard.type"} if isinstance(source, pa.BaseExtensionType) else set())


@pytest.mark.parametrize(("source", "label"), LABELLED.items(), ids=str)
def test_a_type_that_is_carried_as_labelled_text(source: pa.DataType, label: str) -> None:
    field = canonical_schema(one(source)).field("c")
    assert canonical_type(source) == field.type == TEXT
    assert metadata(field) == {"asgard.type": label}


@pytest.mark.parametrize(("source", "shown"), REFUSED.items(), ids=str)
def test_a_type_that_the_lake_cannot_carry_is_refused_by_name(source: pa.DataType, shown: str) -> None:
    with pytest.raises(DataError) as caught:
        canonical_schema(pa.schema([("good", pa.int8()), ("bad: one", source), ("worse", source)]))
    assert caught.value.what.count(shown) == 2
    assert caught.value.where == {"column": "bad: one, worse"}
    assert "columns: {bad: one: text}" in caught.value.hint


def test_the_tables_here_and_the_strategies_know_the_same_types() -> None:
    known = {str(kind) for kind in (*CANONICAL, *LABELLED)}
    zoned = {
        str(kind)
        for kind in FLAT_TYPES
        if str(kind).startswith(("timestamp", "duration", "fixed_size_binary"))
    }
    assert {str(kind) for kind in FLAT_TYPES} - zoned <= known


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_zone_becomes_an_instant_that_remembers_it(unit: str) -> None:
    field = canonical_schema(one(pa.timestamp(unit, "Europe/Berlin"))).field("c")
    assert field.type == UTC
    assert metadata(field) == {"asgard.timezone": "Europe/Berlin"}


def test_labels_are_kept_below_lists_structs_and_maps() -> None:
    nested = pa.list_(pa.struct([pa.field("t", pa.time32("s")), pa.field("m", pa.map_(TEXT, pa.uuid()))]))
    below = canonical_type(nested).value_type
    assert metadata(below.field("t")) == {"asgard.type": "time"}
    assert metadata(below.field("m").type.item_field) == {"asgard.type": "uuid"}


def test_below_the_columns_every_field_may_be_null() -> None:
    number, key = pa.field("n", pa.int8(), nullable=False), pa.field("key", TEXT, nullable=False)
    strict = pa.struct([number, pa.field("l", pa.list_(number)), pa.field("m", pa.map_(key, number))])
    loose = pa.struct([("n", pa.int8()), ("l", pa.list_(pa.int8())), ("m", pa.map_(TEXT, pa.int8()))])
    assert canonical_type(strict) == loose
    assert canonical_type(pa.large_list(strict)) == pa.list_(loose)


def test_what_the_source_says_of_a_column_stays_and_its_encoding_goes() -> None:
    told = {"asgard.type": "timetz", "description": "opening hours", "PARQUET:field_id": "7"}
    foreign = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": "{}"}
    schema = pa.schema(
        [
            pa.field("a", pa.time64("us"), nullable=False, metadata=told),
            pa.field("g", pa.large_binary(), metadata=foreign),
        ],
        metadata={"made by": "hand"},
    )
    canonical = canonical_schema(schema)
    assert metadata(canonical.field("a")) == {"asgard.type": "timetz", "description": "opening hours"}
    assert [field.nullable for field in canonical] == [False, True]
    assert metadata(canonical.field("g")) == {"asgard.type": "geoarrow.wkb"}
    assert canonical.metadata == {b"made by": b"hand"}


def test_a_name_that_comes_twice_is_refused() -> None:
    twice = pa.schema([("a", pa.int8()), ("b", pa.int8()), ("a", TEXT)])
    with pytest.raises(DataError, match="'a' comes twice"):
        canonical_schema(twice)
    with pytest.raises(DataError, match="'a' comes twice"):
        canonical_type(pa.struct(list(twice)))


@given(schemas())
@settings(max_examples=60)
def test_a_canonical_schema_is_its_own(schema: pa.Schema) -> None:
    canonical = canonical_schema(schema)
    assert canonical_schema(canonical).equals(canonical, check_metadata=True)
    assert reconcile(canonical, schema) == Evolution()
    assert canonical.names == schema.names


WIDER = [
    (pa.int64(), pa.int32()),
    (pa.int16(), pa.int8()),
    (pa.float64(), pa.float32()),
    (pa.float64(), pa.int32()),
    (pa.float32(), pa.int16()),
    (pa.decimal128(20, 0), pa.int64()),
    (pa.decimal128(20, 0), pa.int32()),
    (pa.decimal128(12, 2), pa.int32()),
    (pa.decimal128(12, 2), pa.decimal128(10, 2)),
    (pa.decimal128(12, 4), pa.decimal128(10, 2)),
    (pa.int32(), pa.decimal128(9, 0)),
    (pa.int64(), pa.decimal128(18, 0)),
    (pa.list_(pa.int64()), pa.list_(pa.int8())),
    (pa.map_(TEXT, pa.float64()), pa.map_(TEXT, pa.float32())),
    (pa.struct([("b", TEXT), ("a", pa.int64())]), pa.struct([("a", pa.int16())])),
]
NOT_WIDER = [
    (pa.int32(), pa.int64()),
    (pa.float32(), pa.float64()),
    (pa.float64(), pa.int64()),
    (pa.float32(), pa.int32()),
    (pa.float64(), pa.decimal128(4, 2)),
    (pa.decimal128(18, 0), pa.int64()),
    (pa.decimal128(11, 2), pa.int32()),
    (pa.decimal128(12, 2), pa.decimal128(12, 3)),
    (pa.decimal128(12, 4), pa.decimal128(12, 2)),
    (pa.decimal128(20, 2), pa.float32()),
    (pa.int32(), pa.decimal128(10, 0)),
    (pa.int64(), pa.decimal128(18, 1)),
    (pa.int64(), pa.bool_()),
    (pa.bool_(), pa.int8()),
    (TEXT, pa.int8()),
    (TEXT, pa.date32()),
    (TEXT, pa.binary()),
    (pa.binary(), TEXT),
    (US, pa.date32()),
    (US, UTC),
    (UTC, US),
    (pa.date32(), US),
    (pa.int64(), US),
    (pa.list_(pa.int8()), pa.list_(pa.int64())),
    (pa.list_(pa.int8()), pa.int8()),
    (TEXT, pa.list_(TEXT)),
    (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int8()), ("b", pa.int8())])),
    (pa.struct([("a", pa.int8())]), pa.map_(TEXT, pa.int8())),
    (pa.map_(TEXT, pa.int8()), pa.map_(TEXT, pa.int16())),
]


@pytest.mark.parametrize(("table", "incoming"), WIDER, ids=str)
def test_a_wider_type_carries_every_value(table: pa.DataType, incoming: pa.DataType) -> None:
    assert widened(table, incoming)
    assert reconcile(one(table), one(incoming)).widened == {"c": (str(incoming), str(table))}


@pytest.mark.parametrize(("table", "incoming"), NOT_WIDER, ids=str)
def test_another_type_does_not(table: pa.DataType, incoming: pa.DataType) -> None:
    assert not widened(table, incoming)
    with pytest.raises(SchemaChanged) as caught:
        reconcile(one(table), one(incoming))
    assert f"c: the table has {table}, {incoming} comes" in caught.value.what


@given(st.data(), st.sampled_from(WIDER))
@settings(max_examples=60)
def test_a_widened_value_stays_the_same(data: st.DataObject, pair: tuple[pa.DataType, pa.DataType]) -> None:
    table, incoming = pair
    array = data.draw(arrays(incoming, 8))
    carried = canonical_batch(pa.record_batch({"c": array}), one(table)).column("c")
    carried.validate(full=True)
    assert comparable(carried) == comparable(array)


def comparable(array: pa.Array) -> list[object]:
    """Numbers of all kinds as numbers, NaN as text, of structs the field that both have."""
    kind = array.type
    if pa.types.is_struct(kind):
        return [None if row is None else row["a"] for row in array.to_pylist()]
    if pa.types.is_map(kind):  # NaN is not equal to itself, its text is
        return [repr(row) for row in array.to_pylist()]
    if pa.types.is_list(kind):
        return array.to_pylist()
    return [value if value is None or not math.isnan(value) else "nan" for value in array.to_pylist()]


LABELS = [
    ("time", "time", True),
    ("json", "", False),
    ("", "json", False),
    ("time", "interval", False),
    ("decimal(50,2)", "decimal(60,10)", True),
    ("varchar(10)", "varchar(20)", True),
    ("varchar", "", True),
    ("mood", "text", True),
    ("null", "json", True),
    ("null", "", True),
    ("json", "null", True),
    ("", "null", True),
]


@pytest.mark.parametrize(("table", "incoming", "fits"), LABELS)
def test_text_of_one_meaning_does_not_go_beside_text_of_another(
    table: str, incoming: str, fits: bool
) -> None:
    if fits:
        assert not reconcile(text(table), text(incoming))
        return
    with pytest.raises(SchemaChanged, match="does not fit the table"):
        reconcile(text(table), text(incoming))


def test_a_column_whose_type_the_source_does_not_know_fits_every_column() -> None:
    evolution = reconcile(one(pa.int64()), one(pa.null()))
    assert evolution.widened == {"c": ("string", "int64")}
    assert canonical_batch(pa.record_batch({"c": pa.nulls(2)}), one(pa.int64())).to_pydict() == {
        "c": [None, None]
    }
    as_text = canonical_batch(pa.record_batch({"c": pa.nulls(2, TEXT)}), one(pa.int64()))
    assert as_text.to_pydict() == {"c": [None, None]}


def test_nulls_that_only_the_table_allows_are_no_difference() -> None:
    strict = pa.struct([pa.field("a", pa.list_(pa.field("item", pa.int8(), nullable=False)), nullable=False)])
    loose = pa.struct([("a", pa.list_(pa.int8()))])
    assert not reconcile(one(loose), one(strict))
    assert not reconcile(one(strict), one(loose))


def test_every_difference_is_told_at_once() -> None:
    table = pa.schema([("id", pa.int32()), ("price", pa.decimal128(10, 2)), ("Note", TEXT), ("gone", TEXT)])
    incoming = pa.schema(
        [("id", pa.int64()), ("price", TEXT), ("Note", TEXT), ("note", TEXT), ("new", pa.int8())]
    )
    with pytest.raises(SchemaChanged) as caught:
        reconcile(table, incoming)
    assert caught.value.where == {"column": "note, gone, id, price"}
    assert caught.value.what == (
        "4 columns do not fit the table: note: differs only by case from the table's column Note; "
        "gone: the table has string, it does not come any more; id: the table has int32, int64 comes; "
        "price: the table has decimal128(10, 2), string comes"
    )
    assert "asgard resync" in caught.value.hint


def test_columns_may_come_and_where_allowed_go() -> None:
    table = pa.schema(
        [
            ("id", pa.int64()),
            ("old", TEXT),
            ("extracted_at", UTC),
            pa.field("_asgard_run_id", TEXT, nullable=False),
        ]
    )
    incoming = pa.schema([("id", pa.int32()), ("new", pa.uint8())])
    evolution = reconcile(table, incoming, allow_missing=True)
    assert evolution == Evolution(added=("new",), widened={"id": ("int32", "int64")}, missing=("old",))
    with pytest.raises(SchemaChanged, match="old"):
        reconcile(table, incoming)


def test_a_column_without_nulls_cannot_go() -> None:
    table = pa.schema([pa.field("a", pa.int8(), nullable=False), ("b", pa.int8())])
    with pytest.raises(SchemaChanged, match="a: it does not come any more, and the table allows no nulls"):
        reconcile(table, pa.schema([("b", pa.int8())]), allow_missing=True)


def test_a_fingerprint_tells_names_order_types_nulls_and_labels_apart() -> None:
    item = pa.field("item", pa.int8())
    different = [
        pa.schema([("a", pa.int8()), ("b", pa.int8())]),
        pa.schema([("b", pa.int8()), ("a", pa.int8())]),
        pa.schema([("a", pa.int8()), ("b", pa.int16())]),
        pa.schema([("a", pa.int8()), pa.field("b", pa.int8(), nullable=False)]),
        pa.schema([("a", pa.int8()), pa.field("b", pa.int8(), metadata={"asgard.type": "x"})]),
        pa.schema([("a", pa.list_(item))]),
        pa.schema([("a", pa.list_(item, 2))]),
        pa.schema([("a", pa.list_(pa.field("item", pa.int8(), nullable=False)))]),
        pa.schema([("a", pa.list_(with_metadata(item, {"asgard.type": "x"})))]),
        pa.schema([("a", pa.struct([item]))]),
        pa.schema([("a", pa.map_(pa.int8(), pa.int8()))]),
        pa.schema([]),
    ]
    prints = [fingerprint(schema) for schema in different]
    assert len(set(prints)) == len(different)
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in prints)


def test_a_fingerprint_does_not_depend_on_other_metadata_nor_on_a_lists_own_field_name() -> None:
    element = pa.schema([("a", pa.list_(pa.field("element", pa.int8())))])
    described = pa.schema(
        [pa.field("a", pa.list_(pa.int8()), metadata={"description": "x"})], metadata={"k": "v"}
    )
    assert fingerprint(element) == fingerprint(described)


def test_a_fingerprint_is_the_same_in_every_version() -> None:
    schema = pa.schema([("id", pa.int64()), ("tags", pa.list_(TEXT)), ("at", UTC)])
    assert fingerprint(schema) == "a2293f46e0c2dc27"
