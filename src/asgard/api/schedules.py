"""`/schedules`: what is run by itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.jobs import schedules

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.get("", openapi_extra=needs("schedules.read"))
def list_schedules(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The schedules, by name."""
    known = {one["schedule"]: one for one in schedules.listed(platform.project(with_sources=True))}
    chosen, behind = page_after(sorted(known), cursor, limit)
    return Listed(items=[known[name] for name in chosen], next=behind)


@router.post("/{schedule:path}/pause", openapi_extra=needs("schedules.pause"))
def pause_schedule(platform: Platform, schedule: str) -> dict[str, Any]:
    """Stops it; a job that is there already goes on."""
    with looked_up():
        schedules.pause(platform.project(with_sources=True), schedule, paused=True)
    return {"schedule": schedule, "paused": True}


@router.post("/{schedule:path}/resume", openapi_extra=needs("schedules.pause"))
def resume_schedule(platform: Platform, schedule: str) -> dict[str, Any]:
    """Lets it go on."""
    with looked_up():
        schedules.pause(platform.project(with_sources=True), schedule, paused=False)
    return {"schedule": schedule, "paused": False}


@router.post("/{schedule:path}/run", status_code=202, openapi_extra=needs("runs.start"))
def run_schedule(platform: Platform, schedule: str) -> dict[str, Any]:
    """Puts its job into the queue now; the schedule itself stays where it is."""
    with looked_up():
        return schedules.run_now(platform.project(with_sources=True), schedule)
