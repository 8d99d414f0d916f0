"""Secrets that are exchanged while a process runs: the next run has them, and so has one that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.app.project.workspace import Workspace
from asgard.app.runs import runs
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.core.errors import AuthenticationError
from asgard.core.events import Event, Kind
from asgard.secrets.key import new_key
from tests.cli.console import Console
from tests.secrets.ground import API_KEY, MASKING_KEY, PASSWORD, Ground
from tests.servers.api import Api
from tests.servers.postgres import Server

NEW = "an0ther-c4n4ry"


@pytest.fixture
def ground(console: Console, pg16: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setenv("ASGARD_SECRET_KEY", new_key())
    monkeypatch.setenv("API_KEY", API_KEY)
    with Api() as api:
        ground = Ground(console, pg16, api, "")
        ground.write()
        ground.asgard("secrets", "set", "pg/password", typed=PASSWORD)
        ground.asgard("secrets", "set", "masking_key", typed=MASKING_KEY)
        yield ground
        ground.close()


def did(workspace: Workspace) -> tuple[Summary, list[Event]]:
    told: list[Event] = []
    return run(workspace, RunWish(("shop",)), told.append), told


def test_the_next_run_of_the_same_process_has_the_new_secret(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(ground.console.folder)
    assert did(workspace)[0].exit_code == 0
    ground.change_password(NEW)
    ground.asgard("secrets", "set", "pg/password", typed=NEW)
    monkeypatch.setattr(runs, "JUST_OPENED_SECONDS", 0.0)
    summary, told = did(workspace)
    assert summary.exit_code == 0
    assert Kind.RETRIED not in {event.kind for event in told}


def test_a_run_that_is_refused_looks_once_more(ground: Ground) -> None:
    workspace = Workspace.open(ground.console.folder)
    ground.change_password(NEW)
    ground.asgard("secrets", "set", "pg/password", typed=NEW)
    summary, told = did(workspace)
    assert summary.exit_code == 0
    assert [event.data["error"]["type"] for event in told if event.kind is Kind.RETRIED] == [
        "AuthenticationError"
    ]


def test_with_the_same_secret_nothing_is_tried_again(ground: Ground) -> None:
    workspace = Workspace.open(ground.console.folder)
    ground.change_password(NEW)
    log = Path(ground.server.folder, "log")
    before = log.read_text(errors="replace").count(f'password authentication failed for user "{ground.role}"')
    summary, told = did(workspace)
    assert isinstance(summary.outcomes[0].error, AuthenticationError)
    after = log.read_text(errors="replace").count(f'password authentication failed for user "{ground.role}"')
    assert (after - before, Kind.RETRIED in {event.kind for event in told}) == (1, False)


def test_looking_at_tables_asks_no_store(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ground.asgard("run", "shop").code == 0
    monkeypatch.delenv("ASGARD_SECRET_KEY")
    for words in (("tables",), ("runs",), ("query", "SELECT count(*) FROM bronze.shop.people")):
        assert ground.asgard(*words).code == 0
    assert ground.asgard("run").code == 2
