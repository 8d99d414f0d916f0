"""Content hashes: equal exactly where the values are, whatever the order, the batches and the encoding."""

from __future__ import annotations

import io
import random
import struct
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgard.core.errors import DataError
from asgard.core.types import canonical_batch, canonical_schema
from asgard.testing.arrow import arrays, batches, schemas, types
from asgard.testing.content import CHUNK_ROWS, CHUNK_WORDS, ContentHash, content_hash
from tests.core.plain_values import plain_values

ROWS = 1000
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS)),
        "text": pa.array([None if row % 7 == 0 else f"row {row % 10}" for row in range(ROWS)]),
        "price": pa.array([Decimal(row).scaleb(-2) for row in range(ROWS)], pa.decimal128(12, 2)),
        "tags": pa.array([[row % 3] * (row % 4) for row in range(ROWS)]),
    }
)


def of(*values: Any, kind: pa.DataType | None = None) -> str:
    return content_hash(pa.table({"c": pa.array(values, kind)}))["c"]


def frozen(value: Any, kind: pa.DataType) -> Any:
    """Something hashable that is equal where the values are; maps without order."""
    if value is None:
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return frozen(value, kind.storage_type)
    if pa.types.is_struct(kind):
        return tuple(frozen(value[field.name], field.type) for field in kind)
    if pa.types.is_map(kind):
        pairs = Counter((frozen(p["key"], kind.key_type), frozen(p["value"], kind.item_type)) for p in value)
        return frozenset(pairs.items())
    return tuple(frozen(item, kind.value_type) for item in value) if isinstance(value, list) else value


@given(st.data())
@settings(max_examples=50)
def test_hashes_are_equal_exactly_where_the_values_are(data: st.DataObject) -> None:
    kind = data.draw(types(max_depth=1))
    rows = data.draw(st.integers(0, 3))
    ours, theirs = data.draw(arrays(kind, rows)), data.draw(arrays(kind, rows))
    values = [Counter(frozen(value, kind) for value in plain_values(array)) for array in (ours, theirs)]
    hashes = [content_hash(pa.record_batch([array], ["c"])) for array in (ours, theirs)]
    assert (hashes[0] == hashes[1]) == (values[0] == values[1])


@given(st.data())
@settings(max_examples=50)
def test_a_source_and_what_the_lake_carries_of_it_are_equal(data: st.DataObject) -> None:
    schema = data.draw(schemas(max_columns=3))
    source = data.draw(batches(schema))
    canonical = canonical_batch(source, canonical_schema(schema))
    assert content_hash(source) == content_hash(canonical)
    halves = [canonical.slice(canonical.num_rows // 2), canonical.slice(0, canonical.num_rows // 2)]
    assert content_hash(halves) == content_hash(canonical)


@given(st.data())
@settings(max_examples=25)
def test_the_canonical_types_survive_parquet(data: st.DataObject) -> None:
    schema = data.draw(schemas(max_columns=3))
    canonical = canonical_batch(data.draw(batches(schema)), canonical_schema(schema))
    file = io.BytesIO()
    pq.write_table(pa.table(canonical), file, store_schema=False)
    assert content_hash(pq.read_table(file)) == content_hash(canonical)


@pytest.mark.parametrize("batch_rows", [1, 7, ROWS - 1, ROWS, ROWS + 1])
def test_neither_the_order_nor_the_batches_matter(batch_rows: int) -> None:
    places = list(range(ROWS))
    random.Random(batch_rows).shuffle(places)
    shuffled = TABLE.take(pa.array(places)).select(["tags", "id", "price", "text"])
    assert content_hash(shuffled.to_batches(max_chunksize=batch_rows)) == content_hash(TABLE)


@pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 1])
def test_the_edges_of_its_own_pieces_do_not_matter(rows: int) -> None:
    table = pa.table({"n": pa.arange(0, rows), "t": pa.arange(0, rows).cast(pa.string())})
    cut = [*table.slice(1).to_batches(), *table.slice(0, 1).to_batches()]
    assert content_hash(cut) == content_hash(table)


