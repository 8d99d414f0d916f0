"""The PostgreSQL connector on real servers: that all of it arrives, whatever comes between."""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from asgard.connectors._postgres import splits
from asgard.connectors.postgres import PostgresConfig
from asgard.core.batch import Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    Cancelled,
    DataError,
    Refused,
    SchemaChanged,
    Unreachable,
)
from asgard.core.source import Plan, ReadSettings
from asgard.core.stream import Selection
from asgard.testing.content import content_hash
from tests.connectors.postgres_reading import Shop, load, options, read_plan, read_split, select, source_of
from tests.connectors.waiting import wait_until
from tests.servers.postgres import Server

HOLDERS = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""


@pytest.fixture
def shop(pg16: Server, pg_database: str) -> Iterator[Shop]:
    with source_of(pg16, pg_database) as source:
        yield Shop(pg16, pg_database, source)


# ---- all of it arrives


def numbered(shop: Shop, rows: int, payload: str = "repeat('x', 40)") -> None:
    shop.execute(
        "DROP TABLE IF EXISTS t;"
        f"CREATE TABLE t AS SELECT i AS id, {payload} AS x FROM generate_series(1, {rows}) i"
    )


@pytest.mark.parametrize("rows", [0, 1, 2047, 2048, 2049, 4095, 4096, 4097])
def test_every_row_arrives_at_the_edges_of_batches(shop: Shop, rows: int) -> None:
    numbered(shop, rows)
    there = pa.table({"id": pa.array([i for (i,) in shop.execute("SELECT id FROM t")], pa.int32()),
                      "x": ["x" * 40] * rows}, schema=shop.source.describe("t").schema)  # fmt: skip
    assert content_hash(shop.load("t")) == content_hash(there)


