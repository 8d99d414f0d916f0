"""Which rows a cursor finds on real servers: ties, late commits, lags, resumes; one snapshot of splits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from asgard.connectors._mysql import cursor as _mysql_cursor
from asgard.connectors._mysql import splits as _mysql_splits
from asgard.core.errors import ConfigError, PositionLost, QueryError
from asgard.core.position import Position
from asgard.core.stream import Mode, Selection
from tests.connectors.mysql_reading import (
    KINDS,
    Load,
    MysqlServer,
    half_done,
    load,
    options,
    read_plan,
    select,
    shared_mysql,
    source_of,
)
from tests.servers.postgres import one_at_a_time


@dataclass(frozen=True)
class Shop:
    """A database of its own on a server."""

    server: MysqlServer
    name: str

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.name)

    def merged(self, position: Position | None = None, table: str = "orders", **how: Any) -> Load:
        """One load into a table with a key."""
        source = source_of(self.server, self.name, **how.pop("config", {}))
        given = {"mode": Mode.MERGE, "cursor": "changed", "primary_key": ("id",), **how.pop("selected", {})}
        return load(source, select(source, table, **given), position, **how)

    def appended(self, position: Position | None = None, table: str = "orders", **how: Any) -> Load:
        """One load into a table that takes every row once."""
        given = {"mode": Mode.APPEND, "primary_key": (), **how.pop("selected", {})}
        return self.merged(position, table, selected=given, **how)


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A small shop, alone on its server: an open transaction holds back whoever else is there."""
    monkeypatch.setattr(_mysql_cursor, "MOST_WAIT_SECONDS", 60.0)
    server = shared_mysql(request.param)
    with one_at_a_time(request.param):
        name = server.create_database()
        yield stocked(Shop(server, name))
        server.drop_database(name)


def stocked(made: Shop) -> Shop:
    made.execute(
        "CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, changed datetime(6), note text, "
        "KEY (changed)); "
        "INSERT INTO orders VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b'), (3, '2026-01-02', 'c'), "
        "(4, NULL, 'd')"
    )
    return made


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mysql_splits, "LEAST_SPLIT_BYTES", 1 << 12)


def test_rows_at_the_bound_come_again_where_a_key_tells_them_apart(shop: Shop) -> None:
    first = shop.merged()
    assert first.column("id") == [1, 2, 3, 4]
    shop.execute("INSERT INTO orders VALUES (5, '2026-01-02', 'tie'), (6, '2026-01-03', 'new')")
    assert set(shop.merged(first.position).column("id")) >= {5, 6}
    assert 1 not in shop.merged(first.position).column("id")


def test_without_a_key_every_row_comes_once(shop: Shop) -> None:
    first = shop.appended()
    assert first.column("id") == [1, 2, 3, 4]
    assert shop.appended(first.position).column("id") == []
    shop.execute("INSERT INTO orders VALUES (6, '2026-01-03', 'new'), (7, '2026-01-04', 'newer')")
    second = shop.appended(first.position)
    assert second.column("id") == [6, 7]
    assert shop.appended(second.position).column("id") == []


def test_a_row_that_commits_late_is_waited_for(shop: Shop) -> None:
    with closing(shop.server.connect(shop.name, autocommit=False)) as late:
        late.cursor().execute("INSERT INTO orders VALUES (5, '2026-02-01', 'late')")
        shop.execute("INSERT INTO orders VALUES (6, '2026-02-02', 'early')")
        commit = threading.Timer(0.5, late.commit)
        commit.start()
        first = shop.appended()
        commit.join()
    assert first.column("id") == [1, 2, 3, 4, 5, 6]
    assert not first.warnings


def test_a_transaction_that_lasts_holds_the_cursor_back_and_loses_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mysql_cursor, "MOST_WAIT_SECONDS", 0.3)
    first = shop.appended()
    with closing(shop.server.connect(shop.name, autocommit=False)) as late:
        late.cursor().execute("INSERT INTO orders VALUES (5, '2026-02-01', 'late')")
        shop.execute("INSERT INTO orders VALUES (6, '2026-02-02', 'early')")
        held, kept = shop.appended(first.position), shop.merged(first.position)
        assert held.column("id") == []
        assert 6 in kept.column("id")
        assert "may still bring" in held.warnings[0]
        late.commit()
    assert shop.appended(held.position).column("id") == [5, 6]
    assert set(shop.merged(kept.position).column("id")) >= {5, 6}


