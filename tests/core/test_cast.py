"""Batches into canonical types: every value is the same afterwards, or its column and value are named."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import DataError
from asgard.core.types import canonical_batch, canonical_schema
from asgard.testing.arrow import FLAT_TYPES, arrays, batches, schemas
from tests.core.plain_values import plain_values


def batch(array: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([array], ["c"])


def carried(array: pa.Array, kind: pa.DataType | None = None) -> pa.Array:
    given = batch(array)
    schema = canonical_schema(given.schema) if kind is None else pa.schema([("c", kind)])
    column = canonical_batch(given, schema).column("c")
    column.validate(full=True)
    assert column.type == schema.field("c").type
    return column


def addresses(array: pa.Array) -> list[int | None]:
    return [buffer and buffer.address for buffer in array.buffers()]


def raw(values: list[int], kind: pa.DataType) -> pa.Array:
    """Times and dates that only their bits can say."""
    return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


@given(st.data())
@settings(max_examples=60)
def test_every_value_of_every_type_stays(data: st.DataObject) -> None:
    schema = data.draw(schemas(max_columns=3))
    source = data.draw(batches(schema))
    result = canonical_batch(source, canonical_schema(schema))
    result.validate(full=True)
    for name in schema.names:
        assert plain_values(result.column(name)) == plain_values(source.column(name))


@pytest.mark.parametrize("kind", FLAT_TYPES, ids=str)
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.filter_too_much])  # few floats have 16 bits
def test_every_value_of_each_flat_type_stays(kind: pa.DataType, data: st.DataObject) -> None:
    array = data.draw(arrays(kind, 12))
    assert plain_values(carried(array)) == plain_values(array)


@given(st.data())
@settings(max_examples=60)
def test_a_value_that_cannot_stay_is_refused_never_bent(data: st.DataObject) -> None:
    schema = data.draw(schemas(max_columns=2, max_depth=1))
    source = data.draw(batches(schema, carriable=False))
    try:
        result = canonical_batch(source, canonical_schema(schema))
    except DataError as error:
        refused = error
    else:
        refused = None
        assert [plain_values(column) for column in result.columns] == [
            plain_values(c) for c in source.columns
        ]
    assert refused is None or refused.where["column"][:2] in ("c0", "c1")


@pytest.mark.parametrize(
    "kind", [*FLAT_TYPES, pa.list_view(pa.uuid()), pa.map_(pa.string(), pa.null())], ids=str
)
def test_nothing_and_nulls_alone(kind: pa.DataType) -> None:
    assert len(carried(pa.nulls(0, kind))) == 0
    assert carried(pa.nulls(3, kind)).to_pylist() == [None, None, None]


def test_columns_that_fit_are_not_copied_and_come_in_the_targets_order() -> None:
    number, text = pa.array([1, 2, 3]).slice(1), pa.array(["a", None, "c"]).slice(1)
    source = pa.record_batch([text, number], ["t", "n"])
    schema = pa.schema([("n", pa.int64()), ("missing", pa.list_(pa.date32())), ("t", pa.string())])
    result = canonical_batch(source, schema)
    assert result.schema == schema
    assert result.to_pydict() == {"n": [2, 3], "missing": [None, None], "t": [None, "c"]}
    for name, array in (("n", number), ("t", text)):
        assert addresses(result.column(name)) == addresses(array)


def test_a_batch_without_columns_keeps_its_rows() -> None:
    empty = pa.record_batch({"a": [1, 2]}).select([])
    assert canonical_batch(empty, pa.schema([])).num_rows == 2


def test_a_column_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="columns that their table does not have: b"):
        canonical_batch(pa.record_batch({"a": [1], "b": [2]}), pa.schema([("a", pa.int64())]))


TEXTS = [
    (pa.array([0, 1, 45_296_789], pa.time32("ms")), ["00:00:00", "00:00:00.001", "12:34:56.789"]),
    (pa.array([36_000], pa.time32("s")), ["10:00:00"]),
    (pa.array([1, 86_399_999_999_999], pa.time64("ns")), ["00:00:00.000000001", "23:59:59.999999999"]),
    (raw([86_400_000_000], pa.time64("us")), ["24:00:00"]),
    (pa.array([0, -1, 93_784_500, 10], pa.duration("ms")), ["PT0S", "-PT0.001S", "PT93784.5S", "PT0.01S"]),
    (pa.array([100, -(2**63)], pa.duration("s")), ["PT100S", "-PT9223372036854775808S"]),
    (pa.array([-(2**63)], pa.duration("ns")), ["-PT9223372036.854775808S"]),
    (
        pa.array([(14, 3, -4_500_000_000), (0, 0, 0), (-1, 0, 0), (0, -2, 1)], pa.month_day_nano_interval()),
        ["P14M3DT-4.5S", "PT0S", "P-1M", "P-2DT0.000000001S"],
    ),
    (
        pa.array([Decimal("1.10"), Decimal("0"), Decimal(-(10**37))], pa.decimal256(60, 20)),
        ["1.10000000000000000000", "0.00000000000000000000", f"-1{'0' * 37}.{'0' * 20}"],
    ),
    (pa.array([Decimal("12300")], pa.decimal256(60, -2)), ["12300"]),
    (
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([b"\x00" * 16, None, bytes(range(240, 256))], pa.binary(16))
        ),
        ["00000000-0000-0000-0000-000000000000", None, "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"],
    ),
]


@pytest.mark.parametrize(("array", "texts"), TEXTS, ids=lambda value: str(getattr(value, "type", "")))
def test_texts(array: pa.Array, texts: list[str | None]) -> None:
    assert carried(array).to_pylist() == texts
    assert carried(array.slice(len(array) - 1)).to_pylist() == texts[-1:]


FITTING = [
    (pa.array([2**60, -(2**63), None]), pa.float64(), [2.0**60, -(2.0**63), None]),
    (pa.array([2**24, 2**30], pa.int32()), pa.float32(), [2.0**24, 2.0**30]),
    (pa.array([127, -128]), pa.int8(), [127, -128]),
    (pa.array([5, -5], pa.int8()), pa.decimal128(3, 2), [Decimal("5.00"), Decimal("-5.00")]),
    (pa.array([2**64 - 1], pa.uint64()), pa.decimal128(22, 2), [Decimal(2**64 - 1)]),
    (pa.array([7], pa.uint64()), pa.int8(), [7]),
    (pa.array([Decimal("9.50")]), pa.decimal128(2, 1), [Decimal("9.5")]),
    (pa.array([Decimal("9.00")]), pa.int32(), [9]),
    (pa.array([[1], None, []]), pa.list_(pa.float64()), [[1.0], None, []]),
    (pa.array([{"b": 1}]), pa.struct([("a", pa.string()), ("b", pa.int8())]), [{"a": None, "b": 1}]),
    (
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
        pa.map_(pa.string(), pa.int64()),
        [[("k", 1)], None],
    ),
    (pa.array(["x", "y"]).dictionary_encode(), pa.string(), ["x", "y"]),
]


@pytest.mark.parametrize(
    ("array", "kind", "values"), FITTING, ids=lambda value: str(getattr(value, "type", ""))
)
def test_what_fits_exactly_is_carried(array: pa.Array, kind: pa.DataType, values: list[object]) -> None:
    assert carried(array, kind).to_pylist() == values


MISFITS = [
    (pa.array([1, 2**53 + 1, 2**53 + 3]), pa.float64(), "c", "9007199254740993"),
    (pa.array([2**63 - 1]), pa.float64(), "c", "9223372036854775807"),
    (pa.array([2**24 + 1], pa.int32()), pa.float32(), "c", "16777217"),
    (pa.array([0.5, 0.1]), pa.float32(), "c", None),
    (pa.array([1.0]), pa.int64(), "c", None),
    (pa.array([0.5]), pa.decimal128(4, 2), "c", None),
    (pa.array([Decimal("0.5")]), pa.float64(), "c", None),
    (pa.array([300, 128]), pa.int8(), "c", "300"),
    (pa.array([1, 1000], pa.int32()), pa.decimal128(4, 2), "c", "1000"),
    (pa.array([Decimal("1.00"), Decimal("1.25")]), pa.decimal128(4, 1), "c", "1.25"),
    (pa.array([Decimal("1.5")]), pa.int64(), "c", "1.5"),
    (
        pa.array([1_000, 1_500_000_001, 7], pa.timestamp("ns")),
        pa.timestamp("us"),
        "c",
        "1970-01-01 00:00:01.500000001",
    ),
    (pa.array([2**62], pa.timestamp("s")), pa.timestamp("us"), "c", "4611686018427387904"),
    (pa.array([0], pa.timestamp("us")), pa.timestamp("us", "UTC"), "c", None),
    (pa.array([0], pa.timestamp("us", "UTC")), pa.timestamp("us"), "c", None),
    (raw([0, 86_400_001], pa.date64()), pa.date32(), "c", "1970-01-02"),
    (raw([86_400_000 * 2**31], pa.date64()), pa.date32(), "c", None),
    (raw([5, -1], pa.time32("s")), pa.string(), "c", "-1"),
    (raw([86_400_000_000_001], pa.time64("ns")), pa.string(), "c", "86400000000001"),
    (pa.array([1]), pa.string(), "c", None),
    (pa.array([True]), pa.int8(), "c", None),
    (pa.array(["1"]), pa.int64(), "c", None),
    (pa.array([b"x"]), pa.string(), "c", None),
    (pa.array([1], pa.date32()), pa.timestamp("us"), "c", None),
    (pa.array([Decimal(1)], pa.decimal128(5, 0)), pa.string(), "c", None),
    (pa.array(["x" * 100]), pa.binary(), "c", None),
    (pa.array([[1], [2, 300]]), pa.list_(pa.int8()), "c[]", "300"),
    (pa.array([{"a": [1]}, {"a": [500]}]), pa.struct([("a", pa.list_(pa.int8()))]), "c.a[]", "500"),
    (
        pa.array([[("k", 1), ("l", 300)]], pa.map_(pa.string(), pa.int64())),
        pa.map_(pa.string(), pa.int8()),
        "c.value",
        "300",
    ),
    (pa.array([[(300, 1)]], pa.map_(pa.int64(), pa.int8())), pa.map_(pa.int8(), pa.int8()), "c.key", "300"),
    (pa.array([{"a": 1, "b": 2}]), pa.struct([("a", pa.int64())]), "c", None),
]


@pytest.mark.parametrize(
    ("array", "kind", "column", "value"), MISFITS, ids=lambda value: str(getattr(value, "type", ""))
)
def test_what_does_not_fit_is_refused_with_its_column_and_value(
    array: pa.Array, kind: pa.DataType, column: str, value: str | None
) -> None:
    with pytest.raises(DataError) as caught:
        carried(array, kind)
    assert caught.value.where == {"column": column}
    assert "columns: {c: text}" in caught.value.hint
    if value is not None:
        assert f" {value!r} cannot be carried as" in caught.value.what or f"{value}" in caught.value.what


@pytest.mark.parametrize("place", [0, 1, 499, 998, 999])
def test_the_first_value_that_does_not_fit_is_found_wherever_it_is(place: int) -> None:
    values = [0] * place + [1000 + place] + [5000] * (999 - place)
    with pytest.raises(DataError, match=f"'{1000 + place}'"):
        carried(pa.array([1, *values]).slice(1), pa.int8())


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(DataError) as caught:
        carried(
            pa.array([Decimal(10**70)], pa.decimal256(76, 0)).cast(pa.decimal256(76, 0)), pa.decimal128(10, 0)
        )
    assert "…" in caught.value.what
    assert len(caught.value.what) < 160


def test_a_value_below_a_null_is_not_looked_at() -> None:
    values = pa.array([1, 300, 2])
    mask = pa.array([False, True, False])
    nested = {
        "fixed": pa.FixedSizeListArray.from_arrays(values, 1, mask=mask),
        "list": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), values, mask=mask),
        "struct": pa.StructArray.from_arrays([values], ["a"], mask=mask),
        "map": pa.MapArray.from_arrays(pa.array([0, 1, 2, 3]), pa.array(["x", "y", "z"]), values, mask=mask),
    }
    kinds = {
        "fixed": pa.list_(pa.int8()),
        "list": pa.list_(pa.int8()),
        "struct": pa.struct([("a", pa.int8())]),
        "map": pa.map_(pa.string(), pa.int8()),
    }
    for name, array in nested.items():
        assert carried(array, kinds[name])[1].as_py() is None


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 63, 64, 65])
def test_slices_at_the_edges_of_the_validity_bits(rows: int) -> None:
    whole = pa.array([None if row % 3 == 0 else row for row in range(rows + 20)], pa.uint16())
    for start in (0, 1, 7, 8, 9):
        assert carried(whole.slice(start, rows)).to_pylist() == whole.slice(start, rows).to_pylist()


def test_a_null_where_none_may_be_is_refused() -> None:
    with pytest.raises(DataError, match="allows no nulls") as caught:
        canonical_batch(batch(pa.array([1, None])), pa.schema([pa.field("c", pa.int64(), nullable=False)]))
    assert caught.value.where == {"column": "c"}


def test_a_column_without_nulls_must_come() -> None:
    with pytest.raises(DataError, match="allows no nulls"):
        canonical_batch(
            pa.record_batch({"a": [1]}),
            pa.schema([("a", pa.int64()), pa.field("b", pa.int8(), nullable=False)]),
        )
