"""The stand-in for HubSpot answers as the vendor's own schemas say, on every endpoint that the tests use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from asgard.connectors.hubspot import HubspotConfig, HubspotSource
from tests.connectors.reading import load
from tests.servers.api import Asked, Reply
from tests.servers.hubspot import TYPES, HubSpot

MODIFIED = {"contacts": "lastmodifieddate"}


def answer_schema(vendor: Any, kind: str, asked: Asked) -> dict[str, Any] | None:
    """The schema of the answer to a request; None for endpoints that the vendor's file does not have."""
    known = vendor["objects"][kind]
    for endpoint in known["endpoints"]:
        if endpoint["method"] == asked.method and endpoint["path"] == asked.path:
            schemas = known["schemas"]
            for schema in schemas.values():
                properties = schema["properties"].get("properties", {})
                if properties.get("additionalProperties") == {"type": "string"}:
                    properties["additionalProperties"] = {"type": ["string", "null"]}  # an empty one is null
            return {"$ref": f"#/schemas/{endpoint['responses']['200']}", "schemas": schemas}
    return None


class Watched(HubSpot):
    """Every answer is looked at."""

    seen: dict[tuple[str, str], int]
    vendor: Any

    def _answer(self, asked: Asked, *, overlap: bool) -> Reply:
        reply = super()._answer(asked, overlap=overlap)
        kind = asked.path.strip("/").split("/")[3]
        schema = answer_schema(self.vendor, kind, asked)
        if schema is not None:
            jsonschema.validate(reply.body, schema)
            self.seen[asked.method, asked.path] = self.seen.get((asked.method, asked.path), 0) + 1
        else:
            assert asked.path == f"/crm/v3/properties/{kind}"
        return reply


@pytest.mark.parametrize("kind", list(TYPES))
def test_answers_are_the_vendors(reference: Path, kind: str) -> None:
    text = next(iter(TYPES[kind]))
    with Watched(limit=10_000) as hubspot:
        hubspot.seen = {}
        schemas = reference / "openapi" / "hubspot" / "crm-v3-schemas.json"
        hubspot.vendor = json.loads(schemas.read_text())
        for number in range(1, 120):
            hubspot.put(kind, number, **{text: f"n{number}"})
        hubspot.archive(kind, 7)
        config = HubspotConfig.model_validate(
            {"base_url": hubspot.url, "api_key": hubspot.key, "rate_limit": 10_000, "max_retries": 0}
        )
        with HubspotSource(config, "crm") as source:
            how = {"cursor": MODIFIED.get(kind, "hs_lastmodifieddate"), "primary_key": ("id",)}
            first = load(source, kind, **how)
            hubspot.put(kind, 3, **{text: "changed"})
            load(source, kind, since=first.token, **how)
        assert len(first.rows) == 119
        assert hubspot.seen[("GET", f"/crm/v3/objects/{kind}")] >= 3
        assert hubspot.seen[("POST", f"/crm/v3/objects/{kind}/search")] >= 2
