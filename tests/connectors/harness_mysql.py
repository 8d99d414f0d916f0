"""Two servers for the contract: every case is tried on MySQL, those about rows on MariaDB too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asgard.connectors.mysql import MysqlSource
from asgard.core.errors import AuthenticationError, ConfigError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.mysql import MysqlServer, shared_mysql

KIND = "mysql80"


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest, kind: str = KIND) -> Iterator[Harness]:
    server = shared_mysql(kind)
    database = server.create_database()
    server.execute(
        """
        CREATE TABLE orders (id int PRIMARY KEY, amount decimal(10, 2), note text, changed timestamp(6) NULL);
        INSERT INTO orders VALUES
          (1, 1.10, 'first', '2026-01-01 10:00:00'), (2, 20, NULL, '2026-01-01 10:00:01'),
          (3, 3.33, '', '2026-01-01 10:00:01');
        CREATE VIEW large_orders AS SELECT * FROM orders WHERE amount > 3;
        CREATE TABLE other (b bit(3));
        """,
        database,
    )
    ids = iter(range(4, 100))

    def add_rows() -> int:
        server.execute(f"INSERT INTO orders VALUES ({next(ids)}, 4, '', '2026-01-01 10:00:02')", database)
        return 1

    config = config_of(server, database)
    orders = Wanted("orders", {"columns": {"note": "text"}}, rows=3)
    yield Harness(
        name="mysql",
        connector=MysqlSource,
        config=config,
        stream=orders,
        bad_configs=(
            ({**config, "password": "wr0ng-canary"}, AuthenticationError),
            ({**config, "database": "shp"}, ConfigError),
            ({**config, "ssl_root_cert": None}, ConfigError),
            ({**config, "host": "localhost.invalid"}, Unreachable),
            ({**config, "port": 1}, Unreachable),
        ),
        cursor=CursorWanted(orders, "changed", add_rows, ("id",)),
        query="SELECT note, count(*) AS orders FROM orders GROUP BY note",
        secrets=(server.password, "wr0ng-canary"),
    )
    server.drop_database(database)


def config_of(server: MysqlServer, database: str) -> dict[str, Any]:
    """How to reach the server, verified in full."""
    return {
        "host": server.host,
        "port": server.port,
        "database": database,
        "username": server.user,
        "password": server.password,
        "ssl_mode": "verify-full",
        "ssl_root_cert": server.ca_file,
    }
