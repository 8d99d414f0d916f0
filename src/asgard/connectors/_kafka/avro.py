"""Avro messages by a schema registry: the newest schema's fields are the columns, each message is read with
the schema that it was written with.

    boolean, int, long, float, double   bool, int32, int64, float32, float64
    bytes, fixed; string, enum          binary; text
    date, time-*, timestamp-*, local-*  date, time, timestamp with UTC, without a zone
    decimal                             decimal up to 38 digits, else text with all digits
    uuid                                text, `asgard.type` uuid
    array, map, record                  list, map, struct
    [null, X]                           X
    other unions, recursive records     JSON text

A field that the newest schema does not have, or that does not fit its type, is rescued; a field that the
message's schema does not have is null, whatever default the newest one has for it.

Reference: https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from asgard.connectors._kafka.registry import NoSchema, Registry, Schema, expected, unframed
from asgard.connectors._kafka.values import JSON, RESCUED, VALUE, Decoded, Payloads
from asgard.core.cast import Misfit, convert
from asgard.transport.json_text import dumps

MOST_DIGITS = 38
_UTC = "UTC"
_PLAIN = {
    "null": pa.null(), "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "bytes": pa.binary(), "string": pa.string(),
}  # fmt: skip
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", _UTC),
    ("long", "timestamp-micros"): pa.timestamp("us", _UTC),
    ("long", "timestamp-nanos"): pa.timestamp("ns", _UTC),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Shape:
    """How values of an Avro type become Arrow's.

    Attributes:
        change: what fastavro gives into what Arrow takes; None where that is the same.
        label: `asgard.type`, where the Arrow type does not say it.
    """

    type: pa.DataType
    change: Change | None = None
    label: str = ""

    def field(self, name: str) -> pa.Field:
        """The column."""
        return pa.field(name, self.type, metadata={"asgard.type": self.label} if self.label else None)

    def array(self, values: list[Any]) -> pa.Array:
        """The values; None is null."""
        change = self.change
        if change is not None:
            values = [None if value is None else change(value) for value in values]
        return pa.array(values, self.type)


@dataclass(frozen=True)
class Writer:
    """A schema that messages were written with.

    Attributes:
        parsed: for fastavro, without the logical types that it would make Python objects of.
        shapes: by field; one nameless shape where messages are no records.
    """

    parsed: Any
    shapes: Mapping[str, Shape]
    is_record: bool


class AvroDecoder:
    """Messages of one topic. Used by one thread."""

    def __init__(self, registry: Registry, subject: str, name: str = VALUE) -> None:
        self._registry = registry
        self._name = name
        self._writers: dict[int, Writer] = {}
        self._newest = _writer(expected(registry.latest(subject), "AVRO", subject), name)
        own = [shape.field(field) for field, shape in self._newest.shapes.items()]
        self._own = tuple(own)
        self.fields = (*own, pa.field(RESCUED, pa.string(), metadata=JSON))

    def decode(self, payloads: Payloads) -> Decoded:
        """Messages of one schema together: rows stay in their order."""
        failures: dict[int, str] = {}
        groups: dict[int, list[tuple[int, Any]]] = {}
        for row, payload in enumerate(payloads):
            try:
                if payload is not None:
                    number, body = unframed(payload)
                    found = _read(self._writer_of(number), body)
                    groups.setdefault(number, []).append((row, found))
            except NoSchema as error:
                failures[row] = f"{error}; as raw it is carried as bytes"
        order: list[int] = [row for some in groups.values() for row, _ in some]
        parts = [
            self._columns(self._writers[number], [one for _, one in some]) for number, some in groups.items()
        ]
        places: list[int | None] = [None] * len(payloads)
        for place, row in enumerate(order):
            places[row] = place
        taken = pa.array(places, pa.int64())
        columns = []
        for number, column in enumerate(self.fields):
            arrays = [part[number] for part in parts] or [pa.nulls(0, column.type)]
            columns.append(pa.concat_arrays(arrays).take(taken))
        return Decoded(columns, failures)

    def _writer_of(self, number: int) -> Writer:
        if number not in self._writers:
            schema = self._registry.schema(number)
            if schema.kind != "AVRO":
                raise NoSchema(f"its schema {number} is {schema.kind}")
            self._writers[number] = _writer(schema, self._name)
        return self._writers[number]

    def _columns(self, writer: Writer, found: list[Any]) -> list[pa.Array]:
        """One array for each field, rescued ones in the last."""
        records = found if writer.is_record else [{self._name: one} for one in found]
        rests: list[dict[str, Any]] = [{} for _ in records]
        arrays = []
        for column in self._own:
            shape = writer.shapes.get(column.name)
            array = None if shape is None else _fitting(shape, column, [one[column.name] for one in records])
            if array is None:
                if shape is not None:
                    _rescue(column.name, records, rests)
                array = pa.nulls(len(records), column.type)
            arrays.append(array)
        for name in writer.shapes:
            if name not in self._newest.shapes:
                _rescue(name, records, rests)
        texts = [dumps(rest) if rest else None for rest in rests]
        return [*arrays, pa.array(texts, pa.string())]


def _rescue(name: str, records: list[Any], rests: list[dict[str, Any]]) -> None:
    for record, rest in zip(records, rests, strict=True):
        if record[name] is not None:
            rest[name] = _as_json(record[name])


def _fitting(shape: Shape, column: pa.Field, values: list[Any]) -> pa.Array | None:
    """The values in the column's type; None where they do not all fit it."""
    own = shape.field(column.name)
    if (own.metadata or {}) != (column.metadata or {}):
        return None
    try:
        return convert(shape.array(values), column.type)
    except Misfit:
        return None


