"""Every type against real servers: what arrives is compared with the server's own account of the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import JSON_TYPE
from asgard.transport import mysql_rows
from tests.connectors.mysql_reading import KINDS, MysqlServer, load, options, select, shared_mysql, source_of
from tests.connectors.mysql_types import CASES, Case, bits, proof, told


@dataclass(frozen=True)
class Prepared:
    """A database, and the cases that its server knows."""

    server: MysqlServer
    database: str
    cases: tuple[Case, ...]

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements in one session that takes any date; gives the rows of the last."""
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    server = shared_mysql(request.param)
    cases = tuple(case for case in CASES if case.only in ("", server.kind))
    database = server.create_database()
    yield Prepared(server, database, cases)
    server.drop_database(database)


def create(prepared: Prepared, table: str, types: list[str], rows: list[list[str]]) -> None:
    columns = ", ".join(f"c{i} {type}" for i, type in enumerate(types))
    named = [i for i, type in enumerate(types) if "GENERATED" not in type]
    names = ", ".join(["row_number_", *(f"c{i}" for i in named)])
    inserts = [
        f"INSERT INTO {table} ({names}) VALUES ({number}, {', '.join(row[i] for i in named)})"
        for number, row in enumerate(rows)
    ]
    prepared.execute(
        f"DROP TABLE IF EXISTS {table}",
        f"CREATE TABLE {table} (row_number_ int, {columns}) CHARACTER SET utf8mb4",
        *inserts,
    )


def test_every_value_of_every_type_arrives_as_it_was(prepared: Prepared) -> None:
    count = max(len(case.values) for case in prepared.cases) + 1
    rows = [
        [case.values[place] if place < len(case.values) else "NULL" for case in prepared.cases]
        for place in range(count)
    ]
    create(prepared, "everything", [case.type for case in prepared.cases], rows)
    source = source_of(prepared.server, prepared.database)
    selection = select(source, "everything")
    arrived = load(source, selection).rows.combine_chunks().sort_by("row_number_")
    assert arrived.num_rows == count
    for i, case in enumerate(prepared.cases):
        field = selection.stream.schema.field(f"c{i}")
        label = (field.metadata or {}).get(JSON_TYPE, b"").decode()
        assert (case.name, str(field.type), label) == (case.name, case.arrow, case.label)
        asked = f"SELECT {proof(f'c{i}', case, field.type)} FROM everything ORDER BY row_number_"
        there = [value for (value,) in prepared.execute(asked)]
        if pa.types.is_floating(field.type):
            there = [None if value is None else bits(value) for value in there]
        assert (case.name, told(arrived[f"c{i}"].combine_chunks())) == (case.name, there)
        assert len([value for value in there if value is not None]) >= len(case.values)


