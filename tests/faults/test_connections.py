"""Sources that break off, fall silent or answer by halves, from `asgard run` to what readers see.

A fault that strikes once is healed within the run, which tries again; one that stays ends it with 5, and the
table is what it was. The next run over a network that is well brings all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from asgard.testing.content import content_hash
from tests.faults.arena import NOTHING, SCHEMA, Arena, Content
from tests.faults.runs import Runs
from tests.servers.api import Api, Asked, Reply
from tests.servers.faults import Fault, FaultyNetwork, faulty_network
from tests.servers.mysql import shared_mysql
from tests.servers.postgres import shared_server

ROWS = 20_000
PATIENCE_SECONDS = 5


class Shop:
    """A server with a table, behind a network that fails."""

    def __init__(
        self, arena: Arena, network: FaultyNetwork, source: Callable[[], list[tuple[Any, ...]]]
    ) -> None:
        self.arena = arena
        self.network = network
        self._source = source

    def source(self) -> Content:
        rows = [dict(zip(SCHEMA.names, row, strict=True)) for row in self._source()]
        return content_hash(pa.RecordBatch.from_pylist(rows, SCHEMA))

    def suffers(self, fault: Fault, times: int | None) -> None:
        """One run through the fault, and one without."""
        before = self.arena.readers_see()
        self.network.arm(fault, times)
        code, words = self.arena.run()
        now = self.arena.readers_see()
        assert "mistake in Asgard" not in words
        assert code in ((0,) if times else (0, 5)), words
        assert now == (self.source() if code == 0 else before)
        self.network.heal()
        self.network.cut_all()
        code, words = self.arena.run()
        assert code == 0, words
        assert self.arena.readers_see() == self.source()


def fill(do: Callable[[str], object], numbers: str) -> None:
    do("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(200), n BIGINT, changed BIGINT)")
    do(f"INSERT INTO t SELECT i, CONCAT('value ', i), i, 1 FROM {numbers}")


@pytest.fixture
def postgres(runs: Runs) -> Iterator[Shop]:
    server = shared_server("16")
    name = server.create_database()
    fill(lambda sql: server.execute(sql, name), f"generate_series(1, {ROWS}) AS s(i)")
    arena = Arena(runs)
    with faulty_network(server.host, server.port) as network:
        connection = {
            "host": network.host, "port": network.port, "database": name, "username": server.user,
            "password": server.password, "ssl_mode": "disable",
            "connection_timeout_seconds": PATIENCE_SECONDS,
        }  # fmt: skip
        arena.configure({"type": "postgres", **connection}, mode="merge")

        def source() -> list[tuple[Any, ...]]:
            with server.connect(name) as one:
                return one.execute("SELECT id, v, n, changed FROM t").fetchall()

        yield Shop(arena, network, source)
    arena.close()
    server.drop_database(name)


@pytest.fixture
def mysql(runs: Runs) -> Iterator[Shop]:
    server = shared_mysql("mariadb")
    name = server.create_database()
    fill(lambda sql: server.execute(sql, name), f"(SELECT seq AS i FROM seq_1_to_{ROWS}) AS s")
    arena = Arena(runs)
    with faulty_network(server.host, server.port) as network:
        connection = {
            "host": network.host, "port": network.port, "database": name, "username": server.user,
            "password": server.password, "ssl_mode": "disable",
            "connection_timeout_seconds": PATIENCE_SECONDS,
            "read_timeout_seconds": PATIENCE_SECONDS,
        }  # fmt: skip
        arena.configure({"type": "mysql", **connection}, mode="merge")

        def source() -> list[tuple[Any, ...]]:
            with server.connect(name) as one, one.cursor() as cursor:
                cursor.execute("SELECT id, v, n, changed FROM t")
                return list(cursor.fetchall())

        yield Shop(arena, network, source)
    arena.close()
    server.drop_database(name)


PLACES: list[tuple[int, int | None]] = [(0, 1), (3_000, None), (300_000, 1)]
FAULTS: list[tuple[Fault, int | None]] = [
    *((make(at), times) for make in (Fault.cut, Fault.reset) for at, times in PLACES),
    (Fault.reset(500_000), None),
    (Fault.half_open(0), 1),
    (Fault.delay(0.02, for_bytes=100_000, at_byte=100_000), None),
]


@pytest.mark.parametrize(("fault", "times"), FAULTS, ids=lambda one: str(getattr(one, "kind", one)))
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_database_breaks_off(
    request: pytest.FixtureRequest, kind: str, fault: Fault, times: int | None
) -> None:
    shop: Shop = request.getfixturevalue(kind)
    shop.suffers(fault, times)


def test_a_database_falls_silent_in_the_middle(mysql: Shop) -> None:
    mysql.suffers(Fault.half_open(100_000), 1)


# ---- REST

PAGES, PAGE_ROWS = 5, 40


def row(number: int) -> dict[str, Any]:
    return {"id": number, "v": f"value {number}", "n": number, "changed": 1}


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


def page_of(asked: Asked) -> tuple[int, list[dict[str, Any]]]:
    page = int(asked.query.get("page", "1"))
    first = (page - 1) * PAGE_ROWS
    return page, [row(first + number) for number in range(PAGE_ROWS)] if page <= PAGES else []


BROKEN: dict[str, Callable[[list[dict[str, Any]]], Reply]] = {
    "500": lambda rows: Reply(500, {"error": "no"}),
    "503 with a pause": lambda rows: Reply(503, {"error": "no"}, {"Retry-After": "0"}),
    "429": lambda rows: Reply(429, {"error": "slower"}, {"Retry-After": "0"}),
    "broken off": lambda rows: Reply(0),
    "half an answer": lambda rows: Reply(200, b'[{"id": 1, "v": "val'),
    "a page for people": lambda rows: Reply(200, b"<html>maintenance</html>", {"Content-Type": "text/html"}),
}
DATA = {"half an answer", "a page for people"}
"""An answer that is whole and says nonsense: trying again is not thought to help."""


@pytest.mark.parametrize("stays", [False, True], ids=["once", "always"])
@pytest.mark.parametrize("how", BROKEN)
def test_an_api_answers_by_halves(runs: Runs, api: Api, how: str, stays: bool) -> None:
    arena = Arena(runs)
    broken = {"left": 10_000 if stays else 1, "on": True}

    def answer(asked: Asked) -> Reply:
        page, rows = page_of(asked)
        if page == 3 and broken["on"] and broken["left"] > 0:
            broken["left"] -= 1
            return BROKEN[how](rows)
        return Reply(200, rows)

    api.on("/t", answer)
    arena.configure(
        {"type": "rest", "base_url": api.url, "max_retries": 1, "timeout_seconds": 5},
        path="/t", pagination={"type": "page"}, mode="replace", primary_key=None, cursor=None,
    )  # fmt: skip
    whole = content_hash(
        pa.RecordBatch.from_pylist([row(number) for number in range(PAGES * PAGE_ROWS)], SCHEMA)
    )
    code, words = arena.run()
    assert "mistake in Asgard" not in words
    assert code in ((4, 5) if stays else (0, 4) if how in DATA else (0,)), words
    assert arena.readers_see() == (whole if code == 0 else NOTHING)
    broken["on"] = False
    code, words = arena.run()
    assert (code, arena.readers_see()) == (0, whole), words
    arena.close()
