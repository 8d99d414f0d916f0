"""What a column of SQLite's becomes, by its declaration and by the values in it.

The table is checked by `test_sqlite_types.py`, and is what the page docs/reference/types-sqlite.md is made
of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

from tests.connectors.type_pages import Case, Row, TypePage, Wished, Wishes, code, python_words

PAGE_TEXT = """\
# SQLite types

How each column arrives. The tables are made from the tests, which load every value from a database file.

SQLite keeps a storage class for each value, whatever its column declares. Where SQLite itself turns values
into the declared class (INT, CHAR, TEXT, BLOB, REAL and their like), the declaration says what the column
arrives as; any other column is looked through before it is read, and has the type that all of its values
prove. A column whose values are of several classes is refused by name, with their counts;
`columns: {name: text}` carries them as text.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is.

| declared | values in it | arrives as | asgard.type | to know |
|---|---|---|---|---|
{declared}

`columns:` takes, and every value must fit, or the load stops and says which does not:

| type | values | arrive as | refused |
|---|---|---|---|
{wished}
"""

MOST, LEAST = 2**63 - 1, -(2**63)

CASES: tuple[Case, ...] = (
    Case("whole numbers", [1, LEAST, MOST, None], "int64", made="INTEGER",
         note="and every type with INT in it"),
    Case("", ["12"], "int64", [12], made="BIGINT UNSIGNED"),
    Case("numbers", [1, 0.1, 1e300, float("inf")], "double", [1.0, 0.1, 1e300, float("inf")], made="REAL",
         note="and every type with REAL, FLOA or DOUB in it"),
    Case("any text", ["a", 5, "", "a\0b", "ä😀"], "string", ["a", "5", "", "a\0b", "ä😀"], made="VARCHAR(10)",
         note="and every type with CHAR, CLOB or TEXT in it"),
    Case("bytes", [b"", b"\0\xff"], "binary", made="BLOB"),
    Case("whole numbers", [1, 2], "int64", made="NUMERIC"),
    Case("numbers", [1, 2.5], "double", [1.0, 2.5], made="NUMERIC"),
    Case("texts", ["x", "y"], "string", made="NUMERIC"),
    Case("numbers", ["1.50"], "double", [1.5], made="STRING",
         note="no word of SQLite's: it makes numbers of them"),
    Case("whole numbers", [LEAST], "int64", made=""),
    Case("texts", ["x"], "string", made=""),
    Case("bytes", [b"x"], "binary", made=""),
    Case("nothing", [None], "null", label="null", made="", note="takes the first type that comes"),
    Case("decimals of up to 10 digits", [1, "12.34", 5.5], "decimal128(10, 2)",
         [Decimal("1.00"), Decimal("12.34"), Decimal("5.50")], made="DECIMAL(10, 2)",
         note="up to decimal(15, s): as many digits as SQLite's doubles carry"),
    Case("", [1, 2], "decimal128(10, 2)", [Decimal("1.00"), Decimal("2.00")], made="DECIMAL(10, 2)"),
    Case("", [], "decimal128(10, 2)", made="DECIMAL(10, 2)"),
    Case("", [12345], "decimal128(5, 0)", [Decimal("12345")], made="NUMERIC(5)"),
    Case("more digits than that", [0.1 + 0.2], "double", made="DECIMAL(10, 2)"),
    Case("", [123.5], "double", made="DECIMAL(4, 2)"),
    Case("numbers", [1.5], "double", made="DECIMAL(20, 2)",
         note="above 15 digits SQLite has rounded already"),
    Case("", [LEAST], "int64", made="DECIMAL(10, 2)"),
    Case("0 and 1", [0, 1, None], "bool", [False, True, None], made="BOOLEAN"),
    Case("other whole numbers", [0, 2], "int64", made="BOOLEAN"),
    Case("texts", ["true"], "string", made="BOOLEAN"),
    Case("texts", ["2024-01-01 10:00:00"], "string", made="DATETIME", label="datetime",
         note="`columns: {x: timestamp}` makes times of them"),
    Case("texts", ["2024-01-01", "yesterday"], "string", made="DATE", label="date"),
    Case("", [], "string", made="DATE", label="date"),
    Case("whole numbers", [1700000000], "int64", made="TIMESTAMP"),
    Case("any text", ['{"a": 1}'], "string", made="JSON"),
)  # fmt: skip


WISHED: tuple[Wished, ...] = (
    Wished("text", [(1, "1"), (0.1, "0.1"), ("x", "x"), (b"y", "y"), (None, None), (1e300, "1e+300")],
           [(b"\xff", "a blob is no UTF-8 text: ff")]),
    Wished("int64", [("007", 7), ("8", 8)], [(1.5, r"1\.5 is no int64")]),
    Wished("int16", [(7, 7)], [(40000, "40000 is no int16")]),
    Wished("float64", [(1, 1.0), (2.5, 2.5)], [(2**53 + 1, "9007199254740993 is no float64")]),
    Wished("decimal(12, 3)", [(1, Decimal("1.000")), (1.5, Decimal("1.500")), ("2.125", Decimal("2.125"))],
           [(1.0625, "is no decimal")]),
    Wished("bool", [(0, False), (1, True)], [(2, "2 is no bool")]),
    Wished("date", [("2024-02-29", date(2024, 2, 29))], [("2024-02-30", "is no date")]),
    Wished("timestamp", [("2024-01-01 10:00:00.5", datetime(2024, 1, 1, 10, 0, 0, 500_000)), (None, None)],
           [("yesterday", "'yesterday' is no timestamp"), (1700000000, "1700000000 is no timestamp")]),
    Wished("binary", [("ä", "ä".encode()), (b"\xff", b"\xff"), (5, b"5")]),
    Wished("json", [('{"a":1}', '{"a":1}')]),
)  # fmt: skip


def _declared() -> Iterator[Row]:
    for case in CASES:
        if case.name:
            first, *rest = case.row()
            yield [code(case.made) if case.made else "nothing", first, *rest]


PAGE = TypePage("sqlite", PAGE_TEXT, {"declared": _declared, "wished": Wishes(WISHED, python_words)})
