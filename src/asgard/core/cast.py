"""Lossless casts of whole Arrow arrays into canonical types (`core.types` says which those are).

What it knows: how to come from any array to a target type when every value survives, and which value is the
first that does not. It never trusts Arrow's cast where that bends in silence: float64 to float32, naive to
zoned timestamps, times past the day, list views.

Reference: https://arrow.apache.org/docs/cpp/compute.html#conversions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core import iso
from asgard.core.columns import array_of

MAX_DECIMAL_DIGITS = 38
SHORT_CHARACTERS = 60


class Misfit(Exception):
    """A value, or the whole type, that the target cannot carry.

    Attributes:
        path: where below the column it is: `.field`, `[]`, `.key`, `.value`.
        value: the first value that does not fit, shortened; None when no value of the type ever would.
    """

    def __init__(self, source: pa.DataType, target: pa.DataType, value: str | None = None) -> None:
        super().__init__(f"{source} into {target}")
        self.source = source
        self.target = target
        self.value = value
        self.path = ""

    def under(self, step: str) -> Misfit:
        """The same, one step further out."""
        self.path = step + self.path
        return self


def convert(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The same values in the target type; the array itself when it has that type.

    Values below a null parent are not looked at. Nullability is not checked.

    Raises:
        Misfit: a value does not fit, or the types have nothing in common.
    """
    source = array.type
    if source == target:
        return array
    if array.null_count == len(array) or t.is_null(source):
        return pa.nulls(len(array), target)
    if isinstance(source, pa.BaseExtensionType):
        return _from_extension(array, target)
    if t.is_dictionary(source):
        return _gathered(array.dictionary, array.indices, target)
    if t.is_run_end_encoded(source):
        rows = pa.arange(array.offset, array.offset + len(array))
        runs = pc.search_sorted(array.run_ends.cast(pa.int64()), rows, side="right")
        return _gathered(array.values, runs, target)
    if is_listlike(source) and t.is_list(target):
        return _into_list(array, target)
    if t.is_struct(source) and t.is_struct(target):
        return _into_struct(array, target)
    if t.is_map(source) and t.is_map(target):
        return _into_map(array, target)
    cast = _leaf_cast(source, target)
    if cast is None:
        raise Misfit(source, target)
    try:
        return cast(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, iso.NoText) as error:
        raise Misfit(source, target, first_misfit(array, cast)) from error


def is_listlike(type: pa.DataType) -> bool:
    """Whether it is a list in any of Arrow's layouts."""
    return bool(
        t.is_list(type)
        or t.is_large_list(type)
        or t.is_fixed_size_list(type)
        or t.is_list_view(type)
        or t.is_large_list_view(type)
    )


def is_textlike(type: pa.DataType) -> bool:
    """Whether it is a string in any of Arrow's layouts."""
    return bool(t.is_string(type) or t.is_large_string(type) or t.is_string_view(type))


def is_binarylike(type: pa.DataType) -> bool:
    """Whether it is binary in any of Arrow's layouts."""
    return bool(
        t.is_binary(type) or t.is_large_binary(type) or t.is_binary_view(type) or t.is_fixed_size_binary(type)
    )


def decimal_digits(type: pa.DataType) -> tuple[int, int]:
    """Precision and scale with 0 <= scale <= precision that hold every value of a decimal type."""
    if type.scale < 0:
        return type.precision - type.scale, 0
    return max(type.precision, type.scale), type.scale


def first_misfit(array: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> str:
    """The first value on which the cast fails, shortened, as text for people."""

    def fails(rows: int) -> bool:
        try:
            cast(array.slice(0, rows))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, iso.NoText):
            return True
        return False

    good, bad = 0, len(array)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return short(array.slice(bad - 1, 1))


def short(array: pa.Array) -> str:
    """The only value of an array for people, shortened. Not by way of Python objects: some have none."""
    if t.is_time(array.type) or t.is_duration(array.type):
        array = array.cast(pa.int64() if array.type.bit_width == 64 else pa.int32())
    try:
        text = str(array.cast(pa.string())[0].as_py())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = repr(array[0].as_py())
    return text if len(text) <= SHORT_CHARACTERS else text[: SHORT_CHARACTERS - 1] + "…"


