"""Promise 7 on a real server: a cursor never skips a row, whatever order transactions commit in."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from asgard.connectors._postgres import splits
from asgard.connectors._postgres.cursor import CursorColumn, Mark, window_condition
from asgard.connectors.postgres import PostgresSource
from asgard.core.errors import AsgardError, ConfigError, PositionLost
from asgard.core.position import Position
from asgard.core.stream import Mode, Selection
from tests.connectors.postgres_reading import (
    Load,
    half_done,
    load,
    options,
    read_split,
    select,
    source_of,
    without,
)
from tests.servers.postgres import Server


@dataclass(frozen=True)
class Shop:
    """A database with a table `orders`, and a source on it."""

    server: Server
    database: str
    source: PostgresSource

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.database)

    def connect(self) -> psycopg.Connection:
        return self.server.connect(self.database)

    def ids(self) -> list[int]:
        return [id for (id,) in self.execute("SELECT id FROM orders ORDER BY id")]

    def merge(self, **given: Any) -> Selection:
        return select(self.source, "orders", mode=Mode.MERGE, cursor="at", **given)

    def append(self, **given: Any) -> Selection:
        return select(self.source, "orders", mode=Mode.APPEND, cursor="at", **given)

    def load(self, selection: Selection, position: Position | None = None, **given: Any) -> Load:
        return load(self.source, selection, position, **given)


ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, note text);
CREATE INDEX ON orders (at);
INSERT INTO orders SELECT i, '2024-01-01 00:00:00.123456+00'::timestamptz + i * interval '1 s', 'old'
FROM generate_series(1, 10) i;
"""


