"""HubSpot's stand-in for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors._api.cursor import Stand
from asgard.connectors.hubspot import HubspotSource
from asgard.core.errors import AuthenticationError, ConfigError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.hubspot import HubSpot


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    with HubSpot(limit=1000) as hubspot:
        for number in range(1, 8):
            hubspot.put("contacts", number, email=f"a{number}@example.com", firstname="A")
            hubspot.put("deals", number * 100, dealname=f"d{number}", amount="12.50")

        def add_rows() -> int:
            hubspot.put("deals", 5000, dealname="new", amount="1")
            hubspot.put("deals", 200, amount="2")
            return 2

        good = {"base_url": hubspot.url, "api_key": hubspot.key, "max_retries": 0, "rate_limit": 1000}
        yield Harness(
            name="hubspot",
            connector=HubspotSource,
            config=good,
            stream=Wanted("contacts", rows=7),
            cursor=CursorWanted(
                Wanted("deals", rows=7),
                cursor="hs_lastmodifieddate",
                add_rows=add_rows,
                primary_key=("id",),
                future=Stand("hs_lastmodifieddate", "9999-01-01T00:00:00Z").token,
            ),
            bad_configs=(
                ({**good, "api_key": f"{hubspot.key}x"}, AuthenticationError),
                ({**good, "base_url": "http://127.0.0.1:9"}, Unreachable),
                ({**good, "base_url": "ftp://127.0.0.1"}, ConfigError),
            ),
            secrets=(hubspot.key,),
        )
