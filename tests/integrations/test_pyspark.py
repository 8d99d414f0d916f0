"""`spark.read.format("asgard")` on a real Spark: equal to our own loader, one snapshot, no secret told."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import functions as f
from pyspark.sql import types as st

import asgard
from asgard.app.spark import source as spark_source
from asgard.app.spark.plans import Keeper, Request, planned
from asgard.app.spark.source import AsgardDataSource, AsgardReader, Part
from asgard.core.errors import ConfigError, QueryError
from asgard.integrations.pyspark import register, release
from asgard.testing.content import content_hash
from tests.integrations.written import (
    AWKWARD,
    PASSWORD,
    many_pages,
    parquet_files,
    postgres_options,
    sqlite_file,
)
from tests.servers.faults import Fault, faulty_network
from tests.servers.mysql import shared_mysql
from tests.servers.postgres import Server

HELD = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"


@pytest.fixture
def reader(spark: Any) -> Iterator[Callable[..., Any]]:
    """Makes a frame of options; what it holds open is closed afterwards."""
    register(spark)

    def read(options: dict[str, Any], **more: Any) -> Any:
        given = {key: str(value) for key, value in {**options, **more}.items()}
        return spark.read.format("asgard").options(**given).load()

    yield read
    release(spark)


@pytest.fixture(scope="module")
def warehouse(pg16: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Options of a PostgreSQL table that is large enough for several splits, and that nobody changes."""
    database = pg16.create_database()
    many_pages(pg16, database)
    folder = tmp_path_factory.mktemp("warehouse")
    yield {**postgres_options(pg16, database, folder), "table": "orders", "partitions": 3}
    pg16.drop_database(database)


def keeper_of(spark: Any) -> Keeper:
    return spark_source._keepers[spark.sparkContext.applicationId]


def prepared(options: dict[str, Any], schema: st.StructType | None = None) -> Request:
    """The request that Spark's planning makes of options, and of a schema that its user gives."""
    source = AsgardDataSource({key: str(value) for key, value in options.items()})
    made = source.reader(schema or source.schema())
    assert isinstance(made, AsgardReader)
    return made.request


def ours(options: dict[str, Any]) -> pa.Table:
    """The same rows by our own loader, with the password as it is."""
    config = {key: value for key, value in options.items() if key not in ("table", "partitions")}
    if "password" in config:
        config["password"] = PASSWORD
    return asgard.load_data(config, table=options.get("table"), backend="arrow")


def test_postgres_is_read_in_one_snapshot(
    spark: Any, reader: Callable[..., Any], pg16: Server, pg_database: str, tmp_path: Path
) -> None:
    many_pages(pg16, pg_database)
    shop = {**postgres_options(pg16, pg_database, tmp_path), "table": "orders", "partitions": 3}
    frame = reader(shop)
    assert frame.rdd.getNumPartitions() == 3
    before = ours(shop)
    pg16.execute("DELETE FROM orders WHERE id % 2 = 0; UPDATE orders SET name = 'other'", pg_database)
    assert content_hash(frame.toArrow()) == content_hash(before)
    assert frame.schema == st.StructType(
        [
            st.StructField("id", st.IntegerType(), frame.schema["id"].nullable),
            st.StructField("name", st.StringType()),
            st.StructField("amount", st.DecimalType(12, 2)),
            st.StructField("at", st.TimestampNTZType()),
            st.StructField("seen", st.TimestampType()),
            st.StructField("day", st.DateType()),
            st.StructField("maybe", st.LongType()),
            st.StructField("tags", st.ArrayType(st.StringType())),
            st.StructField("doc", st.StringType(), metadata={"asgard.type": "json"}),
        ]
    )
    assert keeper_of(spark).open_plans == 1
    release(spark)
    assert keeper_of(spark).open_plans == 0
    assert pg16.execute(HELD, pg_database) == []
    with pytest.raises(PySparkException, match="make the frame anew"):
        frame.toArrow()


