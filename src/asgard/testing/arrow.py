"""Hypothesis strategies over every Arrow type: types, schemas, arrays and batches with extremes and oddities.

The arrays are what a careful reader must expect: slices with an offset, nulls with values below them, views
in no order, dictionaries with unused and repeated values, lists of nothing. By default each value is one that
the lake carries (`asgard.core.types`); with `carriable=False` also those that it must refuse.

hypothesis is imported where it is used: `pip install 'asgard-platform[testing]'` brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.cast import is_binarylike, is_listlike, is_textlike

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

UNITS = ("s", "ms", "us", "ns")
ZONES = (None, "UTC", "Europe/Berlin", "+05:30")
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY_SECONDS = 86_400
MAX_LIST_ROWS = 3

FLAT_TYPES: tuple[pa.DataType, ...] = (
    *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal32(9, 2), pa.decimal64(18, 18), pa.decimal128(38, 0), pa.decimal128(38, 38)),
    *(pa.decimal128(10, 2), pa.decimal128(5, -3), pa.decimal256(38, 10), pa.decimal256(76, 38)),
    *(pa.decimal128(38, -2), pa.decimal256(76, 0), pa.date32(), pa.date64()),
    *(pa.timestamp(unit, zone) for unit in UNITS for zone in ZONES),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.duration(unit) for unit in UNITS),
    pa.month_day_nano_interval(),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
    *(
        pa.binary(16),
        pa.binary(0),
        pa.uuid(),
        pa.json_(),
        pa.bool8(),
        pa.opaque(pa.string(), "kind", "vendor"),
    ),
)
"""Each flat type that the lake carries, with parameters at their ends."""

TEXTS = (
    "",
    " ",
    "a",
    "é",
    "é",
    "ß",
    "İ",
    "\u202e",
    "𝒳",
    "\x00",
    "\x7f",
    "\ufeff",
    "null",
    "NULL",
    "NaN",
    "\\N",
    '"',
    "'",
)
"""Texts that some system takes for something else."""


def types(max_depth: int = 2) -> SearchStrategy[pa.DataType]:
    """Every type that the lake carries, flat and nested so deep."""
    from hypothesis import strategies as st

    flat = st.sampled_from(FLAT_TYPES)
    return flat if max_depth <= 0 else st.one_of(flat, _nested_types(types(max_depth - 1)))


def schemas(max_columns: int = 6, max_depth: int = 2) -> SearchStrategy[pa.Schema]:
    """Schemas of such types with plain names c0, c1, ...; some columns allow no nulls."""
    from hypothesis import strategies as st

    def named(columns: list[tuple[pa.DataType, bool]]) -> pa.Schema:
        return pa.schema([_field(f"c{place}", *column) for place, column in enumerate(columns)])

    return st.lists(st.tuples(types(max_depth), st.booleans()), min_size=1, max_size=max_columns).map(named)


def batches(
    schema: pa.Schema, min_rows: int = 0, max_rows: int = 12, carriable: bool = True
) -> SearchStrategy[pa.RecordBatch]:
    """Batches of a schema.

    Args:
        schema: of types as `types` gives them.
        min_rows, max_rows: how many rows.
        carriable: False also gives values beyond the canonical types: nanoseconds, times outside of the day,
            dates with a time.
    """
    from hypothesis import strategies as st

    @st.composite
    def batch(draw: DrawFn) -> pa.RecordBatch:
        rows = draw(st.integers(min_rows, max_rows))
        columns = [draw(arrays(field.type, rows, field.nullable, carriable)) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return batch()


def arrays(
    type: pa.DataType, rows: int, nullable: bool = True, carriable: bool = True
) -> SearchStrategy[pa.Array]:
    """Arrays of a type with so many rows, at times cut from a longer one."""
    from hypothesis import strategies as st

    @st.composite
    def array(draw: DrawFn) -> pa.Array:
        before, after = draw(st.sampled_from([(0, 0), (1, 0), (0, 2), (9, 1)]))
        size = before + rows + after
        nulls = draw(st.lists(st.booleans(), min_size=size, max_size=size)) if nullable else [False] * size
        return _Maker(draw, size, nulls, nullable, carriable).array(type).slice(before, rows)

    return array()


def _field(name: str, type: pa.DataType, nullable: bool = True) -> pa.Field:
    return pa.field(name, type, nullable or t.is_null(type))


def _nested_types(inner: SearchStrategy[pa.DataType]) -> SearchStrategy[pa.DataType]:
    from hypothesis import strategies as st

    keys = st.sampled_from([pa.string(), pa.large_string(), pa.int32(), pa.uint64()])
    values = st.sampled_from([pa.string(), pa.int64(), pa.binary(), pa.timestamp("us")])
    names = st.lists(st.sampled_from(["a", "b", "C", "ü"]), min_size=1, max_size=3, unique=True)
    structs = names.flatmap(
        lambda chosen: st.tuples(*(st.tuples(inner, st.booleans()) for _ in chosen)).map(
            lambda parts: pa.struct([_field(name, *part) for name, part in zip(chosen, parts, strict=True)])
        )
    )
    return st.one_of(
        structs,
        st.builds(pa.list_, inner),
        st.builds(pa.large_list, inner),
        st.builds(pa.list_view, inner),
        st.builds(pa.large_list_view, inner),
        st.builds(pa.list_, inner, st.integers(0, 2)),
        st.builds(pa.map_, keys, inner),
        st.builds(pa.dictionary, st.sampled_from([pa.int8(), pa.uint16(), pa.int64()]), values),
        st.builds(pa.run_end_encoded, st.sampled_from([pa.int16(), pa.int32(), pa.int64()]), values),
    )


class _Maker:
    """Makes one array of so many rows, null where `nulls` says so."""

    def __init__(self, draw: DrawFn, rows: int, nulls: list[bool], nullable: bool, carriable: bool) -> None:
        self.draw = draw
        self.rows = rows
        self.nulls = nulls
        self.nullable = nullable
        self.carriable = carriable

    def array(self, type: pa.DataType) -> pa.Array:
        if isinstance(type, pa.BaseExtensionType):
            storage = self._json() if type == pa.json_() else self.array(type.storage_type)
            return pa.ExtensionArray.from_storage(type, storage)
        if t.is_dictionary(type):
            return self._dictionary(type)
        if t.is_run_end_encoded(type):
            return self._runs(type)
        if t.is_map(type):
            return self._map(type)
        if t.is_struct(type):
            fields = list(type)
            children = [self._below(field, self.rows) for field in fields]
            return pa.StructArray.from_arrays(children, fields=fields, mask=pa.array(self.nulls, pa.bool_()))
        if is_listlike(type):
            return self._list(type)
        return self._flat(type)

    def _below(self, field: pa.Field, rows: int) -> pa.Array:
        return self.draw(arrays(field.type, rows, field.nullable, self.carriable))

    def _flat(self, type: pa.DataType) -> pa.Array:
        if t.is_null(type):
            return pa.nulls(self.rows)
        values = self._drawn(_values(type, self.carriable))
        validity = pa.array([not null for null in self.nulls], pa.bool_()).buffers()[1]
        if t.is_decimal(type):  # of the digits: Python's Decimal cannot say all of them
            width = type.bit_width // 8
            digits = b"".join(value.to_bytes(width, "little", signed=True) for value in values)
            return pa.Array.from_buffers(type, self.rows, [validity, pa.py_buffer(digits)])
        return pa.Array.from_buffers(type, self.rows, [validity, *pa.array(values, type).buffers()[1:]])

    def _drawn(self, values: SearchStrategy[Any]) -> list[Any]:
        from hypothesis import strategies as st

        return self.draw(st.lists(values, min_size=self.rows, max_size=self.rows))

    def _json(self) -> pa.Array:
        from hypothesis import strategies as st

        texts = (
            "{}",
            "[1, 2]",
            '{"b": 1, "a": [null]}',
            "null",
            '"é"',
            "1.10",
            "123456789012345678901234567890",
        )
        values = self._drawn(st.sampled_from(texts))
        shown = [None if null else value for null, value in zip(self.nulls, values, strict=True)]
        return pa.array(shown, pa.string())

    def _dictionary(self, type: pa.DataType) -> pa.Array:
        from hypothesis import strategies as st

        values = self.draw(arrays(type.value_type, 4, self.nullable, self.carriable))
        places = self._drawn(st.integers(0, 3))
        shown = [None if null else place for null, place in zip(self.nulls, places, strict=True)]
        return pa.DictionaryArray.from_arrays(pa.array(shown, type.index_type), values)

    def _runs(self, type: pa.DataType) -> pa.Array:
        ends = [end for end in range(1, self.rows + 1) if end % 2 == 0 or end == self.rows]
        values = self.draw(arrays(type.value_type, len(ends), self.nullable, self.carriable))
        return pa.RunEndEncodedArray.from_arrays(pa.array(ends, type.run_end_type), values, type)

    def _list(self, type: pa.DataType) -> pa.Array:
        from hypothesis import strategies as st

        mask = pa.array(self.nulls, pa.bool_())
        if t.is_fixed_size_list(type):
            values = self._below(type.value_field, self.rows * type.list_size)
            if not type.list_size:  # from_arrays cannot tell how many empty lists there are
                validity = pc.invert(mask).buffers()[1]
                return pa.Array.from_buffers(type, self.rows, [validity], children=[values])
            return pa.FixedSizeListArray.from_arrays(values, type=type, mask=mask)
        sizes = self._drawn(st.integers(0, MAX_LIST_ROWS))
        values = self._below(type.value_field, sum(sizes))
        starts = [sum(sizes[:row]) for row in range(self.rows + 1)]
        offset_type = pa.int64() if t.is_large_list(type) or t.is_large_list_view(type) else pa.int32()
        if t.is_list_view(type) or t.is_large_list_view(type):
            order = self.draw(st.permutations(range(self.rows)))
            makes = pa.LargeListViewArray if t.is_large_list_view(type) else pa.ListViewArray
            offsets = pa.array([starts[row] for row in order], offset_type)
            lengths = pa.array([sizes[row] for row in order], offset_type)
            return makes.from_arrays(offsets, lengths, values, type=type, mask=mask)
        made = pa.LargeListArray if t.is_large_list(type) else pa.ListArray
        return made.from_arrays(pa.array(starts, offset_type), values, type=type, mask=mask)

    def _map(self, type: pa.DataType) -> pa.Array:
        from hypothesis import strategies as st

        key = _values(type.key_type, self.carriable)
        keys = self._drawn(st.lists(key, max_size=MAX_LIST_ROWS, unique=True))
        starts = [sum(map(len, keys[:row])) for row in range(self.rows + 1)]
        flat = pa.array([one for some in keys for one in some], type.key_type)
        values = self._below(type.item_field, len(flat))
        mask = pa.array(self.nulls, pa.bool_())
        return pa.MapArray.from_arrays(pa.array(starts, pa.int32()), flat, values, type=type, mask=mask)


def _values(type: pa.DataType, carriable: bool) -> SearchStrategy[Any]:
    """Values of a flat type in the form that `pa.array` takes without bending them; digits of decimals."""
    from hypothesis import strategies as st

    if t.is_boolean(type):
        return st.booleans()
    if t.is_integer(type):
        low = -(2 ** (type.bit_width - 1)) if t.is_signed_integer(type) else 0
        return _integers(low, low + 2**type.bit_width - 1)
    if t.is_floating(type):
        return st.floats(width=type.bit_width) | st.sampled_from([-0.0, float("nan"), float("inf")])
    if t.is_decimal(type):
        bound = 10**type.precision - 1
        return _integers(-bound, bound)
    if is_textlike(type):
        return st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8"), max_size=20)
    if t.is_fixed_size_binary(type):
        return st.binary(min_size=type.byte_width, max_size=type.byte_width)
    if is_binarylike(type):
        return st.binary(max_size=20)
    if type == pa.month_day_nano_interval():
        return st.tuples(_integers(-(2**31), 2**31 - 1), _integers(-(2**31), 2**31 - 1), _int64())
    return _temporal_values(type, carriable)


def _temporal_values(type: pa.DataType, carriable: bool) -> SearchStrategy[int]:
    if t.is_date32(type):
        return _integers(-(2**31), 2**31 - 1)
    if t.is_date64(type):
        day = DAY_SECONDS * TICKS["ms"]
        return _integers(-(2**31), 2**31 - 1).map(lambda days: days * day) if carriable else _int64()
    if t.is_time(type):
        midnight = DAY_SECONDS * TICKS[type.unit]
        bits = type.bit_width - 1
        return _integers(0, midnight - 1) if carriable else _integers(-(2**bits), 2**bits - 1)
    if t.is_timestamp(type) and carriable:
        # whole microseconds that an int64 of microseconds holds
        factor = TICKS[type.unit] // TICKS["us"] or 1
        shrink = TICKS["us"] // TICKS[type.unit] or 1
        bound = (2**63 - 1) // factor // shrink
        return _integers(-bound, bound).map(lambda ticks: ticks * factor)
    return _int64()


def _int64() -> SearchStrategy[int]:
    return _integers(-(2**63), 2**63 - 1)


def _integers(low: int, high: int) -> SearchStrategy[int]:
    """Integers with both ends, and what lies around zero, more often than chance would have them."""
    from hypothesis import strategies as st

    edges = [value for value in (low, low + 1, -1, 0, 1, high - 1, high) if low <= value <= high]
    return st.sampled_from(edges) | st.integers(low, high)
