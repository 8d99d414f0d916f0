"""A shop that changes from day to day, for projects that one version writes and a later one opens.

Knows the project that both use, and what each day's rows are; nothing of Asgard.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

KEY = "gAZ2mKX0v9oTzqU4yqXb8i0kq2pQ5uJXg2mC3n7o1aA="
"""Of the store of secrets: a project that is published has nothing to hide."""
STORED = ("shop/path", "shop.db")

Day = Mapping[str, list[tuple[Any, ...]]]
"""What comes on one day, by table."""

FIRST_DAY: Day = {
    "orders": [(1, "2026-01-01 08:00:00", "10.50", "ann"), (2, "2026-01-01 09:00:00", "-1.00", "ben")],
    "visits": [(1, "2026-01-01 08:00:00"), (2, "2026-01-01 08:00:00")],
    "products": [("Ärmel", 3), ("Boot", None)],
}
SECOND_DAY: Day = {
    "orders": [(1, "2026-01-02 08:00:00", "12.25", "ann"), (3, "2026-01-02 09:00:00", "7.00", None)],
    "visits": [(3, "2026-01-02 10:00:00")],
    "products": [("Boot", 5), ("Cap", 1)],
}
THIRD_DAY: Day = {
    "orders": [(3, "2026-01-03 08:00:00", "8.00", "cid"), (4, "2026-01-03 09:00:00", "1.00", "dan")],
    "visits": [(4, "2026-01-03 11:00:00")],
    "products": [("Cap", 2)],
}
"""Orders that come again change their row; products are all there are."""


def live_a_day(folder: Path, day: Day) -> None:
    """Writes a day's rows into the shop's database."""
    with closing(sqlite3.connect(folder / "shop.db")) as shop, shop:
        shop.execute(
            "CREATE TABLE IF NOT EXISTS orders "
            "(id INTEGER PRIMARY KEY, changed TEXT NOT NULL, amount TEXT NOT NULL, customer TEXT)"
        )
        shop.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, seen TEXT NOT NULL)")
        shop.execute("CREATE TABLE IF NOT EXISTS products (name TEXT NOT NULL, stock INTEGER)")
        shop.execute("DELETE FROM products")
        shop.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", day["orders"])
        shop.executemany("INSERT INTO visits VALUES (?, ?)", day["visits"])
        shop.executemany("INSERT INTO products VALUES (?, ?)", day["products"])


def rows_after(*days: Day) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables of the lake have to hold after some days, sorted; the order of -1.00 is set aside."""
    orders = {row[0]: row for day in days for row in day["orders"] if not row[2].startswith("-")}
    visits = [row for day in days for row in day["visits"]]
    return {
        "bronze.shop.orders": sorted(orders.values()),
        "bronze.shop.visits": sorted(visits),
        "bronze.shop.products": sorted(days[-1]["products"]),
        "gold.customers": sorted((c, n) for c, n in _orders_by_customer(list(orders.values()))),
    }


def _orders_by_customer(orders: list[tuple[Any, ...]]) -> list[tuple[str, int]]:
    names = [str(order[3]) for order in orders if order[3] is not None]
    return [(name, names.count(name)) for name in set(names)]


def write_project(folder: Path, source_path: str = "shop.db") -> None:
    """Writes asgard.yml and the model."""
    document = {
        "version": 1,
        "name": "shop",
        "lake": {"location": "lake"},
        "data_sources": {
            "shop": {
                "type": "sqlite",
                "path": source_path,
                "tables": [
                    {
                        "name": "orders",
                        "mode": "merge",
                        "primary_key": "id",
                        "cursor": "changed",
                        "checks": [
                            {"matches": {"column": "amount", "pattern": "[0-9].*"}, "on_fail": "quarantine"}
                        ],
                    },
                    {"name": "visits", "mode": "append", "primary_key": "id", "cursor": "seen"},
                    {"name": "products"},
                ],
            }
        },
    }
    (folder / "asgard.yml").write_text(json.dumps(document, indent=1))
    (folder / "models/gold").mkdir(parents=True, exist_ok=True)
    (folder / "models/gold/customers.sql").write_text(
        "SELECT customer, count(*) AS orders FROM bronze.shop.orders\n"
        "WHERE customer IS NOT NULL GROUP BY ALL\n"
    )
