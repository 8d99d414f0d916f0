"""Every MySQL and MariaDB type: what arrives, what is refused, and what allows it.

The table is checked against real servers by `test_mysql_types.py`, and is what the page
docs/reference/types-mysql.md is made of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from tests.connectors.type_pages import Row, TypePage, arrow_words

PAGE_TEXT = """\
# MySQL and MariaDB types

How each type arrives. The table is made from the tests, which compare every value with the server's own
account of it, on MySQL 8.0 and MariaDB 10.11.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is. A value
that the type cannot carry stops the load with the name of its column; nothing is bent, cut or made null. Then
`columns: {name: text}` carries the source's own text, whatever the value.

| MySQL | arrives as | asgard.type | what is refused, or how it looks |
|---|---|---|---|
{table}

Unsigned numbers arrive as Arrow's unsigned ones; the lake carries them in the next wider type, `bigint
unsigned` as `decimal(20, 0)`.

`columns:` takes `text` for every type; `decimal(p, s)`, `int64`, `int32`, `int16` and `bool` for numbers and
for text that holds them; `float64` and `float32` for numbers (the one cast that may round); `timestamp`,
`timestamptz` and `date` for times and for text that holds them; `binary` for text, as the server stores it;
`json` for text that holds JSON. Every value must fit, or the load stops and says which does not. A `datetime`
that is wanted as `timestamptz` is taken as UTC.

`zero_dates: "null"` makes dates without a year, month or day null instead of stopping the load.
"""


@dataclass(frozen=True)
class Case:
    """A type and some of its values.

    Attributes:
        type: as in CREATE TABLE.
        arrow: the Arrow type that it arrives as.
        values: SQL expressions that arrive; null is tried with each type.
        label: `asgard.type` of the field.
        refused: SQL expressions that are refused by name.
        note: what the page says about it.
        shown, arrives: what the page calls the type and what it arrives as, where the case is one of many.
        listed: whether the page has a line for it.
        only: the server that has it, if one alone does.
    """

    type: str
    arrow: str
    values: Sequence[str]
    label: str = ""
    refused: Sequence[str] = ()
    note: str = ""
    shown: str = ""
    arrives: str = ""
    listed: bool = True
    only: str = ""

    @property
    def name(self) -> str:
        """For test ids and the page."""
        return self.shown or self.type


NINES = "9" * 35 + "." + "9" * 30
ZEROS = ["'0000-00-00'", "'2024-00-10'", "'2024-02-00'"]
ZERO_TIMES = ["'0000-00-00 00:00:00'", "'2024-00-10 10:00:00'"]
NO_DAY = 'a zero year, month or day; `zero_dates: "null"`'
DOUBLES = ["1.5", "0.1", "-0e0", "1.7976931348623157e308", "5e-324", "-2.2250738585072014e-308", "1/3e0"]

CASES: tuple[Case, ...] = (
    # numbers
    Case("tinyint", "int8", ["-128", "0", "127"]),
    Case(
        "tinyint(1)",
        "int8",
        ["-128", "0", "1", "127"],
        shown="tinyint(1), boolean",
        note="a number; `columns: {x: bool}` makes 0 and 1 a boolean",
    ),
    Case("tinyint unsigned", "uint8", ["0", "255"]),
    Case("smallint", "int16", ["-32768", "32767"]),
    Case("smallint unsigned", "uint16", ["0", "65535"]),
    Case("mediumint", "int32", ["-8388608", "8388607"]),
    Case("mediumint unsigned", "uint32", ["0", "16777215"]),
    Case("int", "int32", ["-2147483648", "0", "2147483647"]),
    Case("int unsigned", "uint32", ["0", "4294967295"]),
    Case("int(8) zerofill", "uint32", ["42", "4294967295"], shown="int zerofill", note="without the zeros"),
    Case("bigint", "int64", ["-9223372036854775808", "0", "9223372036854775807"]),
    Case("bigint unsigned", "uint64", ["0", "9223372036854775808", "18446744073709551615"]),
    Case("decimal(1, 0)", "decimal128(1, 0)", ["0", "9", "-9"], listed=False),
    Case(
        "decimal(10, 2)",
        "decimal128(10, 2)",
        ["0", "-0.01", "99999999.99", "1.10"],
        shown="decimal(p, s), p up to 38",
        arrives="decimal(p, s)",
    ),
    Case("decimal(10, 2) unsigned", "decimal128(10, 2)", ["0", "99999999.99"], listed=False),
    Case(
        "decimal(38, 30)",
        "decimal128(38, 30)",
        ["99999999." + "9" * 30, "-0." + "0" * 29 + "1"],
        listed=False,
    ),
    Case(
        "decimal(65, 30)",
        "string",
        [NINES, f"-{NINES}", "0", "-0." + "0" * 29 + "1"],
        label="decimal",
        shown="decimal(p, s), p above 38",
        note="the exact digits",
    ),
    Case(
        "float",
        "float",
        ["1.5", "0.1", "-0e0", "3.40282346e38", "1.17549435e-38", "16777217", "0.3333333432674408"],
        note="every bit",
    ),
    Case("float(7, 3)", "float", ["1234.567", "-0.001"], listed=False),
    Case("double", "double", DOUBLES, note="every bit"),
    Case("double(20, 3)", "double", ["1234567890.123", "-0.001"], listed=False),
    Case("bit(1)", "bool", ["b'0'", "b'1'"]),
    Case(
        "bit(10)",
        "uint16",
        ["b'0'", "b'1111111111'", "b'10'"],
        label="bit",
        shown="bit(n)",
        arrives="the unsigned integer that holds it",
    ),
    Case("bit(64)", "uint64", ["0", "b'1'", "18446744073709551615"], label="bit", listed=False),
    Case("bit(8)", "uint8", ["255", "10"], label="bit", listed=False),
    # times
    Case(
        "date",
        "date32[day]",
        ["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'0001-01-01'"],
        refused=[*ZEROS, "'2023-02-31'"],
        note=NO_DAY + "; days that no month has",
    ),
    Case(
        "datetime",
        "timestamp[us]",
        ["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"],
        refused=ZERO_TIMES,
        note=NO_DAY,
        shown="datetime, datetime(n)",
    ),
    Case(
        "datetime(6)",
        "timestamp[us]",
        ["'2024-02-29 01:02:03.000001'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"],
        refused=["'0000-00-00 00:00:00'"],
        listed=False,
    ),
    Case("datetime(3)", "timestamp[us]", ["'2024-02-29 01:02:03.100'"], listed=False),
    Case(
        "timestamp NULL",
        "timestamp[us, tz=UTC]",
        ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"],
        refused=["0"],
        shown="timestamp, timestamp(n)",
        note="the instant; refused: zero",
    ),
    Case("timestamp(6) NULL", "timestamp[us, tz=UTC]", ["'2024-07-01 12:00:00.000001'"], listed=False),
    Case(
        "time",
        "string",
        ["'838:59:59'", "'-838:59:59'", "'24:00:00'", "'00:00:00'", "'-00:00:01'"],
        label="time",
        shown="time, time(n)",
        note="the server's text, beyond 24 hours and below zero too",
    ),
    Case("time(6)", "string", ["'-838:59:58.999999'", "'12:34:56.000001'"], label="time", listed=False),
    Case("year", "int16", ["1901", "2155", "0000", "2024"], label="year"),
    # text
    Case(
        "varchar(50)", "string", ["''", "'abc  '", "'żółć'", "'NULL'"], shown="char(n), varchar(n), text, ..."
    ),
    Case("char(5)", "string", ["'a'", "''", "'abcde'"], listed=False),
    Case(
        "longtext",
        "string",
        [
            "''",
            "'naïve 漢字 😀'",
            "'tab\\tnl\\nnul\\0 back\\\\ quote\" '''",
            "repeat('x', 100000)",
            "repeat('é', 150)",
        ],
        listed=False,
    ),
    Case("tinytext CHARACTER SET utf8mb3", "string", ["'漢字'"], listed=False),
    Case("varchar(20) CHARACTER SET ascii", "string", ["'plain'"], listed=False),
    Case(
        "varchar(256) CHARACTER SET latin1",
        "string",
        ["'é€'", "0x80818D8F909D9FA0FF", "''"],
        shown="text in another character set",
        note="as Unicode; refused: characters that Unicode has no place for",
    ),
    Case("varchar(20) CHARACTER SET utf16", "string", ["'漢字 😀'"], listed=False),
    Case("varchar(20) CHARACTER SET ucs2", "string", ["'漢字'"], listed=False),
    Case("varchar(20) CHARACTER SET utf32", "string", ["'😀'"], listed=False),
    Case("varchar(20) CHARACTER SET sjis", "string", ["'日本語'", "'ｱｲｳ'"], listed=False),
    Case("varchar(20) CHARACTER SET gbk", "string", ["'汉字'"], listed=False),
    Case("varchar(20) CHARACTER SET big5", "string", ["'漢字'"], listed=False),
    Case("varchar(20) CHARACTER SET cp1251", "string", ["'Привет'"], listed=False),
    Case("varchar(20) CHARACTER SET koi8r", "string", ["'Привет'"], listed=False),
    Case("varchar(20) CHARACTER SET latin2", "string", ["'żółć'"], listed=False),
    Case(
        "enum('sad', 'ok', 'happy, or so', '😀 \"glad\"')",
        "string",
        ["'sad'", "'happy, or so'", "'😀 \"glad\"'", "''"],
        label="enum",
        shown="enum(...)",
        note="an invalid value is the empty text that the server shows",
    ),
    Case("set('a', 'b', 'c d')", "string", ["'a,c d'", "''", "'b'"], label="set", shown="set(...)"),
    Case(
        "json",
        "string",
        ['\'{"a": 1.10, "b": [1, null], "c": "é😀"}\'', "'null'", "'18446744073709551615'", "'\"x\"'"],
        label="json",
        note="the server's own text",
    ),
    # bytes
    Case(
        "varbinary(300)",
        "binary",
        ["x''", "x'00FF80'", "x'C328'", "repeat(x'FE', 300)"],
        shown="binary(n), varbinary(n), blob, ...",
    ),
    Case("binary(4)", "binary", ["x'01'", "x'00000000'"], listed=False),
    Case("longblob", "binary", ["x''", "repeat(x'00FF', 70000)", "x'FB'", "x'FE'"], listed=False),
    # places
    Case(
        "geometry",
        "binary",
        [
            "ST_GeomFromText('POINT(0.1 -1e300)')",
            "ST_GeomFromText('LINESTRING(0 0, 1 1)')",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))')",
        ],
        label="geometry",
        shown="geometry, point, polygon, ...",
        note="well-known binary; with a spatial reference system extended well-known binary (EWKB)",
    ),
    Case(
        "polygon",
        "binary",
        ["ST_GeomFromText('POLYGON((0 0, 1 0, 0 1, 0 0))')"],
        label="geometry",
        listed=False,
    ),
    # MariaDB alone
    Case(
        "uuid",
        "string",
        ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
        label="uuid",
        only="mariadb",
        shown="uuid, inet4, inet6 (MariaDB)",
        note="the server's own text",
    ),
    Case("inet6", "string", ["'2001:db8::1'"], label="inet6", only="mariadb", listed=False),
    # what stands behind the type
    Case(
        "int GENERATED ALWAYS AS (row_number_ * 2) STORED",
        "int32",
        [],
        shown="generated columns, invisible columns",
        arrives="as others of their type",
    ),
    Case("int GENERATED ALWAYS AS (row_number_ * 3) VIRTUAL", "int32", [], listed=False),
    Case("int DEFAULT 7 INVISIBLE", "int32", ["8"], listed=False),
)


def proof(column: str, case: Case, arrow: pa.DataType) -> str:
    """SQL for a text that tells a value apart from every other, independent of how it is read."""
    if t.is_boolean(arrow) or t.is_integer(arrow):
        return f"CAST({column} + 0 AS CHAR)"
    if t.is_floating(arrow):
        return f"{column} * 1e0"  # as text it would lose a digit now and then
    if t.is_date(arrow):
        return f"CAST(TO_DAYS({column}) - TO_DAYS('1970-01-01') AS CHAR)"
    if t.is_timestamp(arrow):
        return f"CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) AS CHAR)"
    if case.label == "geometry":
        return f"HEX(ST_AsBinary({column}))"
    if t.is_binary(arrow):
        return f"HEX({column})"
    if t.is_decimal(arrow):
        return f"CAST({column} AS CHAR)"
    return f"HEX(CONVERT({column} USING utf8mb4))"


def told(array: pa.Array) -> list[Any]:
    """What arrived, in the words of `proof`; floats as their bits."""
    arrow = array.type
    if t.is_boolean(arrow):
        return [None if v is None else str(int(v)) for v in array.to_pylist()]
    if t.is_floating(arrow):
        return [None if v is None else bits(v) for v in array.to_pylist()]
    if t.is_date(arrow) or t.is_timestamp(arrow):
        numbers = array.view(pa.int32() if t.is_date(arrow) else pa.int64())
        return [None if v is None else str(v) for v in numbers.to_pylist()]
    if t.is_binary(arrow):
        return [None if v is None else v.hex().upper() for v in array.to_pylist()]
    if t.is_decimal(arrow):
        return [None if v is None else f"{v:f}" for v in array.to_pylist()]
    if t.is_string(arrow):
        return [None if v is None else v.encode().hex().upper() for v in array.to_pylist()]
    return [None if v is None else str(v) for v in array.to_pylist()]


def bits(value: float) -> str:
    """A float's bits."""
    return struct.pack(">d", value).hex()


def _rows() -> Iterator[Row]:
    for case in CASES:
        if case.listed:
            refused = f"refused: {case.note}" if case.refused and "refused" not in case.note else case.note
            yield case.name, case.arrives or arrow_words(case.arrow), _label(case), refused


def _label(case: Case) -> str:
    many = "," in case.shown and case.label not in ("geometry", "time")
    return "its name" if case.label and many else f"`{case.label}`" if case.label else ""


PAGE = TypePage("mysql", PAGE_TEXT, {"table": _rows})
