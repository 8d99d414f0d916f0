"""A stand-in for an Airbyte server: the public API v1, written from its specification.

Every request is held against `OPERATIONS`, which says in our own words what the specification says of the
operations that Asgard uses; what it does not name is refused with 400. tests/reference holds what was asked
and answered against the specification itself. Secrets in answers are stars, as Airbyte's are.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.api import Api, Asked, Reply

PREFIX = "/api/public/v1"
CLIENT_ID = "asgard-application"
CLIENT_SECRET = "canary-airbyte-7d31"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PAGE = {"limit", "offset"}
ENDED = ("succeeded", "failed", "cancelled")
JOB_TYPES = ("sync", "reset", "refresh", "clear")
OPTIONS_OF_CONNECTIONS = {
    "name", "configurations", "schedule", "namespaceDefinition", "namespaceFormat", "prefix",
    "nonBreakingSchemaUpdatesBehavior", "status", "tags",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """What may be asked.

    Attributes:
        query: names that the query may have.
        required, optional: names in the body; without both there is no body.
    """

    query: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def _ends() -> Iterator[tuple[str, Operation]]:
    for kind in ("source", "destination"):
        yield f"GET /{kind}s", Operation(frozenset({*PAGE, "workspaceIds", "includeDeleted"}))
        yield (
            f"POST /{kind}s",
            Operation(
                required=frozenset({"name", "workspaceId", "configuration"}),
                optional=frozenset({"definitionId", "secretId"} if kind == "source" else {"definitionId"}),
            ),
        )
        yield f"GET /{kind}s/{{id}}", Operation()
        yield f"PUT /{kind}s/{{id}}", Operation(required=frozenset({"name", "configuration"}))
        yield f"DELETE /{kind}s/{{id}}", Operation()


OPERATIONS = {
    "POST /applications/token": Operation(
        required=frozenset({"client_id", "client_secret", "grant_type"}), optional=frozenset({"grant-type"})
    ),
    "GET /workspaces": Operation(frozenset({*PAGE, "workspaceIds", "includeDeleted"})),
    **dict(_ends()),
    "GET /connections": Operation(frozenset({*PAGE, "workspaceIds", "tagIds", "includeDeleted"})),
    "POST /connections": Operation(
        required=frozenset({"sourceId", "destinationId"}), optional=frozenset(OPTIONS_OF_CONNECTIONS)
    ),
    "GET /connections/{id}": Operation(),
    "PATCH /connections/{id}": Operation(optional=frozenset(OPTIONS_OF_CONNECTIONS)),
    "DELETE /connections/{id}": Operation(),
    "GET /jobs": Operation(
        frozenset({*PAGE, "connectionId", "jobType", "workspaceIds", "status", "createdAtStart",
                   "createdAtEnd", "updatedAtStart", "updatedAtEnd", "orderBy"})
    ),
    "POST /jobs": Operation(required=frozenset({"connectionId", "jobType"})),
    "GET /jobs/{id}": Operation(),
    "DELETE /jobs/{id}": Operation(),
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What goes wrong once.

    Attributes:
        reply: what is answered; status 0 breaks off.
        done: the deed is done before.
    """

    reply: Reply
    done: bool = False


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    operation: str
    asked: Asked
    reply: Reply


@dataclass
class _Job:
    id: int
    type: str
    connection: str
    statuses: list[str]
    looks: int = 0


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class State:
    """What the server has; lists of documents by id."""

    workspaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: dict[str, dict[str, Any]] = field(default_factory=dict)
    destination: dict[str, dict[str, Any]] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[int, _Job] = field(default_factory=dict)


