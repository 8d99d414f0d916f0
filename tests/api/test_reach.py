"""Nobody reaches what is of another workspace, or beyond their token: asked of every route of the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from asgard.api.access import CONFINED
from asgard.api.application import ROUTES, create_app
from asgard.app.access.access import ROLES
from asgard.app.jobs.worker import WorkerWish, work
from asgard.core.cancel import Cancel
from tests.api.callers import Caller, good, problem
from tests.api.test_access import ELSEWHERE, GUARDED, HERE, bearer, token

BODIES: dict[str, Any] = {
    "/datasource": {"source_type": "files", "config": {"path": "files"}, "name": "N"},
    "/sink": {"destination_type": "local", "config": {"path": "n"}, "name": "N"},
    "/transform": {"sql": "SELECT 1 AS a"},
    "/secrets/{name:path}": {"value": "v"},
    "/jobs/{job}/rerun": {"failed_only": False},
}


@dataclass(frozen=True)
class Things:
    """What a workspace has: ids by the parameter of a path that takes them."""

    ids: dict[str, list[str]]
    mark: str

    def paths(self, path: str) -> list[str]:
        """The path with each id in the place of its parameter."""
        for name, ids in self.ids.items():
            for written in (f"{{{name}}}", f"{{{name}:path}}"):
                if written in path:
                    return [path.replace(written, one) for one in ids]
        return [path]


def project_in(folder: Path, workspace: str) -> Path:
    """A project in a folder of its own, which shares the state with that of the other workspace."""
    mine = folder / workspace
    for source in ("files", "beside"):
        (mine / source).mkdir(parents=True)
        (mine / source / "orders.csv").write_text(f"id,who\n1,{workspace}\n")
    table = {"name": "orders", "path": "orders.csv"}
    document = {
        "version": 1, "workspace": workspace, "state": str(folder / "state"),
        "data_sources": {
            f"shop_{workspace}": {"type": "files", "path": "files", "frequency": "daily", "tables": [table]},
            f"beside_{workspace}": {"type": "files", "path": "beside", "tables": [table]},
        },
    }  # fmt: skip
    file = mine / "asgard.yml"
    file.write_text(json.dumps(document))
    return file


def filled(file: Path, mark: str) -> Things:
    """One of everything."""

    def do() -> None:
        wish = WorkerWish(str(file), slots=1, clock=False, until_idle=True)
        work(wish, lambda event: None, Cancel(), Cancel())

    with TestClient(create_app(file, worker=False), "http://127.0.0.1", client=HERE) as client:
        caller = Caller(client, file.parent, do)
        sink, source = caller.sink(), caller.datasource(f"posted {mark}")
        ingestion = caller.ingested(source, sink)
        assert ingestion["status"] == "done"
        transform = caller.post("/transform", sql="SELECT who FROM orders", table=f"t_{mark}")
        run = caller.post("/runs", selectors=[f"shop_{mark}"])
        do()
        good(client.put(f"/secrets/{mark}", json={"value": "x"}))
        jobs = [
            ingestion["job_id"],
            run["job"],
            caller.get(f"/transform/{transform['run_id']}/status")["job_id"],
        ]
    ids = {
        "id": [source, sink, ingestion["id"]],
        "run_id": [transform["run_id"]],
        "run": jobs,
        "job": jobs,
        "source": [f"shop_{mark}"],
        "pipeline": [f"shop_{mark}"],
        "schedule": [f"shop_{mark}/daily"],
        "table": [f"bronze.shop_{mark}.orders"],
        "name": [mark],
        "model": ["silver.x"],
    }
    return Things(ids, mark)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Things, Path, Things]]:
    """Two workspaces on one state; what the tests of this file add to them hurts none of the others."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("ASGARD_ENV", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        mine, theirs = project_in(folder, "mine"), project_in(folder, "theirs")
        yield mine, filled(mine, "mine"), theirs, filled(theirs, "theirs")


def body_of(path: str, things: Things) -> Any:
    source, sink, _ = things.ids["id"]
    if path == "/ingestion":
        return {"source_id": source, "destination_id": sink, "connection_name": "c"}
    if path == "/runs":
        return {"selectors": things.ids["source"]}
    if path == "/checks":
        return {"tables": things.ids["table"]}
    return BODIES.get(path)


def known_by(things: Things) -> list[str]:
    """Texts that only answers about these things have."""
    names = [one for key in ("id", "run_id", "job") for one in things.ids[key]]
    return [*names, f"posted_{things.mark}", f"t_{things.mark}"]


def test_no_route_reaches_another_workspace(both: tuple[Path, Things, Path, Things]) -> None:
    mine, _, theirs, foreign = both
    foreign_token = bearer(token(theirs, "admin"))
    with ExitStack() as stack:
        client = stack.enter_context(
            TestClient(create_app(mine, worker=False), "http://127.0.0.1", client=ELSEWHERE)
        )
        for role in ROLES:
            mine_token = bearer(token(mine, role))
            for method, path, _ in GUARDED:
                if path == "/session" or method == "PUT":  # a name that is put is one's own
                    continue
                for url in foreign.paths(path):
                    body = body_of(path, foreign)
                    stranger = client.request(method, url, json=body, headers=foreign_token)
                    problem(stranger, 429 if stranger.status_code == 429 else 401)  # it is tried too often
                    answer = client.request(method, url, json=body, headers=mine_token)
                    assert answer.status_code < 500, answer.text
                    if "{" in path:
                        problem(answer, answer.status_code)
                    if path in ("/ingestion", "/runs", "/checks") and method == "POST":
                        assert answer.status_code in (403, 422) or answer.json()["selectors"], answer.text
                    if 200 <= answer.status_code < 300 and method == "GET":
                        assert not [one for one in known_by(foreign) if one in answer.text], path
    with TestClient(create_app(theirs, worker=False), "http://127.0.0.1", client=HERE) as client:
        assert [one["id"] for one in client.get("/datasource").json()["items"]] == [foreign.ids["id"][0]]
        assert client.get(f"/ingestion/{foreign.ids['id'][2]}").json()["status"] == "done"


