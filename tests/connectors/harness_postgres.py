"""A PostgreSQL server for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asgard.connectors.postgres import PostgresSource
from asgard.core.errors import AuthenticationError, ConfigError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.postgres import Server


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    server: Server = request.getfixturevalue("quiet_postgres")
    database = server.create_database()
    server.execute(
        """
        CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10, 2), note text, changed timestamptz);
        INSERT INTO orders VALUES
          (1, 1.10, 'first', '2026-01-01 10:00:00'), (2, 20, NULL, '2026-01-01 10:00:01'),
          (3, 3.33, '', '2026-01-01 10:00:01');
        CREATE VIEW large_orders AS SELECT * FROM orders WHERE amount > 3;
        CREATE TABLE other (x xid);
        """,
        database,
    )
    ids = iter(range(4, 100))

    def add_rows() -> int:
        server.execute(f"INSERT INTO orders VALUES ({next(ids)}, 4, '', '2026-01-01 10:00:02')", database)
        return 1

    config: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "database": database,
        "username": server.user,
        "password": server.password,
        "ssl_mode": "disable",
    }
    orders = Wanted("orders", {"columns": {"note": "text"}}, rows=3)
    yield Harness(
        name="postgres",
        connector=PostgresSource,
        config=config,
        stream=orders,
        bad_configs=(
            ({**config, "password": "wr0ng-canary"}, AuthenticationError),
            ({**config, "database": "shp"}, ConfigError),
            ({**config, "ssl_mode": "require"}, ConfigError),
            ({**config, "schemas": ["publik"]}, ConfigError),
            ({**config, "port": 1}, Unreachable),
        ),
        cursor=CursorWanted(orders, "changed", add_rows),
        query="SELECT note, count(*) AS orders FROM orders GROUP BY note",
        secrets=(server.password, "wr0ng-canary"),
    )
    server.drop_database(database)