def test_a_plan_is_closed_when_nothing_runs(
    spark: Any, reader: Callable[..., Any], warehouse: dict[str, Any], pg16: Server
) -> None:
    keeper = keeper_of(spark)
    request = prepared({**warehouse, "hold_seconds": 0})
    assert len(planned(keeper.address, request)) == 3
    until = time.monotonic() + 120
    while (keeper.open_plans or pg16.execute(HELD, warehouse["database"])) and time.monotonic() < until:
        time.sleep(0.1)
    assert pg16.execute(HELD, warehouse["database"]) == []
    with pytest.raises(QueryError, match="no_such"):  # what fails beside the driver fails where it is asked
        planned(keeper.address, replace(request, reading=replace(request.reading, columns=("no_such",))))


def test_a_task_that_fails_is_done_again(
    reader: Callable[..., Any], warehouse: dict[str, Any], pg16: Server
) -> None:
    with faulty_network(pg16.host, pg16.port) as network:
        frame = reader({**warehouse, "host": network.host, "port": network.port})
        assert frame.rdd.getNumPartitions() == 3
        network.arm(Fault.reset(at_byte=200_000), times=1)
        assert content_hash(frame.toArrow()) == content_hash(ours(warehouse))
        assert network.fired == 1


def test_filters_and_joins_over_one_frame(
    spark: Any, reader: Callable[..., Any], warehouse: dict[str, Any], pg16: Server
) -> None:
    frame = reader({**warehouse, "where": "id % 2 = 0"})
    few, many = f.col("id") <= 10, f.col("id") > 25_990
    assert frame.where(few).count() == 5
    assert frame.count() == 13_000  # what one query leaves out, another one on the same frame has
    assert frame.where(few).union(frame.where(many)).count() == 10
    assert frame.where(few).join(frame.select("id"), "id").count() == 5
    assert keeper_of(spark).open_plans == 1  # all of them see one instant
    asked = [query for (query,) in pg16.execute(HELD, warehouse["database"])]
    assert [query for query in asked if "id % 2 = 0" in query]
    plain = spark.createDataFrame(ours(warehouse), schema=frame.schema).where("id % 2 = 0")
    condition = (f.col("name") > "n'1") & f.col("maybe").isNull() & (f.col("day") > date(2024, 3, 1))
    assert content_hash(frame.where(condition).toArrow()) == content_hash(plain.where(condition).toArrow())


def test_no_secret_is_on_the_way(spark: Any, reader: Callable[..., Any], warehouse: dict[str, Any]) -> None:
    frame = reader(warehouse).where("id > 5")
    told = frame._jdf.queryExecution().toString() + str(frame.schema.json())
    assert "asgard" in told
    assert PASSWORD not in told
    source = AsgardDataSource({key: str(value) for key, value in warehouse.items()})
    source.schema()
    sent = source.reader(source.schema())
    keeper = keeper_of(spark)
    parts = [Part(split) for split in planned(keeper.address, prepared(warehouse))]
    assert len(parts) == 3
    for thing in (source, sent, *parts):
        travelling = cloudpickle.dumps(thing)
        assert PASSWORD.encode() not in travelling
    assert b"${file:" in pickle.dumps(sent)
    with pytest.raises(AnalysisException, match="password: a secret written in clear") as caught:
        reader({**warehouse, "password": "plain-text"})
    assert "plain-text" not in str(caught.value)


def test_files_keep_every_value(reader: Callable[..., Any], tmp_path: Path) -> None:
    config = {"type": "parquet", "source": f"{parquet_files(tmp_path)}/*.parquet"}
    frame = reader(config)
    assert frame.rdd.getNumPartitions() == 2
    assert content_hash(frame.toArrow()) == content_hash(ours(config))
    kinds = {field.name: field.dataType.simpleString() for field in frame.schema}
    assert kinds["small"] == "smallint"
    assert kinds["huge"] == "decimal(20,0)"
    assert kinds["local"] == "timestamp_ntz"
    assert kinds["moment"] == "timestamp"
    assert kinds["nested"] == "struct<list:array<smallint>,inner:struct<x:boolean>>"
    assert kinds["map"] == "map<string,bigint>"
    assert set(AWKWARD.column_names) < set(kinds)