def test_a_list_of_transactions_that_others_keep_old_is_not_believed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mysql_cursor, "MOST_WAIT_SECONDS", 0.5)
    first = shop.appended()
    over = threading.Event()

    def watch() -> None:
        with closing(shop.server.connect()) as monitor, monitor.cursor() as cursor:
            while not over.wait(0.01):  # so often that the server never makes the list anew
                cursor.execute("SELECT count(*) FROM information_schema.innodb_trx")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        time.sleep(0.2)
        with closing(shop.server.connect(shop.name, autocommit=False)) as late:
            late.cursor().execute("INSERT INTO orders VALUES (5, '2026-02-01', 'late')")
            shop.execute("INSERT INTO orders VALUES (6, '2026-02-02', 'early')")
            held = shop.appended(first.position)
            late.commit()
    finally:
        over.set()
        watcher.join()
    assert held.column("id") == []
    assert shop.appended(held.position).column("id") == [5, 6]


def test_readers_that_are_open_hold_nothing_back(shop: Shop) -> None:
    with closing(shop.server.connect(shop.name, autocommit=False)) as reader:
        reader.cursor().execute("SELECT * FROM orders")
        began = time.monotonic()
        assert not shop.appended().warnings
        assert time.monotonic() - began < 30  # of the 60 that a writer would have had


def test_who_may_not_see_transactions_is_told_what_can_be_missed(shop: Shop) -> None:
    user = shop.server.create_user(f"SELECT ON {shop.name}.*")
    load_ = shop.merged(config={"username": user})
    assert "GRANT PROCESS" in load_.warnings[0]
    with_lag = shop.merged(load_.position, config={"username": user}, selected={"cursor_lag": 86_400.0})
    assert with_lag.column("id") == [1, 2, 3, 4]
    assert "read again from 86400" in with_lag.warnings[0]


def test_a_lag_reads_again_and_no_guard_says_so(shop: Shop) -> None:
    first = shop.merged()
    lagging = options(late_commit_guard="lag")
    again = shop.merged(first.position, selected={"cursor_lag": 86_400.0, "options": lagging})
    assert again.column("id") == [1, 2, 3, 4]
    off = shop.merged(first.position, selected={"options": options(late_commit_guard="off")})
    assert off.column("id") == [2, 3, 4]
    assert "late_commit_guard is off" in off.warnings[0]


def test_a_bound_never_goes_back(shop: Shop) -> None:
    first = shop.appended()
    shop.execute("DELETE FROM orders WHERE id IN (2, 3)")
    second = shop.appended(first.position)
    shop.execute("INSERT INTO orders VALUES (9, '2026-01-03', 'x')")
    assert shop.appended(second.position).column("id") == [9]


def test_a_backfill_reads_below_its_bound(shop: Shop) -> None:
    filled = shop.merged(until="2026-01-02")
    assert filled.column("id") == [1, 4]
    assert shop.merged(filled.position).column("id") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("type", "values", "more"),
    [
        ("bigint unsigned", ["18446744073709551614"], "18446744073709551615"),
        (
            "decimal(40, 3)",
            ["1234567890123456789012345678901234567.123"],
            "2234567890123456789012345678901234567.0",
        ),
        ("double", ["0.1", "1e-300"], "1e300"),
        ("date", ["'2024-02-29'"], "'2024-03-01'"),
        ("timestamp(6) NULL", ["'2024-02-29 01:02:03.000001'"], "'2024-02-29 01:02:03.000002'"),
        ("varchar(20)", ["'it''s \\\\ ä'"], "'ü'"),
        ("binary(3)", ["x'00FF27'"], "x'01FF27'"),
        ("year", ["2024"], "2025"),
    ],
)
def test_every_kind_of_cursor_goes_on(shop: Shop, type: str, values: list[str], more: str) -> None:
    shop.execute(f"CREATE TABLE kinds (id int PRIMARY KEY AUTO_INCREMENT, changed {type})")
    for value in values:
        shop.execute(f"INSERT INTO kinds (changed) VALUES ({value})")
    first = shop.appended(table="kinds")
    assert len(first.column("id")) == len(values)
    assert shop.appended(first.position, table="kinds").column("id") == []
    shop.execute(f"INSERT INTO kinds (changed) VALUES ({more})")
    assert shop.appended(first.position, table="kinds").column("id") == [len(values) + 1]


def test_what_cannot_be_a_cursor_and_foreign_positions_are_refused(shop: Shop) -> None:
    shop.execute("CREATE TABLE odd (id int PRIMARY KEY, changed json, other int)")
    with pytest.raises(ConfigError, match="cannot be a cursor"):
        shop.merged(table="odd")
    first = shop.merged()
    with pytest.raises(PositionLost, match="wanted is id"):
        shop.merged(first.position, selected={"cursor": "id"})
    with pytest.raises(QueryError):
        shop.merged(selected={"cursor": "nothing"})


