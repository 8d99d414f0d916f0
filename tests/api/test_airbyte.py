"""The users' own workflow where AIRBYTE_BASE_URL is set: Airbyte makes and moves, Asgard asks and follows."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.app.airbyte import jobs as airbyte_jobs
from asgard.app.airbyte.ingestions import started_job
from asgard.app.airbyte.words import stream_words
from asgard.app.config.project import load_project
from asgard.app.documents.ingestions import ingest_task
from asgard.app.jobs.jobs import open_jobs
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from tests.api.callers import Caller, good, problem
from tests.servers.airbyte import CLIENT_ID, CLIENT_SECRET, AirbyteServer, Fault
from tests.servers.api import Reply

CANARY = "canary-9b1f33aa"
POSTGRES = {"host": "localhost", "port": 5432, "username": "user", "password": CANARY, "database": "mydb"}
BUCKET = {"s3_bucket_name": "my-data-bucket", "s3_bucket_path": "bronze/", "aws_access_key_id": "the-key",
          "aws_secret_access_key": CANARY + "-s3"}  # fmt: skip


@pytest.fixture
def server(caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> Iterator[AirbyteServer]:
    """A server that the project's `.env` names."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.delenv(f"AIRBYTE_{name}", raising=False)
    monkeypatch.setattr(airbyte_jobs, "FIRST_POLL_SECONDS", 0.002)
    with AirbyteServer() as running:
        for name in ("default", "team"):
            running.workspace(name)
        running.statuses = ["running", "succeeded"]
        write_settings(caller.folder, running.url)
        yield running


def write_settings(folder: Path, url: str) -> None:
    text = f"AIRBYTE_BASE_URL={url}\nAIRBYTE_CLIENT_ID={CLIENT_ID}\nAIRBYTE_CLIENT_SECRET={CLIENT_SECRET}\n"
    (folder / ".env").write_text(text if url else "")


def posted_source(caller: Caller, **more: Any) -> Any:
    body = {"source_type": "postgres", "workspace_name": "default", "source_config": POSTGRES,
            "name": "My Postgres Source", **more}  # fmt: skip
    return caller.post("/datasource", **body)


def posted_sink(caller: Caller, **more: Any) -> Any:
    body = {"destination_type": "s3", "workspace_name": "default", "destination_config": BUCKET,
            "name": "My S3 Sink", **more}  # fmt: skip
    return caller.post("/sink", **body)


def begun(caller: Caller, **more: Any) -> Any:
    ids = {"source_id": posted_source(caller)["id"], "destination_id": posted_sink(caller)["id"]}
    return caller.post(
        "/ingestion", **ids, workspace_name="default", connection_name="Postgres to S3", **more
    )


def do_here(caller: Caller, ingestion: Any, cancel: Cancel | None = None) -> Any:
    """Its job, in this process."""
    project = load_project(caller.folder, with_sources=False)
    with open_jobs(project) as store:
        task = store.queue.job(ingestion["job_id"]).task
    return ingest_task(project, task, f"run-{uuid.uuid4().hex}", lambda event: None, cancel)


def test_from_a_source_to_rows_that_were_moved(caller: Caller, server: AirbyteServer) -> None:
    ingestion = begun(caller)
    (source,), (sink,) = server.state.source.values(), server.state.destination.values()
    (connection,) = server.state.connections.values()
    assert (source["name"], source["sourceType"]) == ("My Postgres Source", "postgres")
    assert source["configuration"]["password"] == CANARY
    assert (sink["name"], sink["configuration"]["s3_bucket_path"]) == ("My S3 Sink", "bronze/")
    assert sink["configuration"]["secret_access_key"] == CANARY + "-s3"
    assert connection["name"] == "Postgres to S3"
    assert connection["schedule"] == {"scheduleType": "manual"}
    assert (ingestion["status"], ingestion["connection_id"]) == ("submitted", connection["connectionId"])
    assert server.state.jobs == {}
    caller.done()
    ended = caller.get(f"/ingestion/{ingestion['id']}")
    (job,) = server.state.jobs.values()
    assert (ended["status"], ended["airbyte_job_id"], job.type) == ("done", job.id, "sync")
    assert [table["step"] for table in ended["tables"]] == ["airbyte.Postgres to S3"]
    assert ended["tables"][0]["rows_read"] > 0
    assert "airbyte" in caller.client.get(f"/jobs/{ingestion['job_id']}/log").text.lower()