def test_sources_without_lent_splits_are_read_by_one_task(reader: Callable[..., Any], tmp_path: Path) -> None:
    notes = {"type": "sqlite", "database": str(sqlite_file(tmp_path))}
    frame = reader(notes)
    assert frame.rdd.getNumPartitions() == 1
    assert content_hash(frame.toArrow()) == content_hash(ours(notes))
    few = frame.where("id in (3, 9999) and note is null or weight > 356.9").toArrow()
    assert few.num_rows == 2
    server = shared_mysql("mariadb")
    name = server.create_database()
    try:
        server.execute(
            "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, word VARCHAR(20), at DATETIME(6))", name
        )
        server.execute(
            "INSERT INTO t VALUES (18446744073709551615, 'a''b', '2024-01-01'), (1, NULL, NULL)", name
        )
        password = tmp_path / "mysql-password"
        password.write_text(server.password)
        mysql = {"type": "mysql", "connection.host": server.host, "connection.port": server.port}
        mysql |= {"connection.database": name, "connection.username": server.user, "ssl_mode": "disable"}
        mysql |= {"connection.password": f"${{file:{password}}}", "stream": "t"}
        rows = reader(mysql).where("word = 'a''b'").collect()
        assert [(int(row.id), row.word, row.at) for row in rows] == [(2**64 - 1, "a'b", datetime(2024, 1, 1))]
    finally:
        server.drop_database(name)


def test_a_project_says_where_and_what_is_masked(
    spark: Any, reader: Callable[..., Any], warehouse: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("a-key-of-sixteen-characters")
    (tmp_path / "asgard.yml").write_text(
        "masking_key: ${file:key}\ndata_sources:\n  shop:\n    type: postgres\n    connection:\n"
        + "".join(
            f"      {key}: {warehouse[key]}\n" for key in ("host", "port", "database", "username", "ssl_mode")
        )
        + f"      password: {warehouse['password']}\n    tables:\n"
        "      - {name: 'public.*', mask: {name: tokenize, doc: redact}}\n"
    )
    named = {"project": tmp_path, "source": "shop"}
    frame = reader(named, table="orders").where("id <= 3")
    rows = sorted(frame.select("id", "name", "doc").collect())
    assert [row.id for row in rows] == [1, 2, 3]
    assert all(row.name.startswith("tok_") and row.doc is None for row in rows)
    chosen = (
        spark.read.format("asgard")
        .schema("name string, id int")
        .options(**{k: str(v) for k, v in named.items()})
    )
    assert chosen.option("table", "public.orders").load().where("id = 1").collect() == [(rows[0].name, 1)]


@pytest.mark.parametrize(
    ("options", "schema", "says"),
    [
        ({}, st.StructType().add("id", "string"), "id is bigint, not string"),
        ({}, st.StructType().add("id", "long").add("other", "long"), "there is no column 'other'"),
        ({"partitions": "many"}, None, "partitions is 'many'"),
        ({"table": "nots"}, None, "no stream|no table"),
        ({"data": "what"}, None, "data"),
        ({"type": "oracle9"}, None, "oracle9"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, options: dict[str, str], schema: st.StructType | None, says: str
) -> None:
    given = {"type": "sqlite", "database": str(sqlite_file(tmp_path)), **options}
    with pytest.raises(ConfigError, match=says):
        prepared(given, schema)


def test_options_of_a_project_are_few() -> None:
    with pytest.raises(ConfigError, match="sauce: no option"):
        AsgardDataSource({"sauce": "shop"}).schema()


def test_load_data_gives_a_spark_frame(spark: Any, warehouse: dict[str, Any], tmp_path: Path) -> None:
    config = {key: value for key, value in warehouse.items() if key not in ("table", "partitions")}
    frame = asgard.load_data(config, table="orders", backend="spark", partitions=2)
    assert frame.rdd.getNumPartitions() == 2
    assert frame.where("id < 10").count() == 9
    asked = asgard.load_data(
        {**config, "backend": "spark"}, query="SELECT id FROM orders WHERE id < 5", limit=2
    )
    assert asked.count() == 2
    release(spark)


def test_nobody_holds_a_plan_without_a_driver(warehouse: dict[str, Any], tmp_path: Path) -> None:
    assert planned("", prepared(warehouse)) == [None]  # as on Spark Connect: one task, one snapshot
    files = {"type": "parquet", "source": f"{parquet_files(tmp_path)}/*.parquet"}
    assert len(planned("", prepared(files))) == 2
