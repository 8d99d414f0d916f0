"""Vault by its own core: the same scenarios that the stand-in is tried with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.secrets.vault_scenarios import *  # noqa: F403 the scenarios are this module's tests
from tests.servers.vault import VaultServer, vault_server

pytestmark = pytest.mark.cluster


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with vault_server() as server:
        yield server
