"""Tables that other people's tests of PostgreSQL are made of, those of extensions and hard names included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.connectors.postgres import PostgresSource
from tests.connectors.postgres_reading import load, select, source_of
from tests.servers.postgres import Server

EXTENSIONS = ("citext", "hstore", "isn", "ltree")
FILES = ("debezium-postgres_create_tables.ddl", "debezium-postgres_create_multiple_tables.ddl")


@pytest.fixture(scope="module")
def debezium(reference: Path, pg15: Server) -> Iterator[PostgresSource]:
    folder = reference / "type_torture" / "postgres"
    database = pg15.create_database()
    pg15.execute(";".join(f"CREATE EXTENSION {name}" for name in EXTENSIONS), database)
    for file in FILES:
        pg15.execute((folder / file).read_text(), database)
    with source_of(pg15, database) as source:
        yield source
    pg15.drop_database(database)


def test_every_table_of_debezium_is_described_and_read(debezium: PostgresSource) -> None:
    streams = list(debezium.streams())
    assert len(streams) >= 25
    for stream in streams:
        described = debezium.describe(stream.full_name)
        assert described.schema.equals(stream.schema, check_metadata=True)
        assert load(debezium, select(debezium, stream.full_name)).rows.schema == stream.schema


def test_a_row_of_every_column_arrives(debezium: PostgresSource, pg15: Server) -> None:
    """One value for each column of the large tables, by the server's own defaults for its type."""
    database = debezium.config.database
    values = {
        "array_table": "'{}'",
        "hstore_table_mul": "NULL",
        "text_table": "NULL",
        "range_table": "'empty'",
        "time_table": "NULL",
    }
    for table, value in values.items():
        stream = debezium.describe(table)
        columns = [name for name in stream.schema.names if name != "pk"]
        listed = ", ".join(f'"{name}"' for name in columns)
        pg15.execute(f"INSERT INTO {table} ({listed}) VALUES ({', '.join([value] * len(columns))})", database)
        [row] = load(debezium, select(debezium, table)).rows.to_pylist()
        wanted = {"'{}'": [], "NULL": None, "'empty'": "empty"}[value]
        assert {name: row[name] for name in columns} == dict.fromkeys(columns, wanted)


def test_quoted_names_of_debezium(debezium: PostgresSource, pg15: Server) -> None:
    [stream] = [stream for stream in debezium.streams() if '"' in stream.name]
    pg15.execute(
        'INSERT INTO "Quoted_"" . Schema"."Quoted_"" . Table" VALUES (1, \'text\')', debezium.config.database
    )
    assert load(debezium, select(debezium, stream.full_name)).rows.to_pylist() == [
        {"pk": 1, 'Quoted_" . Text_Column': "text"}
    ]
