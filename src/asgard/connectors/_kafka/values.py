"""What is in a message as Arrow columns: bytes, text and JSON; a decoder for each. Avro and Protobuf have
files of their own.

A message that a decoder cannot read becomes no row: it is told by its number, with the reason. A part of a
message that has no column, or does not fit the type of its column, is kept as JSON in `_rescued`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import pyarrow as pa

from asgard.core.errors import DataError
from asgard.transport.column_types import field_of
from asgard.transport.json_records import typed_records
from asgard.transport.json_text import dumps, parse

VALUE = "value"
RESCUED = "_rescued"
JSON = {"asgard.type": "json"}

Payloads = Sequence[bytes | None]


@dataclass
class Decoded:
    """Payloads as columns.

    Attributes:
        columns: one array for each of the decoder's fields, one row for each payload; null where the payload
            is, and where it could not be decoded.
        failures: row to the reason.
    """

    columns: list[pa.Array]
    failures: dict[int, str] = field(default_factory=dict)


class Decoder(Protocol):
    """Reads the payloads of one topic, keys or values. Used by one thread."""

    fields: tuple[pa.Field, ...]

    def decode(self, payloads: Payloads) -> Decoded:
        """All payloads of a batch; None is a null."""
        ...


class RawDecoder:
    """Bytes as they are."""

    def __init__(self, name: str = VALUE) -> None:
        self.fields = (pa.field(name, pa.binary()),)

    def decode(self, payloads: Payloads) -> Decoded:
        """Everything is fine as bytes."""
        return Decoded([pa.array(payloads, pa.binary(), from_pandas=False)])


class TextDecoder:
    """Text in UTF-8."""

    def __init__(self, name: str = VALUE, metadata: Mapping[str, str] | None = None) -> None:
        self.fields = (pa.field(name, pa.string(), metadata=metadata),)

    def decode(self, payloads: Payloads) -> Decoded:
        """Payloads that are not UTF-8 fail."""
        failures: dict[int, str] = {}
        return Decoded([_texts(payloads, failures)], failures)


def _texts(payloads: Payloads, failures: dict[int, str]) -> pa.Array:
    raw = pa.array(payloads, pa.binary(), from_pandas=False)
    try:
        return raw.cast(pa.string())  # sees that it is UTF-8
    except pa.ArrowInvalid:
        kept: list[bytes | None] = []
        for row, payload in enumerate(payloads):
            try:
                if payload is not None:
                    payload.decode()
                kept.append(payload)
            except UnicodeDecodeError as error:
                failures[row] = f"it is not UTF-8 text at byte {error.start}; as raw it is carried as bytes"
                kept.append(None)
        return pa.array(kept, pa.binary(), from_pandas=False).cast(pa.string())


class JsonDecoder:
    """JSON, kept as the text that it is; what is no JSON fails."""

    def __init__(self, name: str = VALUE) -> None:
        self._texts = TextDecoder(name, JSON)
        self.fields = self._texts.fields

    def decode(self, payloads: Payloads) -> Decoded:
        """Every payload is parsed, and its text kept to the letter."""
        failures: dict[int, str] = {}
        for row, payload in enumerate(payloads):
            if payload is not None:
                try:
                    orjson.loads(payload)
                except orjson.JSONDecodeError:
                    _parsed(payload, row, failures)  # the slower parser knows more, and the reason
        good = [None if row in failures else payload for row, payload in enumerate(payloads)]
        return Decoded([_texts(good, failures)], failures)


class JsonColumnsDecoder:
    """JSON objects whose named fields are columns; all the rest stays JSON.

    Args:
        columns: name of the field to the type that it is to have.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._own = tuple(field_of(name, word) for name, word in columns.items())
        self.fields = (*self._own, pa.field(RESCUED, pa.string(), metadata=JSON))

    def decode(self, payloads: Payloads) -> Decoded:
        """Fields that are missing are null; those that do not fit their column are rescued."""
        failures: dict[int, str] = {}
        objects: list[dict[str, Any]] = []
        rests: list[Any] = []
        wanted = [column.name for column in self._own]
        for row, payload in enumerate(payloads):
            found = None if payload is None else _parsed(payload, row, failures)
            if isinstance(found, dict):
                objects.append({name: found.pop(name) for name in wanted if name in found})
                rests.append(found)
            else:
                objects.append({})
                # a list or a number has no fields: all of it is rescued, JSON's own null too
                rests.append({} if payload is None or row in failures else _Whole(found))
        try:
            columns = list(typed_records(objects, pa.schema(self._own), "value").columns)
        except DataError:
            columns = [self._column(column, objects, rests) for column in self._own]
        texts = [_rescued(rest) for rest in rests]
        return Decoded([*columns, pa.array(texts, pa.string())], failures)

    def _column(self, column: pa.Field, objects: list[dict[str, Any]], rests: list[Any]) -> pa.Array:
        schema = pa.schema([column])
        records = [{column.name: one.get(column.name)} for one in objects]
        try:
            return typed_records(records, schema, "value").column(0)
        except DataError:
            # One by one: each value stands or falls by itself.
            return pa.concat_arrays([_alone(*pair, schema) for pair in zip(records, rests, strict=True)])


def _alone(record: dict[str, Any], rest: Any, schema: pa.Schema) -> pa.Array:
    """The one value as an array; null where it does not fit, and then it is with the rest."""
    try:
        return typed_records([record], schema, "value").column(0)
    except DataError:
        rest.update(record)
        return pa.nulls(1, schema.field(0).type)


class UnframedDecoder:
    """Payloads that may stand behind the number of a schema: a byte 0, which begins no JSON, and four."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner
        self.fields = inner.fields

    def decode(self, payloads: Payloads) -> Decoded:
        """What the inner decoder makes of payloads without their frames."""
        bare = [one[5:] if one and one[0] == 0 and len(one) > 5 else one for one in payloads]
        return self._inner.decode(bare)


class _Whole:
    """A JSON value that is no object."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _rescued(rest: Any) -> str | None:
    if isinstance(rest, _Whole):
        return dumps(rest.value)
    return dumps(rest) if rest else None


def _parsed(payload: bytes, row: int, failures: dict[int, str]) -> Any:
    try:
        return parse(payload, "the message")
    except DataError as error:
        failures[row] = f"it is no JSON: {error.what}; as raw or text it is carried as it is"
        return None
