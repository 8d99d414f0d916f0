"""BSON documents into a record batch: each column by itself, and what fits no column into `_rescued`.

A value fits a column if the column's type holds exactly it: an integer in a double that has so many digits, a
date that Arrow's microseconds can count. Everything else keeps its own form, as Extended JSON under its path.
Missing fields and null are null in a column.

Reference: https://bsonspec.org/spec.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.connectors._mongodb import bson as b
from asgard.connectors._mongodb.bson import Elements, Ints, Mask, Piece, as_arrow, as_mask, first_of_each
from asgard.connectors._mongodb.columns import ID, Column, Layout, Seen, written_path
from asgard.connectors._mongodb.json import (
    JsonText,
    decimal_of,
    gathered,
    hex_of,
    joined,
    name_text,
    plain_decimals,
    quoted,
    text_of,
    uuid_of,
)
from asgard.core.columns import array_of, scalar_of
from asgard.core.errors import DataError

DAY_MILLISECONDS = 86_400_000
MOST_MILLISECONDS = (1 << 63) // 1000 - 1
"""Farther from 1970 Arrow's microseconds do not count."""
EXACT_INTEGER = 1 << 53
UUID_SUBTYPE = 4

Fits = tuple[Mask, pa.Array]
"""Which elements fit, and the values of those that do."""


def count_kinds(piece: Piece, depth: int, into: dict[str, Seen]) -> None:
    """Adds the types of a piece's fields to what was seen so far, `depth` levels of objects deep."""
    _count(piece, piece.elements(piece.starts), depth, into)


def _count(piece: Piece, elements: Elements, depth: int, into: dict[str, Seen]) -> None:
    _, firsts = np.unique(elements.key, return_index=True)
    for first in sorted(firsts.tolist()):
        key = elements.key[first]
        those = elements.only(elements.key == key)
        seen = into.setdefault(name_text(piece.names[key]), Seen())
        for code, count in enumerate(np.bincount(those.type, minlength=256).tolist()):
            if count and code == b.BINARY:
                seen.kinds.update(_binary_kind(piece.raw[at + 4]) for at in _starts(those, code).tolist())
            elif count and code not in (b.NULL, b.UNDEFINED):
                seen.kinds[KINDS.get(code, "json")] += count
        if depth > 1 and (objects := _starts(those, b.OBJECT)).size:
            _count(piece, piece.elements(objects), depth - 1, seen.below)


KINDS = {
    b.DOUBLE: "float64", b.STRING: "text", b.OBJECT: "object", b.OBJECT_ID: "objectid", b.BOOL: "bool",
    b.DATE: "timestamptz", b.INT32: "int64", b.INT64: "int64", b.DECIMAL: "decimal128",
}  # fmt: skip
"""The column type that each type of BSON suggests; the others are JSON."""


def _binary_kind(subtype: int) -> str:
    return {0: "binary", UUID_SUBTYPE: "uuid"}.get(subtype, "json")


def _starts(elements: Elements, code: int) -> Ints:
    starts: Ints = elements.start[elements.type == code]
    return starts


@dataclass
class Node:
    """Where the columns lie in the documents: a column, or further names."""

    path: tuple[str, ...] = ()
    column: Column | None = None
    below: dict[bytes, Node] = field(default_factory=dict)


class Decoder:
    """Makes record batches of documents.

    Args:
        keys: columns that must have every value of their field: `_rescued` is no place for a key.
    """

    def __init__(self, layout: Layout, keys: Iterable[str] = ()) -> None:
        self._layout = layout
        self._keys = {ID, *keys}
        self._schema = layout.schema
        self._root = Node()
        for column in layout.columns:
            node = self._root
            for depth, name in enumerate(column.path, 1):
                node = node.below.setdefault(name.encode(), Node(column.path[:depth]))
            node.column = column

    def batch(self, piece: Piece) -> pa.RecordBatch:
        """The documents of a piece, in their order.

        Raises:
            DataError: a key has a value that does not fit its column, or a text is no UTF-8; with the
                document's `_id`.
        """
        try:
            return self._batch(piece)
        except DataError:
            if (alone := self._one_document(piece)) is not None:
                raise alone from None
            raise

    def _one_document(self, piece: Piece) -> DataError | None:
        """The error of the first document that has one by itself, which one it is told."""
        for document in piece.alone():
            try:
                self._batch(document)
            except DataError as error:
                with suppress(DataError):
                    elements = document.elements(document.starts)
                    ids = elements.only(elements.key == document.name_id(ID.encode()))
                    if len(ids):
                        error.at(document=JsonText(document).values(ids)[0].as_py())
                return error
        return None

    def _batch(self, piece: Piece) -> pa.RecordBatch:
        work = _Work(piece, self._layout, self._keys)
        if self._root.below or self._layout.rescues:
            documents = np.arange(len(piece.starts))
            work.place(piece.elements(piece.starts), documents, self._root)
        columns = [work.arrays.get(c.name, None) for c in self._layout.columns]
        arrays = [
            work.nulls(column.field.type) if array is None else array
            for array, column in zip(columns, self._layout.columns, strict=True)
        ]
        if self._layout.document:
            arrays.append(work.text.documents(piece.starts))
        if self._layout.rescues:
            arrays.append(work.rescued())
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


