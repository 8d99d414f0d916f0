"""MySQL's and MariaDB's types: how each arrives, and what the server is asked for so that it arrives exactly.

A cell comes as a number or time, or as the bytes that the server writes for it; here it becomes a value, or
the load stops with the name of the column. FLOAT is the one type whose text does not tell the value: it is
asked for as a double. A table's decimals of up to 18 digits come as whole numbers of their last place.
Dates that are none ('0000-00-00', '2024-02-00') are refused, or null where `zero_dates: "null"` says so.
docs/reference/types-mysql.md is the table of all this, made from the tests.

Reference: https://dev.mysql.com/doc/refman/8.0/en/data-types.html
Reference: https://mariadb.com/kb/en/data-types/
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import JSON_TYPE
from asgard.transport.column_types import field_of
from asgard.transport.mysql import ResultColumn, quote
from asgard.transport.mysql_binary import decimals_of
from asgard.transport.text_proof import convert_texts, misfit

INTEGERS: dict[str, tuple[pa.DataType, pa.DataType]] = {
    "tinyint": (pa.int8(), pa.uint8()), "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()), "int": (pa.int32(), pa.uint32()),
    "integer": (pa.int32(), pa.uint32()), "bigint": (pa.int64(), pa.uint64()),
}  # fmt: skip
"""Signed and unsigned."""
TEXTUAL = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"})
BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"})
GEOMETRY = frozenset({
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geomcollection", "geometrycollection",
})  # fmt: skip
TIMES = frozenset({"date", "datetime", "timestamp"})
NUMBERS = frozenset({*INTEGERS, "year", "decimal", "float", "double"})
FAITHFUL_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1", "ucs2", "utf16", "utf16le", "utf32"})
"""Every text of these has a text in utf8mb4, and each its own."""
MAX_DECIMAL_DIGITS = 38
MAX_SCALED_DIGITS = 18
"""Whatever has no more digits fits 64 bits, without its point."""
BY_NATURE = frozenset({"parse", "scaled", "float32"})
"""`Column.how` of what may come as a number or time; everything else must come as the server's text."""
BINARY_CHARSET = 63

SIMPLE: dict[str, tuple[pa.DataType, str, str]] = {
    "year": (pa.int16(), "parse", "year"), "date": (pa.date32(), "parse", ""),
    "datetime": (pa.timestamp("us"), "parse", ""), "timestamp": (pa.timestamp("us", "UTC"), "parse", ""),
    "null": (pa.string(), "text", "null"), **dict.fromkeys(BINARY, (pa.binary(), "bytes", "")),
    "vector": (pa.binary(), "bytes", "vector"),
    **dict.fromkeys(GEOMETRY, (pa.binary(), "geometry", "geometry")),
}  # fmt: skip
"""Types that arrive one way whatever stands behind their name: Arrow type, `Column.how`, `asgard.type`."""

# The protocol's numbers of types: name without and with the binary character set.
_PROTOCOL = {
    0: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 4: "float", 5: "double", 6: "null", 7: "timestamp",
    8: "bigint", 9: "mediumint", 10: "date", 11: "time", 12: "datetime", 13: "year", 16: "bit", 242: "vector",
    245: "json", 246: "decimal", 255: "geometry",
}  # fmt: skip
_TEXT_OR_BYTES = {
    15: ("varchar", "varbinary"), 249: ("tinytext", "tinyblob"), 250: ("mediumtext", "mediumblob"),
    251: ("longtext", "longblob"), 252: ("text", "blob"), 253: ("varchar", "varbinary"),
    254: ("char", "binary"),
}  # fmt: skip
NO_DECIMALS = 31
UNSIGNED_FLAG, ENUM_FLAG, SET_FLAG = 0x20, 0x100, 0x800

AS_TEXT = "columns: {{{name}: text}} carries the source's own text"
ZERO_DATES = '; zero_dates: "null" makes such dates null'


