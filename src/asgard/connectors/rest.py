"""REST APIs that answer in JSON or CSV: one table for each endpoint, read page by page.

The endpoints stand in asgard.yml, or in a manifest beside it. Everything else - signing in, paging, types,
increments - is what all APIs share: `_api.source` and its neighbours.

Reference: https://www.rfc-editor.org/rfc/rfc9110, https://www.rfc-editor.org/rfc/rfc8288 (Link)
"""

from __future__ import annotations

from asgard.connectors._api.config import ApiConfig
from asgard.connectors._api.options import ApiStreamOptions
from asgard.connectors._api.source import ApiSource
from asgard.core.source import Example


class RestSource(ApiSource):
    """One API."""

    type = "rest"
    Config = ApiConfig
    StreamOptions = ApiStreamOptions
    examples = (
        Example(
            "Two endpoints of an open API",
            {
                "type": "rest",
                "base_url": "https://api.example.com/v1",
                "endpoints": [
                    {"name": "airlines"},
                    {"name": "airports", "path": "/geo/airports", "records": "data.items"},
                ],
            },
        ),
        Example(
            "With a token and numbered pages",
            {
                "type": "rest",
                "base_url": "https://api.example.com/v2",
                "auth_token": "${API_TOKEN}",
                "rate_limit": 10,
                "endpoints": [
                    {
                        "name": "orders",
                        "path": "/orders",
                        "params": {"sort": "id"},
                        "pagination": {"type": "page", "size_param": "per_page", "size": 100},
                        "columns": {"created_at": "timestamptz", "amount": "decimal(18, 2)"},
                    }
                ],
            },
            note="Sorted by something that does not change, no record moves to another page meanwhile.",
        ),
        Example(
            "Only what changed, and the lines of each order",
            {
                "type": "rest",
                "base_url": "https://api.example.com/v2",
                "token_url": "https://login.example.com/oauth/token",
                "client_id": "loader",
                "client_secret": "${CLIENT_SECRET}",
                "endpoints": [
                    {
                        "name": "orders",
                        "primary_key": "id",
                        "cursor": "updated_at",
                        "incremental": {"param": "updated_since", "format": "iso"},
                    },
                    {
                        "name": "lines",
                        "path": "/orders/{parent.id}/lines",
                        "parent": {"path": "/orders", "include": {"order_id": "id"}},
                    },
                ],
            },
        ),
    )


CONNECTOR = RestSource
