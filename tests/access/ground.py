"""The store of users and tokens in both databases, with a clock that can be set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asgard.app.access.access import Access, access_in
from asgard.app.access.roles import Principal
from asgard.core.secret import Secret
from asgard.state.access import NAME, SCHEMA, SCHEMA_VERSION
from asgard.state.database import Database
from asgard.state.postgres_database import PostgresDatabase
from asgard.state.sqlite_database import SqliteDatabase
from tests.state.stores import server_at

ADMIN = Principal("local tests", "admin", "local")
PASSWORD = "correct horse battery"


@contextmanager
def access_at(address: dict[str, Any]) -> Iterator[Access]:
    """The store of an address, which other processes can be told."""
    database: Database
    if "file" in address:
        database = SqliteDatabase(Path(address["file"]), "store of users and tokens", careful=True)
    else:
        database = PostgresDatabase(server_at(address), NAME)
    try:
        database.migrate(SCHEMA, SCHEMA_VERSION)
        yield access_in(database)
    finally:
        database.close()


class Jumped:
    """A database whose clock was set forward, or back."""

    def __init__(self, database: Database, seconds: float) -> None:
        self.now = f"({database.now} + {seconds!r})"
        self.reading = database.reading
        self.writing = database.writing
        self.close = database.close


def jumped(access: Access, seconds: float) -> Access:
    """The same store after its clock was set forward by some seconds."""
    return access_in(Jumped(access.database, seconds))


def header(text: Secret) -> str:
    return f"Bearer {text.get_secret_value()}"


def everything(access: Access) -> str:
    """All that is in the store."""
    tables = ("users", "tokens", "sessions", "attempts", "audit", "audit_head")
    with access.database.reading() as rows:
        return repr([rows(f"SELECT * FROM asgard_{table}") for table in tables])
