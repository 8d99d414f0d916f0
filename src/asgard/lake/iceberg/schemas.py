"""The table's columns: Arrow's canonical types and Iceberg's, field ids, and what Iceberg has no place for.

An id belongs to one column for ever, as with Delta; here every field has one, elements of lists and maps too.
They are given in the order in which catalogs give them to a new table. What else is known of a column
(`asgard.type`, the source's name) is kept in the table property `asgard.columns`, by id.

    canonical                   Iceberg
    bool                        boolean
    int8, int16, int32          int, which comes back as int32
    int64                       long
    float32, float64            float, double
    decimal128(p, s)            decimal(p, s)
    date32                      date
    timestamp(us)               timestamp
    timestamp(us, UTC)          timestamptz
    string, binary              string, binary
    list, map, struct           list, map, struct

What other writers use besides (time, uuid, fixed) is read, in its canonical type.

Reference: https://iceberg.apache.org/spec/#schemas-and-data-types
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, cast

import pyarrow as pa
import pyarrow.types as t
from pyiceberg import types as i
from pyiceberg.schema import Schema

from asgard.core.types import TYPE
from asgard.lake.schemas import FIELD_ID

COLUMNS = "asgard.columns"
"""The table property."""

_FLAT: tuple[tuple[pa.DataType, i.PrimitiveType], ...] = (
    (pa.bool_(), i.BooleanType()),
    (pa.int32(), i.IntegerType()),
    (pa.int64(), i.LongType()),
    (pa.float32(), i.FloatType()),
    (pa.float64(), i.DoubleType()),
    (pa.date32(), i.DateType()),
    (pa.timestamp("us"), i.TimestampType()),
    (pa.timestamp("us", "UTC"), i.TimestamptzType()),
    (pa.string(), i.StringType()),
    (pa.binary(), i.BinaryType()),
)
_ICEBERG: dict[Any, i.PrimitiveType] = dict(_FLAT)
_ARROW = {iceberg: arrow for arrow, iceberg in _FLAT}
_TOLD: dict[type[i.IcebergType], str] = {i.TimeType: "time", i.UUIDType: "uuid"}
"""Types of others that are read as text."""


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Canonical columns in the types that Iceberg has: small integers are int32."""
    return pa.schema([_stored(field) for field in schema])


def _stored(field: pa.Field) -> pa.Field:
    kind = field.type
    if t.is_int8(kind) or t.is_int16(kind):
        return field.with_type(pa.int32())
    if t.is_struct(kind):
        return field.with_type(pa.struct([_stored(child) for child in kind]))
    if t.is_list(kind):
        return field.with_type(pa.list_(_stored(kind.value_field)))
    if t.is_map(kind):
        return field.with_type(pa.map_(_stored(kind.key_field), _stored(kind.item_field)))
    return field


def promoted(before: pa.DataType, now: pa.DataType) -> bool:
    """Whether Iceberg lets a column have the other type from now on, without a file being written anew."""
    if t.is_int32(before) and t.is_int64(now):
        return True
    if t.is_decimal(before) and t.is_decimal(now):
        return bool(before.scale == now.scale and before.precision < now.precision)
    return bool(t.is_float32(before) and t.is_float64(now))


def with_ids(schema: pa.Schema, known: pa.Schema | None, last_id: int) -> tuple[pa.Schema, int]:
    """The schema, all nullable, every field with an id.

    Args:
        schema: in types that Iceberg has.
        known: the table's; a field of the same name keeps its id where Iceberg lets it have the type.
        last_id: the highest id that was ever given.

    Returns:
        The schema and the highest id now.
    """
    numbering = _Numbering(last_id)
    fields = numbering.fields(list(schema), list(known) if known is not None else [])
    return pa.schema(fields), numbering.last_id


class _Numbering:
    def __init__(self, last_id: int) -> None:
        self._next = count(last_id + 1)
        self.last_id = last_id

    def fields(self, fields: list[pa.Field], known: list[pa.Field]) -> list[pa.Field]:
        """Siblings get their ids before what is inside of them."""
        there = {field.name: field for field in known}
        before = [_same_column(field, there.get(field.name)) for field in fields]
        ids = [self._id(one) for one in before]
        return [
            self._numbered(field, number, one) for field, number, one in zip(fields, ids, before, strict=True)
        ]

    def _numbered(self, field: pa.Field, number: int, known: pa.Field | None) -> pa.Field:
        inside = self._inside(field.type, None if known is None else known.type)
        told = {key: value for key, value in (field.metadata or {}).items() if key != FIELD_ID}
        return pa.field(field.name, inside, True, {**told, FIELD_ID: str(number).encode()})

    def _inside(self, kind: pa.DataType, known: pa.DataType | None) -> pa.DataType:
        if t.is_struct(kind):
            return pa.struct(self.fields(list(kind), [] if known is None else list(known)))
        if t.is_list(kind):
            (element,) = self._unnamed([kind.value_field], [] if known is None else [known.value_field])
            return pa.list_(element)
        if t.is_map(kind):
            pair = [] if known is None else [known.key_field, known.item_field]
            key, item = self._unnamed([kind.key_field, kind.item_field], pair)
            return pa.map_(key.with_nullable(False), item)
        return kind

    def _unnamed(self, fields: list[pa.Field], known: list[pa.Field]) -> list[pa.Field]:
        """Elements, keys and values: told apart by their place."""
        before = [_same_column(field, known[place] if known else None) for place, field in enumerate(fields)]
        ids = [self._id(one) for one in before]
        return [
            self._numbered(field, number, one) for field, number, one in zip(fields, ids, before, strict=True)
        ]

    def _id(self, known: pa.Field | None) -> int:
        if known is not None:
            return field_id(known)
        self.last_id = next(self._next)
        return self.last_id