def filled(shop: Shop, rows: int = 6000) -> None:
    shop.execute(
        f"CREATE TABLE numbers (id int PRIMARY KEY, changed datetime(6), n int NOT NULL); "
        f"INSERT INTO numbers SELECT n, '2026-01-01', 0 FROM (WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL "
        f"SELECT n + 1 FROM s WHERE n < 1000) SELECT a.n + 1000 * b.n - 1000 AS n FROM s a, s b "
        f"WHERE b.n <= {rows // 1000}) AS x; ANALYZE TABLE numbers"
    )


@pytest.mark.usefixtures("small_splits")
def test_splits_leave_nothing_out_and_give_nothing_twice(shop: Shop) -> None:
    filled(shop)
    shop.execute(
        "UPDATE numbers SET id = -2147483648 WHERE id = 1; UPDATE numbers SET id = 2147483647 WHERE id = 2"
    )
    source = source_of(shop.server, shop.name)
    load_ = load(source, select(source, "numbers"), parallel=3)
    assert len(load_.splits) == 3
    assert not load_.warnings
    assert load_.column("id") == sorted([-2147483648, 2147483647, *range(3, 6001)])


@pytest.mark.usefixtures("small_splits")
def test_all_splits_show_one_instant_while_others_write(shop: Shop) -> None:
    filled(shop)
    over = threading.Event()
    written = []

    def write() -> None:
        with closing(shop.server.connect(shop.name, autocommit=False)) as connection:
            cursor = connection.cursor()
            while not over.is_set():  # the sum of all n is zero after every commit
                written.append(1)
                one, other = len(written) % 3000 + 1, 6000 - len(written) % 3000
                cursor.execute(f"UPDATE numbers SET n = n + 7 WHERE id = {one}")
                cursor.execute(f"UPDATE numbers SET n = n - 7 WHERE id = {other}")
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        source = source_of(shop.server, shop.name)
        selection = select(source, "numbers")
        for _ in range(5):
            with source.plan([selection], {}, parallel=4) as plan:
                assert len(plan.splits) == 4
                time.sleep(0.05)
                rows = read_plan(source, plan)
                assert not plan.warnings
            assert rows.num_rows == 6000
            assert sum(rows["n"].to_pylist()) == 0
    finally:
        over.set()
        writer.join()
    assert len(written) > 10


@pytest.mark.usefixtures("small_splits")
def test_without_the_right_to_lock_one_connection_reads_one_instant_and_says_so(shop: Shop) -> None:
    filled(shop)
    user = shop.server.create_user(f"SELECT ON {shop.name}.*")
    source = source_of(shop.server, shop.name, username=user)
    selection = select(source, "numbers")
    with source.plan([selection], {}, parallel=3) as plan:
        assert "GRANT RELOAD" in plan.warnings[0]
        shop.execute("UPDATE numbers SET n = 1")
        rows = read_plan(source, plan)
    assert set(rows["n"].to_pylist()) == {0}


@pytest.mark.usefixtures("small_splits")
def test_a_killed_first_load_is_finished_and_caught_up(shop: Shop) -> None:
    filled(shop)
    first = shop.merged(table="numbers", parallel=3)
    assert first.resumable
    assert len(first.splits) == 3
    half = half_done(first, 1)
    shop.execute("INSERT INTO numbers VALUES (9999, '2026-02-01', 1)")
    second = shop.merged(half, table="numbers", parallel=2)
    assert second.resumed
    assert {split.id for split in second.splits} == {split.id for split in first.splits[1:]}
    assert 9999 in shop.merged(second.position, table="numbers").column("id")


def test_tables_of_an_engine_without_snapshots_are_told(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE old (id int PRIMARY KEY, changed int) ENGINE = MyISAM; INSERT INTO old VALUES (1, 1)"
    )
    warnings = shop.merged(table="old").warnings
    assert "without snapshots" in warnings[0]
    assert "without transactions" in warnings[1]


def test_a_selection_of_a_changed_table_is_refused(shop: Shop) -> None:
    source = source_of(shop.server, shop.name)
    selection: Selection = select(source, "orders")
    shop.execute("ALTER TABLE orders MODIFY note varbinary(100)")
    with pytest.raises(Exception, match="changed while the run began"):
        source.plan([selection], {})
