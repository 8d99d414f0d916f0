"""What the columns of files become: of CSV and TSV, of Parquet, of workbooks. JSON's are in `rest_types.py`.

The tables are checked by `test_files_types.py`, and are what the page docs/reference/types-files.md is made
of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa

from tests.connectors.type_pages import Case, Cases, Row, TypePage, Wished, Wishes, code

PAGE_TEXT = """\
# Types of files

How each column arrives from `files`, `s3`, `gcs` and `azure`. The tables are made from the tests, which write
every value to files and load it.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is.

## CSV and TSV

They have no types: a column has the one that all of its values prove, in all files of the load. Written back,
every value is the one that stood there. `types: text` leaves all columns text.

| every value is | for example | arrives as | asgard.type | to know |
|---|---|---|---|---|
{texts}

`columns:` takes, and every value must fit, or the load stops and says which does not:

| type | values | arrive as | refused |
|---|---|---|---|
{wished}

`json` keeps the text as it stands, and does not look whether it is JSON.

## JSON and JSON lines

[Types of APIs and of JSON](types-rest.md) has them: files and answers are read alike.

## Parquet

A column keeps the type that the file has, and the lake carries it as:

| in the file | in the lake | asgard.type | to know |
|---|---|---|---|
{parquet}

## Excel and OpenDocument

Cells have types of their own, and a column the one that all of its cells have. Numbers are doubles there.

| every cell is | arrives as | asgard.type | to know |
|---|---|---|---|
{cells}

