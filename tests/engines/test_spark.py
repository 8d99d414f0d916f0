"""Spark as an engine, on a real local Spark: names, types, order, locks, errors, interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, Cancelled, ConfigError, DataError, QueryError, Refused
from asgard.core.table import Mount, TableName
from asgard.engines.spark import SparkEngine, SparkPlace, spark_type

ORDERS = pa.table({"id": [1, 2, 3], "amount": pa.array([Decimal("1.50"), None, Decimal("-3.00")])})

Mounted = Callable[..., Mount]


@pytest.fixture
def engine(spark: Any) -> Iterator[SparkEngine]:
    with SparkEngine() as engine:
        yield engine


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """Writes each table to a file of its own and mounts them together, with the first one's schema."""

    def write(*tables: pa.Table, schema: pa.Schema | None = None) -> Mount:
        files = []
        for table in tables:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))} [a]{{b}}.parquet"
            pq.write_table(table, path)
            files.append(str(path))
        return Mount(schema or tables[0].schema, tuple(files))

    return write


def rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    with engine.query(sql) as reader:
        found: list[dict[str, Any]] = reader.read_all().to_pylist()
    return found


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        (TableName("bronze", "shop", "orders"), "`bronze.shop.orders`"),
        (TableName("gold", "", "revenue"), "`GOLD.Revenue`"),
        (TableName("bronze", "größe ё", "a`b c;-- "), "`bronze.größe ё.a``b c;-- `"),
        ("fresh", "fresh"),
    ],
)
def test_a_table_is_found_by_its_whole_name(
    engine: SparkEngine, mounted: Mounted, name: TableName | str, sql: str
) -> None:
    engine.attach(name, mounted(ORDERS))
    assert rows(engine, f"SELECT id FROM {sql} ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_attaching_a_name_again_replaces_it_also_after_a_query(engine: SparkEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(ORDERS))
    assert len(rows(engine, "SELECT * FROM t")) == 3
    engine.attach("T", mounted(ORDERS.slice(0, 1)))
    assert rows(engine, "SELECT id FROM t") == [{"id": 1}]


def test_engines_of_one_process_do_not_see_each_others_tables(engine: SparkEngine, mounted: Mounted) -> None:
    engine.attach("mine", mounted(ORDERS))
    rows(engine, "SELECT * FROM mine")
    with SparkEngine() as other, pytest.raises(QueryError, match="there is no table mine"):
        other.query("SELECT * FROM mine")


NESTED = pa.struct({"a": pa.int64(), "b": pa.list_(pa.struct({"c": pa.string()}))})
EVERY_TYPE = pa.table(
    {
        "b": pa.array([True, None]),
        "i8": pa.array([-128, None], pa.int8()),
        "i16": pa.array([-32768, None], pa.int16()),
        "i32": pa.array([-(2**31), None], pa.int32()),
        "i64": pa.array([-(2**63), None], pa.int64()),
        "f32": pa.array([float("nan"), None], pa.float32()),
        "f64": pa.array([-0.0, None], pa.float64()),
        "d": pa.array([Decimal("-" + "9" * 28 + "." + "9" * 10), None], pa.decimal128(38, 10)),
        "s": pa.array(["a\u0000 ü🦆", None]),
        "x": pa.array([b"\x00\xff", None], pa.binary()),
        "day": pa.array([date(1, 1, 1), None]),
        "naive": pa.array([datetime(1582, 10, 10, 1, 2, 3, 456789), None], pa.timestamp("us")),
        "instant": pa.array([datetime(9999, 12, 31, 23, 59, 59, 9, UTC), None], pa.timestamp("us", "UTC")),
        "l": pa.array([[1, None], None], pa.list_(pa.int64())),
        "n": pa.array([{"a": 1, "b": [{"c": None}]}, None], NESTED),
        "m": pa.array([[("k", Decimal("1.5"))], None], pa.map_(pa.string(), pa.decimal128(5, 1))),
    }
)  # fmt: skip


def test_every_type_of_a_table_comes_back_as_it_was(engine: SparkEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(EVERY_TYPE))
    with engine.query("SELECT * FROM t") as reader:
        found = reader.read_all()
    assert [str(field.type) for field in found.schema if not pa.types.is_nested(field.type)] == [
        str(field.type) for field in EVERY_TYPE.schema if not pa.types.is_nested(field.type)
    ]
    assert repr(found.to_pylist()) == repr(EVERY_TYPE.to_pylist())


def test_files_of_older_schemas_are_read_in_the_tables_schema(engine: SparkEngine, mounted: Mounted) -> None:
    old = pa.table(
        {"id": pa.array([1], pa.int32()), "amount": pa.array([Decimal("1.5")], pa.decimal128(4, 1))}
    )
    new = pa.table(
        {"id": [2**40], "amount": pa.array([Decimal("2.25")], pa.decimal128(12, 2)), "note": ["n"]}
    )
    engine.attach("t", mounted(old, new, schema=new.schema))
    assert rows(engine, "SELECT * FROM t ORDER BY id") == [
        {"id": 1, "amount": Decimal("1.50"), "note": None},
        {"id": 2**40, "amount": Decimal("2.25"), "note": "n"},
    ]


def test_a_table_without_files_and_one_of_a_reader_are_read(engine: SparkEngine) -> None:
    engine.attach("empty", Mount(EVERY_TYPE.schema))
    engine.attach("read", Mount(ORDERS.schema, reader=ORDERS.to_reader))
    assert rows(engine, "SELECT * FROM empty") == []
    assert rows(engine, "SELECT sum(id) AS n FROM read") == [{"n": 6}]


def test_the_order_of_a_statement_stays_over_many_batches(engine: SparkEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(pa.table({"id": range(30_000)})))
    with engine.query("SELECT id FROM t ORDER BY id DESC") as reader:
        batches = list(reader)
    assert len(batches) > 1
    assert pa.Table.from_batches(batches)["id"].to_pylist() == list(range(29_999, -1, -1))


def test_nan_is_found_where_a_files_figures_leave_it_out(engine: SparkEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(pa.table({"v": [1.0, float("nan")]})))
    assert len(rows(engine, "SELECT v FROM t WHERE v > 5")) == 1


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELECT * FROM ordres", QueryError, "did you mean orders?"),
        ("SELECT wrong FROM orders", QueryError, "wrong"),
        ("SELECT\n  FROM FROM orders", QueryError, "line 2"),
        ("DROP VIEW orders", QueryError, "DROP"),
        ("SELECT 1 AS a; SELECT 2 AS b", QueryError, ";"),
        ("SELECT * FROM parquet.`/etc/passwd`", QueryError, "parquet"),
        ("SELECT reflect('java.lang.System', 'exit', 1) AS a", Refused, "reflect"),
        ("SELECT CAST(id || 'x' AS INT) AS n FROM orders", DataError, "1x"),
        ("SELECT id / (id - 1) AS n FROM orders", DataError, "Division by zero"),
        ("SELECT make_dt_interval(1) AS n", DataError, None),
        ("SELECT make_ym_interval(1) AS n", DataError, "cannot be carried"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(
    engine: SparkEngine, mounted: Mounted, sql: str, kind: type[AsgardError], said: str | None
) -> None:
    engine.attach("orders", mounted(ORDERS))
    if said is None:
        assert len(rows(engine, sql)) == 1
        return
    with pytest.raises(kind) as failed:
        rows(engine, sql)
    assert said in str(failed.value)
    assert "org.apache" not in str(failed.value)


def test_a_running_query_is_broken_off(engine: SparkEngine) -> None:
    endless = "SELECT a.id FROM range(1e12) a, range(1e9) b WHERE a.id + b.id < 0"
    stopper = threading.Timer(1, engine.interrupt)
    stopper.start()
    with pytest.raises(Cancelled), engine.query(endless) as reader:
        reader.read_all()
    stopper.join()
    assert rows(engine, "SELECT 1 AS a") == [{"a": 1}]


def test_a_table_that_files_do_not_tell_is_refused_by_a_spark_elsewhere(spark: Any) -> None:
    elsewhere = SparkEngine(SparkPlace(master="spark://127.0.0.1:7077"))
    elsewhere.attach("t", Mount(ORDERS.schema, reader=ORDERS.to_reader))
    with pytest.raises(ConfigError, match="t cannot be read by a Spark elsewhere"):
        elsewhere.query("SELECT * FROM t")


def test_a_type_that_spark_does_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="time64"):
        spark_type(pa.time64("us"))
