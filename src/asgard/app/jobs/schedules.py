"""Wishes about schedules: which there are, when they are due, pause and resume, and the tick of the clock."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from asgard.app.config.mistakes import near
from asgard.app.config.project import Project
from asgard.app.config.quantities import parse_duration
from asgard.app.config.schedule_specs import ScheduleSpec
from asgard.app.config.specs import SourceSpec
from asgard.app.jobs.jobs import JobStore, JobWish, as_dict, new_job, open_jobs
from asgard.app.jobs.upkeep import KIND as MAINTENANCE
from asgard.app.jobs.upkeep import upkeep_job
from asgard.app.sources.arrivals import SETTLED_SECONDS, Arrivals, refuse_unknown
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.source import Feature
from asgard.schedule.timetable import Timetable, instant_text
from asgard.state.schedules import Progress

REAL_TIME = "real-time"
REAL_TIME_SECONDS = 60.0
"""How often a source is loaded whose changes cannot be followed, where it is to be real-time."""
CRON_OF_WORDS = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
LATE_SECONDS = 60.0
"""With `catch_up: none`: what is due may begin so much later, and is left out after that."""
MOST_CAUGHT_UP = 1000


@dataclass(frozen=True)
class Schedule:
    """What is run by itself.

    Attributes:
        name: its own in the project, or `SOURCE/FREQUENCY`.
        table: when it is due; None for one that waits for another, for files or arrivals, or always runs.
        after: the schedule that it follows.
        files: the pattern that it watches, absolute.
        arrivals: the source, or `source.table`, whose files it watches.
        says: the reason, as the project has it.
    """

    name: str
    wish: JobWish
    says: str
    table: Timetable | None = None
    after: str | None = None
    files: str | None = None
    arrivals: str | None = None
    catch_up: str = "latest"


# ---- which there are


def schedules_of(project: Project) -> dict[str, Schedule]:
    """All schedules of a project, by name: those with a name of their own, then those of tables' frequencies.

    Raises:
        ConfigError: one is after a schedule that is not there, or watches what keeps no files.
    """
    found = {name: _named(project, name, spec) for name, spec in project.schedules.items()}
    upkeep = project.maintenance
    if upkeep.every is not None and MAINTENANCE not in found:
        table = timetable(upkeep.every, upkeep.timezone)
        found[MAINTENANCE] = Schedule(MAINTENANCE, upkeep_job(upkeep), upkeep.every, table=table)
    for source in project.sources.values():
        found |= {one.name: one for one in _of_tables(source) if one.name not in found}
    for one in found.values():
        if one.after is not None and one.after not in found:
            there = near(one.after, list(found)) or f"there are: {', '.join(found)}"
            raise ConfigError(f"schedules.{one.name}.after: there is no schedule {one.after!r}", hint=there)
        if one.arrivals is not None and project.sources:  # who only looks at schedules has not read them
            refuse_unknown(project, one.arrivals)
    return found


def _named(project: Project, name: str, spec: ScheduleSpec) -> Schedule:
    wish = JobWish(spec.run, spec.full_refresh, False, spec.queue, spec.priority, spec.attempts, spec.timeout)
    if spec.after is not None:
        return Schedule(name, wish, f"after {spec.after}", after=spec.after)
    if spec.files is not None:
        pattern = os.path.join(project.folder, os.path.expanduser(spec.files))
        return Schedule(name, wish, f"files {spec.files}", files=pattern)
    if spec.arrivals is not None:
        return Schedule(name, wish, f"arrivals {spec.arrivals}", arrivals=spec.arrivals)
    assert spec.every is not None
    table = timetable(spec.every, spec.timezone)
    return Schedule(name, wish, spec.every, table=table, catch_up=spec.catch_up)


def _of_tables(source: SourceSpec) -> Iterator[Schedule]:
    """One schedule for each frequency among the tables of a source."""
    tables = [table for table in source.tables if table.enabled]
    for frequency in dict.fromkeys(table.frequency or source.frequency for table in tables):
        if frequency is None:
            continue
        names = [table.name for table in tables if (table.frequency or source.frequency) == frequency]
        all_of_it = len(names) == len(tables)
        selectors = (source.name,) if all_of_it else tuple(f"{source.name}.{name}" for name in names)
        follow = frequency == REAL_TIME and Feature.ENDLESS in source.connector_class.features
        table = None if follow else timetable(frequency)
        yield Schedule(f"{source.name}/{frequency}", JobWish(selectors, follow=follow), frequency, table)


def timetable(frequency: str, zone: str = "UTC") -> Timetable:
    """When a frequency is due: a word, a duration, or a cron line.

    Raises:
        ConfigError: it is none of these.
    """
    if frequency == REAL_TIME:
        return Timetable(every_seconds=REAL_TIME_SECONDS)
    if frequency in CRON_OF_WORDS or " " in frequency.strip():
        with suppress(ConfigError):  # `1h 30m` has a space too
            return Timetable(every_seconds=parse_duration(frequency))
        return Timetable(cron=CRON_OF_WORDS.get(frequency, frequency), zone=zone)
    return Timetable(every_seconds=parse_duration(frequency))


# ---- who looks, pauses, runs


def listed(project: Project) -> list[dict[str, Any]]:
    """Every schedule with its next time and its last job; what is not known is absent."""
    with open_jobs(project) as store:
        now, progress = store.schedules.progress()
        last = store.queue.newest_of_schedules()
    found = []
    for one in schedules_of(project).values():
        paused = progress.get(one.name, Progress(False, "")).paused
        told = {
            "schedule": one.name,
            "when": one.says,
            "selectors": list(one.wish.selectors),
            "paused": paused,
        }
        due = one.table.after(now) if one.table is not None and not paused else None
        if due is not None:
            told["next"] = instant_text(due)
        if one.name in last:
            told["last_job"] = as_dict(last[one.name])
        found.append(told)
    return found


def next_times(project: Project, name: str, count: int) -> list[str]:
    """The next instants of a schedule; none where it waits for something else than the time.

    Raises:
        ConfigError: there is none of that name.
    """
    one = _schedule(project, name)
    with open_jobs(project) as store:
        now, _ = store.schedules.progress()
    if one.table is None:
        return []
    return [instant_text(due) for due in islice(one.table.between(now, float("inf")), count)]


def pause(project: Project, name: str, *, paused: bool) -> None:
    """Stops a schedule, or lets it go on; a job that is there already goes on.

    Raises:
        ConfigError: there is none of that name.
    """
    one = _schedule(project, name)
    with open_jobs(project) as store:
        store.schedules.pause(one.name, paused)


def run_now(project: Project, name: str) -> dict[str, Any]:
    """Puts a schedule's job into the queue, whatever the time; the schedule itself stays where it is.

    Raises:
        ConfigError: there is none of that name.
    """
    one = _schedule(project, name)
    with open_jobs(project) as store:
        (job,) = store.queue.add([new_job(project, one.wish, one.name)])
        return as_dict(store.queue.job(job))


def _schedule(project: Project, name: str) -> Schedule:
    known = schedules_of(project)
    if name not in known:
        there = near(name, list(known)) or f"there are: {', '.join(known) or 'none'}"
        raise ConfigError(f"there is no schedule {name!r}", hint=there)
    return known[name]


# ---- the clock


def tick(
    project: Project, schedules: Mapping[str, Schedule], store: JobStore, arrivals: Arrivals | None = None
) -> list[str]:
    """Puts the jobs of all schedules that are due into the queue; gives their ids.

    Any number of clocks may tick on one store: what one has asked for, no other asks for again.

    Args:
        arrivals: looks for files in sources; None leaves schedules that wait for them where they are.

    Raises:
        AsgardError: a source could not be looked into; all other schedules have been seen to.
    """
    now, progress = store.schedules.progress()
    added: list[str] = []
    trouble: AsgardError | None = None
    for one in schedules.values():
        known = progress.get(one.name, Progress(False, ""))
        if known.paused:
            continue
        if one.arrivals is None:
            added += _tick_one(project, one, known.reached, now, store) or []
        elif arrivals is not None:
            try:
                seen = arrivals.seen(project, one.arrivals)
            except AsgardError as error:
                trouble = error
            else:
                added += _tick_arrivals(project, one, known.reached, seen, store) or []
    if trouble is not None:
        raise trouble
    return added


def _tick_arrivals(
    project: Project, one: Schedule, known: str, seen: str | None, store: JobStore
) -> list[str] | None:
    if seen is None or seen == known:
        return None
    come = set(seen.split()) - set(known.split()) - {"files"}
    jobs = [new_job(project, one.wish, one.name)] if come else []
    return store.schedules.advance(one.name, known, seen, jobs, _unless(one))


def _tick_one(project: Project, one: Schedule, seen: str, now: float, store: JobStore) -> list[str] | None:
    def advance(reached: str, due: Sequence[float | None], unless: Sequence[str]) -> list[str] | None:
        jobs = [new_job(project, one.wish, one.name, instant) for instant in due]
        return store.schedules.advance(one.name, seen, reached, jobs, unless)

    if one.table is not None:
        if not seen:  # from now on: a schedule that is new has missed nothing
            return advance(repr(now), [], ())
        instants = _due(one, one.table, float(seen), now)
        return advance(repr(instants[-1]), instants, _unless(one)) if instants else None
    if one.after is not None:
        newest = store.schedules.newest_done(one.after)
        reached = f"after {newest}"
        if reached == seen or (seen and not newest):
            return None
        return advance(reached, [None] if seen else [], _unless(one))
    if one.files is not None:
        reached = _arrived(one.files)
        come = set(reached.split()) - set(seen.split())
        return advance(reached, [None] if come - {"files"} else [], _unless(one)) if come else None
    if (
        seen and now - float(seen) < REAL_TIME_SECONDS
    ):  # it always runs; but what fails is not asked for at once
        return None
    return advance(repr(now), [None], ("queued", "running"))


def _unless(one: Schedule) -> tuple[str, ...]:
    """One job that waits is enough, except where every single time counts."""
    return () if one.catch_up == "all" else ("queued",)


def _due(one: Schedule, table: Timetable, seen: float, now: float) -> list[float]:
    """The instants behind `seen` that a job is wanted for."""
    first = _after(table, seen)
    if first is None or first > now:
        return []
    if one.catch_up == "all":
        return list(islice(table.between(seen, now), MOST_CAUGHT_UP))
    latest = table.latest(now) or first
    return [] if one.catch_up == "none" and latest < now - LATE_SECONDS else [latest]


@lru_cache(maxsize=4096)
def _after(table: Timetable, instant: float) -> float | None:
    """Asked every second, with the same answer until it is due."""
    return table.after(instant)


def _arrived(pattern: str) -> str:
    """The files that are there and have settled: `files`, and a hash of each one's name, size and time."""
    found = set()
    for path in glob.iglob(pattern, recursive=True):
        with suppress(OSError):  # it was taken away meanwhile
            stat = os.stat(path)
            named = f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}"
            if time.time() - stat.st_mtime >= SETTLED_SECONDS and os.path.isfile(path):
                found.add(hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest()[:16])
    return " ".join(["files", *sorted(found)])


__all__ = ["Schedule", "listed", "next_times", "pause", "run_now", "schedules_of", "tick", "timetable"]
