"""Every command once, as a newcomer meets it."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asgard.cli.main import COMMANDS
from tests.cli.console import Console


def _shop(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "shop.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.fixture
def shop(console: Console) -> Console:
    """A project over a small shop, with a model of it."""
    _shop(
        console.folder,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, city TEXT, amount INTEGER, changed INTEGER)",
        "INSERT INTO orders VALUES (1, 'Oslo', 10, 1), (2, 'Bergen', 20, 2), (3, 'Oslo', -5, 2)",
    )
    orders: dict[str, Any] = {
        "name": "orders",
        "mode": "merge",
        "cursor": "changed",
        "checks": [{"non_negative": "amount", "on_fail": "quarantine"}, {"unique": "id"}],
    }
    console.project({"shop": {"type": "sqlite", "database": "shop.db", "tables": [orders]}})
    console.write(
        "models/gold/revenue.sql",
        "/*\ndescription: revenue by city\nchecks: [{unique: city}]\n*/\n"
        "SELECT city, sum(amount) AS revenue FROM bronze.shop.orders GROUP BY city\n",
    )
    return console


def test_help_names_every_command(console: Console) -> None:
    said = console.asgard("--help")
    assert said.code == 0
    assert set(COMMANDS) <= set(re.findall(r"^  (\w+)", said.out, re.MULTILINE))
    for command in COMMANDS:
        assert console.asgard(command, "--help").code == 0


def test_a_run_loads_builds_and_sets_aside(shop: Console) -> None:
    run = shop.asgard("run")
    assert run.code == 0, run
    assert "1 set aside" in run.err
    assert shop.rows("gold.revenue", "city") == [
        {"city": "Bergen", "revenue": 20},
        {"city": "Oslo", "revenue": 10},
    ]
    (aside,) = shop.asgard("tables", "quarantine", "bronze.shop.orders", "--json").json
    assert (aside["id"], aside["_asgard_reason"]) == (3, "non_negative(amount)")
    tables = {table["table"]: table for table in shop.asgard("tables", "--json").json}
    assert tables["bronze.shop.orders"]["quarantined"] == 1
    assert tables["gold.revenue"]["rows"] == 2


def test_a_second_run_has_nothing_new_for_its_models(shop: Console) -> None:
    shop.asgard("run")
    said = shop.asgard("run", "gold.revenue", "--json")
    (finished,) = [event for event in said.events if event["event"] == "step.finished"]
    assert finished["status"] == "unchanged"
    assert shop.asgard("run", "gold.revenue", "--full-refresh", "--json").events[-1]["status"] == "done"


def test_selectors_choose_streams_models_and_what_models_read(shop: Console) -> None:
    def steps(*selectors: str) -> list[str]:
        events = shop.asgard("run", *selectors, "--json").events
        return [event["step"] for event in events if event["event"] == "step.finished"]

    assert steps("shop") == ["bronze.shop.orders"]
    assert steps("shop.orders") == ["bronze.shop.orders"]
    assert steps("bronze.shop.orders") == ["bronze.shop.orders"]
    assert steps("gold.*") == ["gold.revenue"]
    assert steps("+gold.revenue") == ["bronze.shop.orders", "gold.revenue"]
    said = shop.asgard("run", "shop.order")
    assert (said.code, "nothing matches" in said.err) == (2, True)


def test_a_model_whose_upstream_failed_is_skipped(shop: Console) -> None:
    shop.asgard("run")
    _shop(shop.folder, "ALTER TABLE orders DROP COLUMN city")
    said = shop.asgard("run", "--json")
    ends = {e["step"]: e["status"] for e in said.events if e["event"] == "step.finished"}
    assert ends == {"bronze.shop.orders": "failed", "gold.revenue": "skipped"}
    assert said.code == 4


def test_time_travel_and_undo(shop: Console) -> None:
    shop.asgard("run", "shop")
    _shop(shop.folder, "UPDATE orders SET amount = 99, changed = 3 WHERE id = 1")
    shop.asgard("run", "shop")
    newest = shop.asgard("tables", "show", "orders", "--json").json["versions"]
    select = "SELECT amount FROM bronze.shop.orders WHERE id = 1"
    assert shop.asgard("query", select, "--json").events == [{"amount": 99}]
    before = newest[1]["version"]
    assert shop.asgard("query", select, "--at", str(before), "--json").events == [{"amount": 10}]
    assert shop.asgard("tables", "undo", "bronze.shop.orders", "--yes").code == 0
    assert shop.asgard("query", select, "--json").events == [{"amount": 10}]
    shop.asgard("run", "shop")
    assert shop.asgard("query", select, "--json").events == [{"amount": 99}], "what was undone is read again"


def test_resync_reads_the_table_anew(shop: Console) -> None:
    shop.asgard("run", "shop")
    _shop(shop.folder, "DELETE FROM orders WHERE id = 2")
    shop.asgard("run", "shop")
    assert len(shop.rows("bronze.shop.orders")) == 2, "a cursor does not see deletes"
    said = shop.asgard("resync", "bronze.shop.orders")
    assert said.code == 0, said
    assert len(shop.rows("bronze.shop.orders")) == 2, "the rows stay until the next run"
    shop.asgard("run", "shop")
    assert [row["id"] for row in shop.rows("bronze.shop.orders")] == [1]


def test_checks_look_at_tables_as_they_are(shop: Console) -> None:
    shop.asgard("run")
    found = shop.asgard("checks", "--json")
    assert found.code == 0
    assert {(one["table"], one["passed"]) for one in found.json} == {
        ("bronze.shop.orders", True),
        ("gold.revenue", True),
    }
    tighter = json.loads((shop.folder / "asgard.yml").read_text())
    tighter["data_sources"]["shop"]["tables"][0]["checks"] = [{"between": {"column": "amount", "max": 15}}]
    shop.project(tighter["data_sources"])
    said = shop.asgard("checks", "bronze.shop.orders")
    assert (said.code, "1 of 2" in said.out) == (4, True), said


def test_discover_and_sample_look_without_writing(shop: Console) -> None:
    (stream,) = shop.asgard("discover", "shop", "--json").json
    assert (stream["name"], stream["primary_key"]) == ("orders", ["id"])
    rows = shop.asgard("sample", "shop.orders", "--rows", "2", "--json").json
    assert [row["id"] for row in rows] == [1, 2]
    assert not (shop.folder / "data").exists()


def test_past_runs_are_listed_shown_and_have_a_log(shop: Console) -> None:
    shop.asgard("run")
    (run,) = shop.asgard("runs", "--json").json
    assert run["status"] == "done"
    steps = shop.asgard("runs", "show", run["run"], "--json").json
    assert [step["step"] for step in steps] == ["bronze.shop.orders", "gold.revenue"]
    events = shop.asgard("runs", "log", run["run"]).events
    assert [events[0]["event"], events[-1]["event"]] == ["run.started", "run.finished"]
    assert shop.asgard("runs", "log", "../../etc/passwd").code == 2


def test_query_streams_json_lines_csv_and_a_table(shop: Console) -> None:
    shop.asgard("run", "shop")
    select = "SELECT id, city FROM bronze.shop.orders ORDER BY id"
    assert shop.asgard("query", select, "--csv").out.split() == ["id,city", "1,Oslo", "2,Bergen"]
    assert shop.asgard("query", select, "--json").events[0] == {"id": 1, "city": "Oslo"}
    assert "the first 1 rows" in shop.asgard("query", select, "--limit", "1").err
    for wrong in ("DROP TABLE x", "SELECT * FROM read_csv('asgard.yml')", "SELECT 1; SELECT 2", "SELEC"):
        assert shop.asgard("query", wrong).code in (2, 3)
    missing = shop.asgard("query", "SELECT * FROM bronze.shop.order")
    assert (missing.code, "bronze.shop.order" in missing.err) == (2, True)


def test_config_validates_explains_and_prints_its_schema(
    shop: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.asgard("config", "validate").code == 0
    assert "properties" in shop.asgard("config", "schema").json
    monkeypatch.setenv("SHOP_DB", "shop.db")
    shop.project({"shop": {"type": "sqlite", "database": "${SHOP_DB}", "tables": [{"name": "orders"}]}})
    said = shop.asgard("config", "explain", "data_sources.shop.database")
    assert said.code == 0
    assert "SHOP_DB" in said.out


def test_init_writes_a_project_that_runs(console: Console) -> None:
    _shop(console.folder, "CREATE TABLE orders (id INTEGER PRIMARY KEY, at TIMESTAMP)",
          "INSERT INTO orders VALUES (1, '2026-01-01')")  # fmt: skip
    assert console.asgard("init", "shop.db").code == 0
    assert console.asgard("init", "shop.db").code == 2, "what is there is not overwritten"
    assert console.asgard("run").code == 0
    assert len(console.rows("bronze.shop.orders")) == 1


def test_init_keeps_a_password_out_of_the_project(console: Console) -> None:
    said = console.asgard("init", "postgres://me:canary-77@127.0.0.1:1/nowhere")
    assert said.code == 0
    assert "canary-77" not in said.out + said.err + (console.folder / "asgard.yml").read_text()
    secrets = console.folder / ".env"
    assert "canary-77" in secrets.read_text()
    assert secrets.stat().st_mode & 0o077 == 0
    assert ".env" in (console.folder / ".gitignore").read_text()


def test_a_data_block_is_shown_or_loaded(console: Console) -> None:
    console.write("t.csv", "id,v\n1,a\n2,b\n")
    console.write("block.yml", "data:\n  type: csv\n  source: t.csv\n  target_column: v\n")
    shown = console.asgard("run", "--config", "block.yml", "--json").json
    assert shown["rows"] == [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
    assert set(shown["schema"]) == {"id", "v"}
    loaded = console.asgard("run", "--config", "block.yml", "--to", "bronze.mine.t")
    assert loaded.code == 0, loaded
    console.project({})
    assert console.rows("bronze.mine.t") == [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
    console.write("block.yml", "data:\n  type: csv\n  source: t.csv\n  target_column: w\n")
    assert console.asgard("run", "--config", "block.yml").code in (2, 4)
