"""What commands import: libraries that they have no use for cost every run half a second and 50 MB each."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

HEAVY = {"pyarrow", "duckdb", "deltalake", "httpx", "psycopg", "sqlglot", "pandas", "polars", "numpy"}
PROJECT = """
data_sources:
  shop:
    type: sqlite
    connection: {database: shop.sqlite}
    tables:
      - name: orders
        primary_key: id
        checks:
          - not_null: [id, name]
          - between: {column: amount, min: 0}
          - matches: {column: name, pattern: n.*}
  files:
    type: files
    tables: [{name: lines, path: lines.csv}, {name: items, path: items.jsonl}]
"""
LINES = """id,price,day,at,flag
1,1.50,2026-01-01,2026-01-01T00:00:00Z,true
2,,,,
"""
ITEMS = """{"id": 1, "tags": [1], "price": 1.5, "ok": true}
{"id": 2, "name": "x"}
"""
ROWS = [(1, "n1", 1.5, b"x"), (2, "n2", None, None)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run once; its sources have values of every class, and nulls."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "asgard.yml").write_text(PROJECT)
    (folder / "lines.csv").write_text(LINES)
    (folder / "items.jsonl").write_text(ITEMS)
    with closing(sqlite3.connect(folder / "shop.sqlite")) as database, database:
        database.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, name TEXT, amount REAL, picture BLOB)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", ROWS)
    loaded(command("asgard run"), folder)
    return folder


@pytest.mark.parametrize("words", ["import asgard", "asgard --help", "asgard --version"])
def test_starting_up_loads_nothing_heavy(words: str) -> None:
    assert loaded(words if words == "import asgard" else command(words)) & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        ("asgard run", {"pandas", "polars", "sqlglot", "psycopg", "httpx", "rich"}),
        ("asgard tables --json", {"pandas", "polars", "sqlglot", "psycopg", "httpx", "duckdb", "rich"}),
        ("asgard runs --json", HEAVY | {"pydantic", "rich"}),
    ],
)
def test_a_command_loads_only_what_it_needs(project: Path, words: str, spared: set[str]) -> None:
    assert loaded(command(words), project) & spared == set()


def command(words: str) -> str:
    """Python that runs one command of the console."""
    return (
        f"import sys; sys.argv = {words.split()!r}\n"
        "from asgard.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )


def loaded(code: str, folder: Path | None = None) -> set[str]:
    """The modules that are there once a process of its own has run the code."""
    ask = "\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + ask], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(found)
