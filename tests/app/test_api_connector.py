"""APIConnector: signs in as it is told, asks, and gives lists back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import asgard
from asgard.app.frames import api_connector
from tests.servers.api import Api, Reply

SECRET = "canary-e27a10"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.mark.parametrize(
    ("auth_type", "params", "header", "value"),
    [
        ("none", {}, "authorization", None),
        ("bearer", {"token": SECRET}, "authorization", f"Bearer {SECRET}"),
        ("api_key", {"key": SECRET}, "x-api-key", SECRET),
        ("api_key", {"key": SECRET, "key_header": "X-Shop"}, "x-shop", SECRET),
        ("basic", {"username": "u", "password": SECRET}, "authorization", "Basic dTpjYW5hcnktZTI3YTEw"),
    ],
)
def test_signing_in(api: Api, auth_type: str, params: dict[str, Any], header: str, value: str | None) -> None:
    api.on("/v1/rows", Reply(200, [{"id": 1}]))
    connector = asgard.APIConnector(f"{api.url}/v1", auth_type, **params)
    assert connector.fetch("rows") == [{"id": 1}]
    assert api.asked[0].headers.get(header) == value
    assert SECRET not in repr(connector)
    api.on("/v1/no", lambda asked: Reply(403, dict(asked.headers)))
    with pytest.raises(asgard.Refused) as caught:
        connector.fetch("no")
    assert SECRET not in str(caught.value)
    connector.close()


def test_what_is_asked_and_answered(api: Api) -> None:
    api.on("/rows", lambda asked: Reply(200, {"method": asked.method, "query": dict(asked.query),
                                              "body": asked.document if asked.body else None}))  # fmt: skip
    api.on("/nothing", Reply(204, b""))
    connector = asgard.APIConnector(api.url)
    assert connector.fetch("rows", {"a": 1}) == [{"method": "GET", "query": {"a": "1"}, "body": None}]
    assert connector.fetch("/rows", {"a": 1}, "post") == [{"method": "POST", "query": {}, "body": {"a": 1}}]
    assert connector.fetch("nothing") == []
    assert [one["query"]["page"] for one in connector.batch_fetch("rows", [{"page": 1}, {"page": 2}])] == [
        "1",
        "2",
    ]
    with pytest.raises(asgard.ConfigError, match="PUT"):
        connector.fetch("rows", method="PUT")
    with pytest.raises(asgard.QueryError, match="not found"):
        connector.fetch("nowhere")
    assert api_connector.TIMEOUT_SECONDS == 30


@pytest.mark.parametrize(
    ("auth_type", "params", "says"),
    [
        ("magic", {}, "no auth_type 'magic'"),
        ("bearer", {}, "bearer needs token"),
        ("basic", {"username": "u"}, "basic needs password"),
        ("api_key", {}, "api_key needs key"),
        ("none", {"token": "x"}, "none takes no token"),
    ],
)
def test_what_cannot_sign_in(auth_type: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(asgard.ConfigError, match=says):
        asgard.APIConnector("https://api.example.com", auth_type, **params)
