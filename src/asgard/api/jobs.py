"""`/jobs`: what waits for a worker, runs, or has ended."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from asgard.api.access import Reach, Reached, needs
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform, Served
from asgard.app.jobs import jobs
from asgard.core.errors import ConfigError

router = APIRouter(prefix="/jobs", tags=["jobs"])
Status = Literal["queued", "running", "done", "failed", "cancelled"]


class RerunRequest(BaseModel):
    """What of it is run again."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    failed_only: bool = False


@router.get("", openapi_extra=needs("runs.read", confined=True))
def list_jobs(
    platform: Platform,
    reach: Reach,
    status: Status | None = None,
    schedule: Annotated[str | None, Query(max_length=500)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listed:
    """The jobs, the newest first."""
    page = jobs.jobs(platform.project(), status=status, schedule=schedule, before=cursor, limit=limit)
    return Listed(items=[item for item in page.items if _reached(reach, item)], next=page.next)


@router.get("/{job}", openapi_extra=needs("runs.read", confined=True))
def show_job(platform: Platform, reach: Reach, job: str) -> dict[str, Any]:
    """One job with the steps of its newest attempt."""
    with looked_up():
        _insist(platform, reach, job)
        return jobs.job(platform.project(), job)


@router.get("/{job}/log", openapi_extra=needs("runs.read", confined=True), response_class=PlainTextResponse)
def job_log(platform: Platform, reach: Reach, job: str) -> str:
    """What its newest attempt said."""
    with looked_up():
        _insist(platform, reach, job)
        return jobs.log_of(platform.project(), job).read_text(errors="replace")


@router.post("/{job}/cancel", openapi_extra=needs("runs.cancel", confined=True))
def cancel_job(platform: Platform, reach: Reach, job: str) -> dict[str, Any]:
    """Asks for its end; what its run has committed stays."""
    with looked_up():
        _insist(platform, reach, job)
        return jobs.cancel_job(platform.project(), job)


@router.post("/{job}/rerun", status_code=202, openapi_extra=needs("runs.start", confined=True))
def rerun_job(platform: Platform, reach: Reach, job: str, posted: RerunRequest) -> dict[str, Any]:
    """Puts the same run into the queue again."""
    with looked_up():
        _insist(platform, reach, job)
        jobs.job(platform.project(), job)
    return jobs.rerun_job(platform.project(with_sources=True), job, failed_only=posted.failed_only)


def _insist(platform: Served, reach: Reached, job: str) -> None:
    if not reach.is_everything and not _reached(reach, jobs.job(platform.project(), job)):
        raise ConfigError(f"there is no job {job!r}", hint="or it is beyond what this token is for")


def _reached(reach: Reached, job: dict[str, Any]) -> bool:
    """Whether all that a job reads is within reach; one of which that is not known is not."""
    sources = job["sources"]
    return reach.is_everything or (bool(sources) and all(map(reach.has, sources)))