@pytest.mark.parametrize("edge", [-1, 0, 1])
@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_every_row_arrives_at_the_edges_of_splits(
    shop: Shop, edge: int, parallel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that ends one row before, at, and one row after the end of a page that a split ends with."""
    monkeypatch.setattr(splits, "LEAST_SPLIT_PAGES", 5)
    monkeypatch.setattr(splits, "MOST_SPLIT_PAGES", 5)
    shop.execute("CREATE TABLE s (id int, x text)")
    shop.execute("INSERT INTO s SELECT i, repeat('x', 700) FROM generate_series(1, 200) i")
    [(full,)] = shop.execute("SELECT max(id) FROM s WHERE (ctid::text::point)[0] < 10")
    shop.execute(f"DELETE FROM s WHERE id > {full + edge}")
    shop.execute("VACUUM s")  # gives the empty pages at the end back
    [(pages,)] = shop.execute("SELECT pg_relation_size('s') / 8192")
    assert pages == (11 if edge == 1 else 10)
    loaded = load(shop.source, select(shop.source, "s"), parallel=parallel)
    assert len(loaded.splits) > 1
    assert loaded.column("id") == list(range(1, full + edge + 1))
    with shop.source.plan([select(shop.source, "s")], {}, parallel=parallel) as plan:
        shop.execute("INSERT INTO s SELECT i, repeat('y', 700) FROM generate_series(1000, 1200) i")
        assert sorted(read_plan(shop.source, plan)["id"].to_pylist()) == loaded.column("id")


def test_batches_are_bounded_by_bytes(shop: Shop) -> None:
    numbered(shop, 20_000, "repeat('x', 500)")
    selection = select(shop.source, "t")
    with shop.source.plan([selection], {}) as plan:
        [split] = plan.splits
        batches = read_split(shop.source, split, 1 << 20)
    assert len(batches) >= 5
    assert max(batch.nbytes for batch in batches) < 4 << 20


def test_rows_that_are_very_wide_come_a_few_at_a_time(shop: Shop) -> None:
    # Compressed they are small: 300 rows of 1 MB on a handful of pages.
    shop.execute(
        "CREATE TABLE w AS "
        "SELECT i AS id, repeat(md5(i::text), 32768) AS x, '{1}'::int[] AS a, 'é'::bytea AS b "
        "FROM generate_series(1, 120) i"
    )
    selection = select(shop.source, "w")
    with shop.source.plan([selection], {}, parallel=2) as plan:
        assert "widths" in plan.splits[0].spec
        batches = [batch for split in plan.splits for batch in read_split(shop.source, split, 4 << 20)]
    assert max(batch.num_rows for batch in batches) <= 5
    table = pa.Table.from_batches(batches)
    there = dict(shop.execute("SELECT id, md5(x) FROM w"))
    arrived = {row["id"]: hashlib.md5(row["x"].encode()).hexdigest() for row in table.to_pylist()}
    assert arrived == there


def test_all_splits_show_one_snapshot(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "LEAST_SPLIT_PAGES", 4)
    numbered(shop, 5000)
    selection = select(shop.source, "t")
    with shop.source.plan([selection], {}, parallel=4) as plan:
        assert len(plan.splits) == 4
        rows = []
        for split in plan.splits:
            shop.execute("UPDATE t SET x = 'changed' WHERE id % 7 = 0; DELETE FROM t WHERE id % 11 = 0")
            shop.execute("INSERT INTO t VALUES (99999, 'new')")
            rows += [row for batch in read_split(shop.source, split) for row in batch.to_pylist()]
    assert sorted(row["id"] for row in rows) == list(range(1, 5001))
    assert {row["x"] for row in rows} == {"x" * 40}


def test_several_streams_in_one_plan_and_splits_that_travel(shop: Shop) -> None:
    numbered(shop, 10)
    shop.execute("CREATE TABLE u AS SELECT 'u' AS u")
    selections = [select(shop.source, "t"), select(shop.source, "u")]
    with shop.source.plan(selections, {}) as plan:
        travelled = pickle.loads(pickle.dumps(plan.splits))
        with source_of(shop.server, shop.database) as elsewhere:
            rows = {
                split.stream: sum(b.num_rows for b in read_split(elsewhere, split)) for split in travelled
            }
    assert rows == {f"{shop.database}/public.t": 10, f"{shop.database}/public.u": 1}


def test_tables_of_other_encodings(pg16: Server) -> None:
    pg16.execute("DROP DATABASE IF EXISTS latin")
    pg16.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    pg16.execute("CREATE TABLE t AS SELECT 'Größe'::text AS x", "latin")
    with source_of(pg16, "latin") as source:
        assert load(source, select(source, "t")).rows.to_pylist() == [{"x": "Größe"}]
    pg16.drop_database("latin")


def test_bytes_that_are_no_text_are_refused(pg16: Server) -> None:
    pg16.execute("DROP DATABASE IF EXISTS bytes")
    pg16.execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    pg16.execute("CREATE TABLE good AS SELECT 'plain'::text AS x", "bytes")
    pg16.execute("CREATE TABLE bad AS SELECT convert_from('\\xff', 'SQL_ASCII') AS x", "bytes")
    with source_of(pg16, "bytes") as source:
        assert load(source, select(source, "good")).rows.to_pylist() == [{"x": "plain"}]
        with pytest.raises(DataError):
            load(source, select(source, "bad"))
    pg16.drop_database("bytes")


# ---- what comes between


def slow(shop: Shop, rows: int = 30_000) -> Selection:
    """A view whose rows take a while: half a minute in all."""
    shop.execute(
        "CREATE TABLE few AS SELECT 1 AS i; CREATE TABLE many AS SELECT generate_series(1, 100000) AS i"
    )
    shop.execute(
        "CREATE VIEW slow AS SELECT i, (SELECT pg_sleep(0.001) FROM few WHERE few.i < many.i)::text FROM many"
    )
    return select(shop.source, "slow")


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, caught


def backends(shop: Shop) -> int:
    return shop.execute(
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE datname = '{shop.database}' AND application_name = 'asgard'"
    )[0][0]  # type: ignore[no-any-return]


def copying(shop: Shop) -> bool:
    """Whether somebody is read from."""
    return bool(shop.execute(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%COPY%' "
        f"AND datname = '{shop.database}' AND pid <> pg_backend_pid()"
    ))  # fmt: skip


def waiting(shop: Shop) -> bool:
    """Whether somebody waits for a lock."""
    return bool(shop.execute(
        f"SELECT 1 FROM pg_stat_activity WHERE datname = '{shop.database}' AND wait_event_type = 'Lock'"
    ))  # fmt: skip


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_cancel_and_close_break_off_at_once(shop: Shop, how: str) -> None:
    cancel = Cancel()
    source = source_of(shop.server, shop.database, ReadSettings(cancel=cancel))
    selection = slow(shop)
    with source.plan([selection], {}) as plan:
        reader = source.open(plan.splits[0])
        thread, caught = in_thread(lambda: reader.poll(64 << 20, 1.0))
        wait_until(lambda: copying(shop), "the reader reads")
        cancel.cancel("enough") if how == "cancel" else reader.close()
        thread.join(60)
        assert not thread.is_alive()
        assert isinstance(caught[0], Cancelled)
        reader.close()
    wait_until(lambda: backends(shop) == 0, "no session is left")


def test_a_reader_that_is_left_early_leaves_nothing_behind(shop: Shop) -> None:
    numbered(shop, 50_000)
    selection = select(shop.source, "t")
    with shop.source.plan([selection], {}) as plan:
        reader = shop.source.open(plan.splits[0])
        reader.poll(1, 1.0)
        reader.close()
        reader.close()
        with pytest.raises(Cancelled):
            reader.poll(1, 1.0)
        wait_until(lambda: backends(shop) == 1, "the plan's own session is left alone")
    wait_until(lambda: backends(shop) == 0, "no session is left")


def test_a_plan_can_be_cancelled_while_it_waits(shop: Shop) -> None:
    cancel = Cancel()
    numbered(shop, 10)
    source = source_of(shop.server, shop.database, ReadSettings(cancel=cancel))
    selection = select(source, "t")
    with shop.connect() as other:
        other.execute("BEGIN; LOCK TABLE t")
        thread, caught = in_thread(lambda: source.plan([selection], {}))
        time.sleep(0.5)
        cancel.cancel()
        thread.join(10)
        assert isinstance(caught[0], Cancelled)


def test_a_backend_that_is_killed_is_unreachable(shop: Shop) -> None:
    selection = slow(shop)
    with shop.source.plan([selection], {}) as plan:
        reader = shop.source.open(plan.splits[0])
        thread, caught = in_thread(lambda: reader.poll(64 << 20, 1.0))
        wait_until(lambda: copying(shop), "the reader reads")
        shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%COPY%' "
                     f"AND datname = '{shop.database}' AND pid <> pg_backend_pid()")  # fmt: skip
        thread.join(10)
    assert isinstance(caught[0], Unreachable)
    assert caught[0].retryable
    assert caught[0].hint


def test_a_snapshot_whose_holder_is_gone_is_unreachable(shop: Shop) -> None:
    numbered(shop, 10)
    plan = shop.source.plan([select(shop.source, "t")], {})
    plan.close()
    # The server hears of it a moment later.
    wait_until(lambda: shop.execute(HOLDERS) == [(0,)], "the holder of the snapshot is gone")
    with pytest.raises(Unreachable, match="held the snapshot is gone"):
        read_plan(shop.source, plan)


def test_a_table_does_not_change_under_a_plan(shop: Shop) -> None:
    numbered(shop, 1000)
    selection = select(shop.source, "t")
    done: list[str] = []

    def alter() -> None:
        shop.execute("ALTER TABLE t ADD COLUMN late int DEFAULT 1; ALTER TABLE t ALTER COLUMN id TYPE bigint")
        done.append("altered")

    with shop.source.plan([selection], {}) as plan:
        reader = shop.source.open(plan.splits[0])  # signs in at its first poll
        batch = reader.poll(1, 1.0)
        thread, caught = in_thread(alter)
        time.sleep(0.5)
        assert not done
        assert not isinstance(batch, Progress)
        reader.close()
    thread.join(10)
    assert done
    assert not caught
    with pytest.raises(SchemaChanged, match=r"the columns of .* changed"):
        shop.source.plan([selection], {})
    assert shop.load("t").schema.names == ["id", "x", "late"]


def test_a_split_does_not_wait_for_somebody_who_waits_for_the_plan(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgard.transport.postgres.LOCK_TIMEOUT_SECONDS", 1)
    numbered(shop, 10)
    selection = select(shop.source, "t")
    with shop.source.plan([selection], {}) as plan:
        thread, _ = in_thread(lambda: shop.execute("ALTER TABLE t ADD COLUMN late int"))
        wait_until(lambda: waiting(shop), "the change waits for the plan")
        with pytest.raises(Unreachable, match="lock timeout") as caught:
            read_plan(shop.source, plan)
        assert "somebody is changing the table" in caught.value.hint
    thread.join(10)


def test_permissions(shop: Shop) -> None:
    shop.execute(
        """
        CREATE TABLE secret (a int); CREATE TABLE partly (a int, b int); CREATE TABLE open (a int);
        INSERT INTO open VALUES (1), (2); INSERT INTO partly VALUES (3, 4);
        CREATE SCHEMA closed; CREATE TABLE closed.t (a int);
        ALTER TABLE open ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON open USING (a = 1);
        DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'reader';
        GRANT SELECT ON open, closed.t TO reader; GRANT SELECT (a) ON partly TO reader;
        """
    )
    with source_of(shop.server, shop.database, username="reader", password="reader") as source:
        assert [stream.name for stream in source.streams()] == ["open", "partly"]
        for name, given in {"secret": {}, "partly": {}, "closed.t": {}}.items():
            with pytest.raises(Refused, match="permission denied") as caught:
                load(source, select(source, name, **given))
            assert "GRANT" in caught.value.hint
        only = select(source, "partly", options=options(exclude_columns=["b"]))
        assert load(source, only).rows.to_pylist() == [{"a": 3}]
        hidden = load(source, select(source, "open"))
        assert hidden.rows.to_pylist() == [{"a": 1}]
        assert "row security" in hidden.warnings[0]
    shop.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_the_session_is_told_how_to_write_values(shop: Shop) -> None:
    role = shop.server.user
    shop.execute(
        f"""
        ALTER ROLE {role} IN DATABASE {shop.database} SET DateStyle = 'German';
        ALTER ROLE {role} IN DATABASE {shop.database} SET IntervalStyle = 'iso_8601';
        ALTER ROLE {role} IN DATABASE {shop.database} SET extra_float_digits = -5;
        ALTER ROLE {role} IN DATABASE {shop.database} SET bytea_output = 'escape';
        ALTER ROLE {role} IN DATABASE {shop.database} SET statement_timeout = 1500;
        ALTER ROLE {role} IN DATABASE {shop.database} SET idle_in_transaction_session_timeout = 500;
        ALTER ROLE {role} IN DATABASE {shop.database} SET standard_conforming_strings = off;
        """
    )
    query = (
        "SELECT '2024-02-01'::date AS d, '2024-02-01 00:00+00'::timestamptz AS t, '1 day'::interval AS i, "
        "0.1::float8 + 0.2 AS f, '{0.30000000000000004}'::float8[] AS fs, ARRAY['\\\\xff'::bytea] AS b, "
        "(SELECT '' FROM pg_sleep(1.6)) AS slept"
    )
    wanted = options(columns={"d": "text", "t": "text", "f": "text", "fs": "text"})
    selection = select(shop.source, "q", query=query, options=wanted)
    with shop.source.plan([selection], {}) as plan:
        time.sleep(0.8)
        [row] = read_plan(shop.source, plan).to_pylist()
    assert row == {
        "d": "2024-02-01", "t": "2024-02-01 00:00:00+00", "i": "1 day", "f": "0.30000000000000004",
        "fs": "{0.30000000000000004}", "b": ["\\xff"], "slept": "",
    }  # fmt: skip


# ---- the configuration


def test_names_and_defaults_are_the_users() -> None:
    given = {"host": "h", "database": "d", "username": "u", "password": "p", "port": None, "ssl_mode": None}
    config = PostgresConfig(**given, connection_timeout=None)  # type: ignore[arg-type]
    assert (config.port, config.ssl_mode, config.connection_timeout_seconds) == (5432, "require", 30)
    assert PostgresConfig.model_validate({**given, "connection_timeout": 5}).connection_timeout_seconds == 5
    assert PostgresConfig.model_validate({**given, "schema": "s"}).schemas == ("s",)
    assert PostgresConfig.model_validate({**given, "schemas": None}).schemas == ()
    # Editors take one name where we do.
    assert PostgresConfig.model_json_schema()["properties"]["schemas"]["type"] == ["string", "array"]
    assert "p" not in repr(config.password)
    for wrong in (
        {"options": {"password": "x"}},
        {"options": {"host": "x"}},
        {"ssl_mode": "maybe"},
        {"nope": 1},
    ):
        with pytest.raises(ValueError, match=r"no place here|Input should be|Extra inputs"):
            PostgresConfig.model_validate({**given, **wrong})


def test_max_parallel_bounds_the_splits(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "LEAST_SPLIT_PAGES", 4)
    numbered(shop, 5000)
    with source_of(shop.server, shop.database, max_parallel=2) as source:
        plan: Plan = source.plan([select(source, "t")], {}, parallel=8)
        assert len(plan.splits) == 2
        plan.close()
