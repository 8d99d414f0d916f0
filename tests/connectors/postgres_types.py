"""Every PostgreSQL type: what arrives, what is refused, and what allows it.

The table is checked against real servers by `test_postgres_types.py`, and is what the page
docs/reference/types-postgres.md is made of: `python -m tests.connectors.type_pages` writes it anew.
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
# PostgreSQL types

How each type arrives. The table is made from the tests, which compare every value with the server's own text
of it, on PostgreSQL 15, 16 and 18.

A column of text that is not text at the source says in its field metadata `asgard.type` what it is. A value
that the type cannot carry stops the load with the name of its column; nothing is bent, cut or made null. Then
`columns: {name: text}` carries the source's own text, whatever the value.

| PostgreSQL | arrives as | asgard.type | what is refused, or how it looks |
|---|---|---|---|
{table}

Types that are not in the table (those of extensions, for example) arrive as the text that their own output
function writes, with their name in `asgard.type`.

`columns:` takes `text` for every type; `decimal(p, s)`, `int64`, `int32`, `int16` for numbers and for text
that holds numbers; `float64` and `float32` for numbers (the one cast that may round); `timestamp`,
`timestamptz` and `date` for times; `json` for text that holds JSON. Every value must fit, or the load stops
and says which does not.
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
        since: the first server version that has it.
        extension: what has to be installed for it.
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
    since: int = 0
    extension: str = ""

    @property
    def name(self) -> str:
        """For test ids and the page."""
        return self.shown or self.type


SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy, or so', '😀 "glad"');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN price AS numeric(12, 2) NOT NULL;
CREATE DOMAIN price_or_none AS numeric(12, 2);
CREATE DOMAIN note AS text;
CREATE DOMAIN stamp AS timestamptz;
CREATE DOMAIN days AS date[];
CREATE DOMAIN moods AS mood;
"""
"""Types of our own that the cases use."""

LONG = "123456789012345678901234567890123456789012345678901234567890.123456789012345678901234567890"
UUID_TEXT = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
LIST_REFUSED = "several dimensions, or a lower bound that is not 1"

