"""GraphQL APIs: one table for each query, its connection read page by page.

The query stands in asgard.yml as `query`, or in a manifest as `document`. Paging follows pageInfo: the query
takes `$after` and asks for `pageInfo { hasNextPage endCursor }`. What an answer has under `errors` is an
error, whatever its status. Mutations are refused: here is only read.

Reference: https://spec.graphql.org/October2021/, https://graphql.github.io/graphql-over-http/draft/,
https://relay.dev/graphql/connections.htm
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from asgard.connectors._api.config import ApiConfig
from asgard.connectors._api.options import ApiStreamOptions
from asgard.connectors._api.source import ApiSource
from asgard.core.errors import ConfigError, QueryError
from asgard.core.source import Example, Feature
from asgard.transport.http import Request

_CHANGES = re.compile(r"^\s*(?:#[^\n]*\n\s*)*(mutation|subscription)\b")


class GraphqlStreamOptions(ApiStreamOptions):
    """One query, and how its answers are read."""

    document: str | None = Field(
        default=None, min_length=1, description="The query, where the table has none: for manifests."
    )
    variables: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="The query's variables; {since} stands for the bound."
    )


class GraphqlSource(ApiSource):
    """One API; every request goes to base_url."""

    type = "graphql"
    Config = ApiConfig
    StreamOptions = GraphqlStreamOptions
    features = Feature.CURSOR | Feature.QUERY
    examples = (
        Example(
            "A connection, page by page",
            {
                "type": "graphql",
                "base_url": "https://api.example.com/graphql",
                "auth_token": "${API_TOKEN}",
                "tables": [
                    {
                        "name": "orders",
                        "query": "query ($after: String) { orders(first: 100, after: $after) "
                        "{ nodes { id total updatedAt } pageInfo { hasNextPage endCursor } } }",
                    }
                ],
            },
        ),
        Example(
            "Only what changed",
            {
                "type": "graphql",
                "base_url": "https://api.example.com/graphql",
                "api_key": "${API_KEY}",
                "tables": [
                    {
                        "name": "issues",
                        "query": "query ($after: String, $since: DateTime) "
                        "{ issues(first: 50, after: $after, since: $since) "
                        "{ nodes { id title updatedAt } pageInfo { hasNextPage endCursor } } }",
                        "variables": {"since": "{since}"},
                        "primary_key": "id",
                        "cursor": "updatedAt",
                        "incremental": {"format": "iso"},
                    }
                ],
            },
            note="Of a first load the variable is left out: the API takes it for null.",
        ),
    )

    def check(self) -> None:
        """Asks for the type of everything, which every API answers."""
        self.http.send(Request("", "POST", body={"query": "{ __typename }"}, repeatable=True), wanted=(400,))

    def resolved(self, name: str, given: Any, query: str | None) -> ApiStreamOptions:
        """The stream's options, its query in the body.

        Raises:
            QueryError: there is no query.
            ConfigError: it would change something.
        """
        options = super().resolved(name, given, None)
        assert isinstance(options, GraphqlStreamOptions)
        document = query or options.document
        if document is None:
            raise QueryError(f"{name} has no query", hint="write `query:` with the GraphQL text")
        if _CHANGES.match(document):
            raise ConfigError("the query is no query", hint="a table is what is read: write `query`")
        body: Mapping[str, Any] = {"query": document, "variables": dict(options.variables)}
        return options.model_copy(
            update={
                "path": options.path or "",
                "method": "POST",
                "body": body,
                "repeatable": True,
                "errors": options.errors or "errors",
                "lift": options.lift or ("node",),
            }
        )


CONNECTOR = GraphqlSource
