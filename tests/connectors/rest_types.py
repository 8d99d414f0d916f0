"""What JSON values become: of an API's answers, of GraphQL's, of JSON and JSON lines in files.

The tables are checked by `test_rest_types.py` and `test_files_types.py`, and are what the page
docs/reference/types-rest.md is made of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from tests.connectors.type_pages import Case, TypePage, Wished, Wishes, code

PAGE_TEXT = """\
# Types of APIs and of JSON

How each JSON value arrives from `rest` and `graphql`, and from `.json`, `.jsonl` and `.ndjson` files. The
tables are made from the tests, which load every value from a server and from files. `hubspot` has the
types of its properties instead.

JSON has no types for columns: a column has the one that all of its values prove, on all pages and in all
files of the load. Numbers are read as their digits, never through a float.

| every value is | for example | arrives as | asgard.type | to know |
|---|---|---|---|---|
{proved}

Names that a record does not have are null there. A record that is no object is one column, `value`.

`columns:` takes, and every value must fit, or the load stops and says which does not:

| type | values | arrive as | refused |
|---|---|---|---|
{wished}
"""

CASES: tuple[Case, ...] = (
    Case("true, false", ["true", "false", "null"], "bool", [True, False, None]),
    Case("a whole number of 64 bits", ["1", "-9223372036854775808", "9223372036854775807"], "int64",
         [1, -(2**63), 2**63 - 1]),
    Case("", ["1.0", "2"], "int64", [1, 2]),
    Case("", ["-0.0", "1"], "int64", [0, 1]),
    Case("a larger whole number", ["9223372036854775808", "1"], "decimal128(38, 0)",
         [Decimal(2**63), Decimal(1)]),
    Case("a number of up to 18 digits", ["1.10", "-2", "1e2"], "decimal128(18, 2)",
         [Decimal("1.10"), Decimal("-2.00"), Decimal("100.00")], arrives="decimal(18, s)",
         note="s is 2, 4, 6, 9 or 18, whichever holds all: the next load's values need room too"),
    Case("", ["0.1", "1e-7"], "decimal128(18, 9)", [Decimal("0.100000000"), Decimal("0.000000100")]),
    Case("a number of up to 38 digits", ["0.1234567890123456789012345678901234567", "1"],
         "decimal128(38, 37)", [Decimal("0.1234567890123456789012345678901234567"), Decimal("1." + "0" * 37)],
         arrives="decimal(38, s)"),
    Case("a number that only doubles reach", ["1e300", "0.5"], "double", [1e300, 0.5],
         note="if it is the very number that its double means"),
    Case("a number that none of these hold", ["12345678901234567890.123456789012345678901", "1"], "string",
         ["12345678901234567890.123456789012345678901", "1"], label="json", note="its digits"),
    Case("", ["1e999"], "string", ["1E+999"], label="json"),
    Case("", ["1" * 42], "string", ["1" * 42], label="json"),
    Case("a text", ['"2024-01-01"', r'"\u00e9\ud83d\ude00"', '""'], "string", ["2024-01-01", "é😀", ""],
         note="dates too: JSON has none; `columns: {created_at: timestamptz}` makes times of them"),
    Case("an object", ['{"a": 1.10, "b": null}', "{}"], "string", ['{"a":1.1,"b":null}', "{}"],
         label="json"),
    Case("a list", ["[1, [2]]", "[]"], "string", ["[1,[2]]", "[]"], label="json"),
    Case("of several kinds", ["1", '"1"', "true"], "string", ["1", '"1"', "true"], label="json",
         note="JSON of each: nothing is taken for something else"),
    Case("null, or missing", ["null"], "null", [None], note="takes the first type that comes"),
)  # fmt: skip
"""The values are texts of JSON."""

HALF_PAST = datetime(2024, 2, 29, 10, 0, 0, 500_000, tzinfo=UTC)
WISHED: tuple[Wished, ...] = (
    Wished("text", [("1.10", "1.1"), ('"x"', "x"), ('{"a": 1}', '{"a":1}'), ("true", "true")]),
    Wished("int64", [("7", 7), ('"007"', 7), ("7.0", 7), ("1e3", 1000)],
           [("1.5", r"1\.5 is no int64"), ("true", "True is no int64"), ('"x"', "'x' is no int64")]),
    Wished("int16", [("7", 7)], [("40000", "40000 is no int16")]),
    Wished("float64", [("1", 1.0), ("0.1", 0.1), ('"1e3"', 1000.0)],
           [('"x"', "'x' is no float64"), ("false", "False is no float64")]),
    Wished("decimal(6, 2)", [("1.1", Decimal("1.10")), ('"1.10"', Decimal("1.10"))],
           [("1.101", r"1\.101' is no decimal"), ("12345.6", "is no decimal"), ("true", "is no decimal")]),
    Wished("bool", [("true", True), ('"true"', True), ('"FALSE"', False)],
           [("1", "1 is no bool"), ('"yes"', "'yes' is no bool")]),
    Wished("date", [('"2024-02-29"', date(2024, 2, 29))],
           [('"2024-02-30"', "is no date"), ('"2024-02-29T00:00:00Z"', "is no date"), ("5", "5 is no date")]),
    Wished("timestamp", [('"2024-02-29T10:00:00"', datetime(2024, 2, 29, 10)),
                         ('"2024-02-29 10:00:00.123456"', datetime(2024, 2, 29, 10, 0, 0, 123456)),
                         ('"2024-02-29"', datetime(2024, 2, 29))],
           [('"2024-02-29T10:00:00Z"', "is no timestamp"),
            ('"2024-02-29 10:00:00.1234567"', "is no timestamp"),
            ("1700000000", "is no timestamp")]),
    Wished("timestamptz", [('"2024-02-29T10:00:00+02:00"', datetime(2024, 2, 29, 8, tzinfo=UTC)),
                           ('"2024-02-29T10:00:00.5Z"', HALF_PAST)],
           [('"2024-02-29T10:00:00"', "is no timestamptz"), ("1700000000", "is no timestamptz")]),
    Wished("json", [("1.10", "1.1"), ('"x"', '"x"'), ('{"a": [1]}', '{"a":[1]}')]),
    Wished("binary", [(r'"\u00e4"', "ä".encode())], [("5", "5 is no binary")]),
)  # fmt: skip


def _row(case: Case) -> list[str]:
    name, *rest = case.row()
    return [name, ", ".join(code(text) for text in case.given), *rest]


PAGE = TypePage(
    "rest", PAGE_TEXT, {"proved": lambda: [_row(one) for one in CASES if one.name], "wished": Wishes(WISHED)}
)
