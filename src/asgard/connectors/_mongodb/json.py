"""BSON values as MongoDB Extended JSON v2, exactly, a column at a time.

Relaxed form by default: numbers, texts and usual dates look as everybody expects, and every other type stands
in its `$` wrapper. Doubles always show a point or an exponent, so they stay apart from integers; integers of
32 and of 64 bits do not. The canonical form tells those apart too, at the price of a wrapper around every
number. What JSON text can hold is kept as it is: two fields of one name, fields without one, every digit.

Reference: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asgard.connectors._mongodb import bson as b
from asgard.connectors._mongodb.bson import Elements, Ints, Piece, as_arrow
from asgard.core.columns import array_of, scalar_of
from asgard.core.errors import DataError
from asgard.transport.mongo import decimal_text

WRAPPERS = frozenset(
    b"$oid $symbol $numberInt $numberLong $numberDouble $numberDecimal $binary $code $timestamp "
    b"$regularExpression $dbPointer $date $minKey $maxKey $undefined $uuid".split()
)
"""Names that mean a type in Extended JSON. A document that has such a field itself would read as another."""
YEAR_10000 = 253_402_300_800_000
MOST_DECIMAL_SCALE = 34
MOST_DIGITS = 10**34 - 1

_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint8).reshape(256, 2)
_NOTHING, _COMMA = (scalar_of(text, pa.string()) for text in ("", ","))
_TO_ESCAPE = r'["\\\x00-\x1f]'


def quoted(text: str) -> str:
    """The text as JSON."""
    return json.dumps(text, ensure_ascii=False)


def joined(*parts: Any) -> pa.Array:
    """Texts put together element by element."""
    arrays = [scalar_of(part, pa.string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*arrays, _NOTHING)


def gathered(parts: Sequence[tuple[Ints, pa.Array]], count: int, type: pa.DataType) -> pa.Array:
    """One column of the values that belong at these places; null where none does."""
    if not parts:
        return pa.nulls(count, type)
    places = np.concatenate([place for place, _ in parts])
    values = pa.concat_arrays([array for _, array in parts]) if len(parts) > 1 else parts[0][1]
    if len(places) == count and (len(parts) == 1 or bool((places[1:] > places[:-1]).all())):
        return values
    order = np.full(count, -1, np.int64)
    order[places] = np.arange(len(places))
    return values.take(as_arrow(order, order >= 0))


def text_of(piece: Piece, starts: Ints, ends: Ints) -> pa.Array:
    """BSON strings: a length, the text, a NUL.

    Raises:
        DataError: one is no UTF-8.
    """
    found = piece.texts(starts + 4, ends - starts - 5)
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise _no_utf8(found) from error


def hex_of(piece: Piece, starts: Ints, width: int) -> pa.Array:
    """So many bytes each, as hexadecimal digits."""
    digits = _HEX[piece.bytes[starts[:, None] + np.arange(width)]].reshape(len(starts), 2 * width)
    return _fixed_text(digits)


def uuid_of(piece: Piece, starts: Ints) -> pa.Array:
    """16 bytes each, as 8-4-4-4-12 hexadecimal digits."""
    digits = _HEX[piece.bytes[starts[:, None] + np.arange(16)]].reshape(len(starts), 32)
    return _fixed_text(np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1))


def decimal_of(piece: Piece, starts: Ints) -> pa.Array:
    """Decimal128 as the text that the specification gives each, with every digit, zero and sign."""
    parts: list[tuple[Ints, pa.Array]] = []
    left = np.ones(len(starts), np.bool_)
    for _, which, values in plain_decimals(piece, starts):
        negative_zero = (piece.bytes[starts[which] + 15] >= 128) & ~_any_digit(piece, starts[which])
        parts.append((which[~negative_zero], values.filter(as_arrow(~negative_zero)).cast(pa.string())))
        left[which[~negative_zero]] = False
    rest = np.flatnonzero(left)
    if rest.size:
        odd = [decimal_text(piece.raw[at : at + 16]) for at in starts[rest].tolist()]
        parts.append((rest, array_of(odd, pa.string())))
    return gathered(parts, len(starts), pa.string())


def plain_decimals(piece: Piece, starts: Ints) -> list[tuple[int, Ints, pa.Array]]:
    """Those Decimal128 that are digits, at most 34 of them behind the point: by the number of these, which
    they are, and Arrow decimals. What is left are infinities, NaN, and exponents beyond that."""
    high, low = piece.int64[starts + 8], piece.int64[starts]
    scales = 6176 - ((high >> 49) & 0x3FFF)
    digits = high & ((1 << 49) - 1)
    plain = ((high >> 61) & 3 != 3) & (scales >= 0) & (scales <= MOST_DECIMAL_SCALE)
    most = np.uint64(MOST_DIGITS & 0xFFFFFFFFFFFFFFFF)  # beyond, the digits mean zero
    top = MOST_DIGITS >> 64
    plain &= (digits < top) | ((digits == top) & (low.view(np.uint64) <= most))
    found = []
    for scale in np.unique(scales[plain]).tolist():
        which = np.flatnonzero(plain & (scales == scale))
        words = np.stack([low[which], digits[which]], axis=1)
        negative = high[which] < 0
        words[negative] = ~words[negative]
        words[negative, 0] += 1
        words[negative & (words[:, 0] == 0), 1] += 1
        buffers = [None, pa.py_buffer(np.ascontiguousarray(words))]
        found.append((scale, which, pa.Array.from_buffers(pa.decimal128(38, scale), len(which), buffers)))
    return found


class JsonText:
    """Extended JSON of the values of one piece.

    Args:
        canonical: wraps every number and date.
        keep_wrappers: whether fields that are named like a wrapper are written as they are.
    """

    def __init__(self, piece: Piece, canonical: bool = False, keep_wrappers: bool = False) -> None:
        self._piece = piece
        self._canonical = canonical
        self._keep_wrappers = keep_wrappers
        self._names: list[str] = []
        self._of: dict[int, Callable[[Ints, Ints], pa.Array]] = {
            b.DOUBLE: lambda at, _: self._doubles(piece.float64[at]),
            b.STRING: lambda at, end: _as_json(text_of(piece, at, end)),
            b.OBJECT: lambda at, _: self.documents(at),
            b.ARRAY: lambda at, _: self._arrays(at),
            b.UNDEFINED: lambda at, _: _repeated('{"$undefined":true}', len(at)),
            b.OBJECT_ID: lambda at, _: joined('{"$oid":"', hex_of(piece, at, 12), '"}'),
            b.BOOL: lambda at, _: as_arrow(piece.bytes[at] != 0).cast(pa.string()),
            b.DATE: lambda at, _: self._dates(piece.int64[at]),
            b.NULL: lambda at, _: _repeated("null", len(at)),
            b.INT32: lambda at, _: self._integers(piece.int32[at], "$numberInt"),
            b.INT64: lambda at, _: self._integers(piece.int64[at], "$numberLong"),
            b.TIMESTAMP: lambda at, _: self._timestamps(piece.int64[at].view(np.uint64)),
            b.DECIMAL: lambda at, _: joined('{"$numberDecimal":"', decimal_of(piece, at), '"}'),
            b.MIN_KEY: lambda at, _: _repeated('{"$minKey":1}', len(at)),
            b.MAX_KEY: lambda at, _: _repeated('{"$maxKey":1}', len(at)),
        }

    def documents(self, starts: Ints) -> pa.Array:
        """The documents that begin there, as JSON objects."""
        children = self._piece.elements(starts)
        self._refuse_wrappers()
        names = array_of(self._names_so_far(), pa.string()).take(as_arrow(children.key))
        return joined("{", self._lists(joined(names, self.values(children)), children, len(starts)), "}")

    def values(self, elements: Elements) -> pa.Array:
        """The values of elements, whatever their types.

        Raises:
            DataError: a text is no UTF-8, or a field is named like a wrapper.
        """
        parts = []
        for code in np.flatnonzero(np.bincount(elements.type, minlength=256)).tolist():
            which = np.flatnonzero(elements.type == code)
            starts, ends = elements.start[which], elements.end[which]
            write = self._of.get(code)
            parts.append((which, write(starts, ends) if write else self._one_by_one(code, starts, ends)))
        return gathered(parts, len(elements), pa.string())

    def _arrays(self, starts: Ints) -> pa.Array:
        children = self._piece.elements(starts)
        return joined("[", self._lists(self.values(children), children, len(starts)), "]")

    def _lists(self, texts: pa.Array, children: Elements, count: int) -> pa.Array:
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(children.parent, minlength=count), out=offsets[1:])
        return pc.binary_join(pa.ListArray.from_arrays(as_arrow(offsets), texts), _COMMA)

    def _names_so_far(self) -> list[str]:
        for name in self._piece.names[len(self._names) :]:
            self._names.append(f"{quoted(name_text(name))}:")
        return self._names

    def _refuse_wrappers(self) -> None:
        names = self._piece.names[len(self._names) :]
        if self._keep_wrappers or not (strange := sorted(WRAPPERS.intersection(names))):
            return
        raise DataError(
            f"a document has a field named {strange[0].decode()}, which means a type in Extended JSON",
            hint="`wrapper_names: keep` writes it as it is; whoever reads the JSON must know of it",
        )

    def _doubles(self, values: Any) -> pa.Array:
        texts = as_arrow(values).cast(pa.string())
        whole = pc.match_substring_regex(texts, r"^-?\d+$")
        if pc.any(whole).as_py():
            texts = pc.if_else(whole, joined(texts, ".0"), texts)
        odd = ~np.isfinite(values)
        if odd.any():
            texts = pc.replace_with_mask(
                texts, as_arrow(odd), array_of([_odd_double(v) for v in values[odd].tolist()], pa.string())
            )
        if self._canonical:
            return joined('{"$numberDouble":"', texts, '"}')
        if odd.any():
            return pc.if_else(as_arrow(odd), joined('{"$numberDouble":"', texts, '"}'), texts)
        return texts

    def _integers(self, values: Any, wrapper: str) -> pa.Array:
        texts = as_arrow(values).cast(pa.string())
        return joined(f'{{"{wrapper}":"', texts, '"}') if self._canonical else texts

    def _dates(self, values: Ints) -> pa.Array:
        usual = (values >= 0) & (values < YEAR_10000)
        if self._canonical:
            usual[:] = False
        parts: list[tuple[Ints, pa.Array]] = []
        if usual.any():
            texts = as_arrow(values[usual]).cast(pa.timestamp("ms")).cast(pa.string())
            texts = pc.replace_substring(pc.replace_substring(texts, " ", "T"), ".000", "")
            parts.append((np.flatnonzero(usual), joined('{"$date":"', texts, 'Z"}')))
        if not usual.all():
            texts = as_arrow(values[~usual]).cast(pa.string())
            parts.append((np.flatnonzero(~usual), joined('{"$date":{"$numberLong":"', texts, '"}}')))
        return gathered(parts, len(values), pa.string())

    def _timestamps(self, values: Any) -> pa.Array:
        seconds, number = (as_arrow(part).cast(pa.string()) for part in (values >> 32, values & 0xFFFFFFFF))
        return joined('{"$timestamp":{"t":', seconds, ',"i":', number, "}}")

    def _one_by_one(self, code: int, starts: Ints, ends: Ints) -> pa.Array:
        places = zip(starts.tolist(), ends.tolist(), strict=True)
        return array_of([self._rare(code, start, end) for start, end in places], pa.string())

    def _rare(self, code: int, start: int, end: int) -> str:
        raw = self._piece.raw
        if code == b.BINARY:
            return binary_json(raw[start + 5 : end], raw[start + 4])
        if code == b.REGEX:
            pattern, options = (quoted(utf8(part)) for part in raw[start : end - 1].split(b"\0"))
            return f'{{"$regularExpression":{{"pattern":{pattern},"options":{options}}}}}'
        if code == b.DB_POINTER:
            reference, id = quoted(utf8(raw[start + 4 : end - 13])), raw[end - 12 : end].hex()
            return f'{{"$dbPointer":{{"$ref":{reference},"$id":{{"$oid":"{id}"}}}}}}'
        if code == b.CODE_WITH_SCOPE:
            size = int(self._piece.int32[start + 4])
            if (
                not 0 < size <= end - start - 13
                or int(self._piece.int32[start + 8 + size]) != end - start - 8 - size
            ):
                raise b.damaged()
            text = quoted(utf8(raw[start + 8 : start + 7 + size]))
            scope = self.documents(np.array([start + 8 + size]))[0].as_py()
            return f'{{"$code":{text},"$scope":{scope}}}'
        name = {b.CODE: "$code", b.SYMBOL: "$symbol"}[code]
        return f'{{"{name}":{quoted(utf8(raw[start + 4 : end - 1]))}}}'


def binary_json(data: bytes, subtype: int) -> str:
    """Binary data in its wrapper; the old subtype 2 repeats its length inside, which JSON does not."""
    if subtype == 2 and len(data) >= 4 and int.from_bytes(data[:4], "little") == len(data) - 4:
        data = data[4:]
    return f'{{"$binary":{{"base64":"{b64encode(data).decode()}","subType":"{subtype:02x}"}}}}'


def utf8(data: bytes) -> str:
    """The text of bytes that must be UTF-8.

    Raises:
        DataError: they are not.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _no_utf8(array_of([data], pa.binary())) from error


