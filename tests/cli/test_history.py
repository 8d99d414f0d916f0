"""`mode: history` from a source to a table, as a person sets it up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.cli.console import Console

TABLE = "bronze.shop.orders"


class Shop:
    """A database that changes, and its history in the lake."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMP, state TEXT)")
        self.execute(
            "INSERT INTO orders VALUES (1, '2026-01-01 08:00:00', 'new'), (2, '2026-01-01 09:00:00', 'new')"
        )

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.console.folder / "shop.db")) as connection, connection:
            connection.execute(sql)

    def project(self, **table: Any) -> None:
        entry = {"name": "orders", "mode": "history", "primary_key": "id", **table}
        self.console.project({"shop": {"type": "sqlite", "path": "shop.db", "tables": [entry]}})

    def run(self, *arguments: str) -> None:
        said = self.console.asgard("run", *arguments)
        assert said.code == 0, said

    def versions(self) -> list[tuple[int, str, bool]]:
        """Key, state, and whether it still holds, in the order of keys and time."""
        said = self.console.asgard(
            "query",
            f"SELECT id, state, _asgard_valid_to IS NULL AS holds FROM {TABLE} "
            "ORDER BY id, _asgard_valid_from",
            "--json",
        )
        assert said.code == 0, said
        return [tuple(row.values()) for row in said.events]

    def ranges(self, key: int) -> list[tuple[Any, Any]]:
        said = self.console.asgard(
            "query",
            "SELECT _asgard_valid_from::TEXT AS a, _asgard_valid_to::TEXT AS b "
            f"FROM {TABLE} WHERE id = {key} ORDER BY a",
            "--json",
        )
        return [(row["a"], row["b"]) for row in said.events]


@pytest.fixture
def shop(console: Console) -> Shop:
    return Shop(console)


def test_changes_deletes_and_returns_of_a_whole_table(shop: Shop) -> None:
    shop.project(checks=[{"unique": ["id"]}, {"not_null": ["state"]}])
    shop.run()
    shop.run()
    shop.execute("UPDATE orders SET state = 'paid' WHERE id = 1")
    shop.execute("DELETE FROM orders WHERE id = 2")
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", False)]
    shop.execute("INSERT INTO orders VALUES (2, '2026-01-01 09:00:00', 'new')")
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", False), (2, "new", True)]
    (old, new), (closed, again) = shop.ranges(1), shop.ranges(2)
    assert old[1] == new[0]
    assert closed[1] < again[0]
    assert shop.console.asgard("checks").code == 0


def test_by_a_cursor_only_what_changed_is_read_and_nothing_is_closed(shop: Shop) -> None:
    shop.project(cursor="changed")
    shop.run()
    shop.execute("UPDATE orders SET state = 'paid', changed = '2026-01-02' WHERE id = 1")
    shop.execute("DELETE FROM orders WHERE id = 2")
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", True)]


def test_versions_hold_since_the_cursor_says_if_it_is_asked(shop: Shop) -> None:
    shop.project(cursor="changed", valid_from="cursor", columns={"changed": "timestamp"})
    shop.run()
    shop.execute("UPDATE orders SET state = 'paid', changed = '2026-01-02 10:00:00' WHERE id = 1")
    shop.run()
    assert shop.ranges(1) == [
        ("2026-01-01 08:00:00+00", "2026-01-02 10:00:00+00"),
        ("2026-01-02 10:00:00+00", None),
    ]


def test_a_full_refresh_keeps_the_history_and_closes_what_is_gone(shop: Shop) -> None:
    shop.project(cursor="changed")
    shop.run()
    shop.execute("UPDATE orders SET state = 'paid', changed = '2026-01-02' WHERE id = 1")
    shop.run()
    shop.execute("DELETE FROM orders WHERE id = 2")
    shop.run("--full-refresh")
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", False)]
    assert shop.console.asgard("resync", TABLE).code == 0
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", False)]


def test_a_table_that_was_merged_becomes_a_history(shop: Shop) -> None:
    shop.project(mode="merge")
    shop.run()
    shop.project()
    shop.run()
    assert shop.versions() == [(1, "new", True), (2, "new", True)]
    shop.execute("UPDATE orders SET state = 'paid' WHERE id = 1")
    shop.execute("DELETE FROM orders WHERE id = 2")
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "paid", True), (2, "new", False)]
    assert all(since is not None for since, _ in shop.ranges(1) + shop.ranges(2))


def test_undo_takes_the_last_versions_back(shop: Shop) -> None:
    shop.project()
    shop.run()
    shop.execute("UPDATE orders SET state = 'paid'")
    shop.run()
    assert shop.console.asgard("tables", "undo", TABLE, "--yes").code == 0
    assert shop.versions() == [(1, "new", True), (2, "new", True)]
    shop.run()
    assert [state for _, state, holds in shop.versions() if holds] == ["paid", "paid"]


