"""The MySQL connector on real servers: signing in, TLS, names, views, rights, kills, and what stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

import asgard
from asgard.connectors.mysql import MysqlConfig, MysqlSource
from asgard.core.batch import Batch
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AuthenticationError,
    Cancelled,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.source import Reader, ReadSettings
from asgard.testing.connectors import read_all
from asgard.transport.mysql import Connection
from tests.connectors.harness_mysql import config_of
from tests.connectors.mysql_reading import (
    KINDS,
    MysqlServer,
    load,
    options,
    select,
    shared_mysql,
    source_of,
)
from tests.connectors.waiting import wait_until


@dataclass(frozen=True)
class Place:
    server: MysqlServer
    name: str

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.name)

    def source(self, settings: ReadSettings | None = None, **config: Any) -> MysqlSource:
        return source_of(self.server, self.name, settings, **config)

    def rows(self, name: str, **config: Any) -> list[dict[str, Any]]:
        source = self.source(**config)
        return load(source, select(source, name)).rows.to_pylist()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    server = shared_mysql(request.param)
    made = Place(server, server.create_database())
    yield made
    server.drop_database(made.name)


def filled(place: Place, rows: int = 100_000) -> None:
    place.execute("CREATE TABLE many (id int PRIMARY KEY AUTO_INCREMENT, text varchar(100) NOT NULL)")
    place.execute("INSERT INTO many (text) VALUES (repeat('x', 90)), (repeat('y', 90))")
    for _ in range((rows // 2).bit_length()):
        place.execute("INSERT INTO many (text) SELECT text FROM many")


def read_on(reader: Reader) -> int:
    """Polls to the end; gives the number of rows."""
    rows = 0
    while isinstance(polled := reader.poll(1 << 16, 1.0), Batch):
        rows += polled.data.num_rows
    return rows


def test_the_modes_of_tls(place: Place) -> None:
    for mode, encrypted in (("disable", False), ("prefer", True), ("require", True), ("verify-ca", True)):
        config = MysqlConfig(**{**config_of(place.server, place.name), "ssl_mode": mode})
        with closing(Connection(config.server)) as connection:
            assert (mode, connection.encrypted) == (mode, encrypted)
    place.source(ssl_mode="require", ssl_root_cert=None).check()
    place.source(host="localhost").check()
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(ConfigError, match="TLS"):
            place.source(ssl_mode=mode, ssl_root_cert=None).check()
    with pytest.raises(ConfigError, match="cannot be read"):
        place.source(ssl_root_cert="/nowhere.pem").check()


def test_a_server_that_insists_on_tls_is_told_so(place: Place) -> None:
    user = place.server.create_user(f"SELECT ON {place.name}.*", options="REQUIRE SSL")
    place.source(username=user).check()
    with pytest.raises(AuthenticationError):
        place.source(username=user, ssl_mode="disable").check()


def test_signing_in_is_refused_with_the_class_of_who_must_act(place: Place) -> None:
    nobody = place.server.create_user("")
    with pytest.raises(AuthenticationError) as caught:
        place.source(password="wr0ng-canary").check()
    assert "wr0ng-canary" not in str(caught.value)
    with pytest.raises(AuthenticationError):
        place.source(username="n0b0dy").check()
    with pytest.raises(Refused):
        place.source(username=nobody).check()
    with pytest.raises(ConfigError, match="Unknown database"):
        source_of(place.server, "nothing_here").check()
    with pytest.raises(Unreachable):
        place.source(port=1).check()


def test_rights_on_some_tables_and_columns(place: Place) -> None:
    place.execute(
        "CREATE TABLE open_ (id int, secret int); CREATE TABLE closed_ (id int); "
        "INSERT INTO open_ VALUES (1, 2)"
    )
    user = place.server.create_user(f"SELECT (id) ON {place.name}.open_")
    source = place.source(username=user)
    assert [stream.name for stream in source.streams()] == ["open_"]
    assert place.rows("open_", username=user) == [{"id": 1}]
    with pytest.raises(QueryError):
        source.describe("closed_")
    with pytest.raises(Refused):
        source.describe("asked", None, "SELECT * FROM closed_")


def test_names_of_every_kind(place: Place) -> None:
    longest = "n" * 64
    for name in ("select", "with space", "back`tick", 'dou"ble', "üñí漢", "100%", "a.b", longest):
        quoted = "`" + name.replace("`", "``") + "`"
        place.execute(f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, `c:1` int)")
        place.execute(f"INSERT INTO {quoted} VALUES (7, 8)")
        assert place.rows(name) == [{name: 7, "c:1": 8}]
        assert place.source().describe(name).primary_key == (name,)
    assert len(list(place.source().streams())) == 8


def test_views_empty_tables_keys_and_candidates(place: Place) -> None:
    place.execute(
        "CREATE TABLE parts (a int, b int, updated_at timestamp NULL, made date, "
        "n int AUTO_INCREMENT UNIQUE, PRIMARY KEY (b, a)); "
        "CREATE VIEW seen AS SELECT a, sum(b) AS total FROM parts GROUP BY a; "
        "CREATE TABLE keyless (a int NOT NULL, b varchar(9), UNIQUE KEY (b), UNIQUE KEY (a, b))"
    )
    source = place.source()
    parts = source.describe("parts")
    assert parts.primary_key == ("b", "a")
    assert parts.cursor_candidates == ("updated_at", "n", "made")
    assert source.describe("keyless").primary_key == ()
    assert source.describe("seen").rows is None
    for name in ("parts", "seen", "keyless"):
        assert place.rows(name) == []
    assert [stream.name for stream in source.streams("[ks]*")] == ["keyless", "seen"]
    with pytest.raises(QueryError, match="no table") as caught:
        source.describe("part")
    assert "parts" in caught.value.hint


def test_conditions_and_columns_that_are_left_out(place: Place) -> None:
    place.execute(
        "CREATE TABLE t (id int, note text, odd json); INSERT INTO t VALUES (1, 'a', '1'), (2, 'b', '2')"
    )
    source = place.source()
    asked = select(source, "t", options=options(where="note = 'b' -- only", exclude_columns=("odd",)))
    assert load(source, asked).rows.to_pylist() == [{"id": 2, "note": "b"}]
    for wrong in ({"exclude_columns": ("no",)}, {"columns": {"no": "text"}}):
        with pytest.raises(QueryError, match="no column"):
            select(source, "t", options=options(**wrong))
    with pytest.raises(QueryError):
        load(source, select(source, "t", options=options(where="nothing = 1")))


@pytest.mark.parametrize(
    "query",
    ["SELECT nothing FROM t", "SELEC 1", "DROP TABLE t", "SELECT 1 AS a, 2 AS a", "SELECT 1; SELECT 2"],
)
def test_a_wrong_query_is_a_mistake_of_the_project(place: Place, query: str) -> None:
    place.execute("CREATE TABLE t (id int)")
    with pytest.raises(QueryError):
        place.source().describe("asked", None, query)
    assert place.rows("t") == []


def test_a_query_that_fails_on_a_row_stops_the_load(place: Place) -> None:
    place.execute("CREATE TABLE t (id bigint unsigned); INSERT INTO t VALUES (1), (2)")
    source = place.source()
    with pytest.raises(DataError, match="out of range"):
        load(source, select(source, "q", query="SELECT id - 2 AS less FROM t"))


def test_a_connection_that_is_killed_in_the_middle_is_unreachable(place: Place) -> None:
    filled(place)
    source = place.source()
    selection = select(source, "many")
    with source.plan([selection], {}) as plan:
        reader = source.open(plan.splits[0])
        assert isinstance(reader.poll(1 << 16, 1.0), Batch)
        for (number,) in place.execute(
            "SELECT id FROM information_schema.processlist "
            f"WHERE db = '{place.name}' AND id <> connection_id()"
        ):
            place.server.execute(f"KILL {number}")
        with pytest.raises(Unreachable):
            read_on(reader)
        reader.close()


def test_a_cancel_kills_what_the_server_does(place: Place) -> None:
    place.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    cancel = Cancel()
    source = place.source(ReadSettings(cancel=cancel))
    selection = select(source, "slow", query="SELECT SLEEP(300) AS slept FROM t")
    with source.plan([selection], {}) as plan:
        timer = threading.Timer(0.5, cancel.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            read_all(source, plan.splits, selection.stream.schema)
        timer.join()
    running = (
        f"SELECT count(*) FROM information_schema.processlist WHERE db = '{place.name}' "
        "AND info LIKE '%SLEEP(300)%' AND info NOT LIKE '%processlist%'"
    )
    wait_until(lambda: place.execute(running) == [(0,)], "the server stops sleeping")


def test_reading_too_slowly_breaks_nothing(place: Place) -> None:
    filled(place)
    place.server.execute("SET GLOBAL net_write_timeout = 1")
    try:
        source = place.source()
        selection = select(source, "many")
        with source.plan([selection], {}) as plan:
            reader = source.open(plan.splits[0])
            rows = 0
            while isinstance(polled := reader.poll(1 << 22, 1.0), Batch):
                if not rows:
                    time.sleep(2.5)
                rows += polled.data.num_rows
            reader.close()
        assert rows == place.execute("SELECT count(*) FROM many")[0][0]
    finally:
        place.server.execute("SET GLOBAL net_write_timeout = DEFAULT")


def test_the_plain_face(place: Place) -> None:
    place.execute("CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, 'é')")
    with asgard.MySQLConnector(config_of(place.server, place.name)) as connector:
        assert connector.load_data(table="t", backend="arrow").to_pylist() == [{"id": 1, "name": "é"}]
        assert connector.load_data("SELECT 1 AS one", backend="arrow").to_pylist() == [{"one": 1}]
        assert connector.get_schema() == {"t": {"id": "int32", "name": "string"}}
    assert asgard.get_connector_class("mariadb") is asgard.MySQLConnector
