"""The project's own nouns over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgard.api.application import create_app
from asgard.app.config.project import load_project
from asgard.app.config.settings import load_settings
from asgard.app.jobs.schedules import schedules_of
from asgard.core.errors import ConfigError
from tests.api.callers import Caller


@pytest.fixture
def loaded(caller: Caller) -> Caller:
    """A project that was run once, with a model."""
    (caller.folder / "models" / "silver").mkdir(parents=True)
    (caller.folder / "models" / "silver" / "totals.sql").write_text(
        "/* checks: [{unique: [customer_id]}] */\n"
        "SELECT customer_id, SUM(amount) AS total FROM bronze.shop.orders GROUP BY customer_id"
    )
    caller.post("/runs")
    caller.done()
    return caller


def events_of(text: str) -> list[dict[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        number, kind, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {event['event']}"
        assert number.startswith("id: ")
        found.append(event)
    return found


def test_a_run_from_the_wish_to_its_end(loaded: Caller) -> None:
    (run,) = loaded.get("/runs")["items"]
    assert run["status"] == "done"
    assert "steps" not in run
    shown = loaded.get(f"/runs/{run['run']}")
    assert [(step["step"], step["status"]) for step in shown["steps"]] == [
        ("bronze.shop.orders", "done"),
        ("silver.totals", "done"),
    ]
    (job,) = loaded.get("/jobs", status="done")["items"]
    assert job["run"] == run["run"]
    assert len(loaded.get(f"/jobs/{job['job']}")["steps"]) == 2
    assert "silver.totals" in loaded.client.get(f"/jobs/{job['job']}/log").text


def test_the_events_of_a_run_are_told_to_the_end(loaded: Caller) -> None:
    (run,) = loaded.get("/runs")["items"]
    answer = loaded.client.get(f"/runs/{run['run']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events_of(answer.text)
    log = loaded.folder / ".asgard" / "logs" / f"{run['run']}.jsonl"
    assert told == [json.loads(line) for line in log.read_text().splitlines()]
    assert (told[0]["event"], told[-1]["event"]) == ("run.started", "run.finished")
    loaded.refused("GET", "/runs/nothing/events", 404)


def test_tables_and_their_rows(loaded: Caller) -> None:
    first = loaded.get("/tables", limit=1)
    assert first == {"items": [{"table": "bronze.shop.orders", "layer": "bronze"}],
                     "next": "bronze.shop.orders"}  # fmt: skip
    assert loaded.get("/tables", limit=1, cursor=first["next"])["items"][0]["table"] == "silver.totals"
    shown = loaded.get("/tables/totals")
    assert (shown["table"], shown["rows"], len(shown["versions"])) == ("silver.totals", 2, 2)
    assert {"name": "total", "type": "decimal128(38, 2)"} in shown["columns"]
    preview = loaded.get("/tables/orders/preview", limit=2)
    assert len(preview["rows"]) == 2
    assert preview["rows"][0]["amount"] == "1.50"
    loaded.refused("GET", "/tables/nothing", 404)
    loaded.refused("GET", "/tables/nothing/preview", 404)
    loaded.refused("GET", "/tables?destination_id=nothing", 404)
    loaded.refused("GET", "/tables/orders/preview?limit=100000", 422)


def test_models_and_checks(loaded: Caller) -> None:
    (model,) = loaded.get("/models")["items"]
    assert (model["model"], model["reads"], model["checks"]) == ("silver.totals", ["bronze.shop.orders"], 1)
    assert "SUM(amount)" in loaded.get("/models/silver.totals")["sql"]
    loaded.refused("GET", "/models/nothing", 404)
    declared = loaded.get("/checks")["items"]
    assert [one["table"] for one in declared] == ["bronze.shop.orders", "silver.totals"]
    assert declared[0]["checks"][0]["columns"] == ["id"]
    found = loaded.post("/checks", tables=["silver.totals", "bronze.shop.orders"])
    assert found["passed"] is True
    assert len(found["results"]) == 2
    loaded.refused("POST", "/checks", 422, tables=["nothing"])


def test_sources(caller: Caller) -> None:
    (source,) = caller.get("/sources")["items"]
    assert (source["source"], source["type"], source["tables"]) == ("shop", "files", 1)
    assert "orders" in {stream["stream"] for stream in caller.get("/sources/shop/streams")["items"]}
    assert caller.post("/sources/shop/check")["outcome"] == "ok"
    (caller.folder / "files").rename(caller.folder / "moved")
    assert caller.post("/sources/shop/check")["outcome"] == "failed"
    caller.refused("POST", "/sources/nothing/check", 404)
    caller.refused("GET", "/sources/nothing/streams", 404)


def test_schedules(caller: Caller) -> None:
    (one,) = caller.get("/schedules")["items"]
    assert (one["schedule"], one["paused"]) == ("shop/daily", False)
    assert list(schedules_of(load_project(caller.folder))) == ["shop/daily"]
    assert caller.post("/schedules/shop/daily/pause")["paused"] is True
    assert caller.get("/schedules")["items"][0]["paused"] is True
    assert caller.post("/schedules/shop/daily/resume")["paused"] is False
    assert caller.post("/schedules/shop/daily/run")["schedule"] == "shop/daily"
    caller.refused("POST", "/schedules/shop/hourly/run", 404)


def test_jobs_are_called_off_and_run_again(caller: Caller) -> None:
    job = caller.post("/runs", selectors=["shop"], full_refresh=True)
    assert caller.post(f"/jobs/{job['job']}/cancel")["status"] == "cancelled"
    again = caller.post(f"/jobs/{job['job']}/rerun", failed_only=False)
    assert (again["selectors"], again["full_refresh"]) == (["shop"], True)
    caller.refused("POST", f"/jobs/{job['job']}/rerun", 422, failed_only=True)
    for method, path in (("GET", ""), ("GET", "/log"), ("POST", "/cancel")):
        caller.refused(method, f"/jobs/nothing{path}", 404)
    caller.refused("POST", "/jobs/nothing/rerun", 404, failed_only=False)
    assert {one["status"] for one in caller.get("/jobs")["items"]} == {"cancelled", "queued"}


def test_an_ingestion_is_shown_and_taken_away(caller: Caller) -> None:
    sink, source = caller.sink(), caller.datasource()
    found = caller.ingested(source, sink, tables=["orders"])
    assert (found["status"], found["source_id"], found["destination_id"]) == ("done", source, sink)
    assert found["tables"][0]["step"] == "bronze.my_files.orders"
    waiting = caller.post("/ingestion", source_id=source, destination_id=sink, connection_name="again")
    assert waiting["status"] == "submitted"
    gone = caller.client.delete(f"/ingestion/{waiting['id']}").json()
    assert gone["status"] == "cancelled"
    caller.refused("GET", f"/ingestion/{waiting['id']}", 404)
    assert [one["id"] for one in caller.get("/ingestion")["items"]] == [found["id"]]
    assert len(caller.rows("orders", sink)) == 3


def test_an_ingestion_of_what_is_not_there(caller: Caller) -> None:
    sink, source = caller.sink(), caller.datasource()
    nobody = "00000000-0000-4000-8000-000000000000"
    for wrong in (
        {"source_id": nobody, "destination_id": sink},
        {"source_id": source, "destination_id": nobody},
    ):
        assert nobody in caller.refused("POST", "/ingestion", 422, **wrong, connection_name="c")["what"]
    tables = [{"name": "orders", "mode": "sideways"}]
    said = caller.refused(
        "POST", "/ingestion", 422, source_id=source, destination_id=sink, connection_name="c", tables=tables
    )
    assert "sideways" in said["what"]
    found = caller.ingested(source, sink, tables=["missing"])
    assert (found["status"], found["tables"][0]["status"]) == ("failed", "failed")
    assert found["error"]


def test_secrets_go_in_and_never_come_out(caller: Caller) -> None:
    sent = caller.client.put("/secrets/shop/password", json={"value": "canary-77aa"})
    assert sent.json() == {"name": "shop/password"}
    assert [one["name"] for one in caller.get("/secrets")["items"]] == ["shop/password"]
    assert "canary" not in caller.client.get("/secrets").text
    assert caller.client.delete("/secrets/shop/password").status_code == 200
    caller.refused("DELETE", "/secrets/shop/password", 404)
    caller.refused("PUT", "/secrets/a b", 422, value="x")


def test_health_and_pages_for_people(caller: Caller) -> None:
    found = caller.get("/health")
    assert (found["status"], found["live"], found["ready"], found["worker"]) == ("ok", True, True, None)
    assert caller.get("/health/live") == {"live": True}
    assert caller.client.get("/health/ready").status_code == 200
    for page in ("/docs", "/redoc"):
        assert "text/html" in caller.client.get(page).headers["content-type"]
    (caller.folder / ".asgard" / "queue.db").write_bytes(b"no database at all, but long enough to be read")
    assert caller.client.get("/health/ready").status_code == 503
    assert caller.get("/health")["ready"] is False


def test_a_project_that_is_changed_is_read_again(caller: Caller) -> None:
    (caller.folder / "asgard.yml").write_text("version: 1\n")
    assert caller.get("/sources")["items"] == []
    (caller.folder / "asgard.yml").write_text("version: 1\nquue: {}\n")
    assert "quue" in caller.refused("GET", "/sources", 422)["what"]


def test_what_is_nowhere(caller: Caller) -> None:
    caller.refused("GET", "/nothing", 404)
    caller.refused("PATCH", "/sink", 405)


def test_settings_are_those_of_the_users_own_document(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ENVIRONMENT", "AIRBYTE_BASE_URL", "SPARK_IMAGE", "PIPELINE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    plain = load_settings(caller.folder)
    assert (plain.environment, plain.pipeline_namespace, plain.spark_image, plain.spark_service_account,
            plain.s3_secret_name, plain.airbyte_base_url) == (
        "development", "asgard", None, "spark-sa", "s3-credentials", None)  # fmt: skip
    for written in ("http://localhost:8001", "http://localhost:8001/api/public/v1/"):
        (caller.folder / ".env").write_text(f"AIRBYTE_BASE_URL={written}\nASGARD_WORKER=false\n")
        settings = load_settings(caller.folder)
        assert settings.airbyte_base_url == "http://localhost:8001/api/public/v1"
        assert settings.asgard_worker is False
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert load_settings(caller.folder).environment == "production"
    monkeypatch.setenv("ASGARD_WORKER_SLOTS", "many")
    with pytest.raises(ConfigError, match="asgard_worker_slots"):
        load_settings(caller.folder)


def test_every_operation_has_a_name_and_says_what_it_does() -> None:
    operations = [one for path in create_app().openapi()["paths"].values() for one in path.values()]
    assert all(one["description"] and one["tags"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


@pytest.mark.parametrize("selector", ["a\0b", "", "a\nb", "x" * 501])
def test_a_run_of_what_can_be_no_name_is_refused(caller: Caller, selector: str) -> None:
    caller.refused("POST", "/runs", 422, selectors=[selector])
    assert caller.get("/jobs")["items"] == []