@dataclass(frozen=True)
class Attribute:
    """A column of a table, view or query.

    Attributes:
        base: the type's bare name, for example `decimal`.
        type: as the server writes it, for example `decimal(10,2) unsigned`.
        charset: of a text; empty for others.
        holds_json: a check of the table's keeps it JSON, which is how MariaDB has that type.
        is_stored: a table has it, so that no value of it can have more digits than its type says.
    """

    name: str
    base: str
    type: str
    charset: str = ""
    holds_json: bool = False
    is_stored: bool = False

    @property
    def unsigned(self) -> bool:
        """Whether it is a number without a sign."""
        return "unsigned" in self.type

    @property
    def digits(self) -> tuple[int, int]:
        """What stands in brackets behind the type: (10, 2) of decimal(10,2); zeros when nothing does."""
        found = re.search(r"\((\d+)(?:,(\d+))?\)", self.type)
        return (int(found[1]), int(found[2] or 0)) if found else (0, 0)

    @classmethod
    def of(cls, column: ResultColumn, charset: str) -> Attribute:
        """A query's column, as the protocol describes it."""
        unsigned = " unsigned" if column.flags & UNSIGNED_FLAG else ""
        pair = _TEXT_OR_BYTES.get(column.type)
        if pair is not None:
            base = pair[column.charset == BINARY_CHARSET]
            base = "enum" if column.flags & ENUM_FLAG else "set" if column.flags & SET_FLAG else base
            return cls(column.name, base, base, "" if column.charset == BINARY_CHARSET else charset)
        if column.type in (247, 248):
            base = "enum" if column.type == 247 else "set"
            return cls(column.name, base, base, charset)
        base = _PROTOCOL.get(column.type, "unknown")
        if base == "decimal":
            signs = (0 if unsigned else 1) + (1 if column.decimals else 0)
            return cls(column.name, base, f"decimal({column.length - signs},{column.decimals}){unsigned}")
        if base == "bit":
            return cls(column.name, base, f"bit({column.length})")
        if base == "double" and column.decimals < NO_DECIMALS:
            return cls(column.name, base, f"double({column.length},{column.decimals}){unsigned}")
        return cls(column.name, base, base + unsigned)


@dataclass(frozen=True)
class Column:
    """How a column is read.

    Attributes:
        field: as the stream's schema has it.
        expression: what the server is asked for.
        how: what is done to the cells that come: text, bytes, parse, scaled (whole numbers of a decimal's
            last place), float32, geometry, or exact (a value of the user's type or an error).
        guard: an SQL condition that every row fulfils; empty when there is none.
    """

    field: pa.Field
    expression: str
    how: str
    guard: str = ""


def column_of(attribute: Attribute, wanted: str | None = None) -> Column:
    """How to read a column, as the user wants it or as it is best carried.

    Raises:
        ConfigError: it cannot be had as what is wanted.
    """
    if wanted is not None:
        return _wanted(attribute, wanted)
    base, name = attribute.base, quote(attribute.name)
    if base in SIMPLE:
        type, how, label = SIMPLE[base]
        return _column(attribute, type, how, label=label)
    if base in INTEGERS:
        return _column(attribute, INTEGERS[base][attribute.unsigned], "parse")
    if base == "decimal":
        return _decimal(attribute)
    if base == "float":
        # The text of a FLOAT has six digits; as a double it has all.
        return _column(attribute, pa.float32(), "float32", f"{name} * 1e0")
    if base == "double":
        declared = attribute.digits != (0, 0)  # then the text has only so many digits
        return _column(attribute, pa.float64(), "parse", f"{name} * 1e0" if declared else name)
    if base == "bit":
        return _bits(attribute)
    if base in TEXTUAL:
        return _text(attribute)
    return _column(attribute, pa.string(), "text", f"CAST({name} AS CHAR)", label=base)


def _column(
    attribute: Attribute, type: pa.DataType, how: str, expression: str = "", label: str = ""
) -> Column:
    metadata = {JSON_TYPE: label.encode()} if label else None
    field = pa.field(attribute.name, type, metadata=metadata)
    return Column(field, expression or quote(attribute.name), how)


def _decimal(attribute: Attribute) -> Column:
    precision, scale = attribute.digits
    if precision > MAX_DECIMAL_DIGITS:
        return _column(attribute, pa.string(), "text", label="decimal")
    type = pa.decimal128(precision, scale)
    if attribute.is_stored and precision <= MAX_SCALED_DIGITS:
        # Promise 2: the product of two decimals is exact. A query's value may have more digits than it says.
        return _column(attribute, type, "scaled", f"CAST({quote(attribute.name)} * {10**scale} AS SIGNED)")
    return _column(attribute, type, "parse")


