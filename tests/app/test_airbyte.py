"""An ingestion is handed over to Airbyte once, however often it is asked and whatever breaks on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asgard.app.airbyte import jobs
from asgard.app.airbyte import server as wishes
from asgard.app.airbyte.jobs import cancel_job, follow_job, job_error, job_under_way, run_job, start_job
from asgard.app.airbyte.server import (
    Ingestion,
    airbyte_settings,
    find_connection,
    hand_over,
    put_sink,
    put_source,
    workspace_id,
)
from asgard.app.airbyte.words import sink_words, source_words
from asgard.core.cancel import Cancel
from asgard.core.errors import Cancelled, ConfigError, Conflict, ConnectionError, Unreachable
from asgard.core.events import Event, Kind
from asgard.core.secret import Secret
from asgard.integrations.airbyte import Airbyte
from asgard.transport import http_rules
from asgard.transport.airbyte import AirbyteClient, AirbyteSettings
from tests.servers.airbyte import CLIENT_ID, CLIENT_SECRET, PREFIX, AirbyteServer, Fault
from tests.servers.api import Reply

ORDERS = Ingestion(
    "orders",
    "postgresql",
    {"host": "db", "user": "reader", "password": Secret("canary-pg"), "database": "shop", "schema": "public"},
    "s3",
    {"bucket_name": "lake", "aws_access_key_id": "key", "aws_secret_access_key": Secret("canary-s3")},
)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(wishes, "AGAIN_SECONDS", (0.001, 0.001, 0.001))
    monkeypatch.setattr(jobs, "AGAIN_SECONDS", (0.0, 0.001, 0.001))
    monkeypatch.setattr(jobs, "FIRST_POLL_SECONDS", 0.002)
    monkeypatch.setattr(jobs, "LONGEST_POLL_SECONDS", 0.004)


@pytest.fixture
def server() -> Iterator[AirbyteServer]:
    with AirbyteServer() as running:
        running.workspace("Default Workspace")
        yield running


@pytest.fixture
def cancel() -> Cancel:
    return Cancel()


@pytest.fixture
def client(server: AirbyteServer, cancel: Cancel) -> Iterator[AirbyteClient]:
    settings = AirbyteSettings(server.url, CLIENT_ID, CLIENT_SECRET, timeout_seconds=5, max_retries=1)
    with AirbyteClient(settings, cancel) as running:
        yield running


def quiet(event: Event) -> None:
    """Hears nothing."""


def test_an_ingestion_is_a_source_a_sink_and_what_joins_them(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    made = hand_over(client, ORDERS)
    (source,), (sink,) = server.state.source.values(), server.state.destination.values()
    assert (source["name"], source["sourceType"]) == ("orders source", "postgres")
    assert source["configuration"] == {
        "host": "db", "port": 5432, "username": "reader", "password": "canary-pg", "database": "shop",
        "schemas": ["public"],
    }  # fmt: skip
    assert (sink["name"], sink["destinationType"]) == ("orders sink", "s3")
    assert sink["configuration"] == {
        "s3_bucket_name": "lake", "s3_bucket_path": "bronze", "s3_bucket_region": "",
        "format": {"format_type": "Parquet"}, "access_key_id": "key", "secret_access_key": "canary-s3",
    }  # fmt: skip
    (connection,) = server.state.connections.values()
    assert connection["sourceId"] == source["sourceId"] == made.source_id
    assert connection["destinationId"] == sink["destinationId"] == made.destination_id
    assert (connection["name"], connection["schedule"]) == ("orders", {"scheduleType": "manual"})
    assert "canary" not in repr(ORDERS)


def test_asked_twice_it_is_there_once_as_it_was_asked_last(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    first = hand_over(client, ORDERS)
    again = replace(
        ORDERS, source_config={**ORDERS.source_config, "host": "db2"}, streams=["orders"], cron="0 0 * * * ?"
    )
    assert hand_over(client, again) == first
    (source,), (connection,) = server.state.source.values(), server.state.connections.values()
    assert source["configuration"]["host"] == "db2"
    assert "sourceType" not in source["configuration"]
    assert connection["configurations"] == {"streams": [{"name": "orders"}]}
    assert connection["schedule"] == {"scheduleType": "cron", "cronExpression": "0 0 * * * ?"}


POSTS = ["POST /sources", "POST /destinations", "POST /connections"]


@pytest.mark.parametrize("operation", POSTS)
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("reply", [Reply(0), Reply(500), Reply(503)])
def test_a_server_that_breaks_off_has_it_once(
    server: AirbyteServer, client: AirbyteClient, operation: str, done: bool, reply: Reply
) -> None:
    server.fail(operation, Fault(reply, done))
    hand_over(client, ORDERS)
    there = (server.state.source, server.state.destination, server.state.connections)
    assert [len(one) for one in there] == [1, 1, 1]


@pytest.mark.parametrize("operation", POSTS)
def test_a_server_that_tries_things_out_for_long_has_it_once(server: AirbyteServer, operation: str) -> None:
    server.delays_seconds[operation] = 0.6
    settings = AirbyteSettings(server.url, CLIENT_ID, CLIENT_SECRET, timeout_seconds=0.3, max_retries=0)
    with AirbyteClient(settings, Cancel()) as hasty:
        hand_over(hasty, ORDERS)
    assert [asked.method for asked in server.asked].count("POST") == 4  # with that for the token


def test_a_server_that_stays_broken_is_left(server: AirbyteServer, client: AirbyteClient) -> None:
    server.fail("POST /sources", *[Fault(Reply(500))] * 9)
    with pytest.raises(Unreachable):
        hand_over(client, ORDERS)
    assert server.state.source == {}
    assert [asked.path for asked in server.asked if asked.method == "POST"].count(f"{PREFIX}/sources") == 4


def test_the_name_is_taken(server: AirbyteServer, client: AirbyteClient) -> None:
    put_source(client, "default", "orders source", "mysql", {"host": "db", "username": "u", "database": "d"})
    with pytest.raises(ConfigError, match="is of type mysql, not postgres"):
        hand_over(client, ORDERS)
    hand_over(client, replace(ORDERS, name="other"))
    ends = put_source(client, "default", "third", "postgres", ORDERS.source_config)
    sink = put_sink(client, "default", "third", "s3", ORDERS.sink_config)
    with pytest.raises(ConfigError, match="joins another source"):
        wishes.put_connection(client, "default", "other", ends.id, sink.id)


def test_a_workspace_by_name_or_id(server: AirbyteServer, client: AirbyteClient) -> None:
    (only,) = server.state.workspaces
    assert workspace_id(client, "default") == only
    assert workspace_id(client, "default workspace") == only
    assert workspace_id(client, only) == only
    other = server.workspace("Sales")
    assert workspace_id(client, "Sales") == other
    with pytest.raises(ConfigError, match="no workspace 'default'") as unknown:
        workspace_id(client, "default")
    assert unknown.value.hint == "it shows us 'Default Workspace', 'Sales'"
    server.workspace("Sales")
    with pytest.raises(ConfigError, match="several of workspace 'Sales'"):
        workspace_id(client, "Sales")


def test_a_connection_by_name_or_id(server: AirbyteServer, client: AirbyteClient) -> None:
    made = hand_over(client, ORDERS)
    assert find_connection(client, "orders") == find_connection(client, made.id) == made
    with pytest.raises(ConfigError, match="no connection 'nothing'") as unknown:
        find_connection(client, "nothing")
    assert unknown.value.hint == "it shows us 'orders'"
    sales = server.workspace("Sales")
    hand_over(client, replace(ORDERS, workspace="Sales"))
    with pytest.raises(ConfigError, match="several of connection 'orders'"):
        find_connection(client, "orders")
    assert find_connection(client, "orders", "Sales").workspace_id == sales


def test_a_job_is_followed_to_its_end(server: AirbyteServer, client: AirbyteClient) -> None:
    server.statuses = ["pending", "running", "incomplete", "running", "succeeded"]
    heard: list[Event] = []
    job = run_job(client, hand_over(client, ORDERS), heard.append)
    assert (job.state, job.rows, job.size_bytes) == ("done", 400, 20_000)
    assert [event.data["phase"] for event in heard if event.kind is Kind.STEP_PHASE] == [
        "pending", "running", "incomplete", "running", "succeeded",
    ]  # fmt: skip
    assert [event.data for event in heard if event.kind is Kind.STEP_PROGRESS] == [
        {"rows": rows, "bytes": 50 * rows} for rows in (100, 200, 300, 400)
    ]
    (warning,) = [event for event in heard if event.kind is Kind.WARNING]
    assert warning.data["what"] == f"an attempt of job {job.id} failed; Airbyte may try again"
    assert heard[0].kind is Kind.STEP_STARTED
    assert {event.step for event in heard} == {"orders"}
    assert heard[-1].kind is Kind.STEP_FINISHED
    assert (heard[-1].data["status"], heard[-1].data["rows"]) == ("done", 400)


@pytest.mark.parametrize(
    ("end", "error"), [("failed", ConnectionError), ("cancelled", Cancelled), ("succeeded", None)]
)
def test_how_a_job_ended(
    server: AirbyteServer, client: AirbyteClient, end: str, error: type[Exception] | None
) -> None:
    server.statuses = ["running", end]
    heard: list[Event] = []
    job = run_job(client, hand_over(client, ORDERS), heard.append)
    found = job_error(job, "orders")
    assert type(found) is (error or type(None))
    assert ("error" in heard[-1].data) == (error is not None)
    assert found is None or not found.retryable


def test_two_jobs_of_a_connection_are_refused(server: AirbyteServer, client: AirbyteClient) -> None:
    connection = hand_over(client, ORDERS)
    first = start_job(client, connection)
    with pytest.raises(Conflict, match=f"job {first.id} .sync. of the connection is queued") as conflict:
        start_job(client, connection)
    assert conflict.value.hint.endswith(f"asgard airbyte cancel {first.id}")
    assert job_under_way(client, connection).id == first.id
    assert cancel_job(client, first.id).state == "cancelled"
    with pytest.raises(ConfigError, match="is under way"):
        job_under_way(client, connection)
    assert start_job(client, connection, "reset").type == "reset"
    with pytest.raises(ConfigError, match="no jobs of type 'dance'"):
        start_job(client, connection, "dance")


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("reply", [Reply(0), Reply(500)])
def test_a_job_is_started_once_though_the_server_breaks_off(
    server: AirbyteServer, client: AirbyteClient, done: bool, reply: Reply
) -> None:
    connection = hand_over(client, ORDERS)
    run_job(client, connection, quiet)
    server.fail("POST /jobs", Fault(reply, done), Fault(reply))
    job = run_job(client, connection, quiet)
    assert sorted(server.state.jobs)[-1] == job.id
    assert len(server.state.jobs) == 2


def test_a_server_that_is_away_for_a_while_is_waited_for(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    connection = hand_over(client, ORDERS)
    server.fail("GET /jobs/{id}", *[Fault(Reply(502))] * 9)
    heard: list[Event] = []
    assert run_job(client, connection, heard.append).state == "done"
    assert len([event for event in heard if event.kind is Kind.WARNING]) == 1


def test_a_server_that_is_away_for_good_is_left(
    server: AirbyteServer, client: AirbyteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE_SECONDS", 0.05)
    connection = hand_over(client, ORDERS)
    server.fail("GET /jobs/{id}", *[Fault(Reply(502))] * 1000)
    with pytest.raises(Unreachable) as away:
        run_job(client, connection, quiet)
    assert away.value.where["job"] == str(max(server.state.jobs))


def test_who_is_cancelled_leaves_no_job_behind(
    server: AirbyteServer, client: AirbyteClient, cancel: Cancel
) -> None:
    server.statuses = ["running"]
    connection = hand_over(client, ORDERS)

    def stop(event: Event) -> None:
        if event.kind is Kind.STEP_PROGRESS and event.data.get("rows") == 200:
            cancel.cancel("stopped by SIGINT")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="stopped by SIGINT") as stopped:
        run_job(client, connection, stop)
    assert time.monotonic() - began < 2
    (job,) = server.state.jobs.values()
    assert job.statuses == ["cancelled"]
    assert stopped.value.hint == f"job {job.id} of Airbyte is cancelled"


def test_a_job_that_cannot_be_called_off_is_named(
    server: AirbyteServer, client: AirbyteClient, cancel: Cancel
) -> None:
    server.statuses = ["running"]
    connection = hand_over(client, ORDERS)
    server.fail("DELETE /jobs/{id}", *[Fault(Reply(500))] * 9)

    def cancel_a_job_that_is_there() -> None:
        while not server.state.jobs:
            time.sleep(0.01)
        cancel.cancel()

    threading.Thread(target=cancel_a_job_that_is_there).start()
    with pytest.raises(Cancelled) as stopped:
        run_job(client, connection, quiet)
    (job,) = server.state.jobs
    assert stopped.value.hint.startswith(f"job {job} may go on in Airbyte")


def test_a_start_of_unknown_outcome_is_called_off_too(
    server: AirbyteServer, client: AirbyteClient, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.statuses = ["running"]
    monkeypatch.setattr(jobs, "AGAIN_SECONDS", (5.0,))
    connection = hand_over(client, ORDERS)
    server.fail("POST /jobs", Fault(Reply(0), done=True))
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Cancelled) as stopped:
        run_job(client, connection, quiet)
    (job,) = server.state.jobs.values()
    assert job.statuses == ["cancelled"]
    assert stopped.value.hint == f"job {job.id} of Airbyte is cancelled"


def test_nothing_is_started_by_who_is_cancelled(
    server: AirbyteServer, client: AirbyteClient, cancel: Cancel
) -> None:
    connection = hand_over(client, ORDERS)
    cancel.cancel()
    with pytest.raises(Cancelled) as stopped:
        run_job(client, connection, quiet)
    assert stopped.value.hint == "no job was started"
    assert server.state.jobs == {}


def test_a_job_that_does_not_end_though_it_is_called_off(
    server: AirbyteServer, client: AirbyteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "CALL_OFF_SECONDS", 0.05)
    job = start_job(client, hand_over(client, ORDERS))
    running = {"jobId": job.id, "status": "running", "jobType": "sync", "connectionId": job.connection_id}
    server.fail("DELETE /jobs/{id}", Fault(Reply(200, running)))
    server.fail("GET /jobs/{id}", *[Fault(Reply(200, running))] * 1000)
    with pytest.raises(Unreachable, match=f"job {job.id} is running"):
        cancel_job(client, job.id)


def test_following_needs_no_start(server: AirbyteServer, client: AirbyteClient) -> None:
    job = start_job(client, hand_over(client, ORDERS))
    assert follow_job(client, job, "orders", quiet).state == "done"


def test_the_environment_says_where_airbyte_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="AIRBYTE_BASE_URL is not set"):
        airbyte_settings(tmp_path, {})
    (tmp_path / ".env").write_text("AIRBYTE_BASE_URL=http://airbyte:8000\nAIRBYTE_CLIENT_ID=me\n")
    with pytest.raises(ConfigError, match="AIRBYTE_CLIENT_SECRET is not"):
        airbyte_settings(tmp_path, {})
    found = airbyte_settings(tmp_path, {"AIRBYTE_CLIENT_SECRET": "canary", "AIRBYTE_CLIENT_ID": "you"})
    assert found == AirbyteSettings("http://airbyte:8000", "you", "canary")


def test_the_python_face(server: AirbyteServer) -> None:
    with Airbyte(server.url, CLIENT_ID, CLIENT_SECRET) as airbyte:
        assert [one["name"] for one in airbyte.check()["workspaces"]] == ["Default Workspace"]
        made = airbyte.hand_over(ORDERS)
        assert made["name"] == "orders"
        server.statuses = ["succeeded"]
        done = airbyte.sync("orders")
        assert (done["status"], done["connection"]) == ("done", made["connection"])
        assert airbyte.cancel(done["job"])["status"] == "done"
        server.statuses = ["failed"]
        with pytest.raises(ConnectionError, match="failed"):
            airbyte.sync("orders")


CLUSTER = {
    "cluster_type": "SELF_MANAGED_REPLICA_SET",
    "connection_string": "mongodb://h:27017/",
    "databases": ["d"],
}
CDC = {"method": "CDC"}
STANDARD = {"port": 3306, "replication_method": {"method": "STANDARD"}}


@pytest.mark.parametrize(
    ("type_name", "config", "words"),
    [
        ("postgres", {"ssl_mode": "require"}, {"port": 5432, "ssl_mode": {"mode": "require"}}),
        ("postgres", {"ssl_mode": "verify-ca"}, {"port": 5432, "ssl_mode": {"mode": "verify-ca"}}),
        ("postgres", {"port": 1, "ssl_mode": {"mode": "x"}}, {"port": 1, "ssl_mode": {"mode": "x"}}),
        ("mysql", {"ssl_mode": "VERIFY-CA"}, {**STANDARD, "ssl_mode": {"mode": "verify_ca"}}),
        ("mysql", {"replication_method": CDC}, {"port": 3306, "replication_method": CDC}),
        ("google-ads", {"customer_id": "1", "nothing": None}, {"customer_id": "1", "nothing": None}),
        ("anything", {"sourceType": "mine", "user": "as it is"}, {"sourceType": "mine", "user": "as it is"}),
        ("mongodb", {"host": "h", "database": "d", "queue_size": 5},
         {"sourceType": "mongodb-v2", "queue_size": 5, "database_config": CLUSTER}),
    ],
)  # fmt: skip
def test_sources_in_airbytes_words(
    type_name: str, config: dict[str, object], words: dict[str, object]
) -> None:
    assert source_words(type_name, config) == {"sourceType": type_name, **words}


def test_words_that_cannot_be_said() -> None:
    with pytest.raises(ConfigError, match="username is given twice"):
        source_words("postgres", {"user": "a", "username": "b"})
    with pytest.raises(ConfigError, match="x is a set"):
        source_words("postgres", {"options": {"x": {1}}})
    with pytest.raises(ConfigError, match="needs its database"):
        source_words("mongodb", {"host": "h"})
    with pytest.raises(ConfigError, match="needs s3_bucket_name"):
        sink_words("s3", {"path": "bronze"})
