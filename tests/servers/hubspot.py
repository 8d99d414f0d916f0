"""A stand-in for HubSpot's CRM API, written from what is known of the vendor's: objects, properties, search,
archived ones, limits, errors. It counts what it is asked, and misbehaves when a test says so.

Reference: https://developers.hubspot.com/docs/api/crm/search
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from tests.servers.api import Api, Asked, Reply

MODIFIED = {"contacts": "lastmodifieddate"}
"""By which property an object is dated; the others by hs_lastmodifieddate."""
ALWAYS = ("createdate", "hs_object_id")
TYPES = {
    "contacts": {
        "email": "string", "firstname": "string", "lastname": "string", "phone": "string",
        "company": "string", "lifecyclestage": "enumeration", "age": "number", "vip": "bool",
    },
    "deals": {
        "dealname": "string", "amount": "number", "dealstage": "enumeration", "closedate": "datetime",
        "pipeline": "enumeration",
    },
    "companies": {
        "name": "string", "domain": "string", "industry": "enumeration", "city": "string", "state": "string",
        "country": "string",
    },
    "tickets": {
        "subject": "string", "content": "string", "hs_ticket_priority": "enumeration",
        "hs_ticket_category": "enumeration", "hs_resolution": "enumeration",
    },
}  # fmt: skip
SEARCH_CAP = 10_000
LIMITED = {
    "status": "error", "message": "You have reached your secondly limit.", "errorType": "RATE_LIMIT",
    "correlationId": "c-1", "policyName": "SECONDLY", "requestId": "r-1",
}  # fmt: skip


@dataclass
class Thing:
    """One object."""

    id: int
    properties: dict[str, str | None]
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None


@dataclass
class HubSpot(Api):
    """The server. Use it as a context manager.

    Attributes:
        key: the private app's token.
        limit, seconds: the budget that is enforced; what goes over it is counted in `over_budget`.
        faults: number of a request (from 1) to what happens instead: 429, 500, drop, expire, overlap.
        before: called with the number of a request before it is answered.
    """

    key: str = "canary-hub-71c5"
    limit: int = 100
    seconds: float = 10.0
    faults: Mapping[int, str] = field(default_factory=dict)
    before: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.clock = lambda: self._clock_ms / 1000
        self.things: dict[str, dict[int, Thing]] = {kind: {} for kind in TYPES}
        self.over_budget = 0
        self.tokens_given = 0
        self._token = self.key
        self._expired = False
        self._arrivals: deque[float] = deque()
        self._lock = threading.RLock()
        self._number = 0
        self._clock_ms = 1_700_000_000_000

    def put(self, kind: str, id: int, **properties: str | None) -> None:
        """Makes an object, or changes one."""
        with self._lock:
            self._clock_ms += 100_000
            thing = self.things[kind].setdefault(id, Thing(id, {}, self._clock_ms, self._clock_ms))
            thing.properties.update(properties)
            thing.updated_ms = self._clock_ms

    def archive(self, kind: str, id: int) -> None:
        """Takes an object away, as people do in HubSpot."""
        with self._lock:
            self._clock_ms += 100_000
            self.things[kind][id].archived_ms = self._clock_ms

    def reply(self, asked: Asked) -> Reply:
        """Answers as HubSpot would, unless a fault is due."""
        with self._lock:
            self.asked.append(asked)
            if asked.path == "/oauth/v1/token":
                return self._grant(asked)
            self._number += 1
            if self.before is not None:
                self.before(self._number)
            fault = self.faults.get(self._number, "")
            if fault == "drop":
                return Reply(0)
            if fault == "500":
                return _error(500, "INTERNAL_ERROR", "internal error")
            if fault == "expire":
                self._expired = True
            if fault == "429" or not self._in_budget():
                return Reply(429, LIMITED)
            if self._expired or asked.headers.get("authorization") != f"Bearer {self._token}":
                return _error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired")
            return self._answer(asked, overlap=fault == "overlap")

    def _in_budget(self) -> bool:
        now = time.monotonic()
        while self._arrivals and now - self._arrivals[0] >= self.seconds:
            self._arrivals.popleft()
        self._arrivals.append(now)
        if len(self._arrivals) > self.limit:
            self.over_budget += 1
            return False
        return True

    def _grant(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if (
            form.get("client_secret") != self.key
            or form.get("refresh_token") != f"refresh-{self.tokens_given}"
        ):
            return Reply(
                400, {"status": "error", "error": "invalid_grant", "message": "no such refresh token"}
            )
        self.tokens_given += 1
        self._token, self._expired = f"access-{self.tokens_given}", False
        return Reply(200, {"token_type": "bearer", "access_token": self._token, "expires_in": 1800,
                           "refresh_token": f"refresh-{self.tokens_given}"})  # fmt: skip

    def _answer(self, asked: Asked, *, overlap: bool) -> Reply:
        match asked.path.strip("/").split("/"):
            case ["crm", "v3", "properties", kind] if kind in TYPES:
                return Reply(200, {"results": [_property(name, type) for name, type in _types(kind).items()]})
            case ["crm", "v3", "objects", kind] if kind in TYPES and asked.method == "GET":
                return self._list(kind, asked.query, overlap=overlap)
            case ["crm", "v3", "objects", kind, "search"] if kind in TYPES and asked.method == "POST":
                return self._search(kind, asked.document)
        return _error(404, "OBJECT_NOT_FOUND", f"nothing at {asked.path}")

    def _list(self, kind: str, query: Mapping[str, str], *, overlap: bool) -> Reply:
        limit = int(query.get("limit", "10"))
        if not 1 <= limit <= 100:
            return _error(400, "VALIDATION_ERROR", "limit must be between 1 and 100")
        after = int(query.get("after", "page-0").removeprefix("page-"))
        wanted = [name for name in query.get("properties", "").split(",") if name]
        archived = query.get("archived") == "true"
        ids = sorted(
            id for id, thing in self.things[kind].items() if (thing.archived_ms is not None) == archived
        )
        start = sum(id <= after for id in ids)
        start = max(start - 3, 0) if overlap else start
        page = ids[start : start + limit]
        document: dict[str, Any] = {"results": [self._shown(kind, id, wanted) for id in page]}
        if start + limit < len(ids):
            link = f"{self.url}/crm/v3/objects/{kind}?after=page-{page[-1]}"
            document["paging"] = {"next": {"after": f"page-{page[-1]}", "link": link}}
        told = {
            "Max": self.limit,
            "Interval-Milliseconds": int(self.seconds * 1000),
            "Remaining": self.limit - len(self._arrivals),
        }
        headers = {f"X-HubSpot-RateLimit-{name}": str(value) for name, value in told.items()}
        return Reply(200, document, headers)

    def _search(self, kind: str, body: Mapping[str, Any]) -> Reply:
        limit, start = body.get("limit", 10), int(body.get("after", 0))
        if limit > 200 or start + limit > SEARCH_CAP:
            return _error(400, "VALIDATION_ERROR", "paging past 10,000 results is not allowed")
        found = [
            thing
            for thing in self.things[kind].values()
            if thing.archived_ms is None
            and any(
                all(self._passes(kind, thing, one) for one in group["filters"])
                for group in body["filterGroups"]
            )
        ]
        for sort in reversed(body.get("sorts", [])):
            found.sort(
                key=lambda thing: self._number_of(kind, thing, sort["propertyName"]),
                reverse=sort["direction"] == "DESCENDING",
            )
        page = [self._shown(kind, thing.id, body["properties"]) for thing in found[start : start + limit]]
        document: dict[str, Any] = {"total": len(found), "results": page}
        if start + limit < len(found):
            document["paging"] = {"next": {"after": str(start + limit)}}
        return Reply(200, document)

    def _passes(self, kind: str, thing: Thing, wanted: Mapping[str, str]) -> bool:
        assert isinstance(wanted["value"], str)
        value, bound = self._number_of(kind, thing, wanted["propertyName"]), int(wanted["value"])
        return {"GT": value > bound, "GTE": value >= bound, "LTE": value <= bound}[wanted["operator"]]

    def _number_of(self, kind: str, thing: Thing, name: str) -> int:
        if name == "hs_object_id":
            return thing.id
        assert name == MODIFIED.get(kind, "hs_lastmodifieddate")
        return thing.updated_ms

    def _shown(self, kind: str, id: int, wanted: list[str]) -> dict[str, Any]:
        thing = self.things[kind][id]
        modified = MODIFIED.get(kind, "hs_lastmodifieddate")
        own = {**thing.properties, "createdate": _iso(thing.created_ms), "hs_object_id": str(id),
               modified: _iso(thing.updated_ms)}  # fmt: skip
        names = dict.fromkeys((*wanted, *ALWAYS, modified))
        shown = {
            "id": str(id),
            "properties": {name: own.get(name) for name in names},
            "createdAt": _iso(thing.created_ms),
            "updatedAt": _iso(thing.updated_ms),
            "archived": thing.archived_ms is not None,
        }
        return shown if thing.archived_ms is None else {**shown, "archivedAt": _iso(thing.archived_ms)}


def _types(kind: str) -> dict[str, str]:
    modified = MODIFIED.get(kind, "hs_lastmodifieddate")
    return {**TYPES[kind], "createdate": "datetime", "hs_object_id": "number", modified: "datetime"}


def _property(name: str, type: str) -> dict[str, Any]:
    return {"name": name, "label": name.title(), "type": type, "fieldType": "text", "groupName": "g",
            "description": "", "options": []}  # fmt: skip


def _error(status: int, category: str, message: str) -> Reply:
    return Reply(
        status, {"status": "error", "message": message, "correlationId": "c-1", "category": category}
    )


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
