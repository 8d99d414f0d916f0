"""GraphQL: connections page by page, errors in answers that say 200, and nothing that changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asgard.connectors._api.config import ApiConfig
from asgard.connectors.graphql import GraphqlSource
from asgard.core.errors import ConfigError, DataError, QueryError
from tests.connectors.reading import load
from tests.servers.api import Api, Asked, Reply

Make = Callable[..., GraphqlSource]
ROWS = [{"id": number, "labels": [{"name": "a"}]} for number in range(8)]
QUERY = (
    "query ($after: String) { shop { orders(after: $after) "
    "{ nodes { id labels { name } } pageInfo { hasNextPage endCursor } } } }"
)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture
def source(api: Api) -> Iterator[Make]:
    made: list[GraphqlSource] = []

    def make(**config: Any) -> GraphqlSource:
        options = ApiConfig.model_validate({"base_url": f"{api.url}/graphql", "max_retries": 1, **config})
        made.append(GraphqlSource(options, "tried"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answer(asked: Asked, size: int = 3) -> Reply:
    begin = int(asked.document["variables"].get("after") or 0)
    info = {"hasNextPage": begin + size < len(ROWS), "endCursor": str(begin + size)}
    return Reply(200, {"data": {"shop": {"orders": {"nodes": ROWS[begin : begin + size], "pageInfo": info}}}})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"records": "data.shop.orders.nodes"},
        {"pagination": {"type": "relay"}},
        {"pagination": {"type": "relay", "path": "data.shop.orders.pageInfo", "variable": "after"}},
    ],
)
def test_a_connection_page_by_page(api: Api, source: Make, options: dict[str, Any]) -> None:
    api.on("/graphql", answer)
    got = load(source(), "orders", {**options, "variables": {"size": 3}}, query=QUERY)
    assert [row["id"] for row in got.rows] == list(range(8))
    assert got.rows[0]["labels"] == '[{"name":"a"}]'
    assert [asked.document["variables"] for asked in api.asked] == [
        {"size": 3}, {"size": 3, "after": "3"}, {"size": 3, "after": "6"},
    ]  # fmt: skip


def test_a_query_is_asked_again(api: Api, source: Make) -> None:
    replies = iter([Reply(502), *[None] * 9])
    api.on("/graphql", lambda asked: next(replies) or answer(asked))
    assert len(load(source(), "orders", query=QUERY).rows) == 8


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        ({"data": None, "errors": [{"message": "no field x"}]}, QueryError, "no field x"),
        ({"data": {"a": {"nodes": []}}}, DataError, "no records"),
        (
            {"data": {"a": {"nodes": [{"id": 1}], "pageInfo": {"hasNextPage": True}}}},
            DataError,
            "says that there are more",
        ),
        (
            {"data": {"a": {"nodes": [{"id": 1}], "pageInfo": {"hasNextPage": True, "endCursor": "x"}}}},
            DataError,
            "page 2 is the same as page 1",
        ),
    ],
)
def test_answers_that_are_none(api: Api, source: Make, reply: Any, error: type[Exception], says: str) -> None:
    api.on("/graphql", Reply(200, reply))
    with pytest.raises(error, match=says):
        load(source(), "orders", query=QUERY)


@pytest.mark.parametrize(
    "text", ["mutation { drop }", "# really\n  mutation X { drop }", "subscription { x }"]
)
def test_nothing_is_changed(api: Api, source: Make, text: str) -> None:
    with pytest.raises(ConfigError, match="no query"):
        load(source(), "orders", query=text)
    with pytest.raises(QueryError, match="has no query"):
        load(source(), "orders")
    assert api.asked == []
