"""A GraphQL API on loopback for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asgard.connectors._api.cursor import Stand
from asgard.connectors.graphql import GraphqlSource
from asgard.core.errors import AuthenticationError, ConfigError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.api import Api, Reply

SECRET = "canary-2b8e01"
QUERY = (
    "query ($after: String, $since: String) { things(first: 3, after: $after, since: $since) "
    "{ edges { cursor node { id changed } } pageInfo { hasNextPage endCursor } } }"
)


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    with Api() as api:
        rows = [{"id": number, "changed": f"2024-01-0{1 + number // 2}T00:00:00Z"} for number in range(7)]

        def answer(asked: Api.Asked) -> Reply:
            if asked.headers.get("authorization") != f"Bearer {SECRET}":
                return Reply(401, {"message": "who are you?"})
            if asked.document["query"] == "{ __typename }":
                return Reply(200, {"data": {"__typename": "Query"}})
            if "things" not in asked.document["query"]:
                return Reply(200, {"errors": [{"message": "Cannot query that"}]})
            variables: dict[str, Any] = asked.document["variables"]
            found = [row for row in rows if row["changed"] >= variables.get("since", "")]  # type: ignore[operator]
            begin = int(variables.get("after") or 0)
            edges = [
                {"cursor": str(n), "node": row} for n, row in enumerate(found[begin : begin + 3], begin + 1)
            ]
            more = begin + 3 < len(found)
            info = {"hasNextPage": more, "endCursor": str(begin + len(edges)) if edges else None}
            return Reply(200, {"data": {"things": {"edges": edges, "pageInfo": info}}})

        def add_rows() -> int:
            rows.extend({"id": number, "changed": "2024-02-01T00:00:00Z"} for number in (10, 11))
            return 2

        api.on("/graphql", answer)
        good = {"base_url": f"{api.url}/graphql", "auth_token": SECRET, "max_retries": 0}
        options = {"document": QUERY, "variables": {"since": "{since}"}, "incremental": {"format": "as_is"}}
        yield Harness(
            name="graphql",
            connector=GraphqlSource,
            config=good,
            stream=Wanted("things", options, rows=7),
            cursor=CursorWanted(
                Wanted("things", options, rows=7),
                cursor="changed",
                add_rows=add_rows,
                primary_key=("id",),
                future=Stand("changed", "9999-01-01T00:00:00Z").token,
            ),
            query=QUERY,
            bad_configs=(
                ({**good, "auth_token": f"{SECRET}x"}, AuthenticationError),
                ({**good, "base_url": "http://127.0.0.1:9"}, Unreachable),
                ({**good, "base_url": "ftp://127.0.0.1"}, ConfigError),
            ),
            secrets=(SECRET,),
            lists_streams=False,
        )