def _same_column(field: pa.Field, known: pa.Field | None) -> pa.Field | None:
    """The known field, if the other one may go on under its id."""
    if known is None or not field_id(known):
        return None
    alike = any(kind(field.type) and kind(known.type) for kind in (t.is_struct, t.is_list, t.is_map))
    return known if alike or field.type == known.type or promoted(known.type, field.type) else None


def field_id(field: pa.Field) -> int:
    """The field's id; 0 when it has none."""
    return int((field.metadata or {}).get(FIELD_ID, 0))


# ---- to Iceberg


def to_iceberg(schema: pa.Schema, schema_id: int) -> Schema:
    """The schema as Iceberg's metadata holds it."""
    return Schema(*(_nested_field(field) for field in schema), schema_id=schema_id, identifier_field_ids=[])


def _nested_field(field: pa.Field) -> i.NestedField:
    return i.NestedField(field_id(field), field.name, _iceberg_type(field.type), required=False)


def _iceberg_type(kind: pa.DataType) -> i.IcebergType:
    if t.is_struct(kind):
        return i.StructType(*(_nested_field(field) for field in kind))
    if t.is_list(kind):
        element = kind.value_field
        return i.ListType(field_id(element), _iceberg_type(element.type), element_required=False)
    if t.is_map(kind):
        key, item = kind.key_field, kind.item_field
        return i.MapType(
            field_id(key), _iceberg_type(key.type), field_id(item), _iceberg_type(item.type), False
        )
    if t.is_decimal(kind):
        return i.DecimalType(kind.precision, kind.scale)
    return cast(i.IcebergType, _ICEBERG[kind])


def columns_property(schema: pa.Schema, before: str | None) -> str:
    """What Iceberg has no place for, as the property `asgard.columns`; what was known of other ids stays."""
    told = dict(json.loads(before)) if before else {}
    waiting = list(schema)
    while waiting:
        field = waiting.pop()
        kept = {
            key.decode(): value.decode("utf-8", "replace")
            for key, value in (field.metadata or {}).items()
            if key != FIELD_ID
        }
        if kept:
            told[str(field_id(field))] = kept
        waiting += [field.type.field(index) for index in range(field.type.num_fields)]
    return json.dumps(told, ensure_ascii=False, sort_keys=True)


# ---- from Iceberg


def from_iceberg(schema: Schema, columns: str | None) -> pa.Schema:
    """The table's columns in canonical types, every field with its id and what `asgard.columns` tells."""
    told: Mapping[str, Mapping[str, str]] = json.loads(columns) if columns else {}
    return pa.schema([_arrow_field(field, told) for field in schema.fields])


def _arrow_field(field: i.NestedField, told: Mapping[str, Mapping[str, str]]) -> pa.Field:
    return _field(field.name, field.field_id, field.field_type, told, not field.required)


def _field(
    name: str, number: int, kind: i.IcebergType, told: Mapping[str, Mapping[str, str]], nullable: bool = True
) -> pa.Field:
    label = {TYPE: _TOLD[type(kind)]} if type(kind) in _TOLD else {}
    entries = {**label, **told.get(str(number), {}), FIELD_ID.decode(): str(number)}
    return pa.field(name, _arrow_type(kind, told), nullable, entries)


def _arrow_type(kind: i.IcebergType, told: Mapping[str, Mapping[str, str]]) -> pa.DataType:
    if isinstance(kind, i.StructType):
        return pa.struct([_arrow_field(field, told).with_nullable(True) for field in kind.fields])
    if isinstance(kind, i.ListType):
        return pa.list_(_field("item", kind.element_id, kind.element_type, told))
    if isinstance(kind, i.MapType):
        key = _field("key", kind.key_id, kind.key_type, told, False)
        return pa.map_(key, _field("value", kind.value_id, kind.value_type, told))
    if isinstance(kind, i.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, i.FixedType):
        return pa.binary()
    if isinstance(kind, i.TimestampNanoType):
        return pa.timestamp("us")
    if isinstance(kind, i.TimestamptzNanoType):
        return pa.timestamp("us", "UTC")
    assert isinstance(kind, i.PrimitiveType)
    return _ARROW.get(kind, pa.string())


def is_canonical(schema: Schema) -> bool:
    """Whether its columns lie in files in the types that `from_iceberg` says."""
    waiting = [field.field_type for field in schema.fields]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, i.StructType):
            waiting += [field.field_type for field in kind.fields]
        elif isinstance(kind, i.ListType):
            waiting.append(kind.element_type)
        elif isinstance(kind, i.MapType):
            waiting += [kind.key_type, kind.value_type]
        elif kind not in _ARROW and not isinstance(kind, i.DecimalType):
            return False
    return True
