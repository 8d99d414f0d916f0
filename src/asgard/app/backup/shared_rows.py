"""The rows of a project's shared state in PostgreSQL: which are there, and a backup's in their place."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from asgard.app.backup.aftermath import Aftermath, settle_queue
from asgard.app.backup.archive import Archive
from asgard.app.backup.manifest import StoreKept
from asgard.app.backup.stores import ACCESS_STORE, QUEUE_STORE, STORES, refuse_while_worked
from asgard.app.config.project import Project
from asgard.app.config.shared_database import open_database, shared_server
from asgard.core.errors import ConfigError

if TYPE_CHECKING:  # its driver is not for those with files
    from asgard.state.postgres_copy import Import

SESSIONS = "asgard_sessions"


def stores_with_rows(project: Project) -> set[str]:
    """The names of the shared stores that have rows of the project's workspace; none where nothing is shared.

    Raises:
        Unreachable, AuthenticationError: the database cannot be used.
    """
    if project.queue.postgres is None:
        return set()
    from asgard.state.postgres_copy import snapshot

    with snapshot(shared_server(project.queue.postgres), project.workspace) as tables:
        return {
            store.name
            for store in STORES
            if store.shared and tables.format(store.tables.name) is not None
            if any(tables.count(table) for table in store.shared)
        }


def put_rows(project: Project, archive: Archive, names: Collection[str], after: Aftermath) -> None:
    """Puts the rows of some stores in the place of those that are there, all of them or none.

    Args:
        names: of the stores.
        after: is told what was put right.

    Raises:
        Refused: a worker is running.
        Unreachable, AuthenticationError: the database cannot be used; nothing was changed.
    """
    kept = [one for one in archive.manifest.stores if one.name in names and one.columns]
    if project.queue.postgres is None or not kept:
        return
    from asgard.state.postgres_copy import importing
    from asgard.state.postgres_database import PostgresDatabase

    known = {store.name: store for store in STORES}
    for one in kept:
        open_database(project, known[one.name].tables).close()  # which makes the tables
    now, workspace = PostgresDatabase.now, project.workspace
    locks = [known[one.name].tables.name for one in kept]
    with importing(shared_server(project.queue.postgres), workspace, locks) as tables:
        if QUEUE_STORE.name in names:
            refuse_while_worked(tables.run, now, workspace)
        for one in kept:
            for table in (*one.columns, *((SESSIONS,) if one.name == ACCESS_STORE.name else ())):
                removed = tables.clear(table)
                after.sessions += removed if table == SESSIONS else 0
            _put_one(archive, one, tables)
        if QUEUE_STORE.name in names:
            settle_queue(project, tables.run, now, workspace, after)


def _put_one(archive: Archive, one: StoreKept, tables: Import) -> None:
    store = next(store for store in STORES if store.name == one.name)
    for table, columns in one.columns.items():
        if table not in store.shared:
            raise ConfigError(f"the backup's {one.name} has a table {table!r}, which is none of its own")
        tables.put(table, columns, archive.read(store.member_of(table)))