def _bits(attribute: Attribute) -> Column:
    bits = attribute.digits[0] or 1
    width = next(width for width in (8, 16, 32, 64) if bits <= width)
    types = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
    type = pa.bool_() if bits == 1 else types[width]
    return _column(attribute, type, "parse", f"{quote(attribute.name)} + 0", "" if bits == 1 else "bit")


def _text(attribute: Attribute) -> Column:
    label = (
        "json"
        if attribute.holds_json
        else attribute.base
        if attribute.base in ("enum", "set", "json")
        else ""
    )
    plain = _column(attribute, pa.string(), "text", label=label)
    return Column(plain.field, plain.expression, plain.how, _charset_guard(attribute))


def _charset_guard(attribute: Attribute) -> str:
    """The condition that no character is lost on the way to utf8mb4: the server would send `?` for it."""
    if attribute.charset in FAITHFUL_CHARSETS or not attribute.charset:
        return ""
    name, charset = quote(attribute.name), attribute.charset
    there_and_back = f"CONVERT(CONVERT({name} USING utf8mb4) USING {charset})"
    return f"CAST({there_and_back} AS BINARY) = CAST(CONVERT({name} USING {charset}) AS BINARY)"


def _wanted(attribute: Attribute, word: str) -> Column:
    field = field_of(attribute.name, word)
    base, name, plain = attribute.base, quote(attribute.name), column_of(attribute)
    is_text, is_json = t.is_string(field.type), bool(field.metadata)
    if plain.field.type == field.type and (not is_text or base in TEXTUAL):
        label = "json" if is_json else (plain.field.metadata or {}).get(JSON_TYPE, b"").decode()
        kept = pa.field(attribute.name, field.type, metadata={JSON_TYPE: label.encode()} if label else None)
        return Column(kept, plain.expression, plain.how, plain.guard)
    if is_text:
        label = "json" if is_json else "" if base in BINARY else base
        expression = {
            "bit": f"LPAD(BIN({name} + 0), {attribute.digits[0] or 1}, '0')",
            "float": f"{name} * 1e0",
        }.get(base, f"ST_AsText({name})" if base in GEOMETRY else name)
        return _column(attribute, pa.string(), "text", expression, label)
    if t.is_binary(field.type) and base in TEXTUAL:
        return _column(attribute, pa.binary(), "bytes", f"CAST({name} AS BINARY)")
    number = t.is_integer(field.type) or t.is_decimal(field.type) or t.is_floating(field.type)
    time = t.is_timestamp(field.type) or t.is_date(field.type)
    fits = (
        base in TEXTUAL
        or (base in NUMBERS | {"bit"} and (number or t.is_boolean(field.type)))
        or (base in TIMES and time)
    )
    if fits and not t.is_binary(field.type):
        # A decimal or double behind which `double` is written may be rounded: whoever writes it asks for it.
        return Column(field, name if base == "decimal" else plain.expression, "exact", plain.guard)
    raise ConfigError(
        f"column {attribute.name!r} is {attribute.type}: it cannot be had as {word}",
        hint=f"it comes as {plain.field.type} by itself, and as text",
    )


# ---- from bytes to values


def value_of(array: pa.Array, field: pa.Field, how: str, zero_dates: str = "refuse") -> pa.Array:
    """Cells as values of the field's type.

    Args:
        array: what the server wrote, as bytes; or numbers, dates, or timestamps without a zone.
        how: of the Column.

    Raises:
        DataError: a cell is no such value; names the column and how to allow it.
    """
    if how == "bytes":
        return array
    if how == "geometry":
        return _well_known(array, field.name)
    if how == "text":
        return _utf8(array, field.name)
    is_time = t.is_date(field.type) or t.is_timestamp(field.type)
    if how == "exact":
        texts = _utf8(array, field.name)
        return _exact(_dated(texts, field.name, zero_dates) if is_time else texts, field)
    if how == "scaled":
        return decimals_of(_parsed(array, pa.int64()), field.type)
    if how == "float32":
        return _parsed(array, pa.float64()).cast(pa.float32())
    if is_time and t.is_binary(array.type):
        return _time(_dated(_ascii(array), field.name, zero_dates), field)
    return _parsed(array, field.type)


