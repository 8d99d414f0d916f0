"""The server as a process of its own, called by a program that knows nothing but HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 90.0
SERVE = [sys.executable, "-P", "-c", "from asgard.cli.main import main; main()", "serve"]
UVICORN = [sys.executable, "-m", "uvicorn", "asgard.api:app", "--reload"]


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
    return found


class Server:
    """A server in a folder, at a free port."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port)], cwd=folder, stdout=log, stderr=log,
                env={**os.environ, "PYTHONWARNINGS": ""}, start_new_session=True,
            )  # fmt: skip
        until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self("/health/ready")["ready"])
        except OSError:
            return False

    def __call__(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving(folder: Path, command: list[str]) -> Iterator[Server]:
    server = Server(folder, command)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(30)
        finally:
            server.process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without a project, and with some orders."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "orders.csv").write_text("id,amount\n" + "".join(f"{n},1.5\n" for n in range(1000)))
    return tmp_path


def begun(server: Server) -> tuple[str, str]:
    """The ids of a sink and of an ingestion into it."""
    sink = server("/sink", {"destination_type": "local", "config": {"path": "lake"}, "name": "Lake"})["id"]
    config = {"source_type": "files", "config": {"path": "files"}, "name": "Shop"}
    source = server("/datasource", config)["id"]
    body = {"source_id": source, "destination_id": sink, "connection_name": "c"}
    return sink, server("/ingestion", body)["id"]


def test_uvicorn_serves_the_workflow_in_an_empty_folder(folder: Path) -> None:
    (folder / ".env").write_text("ENVIRONMENT=staging\nASGARD_WORKER_SLOTS=1\n")
    with serving(folder, UVICORN) as server:
        assert server("/health")["environment"] == "staging"
        assert (folder / "asgard.yml").exists()
        sink, ingestion = begun(server)
        until(lambda: server(f"/ingestion/{ingestion}")["status"] == "done")
        run = server("/transform", {"sql": "SELECT SUM(amount) AS total FROM source_data", "table": "t"})
        url = f"/transform/{run['run_id']}"
        until(lambda: server(f"{url}/status")["state"] == "COMPLETED")
        assert server(f"/tables/silver.t/preview?destination_id={sink}")["rows"][0]["total"] == "1500.00"


def test_a_killed_server_loses_no_job_and_does_none_twice(folder: Path) -> None:
    (folder / "asgard.yml").write_text("version: 1\n")
    server = Server(folder, SERVE)
    try:
        sink, ingestion = begun(server)
        until(lambda: server(f"/ingestion/{ingestion}")["status"] == "done")
        body = {"sql": "SELECT id FROM orders", "write_mode": "append", "table": "ids"}
        runs = [server("/transform", body)["run_id"] for _ in range(3)]
        until(lambda: "RUNNING" in states(server, runs))
    finally:
        server.process.kill()
        server.process.wait()
    with serving(folder, SERVE) as again:
        until(lambda: states(again, runs) == ["COMPLETED"] * 3)
        assert again(f"/tables/silver.ids?destination_id={sink}")["rows"] == 3000


def states(server: Server, runs: list[str]) -> list[str]:
    return [server(f"/transform/{run}/status")["state"] for run in runs]