class AirbyteServer(Api):
    """The server. Everything that a test may turn is an attribute.

    Attributes:
        statuses: those that the next jobs pass through, one a look; the last stays.
        wrong: why the next configuration is not taken, None for one that is.
        most_rows: of a page, whatever is asked for.
        outer_url: what links to next pages begin with.
        delays_seconds: by operation, how long its answer takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.exchanges: list[Exchange] = []
        self.statuses = ["pending", "running", "succeeded"]
        self.wrong: str | None = None
        self.life_seconds = 900
        self.tokens_given = 0
        self.most_rows = 100
        self.delays_seconds: dict[str, float] = {}
        self.outer_url = "http://airbyte-server-svc:8001/api/public/v1"
        self._tokens: set[str] = set()
        self._faults: dict[str, list[Fault]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def workspace(self, name: str) -> str:
        """Makes a workspace."""
        found = {"workspaceId": self._uuid(), "name": name, "dataResidency": "auto", "notifications": {}}
        self.state.workspaces[found["workspaceId"]] = found
        return found["workspaceId"]

    def fail(self, operation: str, *faults: Fault) -> None:
        """The next requests of this operation go wrong, one after the other."""
        assert operation in OPERATIONS
        self._faults.setdefault(operation, []).extend(faults)

    def expire_tokens(self) -> None:
        """Takes no token that was given so far."""
        self._tokens.clear()

    def asked_for(self, operation: str) -> list[Asked]:
        """The requests of an operation."""
        return [one.asked for one in self.exchanges if one.operation == operation]

    def reply(self, asked: Asked) -> Reply:
        operation, given_id = _operation(asked)
        time.sleep(self.delays_seconds.get(operation or "", 0))
        with self._lock:
            self.asked.append(asked)
            if operation is None:
                return _problem(404, f"no operation {asked.method} {asked.path}")
            faults = self._faults.get(operation)
            fault = faults.pop(0) if faults else None
            if fault is not None and not fault.done:
                return fault.reply
            try:
                reply = self._answer(operation, given_id, asked)
            except _Refused as refused:
                reply = _problem(refused.status, refused.detail)
            self.exchanges.append(Exchange(operation, asked, reply))
            return reply if fault is None else fault.reply

    def _answer(self, operation: str, given_id: str, asked: Asked) -> Reply:
        body = _checked(operation, asked)
        method, path = operation.split(" ")
        if path == "/applications/token":
            return self._token(body)
        if asked.headers.get("authorization") not in self._tokens:
            raise _Refused(401, "The API key in the Authorization header is invalid.")
        noun = path.split("/")[1]
        if noun == "workspaces":
            return self._page("workspaces", list(self.state.workspaces.values()), asked)
        if noun == "jobs":
            return self._jobs(method, given_id, asked, body)
        if noun == "connections":
            return self._connections(method, given_id, asked, body)
        return self._ends(noun.removesuffix("s"), method, given_id, asked, body)

    def _token(self, body: Mapping[str, Any]) -> Reply:
        if body["client_secret"] != CLIENT_SECRET or body["client_id"] != CLIENT_ID:
            raise _Refused(403, f"no application {body['client_id']} with {body['client_secret']}")
        self.tokens_given += 1
        token = f"airbyte-token-{self.tokens_given}"
        self._tokens.add(f"Bearer {token}")
        return Reply(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.life_seconds})

    def _ends(self, kind: str, method: str, given_id: str, asked: Asked, body: Mapping[str, Any]) -> Reply:
        there: dict[str, dict[str, Any]] = getattr(self.state, kind)
        if method == "GET" and not given_id:
            return self._page(f"{kind}s", self._within(there.values(), asked), asked)
        if method == "POST":
            configuration = dict(body["configuration"])
            type_name = configuration.pop(f"{kind}Type", None)
            if body["workspaceId"] not in self.state.workspaces:
                raise _Refused(404, "no such workspace")
            if not isinstance(type_name, str):
                raise _Refused(400, f"{kind}Type or definitionId must be given")
            self._take(configuration)
            found = {
                f"{kind}Id": self._uuid(), "name": body["name"], f"{kind}Type": type_name,
                "definitionId": self._uuid(), "workspaceId": body["workspaceId"],
                "configuration": configuration, "createdAt": 1_760_000_000,
            }  # fmt: skip
            there[found[f"{kind}Id"]] = found
            return Reply(200, _masked(found))
        found = _known(there, given_id)
        if method == "DELETE":
            del there[given_id]
            return Reply(204, b"")
        if method == "PUT":
            self._take(body["configuration"])
            found |= {"name": body["name"], "configuration": dict(body["configuration"])}
        return Reply(200, _masked(found))

    def _take(self, configuration: Mapping[str, Any]) -> None:
        if self.wrong is not None:
            raise _Refused(422, self.wrong.format(**configuration))

    def _connections(self, method: str, given_id: str, asked: Asked, body: Mapping[str, Any]) -> Reply:
        there = self.state.connections
        if method == "GET" and not given_id:
            return self._page("connections", self._within(there.values(), asked), asked)
        if method == "POST":
            source = _known(self.state.source, body["sourceId"])
            _known(self.state.destination, body["destinationId"])
            found = {
                "connectionId": self._uuid(), "name": "a connection", "workspaceId": source["workspaceId"],
                "status": "active", "schedule": {"scheduleType": "manual"}, "configurations": {"streams": []},
                "createdAt": 1_760_000_000, "tags": [], **body,
            }  # fmt: skip
            there[found["connectionId"]] = found
            return Reply(200, found)
        found = _known(there, given_id)
        if method == "DELETE":
            del there[given_id]
            return Reply(204, b"")
        if method == "PATCH":
            found |= body
        return Reply(200, found)

    def _jobs(self, method: str, given_id: str, asked: Asked, body: Mapping[str, Any]) -> Reply:
        jobs = self.state.jobs
        if method == "POST":
            connection = _known(self.state.connections, body["connectionId"])["connectionId"]
            if any(job.connection == connection and job.statuses[0] not in ENDED for job in jobs.values()):
                raise _Refused(409, "A sync is already running for: " + connection)
            job = _Job(1000 + next(self._ids), body["jobType"], connection, list(self.statuses))
            jobs[job.id] = job
            return Reply(200, _told(job))
        if not given_id:
            found = [
                j for j in jobs.values() if j.connection == asked.query.get("connectionId", j.connection)
            ]
            if asked.query.get("orderBy", "createdAt|ASC").endswith("|DESC"):
                found.reverse()
            return self._page("jobs", [_told(job) for job in found], asked)
        if int(given_id) not in jobs:
            raise _Refused(404, f"Could not find a job for {given_id}")
        job = jobs[int(given_id)]
        if method == "DELETE" and job.statuses[0] not in ENDED:
            job.statuses = [job.statuses[0], "cancelled"]
        elif method == "GET":
            job.looks += 1
            job.statuses = job.statuses[1:] or job.statuses
        return Reply(200, _told(job))

    def _within(self, found: Any, asked: Asked) -> list[dict[str, Any]]:
        wanted = asked.query.get("workspaceIds")
        return [_masked(one) for one in found if wanted in (None, one["workspaceId"])]

    def _page(self, noun: str, found: list[dict[str, Any]], asked: Asked) -> Reply:
        limit, offset = int(asked.query.get("limit", "20")), int(asked.query.get("offset", "0"))
        rows = min(limit, self.most_rows)
        body: dict[str, Any] = {"data": found[offset : offset + rows], "previous": "", "next": ""}
        if offset + rows < len(found):
            body["next"] = f"{self.outer_url}/{noun}?limit={rows}&offset={offset + rows}"
        return Reply(200, body)

    def _uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"airbyte/{next(self._ids)}"))


def _operation(asked: Asked) -> tuple[str | None, str]:
    path = asked.path.removeprefix(PREFIX)
    if path == asked.path:
        return None, ""
    parts = path.split("/")
    given_id = parts[2] if len(parts) == 3 and parts[1] != "applications" else ""
    operation = f"{asked.method} /{parts[1]}/{{id}}" if given_id else f"{asked.method} {path}"
    return (operation if operation in OPERATIONS else None), given_id


def _checked(operation: str, asked: Asked) -> dict[str, Any]:
    """The body, held against what the operation takes."""
    rule = OPERATIONS[operation]
    if strange := set(asked.query) - rule.query:
        raise _Refused(400, f"no parameters {strange}")
    if not 1 <= int(asked.query.get("limit", "20")) <= 100 or int(asked.query.get("offset", "0")) < 0:
        raise _Refused(400, "limit is 1 to 100, offset at least 0")
    if not rule.required and not rule.optional:
        if asked.body:
            raise _Refused(400, "no body is expected")
        return {}
    if asked.headers.get("content-type") != "application/json":
        raise _Refused(400, "the body is no JSON")
    body: dict[str, Any] = asked.document
    if missing := rule.required - set(body):
        raise _Refused(400, f"{missing} must be given")
    if strange := set(body) - rule.required - rule.optional:
        raise _Refused(400, f"nobody knows {strange}")
    for name, value in body.items():
        if name.endswith("Id") and not UUID.fullmatch(value):
            raise _Refused(400, f"{name} is no UUID")
        if name == "configuration" and not isinstance(value, dict):
            raise _Refused(400, "a configuration is an object")
    if body.get("jobType", "sync") not in JOB_TYPES:
        raise _Refused(400, "no such jobType")
    return body


def _known(there: dict[str, dict[str, Any]], given_id: str) -> dict[str, Any]:
    if given_id not in there:
        raise _Refused(404, f"Could not find a resource for: {given_id}")
    return there[given_id]


def _masked(found: dict[str, Any]) -> dict[str, Any]:
    if "configuration" not in found:
        return found
    stars = {k: "**********" for k in found["configuration"] if re.search("password|secret", k)}
    return {**found, "configuration": {**found["configuration"], **stars}}


def _told(job: _Job) -> dict[str, Any]:
    told: dict[str, Any] = {
        "jobId": job.id, "status": job.statuses[0], "jobType": job.type, "connectionId": job.connection,
        "startTime": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:08Z", "duration": "PT8S",
    }  # fmt: skip
    if job.statuses[0] not in ("pending", "queued"):
        told |= {"rowsSynced": 100 * job.looks, "bytesSynced": 5000 * job.looks}
    return told


def _problem(status: int, detail: str) -> Reply:
    body = {"status": status, "type": "https://reference.airbyte.com/reference/errors", "title": "refused",
            "detail": detail}  # fmt: skip
    return Reply(status, body, {"Content-Type": "application/problem+json"})