class _Work:
    """One piece on its way into columns."""

    def __init__(self, piece: Piece, layout: Layout, keys: set[str]) -> None:
        self.text = JsonText(piece, layout.canonical, layout.keep_wrappers)
        self.arrays: dict[str, pa.Array] = {}
        self._piece = piece
        self._layout = layout
        self._keys = keys
        self._rescued: list[tuple[Ints, pa.Array]] = []

    def nulls(self, type: pa.DataType) -> pa.Array:
        return pa.nulls(len(self._piece.starts), type)

    def place(self, elements: Elements, documents: Ints, node: Node) -> None:
        """Puts elements into the columns below a node.

        Args:
            documents: number of the document that each parent of the elements belongs to.
        """
        owners = documents[elements.parent]
        homeless = np.ones(len(elements), np.bool_)
        if not self._layout.keep_nulls:
            homeless &= elements.type != b.NULL
        known = np.zeros(len(elements), np.bool_)
        for name, child in node.below.items():
            key = self._piece.name_id(name)
            which = np.flatnonzero(elements.key == key)
            if key < 0 or not which.size:
                continue
            known[which] = True
            which = which[first_of_each(owners[which])]  # a second field of one name is rescued
            placed = self._into_column if child.column else self._into_objects
            fits = placed(child, elements.only(which), owners[which])
            homeless[which[fits]] = False
        if self._layout.document:  # which holds what no column is for
            homeless &= known
        if homeless.any():
            self._rescue(elements.only(homeless), owners[homeless], node.path)

    def _into_objects(self, node: Node, elements: Elements, owners: Ints) -> Mask:
        """Opens objects; empty ones and what is no object stay outside."""
        opened: Mask = elements.type == b.OBJECT
        opened &= self._piece.int32[elements.start] > 5
        if opened.any():
            self.place(self._piece.elements(elements.start[opened]), owners[opened], node)
        return opened

    def _into_column(self, node: Node, elements: Elements, owners: Ints) -> Mask:
        column = node.column
        assert column is not None
        valued = elements.type != b.NULL
        fits, values = self._fitting(column, elements)
        if column.name in self._keys and not (fits | ~valued).all():
            self._refuse_key(column, elements.only(~fits & valued))
        self.arrays[column.name] = gathered(
            [(owners[fits], values)], len(self._piece.starts), column.field.type
        )
        settled: Mask = fits if self._layout.keep_nulls else fits | ~valued
        return settled

    def _fitting(self, column: Column, elements: Elements) -> Fits:
        if column.word.strip().lower() == "json":
            fits = elements.type != b.NULL
            return fits, self.text.values(elements.only(fits))
        for known, fitting in _FITTING:
            if known(column):
                return fitting(self._piece, elements, column.field.type)
        raise AssertionError(f"no reader for {column.word}")

    def _refuse_key(self, column: Column, misfits: Elements) -> None:
        value = self.text.values(misfits.only([0]))[0].as_py()
        raise DataError(
            f"{written_path(column.path)} is {value}, which is no {column.word}",
            hint=f"`columns: {{{written_path(column.path)}: json}}` takes every value",
            where={"column": column.name},
        )

    def _rescue(self, elements: Elements, owners: Ints, above: tuple[str, ...]) -> None:
        names = [quoted(written_path((*above, name_text(name)))) + ":" for name in self._piece.names]
        keys = array_of(names, pa.string()).take(as_arrow(elements.key))
        self._rescued.append((owners, joined(keys, self.text.values(elements))))

    def rescued(self) -> pa.Array:
        """For each document an object of path to value; null where every value found its place."""
        if not self._rescued:
            return self.nulls(pa.string())
        owners = np.concatenate([owner for owner, _ in self._rescued])
        texts = pa.concat_arrays([text for _, text in self._rescued])
        order = np.argsort(owners, kind="stable")
        offsets = np.zeros(len(self._piece.starts) + 1, np.int32)
        counts = np.bincount(owners, minlength=len(self._piece.starts))
        np.cumsum(counts, out=offsets[1:])
        lists = pa.ListArray.from_arrays(as_arrow(offsets), texts.take(as_arrow(order)))
        objects = joined("{", pc.binary_join(lists, scalar_of(",", pa.string())), "}")
        return pc.if_else(as_arrow(counts > 0), objects, scalar_of(None, pa.string()))


# ---- which values fit a type


def _numbers(piece: Piece, elements: Elements) -> tuple[Mask, Ints]:
    """Which elements are whole numbers of 64 bits, and all as such; doubles that are whole count."""
    values = np.zeros(len(elements), np.int64)
    small, large, double = (elements.type == code for code in (b.INT32, b.INT64, b.DOUBLE))
    values[small] = piece.int32[elements.start[small]]
    values[large] = piece.int64[elements.start[large]]
    whole = small | large
    if double.any():
        read = piece.float64[elements.start[double]]
        with np.errstate(invalid="ignore"):  # a signalling NaN
            fits = np.isfinite(read) & (np.abs(read) < 2.0**63) & (np.trunc(read) == read)
        fits &= ~((read == 0) & np.signbit(read))
        places = np.flatnonzero(double)
        values[places[fits]] = read[fits].astype(np.int64)
        whole[places[fits]] = True
    return whole, values