@pytest.fixture
def shop(quiet_postgres: Server) -> Iterator[Shop]:
    database = quiet_postgres.create_database()
    quiet_postgres.execute(ORDERS, database)
    with source_of(quiet_postgres, database) as source:
        yield Shop(quiet_postgres, database, source)
    quiet_postgres.drop_database(database)


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split of 4 pages, as if they were many."""
    monkeypatch.setattr(splits, "LEAST_SPLIT_PAGES", 4)


# ---- with a key: what is new comes, and perhaps some that is not


def test_a_row_that_commits_late_comes_with_the_next_load(shop: Shop) -> None:
    selection = shop.merge()
    with shop.connect() as late:
        late.execute("BEGIN; INSERT INTO orders VALUES (11, '2024-01-02', 'late')")
        shop.execute("INSERT INTO orders VALUES (12, '2024-01-03', 'early')")
        first = shop.load(selection)
        assert first.column("id") == [*range(1, 11), 12]
        late.execute("COMMIT")
    second = shop.load(selection, first.position)
    assert second.column("id") == [11, 12]  # 12 is younger than the transaction that was open
    assert shop.load(selection, second.position).rows.num_rows == 0


def test_rows_of_subtransactions_and_prepared_transactions_commit_late_too(shop: Shop) -> None:
    selection = shop.merge()
    with shop.connect() as nested, shop.connect() as prepared:
        nested.execute("BEGIN; INSERT INTO orders VALUES (20, '2024-01-02')")
        nested.execute("SAVEPOINT a; INSERT INTO orders VALUES (21, '2024-01-02'); RELEASE a")
        nested.execute("SAVEPOINT b; INSERT INTO orders VALUES (22, '2024-01-02'); ROLLBACK TO b")
        nested.execute("SAVEPOINT c; INSERT INTO orders VALUES (23, '2024-01-02')")
        prepared.execute("BEGIN; INSERT INTO orders VALUES (30, '2024-01-02'); PREPARE TRANSACTION 'later'")
        shop.execute("INSERT INTO orders VALUES (40, '2024-01-03')")
        first = shop.load(selection)
        assert first.column("id") == [*range(1, 11), 40]
        nested.execute("COMMIT")
        second = shop.load(selection, first.position)
        assert {20, 21, 23} <= set(second.column("id"))
        prepared.execute("COMMIT PREPARED 'later'")
    assert 30 in shop.load(selection, second.position).column("id")


@pytest.mark.usefixtures("small_splits")
def test_more_subtransactions_than_a_snapshot_can_name(shop: Shop) -> None:
    fill(shop, 1000)
    keyed, keyless = shop.merge(), shop.append(primary_key=())
    with shop.connect() as late:
        late.execute("BEGIN")
        for number in range(2000, 2100):
            late.execute(f"SAVEPOINT s; INSERT INTO orders VALUES ({number}, '1999-01-01')")
        first, once = shop.load(keyed, parallel=4), shop.load(keyless, parallel=4)
        assert len(first.splits) >= 4
        assert first.column("id") == once.column("id") == shop.ids()
        late.execute("COMMIT")
    late_ids = list(range(2000, 2100))
    assert shop.load(keyed, first.position).column("id") == late_ids
    assert shop.load(keyless, once.position).column("id") == late_ids
    assert shop.ids()[-100:] == late_ids


def test_the_cursor_itself_may_say_anything(shop: Shop) -> None:
    selection = shop.merge()
    first = shop.load(selection)
    shop.execute("INSERT INTO orders VALUES (11, '1999-01-01'), (12, NULL)")
    shop.execute("UPDATE orders SET note = 'changed, at was forgotten' WHERE id = 3")
    second = shop.load(selection, first.position)
    assert second.column("id") == [3, 11, 12]
    assert shop.load(selection, second.position).rows.num_rows == 0


def test_ties_with_the_bound_are_read_again(shop: Shop) -> None:
    selection = shop.merge(options=options(late_commit_guard="off"))
    first = shop.load(selection)
    shop.execute("INSERT INTO orders SELECT 11, at FROM orders WHERE id = 10")
    assert shop.load(selection, first.position).column("id") == [10, 11]


def test_bound_and_rows_are_of_one_snapshot(shop: Shop) -> None:
    selection = shop.merge()
    with shop.source.plan([selection], {}, parallel=2) as plan:
        shop.execute("INSERT INTO orders VALUES (11, '2030-01-01'); DELETE FROM orders WHERE id = 1")
        rows = [row for split in plan.splits for b in read_split(shop.source, split) for row in b.to_pylist()]
        assert sorted(row["id"] for row in rows) == list(range(1, 11))
        position = Position().finished(plan.tokens[selection.stream.id])
    assert shop.load(selection, position).column("id") == [11]


@pytest.mark.parametrize(
    ("type", "values", "bound"),
    [
        ("timestamptz", ["'2024-01-01 00:00:00.000001+03'", "'infinity'"], "2023-12-31 21:00:00.000001+00"),
        ("timestamp", ["'2024-01-01 00:00:00.000001'", "'infinity'"], "2024-01-01 00:00:00.000001"),
        ("timestamp(3)", ["'2024-01-01 00:00:00.001'"], "2024-01-01 00:00:00.001"),
        ("date", ["'0044-03-15 BC'", "'0045-03-15 BC'", "'-infinity'"], "0044-03-15 BC"),
        ("bigint", ["9007199254740993", "9", "-1"], "9007199254740993"),
        ("int", ["10", "9"], "10"),
        ("numeric", ["11.10", "9", "'NaN'", "'Infinity'"], "11.10"),
        ("numeric(40, 3)", ["1" * 37 + ".891"], "1" * 37 + ".891"),
        ("double precision", ["0.1", "'NaN'", "'Infinity'"], "0.1"),
        ("text", ["'b''\\\\'", "'a'"], "b'\\\\"),
        ("uuid", ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"], "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("stamp", ["'2024-01-01 00:00+00'"], "2024-01-01 00:00:00+00"),
    ],
)  # fmt: skip
def test_the_bound_is_the_servers_own_text(shop: Shop, type: str, values: list[str], bound: str) -> None:
    rows = ", ".join(f"({i}, {value})" for i, value in enumerate([*values, "NULL"]))
    shop.execute(f"CREATE DOMAIN stamp AS timestamptz; CREATE TABLE c (id int PRIMARY KEY, at {type})")
    shop.execute(f"INSERT INTO c VALUES {rows}")
    kept = options(columns={"at": "text"}, late_commit_guard="off")
    selection = select(shop.source, "c", mode=Mode.MERGE, cursor="at", options=kept)
    first = shop.load(selection)
    assert first.column("id") == list(range(len(values) + 1))
    assert json.loads(first.position.token or "")["bound"] == bound
    # What equals the bound comes again, and with it what is beyond every bound.
    assert 0 in shop.load(selection, first.position).column("id")


def test_a_guard_that_is_taken_away_goes_on_by_the_cursor(shop: Shop) -> None:
    first = shop.load(shop.merge())
    shop.execute("INSERT INTO orders VALUES (11, '1999-01-01'), (12, '2030-01-01')")
    unguarded = shop.merge(options=options(late_commit_guard="off"))
    assert shop.load(unguarded, first.position).column("id") == [10, 12]
    # Without an index the bound was not looked for: then everything is read again.
    shop.execute("DROP INDEX orders_at_idx")
    blind = shop.load(shop.merge())
    assert json.loads(blind.position.token or "")["bound"] is None
    assert shop.load(unguarded, blind.position).column("id") == shop.ids()
    assert shop.load(shop.merge(), blind.position).rows.num_rows == 0


def test_an_empty_table_has_a_position_too(shop: Shop) -> None:
    shop.execute("TRUNCATE orders")
    for selection in (shop.merge(), shop.append(primary_key=())):
        first = shop.load(selection)
        assert first.rows.num_rows == 0
        shop.execute("INSERT INTO orders VALUES (1, '1999-01-01')")
        assert shop.load(selection, first.position).column("id") == [1]
        shop.execute("DELETE FROM orders")


def test_a_replace_and_a_stream_without_cursor_read_everything_each_time(shop: Shop) -> None:
    for selection in (
        select(shop.source, "orders"),
        select(shop.source, "orders", cursor="at"),
        select(shop.source, "orders", mode=Mode.MERGE),
    ):
        first = shop.load(selection)
        assert (first.position.token is None) == (selection.cursor is None)
        assert shop.load(selection, first.position).column("id") == list(range(1, 11))


def test_until_is_an_upper_bound_and_what_lies_above_comes_later(shop: Shop) -> None:
    shop.execute("INSERT INTO orders VALUES (50, NULL)")
    selection = shop.merge()
    first = shop.load(selection, until="2024-01-01 00:00:05+00")
    assert first.column("id") == [1, 2, 3, 4, 50]
    assert not first.resumable
    second = shop.load(selection, first.position)
    assert second.column("id") == list(range(4, 11))
    assert shop.load(selection, second.position).rows.num_rows == 0
    nothing = shop.load(selection, until="1970-01-01")
    assert nothing.column("id") == [50]
    assert shop.load(selection, nothing.position).column("id") == shop.ids()
    with pytest.raises(ConfigError, match="primary_key"):
        shop.load(shop.append(primary_key=()), until="2024-01-01")


# ---- without a key: every row exactly once


def test_appended_rows_come_once_although_they_tie_and_commit_late(shop: Shop) -> None:
    selection = shop.append(primary_key=())
    seen: list[int] = []
    with shop.connect() as late:
        late.execute("BEGIN; INSERT INTO orders VALUES (11, '2024-01-01 00:00:10+00')")
        shop.execute("INSERT INTO orders SELECT 12, at FROM orders WHERE id = 10")
        first = shop.load(selection)
        seen += first.column("id")
        late.execute("COMMIT")
    second = shop.load(selection, first.position)
    seen += second.column("id")
    third = shop.load(selection, second.position)
    assert sorted(seen) == [*range(1, 11), 11, 12]
    assert third.rows.num_rows == 0


def test_every_row_comes_exactly_once_while_many_write(shop: Shop) -> None:
    seed = random.randrange(1 << 32)
    stop = threading.Event()
    failures: list[BaseException] = []
    shop.execute("TRUNCATE orders; CREATE SEQUENCE ids")

    def write(number: int) -> None:
        dice = random.Random(seed + number)
        try:
            with shop.connect() as writer:
                while not stop.is_set():
                    writer.execute("BEGIN")
                    for _ in range(dice.randint(1, 4)):
                        if dice.random() < 0.5:
                            writer.execute("SAVEPOINT s")
                        at = f"now() - interval '{dice.randint(0, 9)} s'"
                        writer.execute(f"INSERT INTO orders VALUES (nextval('ids'), {at})")
                        if dice.random() < 0.1:
                            writer.execute("SAVEPOINT t; INSERT INTO orders VALUES (nextval('ids'), now())")
                            writer.execute("ROLLBACK TO t")
                    time.sleep(dice.random() * 0.05)
                    writer.execute(dice.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))
        except BaseException as error:
            failures.append(error)
            raise

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    keyless, keyed = shop.append(primary_key=()), shop.merge()
    seen: list[int] = []
    merged: set[int] = set()
    positions: list[Position | None] = [None, None]
    for round in range(12):
        if round == 10:
            stop.set()
            for writer in writers:
                writer.join()
        appended, changed = shop.load(keyless, positions[0]), shop.load(keyed, positions[1])
        positions = [appended.position, changed.position]
        seen += appended.column("id")
        merged |= set(changed.column("id"))
    assert not failures
    assert sorted(seen) == shop.ids(), f"seed {seed}"
    assert sorted(merged) == shop.ids(), f"seed {seed}"
    assert len(seen) > 20


def test_a_table_that_was_written_anew_cannot_be_appended_from(shop: Shop) -> None:
    selection = shop.append(primary_key=())
    first = shop.load(selection)
    shop.execute("VACUUM FULL orders")
    with pytest.raises(PositionLost, match="written anew"):
        shop.load(selection, first.position)
    keyed = shop.merge()
    shop.execute("INSERT INTO orders VALUES (11, '1999-01-01')")
    before = shop.load(keyed)
    shop.execute("VACUUM FULL orders")
    shop.execute("INSERT INTO orders VALUES (12, '1999-01-01')")
    assert 12 in shop.load(keyed, before.position).column("id")


def test_where_transaction_numbers_have_wrapped_only_near_rows_count_as_new() -> None:
    cursor = CursorColumn('"at"', "timestamp with time zone", "time")
    early = Mark("at", cursor.type, "2024-01-01", "", 1, 5000)
    wrapped = (1 << 32) + 9000
    assert "at" not in window_condition(cursor, early, Mark("at", cursor.type, None, "", 1, 9000), 0)
    said = window_condition(cursor, early, Mark("at", cursor.type, None, "", 1, wrapped), 0)
    assert "interval '604800.0 seconds'" in said
    assert '"at" IS NULL' in said


# ---- where rows do not tell their transaction


def test_a_view_is_read_with_a_lag_and_says_that_it_is_not_safe(shop: Shop) -> None:
    shop.execute("CREATE VIEW seen AS SELECT * FROM orders")
    selection = select(shop.source, "seen", mode=Mode.MERGE, cursor="at", cursor_lag=3, primary_key=("id",))
    first = shop.load(selection)
    assert not first.resumable
    [warning] = first.warnings
    assert "public.seen does not tell which transaction wrote a row" in warning
    assert shop.load(selection, first.position).column("id") == [7, 8, 9, 10]
    without_lag = without(selection, cursor_lag=0.0)
    assert "has no cursor_lag" in shop.load(without_lag).warnings[0]
    assert shop.load(without_lag, first.position).column("id") == [10]


def test_a_lag_instead_of_the_transaction(shop: Shop) -> None:
    selection = shop.merge(cursor_lag=2.5, options=options(late_commit_guard="lag"))
    first = shop.load(selection)
    assert json.loads(first.position.token or "")["xmin"] is None
    shop.execute("INSERT INTO orders VALUES (11, '1999-01-01'), (12, '2024-01-01 00:00:09+00')")
    assert shop.load(selection, first.position).column("id") == [8, 9, 10, 12]


def test_lags_of_numbers_and_of_what_knows_none(shop: Shop) -> None:
    guard = options(late_commit_guard="lag")
    by_id = select(shop.source, "orders", mode=Mode.MERGE, cursor="id", cursor_lag=2, options=guard)
    first = shop.load(by_id)
    assert shop.load(by_id, first.position).column("id") == [8, 9, 10]
    by_note = without(by_id, cursor="note")
    with pytest.raises(ConfigError, match="knows no lag"):
        shop.load(by_note, shop.load(by_note).position)


def test_without_key_and_transaction_rows_between_two_bounds_come_once(shop: Shop) -> None:
    shop.execute("CREATE VIEW seen AS SELECT * FROM orders; INSERT INTO orders VALUES (50, NULL)")
    selection = select(shop.source, "seen", mode=Mode.APPEND, cursor="at", cursor_lag=3)
    first = shop.load(selection)
    assert first.column("id") == [*range(1, 8), 50]  # the last three seconds wait
    shop.execute("INSERT INTO orders VALUES (11, '2024-01-01 00:00:08+00')")  # within the lag: not lost
    again = shop.load(selection, first.position)
    assert again.rows.num_rows == 0
    shop.execute("INSERT INTO orders VALUES (60, '2024-01-02')")
    second = shop.load(selection, again.position)
    assert second.column("id") == [8, 9, 10, 11]
    shop.execute("DELETE FROM orders WHERE id > 9")
    assert shop.load(selection, second.position).rows.num_rows == 0


def test_guard_off_says_what_it_risks(shop: Shop) -> None:
    [warning] = shop.load(shop.merge(options=options(late_commit_guard="off"))).warnings
    assert "late_commit_guard is off" in warning
    assert shop.load(shop.merge()).warnings == ()


def test_a_query_with_a_cursor(shop: Shop) -> None:
    query = "SELECT id, at, upper(note) AS note FROM orders -- all"
    selection = select(shop.source, "loud", query=query, mode=Mode.MERGE, cursor="at", primary_key=("id",))
    first = shop.load(selection)
    assert set(first.rows["note"].to_pylist()) == {"OLD"}
    assert shop.load(selection, first.position).column("id") == [10]


# ---- a first load that was killed goes on


def fill(shop: Shop, rows: int) -> None:
    shop.execute(f"INSERT INTO orders SELECT i, now(), repeat('x', 500) FROM generate_series(100, {rows}) i")


@pytest.mark.usefixtures("small_splits")
def test_a_half_read_first_load_goes_on_although_rows_have_moved(shop: Shop) -> None:
    fill(shop, 1000)
    selection = shop.merge()
    whole = shop.load(selection, parallel=4)
    assert whole.resumable
    assert len(whole.splits) >= 4
    lake: dict[int, str] = {}
    # A run that was killed: two splits are in the table, then rows move into pages that were read already.
    with shop.source.plan([selection], {}, parallel=4) as plan:
        for split in plan.splits[:2]:
            for batch in read_split(shop.source, split):
                lake.update(zip(batch["id"].to_pylist(), batch["note"].to_pylist(), strict=True))
        token = plan.tokens[selection.stream.id]
        killed = Position().with_splits_done([split.id for split in plan.splits[:2]], token)
    shop.execute("DELETE FROM orders WHERE id BETWEEN 100 AND 200")
    shop.execute("VACUUM orders")
    shop.execute("UPDATE orders SET note = 'moved' WHERE id > 800")
    shop.execute("INSERT INTO orders VALUES (5000, '1999-01-01', 'new')")
    resumed = shop.load(selection, killed, parallel=2)
    assert resumed.resumed
    assert resumed.resumable
    assert resumed.position.token == token
    assert len(resumed.splits) == len(plan.splits) - 2
    assert {split.id for split in resumed.splits} == {split.id for split in plan.splits[2:]}
    lake.update(zip(resumed.rows["id"].to_pylist(), resumed.rows["note"].to_pylist(), strict=True))
    caught_up = shop.load(selection, resumed.position)
    assert not caught_up.resumed
    lake.update(zip(caught_up.rows["id"].to_pylist(), caught_up.rows["note"].to_pylist(), strict=True))
    there = dict(shop.execute("SELECT id, note FROM orders"))
    assert {id: note for id, note in lake.items() if not 100 <= id <= 200} == there


@pytest.mark.usefixtures("small_splits")
def test_a_half_read_first_load_begins_again_when_the_table_was_written_anew(shop: Shop) -> None:
    fill(shop, 600)
    selection = shop.merge()
    killed = half_done(shop.load(selection), 1)
    shop.execute("VACUUM FULL orders")
    again = shop.load(selection, killed)
    assert not again.resumed
    assert "begins again" in again.warnings[0]
    assert again.column("id") == shop.ids()
    assert not {split.id for split in again.splits} & set(killed.splits)


def test_only_a_first_merge_by_key_and_cursor_can_be_resumed(shop: Shop) -> None:
    first = shop.load(shop.merge())
    assert first.resumable
    for selection in (
        shop.append(),
        shop.append(primary_key=()),
        shop.merge(options=options(late_commit_guard="lag")),
        select(shop.source, "orders"),
        select(shop.source, "orders", mode=Mode.MERGE),
    ):
        assert not shop.load(selection).resumable
    assert not shop.load(shop.merge(), first.position).resumable


# ---- positions that do not belong to the table any more


def changed(position: Position, **fields: Any) -> Position:
    return Position(token=json.dumps({**json.loads(position.token or ""), **fields}))


def test_a_table_that_was_created_again_is_not_the_same(shop: Shop) -> None:
    selection = shop.merge()
    first = shop.load(selection)
    shop.execute("DROP TABLE orders;" + ORDERS)
    with pytest.raises(PositionLost, match="dropped and created again") as caught:
        shop.load(selection, first.position)
    assert "asgard resync" in caught.value.hint
    assert caught.value.where["stream"] == "public.orders"
    assert caught.value.exit_code == 4
    with pytest.raises(PositionLost, match="dropped and created again"):
        shop.load(selection, half_done(first, 1))


def test_the_cursor_is_asked_too_where_a_server_does_not_say_who_it_is(shop: Shop) -> None:
    selection = shop.merge()
    first = shop.load(selection)
    assert shop.load(selection, changed(first.position, system="")).column("id") == [10]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"system": "1/1"}, "restored or promoted"),
        ({"xmin": 1 << 40}, "restored from an older state"),
        ({"cursor": "other"}, "of cursor other"),
        ({"type": "date"}, "timestamp with time zone"),
        ({"format": 2}, "none of this version"),
        ({"surprise": 2}, "none of this version"),
    ],
)
def test_a_position_of_elsewhere_is_refused(shop: Shop, fields: dict[str, Any], says: str) -> None:
    selection = shop.merge()
    first = shop.load(selection)
    with pytest.raises(PositionLost, match=says):
        shop.load(selection, changed(first.position, **fields))


def test_a_position_that_is_no_text_of_ours_is_refused(shop: Shop) -> None:
    for token in ("", "7", "[]", "{}", "null", "2024-01-01"):
        with pytest.raises(PositionLost, match="none of this version"):
            shop.load(shop.merge(), Position(token=token))


def test_more_transactions_than_rows_remember(shop: Shop) -> None:
    selection = shop.merge()
    first = shop.load(selection)
    long_ago = json.loads(first.position.token or "")["xmin"] - (1 << 31)
    with pytest.raises(PositionLost, match="transactions have passed"):
        shop.load(selection, changed(first.position, xmin=long_ago))


def test_lag_goes_on_where_the_server_is_another(shop: Shop) -> None:
    selection = shop.merge(options=options(late_commit_guard="lag"), cursor_lag=1)
    first = shop.load(selection)
    assert shop.load(selection, changed(first.position, system="1/2")).column("id") == [9, 10]


# ---- partitions


def test_partitions_are_read_one_by_one_and_what_is_attached_is_new(shop: Shop) -> None:
    shop.execute(
        """
        CREATE TABLE parts (id int, at timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
        CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (100) TO (150);
        INSERT INTO parts SELECT i, '2024-01-01' FROM generate_series(1, 3) i;
        INSERT INTO parts VALUES (101, '2024-01-01');
        CREATE TABLE old (at timestamptz, extra int, id int NOT NULL PRIMARY KEY);
        ALTER TABLE old DROP COLUMN extra;
        INSERT INTO old (id, at) VALUES (201, '1999-01-01');
        """
    )
    keyed = select(shop.source, "parts", mode=Mode.MERGE, cursor="at")
    keyless = select(shop.source, "parts", mode=Mode.APPEND, cursor="at")
    first, once = shop.load(keyed), shop.load(keyless)
    assert first.column("id") == once.column("id") == [1, 2, 3, 101]
    shop.execute("ALTER TABLE parts ATTACH PARTITION old FOR VALUES FROM (200) TO (300)")
    shop.execute("INSERT INTO parts VALUES (150 - 1, '1999-01-01')")
    assert {149, 201} <= set(shop.load(keyed, first.position).column("id"))
    assert shop.load(keyless, once.position).column("id") == [149, 201]


def test_partitions_that_may_not_be_read_alone_are_read_by_their_parent(shop: Shop) -> None:
    shop.execute(
        """
        CREATE TABLE parts (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
        INSERT INTO parts VALUES (1, '2024-01-01');
        DROP ROLE IF EXISTS parts_reader; CREATE ROLE parts_reader LOGIN PASSWORD 'parts';
        GRANT SELECT ON parts TO parts_reader;
        """
    )
    with source_of(shop.server, shop.database, username="parts_reader", password="parts") as source:
        selection = select(source, "parts", mode=Mode.MERGE, cursor="at")
        first = load(source, selection)
        assert first.column("id") == [1]
        assert first.warnings == ()
        shop.execute("INSERT INTO parts VALUES (2, '1999-01-01')")
        assert load(source, selection, first.position).column("id") == [2]


def test_errors_name_their_stream(shop: Shop) -> None:
    with pytest.raises(AsgardError) as caught:
        shop.load(without(shop.merge(), cursor="nope"))
    assert "nope" in str(caught.value)
    assert caught.value.where.get("stream", "public.orders") == "public.orders"
