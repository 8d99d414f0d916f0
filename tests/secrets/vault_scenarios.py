"""What a Vault must give and refuse, whichever one stands there: a test module brings the fixture `vault`."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any, Protocol

import pytest

from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Sealed
from asgard.secrets.surroundings import Surroundings
from asgard.secrets.vault import Vault

CANARY = "c4n4ry-v4ult-51ce"


class Served(Protocol):
    """A Vault that a test can set up."""

    url: str
    root_token: str

    def write(self, path: str, data: dict[str, Any]) -> None: ...
    def delete(self, path: str) -> None: ...
    def policy(self, name: str, *prefixes: str) -> None: ...
    def token(self, policy: str, seconds: float) -> str: ...
    def role(self, policy: str, seconds: float) -> tuple[str, str]: ...
    def revoke_all(self) -> None: ...
    def seal(self) -> None: ...


@pytest.fixture
def by_token(vault: Served, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token)


@pytest.fixture
def path(vault: Served) -> str:
    """A secret of two keys that only this test knows, beside one that it may not read."""
    path = f"secret/team/{uuid.uuid4().hex}"
    vault.write(path, {"user": "reader", "password": CANARY})
    vault.policy("reads", path.replace("secret/", "secret/data/", 1))
    return path


def by_role(vault: Served, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    role, secret = vault.role("reads", seconds)
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_ROLE_ID", role)
    monkeypatch.setenv("VAULT_SECRET_ID", secret)


def read(surroundings: Surroundings, name: str) -> str:
    return Vault(surroundings).read(name).get_secret_value()


def refused(surroundings: Surroundings, name: str, kind: type[AsgardError]) -> AsgardError:
    """The error, of that very class, without any secret in it."""
    with pytest.raises(kind) as caught:
        read(surroundings, name)
    assert type(caught.value) is kind
    assert CANARY not in str(caught.value.as_dict())
    assert "hvs." not in str(caught.value.as_dict())
    return caught.value


@pytest.mark.usefixtures("by_token")
def test_a_key_of_a_secret(surroundings: Surroundings, path: str) -> None:
    assert read(surroundings, f"{path}#password") == CANARY
    assert read(surroundings, f"/{path}/#user") == "reader"


@pytest.mark.usefixtures("by_token")
def test_an_engine_of_version_1_and_values_that_are_no_text(
    vault: Served, surroundings: Surroundings
) -> None:
    vault.write("old/shop", {"port": 5432, "blank": ""})
    assert read(surroundings, "old/shop#port") == "5432"
    assert read(surroundings, "old/shop#blank") == ""


@pytest.mark.usefixtures("by_token")
def test_of_one_key_the_name_may_be_left_out(vault: Served, surroundings: Surroundings) -> None:
    vault.write("secret/only", {"value": CANARY})
    assert read(surroundings, "secret/only") == CANARY


@pytest.mark.usefixtures("by_token")
def test_what_is_missing_is_a_mistake(vault: Served, surroundings: Surroundings, path: str) -> None:
    assert "has no secret secret/none" in refused(surroundings, "secret/none#a", ConfigError).what
    assert refused(surroundings, f"{path}#nokey", ConfigError).hint == "it has: password, user"
    assert "names none" in refused(surroundings, path, ConfigError).what
    assert "is an engine" in refused(surroundings, "secret#a", ConfigError).what
    vault.delete(path)
    assert "is deleted" in refused(surroundings, f"{path}#password", ConfigError).what


def test_a_token_that_ended_is_told_apart_from_one_that_may_not(
    vault: Served, surroundings: Surroundings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("secret/hidden", {"a": CANARY})
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", vault.token("reads", 2))
    assert read(surroundings, f"{path}#password") == CANARY
    assert "does not let us" in refused(surroundings, "secret/hidden#a", Refused).what
    time.sleep(2.2)
    assert "has expired" in refused(surroundings, f"{path}#password", AuthenticationError).what


def test_a_role_signs_in_renews_its_token_and_signs_in_anew(
    vault: Served, surroundings: Surroundings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_role(vault, monkeypatch, 2)
    until = time.monotonic() + 3.5
    while time.monotonic() < until:  # longer than any token lives
        assert read(surroundings, f"{path}#password") == CANARY
        time.sleep(0.3)
    vault.revoke_all()
    assert read(surroundings, f"{path}#password") == CANARY


def test_a_role_with_a_wrong_secret_id_is_refused(
    vault: Served, surroundings: Surroundings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_role(vault, monkeypatch, 60)
    monkeypatch.setenv("VAULT_SECRET_ID", CANARY)
    assert "VAULT_SECRET_ID" in refused(surroundings, f"{path}#password", AuthenticationError).what


@pytest.mark.usefixtures("by_token")
def test_a_sealed_vault_is_sealed(vault: Served, surroundings: Surroundings, path: str) -> None:
    vault.seal()
    error = refused(surroundings, f"{path}#password", Sealed)
    assert (error.retryable, error.exit_code) == (False, 5)
    assert error.where["vault"] == vault.url