def _parsed(array: pa.Array, type: pa.DataType) -> pa.Array:
    return (_ascii(array) if t.is_binary(array.type) else array).cast(type)


def _ascii(array: pa.Array) -> pa.Array:
    """Bytes taken for text without a look: the server itself writes numbers and times in ASCII."""
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers(), array.null_count, array.offset)


def _utf8(array: pa.Array, name: str) -> pa.Array:
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        raise DataError(
            "a text is no UTF-8",
            hint=f"columns: {{{name}: binary}} carries its bytes",
            where={"column": name},
        ) from None


def _dated(texts: pa.Array, name: str, zero_dates: str) -> pa.Array:
    """The texts without dates that are none; where those may not be null, they are refused."""
    none = pc.match_substring_regex(texts, "^0000|-00")
    if not pc.any(none).as_py():
        return texts
    if zero_dates == "null":
        return pc.if_else(none, pa.scalar(None, pa.string()), texts)
    value = texts.filter(none)[0].as_py()
    raise DataError(
        f"the value {value!r} is no day of the calendar",
        hint=AS_TEXT.format(name=name) + ZERO_DATES,
        where={"column": name},
    )


def _time(texts: pa.Array, field: pa.Field) -> pa.Array:
    try:
        if t.is_date(field.type):
            return texts.cast(field.type)
        naive = texts.cast(pa.timestamp("us"))
        return naive.cast(field.type) if field.type.tz else naive
    except pa.ArrowInvalid:
        return convert_texts(texts, field.type, {"column": field.name})


def _exact(texts: pa.Array, field: pa.Field) -> pa.Array:
    """The texts as values of the type that the user wants, each exactly or refused."""
    where = {"column": field.name}
    if t.is_timestamp(field.type):
        naive = convert_texts(texts, pa.timestamp("us"), where)
        return naive.cast(field.type) if field.type.tz else naive
    if t.is_date(field.type):
        times = convert_texts(texts, pa.timestamp("us"), where)
        days = times.cast(pa.date32())
        odd = pc.not_equal(days.cast(pa.timestamp("us")), times)
        if pc.any(odd).as_py():
            raise misfit(texts.filter(odd)[0].as_py(), field.type, where)
        return days
    if t.is_integer(field.type):
        # 7.00 of a decimal is the integer 7.
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    if t.is_boolean(field.type):
        odd = pc.invert(pc.is_in(texts, pa.array(["0", "1"]), skip_nulls=False))
        odd = pc.and_(odd, texts.is_valid())
        if pc.any(odd).as_py():
            raise misfit(texts.filter(odd)[0].as_py(), field.type, where)
    return convert_texts(texts, field.type, where)


def _well_known(array: pa.Array, name: str) -> pa.Array:
    """Well-known binary of geometries, which the server keeps behind four bytes of their system. One that has
    a system becomes extended well-known binary (EWKB), which says it."""
    return pa.array([_wkb(value, name) for value in array.to_pylist()], pa.binary())


def _wkb(value: bytes | None, name: str) -> bytes | None:
    if value is None:
        return None
    try:
        system, order, kind = struct.unpack_from("<IBI", value)
    except struct.error:
        order, system, kind = 0, 0, 0
    if order != 1:
        raise DataError(
            f"the geometry {value[:20].hex()} is none of the server's own form",
            hint=AS_TEXT.format(name=name),
            where={"column": name},
        )
    return value[4:] if not system else struct.pack("<BII", 1, kind | 0x20000000, system) + value[9:]


def guard_error(text: str, schema: pa.Schema) -> DataError:
    """The error of a row that does not fulfil its guard: `index:hex` of the value's first bytes."""
    index, _, shown = text.partition(":")
    name = schema.field(int(index)).name
    return DataError(
        f"a text (bytes {shown}) has a character that Unicode has no place for",
        hint=f"columns: {{{name}: binary}} carries its bytes",
        where={"column": name},
    )
