"""Every test that asks for `address` or `database` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.state.database import Database
from tests.state.stores import STORES, database_at


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "sqlite":
        yield {"file": str(tmp_path / "queue.db")}
        return
    server = request.getfixturevalue("pg16")
    name = server.create_database()
    yield {
        "host": server.host, "port": server.port, "database": name, "username": server.user,
        "password": server.password, "ssl_mode": "disable",
    }  # fmt: skip
    server.drop_database(name)


@pytest.fixture
def database(address: dict[str, Any]) -> Iterator[Database]:
    with database_at(address) as opened:
        yield opened
