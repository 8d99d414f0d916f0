"""Wishes about tables: list, show, ask in SQL, look into the quarantine, undo, resync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError
from asgard.core.table import Mount, TableName, Version


@dataclass(frozen=True)
class TableInfo:
    """A table at a glance; a figure that is not known is None."""

    name: TableName
    rows: int | None
    columns: int
    version: int
    changed_at: datetime
    quarantined: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {
            "table": str(self.name),
            "rows": self.rows,
            "columns": self.columns,
            "version": self.version,
            "changed_at": self.changed_at.isoformat(),
            "quarantined": self.quarantined,
        }
        return {key: value for key, value in known.items() if value is not None}


def list_tables(workspace: Workspace) -> Iterator[TableInfo]:
    """Every table of the lake."""
    for name in workspace.lake.tables():
        table = workspace.lake.table(name)
        mount, newest = table.mount(), table.versions(1)[0]
        aside = table.quarantined()
        yield TableInfo(
            name, mount.rows, len(mount.schema), newest.version, newest.at, (aside.rows or 0) if aside else 0
        )


def versions(workspace: Workspace, name: str, limit: int = 20) -> list[Version]:
    """The newest versions of a table first."""
    return workspace.table(name).versions(limit)


def undo(workspace: Workspace, name: str) -> Version:
    """Takes the last load of a table back, data and position together; returns the version it is at now."""
    return workspace.table(name).undo()


@contextmanager
def query(workspace: Workspace, sql: str, at: int | datetime | None = None) -> Iterator[pa.RecordBatchReader]:
    """The rows of one SELECT over the lake, streamed.

    Args:
        sql: tables as `bronze.shop.orders`, `silver.orders`, `gold.revenue`.
        at: a version (for a query over one table) or an instant to which all tables are taken back.

    Raises:
        QueryError: the statement is wrong, or is no single SELECT.
        ConfigError: a table does not exist, or `at` is a version and there are several tables.
    """
    from asgard.transform.dependencies import tables_of  # with sqlglot, which a list of tables does not need

    names = tables_of(sql, known=tuple(workspace.lake.tables()))
    if isinstance(at, int) and len(names) > 1:
        raise ConfigError(
            "a version is of one table, the query reads several", hint="give an instant instead"
        )
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        for name in names:
            workspace.mount(name)
            engine.attach(name, workspace.lake.table(name).mount(at))
        yield engine.query(sql)


@contextmanager
def quarantine(workspace: Workspace, name: str, limit_rows: int = 20) -> Iterator[pa.RecordBatchReader]:
    """Rows of a table that were set aside, each with its reason, the newest loads first."""
    aside = workspace.table(name).quarantined()
    if aside is None:
        aside = Mount(pa.schema([("_asgard_reason", pa.string())]), rows=0)
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        engine.attach("quarantine", aside)
        yield engine.query(f"SELECT * FROM quarantine LIMIT {int(limit_rows)}")


@contextmanager
def preview(workspace: Workspace, name: str, limit_rows: int) -> Iterator[pa.RecordBatchReader]:
    """Some rows of a table, whichever are read first.

    Raises:
        ConfigError: there is none, or more than one, of that name.
    """
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        engine.attach("previewed", workspace.table(name).mount())
        yield engine.query(f"SELECT * FROM previewed LIMIT {int(limit_rows)}")
