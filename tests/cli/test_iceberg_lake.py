"""Projects whose lake is Iceberg's, as a person works with them."""

from __future__ import annotations

import builtins
import socket
from typing import Any

import pytest
from pyiceberg.catalog import load_catalog

from tests.cli.console import Console
from tests.servers.iceberg_rest import CLIENT, SECRET, TOKEN, shared_iceberg_rest

DAYS = {
    "name": "day",
    "mode": "append",
    "checks": [{"between": {"column": "n", "min": 0, "on_fail": "quarantine"}}],
}
SOURCES = {"in": {"type": "files", "path": ".", "tables": [DAYS]}}
ICEBERG = {"format": "iceberg"}


def days(console: Console, *values: int) -> None:
    """A run for each value."""
    for value in values:
        console.write("day.csv", f"n\n{value}\n")
        said = console.asgard("run")
        assert said.code == 0, said.err


def numbers(console: Console, table: str = "bronze.in.day", *options: str) -> list[int]:
    said = console.asgard("query", f"SELECT n FROM {table}", "--json", *options)
    assert said.code == 0, said.err
    return sorted(row["n"] for row in said.events)


def rest(**more: Any) -> dict[str, Any]:
    server = shared_iceberg_rest()
    return {"format": "iceberg", "catalog": server.config(server.catalog(), **more)}


@pytest.mark.parametrize("catalog", ["sqlite", "rest"])
def test_from_the_first_run_to_upkeep(console: Console, catalog: str) -> None:
    console.project(SOURCES, lake=ICEBERG if catalog == "sqlite" else rest())
    console.write("models/silver/twice.sql", "SELECT n, 2 * n AS m FROM bronze.in.day")
    days(console, *range(8), -1)
    assert numbers(console) == numbers(console, "silver.twice") == list(range(8))
    tables = {one["table"]: one for one in console.asgard("tables", "--json").json}
    assert tables["bronze.in.day"]["quarantined"] == 1
    (done,) = console.asgard("maintain", "day", "--json").json
    assert (done["files_before"] >= 8, done["files_after"]) == (True, 1)
    assert numbers(console) == list(range(8))
    days(console, 9)
    assert console.asgard("tables", "undo", "bronze.in.day", "--yes").code == 0
    assert numbers(console) == list(range(8))
    assert numbers(console, "bronze.in.day", "--at", "1") == [0]
    days(console, 10)
    assert numbers(console) == [*range(8), 10]


def test_an_environment_beside_production_is_promoted(console: Console) -> None:
    console.project(SOURCES, lake=ICEBERG)
    console.write("models/silver/twice.sql", "SELECT n, 2 * n AS m FROM bronze.in.day")
    days(console, 1, 2)
    console.write("asgard.dev.yml", "beside: true\n")
    console.write("models/silver/twice.sql", "SELECT n, 3 * n AS m FROM bronze.in.day")
    assert "silver.twice" in console.asgard("plan", "--env", "dev").out
    assert console.asgard("run", "--env", "dev").code == 0
    assert console.asgard("diff", "silver.twice", "dev:silver.twice").code == 1
    assert console.asgard("promote", "dev", "--yes").code == 0
    assert console.asgard("query", "SELECT max(m) AS m FROM silver.twice", "--json").events == [{"m": 6}]


def test_an_environment_does_not_share_a_server_with_production(console: Console) -> None:
    console.project(SOURCES, lake=rest())
    console.write("models/silver/twice.sql", "SELECT n FROM bronze.in.day")
    days(console, 1)
    console.write("asgard.dev.yml", "beside: true\n")
    said = console.asgard("plan", "--env", "dev")
    assert said.code == 2
    assert "no catalog of its own" in said.err


def test_a_position_that_was_lost_is_told_and_begun_anew(console: Console) -> None:
    console.project(SOURCES, lake=ICEBERG)
    days(console, 1, 2)
    uri = f"sqlite:///{console.folder}/data/lakehouse/catalog.db"
    handle = load_catalog("asgard", type="sql", uri=uri).load_table(("bronze", "in", "day"))
    first = handle.metadata.snapshots[0].snapshot_id
    handle.manage_snapshots().rollback_to_snapshot(first).commit()
    console.write("day.csv", "n\n3\n")
    said = console.asgard("run")
    assert said.code == 4
    assert "resync" in said.err + said.out
    assert console.asgard("resync", "bronze.in.day").code == 0
    days(console, 3)
    assert numbers(console) == [3]


@pytest.mark.parametrize(
    ("catalog", "code", "what"),
    [
        ({"credential": f"{CLIENT}:wrong"}, 3, "does not know us"),
        ({"credential": None, "token": "wrong"}, 3, "does not know us"),
        ({"uri": "http://127.0.0.1:{port}/x"}, 5, "does not answer"),
    ],
)
def test_a_catalog_that_cannot_be_used(
    console: Console, catalog: dict[str, Any], code: int, what: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    lake = rest()
    lake["catalog"] |= {key: value and value.replace("{port}", port) for key, value in catalog.items()}
    lake["catalog"] = {key: value for key, value in lake["catalog"].items() if value}
    console.project(SOURCES, lake=lake)
    console.write("day.csv", "n\n1\n")
    for command in (["tables"], ["doctor", "--offline"]):
        said = console.asgard(*command)
        assert said.code == code, (command, said)
        assert what in said.out + said.err
        assert SECRET not in said.out + said.err


def test_a_token_works_and_is_shown_nowhere(console: Console) -> None:
    console.project(
        SOURCES, lake=rest() | {"catalog": rest()["catalog"] | {"token": TOKEN, "credential": None}}
    )
    days(console, 1)
    assert numbers(console) == [1]
    for key in ("lake", "lake.catalog", "lake.catalog.token", "lake.catalog.uri"):
        said = console.asgard("config", "explain", key)
        assert said.code == 0
        assert TOKEN not in said.out
    said = console.asgard("doctor")
    assert TOKEN not in said.out
    assert "lake.catalog.token is written out" in said.out


def test_without_the_library_the_install_line_is_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("asgard.lake.iceberg"):
            raise ModuleNotFoundError("No module named 'pyiceberg'")
        return whole(name, *rest)

    console.project(SOURCES, lake=ICEBERG)
    monkeypatch.setattr(builtins, "__import__", without)
    said = console.asgard("tables")
    assert said.code == 2
    assert "pip install 'asgard-platform[iceberg]'" in said.err


def test_formats_do_not_mix(console: Console) -> None:
    console.project(SOURCES)
    days(console, 1)
    console.project(SOURCES, lake=ICEBERG)
    said = console.asgard("tables")
    assert (said.code, "tables of Delta" in said.err) == (2, True)
    assert not (console.folder / "data/lakehouse/catalog.db").exists()
