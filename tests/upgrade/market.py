"""What later versions keep besides a shop: a history, deletes, drift, an environment, suites, schedules.

Knows the project's further parts, and what each day's rows are; nothing of Asgard.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

FILE = "market.db"
PRICES = ([("apple", 1), ("pear", 2)], [("apple", 3), ("plum", 4)], [("apple", 3), ("pear", 5)])
"""All there are, on each of three days: what changes or goes ends, and begins again."""
MEMBERS = (
    [(1, "2026-01-01", "ann", None), (2, "2026-01-01", "ben", None)],
    [(1, "2026-01-02", "ann", "2026-01-02"), (3, "2026-01-02", "cid", None)],
    [(1, "2026-01-03", "ann", None), (2, "2026-01-03", "ben", "2026-01-03")],
)
"""What changed on each day; who has an end is gone."""
READINGS: tuple[list[tuple[Any, ...]], ...] = (
    [(1, 10)],
    [(2, 20, None), (3, 30, "kg")],
    [(4, 40, None), (5, 50, "t")],
)
"""On the second day there is another column: in one table it is added, in the other its rows go aside."""

SUITE = {
    "name": "prices",
    "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "name"}}],
}
PROJECT: dict[str, Any] = {
    "schedules": {"nightly": {"run": ["shop"], "every": "0 2 * * *"}},
    "schema_contract": {"columns": "evolve"},
}
SOURCE: dict[str, Any] = {
    "type": "sqlite",
    "path": FILE,
    "tables": [
        {"name": "prices", "mode": "history", "primary_key": "name"},
        {
            "name": "members",
            "mode": "merge",
            "primary_key": "id",
            "cursor": "changed",
            "soft_delete": "gone",
        },
        {"name": "readings", "mode": "append", "primary_key": "id", "cursor": "id"},
        {
            "name": "weights",
            "mode": "append",
            "primary_key": "id",
            "cursor": "id",
            "schema_contract": {"columns": "discard_row"},
        },
    ],
}


def write_market(folder: Path) -> None:
    """Adds the further parts to a project, and an environment beside it."""
    project = json.loads((folder / "asgard.yml").read_text())
    project |= PROJECT
    project["data_sources"]["market"] = SOURCE
    (folder / "asgard.yml").write_text(json.dumps(project, indent=1))
    (folder / "asgard.dev.yml").write_text(json.dumps({"beside": True, "models": "models_dev"}))
    (folder / "models_dev/gold").mkdir(parents=True, exist_ok=True)
    (folder / "models_dev/gold/customers.sql").write_text(
        "SELECT customer, count(*) AS orders, min(id) AS first FROM bronze.shop.orders\n"
        "WHERE customer IS NOT NULL GROUP BY ALL\n"
    )
    (folder / "prices.json").write_text(json.dumps(SUITE))


def live_a_market_day(folder: Path, day: int) -> None:
    """Writes the rows of a day, 0 for the first, into the market's database."""
    with closing(sqlite3.connect(folder / FILE)) as market, market:
        market.execute("CREATE TABLE IF NOT EXISTS prices (name TEXT PRIMARY KEY, price INTEGER)")
        market.execute(
            "CREATE TABLE IF NOT EXISTS members"
            " (id INTEGER PRIMARY KEY, changed TEXT NOT NULL, name TEXT, gone TEXT)"
        )
        market.execute("DELETE FROM prices")
        market.executemany("INSERT INTO prices VALUES (?, ?)", PRICES[day])
        market.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", MEMBERS[day])
        marks = ", ".join("?" * len(READINGS[day][0]))
        for table in ("readings", "weights"):
            market.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, n INTEGER)")
            if day == 1:
                market.execute(f"ALTER TABLE {table} ADD COLUMN unit TEXT")
            market.executemany(f"INSERT INTO {table} VALUES ({marks})", READINGS[day])


def market_after(days: int) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables have to hold after so many days, sorted; of prices those that hold."""
    members = {row[0]: row for day in MEMBERS[:days] for row in day}
    readings = [(*row, None)[:3] for day in READINGS[:days] for row in day]
    return {
        "bronze.market.prices": sorted(PRICES[days - 1]),
        "bronze.market.members": sorted(row for row in members.values() if row[3] is None),
        "bronze.market.readings": sorted(readings),
        "bronze.market.weights": sorted(row[:2] for row in readings if row[2] is None),
    }


def versions_of_prices(days: int) -> int:
    """How many versions of rows a history has."""
    count, before = 0, dict[str, int]()
    for day in PRICES[:days]:
        count += sum(before.get(name) != price for name, price in day)
        before = dict(day)
    return count
