"""Chinook: the same shop out of SQLite and out of PostgreSQL.

SQLite keeps times as text and decimals as floats, so the rows of both are compared as one canonical text:
numbers without trailing zeros, times as PostgreSQL writes them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

import asgard
from tests.reference.project import outcomes, postgres, project
from tests.reference.server_text import Rows, lake_rows, server_rows, written
from tests.servers.postgres import Server


def canonical(value: Any) -> str | None:
    if isinstance(value, float | Decimal):
        return format(Decimal(repr(value) if isinstance(value, float) else value).normalize(), "f")
    return written(value)


def canonical_rows(rows: Iterable[Iterable[Any]]) -> Rows:
    return Counter(tuple(canonical(value) for value in row) for row in rows)


def canonical_table(opened: asgard.Project, table: str) -> Rows:
    data = opened.table(table, backend="arrow")
    names = [field.name for field in data.schema if b"asgard.name" in (field.metadata or {})]
    return canonical_rows(zip(*(data[name].to_pylist() for name in names), strict=True))


def as_national(rows: Rows) -> Rows:
    """PostgreSQL takes the script's N'...' for char, and drops the spaces at its end ('Edinburgh ')."""
    return Counter(tuple(text and text.rstrip(" ") for text in row) for row in rows.elements())


@pytest.fixture(scope="module")
def from_sqlite(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> asgard.Project:
    file = reference / "sampledb" / "chinook" / "Chinook_Sqlite.sqlite"
    folder = tmp_path_factory.mktemp("sqlite")
    opened = project(folder, {"type": "sqlite", "database": str(file)}, ["*"])
    ended = outcomes(opened)
    assert len(ended) == 11
    assert set(ended.values()) == {None}
    return opened


def test_sqlite(reference: Path, from_sqlite: asgard.Project) -> None:
    file = reference / "sampledb" / "chinook" / "Chinook_Sqlite.sqlite"
    database = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    for table in from_sqlite.tables():
        rows = database.execute(f'SELECT * FROM "{table.removeprefix("bronze.s.")}"').fetchall()
        assert rows
        assert canonical_table(from_sqlite, table) == canonical_rows(rows), table
    database.close()


def test_postgres_and_that_both_are_one_shop(
    reference: Path, from_sqlite: asgard.Project, pg16: Server, pg_database: str, tmp_path: Path
) -> None:
    script = (reference / "sampledb" / "chinook" / "Chinook_PostgreSql.sql").read_text()
    pg16.execute(script.split("\\c chinook;")[1], pg_database)
    opened = project(tmp_path, postgres(pg16, pg_database), ["public.*"])
    ended = outcomes(opened)
    assert len(ended) == 11
    assert set(ended.values()) == {None}
    twins = {table.replace("_", ""): table for table in opened.tables()}
    with psycopg.connect(pg16.dsn(pg_database)) as connection:
        for table in opened.tables():
            relation = f"public.{table.removeprefix('bronze.s.')}"
            assert lake_rows(opened, table) == server_rows(connection, relation), table
    for table in from_sqlite.tables():
        rows = canonical_table(from_sqlite, table)
        assert as_national(rows) == canonical_table(opened, twins[table.lower()]), table