Durations and times of day are text in the lake, as they are from Parquet. `columns:` takes the same words as
for CSV, and every cell must fit.
"""

NOON = datetime(2024, 1, 2, 12, 0, 0, 123_000)

TEXTS: tuple[Case, ...] = (
    Case("true and false, written in one way", ["true", "false"], "bool", [True, False]),
    Case("", ["True", "False"], "bool", [True, False]),
    Case("", ["true", "False"], "string"),
    Case("a whole number of 64 bits", ["0", "-1", "9223372036854775807"], "int64", [0, -1, 2**63 - 1]),
    Case("a larger whole number", ["9223372036854775808", "1"], "decimal128(38, 0)",
         [Decimal(2**63), Decimal(1)]),
    Case("a number of up to 18 digits", ["1.5", "2", "-0.01"], "decimal128(18, 2)",
         [Decimal("1.50"), Decimal("2.00"), Decimal("-0.01")], arrives="decimal(18, s)",
         note="s is 2, 4, 6, 9 or 18, whichever holds all: the next file's values need room too"),
    Case("", ["0.123456789", "1"], "decimal128(18, 9)", [Decimal("0.123456789"), Decimal("1.000000000")]),
    Case("a number with an exponent", ["1e300", "0.5"], "double", [1e300, 0.5],
         note="if every one is the shortest text of its double"),
    Case("a number that none of these hold", ["0.12345678901234567890123456789012345678901234"], "string"),
    Case("digits that are no number", ["007", "1"], "string",
         note="leading zeros, signs and blanks are kept"),
    Case("", ["+1", "2"], "string"),
    Case("", [" 1", "2"], "string"),
    Case("", ["NaN", "1"], "string"),
    Case("", ["1_000", "2"], "string"),
    Case("a day", ["2024-02-29", "1969-12-31"], "date32[day]", [date(2024, 2, 29), date(1969, 12, 31)]),
    Case("a day that there is not", ["2023-02-29", "2024-01-01"], "string"),
    Case("a time without a zone", ["2024-01-01 10:00:00.5", "2024-01-01T10:00:00"], "timestamp[us]",
         [datetime(2024, 1, 1, 10, 0, 0, 500_000), datetime(2024, 1, 1, 10)]),
    Case("a time in UTC", ["2024-01-01T10:00:00Z", "2024-01-01 10:00:00.5+00:00"], "timestamp[us, tz=UTC]",
         [datetime(2024, 1, 1, 10, tzinfo=UTC), datetime(2024, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC)]),
    Case("a time in another zone", ["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00Z"], "string",
         note="`columns: {x: timestamptz}` takes every offset"),
    Case("more than 6 digits of a second", ["2024-01-01 10:00:00.1234567"], "string"),
    Case("a time of day", ["12:30:00"], "string"),
    Case("other text", ["NULL", "é 😀", 'a "b"\n,\t'], "string"),
    Case("empty, or an empty text", ["", None, "a"], "string",
         note="a field without quotes is null, one with them an empty text"),
    Case("nothing", [None, None], "null", note="takes the first type that comes"),
)  # fmt: skip
"""None is a field without anything in it, an empty text one of two quotes."""

WISHED: tuple[Wished, ...] = (
    Wished("text", [("1.10", "1.10"), ("007", "007"), ("true", "true")]),
    Wished("int64", [("7", 7), ("007", 7)], [("7.0", r"7\.0' is no int64"), ("1e3", "is no int64")]),
    Wished("int16", [("7", 7)], [("40000", "40000' is no int16")]),
    Wished("float64", [("1", 1.0), ("0.1", 0.1), ("1e3", 1000.0)], [("x", "'x' is no float64")]),
    Wished("decimal(6, 2)", [("1.1", Decimal("1.10"))],
           [("1.101", "is no decimal"), ("12345.6", "is no decimal")]),
    Wished("bool", [("true", True), ("FALSE", False), ("1", True), ("0", False)],
           [("yes", "'yes' is no bool")]),
    Wished("date", [("2024-02-29", date(2024, 2, 29))],
           [("2024-02-30", "is no date"), ("2024-02-29T00:00:00Z", "is no date")]),
    Wished("timestamp", [("2024-02-29T10:00:00", datetime(2024, 2, 29, 10)),
                         ("2024-02-29", datetime(2024, 2, 29))],
           [("2024-02-29T10:00:00Z", "is no timestamp"), ("2024-02-29 10:00:00.1234567", "is no timestamp")]),
    Wished("timestamptz", [("2024-02-29T10:00:00+02:00", datetime(2024, 2, 29, 8, tzinfo=UTC))],
           [("2024-02-29T10:00:00", "is no timestamptz"), ("1700000000", "is no timestamptz")]),
    Wished("json", [('{"a": 1.10}', '{"a": 1.10}')]),
    Wished("binary", [("ä", "ä".encode())]),
)  # fmt: skip

BERLIN = ZoneInfo("Europe/Berlin")
PARQUET: tuple[Case, ...] = (
    Case("bool", [True, False], "bool", made=pa.bool_()),
    Case("int8", [-128, 127], "int8", made=pa.int8(), arrives="the same"),
    Case("int16, int32, int64", [-(2**63), 2**63 - 1], "int64", made=pa.int64(), arrives="the same"),
    Case("uint8, uint16, uint32", [2**32 - 1], "int64", made=pa.uint32(), arrives="int16, int32, int64"),
    Case("uint64", [2**64 - 1], "decimal128(20, 0)", [Decimal(2**64 - 1)], made=pa.uint64()),
    Case("float16", [0.5], "float", made=pa.float16()),
    Case("float", [0.5, float("inf"), float("nan"), -0.0], "float", made=pa.float32()),
    Case("double", [0.1, 5e-324, float("nan"), -0.0], "double", made=pa.float64()),
    Case("decimal(p, s)", [Decimal("9" * 28 + ".0123456789")], "decimal128(38, 10)",
         made=pa.decimal128(38, 10), arrives="decimal(p, s)"),
    Case("decimal(p, s), p above 38", [Decimal("9" * 48 + ".10")], "string", ["9" * 48 + ".10"],
         label="decimal(50,2)", made=pa.decimal256(50, 2), note="all its digits"),
    Case("string", ["", "é 😀"], "string", made=pa.string()),
    Case("", ["x"], "string", made=pa.large_string()),
    Case("", ["x", "y", "x"], "string", made=pa.dictionary(pa.int32(), pa.string())),
    Case("binary", [b"", b"\0\xff"], "binary", made=pa.binary()),
    Case("fixed_len_byte_array", [b"abcd"], "binary", made=pa.binary(4)),
    Case("date", [date(1, 1, 1), date(9999, 12, 31)], "date32[day]", made=pa.date32()),
    Case("timestamp, not adjusted to UTC", [datetime(2024, 2, 29, 1, 2, 3, 4)], "timestamp[us]",
         made=pa.timestamp("ns"), note="nanoseconds that microseconds do not hold are refused"),
    Case("timestamp of UTC", [datetime(2024, 7, 1, 12, tzinfo=BERLIN)], "timestamp[us, tz=UTC]",
         [datetime(2024, 7, 1, 10, tzinfo=UTC)], made=pa.timestamp("ms", "Europe/Berlin")),
    Case("time", [time(12, 34, 56, 789_000)], "string", ["12:34:56.789"], label="time", made=pa.time64("us")),
    Case("duration (Arrow's)", [timedelta(days=1, hours=2, microseconds=500_000)], "string", ["PT93600.5S"],
         label="duration", made=pa.duration("us")),
    Case("uuid", [UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")], "string",
         ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], label="uuid", made=pa.uuid()),
    Case("json", ['{"a" : 1.10}'], "string", label="json", made=pa.json_(), note="as it is written"),
    Case("list", [[1, None], []], "list<element: int8>", made=pa.list_(pa.int8()),
         arrives="list of what its values are in this table"),
    Case("struct", [{"a": 1, "b": "x"}], "struct<a: int16, b: string>",
         made=pa.struct([("a", pa.uint8()), ("b", pa.string())]), arrives="struct of the same"),
    Case("map", [[("a", 1)]], "map<string, int8>", made=pa.map_(pa.string(), pa.int8()),
         arrives="map of the same"),
    Case("null", [None], "string", label="null", made=pa.null()),
)  # fmt: skip

CELLS: tuple[Case, ...] = (
    Case("a whole number, or empty", [1, 2.0, None, -(2**53)], "int64", [1, 2, None, -(2**53)],
         note="up to 2^53, which a double holds"),
    Case("a number", [1, 2.5], "double", [1.0, 2.5]),
    Case("", [1e20, 1], "double", [1e20, 1.0]),
    Case("true or false", [True, False], "bool"),
    Case("a text", ["a", "ä😀", ""], "string", ["a", "ä😀", None],
         note="an empty text cannot be told from an empty cell"),
    Case("a day", [date(2024, 2, 29), None], "date32[day]"),
    Case("a day with a time", [NOON, datetime(2024, 1, 3)], "timestamp[us]"),
    Case("a time of day", [time(1, 2, 3)], "time64[us]"),
    Case("a duration", [timedelta(hours=30)], "duration[us]"),
    Case("of several types", [1, 2.5, "n/a", True, date(2024, 1, 1), NOON, time(1, 2)], "string",
         ["1", "2.5", "n/a", "true", "2024-01-01", "2024-01-02 12:00:00.123000", "01:02:00"], label="mixed",
         note="with a warning that names the column"),
    Case("empty", [None, None], "null", note="takes the first type that comes"),
)  # fmt: skip


def written(value: str | None) -> str:
    """A field as CSV and TSV have it: quoted where it has to be."""
    if value is None:
        return ""
    quoted = not value or any(mark in value for mark in '",\n\t')
    return '"' + value.replace('"', '""') + '"' if quoted else value


def _text(case: Case) -> Row:
    name, *rest = case.row()
    plain = [written(text) for text in case.given if "\n" not in written(text)]
    return [name, ", ".join(code(text) for text in plain if text), *rest]


PAGE = TypePage(
    "files",
    PAGE_TEXT,
    {
        "texts": lambda: [_text(case) for case in TEXTS if case.name],
        "wished": Wishes(WISHED),
        "parquet": Cases(PARQUET),
        "cells": Cases(CELLS),
    },
)
