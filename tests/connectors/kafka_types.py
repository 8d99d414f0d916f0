"""What the values of Kafka's messages become: JSON, and Avro and Protobuf by a schema registry.

The tables are checked by `test_kafka_types.py` against a real broker, and are what the page
docs/reference/types-kafka.md is made of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from tests.connectors.rest_types import WISHED as OF_JSON
from tests.connectors.type_pages import Case, Row, TypePage, code, python_words

PAGE_TEXT = """\
# Types of Kafka messages

How the values of messages arrive. The tables are made from the tests, which send every value through a real
broker.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is. A message
that cannot be decoded goes to the quarantine with its bytes and the reason. A value that does not fit its
column is never bent: it stands in `_rescued`, a JSON object of field to value, and its column is null there.

`format: raw` is one column `value` of bytes, `format: text` one of UTF-8 text.

## JSON

`format: json` is one column `value`, the text of the message to the letter, whose `asgard.type` is `json`.
With `columns:` the named fields become columns, and all the rest stays in `_rescued`:

| type | fields | arrive as | are rescued |
|---|---|---|---|
{json}

## Avro

The columns are the fields of the subject's newest schema. A message is read with the schema that it was
written with; what the newest one does not have, or has as a type that the value does not fit, is rescued.

| Avro | arrives as | asgard.type | for example | to know |
|---|---|---|---|---|
{avro}

## Protobuf

The columns are the fields of the first message of the subject's newest schema. A field with presence that was
not set is null, one without has its default.

