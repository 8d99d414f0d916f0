"""Projects that earlier versions wrote are opened, and go on where those left off. Promise 10."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from asgard.app.config.project import load_project
from asgard.app.documents.sinks import sinks
from tests.cli.console import Console
from tests.upgrade.make_golden import GOLDEN
from tests.upgrade.market import FILE as MARKET
from tests.upgrade.market import live_a_market_day, market_after, versions_of_prices
from tests.upgrade.shop import FIRST_DAY, KEY, SECOND_DAY, THIRD_DAY, Day, live_a_day, rows_after

PROJECTS = sorted(GOLDEN.glob("*.tar.xz"))
MARKETS = [path for path in PROJECTS if path.name >= "2026-11-third"]
"""Those with a market beside the shop."""
of_markets = pytest.mark.parametrize(
    "old", MARKETS, indirect=True, ids=lambda path: path.name.removesuffix(".tar.xz")
)
WITHOUT_STATE_OF_A_SERVICE = {"2026-11-first"}
"""Written when there were no users, no queue and no secrets yet."""


@pytest.fixture(params=PROJECTS, ids=lambda path: path.name.removesuffix(".tar.xz"))
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A golden project in the console's folder; its name."""
    file: Path = request.param
    monkeypatch.setenv("ASGARD_SECRET_KEY", KEY)
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
    return file.name.removesuffix(".tar.xz")


