"""`/maintenance`: the upkeep of tables, as a job."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.served import Platform
from asgard.app.config.quantities import Lag, Size
from asgard.app.jobs.upkeep import add_upkeep

router = APIRouter(prefix="/maintenance", tags=["maintenance"])


class MaintenanceRequest(BaseModel):
    """What is looked after; what is left out is as the project's `maintenance:` has it."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    tables: Annotated[list[str] | None, Field(max_length=10_000)] = None
    budget: Annotated[Lag, Field(gt=0)] | None = None
    budget_bytes: Size | None = None
    keep: Lag | None = None
    keep_log: Lag | None = None
    cluster: bool | None = None
    dry_run: bool = False


@router.post("", status_code=202, openapi_extra=needs("tables.write"))
def start_maintenance(platform: Platform, posted: MaintenanceRequest) -> dict[str, Any]:
    """Puts an upkeep into the queue; the answer is its job, whose step says what was done and is left."""
    asked = {name: value for name, value in posted.model_dump().items() if value is not None}
    return add_upkeep(platform.project(), asked)
