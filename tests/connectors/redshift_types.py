"""Every Redshift type: what arrives, unloaded and over the wire, and what is refused.

The table is checked against the stand-in by `test_redshift_types.py`, and is what the page
docs/reference/types-redshift.md is made of: `python -m tests.connectors.type_pages` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.connectors.type_pages import Row, TypePage, arrow_words

PAGE_TEXT = """\
# Redshift types

How each type arrives, the same by UNLOAD as by `read: direct`. The table is made from the tests, which load
every value both ways through a stand-in: PostgreSQL behind Redshift's own manners, and what UNLOAD writes as
AWS documents it. It was not tried on the real thing.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is. A value
that the type cannot carry stops the load with the name of its column; nothing is bent, cut or made null.

| Redshift | arrives as | asgard.type | what is refused, or how it looks |
|---|---|---|---|
{table}

`columns:` takes `text` for every type but `hllsketch`; `decimal(p, s)`, `int64`, `int32`, `int16` for whole
numbers, decimals and text that holds numbers; `float64` and `float32` for all numbers (the one cast that may
round). Every value must fit, or the load stops and says which does not.
"""


@dataclass(frozen=True)
class Case:
    """A type and some of its values.

    Attributes:
        type: as in CREATE TABLE.
        arrow: the Arrow type that it arrives as; empty for one that is refused.
        values: SQL expressions, and what arrives; null is tried with each type.
        label: `asgard.type` of the field.
        note: what the page says about it.
        shown, arrives: what the page calls the type and what it arrives as, where the case is one of many.
        beyond: SQL expressions that UNLOAD carries and the wire does not; as text they arrive as they are.
    """

    type: str
    arrow: str
    values: Sequence[tuple[str, Any]]
    label: str = ""
    note: str = ""
    shown: str = ""
    arrives: str = ""
    beyond: Sequence[str] = ()


FLOAT32_TENTH = 0.10000000149011612
WIDE = "-1234567890123456789012345678.9012345678"
NINES = "9" * 38

CASES: tuple[Case, ...] = (
    Case("boolean", "bool", [("true", True), ("false", False)]),
    Case("smallint", "int16", [("-32768", -(2**15)), ("32767", 2**15 - 1)]),
    Case("integer", "int32", [("-2147483648", -(2**31)), ("2147483647", 2**31 - 1)]),
    Case("bigint", "int64", [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)]),
    Case(
        "numeric(10, 2)",
        "decimal128(10, 2)",
        [("99999999.99", Decimal("99999999.99")), ("-0.01", Decimal("-0.01")), ("0", Decimal("0.00"))],
        shown="numeric(p, s)",
        arrives="decimal(p, s)",
    ),
    Case("numeric(38, 10)", "decimal128(38, 10)", [(WIDE, Decimal(WIDE)), ("0", Decimal("0E-10"))],
         shown="-"),
    Case("numeric(38, 0)", "decimal128(38, 0)", [(NINES, Decimal(NINES))], shown="-"),
    Case(
        "real",
        "float",
        [("0.1", FLOAT32_TENTH), ("16777217", 16777216.0), ("'NaN'", float("nan")), ("'-0'", -0.0)],
        note="NaN, infinities and -0 as they are",
    ),
    Case(
        "double precision",
        "double",
        [("0.1", 0.1), ("1e308", 1e308), ("'Infinity'", float("inf")), ("'NaN'", float("nan"))],
        note="NaN, infinities and -0 as they are",
    ),
    Case("char(8)", "string", [("'ab'", "ab"), ("' a '", " a"), ("''", "")], shown="char(n)",
         note="without the blanks that fill it up"),
    Case("varchar(20)", "string", [("E'x\\\\y''z  '", "x\\y'z  "), ("''", ""), ("'é 😀'", "é 😀")],
         shown="varchar(n)"),
    Case(
        "date",
        "date32[day]",
        [("'9999-12-31'", date(9999, 12, 31)), ("'0001-01-01'", date(1, 1, 1))],
        note="over the wire refused: days before year 1 and after 9999",
        beyond=["'0044-03-15 BC'", "'infinity'"],
    ),
    Case(
        "timestamp",
        "timestamp[us]",
        [("'2024-02-29 23:59:59.123456'", datetime(2024, 2, 29, 23, 59, 59, 123456)),
         ("'0001-01-01 00:00:00'", datetime(1, 1, 1))],
        note="over the wire refused: years before 1 and after 9999",
        beyond=["'12024-01-01 00:00:00'"],
    ),
    Case(
        "timestamptz",
        "timestamp[us, tz=UTC]",
        [("'2024-07-01 12:00:00.000001+02'", datetime(2024, 7, 1, 10, 0, 0, 1, UTC)),
         ("'1970-01-01 00:00:00+00'", datetime(1970, 1, 1, tzinfo=UTC))],
    ),
    Case("time", "string", [("'23:59:59.999999'", "23:59:59.999999"), ("'00:00'", "00:00:00")], label="time"),
    Case("timetz", "string", [("'12:00:00.5+05:30'", "12:00:00.5+05:30")], label="timetz"),
    Case("interval", "string", [("'1 year 2 mons'", "1 year 2 mons")], label="interval"),
    Case("super", "string", [("'{\"a\": [1, 1.10, null]}'", '{"a": [1, 1.10, null]}'), ("'null'", "null")],
         label="json", note="the server's text of it"),
    Case("varbyte", "binary", [("'00ff10'", b"\x00\xff\x10"), ("''", b"")]),
    Case("geometry", "", [], shown="geometry, geography",
         note="refused; `columns: {x: text}` carries it as hex EWKB"),
    Case("hllsketch", "", [],
         note="refused; `exclude_columns: [x]` leaves it out, a query has its `hll_cardinality(x)`"),
)  # fmt: skip

CARRIED = tuple(case for case in CASES if case.arrow)


def table(name: str) -> str:
    """SQL that makes a table of all types that are carried, each value in the row of its place, and nulls."""
    columns = ", ".join(f"c{number} {case.type}" for number, case in enumerate(CARRIED))
    rows = []
    for place in range(most_values() + 1):
        values = [case.values[place][0] if place < len(case.values) else "NULL" for case in CARRIED]
        rows.append(f"({place}, {', '.join(values)})")
    return f"CREATE TABLE {name} (place int, {columns}); INSERT INTO {name} VALUES {', '.join(rows)}"


def most_values() -> int:
    """How many values the type has that has most."""
    return max(len(case.values) for case in CARRIED)


def _rows() -> Iterator[Row]:
    for case in CASES:
        if case.shown != "-":
            label = f"`{case.label}`" if case.label else ""
            yield case.shown or case.type, case.arrives or arrow_words(case.arrow), label, case.note


PAGE = TypePage("redshift", PAGE_TEXT, {"table": _rows})
