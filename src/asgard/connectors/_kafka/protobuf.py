"""Protobuf messages by a schema registry: the newest schema's fields are the columns, each message is read
with the schema that it was written with.

    double, float, bool, string, bytes       float64, float32, bool, text, binary
    int32, int64 and their kin               int32, int64; unsigned ones exactly
    enum                                     text: its name, or the number where it has none
    repeated, map, message                   list, map, struct; well-known types too
    a message that contains itself           JSON text

A field with presence that was not set is null, one without has its default. Fields that the newest schema
does not have, or that do not fit its type, are rescued.

Reference: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from asgard.connectors._kafka.registry import NoSchema, Registry, Schema, expected, unframed
from asgard.connectors._kafka.values import JSON, RESCUED, Decoded, Payloads
from asgard.core.cast import Misfit, convert
from asgard.core.errors import QueryError
from asgard.transport.json_text import dumps

_MAIN = "asgard_main.proto"
_KINDS = {
    "CPPTYPE_INT32": pa.int32(), "CPPTYPE_INT64": pa.int64(), "CPPTYPE_UINT32": pa.uint32(),
    "CPPTYPE_UINT64": pa.uint64(), "CPPTYPE_DOUBLE": pa.float64(), "CPPTYPE_FLOAT": pa.float32(),
    "CPPTYPE_BOOL": pa.bool_(), "CPPTYPE_ENUM": pa.string(),
}  # fmt: skip


class ProtobufDecoder:
    """Messages of one topic. Used by one thread."""

    def __init__(self, registry: Registry, subject: str) -> None:
        self._registry = registry
        self._files: dict[int, Any] = {}
        newest = _compiled(expected(registry.latest(subject), "PROTOBUF", subject))
        if not newest.message_types_by_name:
            raise QueryError(f"the schema of {subject} has no message", hint="format: raw")
        self._own = [_column(field) for field in _first(newest).fields]
        self._names = {column.name for column in self._own}
        self.fields = (*self._own, pa.field(RESCUED, pa.string(), metadata=JSON))

    def decode(self, payloads: Payloads) -> Decoded:
        """Messages of one type together: rows stay in their order."""
        failures: dict[int, str] = {}
        groups: dict[str, list[tuple[int, Any]]] = {}
        for row, payload in enumerate(payloads):
            try:
                if payload is not None:
                    number, body = unframed(payload)
                    message = self._message(number, body)
                    groups.setdefault(f"{number} {message.DESCRIPTOR.full_name}", []).append((row, message))
            except NoSchema as error:
                failures[row] = f"{error}; as raw it is carried as bytes"
        places: list[int | None] = [None] * len(payloads)
        for place, row in enumerate(row for some in groups.values() for row, _ in some):
            places[row] = place
        parts = [self._columns([message for _, message in some]) for some in groups.values()]
        taken = pa.array(places, pa.int64())
        columns = []
        for number, column in enumerate(self.fields):
            arrays = [part[number] for part in parts] or [pa.nulls(0, column.type)]
            columns.append(pa.concat_arrays(arrays).take(taken))
        return Decoded(columns, failures)

    def _message(self, number: int, body: bytes) -> Any:
        from google.protobuf.message import DecodeError
        from google.protobuf.message_factory import GetMessageClass
        from google.protobuf.unknown_fields import UnknownFieldSet

        if number not in self._files:
            schema = self._registry.schema(number)
            if schema.kind != "PROTOBUF":
                raise NoSchema(f"its schema {number} is {schema.kind}")
            self._files[number] = _compiled(schema)
        indexes, start = _indexes(body)
        message = GetMessageClass(_at(self._files[number], indexes))()
        try:
            message.ParseFromString(body[start:])
        except DecodeError as error:
            raise NoSchema("it is not what its schema says") from error
        if len(UnknownFieldSet(message)):
            raise NoSchema("it has fields that its schema does not have")
        return message

    def _columns(self, messages: list[Any]) -> list[pa.Array]:
        written = messages[0].DESCRIPTOR.fields_by_name
        rests: list[dict[str, Any]] = [{} for _ in messages]
        arrays = []
        for column in self._own:
            field = written.get(column.name)
            array = None if field is None else _fitting(field, column, messages)
            if array is None and field is not None:
                _rescue(field, messages, rests)
            arrays.append(pa.nulls(len(messages), column.type) if array is None else array)
        for name, field in written.items():
            if name not in self._names:
                _rescue(field, messages, rests)
        texts = [dumps(rest) if rest else None for rest in rests]
        return [*arrays, pa.array(texts, pa.string())]


def _fitting(field: Any, column: pa.Field, messages: Sequence[Any]) -> pa.Array | None:
    """The field's values in the column's type; None where they do not all fit it."""
    own = _column(field)
    if (own.metadata or {}) != (column.metadata or {}):
        return None
    try:
        return convert(pa.array([_value(field, one) for one in messages], own.type), column.type)
    except Misfit:
        return None


def _rescue(field: Any, messages: Sequence[Any], rests: Sequence[dict[str, Any]]) -> None:
    from google.protobuf.json_format import MessageToDict

    for message, rest in zip(messages, rests, strict=True):
        if field.name in (one.name for one, _ in message.ListFields()):
            rest[field.name] = MessageToDict(message, preserving_proto_field_name=True)[field.name]


# ---- shapes and values


def _column(field: Any) -> pa.Field:
    kind = _type(field, ())
    return pa.field(field.name, kind or pa.string(), metadata=None if kind else JSON)


def _type(field: Any, above: tuple[str, ...]) -> pa.DataType | None:
    """The Arrow type of a field; None where a message contains itself."""
    if _is_map(field):
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        inner = _type(value, above)
        return None if inner is None else pa.map_(_type(key, above), inner)
    one = _single_type(field, above)
    return pa.list_(one) if one is not None and field.is_repeated else one


def _single_type(field: Any, above: tuple[str, ...]) -> pa.DataType | None:
    message = field.message_type
    if message is None:
        if field.cpp_type == field.CPPTYPE_STRING:
            return pa.binary() if field.type == field.TYPE_BYTES else pa.string()
        return next(kind for name, kind in _KINDS.items() if getattr(field, name) == field.cpp_type)
    if message.full_name in above or not message.fields:
        return None
    types = {one.name: _type(one, (*above, message.full_name)) for one in message.fields}
    return None if None in types.values() else pa.struct(list(types.items()))


def _is_map(field: Any) -> bool:
    message = field.message_type
    return bool(field.is_repeated and message is not None and message.GetOptions().map_entry)


def _value(field: Any, message: Any) -> Any:
    """A field's value as Arrow takes it."""
    if not field.is_repeated and field.has_presence and not message.HasField(field.name):
        return None
    if _type(field, ()) is None:
        from google.protobuf.json_format import MessageToDict

        return dumps(MessageToDict(message, preserving_proto_field_name=True).get(field.name))
    value = getattr(message, field.name)
    if _is_map(field):
        inner = field.message_type.fields_by_name["value"]
        return [(key, _plain(inner, value[key])) for key in value]
    return [_plain(field, one) for one in value] if field.is_repeated else _plain(field, value)


