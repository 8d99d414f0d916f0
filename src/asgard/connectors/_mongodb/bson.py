"""BSON taken apart for many documents at once: which elements there are, of which type, and where they lie.

All documents of a piece go forward together, one element a step, so that numpy does for thousands what a
parser does for one; a document that is much longer than the others is walked by itself. No value is read
here and no Python object is made of one: `_mongodb.json` and `_mongodb.columns` do that from the places.

Reference: https://bsonspec.org/spec.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asgard.core.errors import DataError

DOUBLE, STRING, OBJECT, ARRAY, BINARY, UNDEFINED, OBJECT_ID, BOOL, DATE, NULL = range(1, 11)
REGEX, DB_POINTER, CODE, SYMBOL, CODE_WITH_SCOPE, INT32, TIMESTAMP, INT64, DECIMAL = range(11, 20)
MIN_KEY, MAX_KEY = 0xFF, 0x7F

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PADDING = bytes(16)
"""Behind the last document, so that eight bytes can be looked at wherever a value begins."""
FEW = 12
"""From so few documents on, each is walked by itself: numpy would cost more than it saves."""
GUESSES = 12
"""How many different names one step looks for in all documents, before each is looked up by itself."""

_FIXED = np.full(256, -1, np.int64)
for _type, _bytes in {
    DOUBLE: 8, UNDEFINED: 0, OBJECT_ID: 12, BOOL: 1, DATE: 8, NULL: 0, INT32: 4, TIMESTAMP: 8, INT64: 8,
    DECIMAL: 16, MIN_KEY: 0, MAX_KEY: 0,
}.items():  # fmt: skip
    _FIXED[_type] = _bytes
_PREFIXED = np.full(256, -1, np.int64)
"""For types that begin with a length: how many bytes they have beyond it."""
for _type, _bytes in {
    STRING: 4, OBJECT: 0, ARRAY: 0, BINARY: 5, DB_POINTER: 16, CODE: 4, SYMBOL: 4, CODE_WITH_SCOPE: 0,
}.items():  # fmt: skip
    _PREFIXED[_type] = _bytes
_LEAST = np.zeros(256, np.int64)
"""How small the values of these types may be: with an empty text, an empty document."""
for _type, _bytes in {
    STRING: 5, OBJECT: 5, ARRAY: 5, BINARY: 5, DB_POINTER: 17, CODE: 5, SYMBOL: 5, CODE_WITH_SCOPE: 14,
}.items():  # fmt: skip
    _LEAST[_type] = _bytes
_INT32 = struct.Struct("<i").unpack_from


@dataclass(frozen=True)
class Elements:
    """The elements of some documents, in order.

    Attributes:
        parent: which of the documents; never falls.
        type: BSON's type.
        key: the name's number in `Piece.names`.
        start, end: where the value lies.
    """

    parent: Ints
    type: npt.NDArray[np.uint8]
    key: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.parent)

    def only(self, which: Any) -> Elements:
        """Those of an index or mask."""
        return Elements(
            self.parent[which], self.type[which], self.key[which], self.start[which], self.end[which]
        )


class Piece:
    """Whole documents, one behind the other.

    Attributes:
        raw: their bytes, and some padding.
        starts: where each begins.
        names: the field names that were met, as bytes; `Elements.key` counts in it.
    """

    def __init__(self, raw: bytes, starts: Ints) -> None:
        self.raw = raw + PADDING
        self.starts = starts
        self.names: list[bytes] = []
        self._ids: dict[bytes, int] = {}
        self.bytes = np.frombuffer(self.raw, np.uint8)
        self.int32 = self._view("<i4")
        self.int64 = self._view("<i8")
        self.float64 = self._view("<f8")
        self._uint64 = self._view("<u8")

    def alone(self) -> Iterator[Piece]:
        """Each document as a piece of its own."""
        for start in self.starts.tolist():
            end = start + int(self.int32[start])
            yield Piece(self.raw[start:end], np.zeros(1, np.int64))

    def _view(self, type: str) -> npt.NDArray[Any]:
        """The bytes as numbers that begin at every byte."""
        width = np.dtype(type).itemsize
        return np.ndarray((len(self.raw) - width + 1,), type, buffer=self.raw, strides=(1,))

    def name_id(self, name: bytes) -> int:
        """The number of a field name; -1 where no document has it so far."""
        return self._ids.get(name, -1)

    def elements(self, starts: Ints) -> Elements:
        """The elements of the documents that begin there, in the order in which they stand.

        Raises:
            DataError: the bytes are no BSON.
        """
        limits = starts + self.int32[starts] - 1
        steps: list[tuple[Any, ...]] = []
        counts = np.zeros(len(starts), np.int64)
        active, at = np.arange(len(starts)), starts + 4
        while active.size > FEW:
            types = self.bytes[at]
            going = types != 0
            if not going.all():
                active, at, types = active[going], at[going], types[going]
                if not active.size:
                    break
            keys, values = self._keys(at + 1)
            ends = values + self._sizes(types, values)
            if (ends > limits[active]).any() or (ends < values).any():
                raise damaged()
            steps.append((active, counts[active], types, keys, values, ends))
            counts[active] += 1
            at = ends
        if active.size:
            steps.append(self._walked(active, at, counts, limits))
        return _in_order(steps, counts)

    def texts(self, starts: Ints, sizes: Ints) -> pa.Array:
        """The bytes of places as an Arrow binary column, without a look at each."""
        views = np.zeros((len(starts), 2), np.uint64)
        short = sizes <= 12
        views[:, 0] = sizes.astype(np.uint64)
        heads = self.int32[starts].view(np.uint32).astype(np.uint64)
        views[:, 0] |= (heads & _low_bytes(np.minimum(sizes, 4))) << np.uint64(32)
        tails = self._uint64[np.minimum(starts + 4, len(self._uint64) - 1)]
        views[:, 1] = np.where(
            short, tails & _low_bytes(np.clip(sizes - 4, 0, 8)), starts.astype(np.uint64) << np.uint64(32)
        )
        held = [None, pa.py_buffer(np.ascontiguousarray(views)), pa.py_buffer(self.raw)]
        return pa.Array.from_buffers(pa.binary_view(), len(starts), held).cast(pa.binary())

    def _sizes(self, types: npt.NDArray[np.uint8], values: Ints) -> Ints:
        sizes = _FIXED[types]
        unknown = np.flatnonzero(sizes < 0)
        if unknown.size:
            beyond = _PREFIXED[types[unknown]]
            sizes[unknown] = self.int32[values[unknown]] + beyond
            for i in unknown[beyond < 0].tolist():
                sizes[i] = self._size(int(types[i]), int(values[i]))
            if (sizes[unknown] < _LEAST[types[unknown]]).any():
                raise damaged()
        return sizes

    def _size(self, type: int, value: int) -> int:
        if type == REGEX:
            return self._behind(self._behind(value)) - value
        if (fixed := int(_FIXED[type])) >= 0:
            return fixed
        size = int(_PREFIXED[type])
        if size < 0 or (size := size + int(_INT32(self.raw, value)[0])) < _LEAST[type]:
            raise damaged()
        return size

    def _behind(self, at: int) -> int:
        """The place behind the NUL that ends a name."""
        found = self.raw.find(b"\0", at)
        if found < 0:
            raise damaged()
        return found + 1

    def _id(self, name: bytes) -> int:
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = len(self.names)
            self.names.append(name)
        return known

    def _keys(self, at: Ints) -> tuple[Ints, Ints]:
        """Numbers of the names that begin there, and where the values behind them begin.

        Documents of a collection look alike: the first one's name is looked for in all of them.
        """
        ids, ends = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
        left = np.arange(len(at))
        for _ in range(GUESSES):
            first = int(at[left[0]])
            behind = self._behind(first)
            same = self._equal(at[left], self.raw[first:behind])
            hit = left[same]
            ids[hit], ends[hit] = self._id(self.raw[first : behind - 1]), at[hit] + (behind - first)
            left = left[~same]
            if not left.size:
                return ids, ends
        for i in left.tolist():
            first = int(at[i])
            behind = self._behind(first)
            ids[i], ends[i] = self._id(self.raw[first : behind - 1]), behind
        return ids, ends

    def _equal(self, at: Ints, wanted: bytes) -> Mask:
        same = np.ones(len(at), np.bool_)
        last = len(self._uint64) - 1
        for offset in range(0, len(wanted), 8):
            part = wanted[offset : offset + 8]
            mask = np.uint64((1 << (8 * len(part))) - 1)
            same &= (self._uint64[np.minimum(at + offset, last)] & mask) == int.from_bytes(part, "little")
        return same

    def _walked(self, active: Ints, at: Ints, counts: Ints, limits: Ints) -> tuple[Ints, ...]:
        """The rest of a few documents, each to its end."""
        found: list[tuple[int, ...]] = []
        for parent, place in zip(active.tolist(), at.tolist(), strict=True):
            limit, number = int(limits[parent]), int(counts[parent])
            while type := self.raw[place]:
                value = self._behind(place + 1)
                end = value + self._size(type, value)
                if not value <= end <= limit:
                    raise damaged()
                found.append((parent, number, type, self._id(self.raw[place + 1 : value - 1]), value, end))
                place, number = end, number + 1
            counts[parent] = number
        columns = np.array(found, np.int64).reshape(-1, 6).T
        return tuple(columns)


def pieces(batch: bytes, most_bytes: int) -> Iterator[Piece]:
    """The documents of one answer of the server, in pieces of about so many bytes.

    Raises:
        DataError: the bytes are no BSON.
    """
    begin = at = 0
    starts: list[int] = []
    while at < len(batch):
        if at - begin >= most_bytes:
            yield Piece(batch[begin:at], np.array(starts, np.int64))
            begin, starts = at, []
        size = _INT32(batch, at)[0] if at + 4 < len(batch) else 0
        if size < 5 or at + size > len(batch):
            raise damaged()
        starts.append(at - begin)
        at += size
    if starts:
        yield Piece(batch[begin:], np.array(starts, np.int64))


def as_arrow(values: npt.NDArray[Any], valid: Mask | None = None) -> pa.Array:
    """The numbers or truth values as an Arrow array, not copied; `pa.array` would import pandas first."""
    type = pa.from_numpy_dtype(values.dtype)
    data = _bits(values) if pa.types.is_boolean(type) else pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(type, len(values), [None if valid is None else _bits(valid), data])


def as_mask(array: pa.Array) -> Mask:
    """Arrow's truth values, none of them null, as numpy has them."""
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    unpacked = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    return unpacked[array.offset :].astype(np.bool_)


def _bits(mask: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(mask, bitorder="little"))


def first_of_each(groups: Ints) -> Mask:
    """For groups that never fall: which is the first of its group."""
    first = np.ones(len(groups), np.bool_)
    first[1:] = groups[1:] != groups[:-1]
    return first


def _in_order(steps: list[tuple[Any, ...]], counts: Ints) -> Elements:
    total = int(counts.sum())
    offsets = np.cumsum(counts) - counts
    parent, type, key, start, end = (np.empty(total, np.int64) for _ in range(5))
    for active, number, types, keys, values, ends in steps:
        place = offsets[active] + number
        parent[place], type[place], key[place], start[place], end[place] = active, types, keys, values, ends
    return Elements(parent, type.astype(np.uint8), key, start, end)


def _low_bytes(counts: Ints) -> npt.NDArray[np.uint64]:
    """Masks that keep so many low bytes, 0 to 8, of a number."""
    return _MASKS[counts]


_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)


def damaged() -> DataError:
    """The error for bytes that break BSON's rules."""
    return DataError(
        "the server sent bytes that are no BSON",
        hint="look at the collection with its own tools: db.collection.validate({full: true})",
    )
