"""Backfill: rows of a range of the cursor are read again and merged; the table's position stays where it is.

For what changed at the source without moving the cursor, or was left out when the table began. A long range
is cut into chunks, each a job of its own: what fails is tried again alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from asgard.app.config.project import Project
from asgard.app.config.quantities import parse_duration
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.flow.ingest import Pipeline

if TYPE_CHECKING:
    from asgard.app.jobs.jobs import JobWish

MOST_CHUNKS = 10_000
_WHOLE = re.compile(r"-?\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def add_backfill(project: Project, wish: JobWish, chunk: str | None) -> list[dict[str, Any]]:
    """Puts a backfill into the queue, one job for each chunk; they run one after another.

    Args:
        wish: with `between`.
        chunk: `1d` for times, `1000` for whole numbers; None for all in one.

    Raises:
        ConfigError: the range or the chunk is none.
    """
    from asgard.app.jobs.jobs import as_dict, new_job, open_jobs  # the queue, which a run has no use for

    assert wish.between is not None
    ranges = list(chunks(*wish.between, chunk))
    jobs = [new_job(project, replace(wish, between=one)) for one in ranges]
    alone = f"backfill {' '.join(wish.selectors)}"
    with open_jobs(project) as store:
        added = store.queue.add(replace(job, alone=alone) for job in jobs)
        return [as_dict(store.queue.job(job)) for job in added]


def chunks(low: str, high: str, chunk: str | None) -> Iterator[tuple[str, str]]:
    """The range in pieces, each with its end left out; the last one may be smaller.

    Raises:
        ConfigError: a bound is neither a whole number nor a date or time, or there would be too many pieces.
    """
    if _WHOLE.fullmatch(low) and _WHOLE.fullmatch(high):
        first, last = int(low), int(high)
        if chunk is not None and not re.fullmatch(r"[1-9]\d*", chunk):
            raise ConfigError(f"{chunk!r} is no chunk of whole numbers", hint="write it as 100000")
        numbers = _cut(first, last, int(chunk) if chunk else last - first)
        yield from ((str(begin), str(end)) for begin, end in numbers)
        return
    try:
        begin_at, end_at = datetime.fromisoformat(low), datetime.fromisoformat(high)
        if (begin_at.tzinfo is None) != (end_at.tzinfo is None):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{low!r} to {high!r} is no range",
            hint="write whole numbers, or dates and times as 2026-01-31, 2026-01-31T12:00+00:00",
        ) from None
    step = timedelta(seconds=parse_duration(chunk)) if chunk else end_at - begin_at
    days = _DATE.fullmatch(low) and _DATE.fullmatch(high) and not step % timedelta(days=1)
    separator = "T" if "T" in low else " "
    for begin, end in _cut(begin_at, end_at, step):
        yield tuple(  # type: ignore[misc]
            str(one.date()) if days else one.isoformat(separator) for one in (begin, end)
        )


def _cut(low: Any, high: Any, step: Any) -> Iterator[tuple[Any, Any]]:
    if low >= high:
        raise ConfigError(
            f"the range from {low} to {high} is empty", hint="its end comes after its beginning"
        )
    if (high - low) / step > MOST_CHUNKS:
        raise ConfigError(f"that would be more than {MOST_CHUNKS} chunks", hint="take larger ones")
    while low < high:
        yield low, min(low + step, high)
        low += step


def backfilling(pipeline: Pipeline, between: tuple[str, str]) -> Pipeline:
    """The pipeline of a table, for the rows of one range alone.

    Raises:
        ConfigError: the table is not merged by a cursor yet, or its source takes no SQL condition.
    """
    selection, source = pipeline.selection, pipeline.source
    if selection.mode is not Mode.MERGE or selection.cursor is None or not pipeline.table.exists():
        raise ConfigError(
            f"{selection.stream.full_name} cannot be backfilled",
            hint="a backfill is for a table with mode: merge and a cursor, after its first run",
        )
    if not source.quote or selection.query is not None:
        raise ConfigError(
            f"{selection.stream.full_name} cannot be backfilled: {source.type} reads no range of it",
            hint="asgard run --full-refresh reads all of it again",
        )
    quote = source.quote
    column = quote + selection.cursor.replace(quote, quote * 2) + quote
    low, high = (
        bound if _WHOLE.fullmatch(bound) else "'" + bound.replace("'", "''") + "'" for bound in between
    )
    options: Any = selection.options or source.StreamOptions()
    given = f"({options.where}) AND " if options.where else ""
    narrowed = options.model_copy(update={"where": f"{given}{column} >= {low} AND {column} < {high}"})
    return replace(pipeline, selection=replace(selection, options=narrowed), backfill=True)
