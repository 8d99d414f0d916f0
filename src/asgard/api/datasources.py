"""`/datasource`: sources that programs hand in. No answer has a secret of theirs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from asgard.api.access import Reach, Reached, needs
from asgard.api.bodies import Options
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform, Served
from asgard.app.airbyte import documents as airbyte_documents
from asgard.app.documents import datasources

router = APIRouter(prefix="/datasource", tags=["datasource"])


class SourceRequest(BaseModel):
    """A source; `config` is another name of `source_config`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source_type": "postgres",
                    "workspace_name": "default",
                    "source_config": {"host": "localhost", "port": 5432, "username": "user",
                                      "password": "...", "database": "mydb"},
                    "name": "My Postgres Source",
                }
            ]
        }
    )  # fmt: skip
    source_type: str = Field(min_length=1, max_length=100, description="postgres, mysql, mongodb, kafka, ...")
    workspace_name: str = Field(default="default", min_length=1, max_length=200)
    source_config: Options = Field(
        validation_alias=AliasChoices("source_config", "config"), description="The connector's options."
    )
    name: str = Field(min_length=1, max_length=200)


@router.get("", openapi_extra=needs("sources.read", confined=True))
def list_datasources(platform: Platform, reach: Reach, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The sources, the oldest first."""
    page = datasources.datasources(platform.project(), cursor, limit)
    items = [item for item in page.items if reach.has(item["tables"].removeprefix("bronze."))]
    return Listed(items=items, next=page.next)


@router.post("", status_code=201, openapi_extra=needs("sources.write"))
def create_datasource(platform: Platform, posted: SourceRequest) -> dict[str, Any]:
    """Keeps a source; its secrets go to the encrypted store. It is not connected to.

    Where AIRBYTE_BASE_URL is set, Airbyte makes it too, and may refuse it.
    """
    new = datasources.NewSource(posted.source_type, posted.name, posted.workspace_name, posted.source_config)
    project = platform.project()
    if airbyte_documents.hands_over(project):
        return airbyte_documents.add_datasource(project, new)
    return datasources.add_datasource(project, new)


@router.get("/{id}", openapi_extra=needs("sources.read", confined=True))
def show_datasource(platform: Platform, reach: Reach, id: str) -> dict[str, Any]:
    """One source."""
    with looked_up():
        _insist(platform, reach, id)
        return datasources.datasource(platform.project(), id)


@router.delete("/{id}", openapi_extra=needs("sources.write", confined=True))
def delete_datasource(platform: Platform, reach: Reach, id: str) -> dict[str, Any]:
    """Takes a source and its secrets away; its tables stay."""
    with looked_up():
        _insist(platform, reach, id)
        airbyte_documents.delete_at_airbyte(platform.project(), datasources.KIND, id)
        return datasources.delete_datasource(platform.project(), id)


def _insist(platform: Served, reach: Reached, id: str) -> None:
    if not reach.is_everything:
        reach.insist(datasources.lake_name_of(platform.project(), id), what=f"datasource {id!r}")
