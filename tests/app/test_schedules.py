"""What schedules ask for, and when: the clock of the test is the database's."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from asgard.app.config.project import Project, load_project
from asgard.app.jobs.jobs import JobStore
from asgard.app.jobs.schedules import listed, next_times, pause, run_now, schedules_of, tick
from asgard.core.errors import ConfigError
from asgard.state.queue import SCHEMA, SCHEMA_VERSION, End, Job, Limits, Queue
from asgard.state.schedules import ScheduleStore
from asgard.state.sqlite_database import SqliteDatabase

SHOP: dict[str, Any] = {"type": "sqlite", "path": "shop.db"}
NOON = datetime.fromisoformat("2026-03-01T12:00+00:00").timestamp()


class Clock:
    """A project with its queue, at a time that the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = SqliteDatabase(folder / ".asgard" / "queue.db", "queue")
        self.database.migrate(SCHEMA, SCHEMA_VERSION)
        queue = Queue(self.database)
        self.store = JobStore(queue, ScheduleStore(self.database, queue))
        self.at(NOON)

    def at(self, instant: float) -> None:
        self.now = instant
        self.database.now = repr(instant)

    def project(self, sources: dict[str, Any] | None = None, **schedules: Any) -> Project:
        document = {"version": 1, "data_sources": sources or {}, "schedules": schedules}
        (self.folder / "asgard.yml").write_text(json.dumps(document))
        return load_project(self.folder / "asgard.yml")

    def tick(self, project: Project, instant: float | None = None) -> list[Job]:
        """The jobs that one tick asks for, in the order in which they are due."""
        if instant is not None:
            self.at(instant)
        added = [self.store.queue.job(job) for job in tick(project, schedules_of(project), self.store)]
        return sorted(added, key=lambda job: job.due_at or 0)

    def ended(self, status: str = "done") -> Job:
        """Ends the next job that may run."""
        job = self.store.queue.lease("w", Limits(), 30)
        assert job is not None
        self.store.queue.finish(job, End(status))
        return job


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def tables(*frequencies: str | None) -> list[dict[str, Any]]:
    return [{"name": f"t{n}", **({"frequency": f} if f else {})} for n, f in enumerate(frequencies)]


def test_tables_of_one_frequency_are_one_schedule(clock: Clock) -> None:
    project = clock.project(
        {
            "whole": {**SHOP, "frequency": "hourly", "tables": tables(None, "hourly")},
            "mixed": {**SHOP, "tables": tables("hourly", "0 5 * * *", None, "hourly")},
            "never": {**SHOP, "tables": tables(None)},
        }
    )
    found = {name: one.wish.selectors for name, one in schedules_of(project).items()}
    assert found == {
        "whole/hourly": ("whole",),
        "mixed/hourly": ("mixed.t0", "mixed.t3"),
        "mixed/0 5 * * *": ("mixed.t1",),
    }


def test_real_time_follows_a_log_and_asks_others_every_minute(clock: Clock) -> None:
    project = clock.project(
        {
            "events": {"type": "kafka", "bootstrap_servers": "localhost:9", "tables": tables("real-time")},
            "shop": {**SHOP, "tables": tables("real-time")},
        }
    )
    found = schedules_of(project)
    assert found["events/real-time"].wish.follow
    assert not found["shop/real-time"].wish.follow
    assert next_times(project, "shop/real-time", 2)[0] < next_times(project, "shop/real-time", 2)[1]
    (following,) = clock.tick(project)
    assert following.task["follow"]
    assert following.sources == ()
    assert [job.schedule for job in clock.tick(project, NOON + 61)] == ["shop/real-time"]
    clock.ended("failed")
    assert clock.tick(project, NOON + 62) == []  # what fails is not asked for again at once
    assert "events/real-time" in [job.schedule for job in clock.tick(project, NOON + 122)]


def test_a_schedule_that_is_new_has_missed_nothing(clock: Clock) -> None:
    project = clock.project(nightly={"run": ["shop"], "every": "0 2 * * *", "timezone": "Europe/Berlin"})
    assert clock.tick(project) == []
    assert clock.tick(project, NOON + 13 * 3600 - 1) == []
    (job,) = clock.tick(project, NOON + 13 * 3600)
    assert (job.schedule, job.task["selectors"], job.due_at) == ("nightly", ["shop"], NOON + 13 * 3600)
    assert clock.tick(project, NOON + 13 * 3600 + 1) == []


@pytest.mark.parametrize(("catch_up", "due"), [("latest", [3]), ("all", [1, 2, 3]), ("none", [])])
def test_what_becomes_of_times_that_passed(clock: Clock, catch_up: str, due: list[int]) -> None:
    project = clock.project(often={"every": "1h", "catch_up": catch_up})
    clock.tick(project)
    jobs = clock.tick(project, NOON + 3.5 * 3600)
    assert [job.due_at for job in jobs] == [NOON + hours * 3600 for hours in due]
    assert [job.due_at for job in clock.tick(project, NOON + 4 * 3600 + 1)][-1:] in ([NOON + 4 * 3600], [])


