"""A REST API on loopback for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors._api.cursor import Stand
from asgard.connectors.rest import RestSource
from asgard.core.errors import AuthenticationError, ConfigError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.api import Api, Reply

SECRET = "canary-7f31c9"


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    with Api() as api:
        rows = [{"id": number, "price": number / 4, "tags": ["a"]} for number in range(7)]

        def orders(asked: Api.Asked) -> Reply:
            if asked.headers.get("authorization") != f"Bearer {SECRET}":
                return Reply(401, {"error": f"no such token: {asked.headers.get('authorization')}"})
            page = int(asked.query.get("page", "1"))
            more = f"/v1/orders?page={page + 1}" if page * 3 < len(rows) else None
            return Reply(200, {"data": rows[page * 3 - 3 : page * 3], "next": more})

        changes = [{"id": n, "changed": f"2024-01-0{1 + n // 2}T00:00:00Z"} for n in range(6)]

        def changed(asked: Api.Asked) -> Reply:
            since = asked.query.get("since", "")
            return Reply(200, [row for row in changes if str(row["changed"]) >= since])

        def add_rows() -> int:
            changes.extend({"id": n, "changed": "2024-02-01T00:00:00.5Z"} for n in (10, 11))
            return 2

        api.on("/v1/orders", orders)
        api.on("/v1/changes", changed)
        good = {"base_url": f"{api.url}/v1", "auth_token": SECRET, "max_retries": 0}
        yield Harness(
            name="rest",
            connector=RestSource,
            config=good,
            stream=Wanted("orders", rows=7),
            cursor=CursorWanted(
                Wanted("changes", {"incremental": {"param": "since"}}, rows=6),
                cursor="changed",
                add_rows=add_rows,
                primary_key=("id",),
                future=Stand("changed", "9999-01-01T00:00:00Z").token,
            ),
            bad_configs=(
                ({**good, "auth_token": f"{SECRET}x"}, AuthenticationError),
                ({**good, "base_url": "http://127.0.0.1:9"}, Unreachable),
                ({**good, "base_url": "http://169.254.169.254"}, ConfigError),
                ({**good, "base_url": "ftp://127.0.0.1"}, ConfigError),
            ),
            secrets=(SECRET,),
            lists_streams=False,
        )
