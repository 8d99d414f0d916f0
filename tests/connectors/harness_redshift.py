"""A stand-in for Redshift for the contract: the table is unloaded, to a bucket of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asgard.connectors.redshift import RedshiftSource
from asgard.core.errors import AuthenticationError, ConfigError, QueryError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, new_bucket
from tests.servers.redshift import ROLE, RedshiftFront

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10, 2), note varchar(40), changed timestamptz);
INSERT INTO orders VALUES
  (1, 1.10, 'first', '2026-01-01 10:00:00+00'), (2, 20, NULL, '2026-01-01 10:00:01+00'),
  (3, 3.33, '', '2026-01-01 10:00:01+00');
CREATE VIEW large_orders AS SELECT * FROM orders WHERE amount > 3;
CREATE TABLE places (id int, shape geometry);
"""


def bucket_config(front: RedshiftFront, **more: Any) -> dict[str, Any]:
    """The bucket's part of a configuration, over a new bucket."""
    return {
        "unload": f"s3://{new_bucket(front.store)}/spool",
        "iam_role": ROLE,
        "unload_rows": 0,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "region": "us-east-1",
        "s3_endpoint_url": front.store.url,
        **more,
    }


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest, unload_rows: int = 0) -> Iterator[Harness]:
    front: RedshiftFront = request.getfixturevalue("redshift")
    database = front.create_database()
    front.execute(ORDERS, database)
    ids = iter(range(4, 100))

    def add_rows() -> int:
        front.execute(f"INSERT INTO orders VALUES ({next(ids)}, 4, '', '2026-01-01 10:00:02+00')", database)
        return 1

    config = front.config(database, **bucket_config(front, unload_rows=unload_rows))
    mark = {
        "format": 1,
        "cursor": "changed",
        "type": "timestamp with time zone",
        "bound": "2999-01-01 00:00:00+00",
    }
    orders = Wanted("orders", {"columns": {"note": "text"}}, rows=3)
    yield Harness(
        name="redshift",
        connector=RedshiftSource,
        config=config,
        stream=orders,
        bad_configs=(
            ({**config, "password": "wr0ng-canary"}, AuthenticationError),
            ({**config, "database": "shp"}, ConfigError),
            ({**config, "ssl_mode": "require"}, ConfigError),
            ({**config, "schemas": ["publik"]}, ConfigError),
            ({**config, "unload": "s3://no-such-bucket/x"}, QueryError),
            ({**config, "port": 1}, Unreachable),
        ),
        cursor=CursorWanted(orders, "changed", add_rows, future=json.dumps(mark, sort_keys=True)),
        query="SELECT note, count(*) AS orders FROM orders WHERE note <> 'a\\\\b''c' GROUP BY note",
        secrets=(front.server.password, "wr0ng-canary", SECRET_KEY),
    )
    front.server.drop_database(database)