def test_text_and_binary_rows_hold_the_same_values(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case for case in prepared.cases if case.values]
    count = max(len(case.values) for case in cases) + 1
    rows = [
        [case.values[place] if place < len(case.values) else "NULL" for case in cases]
        for place in range(count)
    ]
    create(prepared, "either", [case.type for case in cases], rows)
    source = source_of(prepared.server, prepared.database)
    taken_apart = []
    binary_columns = mysql_rows._binary_columns
    monkeypatch.setattr(
        mysql_rows, "_binary_columns", lambda *given: taken_apart.append(1) or binary_columns(*given)
    )
    binary = load(source, select(source, "either")).rows.sort_by("row_number_")
    assert taken_apart
    # A server that takes no prepared statements, as some proxies do not.
    monkeypatch.setattr(mysql_rows, "PREPARE", 0x7F)
    taken_apart.clear()
    text = load(source, select(source, "either")).rows.sort_by("row_number_")
    assert not taken_apart
    assert binary.equals(text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_decimal_and_any_time_arrive(prepared: Prepared, data: st.DataObject) -> None:
    types = [(18, 0), (18, 18), (15, 2), (9, 9), (1, 0), (19, 3)]
    columns = ", ".join(f"d{i} decimal({p}, {s})" for i, (p, s) in enumerate(types))
    prepared.execute(
        f"CREATE TABLE IF NOT EXISTS exact_ (n int, {columns}, t datetime(6), z timestamp(3) NULL, d date)",
        "TRUNCATE exact_",
    )
    numbers = [
        st.none() | st.integers(1 - 10**p, 10**p - 1).map(lambda whole, s=s: Decimal(whole).scaleb(-s))
        for p, s in types
    ]
    moments = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
    midnights = moments.map(lambda moment: moment and datetime.combine(moment.date(), time()))
    seconds = st.datetimes(datetime(1971, 1, 1), datetime(2037, 12, 31)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    )
    row = st.tuples(*numbers, moments | midnights, st.none() | seconds, midnights)
    rows = data.draw(st.lists(row, max_size=20))
    for n, values in enumerate(rows):
        cells = ", ".join(
            "NULL" if v is None else f"'{v:f}'" if isinstance(v, Decimal) else f"'{v}'" for v in values
        )
        prepared.execute(f"INSERT INTO exact_ VALUES ({n}, {cells})")
    source = source_of(prepared.server, prepared.database)
    arrived = load(source, select(source, "exact_")).rows.sort_by("n").drop_columns("n").to_pylist()
    assert [tuple(row.values()) for row in arrived] == [
        (*values[:-2], values[-2] and values[-2].replace(tzinfo=UTC), values[-1] and values[-1].date())
        for values in rows
    ]


def test_what_a_type_cannot_carry_is_refused_by_name_and_text_carries_it(prepared: Prepared) -> None:
    source = source_of(prepared.server, prepared.database)
    for case in (case for case in prepared.cases if case.refused):
        for value in case.refused:
            create(prepared, "refusals", [case.type], [["NULL"], [value]])
            with pytest.raises(DataError) as caught:
                load(source, select(source, "refusals"))
            assert (case.name, value, caught.value.where["column"]) == (case.name, value, "c0")
            assert "columns: {c0: text}" in caught.value.hint
            as_text = select(source, "refusals", options=options(columns={"c0": "text"}))
            arrived = load(source, as_text).rows["c0"].to_pylist()
            there = prepared.execute("SELECT CAST(c0 AS CHAR) FROM refusals ORDER BY row_number_")
            assert [(text,) for text in arrived] == there


def test_zero_dates_are_null_where_that_is_wanted_and_impossible_days_never(prepared: Prepared) -> None:
    values = ["'0000-00-00'", "'2024-00-10'", "'2024-02-29'"]
    create(prepared, "zeros", ["date", "datetime(3)"], [[value, value] for value in values])
    source = source_of(prepared.server, prepared.database)
    asked = select(source, "zeros", options=options(zero_dates="null"))
    rows = load(source, asked).rows.to_pylist()
    assert [str(row["c0"]) for row in rows] == ["None", "None", "2024-02-29"]
    assert [str(row["c1"]) for row in rows] == ["None", "None", "2024-02-29 00:00:00"]
    create(prepared, "zeros", ["date", "datetime(3)"], [["'2023-02-31'", "NULL"]])
    with pytest.raises(DataError, match="2023-02-31"):
        load(source, select(source, "zeros", options=options(zero_dates="null")))


def test_columns_are_had_as_the_user_wants_if_every_value_fits(prepared: Prepared) -> None:
    wants = {
        ("decimal(65, 30)", "decimal(10, 2)"): (["1.1", "-99999999.99"], ["1.111", "100000000"]),
        ("decimal(30, 2)", "int64"): (["9223372036854775807", "-1.00"], ["1.5", "9223372036854775808"]),
        ("bigint", "int32"): (["2147483647", "-2147483648"], ["2147483648"]),
        ("bigint unsigned", "int64"): (["9223372036854775807"], ["9223372036854775808"]),
        ("tinyint(1)", "bool"): (["0", "1"], ["2", "-1"]),
        ("bit(1)", "int16"): (["b'1'"], []),
        ("text", "decimal(5, 1)"): (["'12.5'"], ["'12.55'", "'x'"]),
        ("text", "timestamp"): (["'2024-02-29 01:02:03.5'"], ["'0000-00-00'", "'soon'"]),
        ("datetime(6)", "date"): (["'2024-02-29'"], ["'2024-02-29 00:00:00.000001'"]),
        ("datetime(6)", "timestamptz"): (["'2024-02-29 12:00:00'"], []),
        ("decimal(10, 2)", "float64"): (["1.10"], []),
        ("blob", "text"): (["'é'"], ["x'C328'"]),
        ("text CHARACTER SET latin1", "binary"): (["'é'"], []),
        ("text", "json"): (["'{\"a\": 1}'"], []),
    }
    source = source_of(prepared.server, prepared.database)
    for (type, word), (good, bad) in wants.items():
        create(prepared, "wanted", [type], [["NULL"], *([value] for value in good)])
        selection = select(source, "wanted", options=options(columns={"c0": word}))
        arrived = load(source, selection).rows["c0"]
        assert (type, word, arrived.null_count) == (type, word, 1)
        plain = load(source, select(source, "wanted")).rows["c0"]
        if not pa.types.is_binary(plain.type) and not pa.types.is_binary(arrived.type):
            shown = [None if v is None else str(v) for v in plain.cast(pa.string()).to_pylist()]
            assert len(set(shown)) == len(set(arrived.to_pylist()))
        for value in bad:
            create(prepared, "wanted", [type], [[value]])
            with pytest.raises(DataError) as caught:
                load(source, select(source, "wanted", options=options(columns={"c0": word})))
            assert (type, word, value, caught.value.where["column"]) == (type, word, value, "c0")


@pytest.mark.parametrize(
    ("type", "word"), [("date", "int64"), ("geometry", "int64"), ("time", "timestamp"), ("int", "binary")]
)
def test_what_cannot_be_had_is_a_mistake_of_the_project(prepared: Prepared, type: str, word: str) -> None:
    create(prepared, "wrong", [type], [])
    source = source_of(prepared.server, prepared.database)
    with pytest.raises(ConfigError, match="cannot be had") as caught:
        select(source, "wrong", options=options(columns={"c0": word}))
    assert "text" in caught.value.hint


def test_everything_is_had_as_text(prepared: Prepared) -> None:
    cases = [case for case in prepared.cases if case.values and case.label != "geometry"]
    texts = [case for case in cases if case.arrow != "binary"]
    create(prepared, "texts", [case.type for case in texts], [[case.values[0] for case in texts]])
    source = source_of(prepared.server, prepared.database)
    wanted = {f"c{i}": "text" for i in range(len(texts))}
    [row] = load(source, select(source, "texts", options=options(columns=wanted))).rows.to_pylist()
    for i, case in enumerate(texts):
        expression = f"c{i} * 1e0" if case.type.startswith("float") else f"c{i}"
        if case.type.startswith("bit"):
            expression = f"LPAD(BIN(c{i} + 0), {case.type[4:-1]}, '0')"
        [(there,)] = prepared.execute(f"SELECT CAST({expression} AS CHAR) FROM texts")
        assert (case.name, row[f"c{i}"]) == (case.name, there)


def test_a_queries_columns_are_typed_as_a_tables(prepared: Prepared) -> None:
    cases = [case for case in prepared.cases if not case.only and case.label != "json"]
    rows = [[case.values[0] if case.values else "NULL" for case in cases]]
    create(prepared, "asked", [case.type for case in cases], rows)
    source = source_of(prepared.server, prepared.database)
    columns = ", ".join(f"c{i}" for i in range(len(cases)))
    query = f"SELECT {columns} FROM asked -- as it is"
    selection = select(source, "mine", query=query)
    for i, case in enumerate(cases):
        assert (case.name, str(selection.stream.schema.field(i).type)) == (case.name, case.arrow)
    table = load(source, select(source, "asked")).rows.drop_columns("row_number_")
    assert load(source, selection).rows.equals(table)


def test_characters_that_unicode_has_no_place_for_are_refused(prepared: Prepared) -> None:
    # Three bytes that the character set knows no character for, put there as bytes.
    create(prepared, "strange", ["varchar(20) CHARACTER SET cp1250"], [["'ok'"], ["x'81'"]])
    source = source_of(prepared.server, prepared.database)
    with pytest.raises(DataError) as caught:
        load(source, select(source, "strange"))
    assert caught.value.where["column"] == "c0"
    as_bytes = select(source, "strange", options=options(columns={"c0": "binary"}))
    assert load(source, as_bytes).rows["c0"].to_pylist() == [b"ok", b"\x81"]


def test_a_geometry_with_a_reference_system_says_it(prepared: Prepared) -> None:
    create(prepared, "places", ["geometry"], [["ST_GeomFromText('POINT(1 2)', 4326)"]])
    source = source_of(prepared.server, prepared.database)
    [value] = load(source, select(source, "places")).rows["c0"].to_pylist()
    assert value[:9].hex() == "0101000020e6100000"
    assert len(value) == 25
    text = select(source, "places", options=options(columns={"c0": "text"}))
    assert load(source, text).rows["c0"].to_pylist() == ["POINT(1 2)"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(st.none(), st.binary(max_size=400)), max_size=60))
