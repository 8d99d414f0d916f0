"""Whatever is sent to any operation of the document: no answer of 500 and above, none of another form."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from asgard.api.application import create_app
from tests.api.callers import Caller, problem

DOCUMENT = create_app().openapi()
OPERATIONS = [
    (method, path, operation)
    for path, methods in sorted(DOCUMENT["paths"].items())
    for method, operation in sorted(methods.items())
    if not path.endswith("/check")  # waits for systems outside
]
JSON = {"Content-Type": "application/json"}
TEXT = st.text(max_size=20) | st.sampled_from(["", "*", "..", "a/b", "%00", "orders", "bronze.shop.orders"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SQL = st.sampled_from(["SELECT 1 AS a", "SELECT * FROM orders", "DROP TABLE x", "SELECT"])
KNOWN = {
    "sql": SQL,
    "source_type": st.sampled_from(["postgres", "files", "rest", "kafka", "sqlite", "nothing"]),
    "destination_type": st.sampled_from(["s3", "local", "nothing"]),
    "path": st.sampled_from(["lake", "files", "/etc", ""]),
}


def valid(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values that a schema of the document allows, more or less."""
    if "$ref" in schema:
        return valid(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], name)
    if name in KNOWN:
        return KNOWN[name]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([valid(one) for one in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        required = schema.get("required", [])
        fields = {key: valid(one, key) for key, one in schema["properties"].items()}
        return st.fixed_dictionaries(
            {key: fields[key] for key in required},
            optional={key: one for key, one in fields.items() if key not in required},
        )
    if kind == "object":
        inside = st.sampled_from(["host", "port", "path", "database", "password", "tables", "s3_bucket_name"])
        return st.dictionaries(inside | TEXT, KNOWN["path"] | ANYTHING, max_size=5)
    if kind == "array":
        return st.lists(valid(schema["items"]), max_size=3)
    of = {"string": TEXT, "integer": st.integers(-1, 600), "boolean": st.booleans(), "null": st.none()}
    return of.get(str(kind), ANYTHING)


@st.composite
def requests(draw: st.DrawFn, operation: dict[str, Any]) -> dict[str, Any]:
    """The parameters and the body of one request."""
    asked: dict[str, Any] = {"path": {}, "query": {}, "header": {}, "body": None}
    for parameter in operation.get("parameters", ()):
        value = draw(valid(parameter["schema"]) | TEXT)
        if value is not None and (parameter["in"] == "path" or draw(st.booleans())):
            asked[parameter["in"]][parameter["name"]] = (
                quote(str(value)) if parameter["in"] == "header" else value
            )
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        asked["body"] = draw(valid(schema) | valid(schema) | valid(schema) | ANYTHING)
    return asked


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)
def test_no_request_brings_the_server_down(
    caller: Caller, method: str, path: str, operation: dict[str, Any]
) -> None:
    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
        database=None,
    )  # fmt: skip
    @given(requests(operation))
    def ask(asked: dict[str, Any]) -> None:
        url = path
        for name, value in asked["path"].items():
            url = url.replace(f"{{{name}}}", quote(str(value), safe="") or "x")
        answer = caller.client.request(
            method.upper(), url, params=asked["query"], headers=asked["header"], json=asked["body"]
        )
        if answer.status_code >= 400:
            assert answer.status_code < 500, answer.text
            said = problem(answer, answer.status_code)
            documented = operation["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
            assert list(Draft202012Validator(documented).iter_errors(said)) == []
        else:
            assert str(answer.status_code) in operation["responses"] or answer.url.path != url

    ask()


@pytest.mark.parametrize(
    "path", ["/datasource", "/sink", "/ingestion", "/transform", "/runs", "/checks", "/session"]
)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"\\ud800"', b'{"name": "\\ud800", "sql": "\\ud800"}', b"\xff\xfe", b"[" * 100_000],
)
def test_bodies_that_are_no_json(caller: Caller, path: str, body: bytes) -> None:
    answer = caller.client.post(path, content=body, headers={"Content-Type": "application/json"})
    problem(answer, 400 if answer.status_code == 400 else 422)


NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "0." + "1" * 5000, "1e-400"]
LISTS = [path for method, path, _ in OPERATIONS if method == "get" and "{" not in path]
TRICKS = [
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%00b", "%ff%fe", "%ED%A0%80", "a%2Fb", "~", "%5c",
    "x" * 8000, ";", "%20", "'", "%27%20OR%201%3D1--", "{id}", "*",
]  # fmt: skip
CONFIGS = ("/datasource", "/sink")


def with_config(path: str, config: str) -> str:
    kind = '"source_type": "postgres"' if path == "/datasource" else '"destination_type": "local"'
    return f'{{{kind}, "name": "x", "config": {{"path": "lake", "host": {config}}}}}'


@pytest.mark.parametrize("path", CONFIGS)
@pytest.mark.parametrize("depth", [60, 150, 400, 900, 3000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_deep_configs(caller: Caller, path: str, depth: int, begin: str, end: str) -> None:
    deep = begin * depth + "1" + end * depth
    answer = caller.client.post(path, content=with_config(path, deep), headers=JSON)
    problem(answer, 400 if answer.status_code == 400 else 422)


@pytest.mark.parametrize("depth", [60, 400, 900, 3000])
def test_deep_tables_of_an_ingestion(caller: Caller, depth: int) -> None:
    deep = '{"name":' * depth + "1" + "}" * depth
    body = f'{{"source_id": "x", "destination_id": "x", "connection_name": "x", "tables": [{deep}]}}'
    answer = caller.client.post("/ingestion", content=body, headers=JSON)
    problem(answer, 400 if answer.status_code == 400 else 422)


@pytest.mark.parametrize("path", CONFIGS)
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_beyond_all_machines(caller: Caller, path: str, number: str) -> None:
    answer = caller.client.post(path, content=with_config(path, number), headers=JSON)
    problem(answer, 400 if answer.status_code == 400 else 422)
    body = f'{{"selectors": [], "priority": {number}}}'
    answer = caller.client.post("/runs", content=body, headers=JSON)
    if number not in ("1e-400",):
        problem(answer, 400 if answer.status_code == 400 else 422)


@pytest.mark.parametrize("path", LISTS)
def test_numbers_of_a_query(caller: Caller, path: str) -> None:
    for limit in ("9" * 5000, "-1", "1e3", "0", "501", "\u0663", "", "NaN"):
        answer = caller.client.get(path, params={"limit": limit})
        assert answer.status_code in (200, 422), answer.text


@pytest.mark.parametrize("given", TRICKS)
def test_tricks_in_paths(caller: Caller, given: str) -> None:
    for method, path, _ in OPERATIONS:
        if "{" not in path or method == "put":
            continue
        url = re.sub(r"\{\w+\}", lambda found: given, path)
        answer = caller.client.request(method, url, json={} if method == "post" else None)
        if answer.status_code != 200:
            assert answer.status_code < 500, f"{method} {url}: {answer.text}"
            problem(answer, answer.status_code)
        assert "root:" not in answer.text


def test_half_a_character_is_no_text(caller: Caller) -> None:
    half = '{"source_type": "postgres", "config": {"host": "\\ud800"}, "name": "\\ud800x"}'
    for path in ("/datasource", "/sink"):
        sent = half.replace("source_type", "destination_type") if path == "/sink" else half
        answer = caller.client.post(path, content=sent, headers={"Content-Type": "application/json"})
        problem(answer, 422)
