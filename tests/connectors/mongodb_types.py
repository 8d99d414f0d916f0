"""Every BSON type: the column that it becomes, and how it stands in JSON.

The table is checked by `test_mongodb_types.py`, and is what the page docs/reference/types-mongodb.md is made
of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import bson
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from tests.connectors.type_pages import Row, TypePage, code

PAGE_TEXT = """\
# MongoDB types

How each BSON type arrives. The table is made from the tests, which compare every value with the bytes of
its document, and canonical JSON by turning it back into the same bytes.

With `flatten: 0`, the default, a document is one text in the column `document`: Extended JSON v2, relaxed,
or canonical with `json_form: canonical`. With `flatten: 1` and more its fields become columns. A column's
type is the one that most values of a sample have, or the one that `columns:` declares; a value that does
not fit is never bent: it stands in `_rescued`, a JSON object of path to value, and its column is null
there.

| BSON | column | asgard.type | in relaxed JSON | in canonical JSON | to know |
|---|---|---|---|---|---|
{table}

Fields that are missing and fields that are null are both null in a column; `keep_nulls: true` writes the
null ones to `_rescued`. In a document the two stay what they are, and so do two fields of one name, fields
without a name, and names with dots and dollars. A field whose own name means a type in Extended JSON
(`$date`, `$oid`, ...) is refused, because the text would read as another value; `wrapper_names: keep`
writes it as it is.

In the paths of `_rescued` and of `columns:` a dot stands between names; a dot or backslash of a name has a
backslash before it.

`columns:` takes, besides the types of the table: `int32`, `int16` for whole numbers within them; `float32`;
`decimal(p, s)` for Decimal128 and whole numbers; `date` for dates at midnight; `timestamp` for dates, as a
UTC time without zone; `json` for every value; and `objectid`, `uuid`, `decimal128`. `int64` takes doubles
that are whole numbers, `float64` whole numbers that a double has exactly. Text is taken by `text` alone.

