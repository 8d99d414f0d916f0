"""Signing in, TLS, and networks that fail: it heals, or the right error comes; never wrong data."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
import pytest

from asgard.connectors.mongodb import MongoConfig, MongoSource
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    Cancelled,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.source import ReadSettings
from asgard.core.stream import Selection
from asgard.transport.mongo import Server, explained
from tests.connectors.harness_mongodb import config_of
from tests.connectors.reading import load
from tests.connectors.test_mongodb import Shop
from tests.servers.faults import Fault, FaultyNetwork, faulty_network
from tests.servers.mongodb import MongoServer, mongo_server

ROWS = 3000


@pytest.fixture
def shop(mongodb: MongoServer) -> Iterator[Shop]:
    with mongodb.database() as database:
        yield Shop(mongodb, database)


@pytest.fixture(scope="module")
def secure() -> Iterator[MongoServer]:
    with mongo_server(tls=True) as server:
        yield server


@pytest.fixture
def network(mongodb: MongoServer) -> Iterator[FaultyNetwork]:
    with faulty_network(mongodb.host, mongodb.port) as network:
        yield network


def checked(config: dict[str, Any]) -> None:
    with MongoSource(MongoConfig.model_validate(config), "tried") as source:
        source.check()


# ---- signing in


@pytest.mark.parametrize("wrong", [{"password": "wr0ng-canary"}, {"username": "nobody"}])
def test_wrong_credentials_are_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError, match=r"refuses .*Authentication failed") as refused:
        checked(config_of(shop.server, shop.database.name, **wrong))
    assert "wr0ng-canary" not in str(refused.value)
    assert "auth_source" in refused.value.hint


def test_a_missing_permission_is_refused(shop: Shop) -> None:
    config = config_of(shop.server, shop.database.name)
    del config["username"], config["password"]
    with pytest.raises(Refused, match="requires authentication") as refused:
        checked(config)
    assert "role" in refused.value.hint


def test_a_url_shows_its_secrets_nowhere(shop: Shop) -> None:
    url = f"mongodb://u:c%40nary-1@{shop.server.host}:{shop.server.port}/x?authSource=admin"
    config = MongoConfig.model_validate({"url": url, "connection_timeout": 1})
    with MongoSource(config, "tried") as source, pytest.raises(AuthenticationError) as refused:
        source.check()
    for text in (repr(config), config.model_dump_json(), str(refused.value), repr(config.server)):
        assert "nary-1" not in text
    with pytest.raises(ConfigError) as mistaken:
        checked({"url": "mongodb://u:c%40nary-1@h:port/x"})
    assert "nary-1" not in str(mistaken.value)


@pytest.mark.parametrize(
    "config",
    [
        {"url": "http://h/x"},
        {"url": "mongodb://h:port/x"},
        {"host": "h", "database": "x", "options": {"no_such_option": "1"}},
        {"host": "h", "database": "x", "ssl_mode": "verify-full", "ssl_root_cert": "no/such/file.pem"},
    ],
)
def test_what_the_driver_refuses_is_a_mistake(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the driver refuses"):
        checked(config)


# ---- TLS


def test_tls_is_as_strict_as_wanted(secure: MongoServer) -> None:
    with secure.database() as database:
        database["t"].insert_one({"_id": 1})
        config = config_of(secure, database.name, connection_timeout=1.5)
        checked({**config, "ssl_mode": "require"})
        for mode in ("verify-ca", "verify-full"):
            checked({**config, "ssl_mode": mode, "ssl_root_cert": secure.ca_file})
            with pytest.raises(ConfigError, match="is not trusted") as refused:
                checked({**config, "ssl_mode": mode})
            assert "ssl_root_cert" in refused.value.hint
        with pytest.raises(Unreachable, match="does not answer") as unreachable:
            checked({**config, "ssl_mode": "disable"})
        assert "ssl_mode" in unreachable.value.hint


def test_a_server_without_tls_says_so() -> None:
    """As mongod does: it closes a connection whose first bytes it does not understand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_close_everything, args=(listener,), daemon=True)
        answering.start()
        config = {"host": "127.0.0.1", "port": listener.getsockname()[1], "database": "x"}
        with pytest.raises(ConfigError, match=r"TLS with .* does not come about") as refused:
            checked({**config, "connection_timeout": 1})
        assert "ssl_mode: disable" in refused.value.hint
        listener.shutdown(socket.SHUT_RDWR)
    answering.join(5)