def test_a_token_reaches_its_own_source_and_nothing_else(both: tuple[Path, Things, Path, Things]) -> None:
    file, mine, _, _ = both
    confined = bearer(token(file, "admin", sources=("beside_mine",)))
    kept = {f"{m} {r.path}" for r in ROUTES if isinstance(r, APIRoute) and CONFINED in (r.openapi_extra or {})
            for m in r.methods}  # fmt: skip
    with TestClient(create_app(file, worker=False), "http://127.0.0.1", client=ELSEWHERE) as client:
        for method, path, _ in GUARDED:
            for url in mine.paths(path):
                answer = client.request(method, url, json=body_of(path, mine), headers=confined)
                if f"{method} {path}" not in kept:
                    problem(answer, 403)
                elif "{" in path or method == "POST":
                    assert answer.status_code in (403, 404, 422), f"{method} {url} {answer.text}"
                    problem(answer, answer.status_code)
                else:
                    assert answer.status_code == 200
                    assert not [one for one in known_by(mine) if one in answer.text], path
        whole = bearer(token(file, "admin"))
        assert client.get("/datasource", headers=whole).json()["items"][0]["id"] == mine.ids["id"][0]
        assert client.get(f"/ingestion/{mine.ids['id'][2]}", headers=whole).status_code == 200


def test_a_token_works_what_it_is_for(both: tuple[Path, Things, Path, Things]) -> None:
    file, mine, _, _ = both
    source, sink, ingestion = mine.ids["id"]
    own = bearer(token(file, "editor", sources=("posted_mine", "shop_mine"), pipelines=("shop_mine",)))
    with TestClient(create_app(file, worker=False), "http://127.0.0.1", client=ELSEWHERE) as client:

        def get(path: str) -> Any:
            return good(client.get(path, headers=own))

        def post(path: str, **body: Any) -> Any:
            return good(client.post(path, json=body, headers=own))

        assert [one["id"] for one in get("/datasource")["items"]] == [source]
        assert [one["source"] for one in get("/sources")["items"]] == ["shop_mine"]
        assert [one["pipeline"] for one in get("/pipelines")["items"]] == ["shop_mine"]
        assert [one["table"] for one in get("/tables")["items"]] == ["bronze.shop_mine.orders"]
        assert get("/tables/bronze.shop_mine.orders/preview")["rows"][0]["who"] == "mine"
        assert get(f"/ingestion/{ingestion}")["source"] == "posted_mine"
        assert {one.get("kind", "run") for one in get("/jobs")["items"]} == {
            "run",
            "ingestion",
        }
        begun = post("/ingestion", source_id=source, destination_id=sink, connection_name="again")
        assert get(f"/jobs/{begun['job_id']}")["status"] == "queued"
        assert good(client.delete(f"/ingestion/{begun['id']}", headers=own))["status"] == "cancelled"
        assert post("/runs", selectors=["bronze.shop_mine.orders"])["sources"] == ["shop_mine"]
        assert post("/pipelines/shop_mine/run")["selectors"] == ["shop_mine"]
        problem(client.post("/runs", json={"selectors": ["shop_mine", "beside_mine"]}, headers=own), 403)
        problem(client.post("/runs", json={"selectors": ["+shop_mine"]}, headers=own), 403)
        problem(client.post("/runs", json={}, headers=own), 403)


def test_source_and_sink_of_an_ingestion_are_of_its_workspace(caller: Caller) -> None:
    sink, source = caller.sink(), caller.datasource()
    body = {"destination_type": "local", "config": {"path": "team"}, "name": "x", "workspace_name": "team"}
    other = caller.post("/sink", **body)["id"]
    ids = {"source_id": source, "destination_id": sink, "connection_name": "c"}
    said = caller.refused("POST", "/ingestion", 422, **{**ids, "destination_id": other})
    assert "no sink" in said["what"]
    said = caller.refused("POST", "/ingestion", 422, **ids, workspace_name="team")
    assert "no datasource" in said["what"]
    assert caller.post("/ingestion", **ids)["status"] == "submitted"


def test_a_pipeline_is_shown_and_run(caller: Caller) -> None:
    (one,) = caller.get("/pipelines")["items"]
    assert (one["pipeline"], one["destination"], one["schedules"]) == ("shop", "bronze.shop", ["shop/daily"])
    assert caller.get("/pipelines/shop")["last"] == []
    job = caller.post("/pipelines/shop/run")
    caller.done()
    shown = caller.get("/pipelines/shop")
    assert [(table["stream"], table["checks"]) for table in shown["tables"]] == [("orders", 1)]
    assert [(step["step"], step["status"], step["run"]) for step in shown["last"]] == [
        ("bronze.shop.orders", "done", job["job"])
    ]
    caller.refused("GET", "/pipelines/nothing", 404)
    caller.refused("POST", "/pipelines/nothing/run", 404)
