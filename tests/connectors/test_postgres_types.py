"""Every type against real servers: what arrives is compared with the server's own account of the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import JSON_TYPE
from tests.connectors.postgres_reading import load, options, select, source_of
from tests.connectors.postgres_types import CASES, SETUP, Case, proof, told
from tests.servers.postgres import Server

ON_DEBIAN = {"citext", "hstore", "ltree", "xml"}
"""Only the Debian server has these; the wheels carry no extensions and no libxml."""


@dataclass(frozen=True)
class Prepared:
    """A database with the types of the cases, and the cases that its server knows."""

    server: Server
    database: str
    cases: tuple[Case, ...]

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        return self.server.execute(sql, self.database)


@pytest.fixture(scope="module", params=["pg15", "pg16", "pg18"])
def prepared(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    server: Server = request.getfixturevalue(request.param)
    has = ON_DEBIAN if server.version == "15" else set()
    cases = tuple(case for case in CASES if not case.extension or case.extension in has)
    database = server.create_database()
    for extension in sorted(has - {"xml"}):
        server.execute(f"CREATE EXTENSION {extension}", database)
    server.execute(SETUP, database)
    yield Prepared(server, database, cases)
    server.drop_database(database)


def rows_of(cases: tuple[Case, ...]) -> list[str]:
    """Rows to insert: the n-th value of every case in row n; null, or the first, where it has none left."""
    rows = []
    for place in range(max(len(case.values) for case in cases) + 1):
        values = []
        for case in cases:
            value = case.values[place] if place < len(case.values) else None
            spare = case.values[0] if "NOT NULL" in case.type else "NULL"
            values.append(f"({value or spare})")
        rows.append(", ".join(values))
    return rows


def create(prepared: Prepared, table: str, columns: dict[str, str], insert: list[str]) -> None:
    declared = ", ".join(f"{name} {type}" for name, type in columns.items())
    prepared.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (row int, {declared})")
    for number, values in enumerate(insert):
        prepared.execute(f"INSERT INTO {table} VALUES ({number}, {values})")


def test_every_value_of_every_type_arrives_as_it_was(prepared: Prepared) -> None:
    columns = {f"c{i}": case.type for i, case in enumerate(prepared.cases)}
    create(prepared, "everything", columns, rows_of(prepared.cases))
    source = source_of(prepared.server, prepared.database)
    selection = select(source, "everything")
    arrived = load(source, selection).rows.combine_chunks().sort_by("row")
    for i, case in enumerate(prepared.cases):
        field = selection.stream.schema.field(f"c{i}")
        label = (field.metadata or {}).get(JSON_TYPE, b"").decode()
        assert (case.name, str(field.type), label) == (case.name, case.arrow, case.label)
        asked = f"SELECT {proof(f'c{i}', field.type)} FROM everything ORDER BY row"
        if case.type.startswith("char("):
            asked = asked.replace(f"format('%s', c{i})", f"c{i}::text")
        there = [value for (value,) in prepared.execute(f"SET TimeZone = 'UTC'; {asked}")]
        assert (case.name, told(arrived[f"c{i}"].combine_chunks())) == (case.name, there)
        assert len([value for value in there if value is not None]) >= len(case.values)


def test_what_a_type_cannot_carry_is_refused_by_name_and_text_carries_it(prepared: Prepared) -> None:
    cases = [case for case in prepared.cases if case.refused]
    # A domain that refuses null would refuse the rows of the other columns.
    types = [case.type.replace("price NOT NULL", "price_or_none") for case in cases]
    columns = {f"c{i}": type for i, type in enumerate(types)}
    create(prepared, "refusals", columns, [])
    source = source_of(prepared.server, prepared.database)
    selection = select(source, "refusals")
    as_text = select(source, "refusals", options=options(columns=dict.fromkeys(columns, "text")))
    for i, case in enumerate(cases):
        for value in case.refused:
            prepared.execute(f"TRUNCATE refusals; INSERT INTO refusals (c{i}) VALUES ({value})")
            with pytest.raises(DataError) as caught:
                load(source, selection)
            assert (case.name, value, caught.value.where["column"]) == (case.name, value, f"c{i}")
            assert f"columns: {{c{i}: text}}" in caught.value.hint
            arrived = load(source, as_text).rows[f"c{i}"].to_pylist()
            there = prepared.execute(f"SET TimeZone = 'UTC'; SELECT format('%s', c{i}) FROM refusals")
            assert [(value,) for value in arrived] == there


def test_columns_are_had_as_the_user_wants_if_every_value_fits(prepared: Prepared) -> None:
    wants = {
        ("numeric", "decimal(10, 2)"): (
            ["1.10", "-99999999.99"],
            ["1.111", "100000000", "'NaN'", "'Infinity'"],
        ),
        ("numeric", "int64"): (["9223372036854775807", "1.00"], ["1.5", "9223372036854775808", "'NaN'"]),
        ("numeric(38, 10)", "decimal(12, 0)"): (["123456789012"], ["0.1"]),
        ("bigint", "int32"): (["2147483647", "-2147483648"], ["2147483648"]),
        ("bigint", "decimal(3, 0)"): (["999"], ["1000"]),
        ("text", "decimal(5, 1)"): (["'12.5'", "'  7 '"], ["'12.55'"]),
        ("timestamp", "date"): (["'2024-02-29'"], ["'2024-02-29 00:00:00.000001'"]),
        ("date", "timestamp"): (["'0044-03-15 BC'"], ["'infinity'"]),
        ("money", "decimal(30, 4)"): (["12.5::numeric::money"], []),
    }
    columns = {f"c{i}": type for i, (type, _) in enumerate(wants)}
    create(prepared, "wishes", columns, [])
    source = source_of(prepared.server, prepared.database)
    for i, ((_, word), (fits, does_not)) in enumerate(wants.items()):
        only = options(columns={f"c{i}": word})
        for value in fits:
            prepared.execute(f"TRUNCATE wishes; INSERT INTO wishes (c{i}) VALUES ({value})")
            array = load(source, select(source, "wishes", options=only)).rows[f"c{i}"].combine_chunks()
            [(there,)] = prepared.execute(f"SELECT {_as_wanted(f'c{i}', word)} FROM wishes")
            assert (word, value, told(array)) == (word, value, [there])
        for value in does_not:
            prepared.execute(f"TRUNCATE wishes; INSERT INTO wishes (c{i}) VALUES ({value})")
            with pytest.raises(DataError) as caught:
                load(source, select(source, "wishes", options=only))
            assert (word, value, caught.value.where["column"]) == (word, value, f"c{i}")


def _as_wanted(column: str, word: str) -> str:
    casts = {"int32": "int", "int64": "bigint", "decimal(10, 2)": "numeric(10,2)"}
    if word in ("date", "timestamp"):
        return f"trunc(extract(epoch FROM {column}) / {86400 if word == 'date' else '0.000001'})::text"
    return f"{column}::numeric::{casts.get(word, word.replace('decimal', 'numeric'))}::text"


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
RANDOM: dict[str, st.SearchStrategy[object]] = {
    "bigint": st.integers(-(1 << 63), (1 << 63) - 1),
    "integer": st.integers(-(1 << 31), (1 << 31) - 1),
    "numeric(38, 10)": st.decimals(-(10**27), 10**27, places=10),
    "numeric(9, 4)": st.decimals(-99999, 99999, places=4),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False),
    "double precision": st.floats(),
    "real": st.floats(width=32),
    "text": TEXTS,
    "bytea": st.binary(max_size=30),
    "date": st.dates(),
    "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(timezones=st.timezones()),
    "time": st.times(),
    "interval": st.timedeltas(),
    "uuid": st.uuids(),
    "boolean": st.booleans(),
    "bigint[]": st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1), max_size=5),
    "text[]": st.lists(st.none() | TEXTS, max_size=5),
    "numeric(9, 4)[]": st.lists(st.none() | st.decimals(-99999, 99999, places=4), max_size=5),
    "double precision[]": st.lists(st.none() | st.floats(), max_size=5),
    "bytea[]": st.lists(st.none() | st.binary(max_size=9), max_size=5),
}
ROWS = st.lists(st.tuples(*(st.none() | strategy for strategy in RANDOM.values())), min_size=1, max_size=40)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
def test_random_values_arrive_as_they_were(prepared: Prepared, rows: list[tuple[object, ...]]) -> None:
    columns = {f"c{i}": type for i, type in enumerate(RANDOM)}
    create(prepared, "random", columns, [])
    places = ", ".join(f"%s::{type}" for type in columns.values())
    with prepared.server.connect(prepared.database) as connection:
        numbered = [(number, *row) for number, row in enumerate(rows)]
        connection.cursor().executemany(f"INSERT INTO random VALUES (%s, {places})", numbered)
    source = source_of(prepared.server, prepared.database)
    selection = select(source, "random")
    arrived = load(source, selection).rows.combine_chunks().sort_by("row")
    for name, type in columns.items():
        asked = f"SELECT {proof(name, selection.stream.schema.field(name).type)} FROM random ORDER BY row"
        there = [value for (value,) in prepared.execute(f"SET TimeZone = 'UTC'; {asked}")]
        assert (type, told(arrived[name].combine_chunks())) == (type, there)


def test_a_wish_that_cannot_be_is_a_mistake_of_the_configuration(prepared: Prepared) -> None:
    prepared.execute("DROP TABLE IF EXISTS plain; CREATE TABLE plain (u uuid, b bytea, a int[])")
    source = source_of(prepared.server, prepared.database)
    for name, word in (("u", "int64"), ("b", "decimal(3, 0)"), ("a", "timestamp")):
        with pytest.raises(ConfigError, match=f"column '{name}' is .* it cannot be had as"):
            source.describe("plain", options(columns={name: word}))


def test_money_has_the_digits_of_its_locale(prepared: Prepared) -> None:
    digits = prepared.execute("SELECT scale(0::money::numeric)")
    assert digits == [(2,)]  # the cases above say so


def test_a_type_that_nobody_knows_arrives_as_its_own_text(prepared: Prepared) -> None:
    prepared.execute(
        """
        DROP TYPE IF EXISTS stranger CASCADE; CREATE TYPE stranger;
        CREATE FUNCTION stranger_in(cstring) RETURNS stranger
            AS 'int4in' LANGUAGE internal IMMUTABLE STRICT;
        CREATE FUNCTION stranger_out(stranger) RETURNS cstring
            AS 'int4out' LANGUAGE internal IMMUTABLE STRICT;
        CREATE TYPE stranger (INPUT = stranger_in, OUTPUT = stranger_out, LIKE = int4);
        CREATE FUNCTION stranger_text(stranger) RETURNS text LANGUAGE sql AS $$ SELECT 'another text' $$;
        CREATE CAST (stranger AS text) WITH FUNCTION stranger_text(stranger);
        DROP TABLE IF EXISTS strange;
        CREATE TABLE strange (one stranger, none stranger, many stranger[]);
        INSERT INTO strange VALUES ('7', NULL, '{7,8}');
        """
    )
    source = source_of(prepared.server, prepared.database)
    selection = select(source, "strange")
    assert load(source, selection).rows.to_pylist() == [{"one": "7", "none": None, "many": ["7", "8"]}]
    assert selection.stream.schema.field("one").metadata == {JSON_TYPE: b"stranger"}
