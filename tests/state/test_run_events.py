"""Events of runs in the database that machines share, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.state.database import Database
from asgard.state.postgres_database import PostgresDatabase
from asgard.state.run_events import (
    LONGEST_LINE,
    MOST_LINES,
    NAME,
    SCHEMA,
    SCHEMA_VERSION,
    RunEventStore,
)
from asgard.state.sqlite_database import SqliteDatabase
from tests.state.stores import server_at


@pytest.fixture
def store(address: dict[str, Any]) -> Iterator[RunEventStore]:
    database: Database
    if "file" in address:
        database = SqliteDatabase(Path(address["file"]).with_name("events.db"), NAME)
    else:
        database = PostgresDatabase(server_at(address), NAME)
    database.migrate(SCHEMA, SCHEMA_VERSION)
    yield RunEventStore(database)
    database.close()


def test_lines_come_once_and_in_order(store: RunEventStore) -> None:
    store.add("one", 1, ["a", "b"])
    store.add("one", 1, ["a", "b"])  # whether the first try was committed was not known
    store.add("one", 3, ["c"])
    store.add("other", 1, ["x"])
    assert store.after("one", 0, 10) == [(1, "a"), (2, "b"), (3, "c")]
    assert store.after("one", 1, 1) == [(2, "b")]
    assert store.after("none", 0, 10) == []


def test_a_run_may_not_say_everything(store: RunEventStore) -> None:
    store.add("one", MOST_LINES, ["the last", "one too many"])
    store.add("two", 1, ["x" * (LONGEST_LINE + 1), "y"])
    assert store.after("one", 0, 10) == [(MOST_LINES, "the last")]
    assert store.after("two", 0, 10) == [(2, "y")]


def test_runs_are_listed_by_what_they_told_first_and_last(store: RunEventStore) -> None:
    for number in range(3):
        store.add(f"run-{number}", 1, [f"first {number}", "between"])
        store.add(f"run-{number}", 3, [f"last {number}"])
    store.add("begins", 1, ["began"])
    store.add("headless", 7, ["its beginning is forgotten"])
    told = {run: (first, last) for run, first, last in store.runs(10, None)}
    assert told == {"begins": ("began", "began")} | {
        f"run-{number}": (f"first {number}", f"last {number}") for number in range(3)
    }
    assert len(store.runs(2, None)) == 2
    assert store.runs(10, 0.0) == []


def test_what_is_too_long_is_told_without_its_lists(store: RunEventStore) -> None:
    steps = [{"step": "x" * 1000}] * 200
    store.add("one", 1, [json.dumps({"event": "run.finished", "status": "done", "steps": steps})])
    assert [json.loads(line) for _, line in store.after("one", 0, 10)] == [
        {"event": "run.finished", "status": "done"}
    ]


def test_what_is_old_is_forgotten(store: RunEventStore) -> None:
    store.add("one", 1, ["a"])
    store.forget(1)
    assert store.after("one", 0, 10) == [(1, "a")]
    store.forget(-1)
    assert store.after("one", 0, 10) == []
