"""Whether the server lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from asgard.api.access import OPEN, needs
from asgard.api.served import Platform, Served
from asgard.app.jobs.jobs import jobs
from asgard.core.errors import AsgardError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`worker` is null where jobs are run by others."""

    status: Literal["ok", "failing"]
    live: bool
    ready: bool
    environment: str
    queue: Literal["ok", "failing"]
    worker: Literal["ok", "failing"] | None


@router.get("/health", openapi_extra=needs(OPEN))
def health(platform: Platform) -> Health:
    """Both at once; always answered with 200, so that it can be read."""
    return _health(platform)


@router.get("/health/live", openapi_extra=needs(OPEN))
def live() -> dict[str, bool]:
    """Whether the process answers: where it does not, it is to be started anew."""
    return {"live": True}


@router.get("/health/ready", openapi_extra=needs(OPEN), responses={503: {"model": Health}})
def ready(platform: Platform, response: Response) -> Health:
    """Whether requests should come here: 503 while the queue cannot be used or the worker has ended."""
    found = _health(platform)
    response.status_code = 200 if found.ready else 503
    return found


def _health(platform: Served) -> Health:
    queue, worker = True, platform.runs_jobs
    try:
        jobs(platform.project(), limit=1)
    except AsgardError:
        queue = False
    good = queue and worker is not False
    said: dict[bool, Any] = {True: "ok", False: "failing"}
    return Health(
        status=said[good],
        live=True,
        ready=good,
        environment=platform.settings.environment,
        queue=said[queue],
        worker=None if worker is None else said[worker],
    )
