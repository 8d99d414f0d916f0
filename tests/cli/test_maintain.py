"""`asgard maintain`: files are put together and in order, old ones go, nothing that is kept is touched."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asgard.app.jobs.worker import WorkerWish, work
from asgard.app.project import doctor
from asgard.app.project.workspace import Workspace
from asgard.app.tables.maintenance import UpkeepWish, maintain
from asgard.core.cancel import Cancel
from asgard.core.events import Event
from tests.cli.console import Console

DAY_TABLE = {"name": "day", "mode": "append"}
SOURCE = {"in": {"type": "files", "path": ".", "tables": [DAY_TABLE]}}


@pytest.fixture
def days(console: Console) -> Console:
    """A table that ten loads appended to."""
    console.project(SOURCE)
    for day in range(10):
        console.write("day.csv", f"n\n{day}\n")
        assert console.asgard("run").code == 0
    return console


def test_tables_are_looked_after(days: Console) -> None:
    before = days.rows("bronze.in.day")
    (dry,) = days.asgard("maintain", "--dry-run", "--json").json
    assert (dry["files_before"], dry["left_files"]) == (0, 10)
    (done,) = days.asgard("maintain", "--json").json
    assert (done["files_before"], done["files_after"], done["left_files"]) == (10, 1, 0)
    assert done["deleted_files"] == 0
    assert days.rows("bronze.in.day") == before
    assert days.asgard("run").code == 0
    assert "bronze.in.day" in days.asgard("maintain", "day").out


def test_a_budget_ends_it_and_says_what_is_left(days: Console) -> None:
    days.write("other.csv", "n\n1\n")
    days.project({"in": {**SOURCE["in"], "tables": [DAY_TABLE, {"name": "other", "mode": "append"}]}})
    for _ in range(8):
        assert days.asgard("run", "in.other").code == 0
    (late, _) = days.asgard("maintain", "--budget", "0s", "--json").json
    assert (late["files_before"], late["left_files"]) == (0, 10)
    done = days.asgard("maintain", "--budget-bytes", "1B", "--json").json
    assert sorted(one["left_files"] for one in done) == [0, 8]  # what spares most comes first
    assert next(one["table"] for one in done if one["files_after"]) == "bronze.in.day"
    done = days.asgard("maintain", "--budget", "10m", "--json").json
    assert [one["left_files"] for one in done] == [0, 0]


def test_what_is_done_is_told_and_a_cancel_ends_it(days: Console) -> None:
    workspace = Workspace.open(days.folder, with_sources=False)
    told: list[Event] = []
    cancel = Cancel()
    cancel.cancel()
    (left,) = maintain(workspace, UpkeepWish(), told.append, cancel)
    assert (left.files_before, told) == (0, [])
    (done,) = maintain(workspace, UpkeepWish(run="r"), told.append)
    assert done.files_before == 10
    assert [(event.step, event.data["files_after"]) for event in told] == [("bronze.in.day", 1)]


def test_files_are_kept_apart_by_key_and_off_where_it_is_said(console: Console) -> None:
    rows = "".join(f"{number},{number}\n" for number in range(100))
    console.write("a.csv", f"id,v\n{rows}")
    table = {"name": "a", "mode": "merge", "primary_key": "id"}
    console.project({"in": {"type": "files", "path": ".", "tables": [table]}})
    assert console.asgard("run").code == 0
    workspace = Workspace.open(console.folder, with_sources=False)
    assert workspace.table("bronze.in.a").upkeep().order_by == ("id",)
    table["cluster_by"] = []  # type: ignore[assignment]
    console.write("a.csv", "id,v\n1,2\n")
    console.project({"in": {"type": "files", "path": ".", "tables": [table]}})
    assert console.asgard("run").code == 0
    assert workspace.table("bronze.in.a").upkeep().order_by == ()


def test_too_short_a_time_and_unknown_tables_are_refused(console: Console) -> None:
    console.project({})
    assert "too few" in console.asgard("maintain", "--keep", "5s").err
    assert console.asgard("maintain", "nothing").code == 2
    console.project({}, maintenance={"keep": "5s"})
    assert "maintenance.keep" in console.asgard("maintain").err


def test_a_table_that_cannot_be_read_keeps_no_other(console: Console) -> None:
    console.write("a.csv", "n\n1\n")
    console.write("b.csv", "n\n1\n")
    console.project({"in": {"type": "files", "path": ".", "tables": ["a", "b"]}})
    assert console.asgard("run").code == 0
    (log,) = (console.folder / "data/lakehouse/bronze/in").glob("a*/_delta_log")
    for file in log.iterdir():
        file.write_text("{")
    said = console.asgard("maintain", "--json")
    assert said.code != 0
    assert ["error" in one for one in said.json] == [True, False]


def test_what_killed_first_loads_left_is_found_listed_and_swept(days: Console) -> None:
    lost = days.folder / "data/lakehouse/bronze/in/never"
    for name in ("part-x.parquet", "_asgard/schemas/s.json"):
        (lost / name).parent.mkdir(parents=True, exist_ok=True)
        (lost / name).write_bytes(b"x")
        aged(lost / name)
    young = days.folder / "data/lakehouse/bronze/in/young/part-y.parquet"
    young.parent.mkdir()
    young.write_bytes(b"y")
    listed = days.asgard("maintain", "--dry-run", "--json").json[-1]
    assert (listed["table"], listed["deleted_files"]) == ("elsewhere in the lake", 2)
    assert lost.exists()
    assert days.asgard("maintain", "--json").json[-1] == listed
    assert not lost.exists()
    assert young.exists()
    assert days.rows("bronze.in.day")


def aged(path: Path) -> None:
    long_ago = time.time() - 30 * 86_400
    os.utime(path, (long_ago, long_ago))


def test_a_worker_does_it_by_its_schedule(days: Console) -> None:
    before = days.rows("bronze.in.day")
    days.project(SOURCE, maintenance={"every": "daily", "budget": "10m", "keep": "2d"})
    (schedule,) = days.asgard("schedules", "--json").json
    assert (schedule["schedule"], schedule["when"]) == ("maintenance", "daily")
    said = days.asgard("schedules", "run", "maintenance", "--json")
    assert said.code == 0, said
    work(WorkerWish(str(days.folder), until_idle=True, clock=False), lambda event: None, Cancel(), Cancel())
    (job,) = days.asgard("jobs", "--json").json["jobs"]
    assert (job["status"], job["kind"], job["schedule"]) == ("done", "maintenance", "maintenance")
    shown = days.asgard("jobs", "show", job["job"], "--json").json
    (step,) = shown["steps"]
    assert [one["files_before"] for one in step["tables"]] == [10]
    assert days.rows("bronze.in.day") == before


def test_the_doctor_says_when_it_is_due(days: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MANY_LOG_ENTRIES", 5)
    told = [one for one in days.asgard("doctor", "--json").json if "maintain" in one.get("hint", "")]
    assert [one["what"] for one in told] == ["its log tells of 11 versions"]


def test_versions_go_as_the_project_wants_it(days: Console) -> None:
    for day in range(10, 22):
        days.write("day.csv", f"n\n{day}\n")
        assert days.asgard("run").code == 0
    workspace = Workspace.open(days.folder, with_sources=False)
    table = workspace.table("bronze.in.day")
    assert table.expire(datetime.now(UTC) - timedelta(days=1)).files == 0
    before = days.rows("bronze.in.day")
    for path in (days.folder / "data/lakehouse/bronze/in/day/_delta_log").glob("0*.json"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] -= 60 * 86_400_000
        path.write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))
        aged(path)
    (done,) = days.asgard("maintain", "--json").json
    assert done["log_files"] >= 20
    assert days.rows("bronze.in.day") == before
    assert days.asgard("run").code == 0
    assert len(days.rows("bronze.in.day")) == len(before) + 1
