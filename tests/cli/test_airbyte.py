"""`asgard airbyte`, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from asgard.app.airbyte import jobs
from asgard.app.airbyte.server import Ingestion, hand_over
from asgard.core.cancel import Cancel
from asgard.transport.airbyte import AirbyteClient, AirbyteSettings
from tests.cli.console import Console
from tests.servers.airbyte import CLIENT_ID, CLIENT_SECRET, AirbyteServer

POSTGRES = {"host": "db", "username": "reader", "password": "canary-pg", "database": "shop"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FIRST_POLL_SECONDS", 0.002)
    monkeypatch.setattr(jobs, "LONGEST_POLL_SECONDS", 0.01)


@pytest.fixture
def server(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[AirbyteServer]:
    """A server with the connection `orders`; `.env` in the folder says where it is."""
    for name in ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.delenv(f"AIRBYTE_{name}", raising=False)
    with AirbyteServer() as running:
        running.workspace("Sales")
        console.write(
            ".env",
            f"AIRBYTE_BASE_URL={running.url}\nAIRBYTE_CLIENT_ID={CLIENT_ID}\n"
            f"AIRBYTE_CLIENT_SECRET={CLIENT_SECRET}\n",
        )
        with AirbyteClient(AirbyteSettings(running.url, CLIENT_ID, CLIENT_SECRET), Cancel()) as client:
            hand_over(client, Ingestion("orders", "postgres", POSTGRES, "s3", {"bucket": "lake"}, "Sales"))
        yield running


def test_check(console: Console, server: AirbyteServer) -> None:
    said = console.asgard("airbyte", "check")
    assert said.code == 0
    assert "Sales" in said.out
    assert f"{server.url}/api/public/v1 answers" in said.err
    (workspace,) = server.state.workspaces
    assert console.asgard("airbyte", "check", "--json").json == {
        "url": f"{server.url}/api/public/v1",
        "workspaces": [{"id": workspace, "name": "Sales"}],
    }


def test_without_an_address(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRBYTE_BASE_URL", raising=False)
    said = console.asgard("airbyte", "check", "--json")
    assert said.code == 2
    assert said.json["error"]["what"].startswith("AIRBYTE_BASE_URL is not set")


def test_a_wrong_secret(console: Console, server: AirbyteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRBYTE_CLIENT_SECRET", "canary-wrong")
    said = console.asgard("airbyte", "check")
    assert said.code == 3
    assert "AIRBYTE_CLIENT_SECRET" in said.err
    assert "canary" not in said.out + said.err


def test_connections(console: Console, server: AirbyteServer) -> None:
    (connection,) = server.state.connections.values()
    said = console.asgard("airbyte", "connections", "--workspace", "Sales", "--json")
    assert said.json["connections"] == [
        {
            "connection": connection["connectionId"],
            "name": "orders",
            "source": connection["sourceId"],
            "destination": connection["destinationId"],
            "workspace": connection["workspaceId"],
            "status": "active",
        }
    ]
    table = console.asgard("airbyte", "connections").out
    assert "orders" in table
    assert connection["connectionId"] in table
    assert console.asgard("airbyte", "connections", "--workspace", "Nobody").code == 2


def test_sync_and_leave(console: Console, server: AirbyteServer) -> None:
    said = console.asgard("airbyte", "sync", "orders", "--type", "reset", "--json")
    (job,) = server.state.jobs.values()
    assert (said.code, said.json["job"], said.json["status"], job.type) == (0, job.id, "queued", "reset")
    assert job.looks == 0
    busy = console.asgard("airbyte", "sync", "orders")
    assert busy.code == 5
    assert f"asgard airbyte cancel {job.id}" in busy.err


def test_sync_and_wait(console: Console, server: AirbyteServer) -> None:
    said = console.asgard("airbyte", "sync", "orders", "--wait")
    (job,) = server.state.jobs
    assert said.code == 0
    assert said.out == f"job {job} of orders is done, 200 rows, 10.0 KB\n"
    assert said.err.splitlines() == [
        "orders: pending", "orders: running", "orders: 100 rows, 5.0 KB", "orders: succeeded",
        "orders: 200 rows, 10.0 KB",
    ]  # fmt: skip
    found = console.asgard("airbyte", "sync", "orders", "--wait", "--json").json
    assert (found["status"], found["airbyte_status"], found["rows"]) == ("done", "succeeded", 200)


@pytest.mark.parametrize(("end", "code"), [("failed", 5), ("cancelled", 130)])
def test_the_exit_code_says_how_a_job_ended(
    console: Console, server: AirbyteServer, end: str, code: int
) -> None:
    server.statuses = ["running", "incomplete", end]
    said = console.asgard("airbyte", "sync", "orders", "--wait")
    (job,) = server.state.jobs
    assert said.code == code
    assert f"Airbyte's job {job} (sync)" in said.err
    assert said.out == ""


def test_ctrl_c_ends_the_job(console: Console, server: AirbyteServer) -> None:
    server.statuses = ["running"]
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    said = console.asgard("airbyte", "sync", "orders", "--wait")
    interrupt.cancel()
    (job,) = server.state.jobs.values()
    assert said.code == 130
    assert f"job {job.id} of Airbyte is cancelled" in said.err
    assert job.statuses == ["cancelled"]


def test_cancel_by_number_and_by_name(console: Console, server: AirbyteServer) -> None:
    server.statuses = ["running"]
    for name in (None, "orders"):
        console.asgard("airbyte", "sync", "orders")
        job = max(server.state.jobs)
        said = console.asgard("airbyte", "cancel", name or str(job))
        assert (said.code, said.out) == (0, f"job {job} is cancelled\n")
        assert server.state.jobs[job].statuses == ["cancelled"]
    again = console.asgard("airbyte", "cancel", str(max(server.state.jobs)), "--json")
    assert again.json["status"] == "cancelled"
    assert console.asgard("airbyte", "cancel", "orders").code == 2
    unknown = console.asgard("airbyte", "cancel", "7", "--json")
    assert (unknown.code, unknown.json["error"]["type"]) == (2, "QueryError")


def test_no_secret_is_said(console: Console, server: AirbyteServer) -> None:
    told = [
        console.asgard("airbyte", *words.split()) for words in ("check", "connections", "sync orders --wait")
    ]
    assert "canary" not in json.dumps([[said.out, said.err] for said in told])