| Protobuf | arrives as | asgard.type | for example | to know |
|---|---|---|---|---|
{protobuf}
"""

ADDRESS = {"type": "record", "name": "Address", "fields": [{"name": "city", "type": "string"}]}
TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Tree"]}],
}


def _logical(type: str, logical: str, **more: Any) -> dict[str, Any]:
    return {"type": type, "logicalType": logical, **more}


def _avro(name: str, schema: Any, given: Any, arrow: str, arrived: Any = None, **more: Any) -> Case:
    return Case(name, [given], arrow, [given if arrived is None else arrived], made=schema, **more)


LONG = Decimal("9" * 40 + ".12")

AVRO: tuple[Case, ...] = (
    _avro("boolean", "boolean", True, "bool"),
    _avro("int", "int", -(2**31), "int32"),
    _avro("long", "long", 2**63 - 1, "int64"),
    _avro("float", "float", 0.5, "float"),
    _avro("double", "double", math.pi, "double"),
    _avro("bytes, fixed", "bytes", b"\x00\xff", "binary"),
    _avro("", {"type": "fixed", "name": "Hash", "size": 2}, b"ab", "binary"),
    _avro("string", "string", "é", "string"),
    _avro("enum", {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, "BLUE", "string"),
    _avro("date", _logical("int", "date"), -719162, "date32[day]", date(1, 1, 1)),
    _avro("time-millis", _logical("int", "time-millis"), 86_399_999, "time32[ms]", time(23, 59, 59, 999_000)),
    _avro("time-micros", _logical("long", "time-micros"), 86_399_999_999, "time64[us]",
          time(23, 59, 59, 999_999)),
    _avro("timestamp-millis", _logical("long", "timestamp-millis"), -1, "timestamp[ms, tz=UTC]",
          datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    _avro("timestamp-micros", _logical("long", "timestamp-micros"), 253402300799999999,
          "timestamp[us, tz=UTC]", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    _avro("local-timestamp-millis", _logical("long", "local-timestamp-millis"), -1, "timestamp[ms]",
          datetime(1969, 12, 31, 23, 59, 59, 999_000)),
    _avro("local-timestamp-micros", _logical("long", "local-timestamp-micros"), 1, "timestamp[us]",
          datetime(1970, 1, 1, 0, 0, 0, 1)),
    _avro("decimal(p, s)", _logical("bytes", "decimal", precision=38, scale=2),
          Decimal("123456789012345678901234567890123456.78"), "decimal128(38, 2)", arrives="decimal(p, s)"),
    _avro("decimal(p, s), p above 38", _logical("bytes", "decimal", precision=42, scale=2), LONG, "string",
          format(LONG, "f"), label="decimal(42,2)", note="all its digits"),
    _avro("uuid", _logical("string", "uuid"), "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "string", label="uuid"),
    _avro("array", {"type": "array", "items": ["null", "string"]}, ["a", None], "list<item: string>",
          arrives="list of what its items are"),
    _avro("map", {"type": "map", "values": "long"}, {"x": 1}, "map<string, int64>", [("x", 1)],
          arrives="map of text to what its values are"),
    _avro("record", ADDRESS, {"city": "Rome"}, "struct<city: string>", arrives="struct of the same"),
    _avro("a union with null", ["null", "string"], "x", "string", arrives="what the other branch is"),
    _avro("a union of more", ["int", "string", "bytes"], "5", "string", '"5"', label="json"),
    _avro("a record that contains itself", TREE, {"v": 1, "next": {"v": 2, "next": None}}, "string",
          '{"v":1,"next":{"v":2,"next":null}}', label="json"),
)  # fmt: skip
"""`made` is the schema of the field."""


def avro_schema() -> dict[str, Any]:
    """A record with a field for each case, f0, f1 and so on."""
    fields = [{"name": f"f{number}", "type": case.made} for number, case in enumerate(AVRO)]
    return {"type": "record", "name": "Every", "namespace": "shop", "fields": fields}


def _proto(name: str, made: str, given: Any, arrow: str, arrived: Any = None, **more: Any) -> Case:
    return Case(name, [given], arrow, [given if arrived is None else arrived], made=made, **more)


PROTOBUF: tuple[Case, ...] = (
    _proto("bool", "bool", True, "bool"),
    _proto("int32, sint32, sfixed32", "int32", -5, "int32"),
    _proto("", "sint32", -(2**31), "int32"),
    _proto("int64, sint64, sfixed64", "sint64", -(2**63), "int64"),
    _proto("uint32, fixed32", "fixed32", 2**32 - 1, "uint32", note="int64 in the lake"),
    _proto("uint64, fixed64", "uint64", 2**64 - 1, "uint64", note="decimal(20, 0) in the lake"),
    _proto("float", "float", 0.5, "float"),
    _proto("double", "double", math.pi, "double"),
    _proto("bytes", "bytes", b"\x00\xff", "binary"),
    _proto("string", "string", "é", "string"),
    _proto("", "optional string", "", "string"),
    _proto("enum", "Colour", 1, "string", "BLUE", note="the number where it has no name"),
    _proto("", "Colour", 7, "string", "7"),
    _proto("repeated", "repeated int32", [1, -1], "list<item: int32>", arrives="list of what its values are"),
    _proto("map", "map<string, Address>", {"r": {"city": "Rome"}}, "map<string, struct<city: string>>",
           [("r", {"city": "Rome"})], arrives="map of the same"),
    _proto("message", "Address", {"city": "Rome"}, "struct<city: string>", arrives="struct of the same"),
    _proto("a message that contains itself", "Every", {"f0": True}, "string", '{"f0":true}', label="json"),
)  # fmt: skip
"""`made` is the type of the field in the .proto file."""


def proto_schema() -> str:
    """A .proto file whose first message has a field for each case, f0, f1 and so on."""
    fields = "".join(f"  {case.made} f{number} = {number + 1};\n" for number, case in enumerate(PROTOBUF))
    return (
        'syntax = "proto3";\npackage shop;\nenum Colour { RED = 0; BLUE = 1; }\n'
        f"message Every {{\n  message Address {{ string city = 1; }}\n{fields}}}\n"
    )


@dataclass(frozen=True)
class Field:
    """A type that `columns:` gives a field of JSON.

    Attributes:
        taken: texts of JSON, and what they arrive as.
        rescued: texts of JSON that do not fit, as `_rescued` has them.
    """

    word: str
    taken: Sequence[tuple[str, Any]]
    rescued: Sequence[str]


JSON: tuple[Field, ...] = tuple(
    Field(wish.word, wish.taken, tuple(value for value, _ in wish.refused)) for wish in OF_JSON
)
"""A field takes what the column of an API takes; what is refused there is rescued here."""


def rescued(value: str) -> str:
    """What `_rescued` has of a message whose field `x` does not fit."""
    return json.dumps({"x": json.loads(value)}, separators=(",", ":"))


def _json() -> Iterator[Row]:
    for field in JSON:
        given = [code(value) for value, _ in field.taken]
        arrived = [code(python_words(value)) for _, value in field.taken]
        yield code(field.word), *(", ".join(t) for t in (given, arrived, [code(v) for v in field.rescued]))


def _typed(cases: Sequence[Case]) -> Iterator[Row]:
    for case in cases:
        if case.name:
            example = code(python_words(case.wanted[0]))
            yield case.row(example)


PAGE = TypePage(
    "kafka",
    PAGE_TEXT,
    {"json": _json, "avro": lambda: _typed(AVRO), "protobuf": lambda: _typed(PROTOBUF)},
)
