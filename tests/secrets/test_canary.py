"""Canaries for secrets in a project that is used in every way, well and badly: they turn up nowhere."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.secrets.key import new_key
from tests.cli.console import Console
from tests.secrets.ground import API_KEY, MASKING_KEY, PASSWORD, PERSON, Ground
from tests.servers.api import Api
from tests.servers.postgres import Server

KEYS = (
    "data_sources.shop.password",
    "data_sources.api.auth_token",
    "data_sources.shop",
    "data_sources",
    "masking_key",
)


@pytest.fixture
def ground(
    console: Console, pg16: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    store_key = new_key()
    monkeypatch.setenv("ASGARD_SECRET_KEY", store_key)
    monkeypatch.setenv("API_KEY", API_KEY)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with Api() as api:
        ground = Ground(console, pg16, api, store_key)
        ground.write()
        ground.asgard("secrets", "set", "pg/password", typed=PASSWORD)
        ground.asgard("secrets", "set", "masking_key", typed=MASKING_KEY)
        yield ground
        ground.close()


def look_everywhere(ground: Ground) -> None:
    """Every command that tells something of the project, its sources, tables and runs."""
    for words in (
        ("config", "validate"), ("check",), ("discover", "shop"), ("sample", "shop.public.people"),
        ("sample", "api.orders"), ("tables",), ("runs",), ("models",), ("checks",), ("secrets", "list"),
        ("secrets", "get", "pg/password"),
    ):  # fmt: skip
        ground.asgard(*words)
        ground.asgard(*words, "--json")
    for key in KEYS:
        ground.asgard("config", "explain", key)
        ground.asgard("config", "explain", key, "--json")
    ground.asgard("config", "schema")
    for run in json.loads(ground.asgard("runs", "--json").out):
        ground.asgard("runs", "show", str(run["run"]))
        ground.asgard("runs", "log", str(run["run"]))


def test_after_good_runs_no_canary_is_anywhere(ground: Ground, tmp_path: Path) -> None:
    ground.write(people=", mode: merge, primary_key: id, cursor: at, checks: [{unique: [id]}]")
    assert ground.asgard("run").code == 0
    assert ground.asgard("run", "--json").code == 0
    look_everywhere(ground)
    assert ground.asgard("secrets", "rotate").code == 0
    assert ground.hits(tmp_path) == []


def test_after_bad_runs_no_canary_is_anywhere(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.write(people=", checks: [{matches: {column: mail, pattern: never, on_fail: quarantine}}]")
    assert ground.asgard("run").code == 0  # all are set aside
    ground.asgard("tables", "quarantine", "people")
    ground.write(people=", checks: [{between: {column: id, max: 3}}]")
    assert ground.asgard("run", "--json").code == 4
    ground.write(people=", cursor: nowhere, mode: append")
    assert ground.asgard("run").code == 2
    ground.write()
    ground.change_password("another")
    assert ground.asgard("run").code == 3
    assert ground.asgard("run", "--json").code == 3
    monkeypatch.setenv("API_KEY", API_KEY + "-wrong")
    assert ground.asgard("run", "api").code == 3
    look_everywhere(ground)
    monkeypatch.setenv("ASGARD_SECRET_KEY", new_key())
    assert ground.asgard("run").code == 3
    ground.asgard("secrets", "delete", "pg/password")
    assert ground.asgard("run").code == 2
    assert ground.hits(tmp_path) == []


def test_a_crash_shows_no_canary(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        held = (PASSWORD, API_KEY, arguments)
        raise RuntimeError(f"a mistake with {len(held)} things at hand")

    monkeypatch.setattr("asgard.flow.ingest.standard_of", crash)
    assert ground.asgard("run").code == 70
    look_everywhere(ground)
    assert ground.hits(tmp_path) == []


def test_the_hunt_finds_what_there_is(ground: Ground, tmp_path: Path) -> None:
    """A hunt that finds nothing must be able to: here it is given something."""
    ground.write(mask="{}")
    assert ground.asgard("run").code == 0
    assert [hit for hit in ground.hits(tmp_path) if "values of" in hit]
    ground.asgard("secrets", "get", "pg/password", "--show")
    assert [hit for hit in ground.hits() if PASSWORD in hit]
    ground.said.clear()
    ground.asgard("query", "SELECT mail FROM bronze.shop.people LIMIT 1")
    assert PERSON in str(ground.hits())


def test_standard_input_that_is_no_text_is_not_quoted(ground: Ground) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(API_KEY.encode() + b"\xff"), "utf-8"))
        said = ground.console.asgard("secrets", "set", "x")
    assert (said.code, API_KEY in said.err) == (2, False)
