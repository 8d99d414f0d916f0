"""Exact ISO 8601 and plain texts of Arrow values that no lake type carries, a whole array at a time.

Fractions have no trailing zeros, so the text of a value does not depend on its unit, and texts of times sort
as the times do. Durations are seconds (`PT93784.5S`, `-PT0.000001S`), intervals keep months, days and seconds
apart because none can be told in terms of the others (`P14M3DT-4.5S`).

Reference: ISO 8601-1:2019, 8601-2:2019 for the signs; RFC 9562 for uuid.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.columns import array_of, scalar_of

UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
DAY_SECONDS = 86_400
MIDNIGHT_AFTER = "24:00:00"


class NoText(Exception):
    """A value that has no such text."""


def text_of(source: pa.DataType, decimal_digits: int) -> Callable[[pa.Array], pa.Array] | None:
    """The function that makes canonical text of a type; None for types that are not carried as text.

    Args:
        source: the type.
        decimal_digits: decimals up to so many digits are not carried as text.
    """
    if t.is_time(source):
        return time_text
    if t.is_duration(source):
        return duration_text
    if t.is_interval(source):
        return interval_text
    if (
        t.is_decimal(source)
        and max(source.precision, source.scale, source.precision - source.scale) > decimal_digits
    ):
        return decimal_text
    return None


def time_text(array: pa.Array) -> pa.Array:
    """`12:34:56.789`; 24:00:00 is a time of its own.

    Raises:
        NoText: a time before 00:00:00 or after 24:00:00.
    """
    digits = UNIT_DIGITS[array.type.unit]
    midnight = DAY_SECONDS * 10**digits
    ticks = array.view(pa.int64() if array.type.bit_width == 64 else pa.int32()).cast(pa.int64())
    range_ = pc.min_max(ticks)
    if (range_["min"].as_py() or 0) < 0 or (range_["max"].as_py() or 0) > midnight:
        raise NoText("a time lies outside of the day")
    text = pc.cast(array, pa.string())
    if digits:
        text = pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")
    at_midnight = pc.equal(ticks, scalar_of(midnight, pa.int64()))
    return pc.if_else(at_midnight, _word(MIDNIGHT_AFTER), text)


def duration_text(array: pa.Array) -> pa.Array:
    """`PT93784.5S`, negative ones with the sign in front."""
    return _seconds_text(array.view(pa.int64()), UNIT_DIGITS[array.type.unit])


def interval_text(array: pa.Array) -> pa.Array:
    """`P14M3DT-4.5S`: months, days and seconds apart, parts that are zero left out, `PT0S` for nothing."""
    texts = [None if value is None else _interval(*value) for value in array.to_pylist()]
    return array_of(texts, pa.string())


def _interval(months: int, days: int, nanoseconds: int) -> str:
    date = (f"{months}M" if months else "") + (f"{days}D" if days else "")
    if not nanoseconds and date:
        return f"P{date}"
    whole, fraction = divmod(abs(nanoseconds), 10**9)
    seconds = f"{whole}.{fraction:09}".rstrip("0").rstrip(".")
    return f"P{date}T{'-' if nanoseconds < 0 else ''}{seconds}S"


def decimal_text(array: pa.Array) -> pa.Array:
    """All digits in plain notation, as many behind the point as the scale has."""
    texts = [None if value is None else format(value, "f") for value in array.to_pylist()]
    return array_of(texts, pa.string())


def uuid_text(storage: pa.Array) -> pa.Array:
    """`f81d4fae-7dec-11d0-a765-00a0c91e6bf6` of 16 bytes each."""
    rows = len(storage)
    _, values = storage.buffers()
    raw = memoryview(values)[storage.offset * 16 : (storage.offset + rows) * 16]
    digits = pa.Array.from_buffers(pa.binary(32), rows, [None, pa.py_buffer(raw.hex().encode())])
    text = digits.cast(pa.binary()).cast(pa.string())
    cuts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
    joined = pc.binary_join_element_wise(*(pc.utf8_slice_codeunits(text, *cut) for cut in cuts), _word("-"))
    return pc.if_else(storage.is_null(), _word(None), joined)


def _seconds_text(ticks: pa.Array, digits: int) -> pa.Array:
    """Texts of int64 ticks of 10**-digits seconds."""
    text = pc.utf8_ltrim(ticks.cast(pa.string()), "-")  # never abs(): the least int64 has none
    text = pc.utf8_lpad(text, digits + 1, "0")
    if digits:
        whole, fraction = pc.utf8_slice_codeunits(text, 0, -digits), pc.utf8_slice_codeunits(text, -digits)
        text = pc.binary_join_element_wise(whole, fraction, _word("."))
        text = pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")
    is_negative = pc.less(ticks, scalar_of(0, pa.int64()))
    sign = pc.if_else(is_negative, _word("-PT"), _word("PT"))
    return pc.binary_join_element_wise(sign, text, _word("S"), _word(""))


def _word(text: str | None) -> pa.Scalar:
    return scalar_of(text, pa.string())
