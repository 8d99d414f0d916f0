"""Backfill: a range of the cursor is read again and merged, and the next run goes on where it would have."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.sources.backfill import chunks
from asgard.core.errors import ConfigError
from tests.cli.console import Console


def change(console: Console, sql: str, rows: list[tuple[Any, ...]] | None = None) -> None:
    with closing(sqlite3.connect(console.folder / "shop.db")) as connection, connection:
        connection.executemany(sql, rows) if rows is not None else connection.execute(sql)


@pytest.fixture
def shop(console: Console) -> Console:
    change(console, "CREATE TABLE orders (id INTEGER PRIMARY KEY, day TEXT, cents INTEGER, note TEXT)")
    rows = [(n, f"2026-01-{n:02} 08:00:00", n * 10, "first") for n in range(1, 29)]
    change(console, "INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    orders = {
        "name": "orders",
        "mode": "merge",
        "primary_key": "id",
        "cursor": "day",
        "where": "id <> 5 OR id = 99",
    }
    console.project({"shop": {"type": "sqlite", "path": "shop.db", "tables": [orders]}})
    assert console.asgard("run").code == 0
    return console


def notes(console: Console) -> dict[int, str]:
    return {row["id"]: row["note"] for row in console.rows("bronze.shop.orders")}


def test_only_the_range_is_read_again_and_the_position_stays(shop: Console) -> None:
    change(shop, "UPDATE orders SET note = 'second'")
    change(shop, "INSERT INTO orders VALUES (100, '2026-01-30 08:00:00', 1, 'new')")
    said = shop.asgard("run", "shop.orders", "--between", "2026-01-03", "2026-01-10", "--json")
    assert said.code == 0
    found = notes(shop)
    assert {id_ for id_, note in found.items() if note == "second"} == {3, 4, 6, 7, 8, 9}
    assert set(found) == set(range(1, 29)) - {5}
    assert shop.asgard("run").code == 0
    after = notes(shop)
    assert after[100] == "new"
    # Only what the cursor had moved past is read by the run: the range did not move it, in neither direction.
    assert {id_ for id_, note in after.items() if note == "second"} <= {3, 4, 6, 7, 8, 9, 28}


def test_a_range_in_chunks_is_a_job_for_each(shop: Console) -> None:
    change(shop, "UPDATE orders SET note = 'second'")
    added = shop.asgard(
        "jobs", "backfill", "shop.orders", "--between", "2026-01-01", "2026-01-06", "--chunk", "2d", "--json"
    ).json
    assert [job["between"] for job in added] == [
        ["2026-01-01", "2026-01-03"], ["2026-01-03", "2026-01-05"], ["2026-01-05", "2026-01-06"],
    ]  # fmt: skip
    assert shop.asgard("worker", "--until-idle", "--no-clock").code == 0
    assert {job["status"] for job in shop.asgard("jobs", "--json").json["jobs"]} == {"done"}
    assert {id_ for id_, note in notes(shop).items() if note == "second"} == {1, 2, 3, 4}


def test_what_cannot_be_backfilled_is_refused_with_the_way_out(shop: Console) -> None:
    plain = {"type": "sqlite", "path": "shop.db", "tables": [{"name": "orders", "as": "plain"}]}
    shop.project({"shop": plain, "new": {**plain, "tables": [{"name": "orders", "mode": "merge",
                  "primary_key": "id", "cursor": "day"}]}})  # fmt: skip
    for source, hint in (("shop", "mode: merge and a cursor"), ("new", "after its first run")):
        said = shop.asgard("run", source, "--between", "1", "2")
        assert said.code == 2
        assert "cannot be backfilled" in said.err
        assert hint in said.err
    assert shop.asgard("run", "shop", "--between", "1", "2", "--full-refresh").code == 2


@given(st.integers(-50, 50), st.integers(1, 99), st.integers(1, 40))
def test_chunks_cover_a_range_without_gap_or_overlap(low: int, length: int, chunk: int) -> None:
    cut = [(int(begin), int(end)) for begin, end in chunks(str(low), str(low + length), str(chunk))]
    assert [number for begin, end in cut for number in range(begin, end)] == list(range(low, low + length))
    assert all(begin < end for begin, end in cut)


@pytest.mark.parametrize(
    ("low", "high", "chunk", "cut"),
    [
        ("2026-01-31", "2026-02-02", "1d", [("2026-01-31", "2026-02-01"), ("2026-02-01", "2026-02-02")]),
        ("2026-01-31", "2026-02-01", "12h",
         [("2026-01-31 00:00:00", "2026-01-31 12:00:00"), ("2026-01-31 12:00:00", "2026-02-01 00:00:00")]),
        ("2026-01-01T00:00+01:00", "2026-01-01T01:00+01:00", None,
         [("2026-01-01T00:00:00+01:00", "2026-01-01T01:00:00+01:00")]),
    ],
)  # fmt: skip
def test_times_keep_the_form_in_which_they_were_given(
    low: str, high: str, chunk: str | None, cut: list[tuple[str, str]]
) -> None:
    assert list(chunks(low, high, chunk)) == cut


@pytest.mark.parametrize(
    ("low", "high", "chunk"),
    [("2", "1", None), ("1", "9", "1d"), ("a", "b", None), ("2026-01-01", "2026-01-02T00:00+00:00", None),
     ("0", "99999999", "1"), ("2026-01-01", "2026-02-01", "100")],
)  # fmt: skip
def test_what_is_no_range_is_refused(low: str, high: str, chunk: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        list(chunks(low, high, chunk))
    assert caught.value.hint
