"""`/pipelines`: what moves the data of each source of the project file, and how it went the last time."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from asgard.api.access import Reach, needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.runs import pipelines

router = APIRouter(prefix="/pipelines", tags=["pipelines"])


@router.get("", openapi_extra=needs("pipelines.read", confined=True))
def list_pipelines(platform: Platform, reach: Reach, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The pipelines, by name: one for each source of the project file; posted ones are at `/ingestion`."""
    known = pipelines.listed(platform.project(with_sources=True))
    names = [name for name in sorted(known) if reach.has(source=name, pipeline=name)]
    chosen, behind = page_after(names, cursor, limit)
    return Listed(items=[known[name] for name in chosen], next=behind)


@router.get("/{pipeline}", openapi_extra=needs("pipelines.read"))
def show_pipeline(platform: Platform, pipeline: str) -> dict[str, Any]:
    """One pipeline with its tables: how each is read, and how it went the last time."""
    with looked_up():
        return pipelines.shown(platform.project(with_sources=True), pipeline)


@router.post("/{pipeline}/run", status_code=202, openapi_extra=needs("pipelines.run"))
def run_pipeline(platform: Platform, pipeline: str) -> dict[str, Any]:
    """Puts a load of all of its tables into the queue; the answer is its job."""
    with looked_up():
        return pipelines.run_pipeline(platform.project(with_sources=True), pipeline)
