"""What modes promise wherever it is looked at: deletes that are not seen, columns that go, other modes."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from asgard.api.application import create_app
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, run
from asgard.app.tables.resync import resync
from asgard.core.events import Event, Kind
from tests.cli.console import Console

TABLE = "bronze.shop.orders"
MODES: dict[str, dict[str, Any]] = {
    "replace": {"mode": "replace"},
    "append": {"mode": "append", "cursor": "id", "primary_key": "id"},
    "merge": {"mode": "merge", "primary_key": "id"},
    "merge by a cursor": {"mode": "merge", "primary_key": "id", "cursor": "changed"},
    "history": {"mode": "history", "primary_key": "id"},
    "history by a cursor": {"mode": "history", "primary_key": "id", "cursor": "changed"},
}


def execute(console: Console, *statements: str) -> None:
    with closing(sqlite3.connect(console.folder / "shop.db")) as connection, connection:
        for sql in statements:
            connection.execute(sql)


def project(console: Console, table: dict[str, Any], *more: dict[str, Any]) -> None:
    tables = [{"name": "orders", **table}, *more]
    console.project({"shop": {"type": "sqlite", "path": "shop.db", "tables": tables}})


@pytest.fixture
def shop(console: Console) -> Console:
    execute(
        console,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT, changed INTEGER)",
        "INSERT INTO orders VALUES (1, 'new', 1), (2, 'new', 1)",
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO people VALUES (1, 'ann')",
    )
    return console


def asked(console: Console, sql: str, *arguments: str) -> list[Any]:
    said = console.asgard("query", sql, "--json", *arguments)
    assert said.code == 0, said
    return [tuple(row.values()) for row in said.events]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", ["RENAME COLUMN state TO status", "DROP COLUMN state"])
def test_a_column_that_was_renamed_or_dropped_loses_no_old_value(
    shop: Console, mode: str, change: str
) -> None:
    project(shop, {**MODES[mode], "schema_contract": "evolve"})
    assert shop.asgard("run").code == 0
    version = shop.asgard("tables", "show", TABLE, "--json").json["versions"][0]["version"]
    execute(shop, f"ALTER TABLE orders {change}", "UPDATE orders SET changed = 2 WHERE id = 2")
    said = shop.asgard("run")
    assert said.code == 0, said
    old = f"SELECT id, state FROM {TABLE} WHERE state IS NOT NULL ORDER BY id"
    assert asked(shop, old, "--at", str(version)) == [(1, "new"), (2, "new")]
    if mode in ("append", "history", "history by a cursor"):
        assert asked(shop, old) == [(1, "new"), (2, "new")], "old versions of rows keep what they said"


@pytest.mark.parametrize("mode", MODES)
def test_without_a_contract_a_column_that_went_stops_the_load_and_nothing_is_lost(
    shop: Console, mode: str
) -> None:
    project(shop, MODES[mode])
    assert shop.asgard("run").code == 0
    before = asked(shop, f"SELECT id, state FROM {TABLE} ORDER BY id")
    execute(shop, "ALTER TABLE orders DROP COLUMN state")
    said = shop.asgard("run")
    if mode == "replace":
        assert said.code == 0, "what comes is the whole table"
        return
    assert said.code == 4
    assert "state" in said.err
    assert asked(shop, f"SELECT id, state FROM {TABLE} ORDER BY id") == before


@pytest.mark.parametrize("mode", ["replace", "append", "merge", "merge by a cursor"])
def test_a_history_is_kept_when_its_mode_is_changed(shop: Console, mode: str) -> None:
    project(shop, MODES["history"])
    shop.asgard("run")
    execute(shop, "UPDATE orders SET state = 'paid', changed = 2 WHERE id = 1")
    shop.asgard("run")
    versions = f"SELECT id, state, _asgard_valid_to IS NULL FROM {TABLE} ORDER BY 1, 2"
    there = asked(shop, versions)
    assert len(there) == 3
    project(shop, MODES[mode])
    said = shop.asgard("run")
    assert said.code == 2, said
    assert f"the table holds a history, and mode: {MODES[mode]['mode']} would lose it" in said.err
    assert asked(shop, versions) == there
    project(shop, {**MODES[mode], "as": "orders_now"})
    assert shop.asgard("run").code == 0


def test_deletes_that_are_not_seen_are_told_by_table_run_and_api(shop: Console) -> None:
    seen = {
        "not seen": MODES["merge by a cursor"],
        "seen": {**MODES["merge by a cursor"], "detect_deletes": "keys"},
        "marked": {**MODES["merge by a cursor"], "soft_delete": "state"},
    }
    for said, how in seen.items():
        project(shop, how)
        assert shop.asgard("run").code == 0
        assert shop.asgard("tables", "show", TABLE, "--json").json["deletes"] == said
        assert f"rows that the source deletes are {said}" in shop.asgard("tables", "show", TABLE).out
        newest = shop.asgard("runs", "--json").json[0]
        told = shop.asgard("runs", "show", newest["run"]).out
        assert ("rows that the source deletes stay" in told) == (said == "not seen")
        app = create_app(shop.folder / "asgard.yml", worker=False)
        with closing(TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 5000))) as client, client:
            assert client.get(f"/tables/{TABLE}").json()["deletes"] == said
            assert client.get(f"/runs/{newest['run']}").json()["steps"][0]["deletes"] == said


def test_a_resync_of_one_table_stops_no_run_of_the_others(shop: Console) -> None:
    """While a run loads people, orders are to be read anew: the run goes on, the next one reads them."""
    project(shop, MODES["merge by a cursor"], {"name": "people", "mode": "replace"})
    assert shop.asgard("run").code == 0
    file = shop.folder / "asgard.yml"
    begun, asked_for = threading.Event(), threading.Event()

    def hold(event: Event) -> None:
        if event.kind is Kind.STEP_PHASE and event.step == "bronze.shop.people" and not begun.is_set():
            begun.set()
            assert asked_for.wait(60)

    found: list[Any] = []
    runner = threading.Thread(target=lambda: found.append(run(Workspace.open(file), RunWish(), hold)))
    runner.start()
    assert begun.wait(60)
    assert resync(Workspace.open(file), TABLE) != []
    asked_for.set()
    runner.join(60)
    assert [(one.step, str(one.status)) for one in found[0].outcomes] == [
        (TABLE, "done"),
        ("bronze.shop.people", "done"),
    ]
    execute(shop, "DELETE FROM orders WHERE id = 1")
    summary = run(Workspace.open(file), RunWish(), lambda event: None)
    assert [one.rows_read for one in summary.outcomes] == [1, 1]
    assert asked(shop, f"SELECT id FROM {TABLE}") == [(2,)]