def _leaf_cast(source: pa.DataType, target: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    """How values of one flat type come into another; None where no rule is lossless."""
    plain = _arrow_cast(target)
    if t.is_string(target):
        return plain if is_textlike(source) else iso.text_of(source, MAX_DECIMAL_DIGITS)
    if t.is_binary(target):
        return plain if is_binarylike(source) else None
    if t.is_integer(target):
        return plain if t.is_integer(source) or t.is_decimal(source) else None
    if t.is_decimal(target):
        if t.is_integer(source):
            return lambda array: plain(array.cast(pa.decimal128(20, 0)))
        return plain if t.is_decimal(source) else None
    if t.is_floating(target):
        if t.is_integer(source):
            return lambda array: _exact_float(array, target)
        return plain if t.is_floating(source) and source.bit_width <= target.bit_width else None
    if t.is_date32(target):
        return plain if t.is_date(source) else None
    if t.is_timestamp(target):
        # Arrow would read a naive time as UTC, and back: a guess, not a cast.
        same = t.is_timestamp(source) and (source.tz is None) == (target.tz is None)
        return plain if same else None
    return None


def _arrow_cast(target: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda array: array.cast(target, safe=True)


def _exact_float(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Integers as floats where that is exact; Arrow's own check refuses 2**60, which is."""
    floats = array.cast(target, safe=False)
    if not pc.all(pc.equal(floats.cast(array.type, safe=True), array), min_count=0).as_py():
        raise pa.ArrowInvalid("an integer is not exactly representable")
    return floats


def _from_extension(array: Any, target: pa.DataType) -> pa.Array:
    name = array.type.extension_name
    if name == "arrow.uuid" and t.is_string(target):
        return iso.uuid_text(array.storage)
    if name == "arrow.bool8" and t.is_boolean(target):
        return array.storage.cast(target)
    return convert(array.storage, target)


def _gathered(values: pa.Array, places: pa.Array, target: pa.DataType) -> pa.Array:
    """The values at the places, converted; those that no place names are looked at only if it must be."""
    try:
        found = values.take(places)
    except pa.ArrowNotImplementedError:  # Arrow cannot pick string views and run ends
        return convert(values, target).take(places)
    return convert(found, target)


def _offsets(lengths: pa.Array) -> pa.Array:
    nothing = array_of([0], pa.int64()).cast(pa.int32())
    ends = pc.cumulative_sum(lengths.cast(pa.int32()).fill_null(nothing[0]))
    return pa.concat_arrays([nothing, ends])


def _into_list(array: Any, target: pa.DataType) -> pa.Array:
    try:
        lengths = pc.list_value_length(array)
        offsets = _offsets(lengths)
        values = _elements(array, offsets, target.value_type)
    except pa.ArrowInvalid as error:
        raise Misfit(array.type, target, "more than 2**31 elements in one batch") from error
    except Misfit as misfit:
        raise misfit.under("[]") from None
    return pa.ListArray.from_arrays(offsets, values, type=target, mask=_null_mask(array))


def _elements(array: Any, offsets: pa.Array, target: pa.DataType) -> pa.Array:
    """What is in the lists, converted; not what lies under nulls."""
    try:
        flat = array.flatten()
    except pa.ArrowNotImplementedError:  # Arrow cannot put views of extension types in order
        total = offsets[-1].as_py()
        rows = pc.list_parent_indices(pa.ListArray.from_arrays(offsets, pa.nulls(total)))
        shifts = pc.subtract(array.offsets.cast(pa.int64()), offsets.slice(0, len(array)).cast(pa.int64()))
        return _gathered(array.values, pc.add(pa.arange(0, total), shifts.take(rows)), target)
    return convert(flat, target)


def _into_struct(array: Any, target: pa.DataType) -> pa.Array:
    names = [field.name for field in array.type]
    wanted = [field.name for field in target]
    if len(set(names)) < len(names) or not set(names) <= set(wanted):
        raise Misfit(array.type, target)
    children = dict(zip(names, array.flatten(), strict=True))  # flatten brings the struct's nulls down
    converted = []
    for field in target:
        if field.name not in children:
            converted.append(pa.nulls(len(array), field.type))
            continue
        try:
            converted.append(convert(children[field.name], field.type))
        except Misfit as misfit:
            raise misfit.under(f".{field.name}") from None
    return pa.StructArray.from_arrays(converted, fields=list(target), mask=_null_mask(array))


def _into_map(array: Any, target: pa.DataType) -> pa.Array:
    mask = _null_mask(array)
    ends = pa.concat_arrays([array.offsets])  # without the offset of a slice
    parts = []
    for step, values, type in (
        (".key", array.keys, target.key_type),
        (".value", array.items, target.item_type),
    ):
        lists = pa.ListArray.from_arrays(ends, values, mask=mask)
        try:
            parts.append(convert(lists.flatten(), type))
        except Misfit as misfit:
            raise misfit.under(step) from None
    offsets = _offsets(pc.list_value_length(lists))
    return pa.MapArray.from_arrays(offsets, parts[0], parts[1], type=target, mask=mask)


def _null_mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
