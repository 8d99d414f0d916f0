"""Schedules that wait for files in a source: on S3, as another process would see it, and on a disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from asgard.app.config.project import Project
from asgard.app.jobs.schedules import schedules_of, tick
from asgard.app.sources.arrivals import Arrivals
from asgard.core.errors import ConfigError, Unreachable
from asgard.transport import files as transport_files
from tests.app.test_schedules import Clock
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, new_bucket, s3_request, shared_store


@pytest.fixture
def clock(tmp_path: Path) -> Any:
    clock = Clock(tmp_path)
    yield clock
    clock.database.close()


def looked(clock: Clock, project: Project) -> list[str | None]:
    """The schedules whose jobs one look asks for."""
    arrivals = Arrivals(patient=True)
    added = tick(project, schedules_of(project), clock.store, arrivals)
    return [clock.store.queue.job(job).schedule for job in added]


def test_objects_that_come_or_change(clock: Clock) -> None:
    server = shared_store("moto")
    bucket = new_bucket(server)
    uploads = {
        "type": "s3",
        "bucket": bucket,
        "endpoint_url": server.url,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "tables": [{"name": "orders", "path": "orders/*.csv"}],
    }
    project = clock.project(
        {"uploads": uploads},
        orders={"run": ["uploads.orders"], "arrivals": "uploads.orders"},
        everything={"run": ["uploads"], "arrivals": "uploads"},
    )

    def put(name: str, body: bytes) -> None:
        s3_request(server, "PUT", f"/{bucket}/{name}", body=body)

    assert looked(clock, project) == []
    put("orders/1.csv", b"id\n1\n")
    assert looked(clock, project) == ["orders", "everything"]
    assert looked(clock, project) == []
    clock.ended()
    clock.ended()
    put("other/1.json", b"{}")
    assert looked(clock, project) == ["everything"]
    clock.ended()
    put("orders/1.csv", b"id\n1\n2\n")
    assert looked(clock, project) == ["orders", "everything"]
    clock.ended()
    clock.ended()
    s3_request(server, "DELETE", f"/{bucket}/orders/1.csv")
    assert looked(clock, project) == []
    put("orders/1.csv", b"id\n1\n2\n")  # it had gone: now it has come
    assert looked(clock, project) == ["orders", "everything"]


def test_files_on_a_disk_have_settled(clock: Clock) -> None:
    inbox = clock.folder / "inbox"
    inbox.mkdir()
    tables = [{"name": "drop", "path": "*.csv"}]
    project = clock.project(
        {"inbox": {"type": "files", "path": "inbox", "tables": tables}}, drop={"arrivals": "inbox.drop"}
    )
    file = inbox / "a.csv"
    file.write_text("id\n1\n")
    assert looked(clock, project) == []  # it may still be growing
    settled = file.stat().st_mtime - 60
    os.utime(file, (settled, settled))
    assert looked(clock, project) == ["drop"]


def test_a_source_that_fails_holds_nobody_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    (clock.folder / "inbox").mkdir()
    project = clock.project(
        {"inbox": {"type": "files", "path": "inbox"}},
        drop={"arrivals": "inbox"},
        often={"every": "1h"},
    )
    tick(project, schedules_of(project), clock.store, Arrivals(patient=True))
    broken = threading.Event()

    def find(*_: object) -> list[object]:
        broken.wait()
        raise Unreachable("the disk is asleep")

    monkeypatch.setattr(transport_files, "find_files", find)
    arrivals = Arrivals(every_seconds=3600)
    clock.at(clock.now + 7200)
    assert len(tick(project, schedules_of(project), clock.store, arrivals)) == 1  # while the look goes on
    broken.set()
    assert arrivals._looks["inbox"].ended.wait(60)
    clock.at(clock.now + 7200)
    clock.ended()
    with pytest.raises(Unreachable, match="asleep"):
        tick(project, schedules_of(project), clock.store, arrivals)
    assert clock.store.queue.jobs(status="queued", limit=5)  # the other schedule was seen to
    assert tick(project, schedules_of(project), clock.store, arrivals) == []  # it is told once


@pytest.mark.parametrize(
    ("arrivals", "says"),
    [
        ("nowhere", "there is no source 'nowhere'"),
        ("shop", "shop is sqlite, which keeps no files"),
        ("inbox.other", "inbox has no table 'other'"),
    ],
)
def test_places_that_nobody_can_watch(clock: Clock, arrivals: str, says: str) -> None:
    sources = {"inbox": {"type": "files", "path": "."}, "shop": {"type": "sqlite", "path": "shop.db"}}
    with pytest.raises(ConfigError, match=says):
        schedules_of(clock.project(sources, watch={"arrivals": arrivals}))