def _read(writer: Writer, body: bytes) -> Any:
    from fastavro import schemaless_reader

    stream = io.BytesIO(body)
    try:
        found = schemaless_reader(
            stream, writer.parsed, None, return_record_name=True, return_record_name_override=True
        )
    except Exception as error:  # whatever broken bytes bring a parser to
        raise NoSchema(f"it is not what its schema says: {type(error).__name__}") from error
    if stream.tell() != len(body):
        raise NoSchema(f"its schema ends {len(body) - stream.tell()} bytes before it does")
    return found


def _writer(schema: Schema, name: str) -> Writer:
    from fastavro import parse_schema

    named: dict[str, Any] = {}
    for reference in schema.references.values():
        parse_schema(_stripped(json.loads(reference.text)), named)
    written = _document(schema.text)
    parsed = parse_schema(_stripped(written), dict(named))
    shapes = _Shapes()
    for reference in schema.references.values():
        shapes.learn(_document(reference.text))
    if isinstance(written, dict) and written.get("type") == "record":
        shapes.learn(written)
        fields = {
            one["name"]: shapes.of(one["type"], written.get("namespace", "")) for one in written["fields"]
        }
        return Writer(parsed, fields, True)
    return Writer(parsed, {name: shapes.of(written, "")}, False)


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()  # a bare name such as string, without its quotes


