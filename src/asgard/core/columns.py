"""Arrow arrays of Python values, made without pandas.

Wherever pyarrow is given a Python value - `pa.array`, `pa.scalar`, `pa.repeat`, a kernel's argument - it
imports pandas first if that is installed, to ask whether the value is one of its objects: half a second of
processor and 50 MB for a run that has none. Small arrays of the plain types are laid out here, in buffers.

Reference: https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.types as t

MOST_VALUES = 10_000
"""Of more than these pyarrow is quicker by so much that pandas may come with it."""
_PLAIN: dict[pa.DataType, Any] = {
    pa.string(): "",
    pa.binary(): b"",
    pa.int64(): 0,
    pa.float64(): 0.0,
    pa.bool_(): False,
}
"""The types that are laid out here, and what lies under a null: a value of the type's Python class."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """`pa.array(values, kind)`, whatever comes out of that; None is null.

    Without pandas for at most 10,000 values of string, binary, int64, float64 or bool that are of just the
    Python class of the type.

    Raises:
        OverflowError: an integer has more than 64 bits.
        UnicodeEncodeError: a text has half of a surrogate pair; `object` is that text.
        pa.ArrowInvalid, pa.ArrowTypeError: a value does not fit the type.
    """
    if kind not in _PLAIN or len(values) > MOST_VALUES:
        return pa.array(values, kind)
    under_null = _PLAIN[kind]
    classes = set(map(type, values))
    if not classes <= {type(under_null), type(None)}:
        return pa.array(values, kind)
    valid = None
    if type(None) in classes:
        valid = _bits([value is not None for value in values])
        values = [under_null if value is None else value for value in values]
    return pa.Array.from_buffers(kind, len(values), [valid, *_buffers(values, kind)])


def scalar_of(value: Any, kind: pa.DataType) -> pa.Scalar:
    """`pa.scalar(value, kind)`; an instant with a zone needs no pandas either, counted in microseconds.

    Raises:
        OverflowError, UnicodeEncodeError, pa.ArrowInvalid, pa.ArrowTypeError: as `array_of`.
    """
    if (
        isinstance(value, datetime)
        and value.tzinfo
        and t.is_timestamp(kind)
        and kind.tz
        and kind.unit == "us"
    ):
        return array_of([(value - _EPOCH) // _MICROSECOND], pa.int64()).view(kind)[0]
    return array_of([value], kind)[0]


def texts_of(parts: Sequence[bytes], valid: Sequence[bool]) -> pa.Array:
    """Texts that are UTF-8 already; null where they are not valid."""
    bits = None if all(valid) else _bits(valid)
    return pa.Array.from_buffers(pa.string(), len(parts), [bits, *_laid_out(parts)])


def _buffers(values: Sequence[Any], kind: pa.DataType) -> list[pa.Buffer]:
    if t.is_boolean(kind):
        return [_bits(values)]
    if t.is_int64(kind):
        return [pa.py_buffer(array("q", values))]
    if t.is_float64(kind):
        return [pa.py_buffer(array("d", values))]
    if t.is_string(kind) and (whole := "".join(values)).isascii():
        ends = accumulate(map(len, values), initial=0)  # a character is a byte: encoded at one go
        return [pa.py_buffer(array("i", ends)), pa.py_buffer(whole.encode())]
    return _laid_out([value.encode() for value in values] if t.is_string(kind) else values)


def _laid_out(parts: Sequence[bytes]) -> list[pa.Buffer]:
    ends = accumulate(map(len, parts), initial=0)
    return [pa.py_buffer(array("i", ends)), pa.py_buffer(b"".join(parts))]


def _bits(flags: Sequence[bool]) -> pa.Buffer:
    octets = pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(bytes(flags))])
    return octets.cast(pa.bool_()).buffers()[1]
