"""Vault by a small stand-in: all scenarios, and what only a stand-in can show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgard.core.errors import ConfigError, Unreachable
from asgard.secrets import vault as vault_module
from asgard.secrets.surroundings import Surroundings
from tests.secrets.vault_scenarios import *  # noqa: F403 the scenarios are this module's tests
from tests.secrets.vault_scenarios import by_role, read, refused
from tests.secrets.vault_stand_in import VaultStandIn


@pytest.fixture
def vault() -> Iterator[VaultStandIn]:
    with VaultStandIn() as server:
        yield server


def test_runs_one_after_the_other_sign_in_once(
    vault: VaultStandIn, surroundings: Surroundings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_role(vault, monkeypatch, 1)
    for _ in range(3):
        read(surroundings, f"{path}#password")
    assert (vault.logins, vault.renewals) == (1, 0)
    monkeypatch.setattr(vault_module.time, "monotonic", lambda real=vault_module.time.monotonic: real() + 0.6)
    read(surroundings, f"{path}#password")
    assert (vault.logins, vault.renewals) == (1, 1)


@pytest.mark.usefixtures("by_token")
def test_all_keys_of_a_secret_are_asked_for_once(
    vault: VaultStandIn, surroundings: Surroundings, path: str
) -> None:
    store = vault_module.Vault(surroundings)
    store.read(f"{path}#user")
    asked = len(vault.asked)
    store.read(f"{path}#password")
    assert len(vault.asked) == asked


def test_nobody_there_is_unreachable(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_module, "RETRIES", 0)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.any")
    assert refused(surroundings, "secret/a#b", Unreachable).where["vault"] == "http://127.0.0.1:9"


def test_without_credentials_it_is_said_which(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    assert "VAULT_ROLE_ID" in refused(surroundings, "secret/a#b", ConfigError).hint