def _close_everything(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)


# ---- no server, and networks that fail


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_nobody_there_is_told(host: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="does not answer"):
        checked({"host": host, "port": 1, "database": "x", "ssl_mode": "disable", "connection_timeout": 1})
    assert time.monotonic() - began < 60


@contextmanager
def behind(network: FaultyNetwork, shop: Shop, **config: Any) -> Iterator[MongoSource]:
    there = config_of(shop.server, shop.database.name, connection_timeout=2, **config)
    made = MongoConfig.model_validate({**there, "host": network.host, "port": network.port})
    with MongoSource(made, "shop") as source:
        yield source


def filled(shop: Shop) -> list[int]:
    shop.put("t", [{"_id": n, "pad": "x" * 1000} for n in range(ROWS)])
    return list(range(ROWS))


def read(source: MongoSource) -> list[int]:
    return sorted(row["_id"] for row in load(source, "t", {"flatten": 1}).rows)


@pytest.mark.parametrize(
    "fault", [Fault.cut, Fault.reset, Fault.half_open], ids=["cut", "reset", "half-open"]
)
@pytest.mark.parametrize("at_byte", [0, 300, 5_000, 1_000_000, 2_500_000])
def test_a_connection_that_breaks_heals_or_is_told(
    shop: Shop, network: FaultyNetwork, fault: Any, at_byte: int
) -> None:
    everything = filled(shop)
    with behind(network, shop, timeout_seconds=1) as source:
        network.arm(fault(at_byte), times=3)
        found: list[int] | None = None
        with suppress(Unreachable):
            found = read(source)
        assert found in (None, everything)
        network.heal()
        network.cut_all()
        assert read(source) == everything


def test_a_slow_network_only_takes_longer(shop: Shop, network: FaultyNetwork) -> None:
    everything = filled(shop)
    with behind(network, shop) as source:
        network.arm(Fault.drip(for_bytes=3000))
        assert read(source) == everything
        network.arm(Fault.delay(0.01, for_bytes=1_000_000))
        assert read(source) == everything


def test_a_cancelled_reading_ends(shop: Shop) -> None:
    filled(shop)
    cancel = Cancel()
    made = MongoConfig.model_validate(config_of(shop.server, shop.database.name))
    with MongoSource(made, "shop", ReadSettings(batch_bytes=10_000, cancel=cancel)) as source:
        stream = source.describe("t")
        with source.plan([Selection(stream)], {}) as plan:
            batches = source.read(plan.splits[0])
            assert isinstance(next(batches), pa.RecordBatch)
            cancel.cancel()
            with pytest.raises(Cancelled):
                list(batches)


# ---- what the server's codes mean


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (18, AuthenticationError), (8000, AuthenticationError), (13, Refused), (43, Unreachable),
        (91, Unreachable), (189, Unreachable), (10107, Unreachable), (11602, Unreachable), (50, Unreachable),
        (13436, Unreachable), (26, QueryError), (2, QueryError), (292, QueryError), (None, QueryError),
    ],
)  # fmt: skip
def test_codes_say_who_must_act(code: int | None, kind: type[AsgardError]) -> None:
    error = explained(Server("d", host="h"), code, "what happened.")
    assert type(error) is kind
    assert not isinstance(error, DataError)
    assert f"what happened (code {code})" in error.what
    assert error.hint
