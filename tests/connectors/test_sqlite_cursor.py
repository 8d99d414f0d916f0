"""SQLite read from a cursor on: nothing missed, nothing twice, and lost positions noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.core.errors import ConfigError, DataError, PositionLost, QueryError
from tests.connectors.databases import Database
from tests.connectors.reading import Loaded


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "a b?#%41.sqlite")
    yield made
    made.connection.close()


def orders(database: Database, declared: str = "TEXT") -> None:
    database.run(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, changed {declared}, n INTEGER)")


def ids(loaded: Loaded) -> list[int]:
    return [row["id"] for row in loaded.rows]


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("TEXT", ["2024-01-01 10:00:00", "2024-01-01 10:00:01", "2024-01-01 10:00:02"]),
        ("TEXT COLLATE NOCASE", ["B", "C", "a"]),
        ("INTEGER", [2**62, 2**62 + 1, 2**62 + 2]),
        ("REAL", [0.1, 0.2, 0.30000000000000004]),
        ("NUMERIC", [1, 1.5, 2]),
        ("", ["é", "ö", "😀"]),
    ],
)
@pytest.mark.parametrize("keyed", [True, False])
def test_a_cursor_reads_what_is_new(
    database: Database, declared: str, values: list[Any], keyed: bool
) -> None:
    orders(database, declared)
    how: dict[str, Any] = {"cursor": "changed", "primary_key": ("id",) if keyed else ()}
    database.run("INSERT INTO orders VALUES (1, ?, 1)", values[0])
    database.run("INSERT INTO orders VALUES (2, ?, 1)", values[1])
    first = database.load("orders", **how)
    assert ids(first) == [1, 2]
    database.run("INSERT INTO orders VALUES (3, ?, 1)", values[1])  # a tie of the bound
    database.run("INSERT INTO orders VALUES (4, ?, 1)", values[2])
    second = database.load("orders", since=first.token, **how)
    assert ids(second) == ([2, 3, 4] if keyed else [4])
    third = database.load("orders", since=second.token, **how)
    assert ids(third) == ([4] if keyed else [])
    assert third.token == second.token
    assert any("primary_key" in warning for warning in third.warnings) is not keyed


def test_rows_without_a_cursor(database: Database) -> None:
    orders(database)
    database.run("INSERT INTO orders VALUES (1, NULL, 1), (2, 'a', 1)")
    keyed = database.load("orders", cursor="changed", primary_key=("id",))
    assert ids(keyed) == [1, 2]
    assert ids(database.load("orders", cursor="changed", primary_key=("id",), since=keyed.token)) == [1, 2]
    plain = database.load("orders", cursor="changed")
    assert ids(plain) == [1, 2]
    assert any("rows without a changed" in warning for warning in plain.warnings)
    assert ids(database.load("orders", cursor="changed", since=plain.token)) == []


def test_an_empty_table_has_no_position(database: Database) -> None:
    orders(database)
    assert database.load("orders", cursor="changed", primary_key=("id",)).token is None
    database.run("INSERT INTO orders VALUES (1, NULL, 1)")
    only_null = database.load("orders", cursor="changed", primary_key=("id",))
    assert (ids(only_null), only_null.token) == ([1], None)


@pytest.mark.parametrize(
    ("declared", "values", "lag", "wanted"),
    [
        ("INTEGER", [90, 94, 95, 100], 5, [3, 4]),
        ("INTEGER", [90, 94, 95, 100], 5.5, [2, 3, 4]),
        ("REAL", [0.5, 1.0, 1.5, 2.0], 0.5, [3, 4]),
        ("TEXT", [f"2024-02-{time}" for time in ("28 23:59:57", "28 23:59:58", "29 00:00:00", "29 00:00:02")],
         4, [2, 3, 4]),
        ("TEXT", [f"2024-01-01T00:00:{time}Z" for time in ("00.000", "00.499", "00.500", "01.000")],
         0.5, [3, 4]),
        ("TEXT", [f"2024-01-{day}" for day in ("01", "08", "09", "10")], 86_401, [2, 3, 4]),
        ("TEXT", [f"2024-01-01 {time}" for time in ("09:58", "09:59", "10:00", "10:01")], 61, [2, 3, 4]),
    ],
)  # fmt: skip
def test_a_lag_reads_so_much_again(
    database: Database, declared: str, values: list[Any], lag: float, wanted: list[int]
) -> None:
    orders(database, declared)
    for number, value in enumerate(values, 1):
        database.run("INSERT INTO orders VALUES (?, ?, 1)", number, value)
    how: dict[str, Any] = {"cursor": "changed", "primary_key": ("id",), "cursor_lag": lag}
    first = database.load("orders", **how)
    assert first.warnings == ()
    again = database.load("orders", since=first.token, **how)
    assert ids(again) == wanted
    assert again.token == first.token
    keyless = database.load("orders", since=first.token, cursor="changed", cursor_lag=lag)
    assert ids(keyless) == []
    assert any("cursor_lag does nothing" in warning for warning in keyless.warnings)


def test_a_lag_that_cannot_be_taken(database: Database) -> None:
    orders(database)
    database.run("INSERT INTO orders VALUES (1, 'abc', 1)")
    how: dict[str, Any] = {"cursor": "changed", "primary_key": ("id",), "cursor_lag": 5.0}
    first = database.load("orders", **how)
    with pytest.raises(ConfigError, match="cursor_lag cannot be taken from 'abc'"):
        database.load("orders", since=first.token, **how)


def test_only_numbers_that_sqlite_gives_need_no_warning(database: Database) -> None:
    database.run("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, x INT); INSERT INTO a (x) VALUES (1)")
    assert database.load("a", cursor="id").warnings == ()
    database.run("CREATE TABLE b (id INTEGER PRIMARY KEY, x INT); INSERT INTO b (x) VALUES (1)")
    assert database.load("b", cursor="id").warnings != ()


def test_until_is_an_upper_bound(database: Database) -> None:
    orders(database)
    database.run("INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 1)")
    first = database.load("orders", cursor="changed", until="b")
    assert ids(first) == [1, 2]
    assert ids(database.load("orders", cursor="changed", since=first.token)) == [3]
    with pytest.raises(ConfigError, match="the bound 'x' is no integer"):
        database.load("orders", cursor="id", until="x")


def test_cursors_of_several_types_are_refused(database: Database) -> None:
    orders(database, "")
    database.run("INSERT INTO orders VALUES (1, 5, 1), (2, 'x', 1)")
    with pytest.raises(DataError, match=r"cannot be compared: from 5 to 'x'"):
        database.load("orders", {"columns": {"changed": "text"}}, cursor="changed")
    database.run("DELETE FROM orders; INSERT INTO orders VALUES (1, x'00', 1)")
    with pytest.raises(DataError, match="cannot be compared"):
        database.load("orders", cursor="changed")
    with pytest.raises(QueryError, match="no column 'nope'"):
        database.load("orders", cursor="nope")


def test_a_position_of_another_cursor_or_type_is_lost(database: Database) -> None:
    orders(database)
    database.run("INSERT INTO orders VALUES (1, 'a', 1)")
    token = database.load("orders", cursor="changed").token
    with pytest.raises(PositionLost, match="the cursor was 'changed', now it is 'n'"):
        database.load("orders", cursor="n", since=token)
    database.run("UPDATE orders SET changed = 5")
    database.run("DROP TABLE orders; CREATE TABLE orders (id INTEGER, changed INTEGER)")
    database.run("INSERT INTO orders VALUES (1, 5)")
    with pytest.raises(PositionLost, match="ended at 'a', now the highest value is 5"):
        database.load("orders", cursor="changed", since=token)


def test_deleted_rows_are_told_and_a_new_database_is_noticed(database: Database) -> None:
    orders(database)
    database.run("INSERT INTO orders VALUES (1, 'a', 1), (2, 'c', 1)")
    token = database.load("orders", cursor="changed", primary_key=("id",)).token
    database.run("DELETE FROM orders WHERE id = 2")
    fallen = database.load("orders", cursor="changed", primary_key=("id",), since=token)
    assert ids(fallen) == []
    assert json.loads(fallen.token or "")["value"] == "c"
    assert any("rows were deleted" in warning for warning in fallen.warnings)
    database.run("DROP TABLE orders")
    orders(database)
    empty = database.load("orders", cursor="changed", primary_key=("id",), since=token)
    assert ids(empty) == []
    database.run("INSERT INTO orders VALUES (1, 'b', 1)")
    with pytest.raises(PositionLost, match="made anew") as caught:
        database.load("orders", cursor="changed", primary_key=("id",), since=token)
    assert "resync" in caught.value.hint
