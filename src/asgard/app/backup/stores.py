"""The databases of a project's state: files beside it, and for what machines share, tables in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asgard.app.access import access
from asgard.app.backup.archive import Draft
from asgard.app.backup.manifest import POSTGRES, SQLITE, StoreKept
from asgard.app.config.project import Project
from asgard.app.config.shared_database import Tables, shared_server
from asgard.app.documents import documents
from asgard.app.jobs import jobs
from asgard.app.project.opened_lake import ICEBERG_FILE
from asgard.app.runs import run_events
from asgard.app.runs.history import journal_file
from asgard.core.errors import ConfigError, Refused
from asgard.state import journal
from asgard.state.database import Rows, newer_format
from asgard.state.recovery import held_jobs
from asgard.state.sqlite_copy import copy_out

if TYPE_CHECKING:  # its driver is not for those with files
    from asgard.state.postgres_copy import Snapshot

FOLDER = "state"
HISTORY = Tables(
    "asgard_runs", journal_file(Path()).name, "run history", journal.SCHEMA, journal.SCHEMA_VERSION
)


@dataclass(frozen=True)
class Store:
    """A database of the state.

    Attributes:
        shared: its tables in PostgreSQL that are worth keeping; empty for what is always a file. Sessions are
            not: whoever was signed in signs in again.
        is_file: whether there is a file where nothing is shared.
    """

    name: str
    tables: Tables
    shared: tuple[str, ...] = ()
    is_file: bool = True

    @property
    def member(self) -> str:
        """Its file in the archive."""
        return f"{FOLDER}/{self.tables.file}"

    def member_of(self, table: str) -> str:
        """The file in the archive with a table's rows."""
        return f"{FOLDER}/{self.name}/{table}.copy"


HISTORY_STORE = Store("history", HISTORY)
QUEUE_STORE = Store("queue", jobs.TABLES, ("asgard_jobs", "asgard_schedules"))
ACCESS_STORE = Store(
    "access", access.TABLES, ("asgard_users", "asgard_tokens", "asgard_audit", "asgard_audit_head")
)
DOCUMENTS_STORE = Store("documents", documents.TABLES, ("asgard_documents",))
EVENTS_STORE = Store("events", run_events.TABLES, ("asgard_run_events",), is_file=False)
STORES = (HISTORY_STORE, QUEUE_STORE, ACCESS_STORE, DOCUMENTS_STORE, EVENTS_STORE)


CATALOG_STORE = Store("catalog", Tables("iceberg_catalog", ICEBERG_FILE, "catalog of the lake", "", 0))
"""Of Iceberg's tables: which of their versions is the newest. It is Iceberg's own, and not of the state."""


def kind_of(project: Project) -> str:
    """Where the state lies that machines may share."""
    return SQLITE if project.queue.postgres is None else POSTGRES


def files_of(project: Project) -> dict[str, tuple[Store, Path]]:
    """By member, the databases that are files of this project, whether they are there or not."""
    found = {
        store.member: (store, project.state_folder / store.tables.file)
        for store in STORES
        if store.is_file and (project.queue.postgres is None or not store.shared)
    }
    lake = project.lake
    if lake.format == "iceberg" and (lake.catalog is None or lake.catalog.uri is None):
        found[CATALOG_STORE.member] = CATALOG_STORE, project.folder / lake.location / ICEBERG_FILE
    return found


def keep_stores(project: Project, draft: Draft, tell: Callable[[str, int], None]) -> tuple[StoreKept, ...]:
    """Puts every store into an archive, each as it is at one instant; the shared ones all at the same.

    Raises:
        DataError: a file is damaged.
        ConfigError: tables of a newer version are in PostgreSQL.
        Unreachable, AuthenticationError: PostgreSQL cannot be used.
    """
    kept = []
    for member, (store, file) in files_of(project).items():
        if file.exists():
            copy = draft.aside("db")
            try:
                version = copy_out(file, copy, store.tables.what)
                tell(member, draft.add_file(member, copy).size_bytes)
            finally:
                copy.unlink(missing_ok=True)
            kept.append(StoreKept(store.name, version))
    if project.queue.postgres is not None:
        from asgard.state.postgres_copy import snapshot

        with snapshot(shared_server(project.queue.postgres), project.workspace) as tables:
            kept += _keep_shared(tables, draft, tell)
    return tuple(kept)


def _keep_shared(tables: Snapshot, draft: Draft, tell: Callable[[str, int], None]) -> Iterable[StoreKept]:
    for store in (one for one in STORES if one.shared):
        version = tables.format(store.tables.name)
        if version is None:  # nobody has used it yet
            continue
        _refuse_newer(store, version)
        columns = {table: tables.columns(table) for table in store.shared}
        for table, names in columns.items():
            member = store.member_of(table)
            tell(member, draft.add(member, tables.rows(table, names)).size_bytes)
        yield StoreKept(store.name, version, columns)


def refuse_newer_stores(kept: Iterable[StoreKept]) -> None:
    """Promise 10: sees that this version reads the tables of a backup.

    Raises:
        ConfigError: a newer one wrote them.
    """
    known = {store.name: store for store in (*STORES, CATALOG_STORE)}
    for one in kept:
        if one.name not in known:
            raise ConfigError(
                f"the backup has a store {one.name!r} that this version does not know",
                hint="restore it with the version of Asgard that made it, or a newer one",
            )
        _refuse_newer(known[one.name], one.format)


def _refuse_newer(store: Store, version: int) -> None:
    if version > store.tables.version:
        raise newer_format(f"the {store.tables.what}", version, store.tables.version)


def refuse_while_worked(rows: Rows, now: str, workspace: str) -> None:
    """Sees that no worker holds a job of a queue that is to be replaced.

    Raises:
        Refused: one does.
    """
    held = held_jobs(rows, now, workspace)
    if held:
        raise Refused(
            f"a worker is running job {held[0]}: it would not hear of the other queue",
            hint="stop asgard serve and asgard worker, then restore",
        )
