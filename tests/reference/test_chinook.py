"""Chinook: one shop out of databases, documents and files has one content in the lake, table by table.

Each source goes through a project and a run into Delta, as it is and with its columns declared. PostgreSQL,
MySQL, MariaDB and Parquet type their columns as the shop does: their tables are hashed as they were loaded.

Sources that have other types by nature are hashed twice. With `columns:` the load itself brings the declared
types, and the tables are hashed as they were loaded. Without, the values found are put into the declared
types by their exact text first:

- SQLite keeps decimals as doubles and times as text;
- MongoDB has whole numbers of 32 and 64 bits that load as int64, decimals as their text, and instants;
- CSV has text alone, whose values prove a type (a column of postal codes stays text, 0.99 is a double);
- JSON has numbers, and times as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pytest
from bson.decimal128 import Decimal128

import asgard
from asgard.connectors.s3 import S3Source
from asgard.testing.content import content_hash
from tests.connectors.buckets import parquet, put
from tests.connectors.harness_mongodb import config_of as mongodb_config
from tests.connectors.harness_mysql import config_of as mysql_config
from tests.reference.chinook import FOLDER, MOMENT, MONEY, TABLES, Shop, as_declared, script, shop, twins
from tests.reference.project import outcomes, postgres, project
from tests.reference.server_text import lake_rows, server_rows
from tests.servers.mongodb import mongo_server
from tests.servers.mysql import shared_mysql
from tests.servers.object_stores import new_bucket, shared_store
from tests.servers.postgres import Server

WORDS = {MOMENT: "timestamp", MONEY: "decimal(10, 2)", pa.int32(): "int64", pa.string(): "text"}


@pytest.fixture(scope="module")
def truth(reference: Path) -> Shop:
    tables = shop(reference)
    assert len(tables) == TABLES
    assert all(table.num_rows for table in tables.values())
    return tables


def loaded(folder: Path, source: Mapping[str, Any], tables: list[Any]) -> asgard.Project:
    opened = project(folder, source, tables)
    ended = outcomes(opened)
    assert {step: str(error) for step, error in ended.items() if error} == {}
    assert len(ended) == TABLES
    return opened


def columns(table: pa.Table) -> dict[str, str]:
    return {field.name: WORDS[field.type] for field in table.schema}


def assert_same_content(opened: asgard.Project, truth: Shop) -> None:
    """The tables have the content as they are."""
    for name, data in twins(opened, truth):
        assert content_hash(data) == content_hash(truth[name]), name


def assert_same_values(opened: asgard.Project, truth: Shop) -> None:
    """The tables have the content once their values are in the declared types, by their text."""
    for name, data in twins(opened, truth):
        declared = as_declared(data, truth[name].schema)
        assert content_hash(declared) == content_hash(truth[name]), name


def test_postgres(reference: Path, truth: Shop, pg16: Server, pg_database: str, tmp_path: Path) -> None:
    pg16.execute(script(reference, "Chinook_PostgreSql.sql", "\\c chinook;"), pg_database)
    opened = loaded(tmp_path, postgres(pg16, pg_database), ["public.*"])
    assert_same_content(opened, truth)


def test_postgres_as_its_own_script_says(
    reference: Path, pg16: Server, pg_database: str, tmp_path: Path
) -> None:
    text = (reference / FOLDER / "Chinook_PostgreSql.sql").read_text()
    pg16.execute(text.split("\\c chinook;")[1], pg_database)
    opened = loaded(tmp_path, postgres(pg16, pg_database), ["public.*"])
    with psycopg.connect(pg16.dsn(pg_database)) as connection:
        for table in opened.tables():
            relation = f"public.{table.removeprefix('bronze.s.')}"
            assert lake_rows(opened, table) == server_rows(connection, relation), table


@pytest.mark.parametrize("kind", ["mysql80", "mariadb"])
def test_mysql(reference: Path, truth: Shop, kind: str, tmp_path: Path) -> None:
    server = shared_mysql(kind)
    database = server.create_database()
    text = script(reference, "Chinook_MySql.sql", "USE `Chinook`;")
    # Four tracks have a backslash in their name, which the script does not escape.
    server.execute(f"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; {text}", database)
    opened = loaded(tmp_path, {"type": "mysql", **mysql_config(server, database)}, ["*"])
    server.drop_database(database)
    assert_same_content(opened, truth)


def test_sqlite(reference: Path, truth: Shop, tmp_path: Path) -> None:
    source = {"type": "sqlite", "database": str(reference / FOLDER / "Chinook_Sqlite.sqlite")}
    assert_same_values(loaded(tmp_path / "found", source, ["*"]), truth)
    declared = [{"name": name, "columns": columns(table)} for name, table in truth.items()]
    assert_same_content(loaded(tmp_path / "declared", source, declared), truth)


def test_mongodb(truth: Shop, tmp_path: Path) -> None:
    with mongo_server() as server, server.database() as database:
        for name, table in truth.items():
            database[name].insert_many(as_documents(table))
        source = {"type": "mongodb", **mongodb_config(server, database.name)}
        found: list[dict[str, Any]] = [{"name": name, "flatten": 1} for name in truth]
        declared = [{**table, "columns": columns(truth[table["name"]])} for table in found]
        as_found = loaded(tmp_path / "found", source, found)
        as_told = loaded(tmp_path / "declared", source, declared)
    for opened in (as_found, as_told):
        for name in opened.tables():
            rescued = opened.table(name, backend="arrow")["_rescued"]
            assert rescued.null_count == len(rescued), name
    assert_same_values(as_found, truth)
    assert_same_content(as_told, truth)


def as_documents(table: pa.Table) -> list[dict[str, Any]]:
    """As an application would write them: Decimal128, dates as instants of UTC, what is null left out."""
    return [
        {name: as_bson(value) for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]


def as_bson(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return Decimal128(value) if isinstance(value, Decimal) else value


def as_csv(table: pa.Table) -> bytes:
    """Text in quotes, null as nothing at all."""
    sink = pa.BufferOutputStream()
    pc.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def as_jsonl(table: pa.Table) -> bytes:
    """A line for each row; decimals as numbers, times as text."""
    return b"".join(json.dumps(row, default=as_json).encode() + b"\n" for row in table.to_pylist())


def as_json(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value.isoformat()


FILES: Mapping[str, Callable[[pa.Table], bytes]] = {"csv": as_csv, "jsonl": as_jsonl, "parquet": parquet}


@pytest.fixture(scope="module")
def bucket(truth: Shop) -> dict[str, Any]:
    """A source of S3: each table as CSV, as JSON lines and as Parquet."""
    server = shared_store("moto")
    config = server.s3_config(new_bucket(server))
    place = S3Source(S3Source.Config.model_validate(config)).place
    for ending, written in FILES.items():
        for name, table in truth.items():
            put(place, f"{ending}/{name}.{ending}", written(table))
    return {"type": "s3", **config}


@pytest.mark.parametrize("ending", FILES)
def test_s3(bucket: dict[str, Any], truth: Shop, ending: str, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = [{"name": name, "path": f"{ending}/{name}.{ending}"} for name in truth]
    as_found = loaded(tmp_path / "found", bucket, found)
    assert_same_values(as_found, truth)
    if ending == "parquet":
        assert_same_content(as_found, truth)
    declared = [{**table, "columns": columns(truth[table["name"]])} for table in found]
    assert_same_content(loaded(tmp_path / "declared", bucket, declared), truth)