CASES: tuple[Case, ...] = (
    # numbers
    Case("smallint", "int16", ["-32768", "0", "32767"]),
    Case("integer", "int32", ["-2147483648", "0", "2147483647"]),
    Case("bigint", "int64", ["-9223372036854775808", "0", "9223372036854775807"]),
    Case("smallserial NOT NULL", "int16", ["1"], shown="smallserial", listed=False),
    Case(
        "bigserial NOT NULL",
        "int64",
        ["9223372036854775807"],
        shown="smallserial, serial, bigserial",
        arrives="int16, int32, int64",
    ),
    Case(
        "real",
        "float",
        ["1.5", "0.1", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "3.4028235e38", "1e-45"],
        note="NaN, infinities and -0 as they are",
    ),
    Case(
        "double precision",
        "double",
        ["1.5", "0.1", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "1.7976931348623157e308", "5e-324"],
        note="NaN, infinities and -0 as they are",
    ),
    Case("numeric(1, 0)", "decimal128(1, 0)", ["0", "9", "-9"], refused=["'NaN'"], note="NaN", listed=False),
    Case(
        "numeric(10, 2)",
        "decimal128(10, 2)",
        ["0", "-0.01", "99999999.99", "-99999999.99", "1.10"],
        refused=["'NaN'"],
        shown="numeric(p, s), p up to 38",
        arrives="decimal(p, s)",
        note="NaN",
    ),
    Case(
        "numeric(18, 9)",
        "decimal128(18, 9)",
        ["999999999.999999999", "-0.000000001"],
        refused=["'NaN'"],
        listed=False,
    ),
    Case(
        "numeric(38, 10)",
        "decimal128(38, 10)",
        ["9999999999999999999999999999.0123456789", "-0.0000000001"],
        refused=["'NaN'"],
        listed=False,
    ),
    Case("numeric(38, 38)", "decimal128(38, 38)", ["0." + "9" * 38, "-0." + "0" * 37 + "1"], listed=False),
    Case(
        "numeric(5, -2)",
        "decimal128(7, 0)",
        ["12345", "-9999900", "0"],
        refused=["'NaN'"],
        shown="numeric(p, s), s negative",
        arrives="decimal(p - s, 0)",
        note="NaN",
        since=15,
    ),
    Case(
        "numeric(3, 5)",
        "decimal128(5, 5)",
        ["0.00123", "-0.00999"],
        refused=["'NaN'"],
        shown="numeric(p, s), s above p",
        arrives="decimal(s, s)",
        note="NaN",
        since=15,
    ),
    Case(
        "numeric",
        "string",
        ["0", "1.10", "-0.5", "'NaN'", "'Infinity'", "'-Infinity'", LONG, "1e-300", "1e300"],
        label="numeric",
        shown="numeric without p, s",
        note="the exact digits; `columns: {x: decimal(38, 10)}` makes it a decimal if every value fits",
    ),
    Case(
        "numeric(50, 10)",
        "string",
        ["9999999999999999999999999999999999999999.0123456789", "'NaN'"],
        label="numeric",
        shown="numeric(p, s), p above 38",
        note="the exact digits",
    ),
    Case(
        "money",
        "decimal128(19, 2)",
        ["'12.50'::numeric", "'-92233720368547758.08'::numeric", "0::numeric"],
        label="money",
        note="as many digits after the point as the server's lc_monetary has",
    ),
    Case("oid", "int64", ["0", "4294967295"], label="oid"),
    # text
    Case(
        "text",
        "string",
        ["''", "'naïve 漢字 😀'", "E'tab\\tnl\\n\\\\ quote\" '''", "'NULL'", "repeat('x', 100000)"],
    ),
    Case("varchar(50)", "string", ["''", "'abc  '", "'żółć'"], shown="varchar, varchar(n)"),
    Case(
        "char(5)",
        "string",
        ["'a'", "''", "'abcde'"],
        shown="char(n)",
        note="without the padding, as the server's own conversion to text gives it",
    ),
    Case("name", "string", ["'abc'"], label="name"),
    Case('"char"', "string", ["'a'", "''"], label='"char"'),
    Case("citext", "string", ["'AbC'"], label="citext", extension="citext"),
    Case("mood", "string", ["'sad'", "'happy, or so'", "'😀 \"glad\"'"], label="mood", shown="enum types"),
    # yes and no, bytes
    Case("boolean", "bool", ["true", "false"]),
    Case("bytea", "binary", ["'\\x'", "'\\x00ff27225c'", "decode(repeat('00', 70000), 'hex')"]),
    Case("bit(3)", "string", ["B'101'"], label="bit", shown="bit(n)"),
    Case("bit varying", "string", ["B''", "B'0101010101010101'"], label="varbit", shown="bit varying"),
    # times
    Case(
        "date",
        "date32[day]",
        [
            "'2024-02-29'",
            "'1970-01-01'",
            "'0001-01-01'",
            "'0001-12-31 BC'",
            "'0044-03-15 BC'",
            "'4714-11-24 BC'",
            "'9999-12-31'",
            "'5874897-12-31'",
        ],
        refused=["'infinity'", "'-infinity'"],
        note="infinity, -infinity",
    ),
    Case(
        "timestamp",
        "timestamp[us]",
        [
            "'2024-02-29 12:34:56.789012'",
            "'1969-12-31 23:59:59.999999'",
            "'0044-03-15 12:00 BC'",
            "'4714-11-24 00:00:00 BC'",
            "'12345-01-01'",
            "'294246-12-31 23:59:59.999999'",
        ],
        refused=["'infinity'", "'-infinity'", "'294276-12-31 23:59:59.999999'"],
        note="infinity, -infinity, years after 294246",
    ),
    Case(
        "timestamptz",
        "timestamp[us, tz=UTC]",
        [
            "'2024-02-29 12:34:56.789012+05:45'",
            "'2024-03-10 02:30:00 America/St_Johns'",
            "'0044-03-15 12:00+00 BC'",
            "'4714-11-24 00:00:00+00 BC'",
            "'294246-12-31 23:59:59.999999+00'",
        ],
        refused=["'infinity'", "'-infinity'", "'294276-12-31 23:59:59.999999+00'"],
        note="infinity, -infinity, years after 294246",
    ),
    Case("timestamp(3)", "timestamp[us]", ["'2024-02-29 12:34:56.789'"], listed=False),
    Case("time", "string", ["'00:00'", "'24:00:00'", "'23:59:59.999999'"], label="time"),
    Case("timetz", "string", ["'12:00:00+05:30:15'", "'24:00:00-15:59'"], label="timetz"),
    Case(
        "interval",
        "string",
        [
            "'1 year 2 mons 3 days 04:05:06.789'",
            "'-1 mons +3 days -00:00:00.000001'",
            "'0'",
            "'178000000 years'",
        ],
        label="interval",
        note="in IntervalStyle postgres: 1 year 2 mons 3 days 04:05:06.789",
    ),
    Case("interval year to month", "string", ["'1 year 2 mons'"], label="interval", listed=False),
    # documents and identifiers
    Case("uuid", "string", [f"'{UUID_TEXT}'", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"], label="uuid"),
    Case(
        "json",
        "string",
        ['\'{"a" : 12345678901234567890, "a": 1.10}\'', "'null'", "'\"\\u00e9\"'", "'[]'"],
        label="json",
        note="the text as it was written",
    ),
    Case(
        "jsonb",
        "string",
        ['\'{"a" : 12345678901234567890.10, "b": null}\'', "'null'", "'\"é\"'", "'[1, [2]]'"],
        label="json",
        note="the server's text of it",
    ),
    Case("xml", "string", ["'<a b=\"c\">é</a>'"], label="xml", extension="xml"),
    Case("jsonpath", "string", ["'$.a[*] ? (@ > 1)'"], label="jsonpath"),
    Case("hstore", "string", ['\'a=>1, b=>NULL, "c d"=>"e\\"f"\'', "''"], label="hstore", extension="hstore"),
    Case("ltree", "string", ["'a.b.c'"], label="ltree", extension="ltree"),
    # arrays
    Case(
        "integer[]",
        "list<item: int32>",
        ["'{}'", "'{1,NULL,3}'", "ARRAY(SELECT generate_series(1, 5000))"],
        refused=["'{{1,2},{3,4}}'", "'[2:3]={1,2}'", "'[0:0]={1}'"],
        shown="arrays of numbers, text, boolean, uuid",
        arrives="list of what the type arrives as",
        note=LIST_REFUSED,
    ),
    Case(
        "bigint[]",
        "list<item: int64>",
        ["'{9223372036854775807,NULL}'"],
        refused=["'{{1},{2}}'"],
        listed=False,
    ),
    Case("smallint[]", "list<item: int16>", ["'{-32768}'"], listed=False),
    Case("boolean[]", "list<item: bool>", ["'{t,f,NULL}'"], listed=False),
    Case("real[]", "list<item: float>", ["'{0.1,NaN,-0}'"], listed=False),
    Case("double precision[]", "list<item: double>", ["'{0.1,NaN,Infinity}'"], listed=False),
    Case(
        "text[]",
        "list<item: string>",
        ['\'{a,NULL,"NULL","q\\"u,o",""}\''],
        refused=["'{{a},{b}}'"],
        listed=False,
    ),
    Case("varchar(4)[]", "list<item: string>", ["'{abcd}'"], listed=False),
    Case("uuid[]", "list<item: string>", [f"'{{{UUID_TEXT},NULL}}'"], label="uuid[]", listed=False),
    Case(
        "date[]",
        "list<item: date32[day]>",
        ["'{2024-02-29,NULL,\"0044-03-15 BC\"}'"],
        refused=["'{2024-01-01,infinity}'"],
        note="infinity in it, several dimensions, a lower bound that is not 1",
        shown="arrays of date, timestamp, timestamptz",
        arrives="list of the same",
    ),
    Case(
        "timestamp[]",
        "list<item: timestamp[us]>",
        ["'{\"2024-02-29 01:02:03.000001\"}'"],
        refused=["'{infinity}'"],
        listed=False,
    ),
    Case(
        "timestamptz[]",
        "list<item: timestamp[us, tz=UTC]>",
        ["'{\"2024-02-29 01:02:03+03\",NULL}'"],
        listed=False,
    ),
    Case(
        "numeric(10, 2)[]",
        "list<item: decimal128(10, 2)>",
        ["'{1.10,NULL,-0.01}'", "'{}'"],
        refused=["'{1,NaN}'", "'{{1.5}}'"],
        note="NaN in it, several dimensions, a lower bound that is not 1",
        shown="arrays of numeric(p, s)",
        arrives="list<decimal(p, s)>",
    ),
    Case(
        "numeric[]",
        "list<item: string>",
        [f"'{{1.10,NaN,NULL,{LONG}}}'"],
        label="numeric[]",
        refused=["'{{1},{2}}'"],
        shown="arrays of all other types",
        note=LIST_REFUSED,
    ),
    Case("bytea[]", "list<item: string>", ["'{\"\\\\x00ff\",NULL}'"], label="bytea[]", listed=False),
    Case("time[]", "list<item: string>", ["'{24:00:00}'"], label="time[]", listed=False),
    Case("interval[]", "list<item: string>", ["'{1 day,NULL}'"], label="interval[]", listed=False),
    Case(
        "json[]",
        "list<item: string>",
        ["ARRAY['{\"a\": 1}', NULL, '[1,2]']::json[]"],
        label="json[]",
        listed=False,
    ),
    Case(
        "jsonb[]",
        "list<item: string>",
        ["ARRAY['{\"a\":1.10}', 'null']::jsonb[]"],
        label="json[]",
        listed=False,
    ),
    Case("char(4)[]", "list<item: string>", ["'{ab,NULL}'"], label="character[]", listed=False),
    Case(
        "inet[]", "list<item: string>", ["'{10.0.0.1,10.0.0.0/8,NULL}'", "'{}'"], label="inet[]", listed=False
    ),
    Case("mood[]", "list<item: string>", ["'{sad,\"happy, or so\",NULL}'"], label="mood[]", listed=False),
    Case(
        "pair[]",
        "list<item: string>",
        ["ARRAY[(1,'x')::pair, (NULL,NULL)::pair, NULL]"],
        label="pair[]",
        listed=False,
    ),
    Case("money[]", "list<item: string>", ["ARRAY[12.5::numeric::money]"], label="money[]", listed=False),
    Case("int4range[]", "list<item: string>", ["'{\"[1,2)\",empty}'"], label="int4range[]", listed=False),
    # network
    Case("inet", "string", ["'10.0.0.1'", "'10.1.2.3/8'", "'2001:db8::1'"], label="inet"),
    Case("cidr", "string", ["'10.0.0.0/8'", "'2001:db8::/32'"], label="cidr"),
    Case("macaddr", "string", ["'08:00:2b:01:02:03'"], label="macaddr"),
    Case("macaddr8", "string", ["'08:00:2b:01:02:03:04:05'"], label="macaddr8"),
    # geometry
    Case(
        "point",
        "string",
        ["'(0.1,-1e300)'"],
        label="point",
        shown="point, line, lseg, box, path, polygon, circle",
    ),
    Case("line", "string", ["'{1,-1,0.1}'"], label="line", listed=False),
    Case("lseg", "string", ["'[(0,0),(1,0.3)]'"], label="lseg", listed=False),
    Case("box", "string", ["'(1,1),(0,0)'"], label="box", listed=False),
    Case("path", "string", ["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"], label="path", listed=False),
    Case("polygon", "string", ["'((0,0),(1,0),(0,0.1))'"], label="polygon", listed=False),
    Case("circle", "string", ["'<(0,0),0.1>'"], label="circle", listed=False),
    # ranges
    Case("int4range", "string", ["'[1,5)'", "'empty'", "'(,)'"], label="int4range", shown="range types"),
    Case("numrange", "string", ["'[1.10,2.20]'"], label="numrange", listed=False),
    Case("tstzrange", "string", ["'[2024-01-01 00:00+02, infinity)'"], label="tstzrange", listed=False),
    Case("daterange", "string", ["'[2024-01-01,2024-02-01]'"], label="daterange", listed=False),
    Case("span", "string", ["'[0.1,1e300)'"], label="span", listed=False),
    Case(
        "int4multirange",
        "string",
        ["'{[1,2), [4,9)}'", "'{}'"],
        label="int4multirange",
        shown="multirange types",
    ),
    # search
    Case("tsvector", "string", ["'a:1A fat:2 ''q uote'''"], label="tsvector", shown="tsvector, tsquery"),
    Case("tsquery", "string", ["'fat & !rat'"], label="tsquery", listed=False),
    # domains and composites
    Case("positive", "int32", ["7"], shown="domains", arrives="as the type below"),
    Case("price NOT NULL", "decimal128(12, 2)", ["1.10"], refused=["'NaN'"], listed=False),
    Case("price_or_none", "decimal128(12, 2)", ["-0.01"], refused=["'NaN'"], listed=False),
    Case("note", "string", ["'x'"], listed=False),
    Case("stamp", "timestamp[us, tz=UTC]", ["'2024-01-01 00:00+01'"], refused=["'infinity'"], listed=False),
    Case(
        "days",
        "list<item: date32[day]>",
        ["'{2024-01-01}'"],
        refused=["'{infinity}'", "'{{2024-01-01}}'"],
        listed=False,
    ),
    Case("moods", "string", ["'sad'"], label="mood", listed=False),
    Case("positive[]", "list<item: int32>", ["'{1,2}'"], listed=False),
    Case(
        "pair",
        "string",
        ["ROW(1, 'a \"b\", c')", "ROW(NULL, NULL)", "ROW(NULL, '')"],
        label="pair",
        shown="composite types",
        note="the server's text of it",
    ),
    # the server's own
    Case("regclass", "string", ["'pg_class'"], label="regclass", shown="regclass and its like"),
    Case("xid", "string", ["'4294967295'"], label="xid", shown="xid, xid8, cid, tid, pg_lsn, pg_snapshot"),
    Case("xid8", "string", ["'18446744073709551615'"], label="xid8", listed=False),
    Case("tid", "string", ["'(1,2)'"], label="tid", listed=False),
    Case("pg_lsn", "string", ["'16/B374D848'"], label="pg_lsn", listed=False),
    Case("pg_snapshot", "string", ["'10:20:10,14'"], label="pg_snapshot", listed=False),
    Case("int2vector", "string", ["'1 2'"], label="int2vector", listed=False),
)


def proof(column: str, arrow: pa.DataType) -> str:
    """SQL for a text that tells a value apart from every other, independent of how it is read."""
    if t.is_boolean(arrow):
        return f"{column}::text"
    if t.is_float32(arrow):
        return f"encode(float4send({column}), 'hex')"
    if t.is_float64(arrow):
        return f"encode(float8send({column}), 'hex')"
    if t.is_date(arrow):
        return f"({column} - '1970-01-01'::date)::text"
    if t.is_timestamp(arrow):
        return f"trunc(extract(epoch FROM {column}) * 1000000)::text"
    if t.is_decimal(arrow):
        return f"{column}::numeric::text"
    if t.is_binary(arrow):
        return f"encode({column}, 'hex')"
    if t.is_list(arrow):
        each = f"SELECT {proof(f'({column})[i]', arrow.value_type)} FROM generate_subscripts({column}, 1) i"
        return f"CASE WHEN {column} IS NOT NULL THEN array({each} ORDER BY i) END"
    return f"CASE WHEN num_nulls({column}) = 0 THEN format('%s', {column}) END"


def told(array: pa.Array) -> list[Any]:
    """What arrived, in the words of `proof`."""
    arrow = array.type
    if t.is_boolean(arrow):
        return [None if v is None else str(v).lower() for v in array.to_pylist()]
    if t.is_floating(arrow):
        form = ">f" if t.is_float32(arrow) else ">d"
        return [None if v is None else struct.pack(form, v).hex() for v in array.to_pylist()]
    if t.is_date(arrow) or t.is_timestamp(arrow):
        numbers = array.view(pa.int32() if t.is_date(arrow) else pa.int64())
        return [None if v is None else str(v) for v in numbers.to_pylist()]
    if t.is_binary(arrow):
        return [None if v is None else v.hex() for v in array.to_pylist()]
    if t.is_decimal(arrow):
        return [None if v is None else f"{v:f}" for v in array.to_pylist()]
    if t.is_list(arrow):
        return [None if not row.is_valid else told(row.values) for row in array]
    return [None if v is None else str(v) for v in array.to_pylist()]


def _rows() -> Iterator[Row]:
    for case in CASES:
        if case.listed:
            refused = f"refused: {case.note}" if case.refused else case.note
            label = f"`{case.label}`" if case.label and not case.shown else "its name" if case.label else ""
            yield case.name, case.arrives or arrow_words(case.arrow), label, refused


PAGE = TypePage("postgres", PAGE_TEXT, {"table": _rows})