def test_what_is_listed_is_ours_and_shows_no_secret(caller: Caller, server: AirbyteServer) -> None:
    source, sink = posted_source(caller), posted_sink(caller)
    assert caller.get("/datasource")["items"] == [source]
    assert caller.get(f"/sink/{sink['id']}")["location"] == "s3://my-data-bucket"
    assert source["airbyte_id"] in server.state.source
    assert sink["airbyte_id"] in server.state.destination
    assert source["source_config"]["password"] == "**********"
    assert sink["destination_config"]["aws_secret_access_key"] == "**********"
    for path in ("/datasource", "/sink", f"/datasource/{source['id']}", "/secrets"):
        assert CANARY not in caller.client.get(path).text
    kept = [
        file for file in caller.folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()
    ]
    assert kept == []


def test_a_connector_that_asgard_has_not_hides_all_that_may_be_a_secret(
    caller: Caller, server: AirbyteServer
) -> None:
    config = {
        "start_date": "2026-01-01",
        "credentials": {"auth_type": "Token", "personal": CANARY},
        "days": 3,
    }
    made = posted_source(caller, source_type="zendesk-support", source_config=config, name="Tickets")
    assert CANARY not in str(made)
    assert made["source_config"]["days"] == 3
    (source,) = server.state.source.values()
    assert source["sourceType"] == "zendesk-support"
    assert source["configuration"] == config


def test_what_airbyte_refuses_is_not_kept(caller: Caller, server: AirbyteServer) -> None:
    server.wrong = "cannot connect with {password}"
    body = {"source_type": "postgres", "source_config": POSTGRES, "name": "x"}
    said = caller.refused("POST", "/datasource", 422, **body)
    assert "Airbyte does not take" in said["what"]
    assert CANARY not in str(said)
    server.wrong = None
    assert caller.get("/datasource")["items"] == caller.get("/secrets")["items"] == []
    wrong = {**body, "workspace_name": "nobody"}
    assert "no workspace 'nobody'" in caller.refused("POST", "/datasource", 422, **wrong)["what"]
    wrong = {**body, "source_config": {**POSTGRES, "host": "${env:HOME}"}}
    assert "not looked up" in caller.refused("POST", "/datasource", 422, **wrong)["what"]
    local = {"destination_type": "local", "destination_config": {"path": "lake"}, "name": "x"}
    assert "local" in caller.refused("POST", "/sink", 422, **local)["what"]


def test_one_of_each_name(caller: Caller, server: AirbyteServer) -> None:
    posted_source(caller)
    again = {"source_type": "postgres", "source_config": POSTGRES, "name": "My Postgres Source"}
    caller.refused("POST", "/datasource", 409, **again)
    posted_source(caller, workspace_name="team")
    assert len(server.state.source) == 2
    assert len({one["workspaceId"] for one in server.state.source.values()}) == 2


def test_a_server_that_is_away_is_told_and_nothing_is_kept(caller: Caller, server: AirbyteServer) -> None:
    write_settings(caller.folder, server.url)
    refused = Fault(Reply(403, {"detail": "no permission"}))
    server.fail("POST /sources", refused)
    caller.refused("POST", "/datasource", 403, source_type="postgres", source_config=POSTGRES, name="x")
    assert caller.get("/datasource")["items"] == []
    made = posted_source(caller)
    server.fail("DELETE /sources/{id}", refused)
    problem(caller.client.delete(f"/datasource/{made['id']}"), 403)
    assert caller.get("/datasource")["items"] == [made]
    good(caller.client.delete(f"/datasource/{made['id']}"))
    assert (server.state.source, caller.get("/datasource")["items"]) == ({}, [])


def test_a_failed_sync_is_a_failed_ingestion_and_started_once(caller: Caller, server: AirbyteServer) -> None:
    server.statuses = ["running", "incomplete", "failed"]
    ingestion = begun(caller)
    summary = do_here(caller, ingestion)
    assert summary.status == "failed"
    assert "timeline" in summary.outcomes[0].error.hint
    assert len(server.state.jobs) == 1


