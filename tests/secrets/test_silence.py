"""A store of secrets that does not answer stops the runs of the sources that use it, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.app.config.project import load_project
from asgard.app.jobs.schedules import schedules_of
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.app.sources.sources import check_sources
from asgard.core.errors import AsgardError, Refused, Unreachable
from asgard.flow.retry import retrying
from asgard.secrets import vault
from tests.secrets.vault_stand_in import VaultStandIn

FOLDER = "from-the-vault"


@pytest.fixture
def store(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultStandIn]:
    """A Vault, and two sources: one has its folder and its description from there."""
    monkeypatch.setattr(vault, "RETRIES", 0)
    monkeypatch.setattr(retrying, "__defaults__", ((0.0,),))
    for name in ("plain", FOLDER):
        (project / name).mkdir()
        (project / name / "orders.csv").write_text("id,email\n1,a@example.com\n2,b@example.com\n")
    with VaultStandIn() as store:
        monkeypatch.setenv("VAULT_ADDR", store.url)
        monkeypatch.setenv("VAULT_TOKEN", store.root_token)
        store.write("secret/shop", {"folder": FOLDER, "key": "k" * 32})
        write(project)
        yield store


def write(project: Path, **top: Any) -> None:
    table = {"name": "orders", "path": "orders.csv"}
    document = {
        "version": 1,
        **top,
        "data_sources": {
            "vaulted": {"type": "files", "path": "${vault:secret/shop#folder}", "frequency": "daily",
                        "tables": [table]},
            "plain": {"type": "files", "path": "plain", "tables": [table]},
        },
    }  # fmt: skip
    (project / "asgard.yml").write_text(json.dumps(document))


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")


def ran(project: Path, *selectors: str) -> Summary:
    return run(Workspace.open(project), RunWish(selectors), lambda event: None)


def statuses(summary: Summary) -> dict[str, str]:
    return {outcome.step: str(outcome.status) for outcome in summary.outcomes}


def test_the_others_are_loaded(project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    assert statuses(ran(project, "plain")) == {"bronze.plain.orders": "done"}
    both = ran(project)
    assert statuses(both) == {"bronze.vaulted.orders": "failed", "bronze.plain.orders": "done"}
    (error,) = [outcome.error for outcome in both.outcomes if outcome.error is not None]
    assert isinstance(error, Unreachable)
    assert error.where["key"] == "data_sources.vaulted.path"
    assert both.exit_code == Unreachable.exit_code


def test_a_store_that_answers_again_is_asked_again_in_the_same_run(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    workspace = Workspace.open(project)
    monkeypatch.setattr("asgard.app.project.workspace.ASKED_JUST_NOW_SECONDS", 0.0)
    with pytest.raises(Unreachable):
        workspace.source("vaulted")
    monkeypatch.setenv("VAULT_ADDR", store.url)
    workspace.source("vaulted").close()
    assert statuses(ran(project)) == {"bronze.vaulted.orders": "done", "bronze.plain.orders": "done"}


def test_a_secret_that_may_not_be_read_is_as_silent(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.nobody")
    summary = ran(project)
    assert statuses(summary) == {"bronze.vaulted.orders": "failed", "bronze.plain.orders": "done"}
    assert any(isinstance(outcome.error, Refused) for outcome in summary.outcomes)


def test_what_the_file_says_is_known_without_the_store(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    opened = load_project(project)
    assert [table.name for table in opened.sources["vaulted"].tables] == ["orders"]
    assert list(schedules_of(opened)) == ["vaulted/daily"]
    tried = {one.source: one for one in check_sources(Workspace(opened), (), lambda event: None)}
    assert (tried["plain"].error, tried["vaulted"].type) == (None, "files")
    assert isinstance(tried["vaulted"].error, Unreachable)


def test_mistakes_of_the_file_are_told_all_the_same(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    file = project / "asgard.yml"
    file.write_text(file.read_text().replace('"path": "orders.csv"', '"pth": "orders.csv"'))
    with pytest.raises(AsgardError, match="pth"):
        load_project(project)


def test_without_the_masking_key_what_is_masked_waits_and_nothing_comes_in_clear(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, masking_key="${vault:secret/shop#key}")
    file = project / "asgard.yml"
    document = json.loads(file.read_text())
    shutil.copytree(project / "plain", project / "open")
    masked = {"type": "files", "path": "plain",
              "tables": [{"name": "orders", "path": "orders.csv", "mask": {"email": "hash"}}]}  # fmt: skip
    open_ = {"type": "files", "path": "open", "tables": [{"name": "orders", "path": "orders.csv"}]}
    file.write_text(json.dumps({**document, "data_sources": {"masked": masked, "unmasked": open_}}))
    silence(monkeypatch)
    assert statuses(ran(project)) == {"bronze.masked.orders": "failed", "bronze.unmasked.orders": "done"}
    assert [str(name) for name in Workspace.open(project, with_sources=False).lake.tables()] == [
        "bronze.unmasked.orders"
    ]
    monkeypatch.setenv("VAULT_ADDR", store.url)
    assert set(statuses(ran(project)).values()) == {"done"}


def test_a_secret_of_the_whole_project_stops_it(
    project: Path, store: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, name="${vault:secret/shop#folder}")
    silence(monkeypatch)
    with pytest.raises(Unreachable) as caught:
        load_project(project)
    assert caught.value.where["key"] == "name"