def _plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return {one.name: _value(one, value) for one in field.message_type.fields}
    if field.enum_type is not None:
        found = field.enum_type.values_by_number.get(value)
        return found.name if found is not None else str(value)
    return value


# ---- schemas


def _first(file: Any) -> Any:
    return next(iter(file.message_types_by_name.values()))


def _at(file: Any, indexes: Sequence[int]) -> Any:
    """The message of the frame's path: of the file, then inside of that."""
    try:
        message = list(file.message_types_by_name.values())[indexes[0]]
        for index in indexes[1:]:
            message = message.nested_types[index]
    except IndexError as error:
        raise NoSchema(f"its schema has no message {list(indexes)}") from error
    return message


def _indexes(body: bytes) -> tuple[tuple[int, ...], int]:
    """The path of the message's type, and where the message begins; one 0 stands for the first type."""
    count, at = _varint(body, 0)
    found = []
    for _ in range(count):
        index, at = _varint(body, at)
        found.append(index)
    return tuple(found) or (0,), at


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(body) or shift > 35:
            raise NoSchema("it ends before its message begins")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), at


def _compiled(schema: Schema) -> Any:
    """The schema's file, with the messages that it has.

    Raises:
        QueryError: it is no Protobuf.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_tools import protoc

    own = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory(prefix="asgard-proto-") as name:
        folder = Path(name)
        (folder / _MAIN).write_text(schema.text)
        _write_references(folder, schema.references)
        out = folder / "descriptors"
        done = protoc.main(["protoc", f"-I{folder}", f"-I{own}", "--include_imports",
                            f"--descriptor_set_out={out}", str(folder / _MAIN)])  # fmt: skip
        if done:
            raise QueryError("a schema of the registry is no Protobuf that protoc takes", hint="format: raw")
        files = FileDescriptorSet.FromString(out.read_bytes())
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool.FindFileByName(_MAIN)


def _write_references(folder: Path, references: Mapping[str, Schema]) -> None:
    for name, schema in references.items():
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise QueryError(
                f"a schema refers to {name!r}", hint="names of references must be relative paths"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(schema.text)
        _write_references(folder, schema.references)
