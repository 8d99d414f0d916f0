"""`/plan` and `/promotions`: what a run would build and why; an environment made production."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.served import Platform
from asgard.app.models.plan import plan
from asgard.app.models.promotions import add_promotion, planned_promotion

router = APIRouter(tags=["models"])
NAME = r"^[A-Za-z0-9_-]{1,63}$"
Environment = Annotated[str, Query(pattern=NAME, description="Such as dev: its file is asgard.dev.yml.")]
Selector = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


class PromotionRequest(BaseModel):
    """Whose tables become production's."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    environment: str = Field(pattern=NAME)
    force: bool = Field(default=False, description="Also where production moved meanwhile.")


@router.get("/plan", openapi_extra=needs("models.read"))
def show_plan(
    platform: Platform,
    selector: Annotated[
        list[Selector],
        Query(max_length=1000, description="gold.revenue, +gold.revenue, silver.*; none for all."),
    ] = [],  # noqa: B006 - FastAPI copies it
    full: Annotated[bool, Query(description="As if everything were built whole.")] = False,
    environment: Environment | None = None,
) -> dict[str, Any]:
    """Which models a run would build, why, and whether that may hurt who reads them. Nothing is written."""
    return plan(platform.workspace_of(environment), selector, full=full).as_dict()


@router.get("/promotions", openapi_extra=needs("models.read"))
def plan_promotion(platform: Platform, environment: Environment) -> dict[str, Any]:
    """What a promotion would make of each table, and what stands in its way."""
    return planned_promotion(platform.project(), environment)


@router.post("/promotions", status_code=202, openapi_extra=needs("models.write"))
def start_promotion(platform: Platform, posted: PromotionRequest) -> dict[str, Any]:
    """Puts a promotion into the queue; the answer is its job. Each table is promoted in one commit."""
    return add_promotion(platform.project(), posted.environment, force=posted.force)
