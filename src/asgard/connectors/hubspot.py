"""HubSpot CRM: contacts, deals, companies, tickets and custom objects.

What the API looks like stands in `manifests/hubspot.json`. A first load, and one without a cursor, lists all
objects; with a cursor the search gives what was modified since, sorted by id, each page behind the last id:
so no page is beyond the 10,000 results that one search gives, and what is modified meanwhile shifts nothing.
Archived objects come in a pass of their own, every time: `archived` is true and `archivedAt` says since when.
Types are those of HubSpot's properties; a number is decimal(38, 9), as no double is exact.

Reference: https://developers.hubspot.com/docs/api/crm/understanding-the-crm,
https://developers.hubspot.com/docs/api/crm/search
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import AliasChoices, Field

from asgard.connectors._api.config import ApiConfig
from asgard.connectors._api.options import ApiStreamOptions
from asgard.connectors._api.source import ApiSource
from asgard.core.secret import Secret
from asgard.core.source import Example

ALWAYS = ("createdate", "hs_object_id")
"""Properties that come whether they are wanted or not, and then with their types."""
_OBJECT = re.compile(r"/?crm/v\d+/objects/([^/?]+)/?")


class HubspotConfig(ApiConfig):
    """Where HubSpot is, and the private app's token."""

    manifest_name = "hubspot"
    bearer_key = True

    base_url: str = Field(
        default="https://api.hubapi.com", min_length=1, description="What every path begins with."
    )
    api_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("api_key", "access_token"),
        description="The private app's token, sent as Bearer; ${HUBSPOT_API_KEY}.",
    )
    rate_limit: float | None = Field(
        default=100, gt=0, description="Most requests within rate_seconds, of all tables together."
    )
    rate_seconds: float = Field(default=10, gt=0, description="Within how many seconds rate_limit is meant.")


class HubspotSource(ApiSource):
    """One account."""

    type = "hubspot"
    Config = HubspotConfig
    StreamOptions = ApiStreamOptions
    examples = (
        Example(
            "Everything, as it is now",
            {
                "type": "hubspot",
                "api_key": "${HUBSPOT_API_KEY}",
                "rate_limit": 100,
                "endpoints": [
                    {"name": "contacts", "path": "/crm/v3/objects/contacts", "frequency": "hourly"},
                    {"name": "deals", "path": "/crm/v3/objects/deals", "frequency": "hourly"},
                    {"name": "companies", "path": "/crm/v3/objects/companies", "frequency": "daily"},
                    {"name": "tickets", "path": "/crm/v3/objects/tickets", "frequency": "hourly"},
                ],
            },
            note="Archived objects have archived: true.",
        ),
        Example(
            "What was modified since the last load, with properties of one's own",
            {
                "type": "hubspot",
                "api_key": "${HUBSPOT_API_KEY}",
                "endpoints": [
                    {
                        "name": "deals",
                        "mode": "merge",
                        "primary_key": "id",
                        "cursor": "hs_lastmodifieddate",
                        "properties": ["dealname", "amount", "hubspot_owner_id"],
                    },
                ],
            },
        ),
    )

    def resolved(self, name: str, given: Any, query: str | None) -> ApiStreamOptions:
        """The options of the object that the path names, whatever the table is called."""
        found = _OBJECT.fullmatch(given.path) if given is not None and given.path else None
        kind = found[1] if found else name
        options = super().resolved(kind, given, query)
        cursor = options.incremental.cursor if options.incremental else None
        always = (*ALWAYS, *((cursor,) if cursor else ()))
        wanted = dict.fromkeys((*options.properties, *always))
        return options.model_copy(update={"label": kind, "properties": tuple(wanted)})


CONNECTOR = HubspotSource
