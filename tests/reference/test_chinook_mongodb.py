"""Chinook as documents: what SQLite has, put into MongoDB and loaded from there, has the same content."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from bson.decimal128 import Decimal128

from asgard.testing.content import content_hash
from tests.connectors.harness_mongodb import config_of
from tests.reference.project import outcomes, project
from tests.servers.mongodb import mongo_server


def as_documents(table: pa.Table) -> list[dict[str, Any]]:
    """As an application would write them: decimals as Decimal128, what is null left out."""
    rows = table.to_pylist()
    return [
        {
            name: Decimal128(value) if isinstance(value, Decimal) else value
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]


def declared(schema: pa.Schema) -> dict[str, str]:
    """Decimals and texts; integers are found in the sample."""
    words = {name: str(schema.field(name).type) for name in schema.names}
    return {
        name: word.replace("decimal128", "decimal") if word.startswith("decimal") else "text"
        for name, word in words.items()
        if word.startswith("decimal") or word == "string"
    }


def test_documents_have_the_same_content(reference: Path, tmp_path: Path) -> None:
    file = reference / "sampledb" / "chinook" / "Chinook_Sqlite.sqlite"
    from_sqlite = project(tmp_path / "sqlite", {"type": "sqlite", "database": str(file)}, ["*"])
    assert set(outcomes(from_sqlite).values()) == {None}
    tables = {}
    for name in from_sqlite.tables():
        data = from_sqlite.table(name, backend="arrow")
        own = [field.name for field in data.schema if b"asgard.name" in (field.metadata or {})]
        tables[name.removeprefix("bronze.s.")] = data.select(own)
    assert len(tables) == 11
    with mongo_server() as server, server.database() as database:
        for name, data in tables.items():
            database[name].insert_many(as_documents(data))
        wishes = [
            {"name": name, "flatten": 1, "columns": declared(data.schema)} for name, data in tables.items()
        ]
        source = {"type": "mongodb", **config_of(server, database.name)}
        from_mongodb = project(tmp_path / "mongodb", source, wishes)
        assert set(outcomes(from_mongodb).values()) == {None}
    for name, data in tables.items():
        loaded = from_mongodb.table(f"bronze.s.{name}", backend="arrow")
        assert loaded["_rescued"].null_count == loaded.num_rows
        assert content_hash(loaded, data.schema, data.column_names) == content_hash(data), name
