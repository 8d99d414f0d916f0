"""A network that fails in the middle: loads heal or fail as Unreachable; never wrong rows, never for ever.

Every case is tried against each database through `tests/servers/faults.py`, at bytes that fall into the
greeting, the catalog's answers and the middle of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import Any

import pyarrow as pa
import pytest

from asgard.connectors.mysql import MysqlConfig, MysqlSource
from asgard.connectors.postgres import PostgresConfig, PostgresSource
from asgard.core.cancel import Cancel
from asgard.core.errors import Cancelled, Unreachable
from asgard.core.source import ReadSettings, Source
from asgard.core.stream import Selection
from asgard.testing.connectors import read_all
from tests.servers.faults import Fault, FaultyNetwork, faulty_network
from tests.servers.mysql import shared_mysql
from tests.servers.postgres import shared_server

ROWS = 20_000
TIMEOUT_SECONDS = 2
KINDS = ("mysql80", "mariadb", "postgres")


@dataclass(frozen=True)
class Database:
    """A server behind a faulty network, with a table of known rows.

    Attributes:
        open: a source that goes through the network; TLS or not.
    """

    network: FaultyNetwork
    open: Callable[..., Source]


@contextmanager
def mysql_database(kind: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[Database]:
    server = shared_mysql(kind)
    name = server.create_database()
    server.execute(
        "CREATE TABLE numbers (id int PRIMARY KEY, text varchar(100)); "
        "INSERT INTO numbers WITH RECURSIVE n AS "
        "(SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT a.i + 1000 * b.i - 1000, "
        "concat('row ', a.i, ' of ', b.i) FROM n a, n b WHERE b.i <= 20",
        name,
    )
    with faulty_network(server.host, server.port) as network:

        def open_(tls: bool = False, cancel: Cancel | None = None) -> Source:
            config = MysqlConfig(
                host=network.host, port=network.port, database=name, username=server.user,
                password=server.password, ssl_mode="verify-full" if tls else "disable",
                ssl_root_cert=server.ca_file, connection_timeout_seconds=timeout_seconds,
                read_timeout_seconds=timeout_seconds,
            )  # fmt: skip
            return MysqlSource(config, "tried", ReadSettings(cancel=cancel or Cancel()))

        yield Database(network, open_)
    server.drop_database(name)


@contextmanager
def postgres_database(kind: str) -> Iterator[Database]:
    server = shared_server("16")
    name = server.create_database()
    server.execute(
        f"CREATE TABLE numbers (id int PRIMARY KEY, text text); INSERT INTO numbers SELECT i, "
        f"format('row %s of %s', (i - 1) % 1000 + 1, (i - 1) / 1000 + 1) FROM generate_series(1, {ROWS}) i",
        name,
    )
    with faulty_network(server.host, server.port) as network:

        def open_(tls: bool = False, cancel: Cancel | None = None) -> Source:
            config = PostgresConfig(
                host=network.host, port=network.port, database=name, username=server.user,
                password=server.password, ssl_mode="disable", connection_timeout_seconds=TIMEOUT_SECONDS,
            )  # fmt: skip
            return PostgresSource(config, "tried", ReadSettings(cancel=cancel or Cancel()))

        yield Database(network, open_)
    server.drop_database(name)


@pytest.fixture(scope="module", params=KINDS)
def database_of_kind(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = postgres_database if request.param == "postgres" else mysql_database
    with made(request.param) as database:
        yield database


@pytest.fixture
def database(database_of_kind: Database) -> Iterator[Database]:
    yield database_of_kind
    database_of_kind.network.heal()
    database_of_kind.network.cut_all()


def loaded(database: Database, **how: Any) -> pa.Table:
    """The whole table through the network."""
    source = database.open(**how)
    try:
        selection = Selection(source.describe("numbers"))
        with source.plan([selection], {}) as plan:
            return read_all(source, plan.splits, selection.stream.schema)
    finally:
        source.close()


def assert_whole(rows: pa.Table) -> None:
    rows = rows.sort_by("id")
    assert rows["id"].to_pylist() == list(range(1, ROWS + 1))
    assert rows["text"].to_pylist() == [f"row {i % 1000 + 1} of {i // 1000 + 1}" for i in range(ROWS)]


def outcome(database: Database, fault: Fault, **how: Any) -> str:
    """What a load through the fault comes to: whole or unreachable; anything else fails the test."""
    database.network.arm(fault, times=1)
    ended = "whole"
    try:
        rows = loaded(database, **how)
    except Unreachable as error:
        ended = "unreachable" if error.hint else "unreachable without a hint"
    else:
        assert_whole(rows)
    return ended


PLACES = (0, 1, 3, 50, 77, 500, 3_000, 20_000, 100_003, 300_001)


@pytest.mark.parametrize("at_byte", PLACES)
@pytest.mark.parametrize("make", [Fault.cut, Fault.reset])
def test_a_connection_that_ends_is_unreachable_and_the_next_try_heals(
    database: Database, make: Callable[[int], Fault], at_byte: int
) -> None:
    assert outcome(database, make(at_byte)) == "unreachable"
    assert database.network.fired == 1
    assert_whole(loaded(database))  # the fault struck once: who tries again has everything


@pytest.mark.parametrize("at_byte", [0, 40])
def test_a_server_that_never_finishes_signing_in_is_given_up(database: Database, at_byte: int) -> None:
    assert outcome(database, Fault.half_open(at_byte)) == "unreachable"


@pytest.mark.parametrize("kind", ["mysql80", "mariadb"])
@pytest.mark.parametrize("at_byte", [500, 3_000, 100_003])
def test_a_server_that_falls_silent_is_given_up(kind: str, at_byte: int) -> None:
    with mysql_database(kind) as database:
        assert outcome(database, Fault.half_open(at_byte)) == "unreachable"


def test_a_server_that_drips_while_signing_in_is_given_up_in_time(database: Database) -> None:
    """Who waited for the last byte would be let in."""
    drip = Fault.drip(for_bytes=60, seconds=0.2)
    database.network.arm(drip, times=1)
    with pytest.raises(Unreachable):
        database.open().check()


def test_rows_that_drip_or_come_late_arrive_whole(database: Database) -> None:
    assert outcome(database, Fault.drip(for_bytes=3_000, at_byte=100_000)) == "whole"
    assert outcome(database, Fault.delay(0.05, for_bytes=200_000, at_byte=100_000)) == "whole"


def test_a_cancel_in_the_middle_of_a_silent_row_works_at_once() -> None:
    with mysql_database("mysql80", timeout_seconds=300) as database:
        cancel = Cancel()
        source = database.open(cancel=cancel)
        selection = Selection(source.describe("numbers"))
        with source.plan([selection], {}) as plan:
            database.network.arm(Fault.half_open(100_003), times=1)
            timer = Timer(0.3, cancel.cancel)
            timer.start()
            with pytest.raises(Cancelled):
                read_all(source, plan.splits, selection.stream.schema)
            timer.join()


@pytest.mark.parametrize("kind", ["mysql80", "mariadb"])
@pytest.mark.parametrize("at_byte", [20, 120, 2_000, 30_000, 200_000])
def test_tls_that_is_cut_or_falls_silent_is_unreachable(kind: str, at_byte: int) -> None:
    with mysql_database(kind) as database:
        assert outcome(database, Fault.cut(at_byte), tls=True) == "unreachable"
        assert outcome(database, Fault.half_open(at_byte), tls=True) == "unreachable"
        assert_whole(loaded(database, tls=True))
