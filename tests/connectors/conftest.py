"""Servers that only some connectors' tests ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.mongodb import MongoServer, mongo_server
from tests.servers.object_stores import shared_store
from tests.servers.postgres import Server, postgres_server
from tests.servers.redshift import RedshiftFront, redshift_front


@pytest.fixture(scope="session")
def quiet_postgres() -> Iterator[Server]:
    """PostgreSQL 16 of this worker alone: nobody else's open transaction holds rows back."""
    with postgres_server("16") as server:
        yield server


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoServer]:
    """A server of MongoDB's protocol for this worker alone, without TLS."""
    with mongo_server() as server:
        yield server


@pytest.fixture
def redshift(quiet_postgres: Server) -> Iterator[RedshiftFront]:
    """A stand-in for Redshift in front of the quiet server, and of the session's stand-in for S3."""
    with redshift_front(quiet_postgres, shared_store("moto")) as front:
        yield front