`_id` has the type of all ids, or is JSON where they have several; an id that does not fit its column stops
the load.
"""

RESCUED = object()
"""The column is null, and the value stands in `_rescued`."""


@dataclass(frozen=True)
class Value:
    """A value and what becomes of it.

    Attributes:
        given: as the driver takes it, or the bytes behind the name of an element that it cannot make.
        column: in a column of the case's type.
        relaxed, canonical: in JSON; canonical is the same where it is empty.
    """

    given: Any
    column: Any
    relaxed: str
    canonical: str = ""

    @property
    def in_canonical(self) -> str:
        return self.canonical or self.relaxed


@dataclass(frozen=True)
class Case:
    """A type and some of its values.

    Attributes:
        name: of the type.
        word: of the column that a sample of it suggests.
        arrow: the Arrow type of that.
        label: its `asgard.type`.
        code: BSON's number of the type, for values given as bytes.
        shown: which value the page shows.
        stored: whether the server of the tests keeps such values.
    """

    name: str
    word: str
    arrow: str
    values: Sequence[Value]
    label: str = ""
    note: str = ""
    code: int = 0
    shown: int = 0
    stored: bool = True

    def document(self, value: Value) -> bytes:
        """The BSON of a document with the value in the field `v`."""
        if not self.code:
            return bson.encode({"v": value.given})
        body = bytes([self.code]) + b"v\0" + value.given
        return struct.pack("<i", len(body) + 5) + body + b"\0"


def _double(value: float, relaxed: str) -> Value:
    plain = relaxed.removeprefix('{"$numberDouble":"').removesuffix('"}')
    return Value(value, value, relaxed, f'{{"$numberDouble":"{plain}"}}')


def _date(milliseconds: int, relaxed: str, column: Any = None) -> Value:
    canonical = f'{{"$date":{{"$numberLong":"{milliseconds}"}}}}'
    moment = column or datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return Value(DatetimeMS(milliseconds), moment, relaxed or canonical, canonical)


def _decimal(text: str) -> Value:
    return Value(Decimal128(text), text, f'{{"$numberDecimal":"{text}"}}')


def _binary(data: bytes, subtype: int, base64: str, column: Any = RESCUED) -> Value:
    json = f'{{"$binary":{{"base64":"{base64}","subType":"{subtype:02x}"}}}}'
    return Value(Binary(data, subtype), json if column is RESCUED else column, json)


def _same(given: Any, json: str) -> Value:
    """A value that is JSON in a column too."""
    return Value(given, json, json)


def _text(value: str, json: str) -> Value:
    return Value(value, value, json)


OID = "507f1f77bcf86cd799439011"
UUID = bytes.fromhex("a0eebc999c0b4ef8bb6d6bb9bd380a11")
LONGEST = "9.999999999999999999999999999999999E+6144"

CASES: tuple[Case, ...] = (
    Case(
        "double",
        "float64",
        "double",
        [
            _double(1.5, "1.5"),
            _double(1.0, "1.0"),
            _double(-0.0, "-0.0"),
            _double(1e20, "1e+20"),
            _double(0.1, "0.1"),
            _double(5e-324, "5e-324"),
            _double(1.7976931348623157e308, "1.7976931348623157e+308"),
            _double(2.0**53, "9.007199254740992e+15"),
            _double(float("inf"), '{"$numberDouble":"Infinity"}'),
            _double(float("-inf"), '{"$numberDouble":"-Infinity"}'),
            _double(float("nan"), '{"$numberDouble":"NaN"}'),
        ],
        note="always with a point or an exponent; the payload of a NaN is not kept in JSON",
    ),
    Case(
        "string",
        "text",
        "string",
        [
            _text("Ærø", '"Ærø"'),
            _text("", '""'),
            _text("twelve bytes", '"twelve bytes"'),
            _text("thirteen byte", '"thirteen byte"'),
            _text('"\\/\n\r\t\b\f\x00\x01\x7f', '"\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u0001\x7f"'),
            _text("😀\u2028", '"😀\u2028"'),
            _text("x" * 5000, '"' + "x" * 5000 + '"'),
        ],
        note="refused: bytes that are no UTF-8",
    ),
    Case(
        "object",
        "json",
        "string",
        [
            _same({"a": "x", "b": {"c": [True]}}, '{"a":"x","b":{"c":[true]}}'),
            _same({}, "{}"),
            _same({"": "", "a.b": None, "$c": '"', "é": "e"}, '{"":"","a.b":null,"$c":"\\"","é":"e"}'),
            _same({"$ref": "c", "$id": "7"}, '{"$ref":"c","$id":"7"}'),
            _same(DBRef("c", "7", "d"), '{"$ref":"c","$id":"7","$db":"d"}'),
        ],
        label="json",
        note="columns of their own with `flatten: 2` and more; empty ones then go to `_rescued`",
    ),
    Case(
        "array",
        "json",
        "string",
        [
            _same([None, "x", ["y"], {"z": []}], '[null,"x",["y"],{"z":[]}]'),
            _same([], "[]"),
            _same(["e"] * 40, "[" + ",".join(['"e"'] * 40) + "]"),
        ],
        label="json",
    ),
    Case(
        "binData, subtype 0",
        "binary",
        "binary",
        [
            _binary(b"\x00\xff", 0, "AP8=", b"\x00\xff"),
            _binary(b"", 0, "", b""),
            _binary(b"x" * 99, 0, "eHh4" * 33, b"x" * 99),
        ],
    ),
    Case(
        "binData, subtype 4 (UUID)",
        "uuid",
        "string",
        [_binary(UUID, 4, "oO68mZwLTvi7bWu5vTgKEQ==", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
        label="uuid",
        stored=False,
    ),
    Case(
        "binData, other subtypes",
        "json",
        "string",
        [
            _binary(UUID, 3, "oO68mZwLTvi7bWu5vTgKEQ=="),
            _binary(b"", 5, ""),
            _binary(b"\x01\x02", 2, "AQI="),
            _binary(b"k", 128, "aw=="),
        ],
        label="json",
        note="the old UUIDs of subtype 3 too: their byte order depends on the driver that wrote them",
        stored=False,
    ),
    Case(
        "objectId",
        "objectid",
        "string",
        [
            Value(ObjectId(OID), OID, f'{{"$oid":"{OID}"}}'),
            Value(ObjectId("f" * 24), "f" * 24, f'{{"$oid":"{"f" * 24}"}}'),
            Value(ObjectId("0" * 24), "0" * 24, f'{{"$oid":"{"0" * 24}"}}'),
        ],
        label="objectId",
    ),
    Case("bool", "bool", "bool", [Value(True, True, "true"), Value(False, False, "false")]),
    Case(
        "date",
        "timestamptz",
        "timestamp[us, tz=UTC]",
        [
            _date(1_767_225_600_001, '{"$date":"2026-01-01T00:00:00.001Z"}'),
            _date(0, '{"$date":"1970-01-01T00:00:00Z"}'),
            _date(253_402_300_799_999, '{"$date":"9999-12-31T23:59:59.999Z"}'),
            _date(253_402_300_800_000, "", 253_402_300_800_000_000),
            _date(-1, ""),
            _date(-62_135_596_800_001, "", -62_135_596_800_001_000),
            _date(9_223_372_036_854_774, "", 9_223_372_036_854_774_000),
            _date(9_223_372_036_854_776, "", RESCUED),
            _date((1 << 63) - 1, "", RESCUED),
            _date(-(1 << 63), "", RESCUED),
        ],
        note="rescued: years beyond ±292,000, which microseconds do not count",
        stored=False,
    ),
    Case("null", "", "", [Value(None, None, "null")], note="no column where a field is always null"),
    Case(
        "regex",
        "json",
        "string",
        [
            _same(Regex('^a"\\d', "im"), '{"$regularExpression":{"pattern":"^a\\"\\\\d","options":"im"}}'),
            _same(Regex("", ""), '{"$regularExpression":{"pattern":"","options":""}}'),
        ],
        label="json",
        stored=False,
    ),
    Case(
        "javascript",
        "json",
        "string",
        [
            _same(Code('f("x")'), '{"$code":"f(\\"x\\")"}'),
            _same(Code("g()", {"x": "y"}), '{"$code":"g()","$scope":{"x":"y"}}'),
        ],
        label="json",
        note="with a scope too",
        stored=False,
    ),
    Case(
        "int (32 bits)",
        "int64",
        "int64",
        [
            Value(1, 1, "1", '{"$numberInt":"1"}'),
            Value(-(1 << 31), -(1 << 31), "-2147483648", '{"$numberInt":"-2147483648"}'),
        ],
        note="int64, because a field that outgrows 32 bits becomes a long",
    ),
    Case(
        "timestamp",
        "json",
        "string",
        [
            _same(Timestamp(4_000_000_000, 7), '{"$timestamp":{"t":4000000000,"i":7}}'),
            _same(Timestamp(0, 4_294_967_295), '{"$timestamp":{"t":0,"i":4294967295}}'),
        ],
        label="json",
        note="the server's own counter, no date",
        stored=False,
    ),
    Case(
        "long (64 bits)",
        "int64",
        "int64",
        [
            Value(Int64(1), 1, "1", '{"$numberLong":"1"}'),
            Value(
                (1 << 63) - 1, (1 << 63) - 1, "9223372036854775807", '{"$numberLong":"9223372036854775807"}'
            ),
            Value(-(1 << 63), -(1 << 63), "-9223372036854775808", '{"$numberLong":"-9223372036854775808"}'),
        ],
        note="relaxed JSON does not tell it from an int",
    ),
    Case(
        "decimal (128 bits)",
        "decimal128",
        "string",
        [
            _decimal("1.10"),
            _decimal("0"),
            _decimal("-0"),
            _decimal("-0.00"),
            _decimal("0E+3"),
            _decimal("1E+3"),
            _decimal("-5"),
            _decimal("0.000001"),
            _decimal("1E-7"),
            _decimal("1.234567890123456789012345678901234"),
            _decimal("9999999999999999999999999999999999"),
            _decimal("-18446744073709551616"),
            _decimal("-184467440737.09551616"),
            _decimal(LONGEST),
            _decimal("1E-6176"),
            _decimal("NaN"),
            _decimal("Infinity"),
            _decimal("-Infinity"),
        ],
        label="decimal",
        note="its own text: every digit, zero and exponent; `columns: {x: decimal(p, s)}` makes it a decimal",
    ),
    Case(
        "minKey, maxKey",
        "json",
        "string",
        [_same(MinKey(), '{"$minKey":1}'), _same(MaxKey(), '{"$maxKey":1}')],
        label="json",
        stored=False,
    ),
    Case(
        "undefined",
        "",
        "",
        [Value(b"", RESCUED, '{"$undefined":true}')],
        code=6,
        note="deprecated",
        stored=False,
    ),
    Case(
        "dbPointer",
        "json",
        "string",
        [
            _same(
                b"\x02\0\0\0c\0" + bytes.fromhex(OID),
                f'{{"$dbPointer":{{"$ref":"c","$id":{{"$oid":"{OID}"}}}}}}',
            )
        ],
        label="json",
        code=12,
        note="deprecated",
        stored=False,
    ),
    Case(
        "symbol",
        "json",
        "string",
        [_same(b"\x02\0\0\0s\0", '{"$symbol":"s"}')],
        label="json",
        code=14,
        note="deprecated; a string is no symbol",
        stored=False,
    ),
)


@dataclass(frozen=True)
class Declared:
    """What a declared type takes, and what it leaves to `_rescued`."""

    word: str
    taken: Sequence[tuple[Any, Any]]
    rescued: Sequence[Any]


BIG = (1 << 53) + 1
DECLARED: tuple[Declared, ...] = (
    Declared("int16", [(7, 7), (-32768, -32768)], [32768, Int64(1 << 40), 1.5, "7"]),
    Declared("int32", [(7, 7), (Int64(-5), -5), (7.0, 7)], [Int64(1 << 31), -0.0, True]),
    Declared(
        "int64",
        [(7.0, 7), (2.0**62, 1 << 62)],
        [2.0**63, float("nan"), float("inf"), 0.5, Decimal128("7"), "7"],
    ),
    Declared(
        "float64",
        [(7, 7.0), (Int64(-BIG + 1), -float(BIG - 1))],
        [Int64(BIG), Int64(-BIG), Decimal128("1.5"), "1"],
    ),
    Declared(
        "float32",
        [(0.5, 0.5), (float("inf"), float("inf")), (1 << 24, float(1 << 24))],
        [0.1, 1e300, (1 << 24) + 1],
    ),
    Declared(
        "decimal(6, 2)",
        [
            (Decimal128("1.10"), Decimal("1.10")),
            (Decimal128("-9999.99"), Decimal("-9999.99")),
            (7, Decimal("7.00")),
            (Decimal128("1.1000"), Decimal("1.10")),
            (Int64(-7), Decimal("-7.00")),
        ],
        [Decimal128("1.101"), Decimal128("10000"), Decimal128("NaN"), 10000, 1.5, "1.10"],
    ),
    Declared(
        "decimal(38, 0)",
        [
            (Decimal128("9999999999999999999999999999999999"), Decimal("9" * 34)),
            ((1 << 63) - 1, Decimal((1 << 63) - 1)),
        ],
        [Decimal128("0.5"), Decimal128("1E+6000")],
    ),
    Declared("bool", [(True, True)], [1, "true"]),
    Declared("text", [("x", "x")], [1, ObjectId(OID), Regex("x"), Code("x")]),
    Declared("json", [("x", '"x"'), (1, "1"), (ObjectId(OID), f'{{"$oid":"{OID}"}}')], []),
    Declared("binary", [(b"x", b"x")], [Binary(b"x", 5), "x"]),
    Declared(
        "uuid",
        [(Binary(UUID, 4), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
        [Binary(UUID, 3), Binary(b"x", 4)],
    ),
    Declared("objectid", [(ObjectId(OID), OID)], [OID]),
    Declared("decimal128", [(Decimal128("1.0"), "1.0")], [1, "1.0"]),
    Declared(
        "date",
        [(DatetimeMS(86_400_000), date(1970, 1, 2)), (DatetimeMS(-86_400_000), date(1969, 12, 31))],
        [DatetimeMS(1), DatetimeMS(-1), Timestamp(0, 0)],
    ),
    Declared("timestamp", [(DatetimeMS(1), datetime(1970, 1, 1, 0, 0, 0, 1000))], [DatetimeMS(1 << 60), 1]),
    Declared(
        "timestamptz",
        [(DatetimeMS(-1), datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))],
        ["1970-01-01"],
    ),
)


def _rows() -> Iterator[Row]:
    for case in CASES:
        value = case.values[case.shown]
        label = code(case.label) if case.label else ""
        yield case.name, case.arrow, label, code(value.relaxed), code(value.in_canonical), case.note


PAGE = TypePage("mongodb", PAGE_TEXT, {"table": _rows})
