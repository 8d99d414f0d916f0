"""`asgard doctor`: each kind of damage is found, named with its next step, and nothing is changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asgard.app.project import doctor
from tests.cli.console import Console, Said


@pytest.fixture
def shop(console: Console) -> Console:
    """A project with one table, loaded once."""
    with closing(sqlite3.connect(console.folder / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL NOT NULL)")
        connection.execute("INSERT INTO orders VALUES (1, 1.5), (2, 2.5)")
    console.project({"shop": {"type": "sqlite", "path": "shop.db", "tables": ["orders"]}})
    assert console.asgard("run").code == 0
    return console


def data_files(console: Console) -> list[Path]:
    return sorted((console.folder / "data/lakehouse/bronze/shop/orders").glob("*.parquet"))


def graded(said: Said, grade: str) -> list[dict[str, str]]:
    return [finding for finding in said.json if finding["grade"] == grade]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_sound_project_has_nothing_to_mend_and_is_left_as_it_was(shop: Console) -> None:
    before = contents(shop.folder / "data")
    said = shop.asgard("doctor", "--deep", "--json")
    assert said.code == 0
    assert graded(said, "failure") == []
    assert {finding["about"] for finding in said.json} >= {
        "asgard",
        "project",
        "history",
        "lake",
        "source shop",
    }
    assert "is done" in next(f["what"] for f in said.json if f["about"] == "history")
    assert contents(shop.folder / "data") == before
    assert shop.asgard("doctor").out.splitlines()[-1].startswith("0 to mend")


def test_a_lost_data_file_is_named_with_its_table(shop: Console) -> None:
    lost = data_files(shop)[0]
    lost.unlink()
    said = shop.asgard("doctor", "--json")
    (finding,) = graded(said, "failure")
    assert said.code == 4
    assert finding["about"] == "table bronze.shop.orders"
    assert lost.name in finding["what"]
    assert "resync" in finding["hint"]


def test_a_data_file_that_was_cut_is_found_by_looking_deep(shop: Console) -> None:
    cut = data_files(shop)[0]
    cut.write_bytes(cut.read_bytes()[:-20])
    assert shop.asgard("doctor").code == 0
    said = shop.asgard("doctor", "--deep", "--json")
    assert said.code == 4
    assert cut.name in graded(said, "failure")[0]["what"]


def test_a_log_that_is_no_log_is_told_and_the_rest_is_examined_all_the_same(shop: Console) -> None:
    log = shop.folder / "data/lakehouse/bronze/shop/orders/_delta_log"
    for file in log.iterdir():
        file.write_text("{")
    said = shop.asgard("doctor", "--json")
    assert [finding["about"] for finding in graded(said, "failure")] == ["table bronze.shop.orders"]
    assert any(finding["about"] == "source shop" for finding in graded(said, "good"))


def test_a_source_that_is_gone_is_told_with_its_own_exit_code_unless_nobody_asks(shop: Console) -> None:
    (shop.folder / "shop.db").unlink()
    said = shop.asgard("doctor", "--json")
    assert [finding["about"] for finding in graded(said, "failure")] == ["source shop"]
    assert said.code == shop.asgard("check").code != 0
    assert shop.asgard("doctor", "--offline").code == 0


def test_every_mistake_of_the_project_file_is_told(shop: Console) -> None:
    (shop.folder / "asgard.yml").write_text(
        "version: 1\ndata_sources: {shop: {type: sqlit}}\nlake: {fromat: delta}\n"
    )
    said = shop.asgard("doctor", "--json")
    assert said.code == 2
    (finding,) = graded(said, "failure")
    assert "sqlit" in finding["what"]
    assert "fromat" in finding["what"]


def test_secrets_that_lie_open_are_named_without_being_shown(shop: Console) -> None:
    server = {"host": "db.example.org", "database": "d", "username": "u", "password": "hunter2-in-the-open"}
    document = json.loads((shop.folder / "asgard.yml").read_text())
    document["data_sources"]["erp"] = {"type": "postgres", "connection": server, "tables": ["t"]}
    (shop.folder / "asgard.yml").write_text(json.dumps(document, indent=1))
    (shop.folder / ".env").write_text("A=b\n")
    (shop.folder / ".env").chmod(0o644)
    said = shop.asgard("doctor", "--offline", "--json")
    told = " ".join(finding["what"] for finding in graded(said, "warning"))
    assert "asgard.yml:" in told
    assert "data_sources.erp.connection.password" in told
    assert ".env can be read by others" in told
    assert "ssl_mode: require does not verify that db.example.org" in told
    assert "hunter2" not in said.out


def test_a_project_that_refers_to_its_secrets_is_not_warned(shop: Console) -> None:
    server = {"host": "db.example.org", "database": "d", "username": "u", "ssl_mode": "verify-full"}
    shop.project(
        {
            "erp": {
                "type": "postgres",
                "connection": {**server, "password": "${ERP_PASSWORD:-x}"},
                "tables": ["t"],
            }
        }
    )
    said = shop.asgard("doctor", "--offline", "--json")
    assert [f for f in graded(said, "warning") if f["about"] in ("secrets", "source erp")] == []


def test_many_small_files_and_a_full_disk_are_told(shop: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MANY_SMALL_FILES", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Usage(5))
    told = " ".join(finding["what"] for finding in graded(shop.asgard("doctor", "--json"), "warning"))
    assert "files are small" in told
    assert "0.0 GB are free" in told


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_run_that_failed_last_is_pointed_at(shop: Console) -> None:
    (shop.folder / "shop.db").unlink()
    assert shop.asgard("run").code != 0
    told = [
        f for f in graded(shop.asgard("doctor", "--offline", "--json"), "warning") if f["about"] == "history"
    ]
    assert "is failed" in told[0]["what"]
    assert told[0]["hint"].startswith("asgard runs show ")
