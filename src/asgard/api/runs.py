"""`/runs`: runs of the project, and what one that is under way tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Protocol

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
    lines: Lines
    if not is_here and events_after(project, run):
        lines = LinesElsewhere(platform, run, known)
    else:
        _found(platform, run)  # before it is a part of a path
        lines = LinesHere(platform, run, known)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_told(platform, lines), media_type="text/event-stream", headers=headers)


class Lines(Protocol):
    """What a run tells, wherever that is written down."""

    look_seconds: float
    """Between two looks at nothing new."""

    def goes_on(self) -> bool:
        """Whether it may tell more."""
        ...

    def look(self) -> tuple[list[tuple[int, str]], bool]:
        """What came since the last look, each line with its number; and whether anything came at all."""
        ...


class LinesHere:
    """Those in the file of a run on this machine."""

    look_seconds = LOOK_SECONDS

    def __init__(self, platform: Served, run: str, known: int) -> None:
        self._platform = platform
        self._run = run
        self._known = known
        self._file = log_file(platform.project().state_folder, run)
        self._at, self._number, self._rest = 0, 0, b""

    def goes_on(self) -> bool:
        """As Lines."""
        found = self._platform.workspace().journal.run(self._run)
        return found is not None and found["status"] == "running"

    def look(self) -> tuple[list[tuple[int, str]], bool]:
        """As Lines."""
        data = _read(self._file, self._at)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        numbered = list(enumerate((line.decode() for line in lines), self._number + 1))
        self._number += len(lines)
        return [(number, line) for number, line in numbered if number > self._known], bool(data)


class LinesElsewhere:
    """Those of a run on another machine that shares the queue, in the database."""

    look_seconds = FAR_LOOK_SECONDS

    def __init__(self, platform: Served, run: str, known: int) -> None:
        self._project = platform.project()
        self._run = run
        self._known = known
        self._ended = False

    def goes_on(self) -> bool:
        """As Lines. A worker that was killed says no last word: its job does."""
        return not self._ended and goes_on_elsewhere(self._project, self._run)

    def look(self) -> tuple[list[tuple[int, str]], bool]:
        """As Lines."""
        found = events_after(self._project, self._run, self._known)
        if found:
            self._known, self._ended = found[-1][0], is_last(found[-1][1])
        return found, bool(found)


async def _told(platform: Served, lines: Lines) -> AsyncIterator[str]:
    quiet = 0
    while True:
        # Asked before the look: what a run tells before its end is there then.
        goes_on = await run_in_threadpool(lines.goes_on)
        found, came = await run_in_threadpool(lines.look)
        for number, line in found:
            yield f"id: {number}\nevent: {json.loads(line)['event']}\ndata: {line}\n\n"
        if not came and (platform.is_ending or not goes_on):
            return
        quiet = 0 if came else quiet + 1
        if quiet and quiet % LOOKS_PER_SIGN == 0:
            yield ": still there\n\n"
        if not came:
            await asyncio.sleep(lines.look_seconds)


def _read(file: Path, at: int) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(at)
            return stream.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _found(platform: Served, run: str) -> dict[str, Any]:
    found = platform.workspace().journal.run(run)
    if found is None:
        raise _unknown(run)
    return found


def _unknown(run: str) -> Problem:
    return Problem(404, ConfigError(f"there is no run {run!r}", hint="GET /runs lists them"))
