"""What Arrow arrays say, in plain Python: an oracle that uses none of Arrow's casts and kernels."""

from __future__ import annotations

import math
import struct
import uuid
from bisect import bisect_right
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as t

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def plain_values(array: Any) -> list[Any]:
    """Each value as the canonical type would have it: numbers exact, floats as bits, instants in nanoseconds,
    times and durations as text."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return [_extended(kind, value) for value in plain_values(array.storage)]
    if t.is_dictionary(kind):
        values = plain_values(array.dictionary)
        return [None if place is None else values[place] for place in array.indices.to_pylist()]
    if t.is_run_end_encoded(kind):
        ends, values = array.run_ends.to_pylist(), plain_values(array.values)
        return [values[bisect_right(ends, array.offset + row)] for row in range(len(array))]
    if t.is_struct(kind):
        names = [field.name for field in kind]
        columns = [plain_values(array.field(place)) for place in range(kind.num_fields)]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return [row if scalar.is_valid else None for row, scalar in zip(rows, array, strict=True)]
    return [_plain(scalar) if scalar.is_valid else None for scalar in array]


def _plain(scalar: Any) -> Any:
    kind = scalar.type
    if t.is_nested(kind):
        return plain_values(scalar.values)
    if t.is_floating(kind):
        value = scalar.as_py()
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if t.is_boolean(kind):
        return scalar.as_py()
    if t.is_integer(kind):
        return Decimal(scalar.as_py())
    if t.is_decimal(kind):
        return _number(scalar)
    return _temporal(scalar) if t.is_temporal(kind) else scalar.as_py()


def _number(scalar: Any) -> Decimal | str:
    """Beyond 38 digits the canonical form is text with as many decimals as the scale has."""
    kind, value = scalar.type, scalar.as_py()
    digits = kind.precision - kind.scale if kind.scale < 0 else max(kind.precision, kind.scale)
    return format(value, "f") if digits > 38 else value


def _temporal(scalar: Any) -> Any:
    kind, value = scalar.type, scalar.value
    if t.is_date(kind):
        return ("day", value if t.is_date32(kind) else value // 86_400_000)
    if t.is_timestamp(kind):
        return ("naive" if kind.tz is None else "instant", value * NANOSECONDS[kind.unit])
    if t.is_interval(kind):
        months, days, nanoseconds = scalar.as_py()
        date = (f"{months}M" if months else "") + (f"{days}D" if days else "")
        seconds = _seconds(nanoseconds)
        return f"P{date}" + (f"T{seconds}S" if nanoseconds or not date else "")
    nanoseconds = value * NANOSECONDS[kind.unit]
    if t.is_duration(kind):
        return f"{'-' if nanoseconds < 0 else ''}PT{_seconds(abs(nanoseconds))}S"
    minutes, seconds = divmod(nanoseconds, 60 * 10**9)
    return f"{minutes // 60:02}:{minutes % 60:02}:{'0' if seconds < 10 * 10**9 else ''}{_seconds(seconds)}"


def _seconds(nanoseconds: int) -> str:
    text = format(Decimal(nanoseconds).scaleb(-9), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _extended(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if kind.extension_name == "arrow.uuid":
        return str(uuid.UUID(bytes=value))
    return value != 0 if kind.extension_name == "arrow.bool8" else value
