"""Redshift's types: what each arrives as, by UNLOAD's Parquet and by the texts of the wire.

Both ways give the same Arrow type, or say which column they cannot carry. Text is asked for where Parquet has
no such type, and never by a plain cast to varchar of something long: that means varchar(256) there.

Reference: https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.cast import Misfit, convert
from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import JSON_TYPE
from asgard.transport.column_types import ColumnTypes, field_of, refuse_unknown

OIDS = {
    16: "boolean", 18: "name", 19: "name", 20: "bigint", 21: "smallint", 23: "integer", 25: "text", 26: "oid",
    700: "real", 701: "double precision", 1042: "character", 1043: "character varying", 1082: "date",
    1083: "time without time zone", 1114: "timestamp without time zone", 1184: "timestamp with time zone",
    1186: "interval", 1188: "interval year to month", 1190: "interval day to second",
    1266: "time with time zone", 1700: "numeric", 2935: "hllsketch", 3000: "geometry", 3001: "geography",
    4000: "super", 6551: "binary varying",
}  # fmt: skip
"""What the wire calls types by number, and the catalog by name."""
OTHER_NAMES = {"varbyte": "binary varying", "char": "name", '"char"': "name", "varbinary": "binary varying"}
NUMERIC = 1700
NUMBERS = frozenset({"smallint", "integer", "bigint", "oid", "numeric"})
TEXTS = frozenset({"character varying", "text", "character", "name"})
TIMES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
SHORT_NAMES = {
    "time without time zone": "time", "time with time zone": "timetz", "binary varying": "varbyte",
}  # fmt: skip
AS_TEXT = "columns: {{{name}: text}} carries the source's own text"


@dataclass(frozen=True)
class Attribute:
    """A column of a table, view or query; precision 0 where the server tells none."""

    name: str
    type: str
    precision: int = 0
    scale: int = 0

    @classmethod
    def of(cls, name: str, oid: int, mod: int) -> Attribute:
        """From what the wire says of a result's column."""
        if oid == NUMERIC and mod >= 4:
            return cls(name, "numeric", (mod - 4) >> 16, (mod - 4) & 0xFFFF)
        return cls(name, OIDS.get(oid, f"type {oid}"))

    @classmethod
    def listed(cls, name: str, type: str, precision: int | None, scale: int | None) -> Attribute:
        """From what the catalog says."""
        plain = re.sub(r"\(.*\)", "", type.lower()).strip()
        plain = OTHER_NAMES.get(plain, plain)
        if plain == "numeric" and precision:
            return cls(name, plain, precision, scale or 0)
        return cls(name, plain)


@dataclass(frozen=True)
class Column:
    """How a column is read.

    Attributes:
        field: as the stream's schema has it.
        native: the Arrow type in which it arrives, before `columns` makes another of it.
        unloaded, asked: SQL for UNLOAD and for the wire.
        refused: why it cannot be carried; empty when it can.
    """

    field: pa.Field
    native: pa.DataType
    unloaded: str
    asked: str
    refused: str = ""


@dataclass(frozen=True)
class Reading:
    """What is asked of a stream."""

    columns: tuple[Column, ...]
    where: str = ""

    def schema(self) -> pa.Schema:
        """As the stream has it."""
        return pa.schema([column.field for column in self.columns])

    def native(self) -> pa.Schema:
        """As the values arrive."""
        return pa.schema([pa.field(column.field.name, column.native) for column in self.columns])


@dataclass(frozen=True)
class _Shape:
    native: pa.DataType
    label: str = ""
    unloaded: str = "{0}"
    asked: str = "{0}"
    refused: str = ""