def test_a_job_that_is_tried_again_follows_the_sync_that_was_started(
    caller: Caller, server: AirbyteServer
) -> None:
    ingestion = begun(caller)
    server.statuses = ["running"]  # for ever, until its worker is killed
    cancel = Cancel()
    thread = threading.Thread(target=do_here, args=(caller, ingestion, cancel))
    thread.start()
    project = load_project(caller.folder, with_sources=False)
    while started_job(project, ingestion["id"]) is None:
        assert thread.is_alive()
    cancel.cancel("the worker stops")
    thread.join()
    (job,) = server.state.jobs.values()
    assert job.statuses[-1] == "running"
    job.statuses = ["running", "succeeded"]
    assert do_here(caller, ingestion).status == "done"
    assert len(server.state.jobs) == 1


def test_an_ingestion_that_is_taken_away_ends_at_airbyte_too(caller: Caller, server: AirbyteServer) -> None:
    server.statuses = ["running"]
    ingestion = begun(caller)
    ids = {key: ingestion[key] for key in ("source_id", "destination_id")}
    again = caller.post("/ingestion", **ids, connection_name="Postgres to S3")
    assert again["connection_id"] == ingestion["connection_id"]
    cancel = Cancel()
    thread = threading.Thread(target=do_here, args=(caller, ingestion, cancel))
    thread.start()
    project = load_project(caller.folder, with_sources=False)
    while started_job(project, ingestion["id"]) is None:
        assert thread.is_alive()
    good(caller.client.delete(f"/ingestion/{ingestion['id']}"))
    thread.join()
    (job,) = server.state.jobs.values()
    assert job.statuses[-1] == "cancelled"
    assert len(server.state.connections) == 1  # the other ingestion goes by it
    good(caller.client.delete(f"/ingestion/{again['id']}"))
    assert server.state.connections == {}
    assert caller.get("/ingestion")["items"] == []


def test_a_name_that_joins_others_is_refused(caller: Caller, server: AirbyteServer) -> None:
    ingestion = begun(caller)
    other = posted_source(caller, name="Another")
    ids = {"source_id": other["id"], "destination_id": ingestion["destination_id"]}
    said = caller.refused("POST", "/ingestion", 422, **ids, connection_name="Postgres to S3")
    assert "joins another" in said["what"]
    caller.refused("POST", "/ingestion", 422, **ids, connection_name="x", workspace_name="team")


def test_what_was_posted_before_there_was_a_server_is_made_then(
    caller: Caller, server: AirbyteServer
) -> None:
    write_settings(caller.folder, "")
    source = posted_source(caller)
    assert "airbyte_id" not in source
    write_settings(caller.folder, server.url)
    body = {"source_id": source["id"], "destination_id": posted_sink(caller)["id"], "connection_name": "c"}
    caller.post("/ingestion", **body, tables=["orders", {"name": "items", "mode": "append", "cursor": "at"}])
    (made,) = server.state.source.values()
    assert made["configuration"]["password"] == CANARY
    (connection,) = server.state.connections.values()
    assert connection["configurations"]["streams"] == [
        {"name": "orders"},
        {"name": "items", "syncMode": "incremental_append", "cursorField": ["at"]},
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "a"}, {"name": "a"}),
        ({"name": "a", "mode": "replace"}, {"name": "a", "syncMode": "full_refresh_overwrite"}),
        ({"name": "a", "mode": "append"}, {"name": "a", "syncMode": "full_refresh_append"}),
        (
            {"name": "a", "mode": "merge", "cursor": "c", "primary_key": ["k", "l"]},
            {"name": "a", "syncMode": "incremental_deduped_history", "cursorField": ["c"],
             "primaryKey": [["k"], ["l"]]},
        ),
        ({"name": "a", "syncMode": "x"}, {"name": "a", "syncMode": "x"}),
        ({"name": "a", "primary_key": "k"}, {"name": "a", "primaryKey": [["k"]]}),
    ],
)  # fmt: skip
def test_streams_in_the_words_of_airbyte(entry: dict[str, Any], words: dict[str, Any]) -> None:
    assert stream_words(entry) == words


@pytest.mark.parametrize("entry", [{"name": "a", "mode": "merge"}, {"name": "a", "checks": []}])
def test_what_airbyte_cannot_do_is_refused_by_name(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Airbyte"):
        stream_words(entry)
