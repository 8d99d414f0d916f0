"""State that comes back: what is there is not lost, and what speaks of the past is put right."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asgard.app.access.access import Denied, authenticate, open_access, sign_in
from asgard.app.backup.aftermath import caught_up
from asgard.app.config.project import Project, load_project
from asgard.app.jobs.jobs import open_jobs
from asgard.app.jobs.schedules import schedules_of, tick
from asgard.schedule.timetable import Timetable
from asgard.state.queue import Limits
from tests.app.backup.kept_shop import KeptShop
from tests.upgrade.shop import FIRST_DAY, SECOND_DAY, THIRD_DAY

PASSPHRASE = "a long enough passphrase"
START = "from asgard.cli.main import main; main()"


def opened(shop: KeptShop) -> Project:
    return load_project(shop.folder, with_sources=False)


def give(shop: KeptShop, monkeypatch: pytest.MonkeyPatch, text: str, *arguments: str) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdin", io.StringIO(text))
        shop.done(*arguments)


def change(file: Path, sql: str, *given: Any) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        assert database.execute(sql, given).rowcount > 0


# ---- what is there


def test_what_is_there_is_neither_overwritten_nor_touched_unless_told(shop: KeptShop) -> None:
    shop.done("jobs", "add", "shop.visits")
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    before = {path: path.read_bytes() for path in sorted(shop.state.glob("*/*"))}
    runs = [run["run"] for run in shop.done("runs", "--json").json]
    said = shop.asgard("restore", backup)
    assert (said.code, "state/runs.db, state/queue.db already" in said.err) == (3, True), said
    assert "--overwrite" in said.err
    assert {path: path.read_bytes() for path in sorted(shop.state.glob("*/*"))} == before
    assert [run["run"] for run in shop.done("runs", "--json").json] == runs


def test_what_is_there_is_kept(shop: KeptShop) -> None:
    shop.done("jobs", "add", "shop.visits")
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    (shop.state / "queue.db").unlink()
    shop.done("restore", backup, "--keep")
    assert len(shop.done("runs", "--json").json) == 2
    assert len(shop.done("jobs", "--json").json["jobs"]) == 1


def test_what_is_replaced_is_set_aside(shop: KeptShop) -> None:
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    told = shop.done("restore", backup, "--overwrite", "--json").json
    assert len(shop.done("runs", "--json").json) == 1
    with closing(sqlite3.connect(Path(told["set_aside"]) / "state/runs.db")) as aside:
        assert aside.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_a_database_that_is_none_any_more_is_set_aside_and_replaced(shop: KeptShop) -> None:
    backup = shop.back_up()
    (shop.state / "runs.db").write_bytes(b"this was a database once" * 1000)
    told = shop.done("restore", backup, "--overwrite", "--json").json
    assert (Path(told["set_aside"]) / "state/runs.db").read_bytes().startswith(b"this was")
    assert len(shop.done("runs", "--json").json) == 1


def test_a_dry_run_says_what_would_be_done_and_does_nothing(shop: KeptShop) -> None:
    backup = shop.back_up()
    shop.lose_state()
    shop.lose_records()
    told = shop.done("restore", backup, "--dry-run", "--json").json
    assert {part["fate"] for part in told["parts"]} == {"brought back"}
    assert all(table["records_brought_back"] == 3 for table in told["tables"])
    assert not shop.state.exists()
    assert list(shop.folder.glob("lake/bronze/shop/*/_asgard")) == []


def test_an_archive_that_is_damaged_changes_nothing(shop: KeptShop) -> None:
    backup = Path(shop.back_up())
    content = bytearray(backup.read_bytes())
    content[len(content) // 3] ^= 1
    backup.write_bytes(content)
    shop.lose_state()
    said = shop.asgard("restore", str(backup))
    assert (said.code, "is damaged" in said.err) == (4, True), said
    assert not shop.state.exists()


def test_a_store_of_a_newer_format_is_refused_before_anything_changes(shop: KeptShop) -> None:
    change(shop.state / "runs.db", "UPDATE runs SET selector = selector")
    with closing(sqlite3.connect(shop.state / "runs.db")) as database:
        database.execute("PRAGMA user_version = 99")
    backup = shop.back_up()
    shop.lose_state()
    said = shop.asgard("restore", backup)
    assert (said.code, "has format 99" in said.err) == (2, True), said
    assert not shop.state.exists()


def test_another_workspace_is_refused(shop: KeptShop) -> None:
    backup = shop.back_up()
    project = json.loads((shop.folder / "asgard.yml").read_text())
    (shop.folder / "asgard.yml").write_text(json.dumps({**project, "workspace": "other"}))
    said = shop.asgard("restore", backup, "--keep")
    assert (said.code, "of workspace default" in said.err) == (2, True), said


KILLED = """
import os, signal, sys
from asgard.app.backup.putting import Putting
from asgard.lake.delta import records
left = int(sys.argv.pop(1))
def counted(function):
    def call(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given)
    return call