def test_a_time_is_not_missed_by_a_clock_that_is_a_little_late(clock: Clock) -> None:
    project = clock.project(often={"every": "1h", "catch_up": "none"})
    clock.tick(project)
    assert len(clock.tick(project, NOON + 3600 + 30)) == 1


def test_one_job_that_waits_is_enough_and_one_runs_at_a_time(clock: Clock) -> None:
    project = clock.project(often={"every": "1h"})
    clock.tick(project)
    assert len(clock.tick(project, NOON + 3600)) == 1
    running = clock.store.queue.lease("w", Limits(), 1e6)
    assert running is not None
    assert len(clock.tick(project, NOON + 2 * 3600)) == 1
    assert clock.tick(project, NOON + 3 * 3600) == []
    assert clock.store.queue.lease("w", Limits(), 1e6) is None
    clock.store.queue.finish(running, End("done"))
    assert clock.store.queue.lease("w", Limits(), 1e6) is not None


def test_a_schedule_after_another_runs_after_each_good_run_of_it(clock: Clock) -> None:
    project = clock.project(
        nightly={"run": ["shop"], "every": "1d"}, marts={"run": ["gold.*"], "after": "nightly"}
    )
    clock.tick(project)
    for day, status in ((1, "failed"), (2, "done"), (3, "done")):
        assert [job.schedule for job in clock.tick(project, NOON + day * 86400)] == ["nightly"]
        clock.ended(status)
        followed = clock.tick(project, clock.now + 1)
        assert [job.schedule for job in followed] == (["marts"] if status == "done" else [])
        if followed:
            assert clock.ended().schedule == "marts"
        assert clock.tick(project, clock.now + 1) == []


def test_a_schedule_after_another_is_not_moved_by_a_history_that_is_forgotten(clock: Clock) -> None:
    project = clock.project(nightly={"every": "1d"}, marts={"after": "nightly"})
    clock.tick(project)
    clock.tick(project, NOON + 86400)
    clock.ended()
    assert len(clock.tick(project)) == 1
    clock.ended()
    clock.at(clock.now + 60)
    assert clock.store.queue.forget(30 / 86400) == 2
    assert clock.tick(project) == []


def test_files_that_come_or_change_and_have_settled(clock: Clock) -> None:
    inbox = clock.folder / "inbox"
    inbox.mkdir()
    project = clock.project(inbox={"run": ["drop"], "files": "inbox/*.csv"})

    def put(name: str, content: str, age_seconds: float = 60) -> None:
        (inbox / name).write_text(content)
        modified = (inbox / name).stat().st_mtime - age_seconds
        os.utime(inbox / name, (modified, modified))

    assert clock.tick(project) == []
    put("a.csv", "1", age_seconds=0)
    put("b.txt", "1")
    assert clock.tick(project) == []
    put("a.csv", "1")
    assert [job.schedule for job in clock.tick(project)] == ["inbox"]
    assert clock.tick(project) == []
    clock.ended()
    put("a.csv", "12")
    assert len(clock.tick(project)) == 1
    clock.ended()
    (inbox / "a.csv").unlink()
    assert clock.tick(project) == []


def test_a_paused_schedule_asks_for_nothing_until_it_goes_on(clock: Clock) -> None:
    project = clock.project(often={"every": "1h"})
    clock.tick(project)
    pause(project, "often", paused=True)
    assert clock.tick(project, NOON + 2 * 3600) == []
    assert [(one["paused"], "next" in one) for one in listed(project)] == [(True, False)]
    pause(project, "often", paused=False)
    assert len(clock.tick(project)) == 1
    assert [one["paused"] for one in listed(project)] == [False]


def test_a_schedule_runs_now_and_stays_where_it_is(clock: Clock) -> None:
    project = clock.project(often={"run": ["shop"], "every": "1h"})
    clock.tick(project)
    now = run_now(project, "often")
    assert (now["schedule"], now["selectors"], now["status"]) == ("often", ["shop"], "queued")
    clock.at(NOON + 10 * 365 * 86400)  # it came by the real clock
    assert clock.ended().id == now["job"]
    assert len(clock.tick(project)) == 1


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"run": ["a"]}, "needs one of every, after, files and arrivals"),
        ({"every": "hourly", "after": "x"}, "needs one of every, after, files and arrivals"),
        ({"files": "s3://b/*.csv"}, "files is of this machine; arrivals"),
        ({"every": "now"}, "is no frequency"),
        ({"every": "hourly", "timezone": "Mars/Olympus"}, "is no time zone"),
        ({"every": "hourly", "attempts": 0}, "attempts"),
        ({"every": "hourly", "when": 1}, "when"),
    ],
)
def test_a_mistake_is_told_with_its_place(clock: Clock, schedule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        clock.project(nightly=schedule)
    assert said in caught.value.what
    assert "asgard.yml:1:" in caught.value.what
    assert "schedules" in caught.value.what


def test_names_that_are_not_there(clock: Clock) -> None:
    project = clock.project(nightly={"every": "hourly"})
    with pytest.raises(ConfigError, match="no schedule 'nightli'") as caught:
        pause(project, "nightli", paused=True)
    assert "nightly" in caught.value.hint
    with pytest.raises(ConfigError, match=r"schedules\.a\.after: there is no schedule 'b'"):
        schedules_of(clock.project(a={"after": "b"}))
