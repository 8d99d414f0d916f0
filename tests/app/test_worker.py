"""Workers as real processes on both stores: killed at any instant, drained, and told to end a run."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from asgard.app.config.project import Project, load_project
from asgard.app.jobs.jobs import JobStore, JobWish, add_job, cancel_job, job, open_jobs
from tests.app.worker_process import dismiss, hire, noted

PATIENCE_SECONDS = 60.0
QUICK: dict[str, Any] = {"clock": False, "lease_seconds": 2.0, "first_pause_seconds": 0.1}


@pytest.fixture(params=["sqlite", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    document: dict[str, Any] = {"version": 1, "queue": {"limits": {"narrow": 1}}}
    if request.param == "sqlite":
        yield written(tmp_path, document)
        return
    server = request.getfixturevalue("pg16")
    name = server.create_database()
    document["queue"]["postgres"] = {
        "host": server.host, "port": server.port, "database": name, "username": server.user,
        "password": server.password, "ssl_mode": "disable",
    }  # fmt: skip
    yield written(tmp_path, document)
    server.drop_database(name)


def written(folder: Path, document: dict[str, Any]) -> Project:
    (folder / "asgard.yml").write_text(json.dumps(document, indent=1))
    return load_project(folder / "asgard.yml")


def add(project: Project, *what: str, **wish: Any) -> list[str]:
    return [add_job(project, JobWish((one,), **wish))["job"] for one in what]


def statuses(store: JobStore) -> dict[str, str]:
    return {job.id: job.status for job in store.queue.jobs(limit=1000)}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killed_workers_lose_nothing_and_run_nothing_twice(project: Project, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    added = add(project, *["short"] * 8, attempts=99) + add(
        project, *["short"] * 3, queue="narrow", attempts=99
    )
    workers = [hire(project.file, notes, **QUICK) for _ in range(2)]
    try:
        until(lambda: noted(notes, "begin"))
        for _ in range(3):
            time.sleep(random.uniform(0.1, 1.0))
            dismiss(workers.pop(0))
            workers.append(hire(project.file, notes, **QUICK))
        with open_jobs(project) as store:
            until(lambda: set(statuses(store).values()) == {"done"})
    finally:
        dismiss(*workers)
    assert noted(notes, "TWICE") == []
    attempts = Counter((job, attempt) for job, attempt, _ in noted(notes, "begin"))
    assert set(attempts.values()) == {1}, "an attempt is one process"
    assert {job for job, _, _ in noted(notes, "end")} == set(added)
    assert not any(lives(pid) for _, _, pid in noted(notes, "begin"))


def test_killed_clocks_ask_for_no_time_twice_and_for_none_less(project: Project, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    document = json.loads(project.file.read_text())
    document["schedules"] = {"often": {"run": ["none"], "every": "1s", "catch_up": "all", "attempts": 99}}
    project = written(tmp_path, document)
    ticking = {**QUICK, "clock": True}
    workers = [hire(project.file, notes, **ticking) for _ in range(2)]
    try:
        for _ in range(3):
            time.sleep(random.uniform(1, 4))
            dismiss(workers.pop(0))
            workers.append(hire(project.file, notes, **ticking))
        with open_jobs(project) as store:
            until(lambda: "done" in statuses(store).values())
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
            for worker in workers:
                worker.wait(PATIENCE_SECONDS)
            asked = sorted(job.due_at or 0 for job in store.queue.jobs(limit=1000))
    finally:
        dismiss(*workers)
    assert noted(notes, "TWICE") == []
    assert asked == [asked[0] + second for second in range(len(asked))]


def test_a_worker_that_is_stopped_loses_its_run_before_another_begins_it(
    project: Project, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    add(project, "steady", attempts=9)
    frozen = hire(project.file, notes, **QUICK)
    second = None
    try:
        until(lambda: noted(notes, "begin"))
        frozen.send_signal(signal.SIGSTOP)
        second = hire(project.file, notes, **QUICK)
        until(lambda: len(noted(notes, "begin", "TWICE")) == 2)
        (notes / "go").touch()
        with open_jobs(project) as store:
            until(lambda: set(statuses(store).values()) == {"done"})
            frozen.send_signal(signal.SIGCONT)
            time.sleep(1)
            (found,) = store.queue.jobs()
    finally:
        dismiss(frozen, *([second] if second else []))
    assert noted(notes, "TWICE") == []
    assert (found.status, found.attempt) == ("done", 2)


def test_a_cancelled_run_is_dead_within_two_seconds_and_its_place_free_only_then(
    project: Project, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    (stubborn,) = add(project, "stubborn", queue="narrow", priority=1)
    add(project, "short", queue="narrow")
    worker = hire(project.file, notes, **QUICK)
    try:
        until(lambda: noted(notes, "child"))
        pids = [pid for _, _, pid in noted(notes, "begin", "child")]
        asked = time.monotonic()
        assert cancel_job(project, stubborn)["status"] == "cancelling"
        until(lambda: not any(map(lives, pids)))
        took_seconds = time.monotonic() - asked
        until(lambda: noted(notes, "end"))
    finally:
        dismiss(worker)
    assert took_seconds < 2
    assert job(project, stubborn)["status"] == "cancelled"
    with open_jobs(project) as store:
        first, then = sorted(store.queue.jobs(), key=lambda one: one.started_at or 0)
    assert first.id == stubborn
    assert first.finished_at is not None
    assert then.started_at is not None
    assert then.started_at >= first.finished_at


def test_what_may_heal_is_tried_again_and_what_cannot_is_not(project: Project, tmp_path: Path) -> None:
    heals, hopeless, wrong = add(project, "exit-5-once", "exit-5", "exit-2", attempts=3)
    worker = hire(project.file, tmp_path / "notes", until_idle=True, **QUICK)
    try:
        assert worker.wait(PATIENCE_SECONDS) == 0
    finally:
        dismiss(worker)
    ended = [job(project, one) for one in (heals, hopeless, wrong)]
    assert [(one["status"], one["attempt"], one["exit_code"]) for one in ended] == [
        ("done", 2, 0), ("failed", 3, 5), ("failed", 1, 2),
    ]  # fmt: skip
    assert ended[2]["error"] == "because of exit-2"


def test_a_job_that_no_process_can_be_made_for_fails_and_holds_up_no_other(
    project: Project, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    impossible, plain = add(project, "x" * 4_000_000), add(project, "short")
    worker = hire(project.file, notes, **QUICK)
    try:
        with open_jobs(project) as store:
            until(lambda: statuses(store) == {impossible[0]: "failed", plain[0]: "done"})
    finally:
        dismiss(worker)


def test_a_run_that_takes_too_long_is_ended(project: Project, tmp_path: Path) -> None:
    (late,) = add(project, "stubborn", timeout_seconds=0.5, attempts=1)
    worker = hire(project.file, tmp_path / "notes", until_idle=True, **QUICK)
    try:
        assert worker.wait(PATIENCE_SECONDS) == 0
    finally:
        dismiss(worker)
    ended = job(project, late)
    assert (ended["status"], ended["error"]) == ("failed", "it took longer than 0.5 seconds")
    assert not any(lives(pid) for _, _, pid in noted(tmp_path / "notes", "begin", "child"))


def test_a_drained_worker_ends_what_it_has_and_takes_no_more(project: Project, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    steady, waiting = add(project, "steady", "steady", queue="narrow")
    worker = hire(project.file, notes, **QUICK)
    try:
        until(lambda: noted(notes, "begin"))
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert worker.poll() is None
        (notes / "go").touch()
        assert worker.wait(PATIENCE_SECONDS) == 0
    finally:
        dismiss(worker)
    with open_jobs(project) as store:
        assert statuses(store) == {steady: "done", waiting: "queued"}


def test_a_worker_that_is_told_twice_gives_its_jobs_back(project: Project, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    add(project, "steady")
    worker = hire(project.file, notes, **QUICK)
    try:
        until(lambda: noted(notes, "begin"))
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # two signals at once would be one
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
    finally:
        dismiss(worker)
    ((_, _, pid),) = noted(notes, "begin")
    assert not lives(pid)
    with open_jobs(project) as store:
        assert set(statuses(store).values()) == {"queued"}
