"""The history of runs: written by several processes, read by anybody, never in the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from asgard.core.errors import AsgardError, ConfigError, Refused
from asgard.state.journal import SqliteJournal, new_run_id


def test_a_run_with_its_steps_is_read_back(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "state" / "runs.db")
    journal.start_run("r1", "shop", "asgard.yml")
    journal.record_step("r1", "bronze.shop.orders", "failed", {"step": "bronze.shop.orders", "rows_read": 1})
    journal.record_step("r1", "bronze.shop.orders", "done", {"step": "bronze.shop.orders", "rows_read": 3})
    journal.finish_run("r1", "done", {"seconds": 1.5, "steps": []})
    (run,) = journal.runs()
    assert (run["run"], run["status"], run["selector"], run["seconds"]) == ("r1", "done", "shop", 1.5)
    assert run["finished_at"] >= run["started_at"]
    assert journal.steps("r1") == [{"step": "bronze.shop.orders", "rows_read": 3}]


def test_runs_come_newest_first_and_workspaces_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = (SqliteJournal(tmp_path / "runs.db", name) for name in ("one", "other"))
    for number in range(5):
        one.start_run(f"r{number}", "", "asgard.yml")
    other.start_run("x", "", "asgard.yml")
    assert [run["run"] for run in one.runs(3)] == ["r4", "r3", "r2"]
    assert [run["run"] for run in other.runs()] == ["x"]


def test_pages_of_runs_give_each_once(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    for number in range(7):
        journal.start_run(f"r{number}", "", "asgard.yml")
    seen: list[str] = []
    while page := [run["run"] for run in journal.runs(3, before=seen[-1] if seen else "")]:
        seen += page
    assert seen == [f"r{number}" for number in reversed(range(7))]
    assert list(journal.runs(3, before="nobody")) == []


def _start_and_wait(file: Path, started: multiprocessing.synchronize.Event) -> None:
    SqliteJournal(file).start_run("killed", "", "asgard.yml")
    started.set()
    signal.pause()


def test_a_run_whose_process_was_killed_is_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_start_and_wait, args=(tmp_path / "runs.db", started))
    process.start()
    assert started.wait(60)
    journal = SqliteJournal(tmp_path / "runs.db")
    assert next(journal.runs())["status"] == "running"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert next(journal.runs())["status"] == "lost"


def _record_many(file: Path, worker: int) -> None:
    journal = SqliteJournal(file)
    for number in range(50):
        run = f"{worker}-{number}"
        journal.start_run(run, "", "asgard.yml")
        journal.record_step(run, "step", "done", {"worker": worker})
        journal.finish_run(run, "done", {})


def test_racing_processes_lose_no_record(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_record_many, args=(tmp_path / "runs.db", n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    runs = list(SqliteJournal(tmp_path / "runs.db").runs(1000))
    assert {run["run"] for run in runs} == {f"{w}-{n}" for w in range(3) for n in range(50)}
    assert {run["status"] for run in runs} == {"done"}


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "runs.db")
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="format 99") as caught:
        SqliteJournal(tmp_path / "runs.db")
    assert "newer" in caught.value.hint


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"\0" * 4096])
def test_a_file_that_is_no_history_is_an_error_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "runs.db").write_bytes(content)
    with pytest.raises(AsgardError) as caught:
        SqliteJournal(tmp_path / "runs.db").start_run("r", "", "")
    assert "runs.db" in caught.value.what
    assert caught.value.hint


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.db").mkdir()
    with pytest.raises(Refused) as caught:
        SqliteJournal(tmp_path / "runs.db")
    assert "rights" in caught.value.hint


def test_run_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_run_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert [one[:15] for one in ids] == sorted(one[:15] for one in ids)