def test_a_cursor_that_is_no_time_cannot_say_since_when(shop: Shop) -> None:
    shop.project(cursor="id", valid_from="cursor")
    said = shop.console.asgard("run")
    assert said.code == 2
    assert "does not say since when a row holds" in said.err + said.out


def test_a_row_without_its_time_is_refused_by_name(shop: Shop) -> None:
    shop.execute("INSERT INTO orders VALUES (3, NULL, 'new')")
    shop.project(cursor="changed", valid_from="cursor", columns={"changed": "timestamp"})
    said = shop.console.asgard("run")
    assert said.code == 4
    assert "changed is null in 1 rows" in said.err + said.out


# ---- deletes of tables that are read by a cursor


def states(shop: Shop) -> list[tuple[int, str]]:
    return [(row["id"], row["state"]) for row in shop.console.rows(TABLE)]


def test_keys_that_are_gone_are_found_by_reading_the_keys(shop: Shop) -> None:
    shop.project(mode="merge", cursor="changed", detect_deletes="keys")
    shop.run()
    shop.execute("DELETE FROM orders WHERE id = 1")
    shop.execute("INSERT INTO orders VALUES (3, '2026-01-03', 'new')")
    shop.run()
    assert states(shop) == [(2, "new"), (3, "new")]
    assert len(shop.console.asgard("tables", "show", TABLE, "--json").json["versions"]) == 4
    shop.run()
    assert len(shop.console.asgard("tables", "show", TABLE, "--json").json["versions"]) == 5  # the load alone


def test_a_history_ends_what_is_gone(shop: Shop) -> None:
    shop.project(cursor="changed", detect_deletes="keys")
    shop.run()
    shop.execute("DELETE FROM orders WHERE id = 1")
    shop.run()
    assert shop.versions() == [(1, "new", False), (2, "new", True)]
    shop.execute("INSERT INTO orders VALUES (1, '2026-01-03', 'new')")
    shop.run()
    assert shop.versions() == [(1, "new", False), (1, "new", True), (2, "new", True)]


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_a_row_that_says_that_it_is_deleted_is_followed(shop: Shop, mode: str) -> None:
    shop.execute("ALTER TABLE orders ADD COLUMN deleted_at TEXT")
    shop.project(mode=mode, cursor="changed", soft_delete="deleted_at")
    shop.run()
    shop.execute("UPDATE orders SET changed = '2026-01-04', deleted_at = '2026-01-04' WHERE id = 2")
    shop.run()
    if mode == "merge":
        assert states(shop) == [(1, "new")]
    else:
        assert shop.versions() == [(1, "new", True), (2, "new", False)]


def test_a_run_says_whether_deletes_are_seen(shop: Shop) -> None:
    seen = {}
    for how in ({"mode": "merge", "cursor": "changed"}, {"cursor": "changed", "detect_deletes": "keys"}, {}):
        shop.project(**how)
        shop.run()
        (run, *_) = shop.console.asgard("runs", "--json").json
        seen[str(how)] = run["steps"][0]["deletes"]
    assert list(seen.values()) == ["not seen", "seen", "seen"]


def test_what_does_nothing_is_told(shop: Shop) -> None:
    shop.project(mode="replace", detect_deletes="keys")
    assert "is for mode: merge and mode: history" in shop.console.asgard("run").err
    shop.project(detect_deletes="keys")
    assert "every row is read each time" in shop.console.asgard("run").err
    shop.project(mode="merge", soft_delete="nothing")
    assert "has no column 'nothing'" in shop.console.asgard("run").err


def test_masked_keys_cannot_be_compared(shop: Shop) -> None:
    shop.project(mode="merge", detect_deletes="keys", mask={"id": "hash"})
    document = (shop.console.folder / "asgard.yml").read_text()
    (shop.console.folder / "asgard.yml").write_text(
        document.replace('"version": 1', '"version": 1, "masking_key": "0123456789abcdef"')
    )
    said = shop.console.asgard("run")
    assert "is masked: the keys of the source cannot be compared" in said.err


def test_keys_that_are_read_in_no_snapshot_take_nothing_out(console: Console) -> None:
    console.write("orders.csv", "id,state\n1,new\n")
    entry = {"name": "orders", "mode": "merge", "primary_key": "id", "detect_deletes": "keys"}
    console.project({"in": {"type": "files", "path": ".", "tables": [entry]}})
    said = console.asgard("run")
    assert said.code == 2
    assert "in no snapshot" in said.err
