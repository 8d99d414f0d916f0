"""`/sink`: places for tables that programs hand in. No answer has a secret of theirs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.bodies import Options
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.airbyte import documents as airbyte_documents
from asgard.app.documents import sinks

router = APIRouter(prefix="/sink", tags=["sink"])


class SinkRequest(BaseModel):
    """A sink; `config` is another name of `destination_config`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "destination_type": "local",
                    "workspace_name": "default",
                    "destination_config": {"path": "data/lake"},
                    "name": "Bronze Layer Sink",
                }
            ]
        }
    )
    destination_type: str = Field(min_length=1, max_length=100, description="s3, local")
    workspace_name: str = Field(default="default", min_length=1, max_length=200)
    destination_config: Options = Field(
        validation_alias=AliasChoices("destination_config", "config"),
        description="Of s3: s3_bucket_name, s3_bucket_path, keys. Of local: path, in the project's folder.",
    )
    name: str = Field(min_length=1, max_length=200)


@router.get("", openapi_extra=needs("sinks.read"))
def list_sinks(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The sinks, the oldest first."""
    page = sinks.sinks(platform.project(), cursor, limit)
    return Listed(items=page.items, next=page.next)


@router.post("", status_code=201, openapi_extra=needs("sinks.write"))
def create_sink(platform: Platform, posted: SinkRequest) -> dict[str, Any]:
    """Keeps a sink; its secrets go to the encrypted store. Nothing is written to it yet.

    Where AIRBYTE_BASE_URL is set, Airbyte makes it too, and may refuse it.
    """
    new = sinks.NewSink(
        posted.destination_type, posted.name, posted.workspace_name, posted.destination_config
    )
    project = platform.project()
    if airbyte_documents.hands_over(project):
        return airbyte_documents.add_sink(project, new)
    return sinks.add_sink(project, new)


@router.get("/{id}", openapi_extra=needs("sinks.read"))
def show_sink(platform: Platform, id: str) -> dict[str, Any]:
    """One sink."""
    with looked_up():
        return sinks.sink(platform.project(), id)


@router.delete("/{id}", openapi_extra=needs("sinks.write"))
def delete_sink(platform: Platform, id: str) -> dict[str, Any]:
    """Takes a sink and its secrets away; its tables stay where they lie."""
    with looked_up():
        airbyte_documents.delete_at_airbyte(platform.project(), sinks.KIND, id)
        return sinks.delete_sink(platform.project(), id)
