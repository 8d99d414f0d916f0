"""What every test can ask for: servers, and the folder of other people's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.kafka import Broker, kafka_broker
from tests.servers.postgres import Server, session_servers, shared_server
from tests.servers.spark import sockets_closed, spark_session

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers of xdist use what their controller holds
        stack = ExitStack()
        stack.enter_context(session_servers())
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if REPOSITORY / "tests" / "reference" in item.path.parents:
            item.add_marker(pytest.mark.reference)


@pytest.fixture(scope="session")
def pg15() -> Server:
    """PostgreSQL 15 that accepts nothing but TLS."""
    return shared_server("15")


@pytest.fixture(scope="session")
def pg16() -> Server:
    """PostgreSQL 16 without TLS: the one to use where the version does not matter."""
    return shared_server("16")


@pytest.fixture(scope="session")
def pg18() -> Server:
    """PostgreSQL 18 without TLS."""
    return shared_server("18")


@pytest.fixture
def pg_database(pg16: Server) -> Iterator[str]:
    """A new database on `pg16`, dropped afterwards."""
    name = pg16.create_database()
    yield name
    pg16.drop_database(name)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A Kafka broker of this worker alone."""
    with kafka_broker() as broker:
        yield broker


@pytest.fixture
def spark() -> Iterator[Any]:
    """The Spark session of this worker, with Delta Lake; started once."""
    session = spark_session()
    with sockets_closed():
        yield session


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of other people's files; its absence is a failure."""
    folder = Path(os.environ.get("ASGARD_REFERENCE", REPOSITORY.parent / "shared" / "reference")).resolve()
    assert folder.is_dir(), f"the reference folder {folder} is missing: set ASGARD_REFERENCE"
    return folder
