"""Airbyte's own specification: what Asgard asks, and what the stand-in answers, are held against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from asgard.app.airbyte import jobs
from asgard.app.airbyte.jobs import cancel_job, run_job, start_job
from asgard.app.airbyte.server import Ingestion, check_airbyte, find_connection, hand_over, put_connection
from asgard.app.airbyte.words import SYNC_MODES, stream_words
from asgard.core.cancel import Cancel
from asgard.transport.airbyte import AirbyteClient, AirbyteSettings
from asgard.transport.airbyte_answers import STATES, JobType, Kind
from tests.servers.airbyte import CLIENT_ID, CLIENT_SECRET, OPERATIONS, PREFIX, AirbyteServer

POSTGRES = {"host": "db", "username": "reader", "password": "canary", "database": "shop"}
BUCKET = {"s3_bucket_name": "lake"}


class Specification:
    """The document, asked for its schemas."""

    def __init__(self, file: Path) -> None:
        self.document: dict[str, Any] = yaml.load(file.read_text(), yaml.CSafeLoader)

    def operation(self, name: str) -> dict[str, Any]:
        """An operation, with the parameters of its path."""
        method, path = name.split(" ")
        for known, item in self.document["paths"].items():
            if re.sub(r"\{\w+\}", "{id}", known) == path and method.lower() in item:
                found: dict[str, Any] = item[method.lower()]
                return {**found, "parameters": [*item.get("parameters", []), *found.get("parameters", [])]}
        raise AssertionError(f"the specification has no {name}")

    def hold(self, value: Any, schema: Any, what: str) -> None:
        """Fails if a value is not as a schema has it, or has a name that the schema has not."""
        whole = {**schema, "components": self.document["components"]}
        found = [
            error.message
            for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
        ]
        assert found == [], f"{what}: {value}"
        properties = self.resolved(schema).get("properties", {})
        slip = {"grant_type"} if "grant-type" in properties else set()  # see decision 126
        strange = set(value) - set(properties) - slip
        assert strange == set(), what

    def resolved(self, schema: Any) -> Any:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema


@pytest.fixture(scope="module")
def specification(reference: Path) -> Specification:
    return Specification(reference / "openapi" / "airbyte" / "api.yaml")


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[AirbyteServer]:
    """A server that was asked for everything that Asgard asks for."""
    monkeypatch.setattr(jobs, "FIRST_POLL_SECONDS", 0.002)
    with AirbyteServer() as server:
        for name in ("default", "Sales"):
            server.workspace(name)
        server.most_rows = 1
        with AirbyteClient(AirbyteSettings(server.url, CLIENT_ID, CLIENT_SECRET), Cancel()) as client:
            everything(client)
        yield server


def everything(client: AirbyteClient) -> None:
    wish = Ingestion(
        "orders", "postgres", POSTGRES, "s3", BUCKET, cron="0 0 * * * ?",
        streams=[{"name": "orders", "syncMode": "incremental_append", "cursorField": ["updated_at"]}],
    )  # fmt: skip
    check_airbyte(client)
    for _ in range(2):
        made = hand_over(client, wish)
    entries = [
        {
            "name": f"{mode} {has_cursor}",
            "mode": mode,
            "primary_key": "id",
            **({"cursor": "at"} if has_cursor else {}),
        }
        for mode, has_cursor in SYNC_MODES
    ]
    streams = {"streams": [stream_words(entry) for entry in entries]}
    put_connection(
        client, "default", "by REST", made.source_id, made.destination_id, {"configurations": streams}
    )
    mongo = {"host": "db", "database": "shop"}
    hand_over(client, Ingestion("events", "mongodb", mongo, "s3", BUCKET, workspace="Sales"))
    assert find_connection(client, "orders") == client.connection(made.id)
    for job_type in JobType:
        run_job(client, made, lambda event: None, job_type)
    cancel_job(client, start_job(client, made).id)
    list(client.jobs(made.id))
    for kind, one in ((Kind.SOURCE, made.source_id), (Kind.DESTINATION, made.destination_id)):
        client.actor(kind, one)
    client.delete_connection(made.id)
    for kind, one in ((Kind.SOURCE, made.source_id), (Kind.DESTINATION, made.destination_id)):
        client.delete_actor(kind, one)


def test_every_operation_is_asked_for(talk: AirbyteServer) -> None:
    assert {exchange.operation for exchange in talk.exchanges} == set(OPERATIONS)


def test_what_is_asked_is_as_the_specification_has_it(
    talk: AirbyteServer, specification: Specification
) -> None:
    for exchange in talk.exchanges:
        operation, asked = specification.operation(exchange.operation), exchange.asked
        known = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
        assert set(asked.query) <= set(known), exchange.operation
        for name, value in asked.query.items():
            schema = specification.resolved(known[name]["schema"])
            given: Any = (
                int(value) if schema["type"] == "integer" else [value] if schema["type"] == "array" else value
            )
            assert list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(given)) == []
        assert {name for name, one in known.items() if one.get("required")} <= set(asked.query)
        if "requestBody" in operation:
            content = operation["requestBody"]["content"][asked.headers["content-type"]]
            specification.hold(asked.document, content["schema"], exchange.operation)
        else:
            assert asked.body == b"", exchange.operation


def test_what_the_stand_in_answers_is_as_the_specification_has_it(
    talk: AirbyteServer, specification: Specification
) -> None:
    for exchange in talk.exchanges:
        operation, reply = specification.operation(exchange.operation), exchange.reply
        assert reply.status < 400, exchange
        content = operation["responses"][str(reply.status)].get("content")
        if content is None:
            assert reply.body == b"", exchange.operation
        else:
            specification.hold(reply.body, content["application/json"]["schema"], exchange.operation)


def test_the_rules_of_the_stand_in_are_the_specifications(specification: Specification) -> None:
    for name, rule in OPERATIONS.items():
        operation = specification.operation(name)
        assert rule.query <= {one["name"] for one in operation["parameters"] if one["in"] == "query"}, name
        if "requestBody" not in operation:
            assert not rule.required | rule.optional, name
            continue
        schema = specification.resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        assert rule.required == set(schema.get("required", ())), name
        assert rule.optional <= set(schema["properties"]), name


def test_statuses_and_types_of_jobs_are_all_known(specification: Specification) -> None:
    schemas = specification.document["components"]["schemas"]
    assert set(STATES) == set(schemas["JobStatusEnum"]["enum"])
    assert {str(one) for one in JobType} == set(schemas["JobTypeEnum"]["enum"])


def test_the_path_of_a_server_of_ones_own_is_the_specifications(
    specification: Specification, reference: Path
) -> None:
    public = yaml.load((reference / "openapi" / "airbyte" / "public_api.yaml").read_text(), yaml.CSafeLoader)
    local = next(one["url"] for one in public["servers"] if "localhost" in one["url"])
    assert {f"{local.removeprefix('http://localhost:8000')}{path}" for path in public["paths"]} >= {
        f"{PREFIX}/{noun}" for noun in ("workspaces", "sources", "destinations", "jobs")
    }
    assert specification.document["servers"][0]["url"] == "https://api.airbyte.com/v1"
