"""`/jobs`: what waits for a worker, runs, or has ended."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app import jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])
Status = Literal["queued", "running", "done", "failed", "cancelled"]


class RerunRequest(BaseModel):
    """What of it is run again."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    failed_only: bool = False


@router.get("", openapi_extra=needs("runs.read"))
def list_jobs(
    platform: Platform,
    status: Status | None = None,
    schedule: Annotated[str | None, Query(max_length=500)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listed:
    """The jobs, the newest first."""
    page = jobs.jobs(platform.project(), status=status, schedule=schedule, before=cursor, limit=limit)
    return Listed(items=page.items, next=page.next)


@router.get("/{job}", openapi_extra=needs("runs.read"))
def show_job(platform: Platform, job: str) -> dict[str, Any]:
    """One job with the steps of its newest attempt."""
    with looked_up():
        return jobs.job(platform.project(), job)


@router.get("/{job}/log", openapi_extra=needs("runs.read"), response_class=PlainTextResponse)
def job_log(platform: Platform, job: str) -> str:
    """What its newest attempt said."""
    with looked_up():
        return jobs.log_of(platform.project(), job).read_text(errors="replace")


@router.post("/{job}/cancel", openapi_extra=needs("runs.cancel"))
def cancel_job(platform: Platform, job: str) -> dict[str, Any]:
    """Asks for its end; what its run has committed stays."""
    with looked_up():
        return jobs.cancel_job(platform.project(), job)


@router.post("/{job}/rerun", status_code=202, openapi_extra=needs("runs.start"))
def rerun_job(platform: Platform, job: str, posted: RerunRequest) -> dict[str, Any]:
    """Puts the same run into the queue again."""
    with looked_up():
        jobs.job(platform.project(), job)
    return jobs.rerun_job(platform.project(with_sources=True), job, failed_only=posted.failed_only)
