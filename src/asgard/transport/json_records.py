"""JSON records as Arrow: one type for each name, proved by every value that stands under it.

    every value is                 type
    true, false                    bool
    an integer of 64 bits          int64
    a number                       decimal if 38 digits hold all of them, else the double that means the same
    a string                       text: JSON has no dates, `columns: {created_at: timestamptz}` makes one
    an object or a list            JSON text, `asgard.type` json
    of several kinds               JSON text of each: nothing is taken for something else
    null or missing everywhere     null

A record that is no object is one column, `value`. Knows no file and no protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asgard.core.columns import array_of, scalar_of, texts_of
from asgard.core.errors import DataError
from asgard.transport.column_types import field_of
from asgard.transport.json_text import Records, dump_all, dumps
from asgard.transport.text_proof import NumberProof, convert_texts, misfit

ONLY = "value"
MOST_EXPONENT = 400
"""Beyond any double: digits are not written out for it, as 1e999999999 would have a gigabyte of them."""
_NUMBERS = {int, float, Decimal}
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (bool, int, float, Decimal, str, dict, list)}


class RecordColumns:
    """Records as columns of values, turned once: to prove types and to make arrays of them."""

    def __init__(self, records: Records) -> None:
        self._objects: Sequence[dict[str, Any]] = records
        if not all(type(record) is dict for record in records):
            self._objects = [record if type(record) is dict else {ONLY: record} for record in records]
        shapes = dict.fromkeys(map(tuple, self._objects))
        self.names = list(dict.fromkeys(chain.from_iterable(shapes)))
        self._values: dict[str, Sequence[Any]] = {}
        if len(shapes) == 1:  # all have the same names in the same order
            columns = zip(*[record.values() for record in self._objects], strict=True)
            self._values = dict(zip(self.names, columns, strict=True))
        self._kinds: dict[str, frozenset[type]] = {}
        self._numbers: dict[str, pa.Array] = {}

    def values(self, name: str) -> Sequence[Any]:
        """What stands under a name; None where nothing does."""
        if name not in self._values:
            self._values[name] = [record.get(name) for record in self._objects]
        return self._values[name]

    def kinds(self, name: str) -> frozenset[type]:
        """The Python types of the values that are not None."""
        if name not in self._kinds:
            self._kinds[name] = frozenset(map(type, self.values(name))) - {type(None)}
        return self._kinds[name]

    def numbers(self, name: str) -> pa.Array:
        """The numbers under a name as plain digits: `1E-7` and `0.00000010` are one number, however it was
        written and parsed."""
        if name not in self._numbers:
            values = self.values(name)
            quick = _quick_digits(values) if self.kinds(name) == {float} else None
            self._numbers[name] = (
                quick if quick is not None else array_of([_digits(value) for value in values], pa.string())
            )
        return self._numbers[name]


def _quick_digits(values: Sequence[float | None]) -> pa.Array | None:
    """The same for doubles, whose shortest digits Arrow writes as Python does; None where exponents come."""
    texts = pc.cast(array_of(values, pa.float64()), pa.string())
    return None if pc.any(pc.match_substring(texts, "e")).as_py() else texts


@dataclass
class _ColumnProof:
    kinds: frozenset[type] = frozenset()
    numbers: NumberProof = field(default_factory=NumberProof)
    numbers_fit: bool = True

    def see(self, columns: RecordColumns, name: str) -> None:
        kinds = columns.kinds(name)
        self.kinds |= kinds
        if not kinds or not self.kinds <= _NUMBERS or not self.numbers_fit:
            return
        if kinds == {int}:
            present = [value for value in columns.values(name) if value is not None]
            self.numbers.see_integers(min(present), max(present))
            self.numbers_fit = self.numbers.type is not None
        else:
            self.numbers_fit = self.numbers.see_texts(columns.numbers(name).drop_null())

    def to_json(self) -> list[Any]:
        n = self.numbers
        digits = [n.whole, n.scale, n.int64, n.exponents, n.float64]
        return [sorted(kind.__name__ for kind in self.kinds), self.numbers_fit, digits]

    @classmethod
    def from_json(cls, document: Any) -> _ColumnProof:
        kinds, fit, digits = document
        proof = cls(frozenset(_KINDS[kind] for kind in kinds), numbers_fit=fit)
        n = proof.numbers
        n.whole, n.scale, n.int64, n.exponents, n.float64 = digits
        return proof

    def field(self, name: str) -> pa.Field:
        if not self.kinds:
            return pa.field(name, pa.null())
        if self.kinds == {str}:
            return pa.field(name, pa.string())
        if self.kinds == {bool}:
            return pa.field(name, pa.bool_())
        if self.kinds <= _NUMBERS and self.numbers_fit:
            return pa.field(name, self.numbers.type)
        return field_of(name, "json")


@dataclass
class RecordProofs:
    """The names in order of appearance, and what their values prove. Feed it all records, then ask.

    Attributes:
        pinned: name to the type that the user wants.
        dropped: names that are not wanted.
    """

    pinned: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    _proofs: dict[str, _ColumnProof] = field(default_factory=dict)

    def see(self, records: Records | RecordColumns) -> None:
        """Takes more records into account."""
        columns = records if isinstance(records, RecordColumns) else RecordColumns(records)
        for name in columns.names:
            if name in self.dropped:
                continue
            proof = self._proofs.setdefault(name, _ColumnProof())
            if name not in self.pinned:
                proof.see(columns, name)

    def expect(self, names: Iterable[str]) -> None:
        """Takes names for columns that may not have come yet."""
        for name in names:
            if name not in self.dropped:
                self._proofs.setdefault(name, _ColumnProof())

    def to_json(self) -> dict[str, Any]:
        """What is proved so far, to go on from later."""
        return {name: proof.to_json() for name, proof in self._proofs.items()}

    def recall(self, document: Mapping[str, Any]) -> None:
        """Goes on from what was proved before.

        Raises:
            KeyError, TypeError, ValueError: it is not of `to_json`.
        """
        for name, proof in document.items():
            if name not in self.dropped:
                self._proofs[name] = _ColumnProof.from_json(proof)

    @property
    def schema(self) -> pa.Schema:
        """The columns with the types that the records seen so far prove."""
        return pa.schema(
            field_of(name, self.pinned[name]) if name in self.pinned else proof.field(name)
            for name, proof in self._proofs.items()
        )


def typed_records(
    records: Records | RecordColumns, schema: pa.Schema, name: str, dropped: frozenset[str] = frozenset()
) -> pa.RecordBatch:
    """The records in the schema; names that a record does not have are null.

    Args:
        name: of the file or stream, for errors.
        dropped: names that are not wanted.

    Raises:
        DataError: a value does not fit its column, or a record has a name that the schema does not have.
    """
    columns = records if isinstance(records, RecordColumns) else RecordColumns(records)
    if strange := set(columns.names) - set(schema.names) - dropped:
        raise DataError(
            f"{name} has names that are no columns: {', '.join(sorted(strange))}",
            hint="they came while it was being read: run again",
            where={"stream": name},
        )
    arrays = [_array(columns, column, name) for column in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else pa.RecordBatch.from_pylist([])


def _array(columns: RecordColumns, column: pa.Field, name: str) -> pa.Array:
    where = {"stream": name, "column": column.name}
    values, kinds = columns.values(column.name), columns.kinds(column.name)
    try:
        if (column.metadata or {}).get(b"asgard.type") == b"json":
            return texts_of(dump_all(values), [value is not None for value in values])
        if pa.types.is_string(column.type):
            texts = values if kinds <= {str} else [_as_text(value) for value in values]
            return array_of(texts, pa.string())
        if pa.types.is_decimal(column.type) and kinds <= _NUMBERS:
            return convert_texts(columns.numbers(column.name), column.type, where)
        if kinds == {str}:
            return convert_texts(array_of(values, pa.string()), column.type, where)
        if str in kinds:
            return _mixed_array(columns, column, name)
        return _native_array(values, kinds, column, where)
    except RecursionError as error:
        raise DataError(
            "a value is nested too deeply",
            hint=f"leave it out: `exclude_columns: [{column.name}]`",
            where=where,
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"a text has half of a surrogate pair, which is no character: {error.object[:60]!r}",
            hint=f"`columns: {{{column.name}: json}}` in asgard.yml carries it as it is written",
            where=where,
        ) from error


def _mixed_array(columns: RecordColumns, column: pa.Field, name: str) -> pa.Array:
    """Texts beside values of JSON's own kinds: each of them as it is in a column of its kind."""
    sides = (
        [value if (type(value) is str) is texts else None for value in columns.values(column.name)]
        for texts in (True, False)
    )
    arrays = [_array(RecordColumns([{column.name: value} for value in side]), column, name) for side in sides]
    return pc.coalesce(*arrays)


