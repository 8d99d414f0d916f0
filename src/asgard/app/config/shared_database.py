"""Where state lies that several machines may share: files of the project, or the PostgreSQL that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgard.app.config.project import Project
from asgard.app.config.schedule_specs import QueueServer
from asgard.state.database import Database
from asgard.state.sqlite_database import SqliteDatabase

if TYPE_CHECKING:
    from asgard.transport.postgres import Server


@dataclass(frozen=True)
class Tables:
    """The tables of one store.

    Attributes:
        name: theirs in a database that they share with others.
        file: theirs in the state folder.
        what: what they are, for messages.
        schema, version: as `migrate` takes them.
        careful: as `SqliteDatabase` takes it.
    """

    name: str
    file: str
    what: str
    schema: str
    version: int
    careful: bool = False


def open_database(project: Project, tables: Tables) -> Database:
    """The database of a store, its tables made; the caller closes it.

    Raises:
        Unreachable, AuthenticationError, ConfigError: it cannot be used.
    """
    spec = project.queue.postgres
    if spec is None:
        file = SqliteDatabase(project.state_folder / tables.file, tables.what, careful=tables.careful)
        file.migrate(tables.schema, tables.version)
        return file
    from asgard.state.postgres_database import PostgresDatabase  # its driver is not for those with a file

    shared = PostgresDatabase(shared_server(spec), tables.name)
    shared.migrate(tables.schema, tables.version)
    return shared


def shared_server(spec: QueueServer) -> Server:
    """The PostgreSQL that a project names; nothing is asked yet."""
    from asgard.transport.postgres import Server

    return Server(
        spec.host, spec.port, spec.database, spec.username, spec.password, spec.ssl_mode, spec.ssl_root_cert
    )
