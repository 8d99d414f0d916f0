"""The databases that a queue may lie in, one to itself for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asgard.core.secret import Secret
from asgard.state.database import Database
from asgard.state.postgres_database import PostgresDatabase
from asgard.state.queue import NAME, SCHEMA, SCHEMA_VERSION
from asgard.state.sqlite_database import SqliteDatabase
from asgard.transport.postgres import Server

STORES = ("sqlite", "postgres")


@contextmanager
def database_at(address: dict[str, Any]) -> Iterator[Database]:
    """The database of an address, which other processes can be told; with the queue's tables."""
    database: Database
    if "file" in address:
        database = SqliteDatabase(Path(address["file"]), "queue")
    else:
        database = PostgresDatabase(server_at(address), NAME)
    try:
        database.migrate(SCHEMA, SCHEMA_VERSION)
        yield database
    finally:
        database.close()


def server_at(address: dict[str, Any]) -> Server:
    known = {**address, "password": Secret(address["password"])}
    return Server(**known)
