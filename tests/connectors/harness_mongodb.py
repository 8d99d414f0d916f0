"""A MongoDB server for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from asgard.connectors.mongodb import MongoSource
from asgard.core.errors import AuthenticationError, QueryError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.mongodb import MongoServer


def config_of(server: MongoServer, name: str, **more: Any) -> dict[str, Any]:
    """A working configuration."""
    return {
        "host": server.host,
        "port": server.port,
        "database": name,
        "username": server.user,
        "password": server.password,
        "ssl_mode": "disable",
    } | more


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    server: MongoServer = request.getfixturevalue("mongodb")
    with server.database() as database:
        database["orders"].insert_many(
            {
                "_id": i,
                "amount": Decimal128(amount),
                "note": note,
                "changed": datetime(2026, 1, 1, 10, 0, i, tzinfo=UTC),
            }
            for i, amount, note in ((1, "1.10", "first"), (2, "20", None), (3, "3.33", ""))
        )
        database["other"].insert_one({"x": 1})
        ids = iter(range(4, 60))

        def add_rows() -> int:
            id = next(ids)
            changed = datetime(2026, 1, 1, 10, 0, id, tzinfo=UTC)
            database["orders"].insert_one({"_id": id, "amount": Decimal128("4"), "changed": changed})
            return 1

        config = config_of(server, database.name)
        quick = {**config, "connection_timeout": 1}
        orders = Wanted("orders", {"flatten": 1, "columns": {"changed": "timestamptz"}}, rows=3)
        future = '{"format": 1, "cursor": "changed", "bound": ["date", "32472144000000"], "collection": null}'
        yield Harness(
            name="mongodb",
            connector=MongoSource,
            config=config,
            stream=orders,
            bad_configs=(
                ({**config, "password": "wr0ng-canary"}, AuthenticationError),
                ({**config, "database": database.name[:-1]}, QueryError),
                ({**quick, "port": 1}, Unreachable),
                (
                    {"url": f"mongodb://asgard:wr0ng-canary@{server.host}:{server.port}/x"},
                    AuthenticationError,
                ),
            ),
            cursor=CursorWanted(orders, "changed", add_rows, ("_id",), future),
            query='{"aggregate": "orders", "pipeline": [{"$group": {"_id": "$note", "n": {"$sum": 1}}}]}',
            secrets=(server.password, "wr0ng-canary"),
        )