def replaced(column: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    place = TABLE.schema.get_field_index(column)
    field = TABLE.schema.field(place)
    return TABLE.set_column(place, field, pa.array(change(TABLE.column(column).to_pylist()), field.type))


@pytest.mark.parametrize("row", [0, 1, 500, ROWS - 1])
@pytest.mark.parametrize(
    ("column", "value"),
    [("id", -1), ("text", ""), ("text", "row"), ("price", Decimal("0.05")), ("tags", [1, 0])],
)
def test_one_other_value_shows_in_its_column_and_in_the_rows(row: int, column: str, value: Any) -> None:
    before = content_hash(TABLE)
    after = content_hash(replaced(column, lambda values: [*values[:row], value, *values[row + 1 :]]))
    assert {name for name in before if before[name] != after[name]} == {column, "*row"}


def test_values_that_changed_places_show_in_the_rows_alone() -> None:
    before, after = content_hash(TABLE), content_hash(replaced("id", lambda ids: [ids[1], ids[0], *ids[2:]]))
    assert {name for name in before if before[name] != after[name]} == {"*row"}


def test_a_value_of_one_column_in_another_shows() -> None:
    swapped = TABLE.rename_columns({"id": "text", "text": "id"}).select(TABLE.column_names)
    assert content_hash(swapped)["*row"] != content_hash(TABLE)["*row"]


def test_a_row_lost_for_another_that_comes_twice_shows() -> None:
    twice = pa.concat_tables([TABLE.slice(1), TABLE.slice(5, 1)])
    before, after = content_hash(TABLE), content_hash(twice)
    assert before["*rows"] == after["*rows"] == str(ROWS)
    assert all(before[name] != after[name] for name in ("id", "price", "*row"))


DIFFERENT: list[pa.Scalar] = [
    *(pa.scalar(None, pa.int64()), pa.scalar(0), pa.scalar(1), pa.scalar(-1), pa.scalar(2**63 - 1)),
    *(pa.scalar(0.0), pa.scalar(-0.0), pa.scalar(float("nan")), pa.scalar(float("inf")), pa.scalar(5e-324)),
    *(pa.scalar(True), pa.scalar(False), pa.scalar(""), pa.scalar("0"), pa.scalar(b""), pa.scalar(b"0")),
    *(
        pa.scalar("a"),
        pa.scalar("a\x00"),
        pa.scalar("ab"),
        pa.scalar("ba"),
        pa.scalar("é"),
        pa.scalar("e\u0301"),
    ),
    *(
        pa.scalar(Decimal("1.1")),
        pa.scalar(Decimal("1.10")),
        pa.scalar(Decimal(2**64)),
        pa.scalar(Decimal(2**64 + 1)),
    ),
    *(pa.scalar(Decimal(-(2**64))), pa.scalar(0, pa.date32()), pa.scalar(0, pa.timestamp("us"))),
    *(
        pa.scalar(0, pa.timestamp("us", "UTC")),
        pa.scalar([], pa.list_(pa.int8())),
        pa.scalar([None], pa.list_(pa.int8())),
    ),
    *(
        pa.scalar([0]),
        pa.scalar([0, 0]),
        pa.scalar([1, 2]),
        pa.scalar([2, 1]),
        pa.scalar([[1], [2]]),
        pa.scalar([[1, 2]]),
    ),
    *(
        pa.scalar([[1, 2], []]),
        pa.scalar({"a": 1}),
        pa.scalar({"b": 1}),
        pa.scalar({"a": None}, pa.struct([("a", pa.int8())])),
    ),
    *(
        pa.scalar({"a": 1, "b": 2}),
        pa.scalar({"a": 2, "b": 1}),
        pa.scalar([("k", 1)], pa.map_(pa.string(), pa.int8())),
    ),
    *(pa.scalar([("k", 2)], pa.map_(pa.string(), pa.int8())), pa.scalar([], pa.map_(pa.string(), pa.int8()))),
]


def test_values_that_look_alike_differ() -> None:
    hashes = [content_hash(pa.table({"c": pa.array([value], value.type)}))["c"] for value in DIFFERENT]
    assert len(set(hashes)) == len(DIFFERENT)


def test_the_same_value_is_equal_in_every_type_that_the_lake_carries_alike() -> None:
    integers = (pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal256(20, 0))
    assert len({of(7, None, kind=kind) for kind in integers}) == 1
    assert len({of(1.5, None, kind=kind) for kind in (pa.float16(), pa.float32(), pa.float64())}) == 1
    texts = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
    assert len({of("x", None, kind=kind) for kind in texts}) == 1
    lists = (pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.list_view(pa.int8()), pa.list_(pa.uint8(), 1))
    assert len({of([1], None, kind=kind) for kind in lists}) == 1
    assert of(Decimal("1.50"), kind=pa.decimal128(5, 2)) == of(Decimal("1.50"), kind=pa.decimal256(30, 2))


def test_every_nan_is_the_same_value() -> None:
    bits = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF]
    nans = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in bits]
    assert len({of(nan) for nan in nans} | {of(float("nan"), kind=pa.float32())}) == 1


