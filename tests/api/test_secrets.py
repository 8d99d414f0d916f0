"""Secrets over HTTP: names, uses and rotation; a value goes in and none comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgard.app.secrets.secrets import get_secret
from tests.api.callers import Caller, good

CANARY = "canary-31d0ffee"


@pytest.fixture
def caller(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Caller:
    """With its keys in a folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CONFIG_HOME", "ASGARD_SECRET_KEY", "ASGARD_SECRET_KEY_FILE", "ASGARD_SECRET_STORE"):
        monkeypatch.delenv(name, raising=False)
    return caller


def put(caller: Caller, name: str, value: str) -> None:
    assert good(caller.client.put(f"/secrets/{name}", json={"value": value})) == {"name": name}


def test_a_secret_says_where_it_is_used(caller: Caller) -> None:
    put(caller, "shop/folder", "files")
    put(caller, "nobody/wants", CANARY)
    file = caller.folder / "asgard.yml"
    document: dict[str, Any] = json.loads(file.read_text())
    document["data_sources"]["shop"]["path"] = "${store:shop/folder}"
    file.write_text(json.dumps(document, indent=1))
    shown = caller.get("/secrets/shop/folder")
    assert (shown["name"], [use["key"] for use in shown["used_by"]]) == (
        "shop/folder",
        ["data_sources.shop.path"],
    )
    place, line, _ = shown["used_by"][0]["place"].split(":")
    assert place == "asgard.yml"
    assert "${store:" in file.read_text().splitlines()[int(line) - 1]
    assert caller.get("/secrets/nobody/wants")["used_by"] == []


def test_a_posted_source_is_a_use(caller: Caller) -> None:
    config = {"host": "h", "database": "d", "username": "u", "password": CANARY}
    made = caller.post("/datasource", source_type="postgres", source_config=config, name="Shop")
    (secret,) = caller.get("/secrets")["items"]
    shown = caller.get(f"/secrets/{secret['name']}")
    assert shown["used_by"] == [{"kind": "datasource", "id": made["id"], "name": "Shop"}]
    assert CANARY not in str(shown)


def test_rotation_leaves_the_values(caller: Caller) -> None:
    caller.refused("POST", "/secrets/rotate", 422)
    for name in ("a", "b/c"):
        put(caller, name, CANARY)
    before = (caller.folder / ".asgard" / "secrets.json").read_text()
    answer = caller.post("/secrets/rotate")
    assert answer["secrets"] == 2
    assert (caller.folder / ".asgard" / "secrets.json").read_text() != before
    assert {get_secret(caller.folder, name) for name in ("a", "b/c")} == {CANARY}
    put(caller, "a", "another")
    assert get_secret(caller.folder, "a") == "another"


def test_no_answer_has_a_value(caller: Caller) -> None:
    put(caller, "a", CANARY)
    asked = [("GET", "/secrets"), ("GET", "/secrets/a"), ("POST", "/secrets/rotate"), ("GET", "/secrets/b"),
             ("DELETE", "/secrets/a")]  # fmt: skip
    for method, path in asked:
        answer = caller.client.request(method, path)
        assert CANARY not in answer.text
        assert CANARY not in str(answer.headers)
    caller.refused("GET", "/secrets/a", 404)
    for wrong in ({"value": ""}, {"valu": CANARY}, {"value": [CANARY]}, {"value": CANARY, "nme": "x"}):
        answer = caller.client.put("/secrets/a", json=wrong)
        assert answer.status_code == 422
        assert CANARY not in answer.text
    assert caller.get("/secrets")["items"] == []
