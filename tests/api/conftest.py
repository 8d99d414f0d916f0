"""What tests of the API can ask for: a project, a client in front of it, and somebody who does its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from asgard.api.application import create_app
from asgard.app.jobs.worker import WorkerWish, work
from asgard.core.cancel import Cancel
from tests.api.callers import Caller

ORDERS = """id,customer_id,amount
1,7,1.50
2,7,2.25
3,8,10.00
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project file with one source of files, and nothing loaded yet."""
    monkeypatch.delenv("ASGARD_ENV", raising=False)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "orders.csv").write_text(ORDERS)
    document = {
        "version": 1,
        "data_sources": {
            "shop": {
                "type": "files", "path": "files", "frequency": "daily",
                "tables": [{"name": "orders", "path": "orders.csv", "checks": [{"not_null": ["id"]}]}],
            }
        },
    }  # fmt: skip
    file = tmp_path / "asgard.yml"
    file.write_text(json.dumps(document))
    return file


@pytest.fixture
def caller(project: Path) -> Iterator[Caller]:
    """A program on this machine; jobs wait until `done` does them."""

    def do_jobs() -> None:
        wish = WorkerWish(str(project), slots=1, clock=False, until_idle=True)
        work(wish, lambda event: None, Cancel(), Cancel())

    app = create_app(project, worker=False)
    with (
        closing(TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 5000))) as client,
        client as started,
    ):
        yield Caller(started, project.parent, do_jobs)
