"""Sources and sinks that are posted: what is kept, what is shown, and what is refused."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.api.callers import Caller

CANARY = "canary-5f21c0de"
POSTGRES = {"host": "db.internal", "port": 5432, "username": "user", "database": "mydb"}


def posted(**config: Any) -> dict[str, Any]:
    return {"source_type": "postgres", "workspace_name": "default", "name": "My Postgres Source",
            "source_config": {**POSTGRES, **config}}  # fmt: skip


def files_with(text: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_a_source_is_kept_and_its_secret_is_shown_to_nobody(caller: Caller) -> None:
    made = caller.post("/datasource", **posted(password=CANARY))
    assert uuid.UUID(made["id"]).version == 4
    assert made["source_id"] == made["id"]
    assert made["source_config"] == {**POSTGRES, "password": "**********"}
    assert made["tables"] == "bronze.my_postgres_source"
    assert caller.get("/datasource") == {"items": [made], "next": None}
    assert caller.get(f"/datasource/{made['id']}") == made
    (secret,) = caller.get("/secrets")["items"]
    assert secret["name"].startswith(f"datasource/{made['id']}/")
    assert files_with(CANARY, caller.folder) == []
    assert CANARY not in caller.client.get("/openapi.json").text


def test_config_is_another_name_of_source_config(caller: Caller) -> None:
    body = posted(password=CANARY)
    body["config"] = body.pop("source_config")
    assert caller.post("/datasource", **body)["source_config"]["host"] == "db.internal"


def test_a_secret_inside_of_another_text_is_hidden_too(caller: Caller) -> None:
    config = {"base_url": "https://api.example.com", "auth_type": "bearer", "token": CANARY,
              "headers": {"X-Copy": f"k={CANARY}"}, "endpoints": [{"name": "a", "path": "/a"}]}  # fmt: skip
    made = caller.post("/datasource", source_type="rest", source_config=config, name="An API")
    assert CANARY not in str(made)
    assert made["source_config"]["headers"] == {"X-Copy": "**********"}
    assert files_with(CANARY, caller.folder) == []


def test_a_password_that_looks_like_a_reference_inside_stays_what_it_is(caller: Caller) -> None:
    from asgard.app.config.project import load_project
    from asgard.app.documents.datasources import source_of

    odd = "pa${HOME}ss"
    made = caller.post("/datasource", **posted(password=odd))
    source = source_of(load_project(caller.folder), made["id"])
    assert source.config.password.get_secret_value() == odd


@pytest.mark.parametrize(
    "config",
    [
        {"host": "${env:HOME}"},
        {"password": "${store:other}"},
        {"password": "${file:/etc/hostname}"},
        {"database": "a${HOME}"},
    ],
)
def test_what_is_posted_is_no_reference(caller: Caller, config: dict[str, str]) -> None:
    said = caller.refused("POST", "/datasource", 422, **posted(**config))
    assert "not looked up" in said["what"]


def test_a_references_in_an_ingestions_tables_is_refused(caller: Caller) -> None:
    body = {"source_id": caller.datasource(), "destination_id": caller.sink(), "connection_name": "c"}
    for entry in ({"name": "${HOME}"}, {"name": "orders", "token": "x${HOME}y"}):
        assert "not looked up" in caller.refused("POST", "/ingestion", 422, **body, tables=[entry])["what"]


@pytest.mark.parametrize(
    ("type_", "config"),
    [
        ("files", {"path": "/etc"}),
        ("files", {"path": "../"}),
        ("files", {"path": "files", "tables": [{"name": "a", "path": "../../etc/passwd"}]}),
        ("files", {"path": "files", "tables": [{"name": "a", "path": "/etc/passwd"}]}),
        ("sqlite", {"database": "/var/lib/some.db"}),
        ("postgres", {**POSTGRES, "ssl_root_cert": "/etc/shadow"}),
        ("rest", {"base_url": "https://a.example", "manifest": "/etc/passwd"}),
    ],
)
def test_a_posted_source_reads_the_projects_files_and_no_others(
    caller: Caller, type_: str, config: dict[str, Any]
) -> None:
    said = caller.refused("POST", "/datasource", 422, source_type=type_, source_config=config, name="x")
    assert "leads out of the project's folder" in said["what"] or "not a known key" in said["what"]
    assert caller.get("/datasource")["items"] == []


def test_every_mistake_is_told_and_none_shows_the_secret(caller: Caller) -> None:
    said = caller.refused("POST", "/datasource", 422, **posted(password=[CANARY], hst="x", port="no"))
    assert {"source_config.hst", "source_config.port", "source_config.password"} <= {
        line.partition(":")[0] for line in said["what"].splitlines()
    }
    assert CANARY not in str(said)
    wrong = caller.client.post("/datasource", json={"source_type": 1, "config": CANARY, "name": CANARY})
    assert wrong.status_code == 422
    assert CANARY not in wrong.text


@pytest.mark.parametrize("key", ["allow_metadata_addresses", "connection", "enabled"])
def test_what_the_owner_of_the_project_decides_cannot_be_posted(caller: Caller, key: str) -> None:
    said = caller.refused("POST", "/datasource", 422, **posted(**{key: True}))
    assert f"source_config.{key}: cannot be posted" in said["what"]


def test_names_that_meet_get_tables_of_their_own(caller: Caller) -> None:
    tables = []
    for name in ("Shop", "shop", "Sh-op!", "123", "silver"):
        caller.datasource(name)
        tables.append(caller.get("/datasource")["items"][-1]["tables"])
    assert tables == ["bronze.shop_2", "bronze.shop_3", "bronze.sh_op", "bronze.source_123",
                      "bronze.silver_source"]  # fmt: skip


def test_lists_come_in_pages(caller: Caller) -> None:
    made = [caller.datasource(f"s{number}") for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = caller.get("/datasource", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == 2
    assert seen == made


def test_a_source_that_is_taken_away_takes_its_secrets_along(caller: Caller) -> None:
    made = caller.post("/datasource", **posted(password=CANARY))
    assert caller.client.delete(f"/datasource/{made['id']}").status_code == 200
    assert caller.get("/secrets")["items"] == []
    caller.refused("GET", f"/datasource/{made['id']}", 404)
    caller.refused("DELETE", f"/datasource/{made['id']}", 404)


@pytest.mark.parametrize("path", ["lake", "lake/", "lake/bronze", "lake/bronze/", "./lake"])
def test_a_local_sink(caller: Caller, path: str) -> None:
    made = caller.post("/sink", destination_type="file", config={"path": path}, name="Bronze")
    assert uuid.UUID(made["destination_id"]).version == 4
    assert made["location"] == "lake"
    assert made["destination_config"] == {"path": path}
    assert caller.get("/sink")["items"] == [made]


@pytest.mark.parametrize("path", ["/tmp/elsewhere", "../beside", ".", "bronze", ""])
def test_a_sink_writes_below_the_projects_folder(caller: Caller, path: str) -> None:
    caller.refused("POST", "/sink", 422, destination_type="local", config={"path": path}, name="x")


def test_a_destination_that_nobody_knows_names_those_that_there_are(caller: Caller) -> None:
    said = caller.refused("POST", "/sink", 422, destination_type="tape", config={}, name="x")
    assert "s3, local" in said["what"]
