"""Cells of MySQL's binary protocol that have a width of their own: numbers, dates and times.

A cell that is null has no byte at all. Which cells are null is known to the caller.

Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pymysql.connections import FieldDescriptorPacket

    from asgard.transport.mysql_packets import Piece, Places

FIXED = {1: "i1", 2: "<i2", 3: "<i4", 4: "<f4", 5: "<f8", 8: "<i8", 9: "<i4", 13: "<u2"}
"""numpy's types of numbers, by the protocol's numbers: of tinyint, smallint, int, float, double, bigint,
mediumint and year."""
MOMENTS = frozenset({7, 10, 12})
"""timestamp, date, datetime."""
UNSIGNED = 0x20
DATE = 10
NO_DECIMALS = 31
DAY_MICROSECONDS = 86_400_000_000


def fixed(piece: Piece, place: Places, field: FieldDescriptorPacket, null: Any) -> tuple[pa.Array, Places]:
    """Numbers at these places, and the places behind them."""
    import numpy as np

    type = np.dtype(FIXED[field.type_code])
    if field.flags & UNSIGNED and type.kind == "i":
        type = np.dtype(type.str.replace("i", "u"))
    values = _array(_at(piece, place, type.str), pa.from_numpy_dtype(type), null)
    return values, place + type.itemsize * (1 if null is None else ~null)


def moments(piece: Piece, place: Places, field: FieldDescriptorPacket, null: Any) -> tuple[pa.Array, Places]:
    """Dates or datetimes at these places, and the places behind them.

    Where one is no day of the calendar, all come as the server would write them.
    """
    import numpy as np

    size = piece.content[place].astype(np.int64)
    if null is not None:
        size[null] = 0
    # Year, month and day; hours, minutes and seconds; microseconds: what is zero at the end is left out.
    is_date = field.type_code == DATE
    day = np.where(size >= 4, _at(piece, place + 1, "<u4"), 0)
    clock = day * 0 if is_date else np.where(size >= 7, _at(piece, place + 5, "<u4") & 0xFFFFFF, 0)
    micros = day * 0 if is_date else np.where(size >= 11, _at(piece, place + 8, "<u4"), 0)
    after = place + 1 + size if null is None else place + size + ~null
    days = _days()[(day & 0xFFFF).clip(max=9999) << 4 | (day >> 16 & 0xFF).clip(max=15)]
    number = (day >> 24).astype(np.int64)
    real = (number >= 1) & (number <= days[:, 1])
    if not (real if null is None else real | null).all():
        return _texts(field, day, clock, micros, null), after
    whole = days[:, 0] + number - 1
    if is_date:
        return _array(whole.astype(np.int32), pa.date32(), null), after
    seconds = (clock & 0xFF) * 3600 + (clock >> 8 & 0xFF) * 60 + (clock >> 16)
    instants = whole * DAY_MICROSECONDS + seconds.astype(np.int64) * 1_000_000 + micros
    return _array(instants, pa.timestamp("us"), null), after


def decimals_of(whole: pa.Array, type: pa.Decimal128Type) -> pa.Array:
    """Decimals, from the whole numbers that they are without their point."""
    import numpy as np

    low = np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole)]
    words = np.empty((len(low), 2), np.int64)
    words[:, 0] = low
    words[:, 1] = low >> 63  # the sign, in every bit of the upper half
    valid = whole.is_valid().buffers()[1] if whole.null_count else None
    return pa.Array.from_buffers(type, len(low), [valid, pa.py_buffer(words)])


def _array(values: Any, type: pa.DataType, null: Any) -> pa.Array:
    """numpy's values as Arrow's, without a copy (and without a search for pandas)."""
    import numpy as np

    valid = None
    if null is not None:
        values[null] = 0
        valid = pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(type, len(values), [valid, pa.py_buffer(values)])


def _at(piece: Piece, place: Places, type: str) -> Any:
    """The values of a type that begin at these places."""
    import numpy as np

    width = np.dtype(type).itemsize
    shape = (len(piece.content) - width + 1,)
    return np.ndarray(shape, type, piece.content.data, strides=(1,))[place]


@cache
def _days() -> npt.NDArray[np.int64]:
    """For each year times sixteen and month: the days from 1970 to its first one, and how many it has.

    Months that are none, and those of the year zero, have no days.
    """
    import numpy as np

    table = np.zeros((10_000 * 16, 2), np.int64)
    months = np.arange(np.datetime64("0001-01", "M"), np.datetime64("10000-01", "M"))
    first = months.astype("datetime64[D]").astype(np.int64)
    lengths = np.diff(np.append(first, np.datetime64("10000-01-01", "D").astype(np.int64)))
    year, month = np.divmod(np.arange(len(months)), 12)
    table[(year + 1) * 16 + month + 1] = np.column_stack([first, lengths])
    return table


def _texts(field: FieldDescriptorPacket, day: Any, clock: Any, micros: Any, null: Any) -> pa.Array:
    digits = 0 if field.scale == NO_DECIMALS else field.scale
    texts: list[str | None] = []
    for i, (date, time, fraction) in enumerate(
        zip(day.tolist(), clock.tolist(), micros.tolist(), strict=True)
    ):
        text = f"{date & 0xFFFF:04}-{date >> 16 & 0xFF:02}-{date >> 24:02}"
        if field.type_code != DATE:
            text += f" {time & 0xFF:02}:{time >> 8 & 0xFF:02}:{time >> 16:02}"
            text += f".{fraction:06}"[: digits + 1] if digits else ""
        texts.append(None if null is not None and null[i] else text)
    return pa.array(texts, pa.string()).cast(pa.binary())