@pytest.fixture
def console(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Console:
    """A person in the folder of the project that an old version wrote."""
    return Console(tmp_path, monkeypatch, capsys)


def assert_lake(console: Console, *days: Day, at: str = "") -> None:
    for table, rows in rows_after(*days).items():
        found = [tuple(row.values()) for row in console.rows(table)] if not at else _at(console, table, at)
        assert sorted(found, key=repr) == sorted(rows, key=repr), table


def live_the_third_day(console: Console) -> None:
    live_a_day(console.folder, THIRD_DAY)
    if has_market(console):
        live_a_market_day(console.folder, 2)


def has_market(console: Console) -> bool:
    return (console.folder / MARKET).exists()


def assert_market(console: Console, days: int) -> None:
    hidden = {"_asgard_valid_from", "_asgard_valid_to"}
    for table, rows in market_after(days).items():
        of = f"(SELECT * FROM {table} WHERE _asgard_valid_to IS NULL)" if "prices" in table else table
        found = [tuple(v for k, v in row.items() if k not in hidden) for row in console.rows(of)]
        assert sorted(found, key=repr) == sorted(rows, key=repr), table
    assert len(console.rows("bronze.market.prices")) == versions_of_prices(days)


def _at(console: Console, table: str, version: str) -> list[tuple[object, ...]]:
    said = console.asgard("query", f"SELECT * FROM {table}", "--at", version, "--json")
    hidden = {"extracted_at", "_asgard_run_id"}
    return [tuple(v for k, v in row.items() if k not in hidden) for row in said.events]


def test_there_are_projects_of_earlier_versions() -> None:
    assert len(PROJECTS) >= 3


def test_tables_are_read_now_and_as_they_were(console: Console) -> None:
    assert_lake(console, FIRST_DAY, SECOND_DAY)
    assert_lake(console, FIRST_DAY, at="1")
    if has_market(console):
        assert_market(console, 2)


def test_a_load_goes_on_from_the_old_position(console: Console) -> None:
    live_the_third_day(console)
    said = console.asgard("run", "--json")
    assert said.code == 0, said
    assert_lake(console, FIRST_DAY, SECOND_DAY, THIRD_DAY)
    if has_market(console):
        assert_market(console, 3)


def test_the_last_load_of_the_old_version_is_taken_back_and_read_again(console: Console) -> None:
    assert console.asgard("tables", "undo", "bronze.shop.orders", "--yes").code == 0
    rows = [tuple(row.values()) for row in console.rows("bronze.shop.orders")]
    assert rows == rows_after(FIRST_DAY)["bronze.shop.orders"]
    assert console.asgard("run").code == 0
    assert_lake(console, FIRST_DAY, SECOND_DAY)


def test_rows_that_were_set_aside_are_shown_with_their_reason(console: Console) -> None:
    said = console.asgard("tables", "quarantine", "bronze.shop.orders", "--json")
    assert {(row["id"], row["amount"], row["_asgard_reason"]) for row in said.json} == {
        (2, "-1.00", "matches(amount)")
    }


def test_the_history_of_runs_and_their_logs_are_shown(console: Console) -> None:
    runs = console.asgard("runs", "--json").json
    assert [run["status"] for run in runs] == ["done"] * len(runs)
    assert len(runs) >= 2
    assert console.asgard("runs", "log", runs[0]["run"]).code == 0
    assert console.asgard("doctor", "--deep", "--json").code == 0


def test_users_tokens_jobs_and_secrets_are_still_there(console: Console, old: str) -> None:
    if old in WITHOUT_STATE_OF_A_SERVICE:
        assert console.asgard("jobs", "--json").json["jobs"] == []
        return
    assert console.asgard("secrets", "get", "shop/path", "--show").out.strip() == "shop.db"
    assert [user["user"] for user in console.asgard("users", "--json").json["users"]] == ["ann"]
    assert [token["name"] for token in console.asgard("tokens", "list", "--json").json["tokens"]] == ["ci"]
    assert console.asgard("audit", "verify").code == 0
    live_a_day(console.folder, THIRD_DAY)
    assert console.asgard("worker", "--until-idle", "--no-clock").code == 0
    rows = [tuple(row.values()) for row in console.rows("bronze.shop.visits")]
    assert rows == rows_after(FIRST_DAY, SECOND_DAY, THIRD_DAY)["bronze.shop.visits"]


def lose_and_restore(console: Console, old: str) -> None:
    """All of the state is lost, and what lies beside the tables."""
    backup = console.asgard("backup", f"{console.folder.parent}/{old} backups/", "--json").json["backup"]
    shutil.rmtree(console.folder / ".asgard")
    for place in console.folder.glob("lake/**/_asgard"):
        shutil.rmtree(place)
    said = console.asgard("restore", backup, "--json")
    assert said.code == 0, said
    assert {table["standing"] for table in said.json["tables"]} == {"as it was"}
    assert all("lost" not in table for table in said.json["tables"])


def test_loads_go_on_where_the_old_version_left_off_after_a_restore(console: Console, old: str) -> None:
    lose_and_restore(console, old)
    live_the_third_day(console)
    said = console.asgard("run", "--json")
    assert said.code == 0, said
    assert_lake(console, FIRST_DAY, SECOND_DAY, THIRD_DAY)
    if has_market(console):
        assert_market(console, 3)


def test_users_tokens_jobs_and_secrets_are_there_after_a_restore(console: Console, old: str) -> None:
    lose_and_restore(console, old)
    test_users_tokens_jobs_and_secrets_are_still_there(console, old)


@of_markets
def test_rows_that_drift_set_aside_and_the_load_before_it_are_there(console: Console) -> None:
    said = console.asgard("tables", "quarantine", "bronze.market.weights", "--json")
    assert [(row["id"], row["n"]) for row in said.json] == [(3, 30)]
    assert console.asgard("tables", "undo", "bronze.market.prices", "--yes").code == 0
    assert len(console.rows("bronze.market.prices")) == versions_of_prices(1)
    assert console.asgard("run", "market").code == 0
    assert_market(console, 2)


@of_markets
def test_an_environment_of_the_old_version_is_built_on_and_promoted(console: Console) -> None:
    wanted = [{"customer": "ann", "orders": 1, "first": 1}]
    sql = "SELECT customer, orders, first FROM gold.customers"
    said = console.asgard("query", sql, "--env", "dev", "--json")
    assert said.events == wanted
    assert "first" not in console.rows("gold.customers")[0]
    assert console.asgard("run", "--env", "dev").code == 0
    assert console.asgard("promote", "dev", "--yes").code == 0
    assert console.rows("gold.customers") == wanted


@of_markets
def test_suites_schedules_and_documents_are_still_there(console: Console) -> None:
    assert "prices" in console.asgard("suites").out
    assert len(console.asgard("suites", "validations", "--json").json) == 1
    assert console.asgard("suites", "run", "daily").code == 0
    assert len(console.asgard("suites", "validations", "--json").json) == 2
    (nightly,) = [one for one in console.asgard("schedules", "--json").json if one["schedule"] == "nightly"]
    assert nightly["paused"] is True
    assert [sink["name"] for sink in sinks(load_project(console.folder), None, 10).items] == ["exports"]
