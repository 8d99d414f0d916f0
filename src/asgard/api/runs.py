"""`/runs`: runs of the project, and what one that is under way tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import Reach, needs
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import Problem
from asgard.api.served import Platform, Served
from asgard.app.jobs.jobs import JobWish, add_job
from asgard.app.runs.history import log_file
from asgard.app.runs.run_events import events_after, goes_on_elsewhere, is_last
from asgard.app.runs.shared_runs import run_anywhere, runs_anywhere
from asgard.core.errors import ConfigError, Refused

router = APIRouter(prefix="/runs", tags=["runs"])
LOOK_SECONDS = 0.25
FAR_LOOK_SECONDS = 1.0
"""Between two questions to a database about a run on another machine."""
LOOKS_PER_SIGN = 60
"""After so many looks at nothing new a comment is sent, so that whoever has gone is noticed."""
CHUNK_BYTES = 1 << 18
LastEvent = Annotated[
    int | None, Header(ge=0, le=1 << 62, description="The id of the last event that is known already.")
]


class RunRequest(BaseModel):
    """What is run: as `asgard run` takes it."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    selectors: list[Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]] = Field(
        default=[], max_length=1000, description="shop, shop.orders, gold.revenue; none for everything."
    )
    full_refresh: bool = False
    priority: int = Field(default=0, ge=-1000, le=1000)


@router.get("", openapi_extra=needs("runs.read"))
def list_runs(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The runs of all machines that share the queue, the newest first."""
    found = runs_anywhere(platform.project(), limit + 1, cursor or "")
    items = [{key: value for key, value in run.items() if key != "steps"} for run in found[:limit]]
    return Listed(items=items, next=found[limit - 1]["run"] if len(found) > limit else None)


@router.post("", status_code=202, openapi_extra=needs("runs.start", confined=True))
def start_run(platform: Platform, reach: Reach, posted: RunRequest) -> dict[str, Any]:
    """Puts a run into the queue; the answer is its job."""
    if not reach.is_everything:
        heads = [selector.removeprefix("bronze.").partition(".")[0] for selector in posted.selectors]
        if not heads or not all(map(reach.has, heads)):
            raise Refused(
                "runs.start goes beyond what this token is for", hint="name sources of its, or their tables"
            )
    wish = JobWish(tuple(posted.selectors), posted.full_refresh, priority=posted.priority)
    return add_job(platform.project(with_sources=True), wish)


@router.get("/{run}", openapi_extra=needs("runs.read"))
def show_run(platform: Platform, run: str) -> dict[str, Any]:
    """One run with its steps, those that have ended while it goes on."""
    found = run_anywhere(platform.project(), run)
    if found is None:
        raise _unknown(run)
    return found


@router.get(
    "/{run}/events",
    openapi_extra=needs("runs.read"),
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def follow_run(platform: Platform, run: str, last_event_id: LastEvent = None) -> StreamingResponse:
    """The events of a run as server-sent events: those that were, then each as it comes, until its end.

    Browsers that lose the connection ask again with `Last-Event-ID`, and are told what came behind that.
    """
    project, known = platform.project(), last_event_id or 0
    is_here = platform.workspace().journal.run(run) is not None
    if not is_here and events_after(project, run):
        told = _told_elsewhere(platform, run, known)
    else:
        _found(platform, run)  # before it is a part of a path
        told = _told(platform, run, log_file(project.state_folder, run), known)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)


async def _told(platform: Served, run: str, file: Path, known: int) -> AsyncIterator[str]:
    at, number, rest, quiet = 0, 0, b"", 0
    while True:
        # Asked before the file is read: what a run tells before its end is in the file then.
        goes_on = await run_in_threadpool(_goes_on, platform, run)
        data = await run_in_threadpool(_read, file, at)
        at += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if number > known:
                yield f"id: {number}\nevent: {json.loads(line)['event']}\ndata: {line.decode()}\n\n"
        if not data and (platform.is_ending or not goes_on):
            return
        quiet = 0 if data else quiet + 1
        if quiet and quiet % LOOKS_PER_SIGN == 0:
            yield ": still there\n\n"
        if not data:
            await asyncio.sleep(LOOK_SECONDS)


async def _told_elsewhere(platform: Served, run: str, known: int) -> AsyncIterator[str]:
    """The same of a run on another machine that shares the queue, from the database."""
    project, ended, quiet = platform.project(), False, 0
    while True:
        # Asked before the events are: what a run tells before its end is there then. A worker that was killed
        # says no last word: its job does.
        goes_on = not ended and await run_in_threadpool(goes_on_elsewhere, project, run)
        found = await run_in_threadpool(events_after, project, run, known)
        for number, line in found:
            known, ended = number, is_last(line)
            yield f"id: {number}\nevent: {json.loads(line)['event']}\ndata: {line}\n\n"
        if not found and (platform.is_ending or not goes_on):
            return
        quiet = 0 if found else quiet + 1
        if quiet and quiet % LOOKS_PER_SIGN == 0:
            yield ": still there\n\n"
        if not found:
            await asyncio.sleep(FAR_LOOK_SECONDS)


def _read(file: Path, at: int) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(at)
            return stream.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _goes_on(platform: Served, run: str) -> bool:
    found = platform.workspace().journal.run(run)
    return found is not None and found["status"] == "running"


def _found(platform: Served, run: str) -> dict[str, Any]:
    found = platform.workspace().journal.run(run)
    if found is None:
        raise _unknown(run)
    return found


def _unknown(run: str) -> Problem:
    return Problem(404, ConfigError(f"there is no run {run!r}", hint="GET /runs lists them"))
