"""Whatever is sent to any operation of the document: no answer of 500 and above, none of another form."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.api.application import create_app
from tests.api.callers import Caller, problem

DOCUMENT = create_app().openapi()
OPERATIONS = [
    (method, path, operation)
    for path, methods in sorted(DOCUMENT["paths"].items())
    for method, operation in sorted(methods.items())
    if not path.endswith("/check")  # waits for systems outside
]
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
    asked: dict[str, Any] = {"path": {}, "query": {}, "body": None}
    for parameter in operation.get("parameters", ()):
        value = draw(valid(parameter["schema"]) | TEXT)
        if value is not None and (parameter["in"] == "path" or draw(st.booleans())):
            asked[parameter["in"]][parameter["name"]] = value
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
        answer = caller.client.request(method.upper(), url, params=asked["query"], json=asked["body"])
        if answer.status_code >= 400:
            assert answer.status_code < 500, answer.text
            problem(answer, answer.status_code)
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


def test_half_a_character_is_no_text(caller: Caller) -> None:
    half = '{"source_type": "postgres", "config": {"host": "\\ud800"}, "name": "\\ud800x"}'
    for path in ("/datasource", "/sink"):
        sent = half.replace("source_type", "destination_type") if path == "/sink" else half
        answer = caller.client.post(path, content=sent, headers={"Content-Type": "application/json"})
        problem(answer, 422)
