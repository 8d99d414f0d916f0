"""A container of Azurite, for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.azure import AzureSource
from asgard.core.errors import QueryError, Refused, Unreachable
from asgard.testing.connectors import Harness
from tests.connectors.buckets import contract_harness
from tests.servers.object_stores import AZURE_KEY, new_container, shared_store


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    server = shared_store("azurite")
    config = server.azure_config(new_container(server), prefix="raw")
    bad = (
        ({**config, "container": "no-such-container"}, QueryError),
        ({**config, "prefix": "empty"}, QueryError),
        ({**config, "account_key": "d3Jvbmcga2V5IG9mIGEgdGVzdCBhY2NvdW50"}, Refused),
        ({**config, "endpoint_url": "http://127.0.0.1:9"}, Unreachable),
    )
    yield contract_harness(AzureSource, config, bad, (AZURE_KEY,))