def test_maps_have_no_order_structs_go_by_name() -> None:
    kind = pa.map_(pa.string(), pa.int8())
    assert of([("a", 1), ("b", 2)], kind=kind) == of([("b", 2), ("a", 1)], kind=kind)
    assert of([("a", 1), ("b", 2)], kind=kind) != of([("a", 2), ("b", 1)], kind=kind)
    assert of([("a", 1)], [("b", 2)], kind=kind) != of([("a", 1), ("b", 2)], [], kind=kind)
    assert of({"a": 1, "b": "x"}) == of({"b": "x", "a": 1})


@pytest.mark.parametrize("size", [CHUNK_WORDS - 1, CHUNK_WORDS, CHUNK_WORDS + 1, 2 * CHUNK_WORDS + 1])
def test_a_value_longer_than_a_piece_counts_whole(size: int) -> None:
    whole = random.Random(size).randbytes(size)
    beside = [b"short", None, b""]
    assert of(whole, *beside) == of(*beside, whole) == of(*beside[:2], whole, b"")
    for place in (0, size // 2, size - 1):
        other = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert of(other, *beside) != of(whole, *beside)
    assert of(whole[1:] + whole[:1]) != of(whole)
    assert of(list(whole), kind=pa.list_(pa.uint8())) != of(list(whole[::-1]), kind=pa.list_(pa.uint8()))


def test_a_null_that_hides_a_value_is_only_null() -> None:
    hidden = pa.array(["hidden", "x"])
    validity = pa.array([False, True]).buffers()[1]
    null = pa.Array.from_buffers(pa.string(), 2, [validity, *hidden.buffers()[1:]])
    assert content_hash(pa.table({"c": null}))["c"] == of(None, "x")


def test_a_wider_table_is_compared_in_its_own_types() -> None:
    source = pa.table({"n": pa.array([1, None], pa.int32()), "d": pa.array([Decimal("1.10"), None])})
    table = pa.table({"d": source["d"].cast(pa.decimal128(20, 4)), "n": source["n"].cast(pa.float64())})
    assert content_hash(source) != content_hash(table)
    assert content_hash(source, schema=table.schema) == content_hash(table)


def test_a_value_that_the_wider_table_cannot_hold_is_told() -> None:
    with pytest.raises(DataError, match="1000"):
        content_hash(pa.table({"n": [1000]}), schema=pa.schema([("n", pa.int8())]))


def test_asgards_own_columns_do_not_count_unless_asked_for() -> None:
    loaded = TABLE.append_column("extracted_at", pa.nulls(ROWS, pa.timestamp("us", "UTC")))
    loaded = loaded.append_column("_asgard_run_id", pa.array(["r"] * ROWS))
    assert content_hash(loaded) == content_hash(TABLE)
    assert set(content_hash(loaded, columns=["id", "extracted_at"])) == {
        "id",
        "extracted_at",
        "*row",
        "*rows",
    }


def test_no_rows() -> None:
    empty = TABLE.schema.empty_table()
    expected = {**dict.fromkeys([*TABLE.column_names, "*row"], "0" * 32), "*rows": "0"}
    assert content_hash(empty) == expected
    assert content_hash(empty.to_reader()) == expected
    assert content_hash(TABLE.to_batches()[0].slice(0, 0)) == expected


def test_rows_without_columns_are_counted() -> None:
    assert content_hash(TABLE.select([]).to_batches()[0])["*rows"] == str(ROWS)


def test_batches_are_added_one_by_one() -> None:
    total = ContentHash()
    for batch in reversed(TABLE.to_batches(max_chunksize=64)):
        total.add(batch)
    assert total.result() == content_hash(TABLE)
    assert total.rows == ROWS