def _native_array(
    values: Sequence[Any], kinds: frozenset[type], column: pa.Field, where: dict[str, str]
) -> pa.Array:
    accepted = _accepted(column.type)
    try:
        if kinds == {bool} == accepted or (kinds == {int} and pa.types.is_integer(column.type)):
            return array_of(values, column.type)
        if kinds <= accepted:
            return array_of([None if v is None else _native(v, column.type) for v in values], column.type)
    except (pa.ArrowInvalid, OverflowError, ValueError):
        pass
    for value in values:
        try:
            if value is None or (
                type(value) in accepted and scalar_of(_native(value, column.type), column.type)
            ):
                continue
        except (pa.ArrowInvalid, OverflowError, ValueError):
            pass
        raise misfit(value, column.type, where)
    raise AssertionError("every value fits, but all of them do not")


def _accepted(type: pa.DataType) -> set[Any]:
    if pa.types.is_boolean(type):
        return {bool}
    return _NUMBERS if pa.types.is_integer(type) or pa.types.is_floating(type) else set()


def _native(value: Any, type: pa.DataType) -> Any:
    if pa.types.is_floating(type):
        return float(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if value.adjusted() > MOST_EXPONENT or int(value) != value:
            raise ValueError("a fraction, or too large")
        return int(value)
    return value


def _digits(number: int | float | Decimal | None) -> str | None:
    if number is None:
        return None
    text = str(number)
    if "e" in text or "E" in text:
        exact = Decimal(text)
        text = format(exact, "f") if abs(exact.adjusted()) < MOST_EXPONENT else text
    if type(number) is Decimal and text.endswith("0") and "." in text and "E" not in text:
        return text.rstrip("0").removesuffix(".")
    return text.removesuffix(".0")


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else dumps(value)