def _stripped(schema: Any) -> Any:
    """Without logical types but decimal: fastavro would make datetimes of them, which do not hold all."""
    if isinstance(schema, list):
        return [_stripped(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "logicalType" or value == "decimal"}
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = _stripped(kept[key])
    if "fields" in kept:
        kept["fields"] = [{**one, "type": _stripped(one["type"])} for one in kept["fields"]]
    return kept


class _Shapes:
    """The shapes of a schema's types; names are resolved as Avro does."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[Any, str]] = {}
        self._open: set[str] = set()

    def learn(self, schema: Any, space: str = "") -> None:
        """Takes in the types that have names."""
        if isinstance(schema, list):
            for one in schema:
                self.learn(one, space)
        if not isinstance(schema, dict):
            return
        if "name" in schema and schema.get("type") in ("record", "enum", "fixed"):
            full = _full_name(schema["name"], schema.get("namespace", space))
            space = full.rpartition(".")[0]
            self._named[full] = (schema, space)
        for key in ("items", "values", "type"):
            self.learn(schema.get(key), space)
        for one in schema.get("fields", ()):
            self.learn(one["type"], space)

    def of(self, schema: Any, space: str) -> Shape:
        """The shape of a type."""
        if isinstance(schema, list):
            return self._union(schema, space)
        if isinstance(schema, str):
            if schema in _PLAIN:
                return Shape(_PLAIN[schema], label="null" if schema == "null" else "")
            found, space = self._named[_full_name(schema, space)]
            return self.of(found, space)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.of(kind, space)
        if kind == "record":
            return self._record(schema, space)
        if kind == "array":
            return self._list(self.of(schema["items"], space))
        if kind == "map":
            return self._map(self.of(schema["values"], space))
        return self._leaf(schema, kind, space)

    def _leaf(self, schema: Any, kind: str, space: str) -> Shape:
        logical = schema.get("logicalType")
        if kind in ("bytes", "fixed") and logical == "decimal":
            digits, scale = int(schema["precision"]), int(schema.get("scale", 0))
            if digits > MOST_DIGITS:
                return Shape(pa.string(), lambda value: format(value, "f"), f"decimal({digits},{scale})")
            return Shape(pa.decimal128(digits, scale))
        if (kind, logical) in _LOGICAL:
            return Shape(_LOGICAL[kind, logical])
        if kind == "fixed":
            return Shape(pa.binary())
        if kind == "enum":
            return Shape(pa.string())
        if kind == "string" and logical == "uuid":
            return Shape(pa.string(), label="uuid")
        return self.of(kind, space)

    def _union(self, branches: list[Any], space: str) -> Shape:
        own = [one for one in branches if one != "null"]
        if len(own) == 1:
            return self.of(own[0], space)
        return _JSON_SHAPE if own else Shape(pa.null(), label="null")

    def _record(self, schema: Any, space: str) -> Shape:
        full = _full_name(schema["name"], schema.get("namespace", space))
        if full in self._open or not schema["fields"]:
            return _JSON_SHAPE
        self._open.add(full)
        space = full.rpartition(".")[0]
        self.learn(schema, space)
        shapes = {one["name"]: self.of(one["type"], space) for one in schema["fields"]}
        self._open.discard(full)
        if any(shape is _JSON_SHAPE for shape in shapes.values()) and _mentions(schema, full):
            return _JSON_SHAPE
        kind = pa.struct([pa.field(name, shape.type) for name, shape in shapes.items()])
        changes = {name: shape.change for name, shape in shapes.items() if shape.change}

        def change(value: Any) -> Any:
            return {name: _changed(changes.get(name), one) for name, one in _record_of(value).items()}

        return Shape(kind, change)

    @staticmethod
    def _list(item: Shape) -> Shape:
        inner = item.change
        change = None if inner is None else lambda value: [_changed(inner, one) for one in value]
        return Shape(pa.list_(item.type), change)

    @staticmethod
    def _map(item: Shape) -> Shape:
        inner = item.change
        return Shape(
            pa.map_(pa.string(), item.type),
            lambda value: [(key, _changed(inner, one)) for key, one in value.items()],
        )


def _mentions(schema: Any, full: str) -> bool:
    short = full.rpartition(".")[2]
    text = json.dumps(schema["fields"])
    return f'"{short}"' in text or f'"{full}"' in text


def _changed(change: Change | None, value: Any) -> Any:
    return value if value is None or change is None else change(value)


def _full_name(name: str, space: str | None) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _record_of(value: Any) -> dict[str, Any]:
    """A record of a union of several comes with its name."""
    found: dict[str, Any] = value[1] if isinstance(value, tuple) else value
    return found


def _as_json(value: Any) -> Any:
    """A value as JSON has it: bytes as Avro's own JSON does, a record of a union under its name."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return {value[0]: _as_json(value[1])}
    if isinstance(value, dict):
        return {key: _as_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


_JSON_SHAPE = Shape(pa.string(), lambda value: dumps(_as_json(value)), "json")