def _integers(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits, values = _numbers(piece, elements)
    bound = 1 << (type.bit_width - 1)
    if type.bit_width < 64:
        fits &= (values >= -bound) & (values < bound)
    return fits, as_arrow(values[fits]).cast(type)


def _floats(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    double = elements.type == b.DOUBLE
    exact = EXACT_INTEGER if t.is_float64(type) else 1 << 24
    small, large = elements.type == b.INT32, elements.type == b.INT64
    values = np.zeros(len(elements), np.float64)
    values[double] = piece.float64[elements.start[double]]
    fits = double.copy()
    for which, numbers in ((small, piece.int32), (large, piece.int64)):
        if which.any():
            read = numbers[elements.start[which]].astype(np.int64)
            fits[which] = (read <= exact) & (read >= -exact)
            values[which] = read
    if t.is_float32(type):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = values.astype(np.float32)
        fits &= (narrow.astype(np.float64) == values) | np.isnan(values)
        return fits, as_arrow(narrow[fits])
    return fits, as_arrow(values[fits])


def _bools(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.BOOL
    return fits, as_arrow(piece.bytes[elements.start[fits]] != 0)


def _times(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.DATE
    read = piece.int64[np.where(fits, elements.start, 0)]
    if t.is_date(type):
        days = read // DAY_MILLISECONDS
        fits &= (read % DAY_MILLISECONDS == 0) & (np.abs(days) < 1 << 31)
        return fits, as_arrow(days[fits].astype(np.int32)).cast(type)
    fits &= (read <= MOST_MILLISECONDS) & (read >= -MOST_MILLISECONDS)
    return fits, as_arrow(read[fits] * 1000).cast(type)


def _texts(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.STRING
    return fits, text_of(piece, elements.start[fits], elements.end[fits])


def _binaries(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.BINARY
    fits &= piece.bytes[np.where(fits, elements.start + 4, 0)] == 0
    starts = elements.start[fits]
    return fits, piece.texts(starts + 5, elements.end[fits] - starts - 5)


def _object_ids(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.OBJECT_ID
    return fits, hex_of(piece, elements.start[fits], 12)


def _uuids(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = (elements.type == b.BINARY) & (elements.end - elements.start == 21)
    fits &= piece.bytes[np.where(fits, elements.start + 4, 0)] == UUID_SUBTYPE
    return fits, uuid_of(piece, elements.start[fits] + 5)


def _decimal_texts(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    fits = elements.type == b.DECIMAL
    return fits, decimal_of(piece, elements.start[fits])


def _decimals(piece: Piece, elements: Elements, type: pa.DataType) -> Fits:
    """Decimal128 and integers whose digits the type has; zeros at the end do not count."""
    fits = np.zeros(len(elements), np.bool_)
    parts: list[tuple[Ints, pa.Array]] = []
    places = np.flatnonzero(elements.type == b.DECIMAL)
    for _, which, values in plain_decimals(piece, elements.start[places]):
        parts.append((places[which], _as_decimal(values, type)))
    integers = np.flatnonzero((elements.type == b.INT32) | (elements.type == b.INT64))
    if integers.size:
        whole = as_arrow(_numbers(piece, elements.only(integers))[1]).cast(pa.decimal128(19, 0))
        parts.append((integers, _as_decimal(whole, type)))
    values = gathered(parts, len(elements), type)
    fits[:] = as_mask(values.is_valid())
    return fits, values.drop_null()


def _as_decimal(values: pa.Array, type: pa.DataType) -> pa.Array:
    """The values with the type's digits, null where it does not hold one."""
    try:
        return values.cast(type)
    except pa.ArrowInvalid:
        return pa.array([_one_decimal(value, type) for value in values], type)


def _one_decimal(value: pa.Scalar, type: pa.DataType) -> Any:
    try:
        return value.cast(type).as_py()
    except pa.ArrowInvalid:
        return None


_Fitting = Callable[[Piece, Elements, pa.DataType], Fits]
_FITTING: tuple[tuple[Callable[[Column], bool], _Fitting], ...] = (
    (lambda column: column.word == "objectid", _object_ids),
    (lambda column: column.word == "uuid", _uuids),
    (lambda column: column.word == "decimal128", _decimal_texts),
    (lambda column: t.is_string(column.field.type), _texts),
    (lambda column: t.is_binary(column.field.type), _binaries),
    (lambda column: t.is_boolean(column.field.type), _bools),
    (lambda column: t.is_integer(column.field.type), _integers),
    (lambda column: t.is_floating(column.field.type), _floats),
    (lambda column: t.is_decimal(column.field.type), _decimals),
    (lambda column: t.is_date(column.field.type) or t.is_timestamp(column.field.type), _times),
)
