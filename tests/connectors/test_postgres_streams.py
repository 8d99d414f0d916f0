"""The PostgreSQL connector on real servers: what there is, and what it is called."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from asgard.core.errors import (
    ConfigError,
    DataError,
    QueryError,
)
from asgard.core.stream import Mode
from asgard.transport.postgres import Connection
from tests.connectors.postgres_reading import Shop, load, options, select, source_of
from tests.servers.postgres import Server


@pytest.fixture
def shop(pg16: Server, pg_database: str) -> Iterator[Shop]:
    with source_of(pg16, pg_database) as source:
        yield Shop(pg16, pg_database, source)


def test_streams_are_tables_and_views_that_may_be_read(shop: Shop) -> None:
    shop.execute(
        """
        CREATE SCHEMA sales;
        CREATE TABLE orders
            (id bigserial PRIMARY KEY, created_at timestamptz, updated_at timestamp, day date);
        CREATE INDEX ON orders (day);
        CREATE TABLE sales.lines (b int, a int, note text, PRIMARY KEY (a, b));
        CREATE TABLE sales.codes (code text NOT NULL UNIQUE, label text UNIQUE);
        CREATE VIEW sales.big AS SELECT * FROM orders;
        CREATE MATERIALIZED VIEW sales.kept AS SELECT * FROM orders;
        CREATE UNLOGGED TABLE sales.quick (i int);
        CREATE TABLE parts (i int) PARTITION BY RANGE (i);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE SEQUENCE sales.numbers;
        INSERT INTO orders SELECT FROM generate_series(1, 1000); ANALYZE orders;
        """
    )
    found = {stream.full_name: stream for stream in shop.source.streams()}
    assert list(found) == [
        "public.orders", "public.parts",
        "sales.big", "sales.codes", "sales.kept", "sales.lines", "sales.quick",
    ]  # fmt: skip
    orders = found["public.orders"]
    assert orders.id == f"{shop.database}/public.orders"
    assert orders.primary_key == ("id",)
    assert orders.cursor_candidates == ("updated_at", "id", "day", "created_at")
    assert orders.rows == 1000
    assert orders.size_bytes is not None
    assert orders.size_bytes >= 8192
    assert found["sales.lines"].primary_key == ("a", "b")
    assert found["sales.codes"].primary_key == ("code",)
    assert found["sales.quick"].rows is None
    assert found["sales.big"].size_bytes is None
    for pattern, names in {
        "sales.*": {"sales.big", "sales.codes", "sales.kept", "sales.lines", "sales.quick"},
        "*orders": {"public.orders"},
        "orders": {"public.orders"},
        "public.orders": {"public.orders"},
        "parts_1": {"public.parts_1"},
        "nothing": set(),
    }.items():
        assert {stream.full_name for stream in shop.source.streams(pattern)} == names
    with source_of(shop.server, shop.database, schema="sales") as only:
        assert {stream.namespace for stream in only.streams()} == {"sales"}
        with pytest.raises(QueryError, match="no table or view 'orders'"):
            only.describe("orders")


def test_many_tables_take_a_fixed_number_of_queries(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    create = "EXECUTE format('CREATE TABLE t%s (id int, a text, b timestamptz)', i)"
    shop.execute(f"DO $$ BEGIN FOR i IN 1..300 LOOP {create}; END LOOP; END $$")
    asked: list[str] = []
    rows = Connection.rows

    def counted(self: Connection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return rows(self, sql, parameters)

    monkeypatch.setattr(Connection, "rows", counted)
    begun = time.process_time()
    assert len(list(shop.source.streams("public.*"))) == 300
    assert len(asked) <= 3
    assert time.process_time() - begun < 1.0


def test_names_that_are_hard_to_write(shop: Shop) -> None:
    schema, table = "Sch\"e.m'a %s", "naïve \"table'; -- 😀"
    columns = [
        'a"b',
        'A"B',
        "c'd",
        "100%s",
        "select",
        "ctid ",
        "x" * 63,
        "ü.é",
        "{0}",
        "wanted",
        "c0",
        "c1",
        ":p",
    ]
    quoted = ", ".join('"' + name.replace('"', '""') + '" numeric(5, 1)' for name in columns)
    where = ".".join('"' + name.replace('"', '""') + '"' for name in (schema, table))
    shop.execute(f'CREATE SCHEMA "{schema.replace(chr(34), chr(34) * 2)}"; CREATE TABLE {where} ({quoted})')
    shop.execute(f"INSERT INTO {where} VALUES ({', '.join(str(i) for i in range(len(columns)))})")
    [stream] = shop.source.streams(f"{schema}.{table}")
    assert (stream.namespace, stream.name) == (schema, table)
    how: dict[str, Any] = {"mode": Mode.MERGE, "primary_key": ("c0",), "cursor": 'a"b'}
    selection = select(shop.source, f"{schema}.{table}", options=options(late_commit_guard="off"), **how)
    first = load(shop.source, selection)
    assert first.rows.schema.names == columns
    assert [float(value) for value in first.rows.to_pylist()[0].values()] == list(
        map(float, range(len(columns)))
    )
    assert load(shop.source, selection, first.position).rows.num_rows == 1


def test_columns_that_are_generated_dropped_or_left_out(shop: Shop) -> None:
    shop.execute(
        """
        CREATE TABLE t (gone int, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int, d text DEFAULT 'd');
        ALTER TABLE t DROP COLUMN gone; ALTER TABLE t ADD COLUMN e int DEFAULT 7;
        INSERT INTO t (a, c) VALUES (1, 2);
        """
    )
    assert shop.load("t").to_pylist() == [{"a": 1, "b": 2, "c": 2, "d": "d", "e": 7}]
    assert shop.load("t", options=options(exclude_columns=["c", "d"])).to_pylist() == [
        {"a": 1, "b": 2, "e": 7}
    ]
    for wrong in ({"exclude_columns": ["gone"]}, {"columns": {"gone": "text"}}):
        with pytest.raises(QueryError, match="'gone'"):
            shop.source.describe("t", options(**wrong))
    with pytest.raises(ConfigError, match="leaves no column"):
        shop.source.describe("t", options(exclude_columns=list("abcde")))


def test_virtual_generated_columns(pg18: Server) -> None:
    database = pg18.create_database()
    pg18.execute("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)", database)
    pg18.execute("INSERT INTO t VALUES (21)", database)
    with source_of(pg18, database) as source:
        assert load(source, select(source, "t")).rows.to_pylist() == [{"a": 21, "b": 42}]
    pg18.drop_database(database)


def test_a_table_without_columns_is_refused(shop: Shop) -> None:
    shop.execute("CREATE TABLE nothing ()")
    with pytest.raises(QueryError, match="nothing has no columns"):
        shop.source.describe("nothing")


def test_names_that_are_wrong_or_not_enough(shop: Shop) -> None:
    shop.execute("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.both (i int); CREATE TABLE b.both (i int)")
    shop.execute("CREATE TABLE orders (i int); CREATE TABLE a.orders (i int)")
    with pytest.raises(QueryError) as caught:
        shop.source.describe("ordres")
    assert "did you mean orders" in caught.value.hint
    with pytest.raises(QueryError) as caught:
        shop.source.describe("both")
    assert caught.value.hint == "write a.both or b.both"
    assert shop.source.describe("orders").namespace == "public"  # the search path decides, as in SQL


def test_tables_that_others_inherit_from_stand_for_their_own_rows(shop: Shop) -> None:
    shop.execute("CREATE TABLE parent (i int); CREATE TABLE child (j int) INHERITS (parent)")
    shop.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)")
    loaded = load(shop.source, select(shop.source, "parent"))
    assert loaded.rows.to_pylist() == [{"i": 1}]
    assert "inherit" in loaded.warnings[0]
    assert shop.load("child").to_pylist() == [{"i": 2, "j": 3}]
    assert sorted(shop.load("all", query="SELECT * FROM parent")["i"].to_pylist()) == [1, 2]


def test_views_of_both_kinds_and_foreign_tables(pg15: Server) -> None:
    database = pg15.create_database()
    pg15.execute(
        """
        CREATE TABLE t AS SELECT i, 'x' || i AS x FROM generate_series(1, 100) i;
        CREATE VIEW v AS SELECT i * 2 AS twice FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
        CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
        CREATE FOREIGN TABLE f (line text) SERVER files OPTIONS (program 'printf "one\\ntwo\\n"');
        CREATE TABLE p (line text) PARTITION BY LIST (line);
        CREATE TABLE p_rest PARTITION OF p DEFAULT;
        INSERT INTO p VALUES ('three');
        """,
        database,
    )
    with source_of(pg15, database) as source:
        assert sum(load(source, select(source, "v")).column("twice")) == 10100
        assert load(source, select(source, "m")).column("i") == list(range(1, 101))
        assert load(source, select(source, "f")).column("line") == ["one", "two"]
        assert load(source, select(source, "p")).column("line") == ["three"]
        assert (
            load(source, select(source, "m", cursor="i", mode=Mode.MERGE, primary_key=("i",))).warnings == ()
        )
        [warning] = load(source, select(source, "f", cursor="line", mode=Mode.APPEND)).warnings
        assert "cursor_lag" in warning
    pg15.drop_database(database)


def test_queries(shop: Shop) -> None:
    shop.execute("CREATE TABLE t AS SELECT i, i / 3.0 AS n FROM generate_series(1, 10) i")
    query = "WITH w AS (SELECT * FROM t WHERE i > 8) SELECT i AS \"I\", i, n, '{1}'::int[] AS a FROM w -- end"
    stream = shop.source.describe("asked", query=query)
    assert (stream.full_name, stream.schema.names) == ("asked", ["I", "i", "n", "a"])
    assert shop.load("asked", query=query)["n"].to_pylist() == ["3.0000000000000000", "3.3333333333333333"]
    for wrong, says in {
        "SELECT 1 AS a, 2 AS a": "several times",
        "SELEC 1": "syntax error",
        "SELECT * FROM nowhere": "nowhere",
        "SELECT i FROM t WHERE nope": "nope",
        "SELECT 1; DROP TABLE t": "syntax error",
        "DELETE FROM t RETURNING i": "syntax error",
        "SELECT": "no columns",
        "SELECT nextval('numbers') AS n": "numbers",
    }.items():
        with pytest.raises(QueryError, match=says) as caught:
            shop.load("asked", query=wrong)
        assert caught.value.hint
    shop.execute("CREATE SEQUENCE numbers")
    with pytest.raises(QueryError, match="read-only"):
        shop.load("asked", query="SELECT nextval('numbers') AS n")
    with pytest.raises(DataError, match="division by zero"):
        shop.load("asked", query="SELECT i / (i - 5) AS x FROM t")


def test_conditions(shop: Shop) -> None:
    shop.execute("CREATE TABLE t AS SELECT i, i::numeric(5, 1) AS n FROM generate_series(1, 9) i")
    shop.execute("UPDATE t SET n = 'NaN' WHERE i = 3")
    # What is not wanted is not judged: the row with NaN is left out before its value is looked at.
    wanted = options(where="t.i <> 3 -- and so on")
    assert shop.load("t", options=wanted)["i"].to_pylist() == [1, 2, 4, 5, 6, 7, 8, 9]
    with pytest.raises(DataError, match="NaN"):
        shop.load("t")
    with pytest.raises(DataError, match="NaN"):
        shop.load("t", options=options(where="i = 3"))
    with pytest.raises(QueryError, match="nope"):
        shop.load("t", options=options(where="nope = 1"))