Putting._put_database = counted(Putting._put_database)
Putting._settle = counted(Putting._settle)
Putting.put_file = staticmethod(counted(Putting.put_file))
Putting.finish = counted(Putting.finish)
records._put = counted(records._put)
"""


@pytest.mark.parametrize("steps", [1, 3, 6, 11])
def test_a_restore_that_is_killed_is_run_again(shop: KeptShop, steps: int) -> None:
    shop.done("jobs", "add", "shop.visits")
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    shop.lose_state()
    shop.lose_records()
    command = [sys.executable, "-c", KILLED + START, str(steps), "restore", backup]
    done = subprocess.run(command, cwd=shop.folder, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done
    shop.done("restore", backup)
    assert not list(shop.state.glob(".restore.db*"))
    assert len(shop.done("jobs", "--json").json["jobs"]) == 1
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


# ---- what speaks of the past


def test_a_job_that_ran_is_as_if_its_worker_had_died(shop: KeptShop) -> None:
    shop.done("jobs", "add", "shop.visits")
    with open_jobs(opened(shop)) as store:
        leased = store.queue.lease("worker of then", Limits(), 3600.0)
        assert leased is not None
    backup = shop.back_up()
    shop.lose_state()
    told = shop.done("restore", backup, "--json").json
    assert told["jobs_that_wait_again"] == 1
    with open_jobs(opened(shop)) as store:
        again = store.queue.lease("worker of now", Limits(), 60.0)
        assert again is not None
        assert (again.id, again.attempt) == (leased.id, 2)


def test_an_attempt_that_the_history_knows_is_not_made_twice(shop: KeptShop) -> None:
    job = json.loads(shop.done("jobs", "add", "shop.visits", "--json").out)["job"]
    backup = shop.back_up()
    shop.done("worker", "--until-idle", "--no-clock")
    (shop.state / "queue.db").unlink()
    shop.done("restore", backup, "--keep")
    shop.done("worker", "--until-idle", "--no-clock")
    shown = shop.done("jobs", "show", job, "--json").json
    assert (shown["status"], shown["run"]) == ("done", f"{job}-2")
    shop.holds(FIRST_DAY)


def test_a_queue_that_is_worked_with_is_not_replaced(shop: KeptShop) -> None:
    shop.done("jobs", "add", "shop.visits")
    backup = shop.back_up()
    with open_jobs(opened(shop)) as store:
        assert store.queue.lease("a worker", Limits(), 3600.0) is not None
    said = shop.asgard("restore", backup, "--overwrite")
    assert (said.code, "a worker is running job" in said.err) == (3, True), said


def test_users_and_tokens_work_again_and_sessions_are_ended(
    shop: KeptShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(shop, monkeypatch, f"{PASSPHRASE}\n", "users", "create", "ann", "--role", "editor")
    token = shop.done("tokens", "create", "--name", "ci", "--role", "viewer", "--json").json["text"]
    with open_access(opened(shop)) as access:
        signed_in = sign_in(access, "ann", PASSPHRASE, "192.0.2.1")
        assert not isinstance(signed_in, Denied)
        session = signed_in.session.get_secret_value()
    backup = shop.back_up()
    shop.lose_state()
    told = shop.done("restore", backup, "--json").json
    assert told["sessions_ended"] == 1
    with open_access(opened(shop)) as access:
        assert isinstance(authenticate(access, f"Bearer {session}", "192.0.2.1"), Denied)
        assert not isinstance(authenticate(access, f"Bearer {token}", "192.0.2.1"), Denied)
        assert not isinstance(sign_in(access, "ann", PASSPHRASE, "192.0.2.1"), Denied)
    entries = shop.done("audit", "--json").json["entries"]
    assert {"restore", "backup"} & {entry["action"] for entry in entries} == {"restore"}
    shop.done("audit", "verify")


def scheduled(shop: KeptShop, catch_up: str) -> Project:
    project = json.loads((shop.folder / "asgard.yml").read_text())
    project["schedules"] = {"often": {"run": ["shop.visits"], "every": "1h", "catch_up": catch_up}}
    (shop.folder / "asgard.yml").write_text(json.dumps(project))
    return opened(shop)


@pytest.mark.parametrize("catch_up", ["all", "latest"])
def test_what_was_missed_is_made_up_for_once(shop: KeptShop, catch_up: str) -> None:
    project = scheduled(shop, catch_up)
    with open_jobs(project) as store:
        tick(project, schedules_of(project), store)
    change(shop.state / "queue.db", "UPDATE asgard_schedules SET reached = ?", repr(time.time() - 100 * 3600))
    backup = shop.back_up()
    shop.lose_state()
    assert shop.done("restore", backup, "--json").json["schedules_moved"] == ["often"]
    with open_jobs(project) as store:
        fired = [tick(project, schedules_of(project), store) for _ in range(3)]
    assert [len(jobs) for jobs in fired] == [1, 0, 0]


def test_a_clock_that_ran_ahead_keeps_nothing_waiting(shop: KeptShop) -> None:
    project, ahead = scheduled(shop, "latest"), time.time() + 10 * 86_400
    with open_jobs(project) as store:
        tick(project, schedules_of(project), store)
    shop.done("jobs", "add", "shop.visits")
    change(shop.state / "queue.db", "UPDATE asgard_schedules SET reached = ?", repr(ahead))
    change(shop.state / "queue.db", "UPDATE asgard_jobs SET created_at = ?, due_at = ?", ahead, ahead)
    backup = shop.back_up()
    shop.lose_state()
    shop.done("restore", backup)
    with open_jobs(project) as store:
        _, progress = store.schedules.progress()
        assert float(progress["often"].reached) <= time.time()
        assert store.queue.lease("a worker", Limits(), 60.0) is not None


def test_how_far_a_schedule_has_come_after_all() -> None:
    hourly = Timetable(every_seconds=3600.0)
    now = 100 * 3600 + 1800.0
    assert caught_up(repr(now - 1000), hourly, now) is None
    assert caught_up(repr(now + 1), hourly, now) == repr(now)
    assert caught_up(repr(now - 50_000), None, now) is None
    assert caught_up("files 1234", hourly, now) is None
    moved = caught_up(repr(now - 50_000), hourly, now)
    assert moved is not None
    assert list(hourly.between(float(moved), now)) == [100 * 3600]
    cron = Timetable(cron="*/20 * * * *")
    moved = caught_up(repr(now - 50_000), cron, now)
    assert moved is not None
    assert list(cron.between(float(moved), now)) == [100 * 3600 + 1200.0]


def test_a_backup_from_the_future_is_told(shop: KeptShop, monkeypatch: pytest.MonkeyPatch) -> None:
    from asgard.app.backup import backup as making

    class Ahead(making.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return making.datetime.fromtimestamp(time.time() + 3 * 86_400, tz)

    monkeypatch.setattr(making, "datetime", Ahead)
    backup = shop.back_up()
    monkeypatch.undo()
    shop.lose_state()
    said = shop.asgard("restore", backup, "--json")
    assert said.code == 0, said
    assert any("yet to come" in note for note in said.json["notes"])
    shop.live(SECOND_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY)
