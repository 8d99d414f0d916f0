"""The Redshift connector on its stand-in: UNLOAD and what goes wrong with it, signing in, cursors, names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
import pytest

import asgard
from asgard.connectors.redshift import RedshiftConfig
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AuthenticationError,
    Cancelled,
    ConfigError,
    DataError,
    PositionLost,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.stream import Selection
from asgard.testing.connectors import read_all
from tests.connectors.harness_redshift import ORDERS
from tests.connectors.redshift_reading import Warehouse
from tests.connectors.waiting import wait_until
from tests.servers.faults import Fault, faulty_network
from tests.servers.redshift import ROLE, RedshiftFront

MANY = "CREATE TABLE many AS SELECT g AS id, 'n' || g AS note FROM generate_series(1, 5000) g"


@pytest.fixture
def warehouse(redshift: RedshiftFront) -> Iterator[Warehouse]:
    made = Warehouse.new(redshift)
    made.execute(ORDERS)
    yield made
    redshift.server.drop_database(made.name)


# ---- what is unloaded, and what not


def test_an_unload_is_read_by_several_and_removed(warehouse: Warehouse) -> None:
    warehouse.execute(MANY)
    with warehouse.source(kms_key_id="key'1", unload_region="eu-west-1", region="us-east-1") as source:
        selection = Selection(source.describe("many"))
        with source.plan([selection], {}, parallel=4) as plan:
            assert [split.id for split in plan.splits] == ["0000_part_00.parquet", "0001_part_00.parquet"]
            assert [split.rows for split in plan.splits] == [2500, 2500]
            assert len(warehouse.objects()) == 3
            rows = read_all(source, plan.splits, selection.stream.schema).to_pylist()
        assert warehouse.objects() == []
    assert sorted((row["id"], row["note"]) for row in rows) == [(n, f"n{n}") for n in range(1, 5001)]
    [statement] = warehouse.front.unloads
    assert "FORMAT AS PARQUET MANIFEST VERBOSE" in statement
    assert "KMS_KEY_ID 'key''1' ENCRYPTED REGION 'eu-west-1'" in statement
    assert f"IAM_ROLE '{ROLE}'" in statement
    assert statement.count(warehouse.bucket["secret_key"]) == 0


@pytest.mark.parametrize(
    ("wish", "unloads"),
    [
        ({"name": "orders"}, 0), ({"name": "many"}, 1), ({"name": "large_orders"}, 1),
        ({"name": "many", "options": {"read": "direct"}}, 0),
        ({"name": "orders", "options": {"read": "unload"}}, 1),
        ({"name": "many", "limit_rows": 7}, 0), ({"name": "many", "options": {"where": "id < 10 -- few"}}, 0),
        ({"name": "asked", "query": "SELECT 1 AS one"}, 1),
    ],
)  # fmt: skip
def test_what_is_large_is_unloaded(warehouse: Warehouse, wish: dict[str, Any], unloads: int) -> None:
    warehouse.execute(MANY)
    loaded = warehouse.load(**wish, config={"unload_rows": 1000})
    assert len(warehouse.front.unloads) == unloads
    assert loaded.rows
    if "limit_rows" in wish:
        assert len(loaded.rows) == 7


def test_nothing_is_unloaded_where_there_is_no_bucket(warehouse: Warehouse) -> None:
    warehouse.execute(MANY)
    loaded = warehouse.load("many", config={"unload": None})
    assert sorted(row["id"] for row in loaded.rows) == list(range(1, 5001))
    assert warehouse.front.unloads == []
    with pytest.raises(ConfigError, match="nowhere to"):
        warehouse.load("many", {"read": "unload"}, config={"unload": None})


def test_an_empty_table(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE nothing (id int)")
    loaded = warehouse.load("nothing")
    assert (loaded.rows, loaded.splits, len(warehouse.front.unloads)) == ([], 0, 1)


def test_all_tables_of_a_plan_show_one_instant(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE a (n int); CREATE TABLE b (n int); INSERT INTO a VALUES (1)")
    isolation = "SET default_transaction_isolation = 'serializable'"  # one of Redshift's two
    warehouse.execute(f'ALTER DATABASE "{warehouse.name}" {isolation}')
    warehouse.front.hold_seconds = 0.5

    def write() -> None:
        while not warehouse.front.unloads:
            time.sleep(0.02)
        warehouse.execute("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)")

    writer = threading.Thread(target=write)
    with warehouse.source() as source:
        selections = [Selection(source.describe(name)) for name in ("a", "b")]
        writer.start()
        with source.plan(selections, {}) as plan:
            writer.join()
            assert [(split.stream.rpartition(".")[2], split.rows) for split in plan.splits] == [("a", 1)]


# ---- what goes wrong with it


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"lost_rows": 1}, "has 1 rows, the server wrote 2|has 0 rows, the server wrote 1|gone"),
        ({"spoil": lambda m: m["entries"].pop()}, "the manifest says 3"),
        ({"spoil": lambda m: m["meta"].update(record_count=2)}, "the manifest says 2"),
        ({"spoil": lambda m: m.pop("meta")}, "cannot be read"),
        ({"spoil": lambda m: m["entries"][0].update(url="s3://elsewhere/file")}, "cannot be read"),
        ({"spoil": lambda m: m["entries"][0]["meta"].update(content_length=1)}, "is not what was unloaded"),
    ],
)
def test_files_that_are_not_what_was_unloaded(
    warehouse: Warehouse, spoilt: dict[str, Any], says: str
) -> None:
    for name, value in spoilt.items():
        setattr(warehouse.front, name, value)
    with pytest.raises(DataError, match=says):
        warehouse.load("orders")
    assert warehouse.objects() == []


@pytest.mark.parametrize(
    ("config", "denied", "wanted", "says"),
    [
        ({"iam_role": "arn:aws:iam::1:role/other"}, False, Refused, "not authorized to assume IAM Role"),
        ({}, True, Refused, "Access Denied"),
        ({"unload": "s3://no-such-bucket/x"}, False, ConfigError, "NoSuchBucket"),
    ],
)
def test_roles_and_buckets_that_do_not_do(
    warehouse: Warehouse, config: dict[str, Any], denied: bool, wanted: type[Exception], says: str
) -> None:
    warehouse.front.denied = denied
    with pytest.raises(wanted, match=says) as caught:
        warehouse.load("orders", config=config)
    assert isinstance(caught.value, asgard.AsgardError)
    assert caught.value.hint
    assert caught.value.where["stream"] == "public.orders"


def test_a_role_is_needed_to_unload() -> None:
    for config, says in (
        ({"unload": "s3://b/p"}, "unload needs iam_role"),
        ({"unload": "b/p", "iam_role": "default"}, "s3://bucket/prefix"),
        ({"host": None}, "cluster_identifier, workgroup or host is missing"),
        ({"cluster_identifier": "c", "workgroup": "w"}, "not both"),
    ):
        with pytest.raises(asgard.ConfigError, match=says):
            asgard.RedshiftConnector({"host": "h", "database": "d", **config})


def test_a_default_role(warehouse: Warehouse) -> None:
    assert len(warehouse.load("orders", config={"iam_role": "default"}).rows) == 3
    assert "IAM_ROLE default" in warehouse.front.unloads[0]


# ---- kills and cancels

KILLED = """
import json, sys
from asgard.connectors.redshift import RedshiftConfig, RedshiftSource
from asgard.core.stream import Selection
source = RedshiftSource(RedshiftConfig.model_validate(json.loads(sys.argv[1])))
source.plan([Selection(source.describe("orders"))], {})
"""


def test_files_of_a_killed_run_go_with_a_later_one(warehouse: Warehouse) -> None:
    warehouse.front.hold_seconds = 1.5
    process = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(warehouse.config())])
    until = time.monotonic() + 30
    while not warehouse.objects():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its files are written, the manifest is not
    process.wait()
    warehouse.front.hold_seconds = 0
    assert len(warehouse.load("orders").rows) == 3
    left = warehouse.objects()
    assert left  # it may be another run that still reads
    obstore.put(warehouse.place.store, "spool/asgard-unload/not-ours", b"x")
    obstore.put(warehouse.place.store, "spool/asgard-unload/20990101T000000Z-x/1/f", b"x")
    manifest = lambda: any(name.endswith("manifest") for name in warehouse.objects())  # noqa: E731
    wait_until(manifest, "the server, which goes on without its client, writes the manifest")
    assert len(warehouse.load("orders", config={"unload_keep_hours": 0.1 / 3600}).rows) == 3
    kept = ["asgard-unload/20990101T000000Z-x/1/f", "asgard-unload/not-ours"]
    assert warehouse.objects() == kept
    warehouse.execute("SELECT 1")


def test_an_unload_is_broken_off(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE VIEW slow AS SELECT pg_sleep(60)::varchar AS nothing")
    cancel = Cancel()
    with warehouse.source(cancel) as source:
        selection = Selection(source.describe("slow"))
        threading.Timer(0.5, cancel.cancel).start()
        with pytest.raises(Cancelled):
            source.plan([selection], {})
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%slow%' "
        "AND pid <> pg_backend_pid()"
    )
    assert warehouse.execute(running) == [(0,)]
    assert warehouse.objects() == []


def test_rows_over_the_wire_are_broken_off(warehouse: Warehouse) -> None:
    warehouse.execute(
        "CREATE VIEW slow AS SELECT g, pg_sleep(0.01)::varchar FROM generate_series(1, 100000) g"
    )
    cancel = Cancel()
    with warehouse.source(cancel) as source:
        selection = source.describe("slow", None)
        options = source.StreamOptions.model_validate({"read": "direct"})
        with source.plan([Selection(selection, options=options)], {}) as plan:
            threading.Timer(0.5, cancel.cancel).start()
            with pytest.raises(Cancelled):
                read_all(source, plan.splits, selection.schema)


@pytest.mark.parametrize("fault", [Fault.cut(60_000), Fault.reset(60_000), Fault.cut(2_000)])
def test_a_line_that_breaks_off(warehouse: Warehouse, fault: Fault) -> None:
    warehouse.execute(MANY)
    with faulty_network(warehouse.front.host, warehouse.front.port) as network:
        network.arm(fault, times=1)
        with pytest.raises(Unreachable):
            warehouse.load("many", {"read": "direct"}, config={"port": network.port})
        assert network.fired == 1
        assert len(warehouse.load("many", {"read": "direct"}, config={"port": network.port}).rows) == 5000
    port = int(warehouse.bucket["s3_endpoint_url"].rpartition(":")[2])
    with faulty_network("127.0.0.1", port) as network:
        network.arm(Fault.reset(4_000), times=2)
        url = f"http://{network.host}:{network.port}"
        loaded = warehouse.load("many", config={"s3_endpoint_url": url})
        assert network.fired
        assert sorted(row["id"] for row in loaded.rows) == list(range(1, 5001))


# ---- signing in


def test_a_password_that_only_awss_own_drivers_can_use(warehouse: Warehouse) -> None:
    warehouse.front.digest = True
    with warehouse.source() as source, pytest.raises(AuthenticationError) as caught:
        source.check()
    assert "SHA-256" in caught.value.hint


def test_the_plain_connector(warehouse: Warehouse) -> None:
    with asgard.RedshiftConnector(warehouse.config()) as connector:
        assert list(connector.get_schema()) == ["public.large_orders", "public.orders", "public.places"]
        assert connector.load_data(table="orders", backend="arrow").num_rows == 3
    wrong = asgard.RedshiftConnector(warehouse.config(password="wr0ng"))
    assert not wrong.validate_connection()
    assert isinstance(wrong.error, asgard.AuthenticationError)
    assert "wr0ng" not in str(wrong.error)


# ---- names


def test_names_with_capitals_and_backslashes(warehouse: Warehouse) -> None:
    warehouse.execute(
        'CREATE SCHEMA "Sales"; CREATE TABLE "Sales"."Odd ""Name" ("Id" int, "a\\b" varchar(9), "C0" int);'
        'INSERT INTO "Sales"."Odd ""Name" VALUES (1, E\'x\\\\\'\'y\', 2)'
    )
    for way in ("unload", "direct"):
        loaded = warehouse.load('Sales.Odd "Name', {"read": way, "where": "\"a\\b\" = 'x\\\\''y'"})
        assert loaded.rows == [{"Id": 1, "a\\b": "x\\'y", "C0": 2}]


def test_names_that_are_not_one(warehouse: Warehouse) -> None:
    warehouse.execute(
        "CREATE SCHEMA other; CREATE TABLE other.orders (id int); CREATE TABLE other.alone (id int);"
        "CREATE SCHEMA third; CREATE TABLE third.alone (id int)"
    )
    with warehouse.source() as source:
        assert source.describe("orders").namespace == "public"
        assert source.describe("other.orders").schema.names == ["id"]
        with pytest.raises(QueryError, match="several schemas"):
            source.describe("alone")
        with pytest.raises(QueryError) as caught:
            source.describe("orderz")
        assert "orders" in caught.value.hint
        with pytest.raises(QueryError, match="a several times"):
            source.describe("asked", None, "SELECT 1 AS a, 2 AS a")
        assert source.describe("orders").primary_key == ()  # nobody is held to it
    with warehouse.source(schema="third") as source:
        assert source.describe("alone").namespace == "third"


# ---- what is new


def test_a_cursor_without_a_key_loads_each_row_once(warehouse: Warehouse) -> None:
    first = warehouse.load("orders", cursor="changed")
    assert len(first.rows) == 3
    assert "cursor_lag" in first.warnings[0]
    insert = "INSERT INTO orders VALUES ({}, 1, '', '2026-01-01 10:00:{:02}+00')"
    warehouse.execute(insert.format(4, 5))
    second = warehouse.load("orders", cursor="changed", since=first.token)
    assert [row["id"] for row in second.rows] == [4]
    assert warehouse.load("orders", cursor="changed", since=second.token).rows == []
    warehouse.execute("DELETE FROM orders WHERE id = 4")
    third = warehouse.load("orders", cursor="changed", since=second.token)
    assert (third.rows, third.token) == ([], second.token)


@pytest.mark.parametrize("way", ["unload", "direct"])
def test_a_lag_finds_what_commits_late(warehouse: Warehouse, way: str) -> None:
    how: dict[str, Any] = {"cursor": "changed", "primary_key": ("id",), "cursor_lag": 2.5}
    first = warehouse.load("orders", {"read": way}, **how)
    assert first.warnings == ()
    warehouse.execute("INSERT INTO orders VALUES (4, 1, 'late', '2026-01-01 09:59:59+00')")
    second = warehouse.load("orders", {"read": way}, since=first.token, **how)
    assert {row["id"] for row in second.rows} == {1, 2, 3, 4}
    below = warehouse.load("orders", {"read": way}, until="2026-01-01 10:00:01+00", **how)
    assert {row["id"] for row in below.rows} == {1, 4}


@pytest.mark.parametrize(
    ("type", "values"),
    [
        ("int", ("5", "7")), ("numeric(12, 4)", ("5.5000", "5.5001")), ("date", ("2026-01-01", "2026-01-02")),
        ("varchar(9)", ("a\\\\b''", "b")),
        ("timestamp", ("2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.000002")),
    ],
)  # fmt: skip
def test_cursors_of_each_type(warehouse: Warehouse, type: str, values: tuple[str, str]) -> None:
    low, high = values
    warehouse.execute(f"CREATE TABLE t (id int, c {type}); INSERT INTO t VALUES (1, '{low}'), (2, NULL)")
    first = warehouse.load("t", cursor="c")
    assert {row["id"] for row in first.rows} == {1, 2}
    warehouse.execute(f"INSERT INTO t VALUES (3, '{high}')")
    assert [row["id"] for row in warehouse.load("t", cursor="c", since=first.token).rows] == [3]
    with pytest.raises(PositionLost, match="the position is of cursor c"):
        warehouse.load("t", cursor="id", since=first.token)


def test_what_cannot_be_a_cursor(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE t (c double precision, s varchar(9)); INSERT INTO t VALUES (1, 'a')")
    with pytest.raises(ConfigError, match="cannot be a cursor"):
        warehouse.load("t", cursor="c")
    with pytest.raises(ConfigError, match="knows no lag"):
        warehouse.load("t", cursor="s", cursor_lag=1.0)


# ---- in a project


def test_a_project(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = warehouse.config(password="${REDSHIFT_PASSWORD}", secret_key="${AWS_SECRET_ACCESS_KEY}")
    monkeypatch.setenv("REDSHIFT_PASSWORD", warehouse.front.server.password)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", warehouse.bucket["secret_key"])
    table = {"name": "orders", "source": "google_ads_api", "frequency": "hourly", "mode": "merge",
             "primary_key": "id", "cursor": "changed"}  # fmt: skip
    document = {
        "lake": {"location": "lake"},
        "data_sources": {"redshift": {**config, "tables": [table]}},
    }
    (tmp_path / "asgard.yml").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    project = asgard.Project(tmp_path)
    assert project.run().status == "done"
    warehouse.execute("UPDATE orders SET note = 'new', changed = '2026-02-01 00:00:00+00' WHERE id = 2")
    assert project.run().status == "done"
    ask = "SELECT id, note, amount, changed FROM bronze.redshift.orders ORDER BY id"
    found = project.query(ask, backend="arrow").to_pylist()
    assert [(row["id"], row["note"]) for row in found] == [(1, "first"), (2, "new"), (3, "")]
    assert found[1]["changed"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert warehouse.objects() == []


def test_secrets_stay_where_they_are(warehouse: Warehouse) -> None:
    config = RedshiftConfig.model_validate(warehouse.config())
    assert warehouse.bucket["secret_key"] not in repr(config) + repr(config.where) + repr(config.s3)
