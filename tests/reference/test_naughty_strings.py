"""The big list of naughty strings: as values, as names of columns and as names of tables."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from psycopg import sql

import asgard
from asgard.core.names import fold, lake_names
from tests.reference.project import outcomes, postgres, project
from tests.servers.postgres import Server

EVERY = 12
"""Each table is a load of its own: one string in so many becomes a table's name."""


@pytest.fixture(scope="module")
def strings(reference: Path) -> list[str]:
    found = json.loads((reference / "naughty-strings" / "blns.json").read_text())
    assert len(found) > 500
    return [str(string) for string in found]


def _same_by_scan_and_query(opened: asgard.Project, table: str, strings: list[str]) -> None:
    expected = dict(enumerate(strings))
    scanned = opened.table(table, backend="arrow")
    assert dict(zip(scanned["id"].to_pylist(), scanned["v"].to_pylist(), strict=True)) == expected
    queried = opened.query(f"SELECT id, v FROM {table} WHERE v = v || ''", backend="arrow")
    assert dict(zip(queried["id"].to_pylist(), queried["v"].to_pylist(), strict=True)) == expected


def test_values_from_files(strings: list[str], tmp_path: Path) -> None:
    with (tmp_path / "v.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "v"), *enumerate(strings)])
    records = [{"id": number, "v": string} for number, string in enumerate(strings)]
    for name, ascii_only in (("raw", False), ("escaped", True)):
        lines = [json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    (tmp_path / "whole.json").write_text(json.dumps(records), encoding="utf-8")
    tables = [
        {"name": "v_csv", "path": "v.csv"},
        {"name": "raw", "path": "raw.jsonl"},
        {"name": "escaped", "path": "escaped.jsonl"},
        {"name": "whole", "path": "whole.json"},
    ]
    opened = project(tmp_path / "p", {"type": "files", "path": str(tmp_path)}, tables)
    assert set(outcomes(opened).values()) == {None}
    for table in ("v_csv", "raw", "escaped", "whole"):
        _same_by_scan_and_query(opened, f"bronze.s.{table}", strings)


def test_values_and_keys_from_sqlite(strings: list[str], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "v.sqlite") as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", enumerate(strings))
        database.execute("CREATE TABLE keyed (v TEXT PRIMARY KEY, id INTEGER)")
        database.executemany(
            "INSERT OR IGNORE INTO keyed VALUES (?, ?)", ((s, i) for i, s in enumerate(strings))
        )
    database.close()
    tables = ["t", {"name": "keyed", "mode": "merge", "primary_key": "v"}]
    opened = project(tmp_path, {"type": "sqlite", "database": str(tmp_path / "v.sqlite")}, tables)
    for _ in range(2):  # the second load finds every key again
        assert set(outcomes(opened).values()) == {None}
    _same_by_scan_and_query(opened, "bronze.s.t", strings)
    keyed = opened.table("bronze.s.keyed", backend="arrow")
    assert sorted(keyed["v"].to_pylist()) == sorted(set(strings))


def test_values_and_keys_from_postgres(
    strings: list[str], pg16: Server, pg_database: str, tmp_path: Path
) -> None:
    with pg16.connect(pg_database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE keyed (v text PRIMARY KEY)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", list(enumerate(strings)))
        cursor.executemany("INSERT INTO keyed VALUES (%s)", [(string,) for string in set(strings)])
    tables = ["t", {"name": "keyed", "mode": "merge", "primary_key": "v"}]
    opened = project(tmp_path, postgres(pg16, pg_database), tables)
    for _ in range(2):
        assert set(outcomes(opened).values()) == {None}
    _same_by_scan_and_query(opened, "bronze.s.t", strings)
    keyed = opened.table("bronze.s.keyed", backend="arrow")
    assert sorted(keyed["v"].to_pylist()) == sorted(set(strings))


def test_lake_names_are_injective(strings: list[str]) -> None:
    names = lake_names(strings)
    assert list(names) == list(dict.fromkeys(strings))
    assert len({fold(name) for name in names.values()}) == len(names)
    assert lake_names(reversed(strings), names) == {name: names[name] for name in reversed(strings)}


def _columns_arrived(table: pa.Table, expected: dict[str, int]) -> None:
    """Every column has its own name in the metadata, and the number that says which it was."""
    fields = [field for field in table.schema if b"asgard.name" in (field.metadata or {})]
    (row,) = table.to_pylist()
    got = {field.metadata[b"asgard.name"].decode(): row[field.name] for field in fields}
    assert {name: got[name] for name in expected} == expected
    assert len({fold(field.name) for field in table.schema}) == len(table.schema)


def _sqlite_keeps_apart(strings: list[str]) -> list[str]:
    """SQLite takes ASCII letters of either case for the same, and may not end in an empty name."""
    kept: dict[str, str] = {}
    for string in strings:
        if string:
            kept.setdefault("".join(c.lower() if c.isascii() else c for c in string), string)
    return list(kept.values())


def test_columns_of_sqlite(strings: list[str], tmp_path: Path) -> None:
    names = _sqlite_keeps_apart(strings)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    with sqlite3.connect(tmp_path / "c.sqlite") as database:
        database.execute(f"CREATE TABLE t ({', '.join(name + ' INTEGER' for name in quoted)})")
        database.execute(f"INSERT INTO t VALUES ({', '.join(map(str, range(len(names))))})")
    database.close()
    opened = project(tmp_path, {"type": "sqlite", "database": str(tmp_path / "c.sqlite")}, ["t"])
    assert outcomes(opened) == {"bronze.s.t": None}
    expected = {name: number for number, name in enumerate(names)}
    _columns_arrived(opened.table("bronze.s.t", backend="arrow"), expected)
    assert outcomes(opened) == {"bronze.s.t": None}
    _columns_arrived(opened.table("bronze.s.t", backend="arrow"), expected)


def _postgres_takes(strings: list[str]) -> list[str]:
    return [s for s in dict.fromkeys(strings) if 0 < len(s.encode()) <= 63]


def test_columns_of_postgres(strings: list[str], pg16: Server, pg_database: str, tmp_path: Path) -> None:
    names = _postgres_takes(strings)
    with pg16.connect(pg_database) as connection:
        columns = sql.SQL(", ").join(sql.SQL("{} int").format(sql.Identifier(name)) for name in names)
        connection.execute(sql.SQL("CREATE TABLE t ({})").format(columns))
        values = sql.SQL(", ").join(map(sql.Literal, range(len(names))))
        connection.execute(sql.SQL("INSERT INTO t VALUES ({})").format(values))
    opened = project(tmp_path, postgres(pg16, pg_database), ["t"])
    assert outcomes(opened) == {"bronze.s.t": None}
    expected = {name: number for number, name in enumerate(names)}
    _columns_arrived(opened.table("bronze.s.t", backend="arrow"), expected)


def _tables_arrived(opened: asgard.Project, names: list[str]) -> None:
    """Each source's table became one table of the lake: its only row is its own name."""
    ended = outcomes(opened)
    assert {step: str(error) for step, error in ended.items() if error} == {}
    tables = opened.tables()
    assert len(tables) == len(names)
    assert len({fold(table) for table in tables}) == len(tables)
    found: list[Any] = []
    for table in tables:
        found += opened.table(table, backend="arrow")["v"].to_pylist()
    assert sorted(found) == sorted(names)


def test_tables_of_sqlite(strings: list[str], tmp_path: Path) -> None:
    names = [name for name in _sqlite_keeps_apart(strings) if not name.startswith("sqlite_")][::EVERY]
    with sqlite3.connect(tmp_path / "n.sqlite") as database:
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            database.execute(f"CREATE TABLE {quoted} (v TEXT)")
            database.execute(f"INSERT INTO {quoted} VALUES (?)", (name,))
    database.close()
    opened = project(tmp_path, {"type": "sqlite", "database": str(tmp_path / "n.sqlite")}, ["*"])
    _tables_arrived(opened, names)


def test_tables_of_postgres(strings: list[str], pg16: Server, pg_database: str, tmp_path: Path) -> None:
    names = _postgres_takes(strings)[::EVERY]
    with pg16.connect(pg_database) as connection:
        for name in names:
            table = sql.Identifier(name)
            connection.execute(sql.SQL("CREATE TABLE {} (v text)").format(table))
            connection.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(table), (name,))
    opened = project(tmp_path, postgres(pg16, pg_database), ["public.*"])
    _tables_arrived(opened, names)