_PLAIN = {
    "boolean": _Shape(pa.bool_()),
    "smallint": _Shape(pa.int16()),
    "integer": _Shape(pa.int32()),
    "bigint": _Shape(pa.int64()),
    "oid": _Shape(pa.int64(), "oid", "{0}::bigint", "{0}::bigint"),
    # The text of a real has 8 digits at most there, and 9 are needed; that of a double has its 17.
    "real": _Shape(pa.float32(), asked="{0}::double precision"),
    "double precision": _Shape(pa.float64()),
    # The blanks that fill a char up are no part of its value.
    "character": _Shape(pa.string(), unloaded="rtrim({0})", asked="rtrim({0})"),
    "character varying": _Shape(pa.string()),
    "text": _Shape(pa.string()),
    "name": _Shape(pa.string(), unloaded="{0}::varchar", asked="{0}::varchar"),
    "date": _Shape(pa.date32()),
    "timestamp without time zone": _Shape(pa.timestamp("us")),
    "timestamp with time zone": _Shape(pa.timestamp("us", "UTC"), unloaded="({0} AT TIME ZONE 'UTC')"),
    "super": _Shape(pa.string(), "json"),
    "binary varying": _Shape(pa.binary()),
}
_BY_TEXT = {
    "time without time zone", "time with time zone", "interval", "interval year to month",
    "interval day to second",
}  # fmt: skip
_TEXT_OF = {
    "boolean": "CASE WHEN {0} THEN 'true' WHEN NOT {0} THEN 'false' END",
    "geometry": "ST_AsHexEWKB({0})",
    "geography": "ST_AsHexEWKB({0})",
    "binary varying": "to_hex({0})",
}
"""The text of what has no cast to varchar."""


def quote(name: str) -> str:
    """The name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text quoted for SQL, where a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def column_of(attribute: Attribute, wanted: str | None = None) -> Column:
    """How to read a column, as the user wants it or as it is best carried.

    Raises:
        ConfigError: it cannot be had as what is wanted.
    """
    name = attribute.name
    shape = _shape(attribute)
    field = pa.field(name, shape.native, metadata=_metadata(shape.label))
    if wanted is not None:
        field = field_of(name, wanted)
        if t.is_string(field.type):
            shape = _text(attribute, shape)
            label = "json" if field.metadata else shape.label
            field = pa.field(name, pa.string(), metadata=_metadata(label))
        elif shape.refused or not _may_become(shape.native, field.type):
            raise ConfigError(
                f"column {name!r} is {attribute.type}: it cannot be had as {wanted}",
                hint=f"it comes as {shape.native} by itself, and as text",
            )
    sql = quote(name)
    return Column(
        field,
        shape.native,
        shape.unloaded.replace("{0}", sql),
        shape.asked.replace("{0}", sql),
        shape.refused,
    )


def _metadata(label: str) -> dict[bytes, bytes] | None:
    return {JSON_TYPE: label.encode()} if label else None


def _shape(attribute: Attribute) -> _Shape:
    kind = attribute.type
    if kind == "numeric":
        if 0 < attribute.precision <= 38:
            return _Shape(pa.decimal128(attribute.precision, attribute.scale))
        return _Shape(pa.string(), "numeric", "{0}::varchar", "{0}")
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _BY_TEXT:
        return _Shape(pa.string(), SHORT_NAMES.get(kind, kind), "{0}::varchar", "{0}")
    return _Shape(pa.string(), kind, refused=f"{kind}, which is neither a number, a time, bytes nor a text")


def _text(attribute: Attribute, shape: _Shape) -> _Shape:
    """The column's own text."""
    kind = attribute.type
    if t.is_string(shape.native) and not shape.refused:
        return shape
    if shape.refused and kind not in _TEXT_OF:
        raise ConfigError(
            f"column {attribute.name!r} is {kind}, which has no text here",
            hint="exclude_columns leaves it out; a query can make something of it",
        )
    sql = _TEXT_OF.get(kind, "{0}::varchar")
    if kind == "real":
        sql = "{0}::double precision::varchar"
    return _Shape(pa.string(), SHORT_NAMES.get(kind, kind), sql, sql)


