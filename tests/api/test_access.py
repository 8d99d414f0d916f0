"""Who may ask: made from the table of routes, so that no route can be left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from asgard.api.access import ACTION, LOOKING, OPEN, insist_on_actions, needs
from asgard.api.application import ROUTES, create_app
from asgard.app.access.access import ACTIONS, ROLES, local_principal, open_access
from asgard.app.access.audit import AuditWish, audit_entries
from asgard.app.access.tokens import TokenWish, create_token
from asgard.app.access.users import create_user
from asgard.app.config.project import load_project
from asgard.cli.serve import serve
from asgard.core.errors import Bug, Refused
from tests.api.callers import problem

ELSEWHERE = ("203.0.113.9", 5000)
HERE = ("127.0.0.1", 5000)
TABLE = [
    (method, route.path, str((route.openapi_extra or {})[ACTION]))
    for route in ROUTES
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
GUARDED = [one for one in TABLE if one[2] != OPEN]
CHANGING = [one for one in GUARDED if one[0] not in LOOKING]


@contextmanager
def asking(project: Path, client: tuple[str, int], base: str = "http://127.0.0.1") -> Iterator[TestClient]:
    with TestClient(create_app(project, worker=False), base, client=client) as started:
        yield started


def token(project: Path, role: str, **scope: tuple[str, ...]) -> str:
    with open_access(load_project(project)) as access:
        _, secret = create_token(access, local_principal(), TokenWish(name=f"a {role}", role=role, **scope))
    return secret.get_secret_value()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def written(path: str) -> str:
    """The path with something in the place of its parameters."""
    return re.sub(r"\{(\w+)(:path)?\}", r"some-\1", path)


def test_the_table_has_every_route_of_the_document() -> None:
    documented = create_app().openapi()["paths"]
    assert {(method, path.replace(":path}", "}")) for method, path, _ in TABLE} == {
        (method.upper(), path) for path, methods in documented.items() for method in methods
    }
    assert {path for _, path, action in TABLE if action == OPEN} == {
        "/health", "/health/live", "/health/ready", "/session",
    }  # fmt: skip


def test_strangers_are_told_how_to_make_a_token(project: Path) -> None:
    with asking(project, ELSEWHERE) as client:
        for method, path, _ in GUARDED:
            said = problem(client.request(method, written(path)), 401)
            assert "asgard tokens create" in said["hint"]
        assert client.get("/health").status_code == 200


def test_every_route_asks_for_its_role(project: Path) -> None:
    tokens = {role: bearer(token(project, role)) for role in ROLES}
    with asking(project, ELSEWHERE) as client:
        for method, path, action in GUARDED:
            least = ROLES.index(ACTIONS[action])
            for rank, role in enumerate(ROLES):
                if rank < least:
                    said = problem(client.request(method, written(path), headers=tokens[role]), 403)
                    assert ACTIONS[action] in said["what"]
            # A body that is none: who may goes as far as that, or to what is not there.
            answer = client.request(method, written(path), headers=tokens[ROLES[least]], content=b"{")
            assert answer.status_code in ((200,) if method in LOOKING else ()) or (
                400 <= answer.status_code < 500 and answer.status_code != 401
            )
            assert "needs the role" not in answer.text


def test_what_changes_something_needs_more_than_a_viewer() -> None:
    assert {ACTIONS[action] for _, path, action in CHANGING if path != "/session"} <= set(ROLES[1:])


def test_a_route_that_says_nothing_stops_the_server() -> None:
    app = FastAPI()

    @app.post("/forgotten")
    def forgotten() -> None:
        return None

    with pytest.raises(Bug, match="/forgotten"):
        insist_on_actions(app.routes)
    named = FastAPI()
    named.add_api_route("/named", forgotten, openapi_extra=needs("tables.read"))
    insist_on_actions(named.routes)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=203.0.113.9"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic dTpw"},
    ],
)
def test_loopback_lets_in_this_machines_own_programs_alone(project: Path, headers: dict[str, str]) -> None:
    with asking(project, HERE) as client:
        assert client.get("/tables").status_code == 200
        assert client.get("/tables", headers={"Origin": "http://127.0.0.1"}).status_code == 200
        problem(client.get("/tables", headers=headers), 401)
        problem(client.post("/runs", json={}, headers=headers), 401)


def test_a_form_of_another_page_posts_nothing(project: Path) -> None:
    with asking(project, HERE) as client:
        body = '{"destination_type": "local", "destination_config": {"path": "x"}, "name": "x"}'
        sent = client.post("/sink", content=body, headers={"Content-Type": "text/plain"})
        problem(sent, 422)
        assert client.get("/sink").json()["items"] == []


def test_a_token_opens_what_its_scope_names(project: Path) -> None:
    shop = bearer(token(project, "operator", sources=("shop",)))
    with asking(project, ELSEWHERE) as client:
        assert client.post("/sources/shop/check", headers=shop).status_code == 200
        problem(client.post("/sources/other/check", headers=shop), 403)
        problem(client.post("/runs", json={}, headers=shop), 403)


def test_changes_and_refusals_are_in_the_audit_log(project: Path) -> None:
    viewer = bearer(token(project, "viewer"))
    with asking(project, ELSEWHERE) as client:
        client.post("/runs", json={}, headers=viewer)
        client.get("/runs", headers=viewer)
    with asking(project, HERE) as client:
        client.post("/runs", json={})
        client.put("/secrets/a", json={"value": "canary-1234"})
        client.post("/runs", json={"selectors": [1]})
    with open_access(load_project(project)) as access:
        entries = audit_entries(access, local_principal(), AuditWish()).items
    noted = [
        (entry["action"], entry["outcome"], entry["target"])
        for entry in entries
        if entry["target"].startswith(("POST", "PUT", "GET"))
    ]
    assert "canary" not in str(entries)
    assert sorted(noted) == [
        ("runs.start", "done", "POST /runs"),
        ("runs.start", "failed", "POST /runs"),
        ("runs.start", "refused", "POST /runs"),
        ("secrets.write", "done", "PUT /secrets/a"),
    ]


def test_a_user_signs_in_and_out(project: Path) -> None:
    with open_access(load_project(project)) as access:
        create_user(access, local_principal(), "ada", "viewer", "correct horse battery")
    with asking(project, ELSEWHERE) as client:
        wrong: dict[str, Any] = {"user": "ada", "password": "wrong"}
        problem(client.post("/session", json=wrong), 401)
        right = client.post("/session", json={**wrong, "password": "correct horse battery"})
        assert right.status_code == 201
        mine = bearer(right.json()["token"])
        assert client.get("/tables", headers=mine).status_code == 200
        assert client.delete("/session", headers=mine).status_code == 200
        problem(client.get("/tables", headers=mine), 401)
        answers = [client.post("/session", json=wrong) for _ in range(6)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_other_addresses_are_not_served_without_a_token(project: Path, host: str) -> None:
    ended = CliRunner().invoke(serve, ["--project", str(project), "--host", host])
    assert isinstance(ended.exception, Refused)
    assert "asgard tokens create" in ended.exception.hint
