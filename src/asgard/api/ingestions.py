"""`/ingestion`: loads of a source into a sink."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from asgard.api.access import Reach, Reached, needs
from asgard.api.bodies import Options
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform, Served
from asgard.app.documents import datasources, ingestions

router = APIRouter(prefix="/ingestion", tags=["ingestion"])


class IngestionRequest(BaseModel):
    """What is loaded, and where to."""

    source_id: str = Field(min_length=1, max_length=100)
    destination_id: str = Field(min_length=1, max_length=100)
    workspace_name: str = Field(default="default", min_length=1, max_length=200)
    connection_name: str = Field(min_length=1, max_length=200)
    tables: list[str | Options] = Field(
        default=[],
        max_length=10_000,
        description="Names, or entries as asgard.yml has them (mode, primary_key, cursor, checks, ...). "
        "By default everything that the source has.",
    )


@router.get("", openapi_extra=needs("pipelines.read", confined=True))
def list_ingestions(platform: Platform, reach: Reach, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The ingestions, the oldest first."""
    page = ingestions.ingestions(platform.project(), cursor, limit)
    items = [item for item in page.items if reach.has(item["source"], item["connection_name"])]
    return Listed(items=items, next=page.next)


@router.post("", status_code=202, openapi_extra=needs("pipelines.run", confined=True))
def start_ingestion(platform: Platform, reach: Reach, posted: IngestionRequest) -> dict[str, Any]:
    """Puts an ingestion into the queue. Source and sink are of the same workspace."""
    if not reach.is_everything:
        name = datasources.lake_name_of(platform.project(), posted.source_id)
        # Not by the name of the pipeline: whoever posts one calls it what they like.
        reach.insist(name, what=f"datasource {posted.source_id!r}")
    tables = tuple({"name": one} if isinstance(one, str) else one for one in posted.tables)
    new = ingestions.NewIngestion(
        posted.source_id, posted.destination_id, posted.workspace_name, posted.connection_name, tables
    )
    return ingestions.add_ingestion(platform.project(), new)


@router.get("/{id}", openapi_extra=needs("pipelines.read", confined=True))
def show_ingestion(platform: Platform, reach: Reach, id: str) -> dict[str, Any]:
    """How one is going, table by table."""
    with looked_up():
        _insist(platform, reach, id)
        return ingestions.ingestion(platform.project(), id)


@router.delete("/{id}", openapi_extra=needs("pipelines.run", confined=True))
def delete_ingestion(platform: Platform, reach: Reach, id: str) -> dict[str, Any]:
    """Ends one if it runs, and takes it away; what it has committed stays."""
    with looked_up():
        _insist(platform, reach, id)
        return ingestions.delete_ingestion(platform.project(), id)


def _insist(platform: Served, reach: Reached, id: str) -> None:
    if not reach.is_everything:
        known = ingestions.ingestion(platform.project(), id)
        reach.insist(known["source"], known["connection_name"], what=f"ingestion {id!r}")