def _may_become(native: pa.DataType, wanted: pa.DataType) -> bool:
    if native == wanted:
        return True
    number = t.is_integer(native) or t.is_decimal(native) or t.is_string(native)
    if t.is_integer(wanted) or t.is_decimal(wanted):
        return bool(number)
    return bool(t.is_floating(wanted) and (number or t.is_floating(native)))


def reading_of(
    name: str, attributes: Sequence[Attribute], columns: ColumnTypes, excluded: Sequence[str], where: str
) -> Reading:
    """How a stream is read.

    Raises:
        QueryError: an option names a column that is not there.
        ConfigError: nothing is left, or a column has a type that cannot be carried.
    """
    known = [attribute.name for attribute in attributes]
    refuse_unknown([*columns, *excluded], known, name)
    read = [column_of(one, columns.get(one.name)) for one in attributes if one.name not in excluded]
    if not read:
        raise ConfigError(f"exclude_columns leaves no column of {name}", hint="leave one")
    for column in read:
        if column.refused:
            text = f"columns: {{{column.field.name}: text}} carries it as hex EWKB"
            told = text if "geo" in column.refused else "a query can make something of it"
            raise ConfigError(
                f"column {column.field.name!r} is {column.refused}",
                hint=f"exclude_columns: [{column.field.name}] leaves it out; {told}",
                where={"stream": name, "column": column.field.name},
            )
    return Reading(tuple(read), where)


def from_texts(texts: Sequence[str | None], native: pa.DataType, field: pa.Field) -> pa.Array:
    """Values from the server's texts.

    Raises:
        DataError: a text is no value of the type.
    """
    array = pa.array(texts, pa.string())
    try:
        if t.is_string(native):
            return array
        if t.is_boolean(native):
            return pc.equal(array, "t")
        if t.is_binary(native):
            return pa.array([None if text is None else bytes.fromhex(text) for text in texts], pa.binary())
        if t.is_float32(native):
            return array.cast(pa.float64()).cast(native)
        return array.cast(native)
    except (pa.ArrowInvalid, ValueError) as error:
        raise _misfit(field, f"{native}: {error}") from error


def from_parquet(array: pa.Array, native: pa.DataType, field: pa.Field) -> pa.Array:
    """Values as UNLOAD wrote them, in the type that the column has.

    Raises:
        DataError: it wrote something else, or a value that the type does not hold.
    """
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if t.is_timestamp(array.type) and t.is_timestamp(native) and array.type.tz in (None, "UTC"):
        # The server was asked for UTC's wall clock: Parquet has no zone to say so.
        array = array.cast(pa.timestamp(array.type.unit))
        exact = _converted(array, pa.timestamp("us"), field)
        return exact.view(pa.int64()).view(native)
    if t.is_floating(native) and array.type != native:
        raise _misfit(field, f"{native}: UNLOAD wrote {array.type}")
    return _converted(array, native, field)


def as_wished(array: pa.Array, field: pa.Field) -> pa.Array:
    """Values in the type that the user wants, exactly; a float is the one wish that may round.

    Raises:
        DataError: a value does not fit.
    """
    if array.type == field.type:
        return array
    if not t.is_floating(field.type) and not t.is_string(array.type):
        return _converted(array, field.type, field)
    try:
        return array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise _misfit(field, f"{field.type}: {error}") from error


def _converted(array: pa.Array, target: pa.DataType, field: pa.Field) -> pa.Array:
    try:
        return convert(array, target)
    except Misfit as misfit:
        value = f"{misfit.value} is no value of it" if misfit.value else f"it comes as {misfit.source}"
        raise _misfit(field, f"{misfit.target}: {value}") from misfit


def _misfit(field: pa.Field, told: Any) -> DataError:
    return DataError(
        f"column {field.name} does not fit {told}",
        hint=AS_TEXT.format(name=field.name),
        where={"column": field.name},
    )