def test_any_bytes_arrive(prepared: Prepared, values: list[bytes | None]) -> None:
    prepared.execute("CREATE TABLE IF NOT EXISTS bytes_ (n int, b longblob)", "TRUNCATE bytes_")
    if values:
        cells = ["NULL" if value is None else f"x'{value.hex()}'" for value in values]
        shown = ", ".join(f"({i}, {cell})" for i, cell in enumerate(cells))
        prepared.execute(f"INSERT INTO bytes_ VALUES {shown}")
    source = source_of(prepared.server, prepared.database)
    arrived = load(source, select(source, "bytes_")).rows.sort_by("n")["b"].to_pylist()
    assert arrived == values


@pytest.mark.parametrize(
    "size", [250, 251, 252, 65_535, 65_536, (1 << 24) - 6, (1 << 24) - 5, (1 << 24) + 7, 1 << 25]
)
def test_values_at_the_edges_of_the_protocol_arrive(prepared: Prepared, size: int) -> None:
    prepared.execute("CREATE TABLE IF NOT EXISTS large (n int, b longblob)", "TRUNCATE large")
    prepared.execute(f"INSERT INTO large VALUES (1, repeat('a', {size})), (2, 'after'), (3, NULL)")
    source = source_of(prepared.server, prepared.database)
    rows = load(source, select(source, "large")).rows.sort_by("n")["b"]
    assert len(rows[0].as_py()) == size
    assert set(rows[0].as_py()) == {ord("a")}
    assert rows.to_pylist()[1:] == [b"after", None]
