"""A SQLite database for the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.sqlite import SqliteSource
from asgard.core.errors import ConfigError, DataError
from asgard.testing.connectors import CursorWanted, Harness, Wanted


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    file = folder / "shop.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript(
        """
        CREATE TABLE orders
          (id INTEGER PRIMARY KEY AUTOINCREMENT, amount DECIMAL(10, 2), note TEXT, changed TEXT);
        INSERT INTO orders (amount, note, changed) VALUES
          (1.10, 'first', '2026-01-01 10:00:00'), (20, NULL, '2026-01-01 10:00:01'),
          (3.33, '', '2026-01-01 10:00:01');
        CREATE VIEW large_orders AS SELECT * FROM orders WHERE amount > 3;
        CREATE TABLE other (x);
        """
    )

    def add_rows() -> int:
        with connection:
            connection.execute("INSERT INTO orders (amount, changed) VALUES (4, '2026-01-01 10:00:02')")
        return 1

    (folder / "text.sqlite").write_text("no database at all, though long enough to be one " * 100)
    orders = Wanted("orders", rows=3)
    future = '{"cursor": "changed", "format": 1, "kind": "text", "value": "2999-01-01 00:00:00"}'
    yield Harness(
        name="sqlite",
        connector=SqliteSource,
        config={"database": str(file)},
        stream=orders,
        bad_configs=(
            ({"database": str(folder / "shp.sqlite")}, ConfigError),
            ({"database": str(folder)}, ConfigError),
            ({"database": str(folder / "text.sqlite")}, DataError),
        ),
        cursor=CursorWanted(orders, "changed", add_rows, ("id",), future),
        query="SELECT note, count(*) AS orders FROM orders GROUP BY note",
    )
    connection.close()
