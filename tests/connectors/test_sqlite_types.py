"""SQLite's types, case by case: what arrives by itself, what as it is asked for, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.core.errors import DataError
from tests.connectors.databases import Database
from tests.connectors.sqlite_types import CASES, WISHED
from tests.connectors.type_pages import Case, Wished, told


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "types.sqlite")
    yield made
    made.connection.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.made} {case.name}")
def test_every_value_arrives_as_it_was(database: Database, case: Case) -> None:
    database.run(f"CREATE TABLE t (x {case.made})")
    for value in case.given:
        database.run("INSERT INTO t VALUES (?)", value)
    loaded = database.load("t")
    assert loaded.types == {"x": f"{case.arrow} {case.label}".strip()}
    assert told(row["x"] for row in loaded.rows) == told(case.wanted)


@pytest.mark.parametrize("wish", WISHED, ids=lambda wish: wish.word)
def test_types_that_are_asked_for(database: Database, wish: Wished) -> None:
    database.run("CREATE TABLE t (x)")
    for value, _ in wish.taken:
        database.run("INSERT INTO t VALUES (?)", value)
    options = {"columns": {"x": wish.word}}
    rows = database.load("t", options).rows
    assert told(row["x"] for row in rows) == told(value for _, value in wish.taken)
    for value, says in wish.refused:
        database.run("DELETE FROM t; INSERT INTO t VALUES (1)")
        database.run("UPDATE t SET x = ?", value)
        with pytest.raises(DataError, match=says) as caught:
            database.load("t", options)
        assert caught.value.where["column"] == "x"