def name_text(name: bytes) -> str:
    """A field's name."""
    return utf8(name)


def _as_json(texts: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(texts, _TO_ESCAPE)
    if not pc.any(special).as_py():
        return joined('"', texts, '"')
    escaped = [quoted(text)[1:-1] for text in texts.filter(special).to_pylist()]
    return joined('"', pc.replace_with_mask(texts, special, array_of(escaped, pa.string())), '"')


def _no_utf8(found: pa.Array) -> DataError:
    for value in found.to_pylist():
        try:
            value.decode()
        except UnicodeDecodeError:
            return DataError(
                f"a text is no UTF-8: {value[:60]!r}",
                hint="repair it, or leave it out: exclude_columns, or a pipeline with $unset",
            )
    raise AssertionError("every text is UTF-8")


def _odd_double(value: float) -> str:
    return "Infinity" if value > 0 else "-Infinity" if value < 0 else "NaN"


def _repeated(text: str, count: int) -> pa.Array:
    return array_of([text], pa.string()).take(as_arrow(np.zeros(count, np.int64)))


def _fixed_text(characters: Any) -> pa.Array:
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * width
    data = pa.py_buffer(np.ascontiguousarray(characters))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), data)


def _any_digit(piece: Piece, starts: Ints) -> Any:
    return (piece.int64[starts] != 0) | (piece.int64[starts + 8] & ((1 << 49) - 1) != 0)
