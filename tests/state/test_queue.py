"""The queue on both databases: who may have a job, for how long, and who may end it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asgard.core.errors import ConfigError, Unreachable
from asgard.state.database import Database
from asgard.state.queue import End, Limits, NewJob, Queue
from asgard.state.schedules import Progress, ScheduleStore
from tests.servers.postgres import Server
from tests.state.stores import database_at

FREE = Limits(per_source=None)
DONE = End("done", 0)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


def add(queue: Queue, *jobs: NewJob) -> list[str]:
    return queue.add(jobs)


def test_a_job_comes_back_as_it_was_put_in(queue: Queue) -> None:
    new = NewJob({"a": [1, None, "ü"]}, "heavy", ("shop", "web"), "nightly", "nightly", 3, 2, 1.5, 1000.25)
    (job_id,) = add(queue, new)
    job = queue.job(job_id)
    assert NewJob(*(getattr(job, name) for name in NewJob.__dataclass_fields__)) == new
    assert (job.status, job.attempt, job.worker, job.finished_at) == ("queued", 0, None, None)
    assert abs(job.created_at - time.time()) < 5
    leased = queue.lease("w", FREE, 30)
    assert leased is not None
    assert leased == queue.job(job_id)
    assert (leased.status, leased.attempt, leased.worker) == ("running", 1, "w")


def test_higher_priority_goes_first_then_what_was_due_first(queue: Queue) -> None:
    now = time.time()
    last, first, second = add(
        queue, NewJob({}, due_at=now - 5), NewJob({}, priority=1, due_at=now - 1), NewJob({}, due_at=now - 9)
    )
    add(queue, NewJob({}, priority=9, due_at=now + 60))
    leased = [queue.lease("w", FREE, 30) for _ in range(4)]
    assert [job.id if job else None for job in leased] == [first, second, last, None]


def test_limits_hold_a_job_back_but_not_those_behind_it(queue: Queue) -> None:
    limits = Limits({"heavy": 1}, per_source=2)
    now = time.time()
    jobs = [
        NewJob({}, "heavy", ("a",)), NewJob({}, "heavy"), NewJob({}, "light", ("a", "b")),
        NewJob({}, "light", ("a",)), NewJob({}, alone="x"), NewJob({}, alone="x"), NewJob({}, sources=("b",)),
    ]  # fmt: skip
    added = add(queue, *(replace(job, due_at=now - 9 + number / 10) for number, job in enumerate(jobs)))
    leased = []
    while (job := queue.lease("w", limits, 30)) is not None:
        leased.append(job)
    assert [added.index(job.id) for job in leased] == [0, 2, 4, 6]
    assert queue.finish(leased[0], DONE)
    freed = [queue.lease("w", limits, 30) for _ in range(3)]
    assert [added.index(job.id) if job else None for job in freed] == [1, 3, None]


def test_who_lost_the_lease_can_end_nothing(queue: Queue) -> None:
    add(queue, NewJob({}))
    first = queue.lease("one", FREE, 0.2)
    assert first is not None
    assert queue.lease("two", FREE, 30) is None
    time.sleep(0.3)
    second = queue.lease("two", FREE, 30)
    assert second is not None
    assert (second.id, second.attempt) == (first.id, 2)
    assert queue.renew([first], 30) == set()
    assert not queue.finish(first, End("failed", 2, "too late"))
    assert queue.job(first.id) == second
    assert queue.renew([first, second], 30) == {second.id}
    assert queue.finish(second, DONE)
    assert not queue.finish(second, DONE)
    assert queue.job(first.id).status == "done"


def test_a_lease_that_is_renewed_does_not_end(queue: Queue) -> None:
    add(queue, NewJob({}))
    job = queue.lease("one", FREE, 0.5)
    assert job is not None
    for _ in range(4):
        time.sleep(0.2)
        assert queue.renew([job], 0.5) == {job.id}
        assert queue.lease("two", FREE, 30) is None


def test_a_job_whose_workers_are_lost_again_and_again_fails(queue: Queue) -> None:
    (job,) = add(queue, NewJob({}, attempts=2))
    for attempt in (1, 2):
        leased = queue.lease("w", FREE, 0.01)
        assert leased is not None
        assert leased.attempt == attempt
        time.sleep(0.05)
    assert queue.lease("w", FREE, 30) is None
    assert (queue.job(job).status, queue.job(job).error) == ("failed", "its worker was lost")


def test_what_is_tried_again_waits_for_its_pause(queue: Queue) -> None:
    add(queue, NewJob({}))
    job = queue.lease("w", FREE, 30)
    assert job is not None
    assert queue.finish(job, End("queued", 5, "no answer", again_in_seconds=0.4))
    assert queue.lease("w", FREE, 30) is None
    assert (queue.job(job.id).exit_code, queue.job(job.id).error) == (5, "no answer")
    time.sleep(0.5)
    again = queue.lease("w", FREE, 30)
    assert again is not None
    assert (again.attempt, again.exit_code, again.error) == (2, None, None)


def test_cancel_ends_what_waits_and_asks_for_the_end_of_what_runs(queue: Queue) -> None:
    waiting, running = add(queue, NewJob({}), NewJob({}, priority=1))
    job = queue.lease("w", Limits(per_source=1), 30)
    assert job is not None
    assert queue.cancel(waiting).status == "cancelled"
    assert queue.cancel(running).status == "running"
    assert queue.to_be_cancelled("w") == {running}
    assert queue.lease("w", FREE, 30) is None
    assert queue.finish(job, End("queued", 130))  # meant to be tried again: but its end was asked for
    assert queue.job(running).status == "cancelled"
    assert queue.job(running).finished_at is not None
    assert queue.cancel(running) == queue.job(running)
    with pytest.raises(ConfigError, match="no job 'nobody'"):
        queue.cancel("nobody")


def test_a_cancelled_job_whose_worker_is_lost_is_not_tried_again(queue: Queue) -> None:
    (job,) = add(queue, NewJob({}))
    assert queue.lease("w", FREE, 0.01) is not None
    queue.cancel(job)
    time.sleep(0.05)
    assert queue.lease("w", FREE, 30) is None
    assert queue.job(job).status == "cancelled"


def test_pages_give_every_job_once_whatever_comes_meanwhile(queue: Queue) -> None:
    added = add(queue, *(NewJob({}, schedule="odd" if n % 2 else "even") for n in range(23)))
    seen: list[str] = []
    page = queue.jobs(limit=5)
    while page:
        seen += [job.id for job in page]
        page = queue.jobs(limit=5, before=seen[-1])
    assert seen == sorted(added, reverse=True)
    assert {job.id for job in queue.jobs(schedule="odd", limit=100)} == set(added[1::2])
    assert queue.jobs(status="done") == []


def test_what_ended_long_ago_is_forgotten(queue: Queue) -> None:
    ended, waiting = add(queue, NewJob({}, priority=1), NewJob({}))
    job = queue.lease("w", FREE, 30)
    assert job is not None
    queue.finish(job, DONE)
    assert queue.forget(keep_days=1) == 0
    time.sleep(0.1)
    assert queue.forget(keep_days=0.05 / 86400) == 1
    assert [job.id for job in queue.jobs()] == [waiting]
    with pytest.raises(ConfigError, match=ended):
        queue.job(ended)


def test_workspaces_do_not_see_each_other(database: Database) -> None:
    one, other = Queue(database, "one"), Queue(database, "other")
    (job,) = add(one, NewJob({}))
    assert other.lease("w", FREE, 30) is None
    assert other.jobs() == []
    leased = one.lease("w", FREE, 30)
    assert leased is not None
    assert leased.id == job
    assert not other.finish(leased, DONE)


def test_a_newer_format_is_refused_with_the_way_out(address: dict[str, Any], database: Database) -> None:
    with database.writing() as rows:
        rows(
            "PRAGMA user_version = 99" if "file" in address else "UPDATE asgard_queue_format SET version = 99"
        )
    with pytest.raises(ConfigError, match="format 99"), database_at(address):
        pass


def test_a_connection_that_broke_off_is_made_anew(pg16: Server, pg_database: str) -> None:
    address = {
        "host": pg16.host, "port": pg16.port, "database": pg_database, "username": pg16.user,
        "password": pg16.password, "ssl_mode": "disable",
    }  # fmt: skip
    with database_at(address) as database:
        queue = Queue(database)
        (job,) = add(queue, NewJob({}))
        pg16.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{pg_database}'"
        )
        with pytest.raises(Unreachable):
            queue.jobs()
        assert [one.id for one in queue.jobs()] == [job]


def test_an_error_takes_the_whole_transaction_back(database: Database, queue: Queue) -> None:
    def half() -> None:
        with database.writing() as rows:
            queue.put(rows, NewJob({}))
            raise LookupError

    with pytest.raises(LookupError):
        half()
    assert queue.jobs() == []
    assert len(add(queue, NewJob({}))) == 1


# ---- schedules


def test_a_schedule_moves_on_from_where_it_was_seen_or_not_at_all(database: Database, queue: Queue) -> None:
    store = ScheduleStore(database, queue)
    job = NewJob({}, schedule="nightly")
    assert store.advance("nightly", "", "1", []) == []
    added = store.advance("nightly", "1", "2", [job])
    assert added is not None
    assert store.advance("nightly", "1", "2", [job]) is None
    assert [job.id for job in queue.jobs()] == added
    assert store.advance("nightly", "2", "3", [job], unless=("queued",)) == []
    assert store.progress()[1] == {"nightly": Progress(False, "3")}


def test_a_paused_schedule_stays_where_it_is(database: Database, queue: Queue) -> None:
    store = ScheduleStore(database, queue)
    store.pause("new", True)
    store.advance("nightly", "", "1", [])
    store.pause("nightly", True)
    assert store.advance("nightly", "1", "2", [NewJob({})]) is None
    assert store.progress()[1] == {"new": Progress(True, ""), "nightly": Progress(True, "1")}
    store.pause("nightly", False)
    assert store.advance("nightly", "1", "2", []) == []


def test_the_newest_done_job_of_a_schedule(database: Database, queue: Queue) -> None:
    store = ScheduleStore(database, queue)
    assert store.newest_done("a") == ""
    add(queue, *(NewJob({}, schedule="a") for _ in range(3)), NewJob({}, schedule="b"))
    ended = []
    for end in (DONE, DONE, End("failed", 4), DONE):
        job = queue.lease("w", FREE, 30)
        assert job is not None
        queue.finish(job, end)
        ended.append((job, end))
    done = [job.id for job, end in ended if job.schedule == "a" and end is DONE]
    assert store.newest_done("a") == done[-1]


# ---- races


def _work_through(address: dict[str, Any], journal: str, worker: int) -> None:
    """Leases, notes both ends of each job, and finishes, until nothing waits or runs."""
    limits = Limits({"two": 2}, per_source=1)
    with database_at(address) as database, Path(journal).open("a", buffering=1) as notes:
        queue = Queue(database)
        while queue.jobs(status="queued", limit=1) or queue.jobs(status="running", limit=1):
            try:
                job = queue.lease(f"w{worker}", limits, 1.5)
                if job is None:
                    time.sleep(0.01)
                    continue
                notes.write(f"begin {job.id} {job.attempt} {job.queue}\n")
                time.sleep(random.uniform(0, 0.01))
                notes.write(f"end {job.id} {job.attempt} {job.queue}\n")
                if queue.finish(job, DONE):
                    notes.write(f"finished {job.id} {job.attempt} {job.queue}\n")
            except Unreachable:
                continue


def test_killed_and_racing_workers_finish_every_job_once(address: dict[str, Any], tmp_path: Path) -> None:
    with database_at(address) as database:
        jobs = [NewJob({}, ("one", "two")[n % 2], (f"s{n % 5}",), attempts=99) for n in range(60)]
        added = Queue(database).add(jobs)
    context = multiprocessing.get_context("spawn")
    notes = tmp_path / "notes"

    def hire(number: int) -> Any:
        process = context.Process(target=_work_through, args=(address, str(notes), number))
        process.start()
        return process

    workers = [hire(number) for number in range(2)]
    for number in range(2, 6):
        # By what was done, not by the clock: while jobs are left, the victim is at work.
        while not notes.exists() or notes.read_text().count("finished") < (number - 1) * 10:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.05))
        victim = workers.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        workers.append(hire(number))
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    lines = [line.split() for line in notes.read_text().splitlines()]
    begun = Counter((job, attempt) for what, job, attempt, _ in lines if what == "begin")
    assert set(begun.values()) == {1}, "one attempt is one worker's"
    finished = Counter(job for what, job, _, _ in lines if what == "finished")
    assert set(finished.values()) <= {1}
    with database_at(address) as database:
        ended = {job.id: job.status for job in Queue(database).jobs(limit=100)}
    assert ended == dict.fromkeys(added, "done")


def _race_for_ticks(address: dict[str, Any], ticks: int) -> None:
    with database_at(address) as database:
        store = ScheduleStore(database, Queue(database))
        for tick in range(ticks):
            seen = str(tick) if tick else ""
            store.advance("s", seen, str(tick + 1), [NewJob({"tick": tick}, schedule="s")])


def test_racing_clocks_ask_for_no_tick_twice(address: dict[str, Any], database: Database) -> None:
    context = multiprocessing.get_context("spawn")
    clocks = [context.Process(target=_race_for_ticks, args=(address, 50)) for _ in range(2)]
    for clock in clocks:
        clock.start()
    for clock in clocks:
        clock.join(120)
        assert clock.exitcode == 0
    asked = sorted(job.task["tick"] for job in Queue(database).jobs(limit=200))
    assert asked == list(range(50))
