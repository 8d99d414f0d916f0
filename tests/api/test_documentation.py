"""The pages about the API, and what the document promises of every answer."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from asgard.api.application import create_app
from asgard.api.bodies import MOST_BODY_BYTES
from asgard.api.documentation import FILES, PACKAGE
from tests.api.callers import PROBLEM_KEYS, Caller, problem

DOCUMENT = create_app().openapi()


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_asks_nothing_of_other_hosts(caller: Caller, path: str) -> None:
    page = caller.client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text.replace("http-equiv", "")
    policy = dict(
        rule.strip().partition(" ")[::2] for rule in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert {policy[rule] for rule in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    asked = re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text)
    assert len(asked) >= 3
    for one in asked:
        answer = caller.client.get(f"/{one}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_the_pages_are_those_of_the_package(caller: Caller, name: str) -> None:
    answer = caller.client.get(f"/docs/files/{name}")
    assert answer.content == (resources.files(PACKAGE) / "static" / name).read_bytes()
    assert answer.headers["content-type"].startswith(FILES[name])


@pytest.mark.parametrize("name", ["core.py", "..%2fcore.py", "%2e%2e/core.py", "", "favicon.png%00"])
def test_no_other_file_comes_out(caller: Caller, name: str) -> None:
    problem(caller.client.get(f"/docs/files/{name}"), 404)


def test_every_operation_says_what_it_may_answer() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert {"4XX", "503", "507"} <= set(answers), f"{method} {path}"
            assert "422" not in answers
            schema = answers["4XX"]["content"]["application/problem+json"]["schema"]
            assert set(schema["properties"]) == PROBLEM_KEYS
            assert operation["security"] == [{"HTTPBearer": []}]


@pytest.mark.parametrize("sized", [True, False])
def test_a_body_beyond_all_meaning_is_not_held(caller: Caller, sized: bool) -> None:
    piece = b" " * (1 << 20)
    pieces = MOST_BODY_BYTES // len(piece) + 1
    body = piece * pieces if sized else (piece for _ in range(pieces))
    headers = {"Content-Type": "application/json"}
    said = problem(caller.client.post("/datasource", content=body, headers=headers), 413)
    assert f"{MOST_BODY_BYTES:,} bytes" in said["what"]


def test_a_large_body_that_is_small_enough_is_read(caller: Caller) -> None:
    body = b'{"selectors": ["shop"]}' + b" " * (MOST_BODY_BYTES - 100)
    answer = caller.client.post("/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert answer.json()["selectors"] == ["shop"]
