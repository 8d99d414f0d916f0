"""`/sources`: the sources of the project file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from asgard.api.access import Reach, needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import looked_up
from asgard.api.served import Platform, Served
from asgard.app.project.workspace import Workspace
from asgard.app.sources.sources import check_sources, discover

router = APIRouter(prefix="/sources", tags=["sources"])


@router.get("", openapi_extra=needs("sources.read", confined=True))
def list_sources(platform: Platform, reach: Reach, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The sources of the project file, by name; posted ones are at `/datasource`."""
    project = platform.project(with_sources=True)
    names, behind = page_after(sorted(filter(reach.has, project.sources)), cursor, limit)
    items = [
        {
            "source": name,
            "type": project.sources[name].type,
            "description": project.sources[name].description,
            "tables": len(project.sources[name].tables),
        }
        for name in names
    ]
    return Listed(items=items, next=behind)


@router.get("/{source}/streams", openapi_extra=needs("sources.read"))
def list_streams(
    platform: Platform, source: str, pattern: Annotated[str, Query(max_length=500)] = "*"
) -> Listed:
    """What a source has; asks it."""
    items = [
        {
            "stream": stream.full_name,
            "primary_key": list(stream.primary_key),
            "cursor_candidates": list(stream.cursor_candidates),
            "rows": stream.rows,
            "columns": {column.name: str(column.type) for column in stream.schema},
        }
        for stream in discover(_workspace(platform, source), source, pattern)
    ]
    return Listed(items=items, next=None)


@router.post("/{source}/check", openapi_extra=needs("sources.check"))
def check_source(platform: Platform, source: str) -> dict[str, Any]:
    """Tries the connection; a failure is in the answer, with its hint."""
    (tried,) = check_sources(_workspace(platform, source), [source], lambda event: None)
    return tried.as_dict()


def _workspace(platform: Served, source: str) -> Workspace:
    workspace = platform.workspace(with_sources=True)
    with looked_up():
        workspace.source(source).close()
    return workspace
