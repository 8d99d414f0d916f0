"""`/tables`: the tables of the project's lake, or of a posted sink, and their first rows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from asgard.api.access import Reach, needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import looked_up
from asgard.api.served import Platform, Served
from asgard.app.documents.sinks import sink_workspace
from asgard.app.project.workspace import Workspace
from asgard.app.tables import tables
from asgard.app.tables.deletes import deletes_in
from asgard.app.tables.rows import json_rows

router = APIRouter(prefix="/tables", tags=["tables"])
Sink = Annotated[
    str | None, Query(alias="destination_id", description="Of this sink; by default of the project's lake.")
]


@router.get("", openapi_extra=needs("tables.read", confined=True))
def list_tables(
    platform: Platform, reach: Reach, sink: Sink = None, limit: Limit = 50, cursor: Cursor = None
) -> Listed:
    """The tables, by name."""
    found = _workspace(platform, sink).lake.tables()
    names = sorted(str(name) for name in found if reach.has(name.source))
    chosen, behind = page_after(names, cursor, limit)
    items = [{"table": name, "layer": name.partition(".")[0]} for name in chosen]
    return Listed(items=items, next=behind)


@router.get("/{table}", openapi_extra=needs("tables.read", confined=True))
def show_table(platform: Platform, reach: Reach, table: str, sink: Sink = None) -> dict[str, Any]:
    """Columns, rows and versions of a table; its name may be the end of the whole one if that is clear.
    `deletes` says whether rows that the source deletes are seen, marked, or not seen."""
    workspace = _workspace(platform, sink)
    with looked_up():
        found = workspace.table(table)
        reach.insist(found.name.source, what=f"table {table!r}")
    mount = found.mount()
    versions = [
        {"version": one.version, "at": one.at.isoformat(), "operation": one.operation, "run": one.run or None,
         "rows_added": one.rows_added}
        for one in found.versions(20)
    ]  # fmt: skip
    columns = [{"name": column.name, "type": str(column.type)} for column in mount.schema]
    said = {"table": str(found.name), "rows": mount.rows, "columns": columns, "versions": versions}
    deletes = deletes_in(platform.workspace(), found.name) if sink is None else None
    return said | ({"deletes": deletes} if deletes else {})


@router.get("/{table}/preview", openapi_extra=needs("tables.read", confined=True))
def preview_table(
    platform: Platform,
    reach: Reach,
    table: str,
    sink: Sink = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> dict[str, Any]:
    """Some rows of a table, as JSON values."""
    workspace = _workspace(platform, sink)
    with looked_up():
        found = workspace.table(table).name
        reach.insist(found.source, what=f"table {table!r}")
    name = str(found)
    with tables.preview(workspace, name, limit) as rows:
        columns = [{"name": column.name, "type": str(column.type)} for column in rows.schema]
        return {"table": name, "columns": columns, "rows": json_rows(rows)}


def _workspace(platform: Served, sink: str | None) -> Workspace:
    with looked_up():
        return sink_workspace(platform.project(), sink)
