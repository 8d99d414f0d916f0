"""Jobs, schedules and a worker as a person types them; the runs are real ones."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from typing import Any

from tests.cli.console import Console

ORDERS = [{"id": n, "note": f"order {n}", "cents": n * 7} for n in range(400)]
WORKER = [sys.executable, "-c", "from asgard.cli.main import main; main()", "worker"]


def shop(console: Console, **keys: Any) -> None:
    with sqlite3.connect(console.folder / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, cents INTEGER)")
        connection.executemany("INSERT INTO orders VALUES (:id, :note, :cents)", ORDERS)
    connection.close()
    tables = [{"name": "orders", "frequency": "daily"}, "refunds"]
    console.project({"shop": {"type": "sqlite", "path": "shop.db", "tables": tables}}, **keys)


def test_a_job_is_run_by_a_worker_and_what_failed_alone_is_run_again(console: Console) -> None:
    shop(console)
    added = console.asgard("jobs", "add", "shop", "--attempts", "1", "--json").json
    assert (added["status"], added["selectors"]) == ("queued", ["shop"])
    assert console.asgard("worker", "--until-idle", "--no-clock").code == 0
    (job,) = console.asgard("jobs", "--json").json["jobs"]
    assert (job["job"], job["status"], job["attempt"]) == (added["job"], "failed", 1)
    assert "refunds" in job["error"]
    assert console.rows("bronze.shop.orders") == ORDERS
    shown = console.asgard("jobs", "show", job["job"], "--json").json
    assert {step["step"]: step["status"] for step in shown["steps"]} == {
        "bronze.shop.orders": "done",
        "bronze.shop.refunds": "failed",
    }
    assert "refunds" in console.asgard("jobs", "log", job["job"]).out
    with sqlite3.connect(console.folder / "shop.db") as connection:
        connection.execute("CREATE TABLE refunds (id INTEGER PRIMARY KEY)")
    connection.close()
    again = console.asgard("jobs", "rerun", job["job"], "--failed", "--json").json
    assert again["selectors"] == ["bronze.shop.refunds"]
    assert console.asgard("worker", "--until-idle", "--no-clock").code == 0
    page = console.asgard("jobs", "--json", "--status", "done").json
    assert ([one["job"] for one in page["jobs"]], page["next"]) == ([again["job"]], None)
    assert {run["run"] for run in console.asgard("runs", "--json").json} == {job["job"], again["job"]}


def test_schedules_are_listed_paused_and_run(console: Console) -> None:
    shop(console, schedules={"marts": {"run": ["gold.*"], "after": "shop/daily"}})
    listed = console.asgard("schedules", "--json").json
    assert [(one["schedule"], one["when"], one["paused"]) for one in listed] == [
        ("marts", "after shop/daily", False),
        ("shop/daily", "daily", False),
    ]
    assert len(console.asgard("schedules", "next", "shop/daily", "--count", "3", "--json").json) == 3
    assert console.asgard("schedules", "pause", "shop/daily").code == 0
    assert "paused" in console.asgard("schedules").out
    assert console.asgard("schedules", "resume", "shop/daily").code == 0
    job = console.asgard("schedules", "run", "shop/daily", "--json").json
    assert job["schedule"] == "shop/daily"
    assert console.asgard("jobs", "cancel", job["job"], "--json").json["status"] == "cancelled"
    assert console.asgard("schedules", "pause", "nobody").code == 2
    assert console.asgard("jobs", "cancel", "nobody").code == 2


def test_a_table_is_whole_after_workers_were_killed_at_any_instant(console: Console) -> None:
    shop(console)
    job = console.asgard("jobs", "add", "shop.orders", "--attempts", "99", "--json").json["job"]
    for _ in range(3):
        worker = subprocess.Popen([*WORKER, "--lease", "2", "--no-clock"], cwd=console.folder)
        time.sleep(random.uniform(1, 8))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    ended = subprocess.run([*WORKER, "--lease", "2", "--until-idle"], cwd=console.folder, check=False)
    assert ended.returncode == 0
    assert console.asgard("jobs", "show", job, "--json").json["status"] == "done"
    assert console.rows("bronze.shop.orders") == ORDERS
