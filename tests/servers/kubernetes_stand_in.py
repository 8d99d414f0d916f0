"""A stand-in for Kubernetes' API, where the real one is too heavy or cannot: it has logs of pods.

Written from what the real API server answers, which the tests marked `cluster` hold it to: they are the same
tests. It keeps objects, knows names that are taken, pages, answers in the words of `Status`, and serves TLS.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from tests.servers import postgres
from tests.servers.kubernetes import ADMIN_TOKEN, Cluster

KINDS = {
    ("api/v1", "configmaps"): "ConfigMap",
    ("api/v1", "events"): "Event",
    ("api/v1", "pods"): "Pod",
    ("api/v1", "secrets"): "Secret",
    ("apis/sparkoperator.k8s.io/v1beta2", "sparkapplications"): "SparkApplication",
}
PATH = re.compile(r"/(apis?/.+?)/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/(status|log))?")
Said = tuple[int, dict[str, Any] | str]


@dataclass(frozen=True)
class StandIn(Cluster):
    """A running stand-in.

    Attributes:
        logs: what pods say, by name.
        refused: verb and resource that nobody may.
        failing: statuses that the next requests are answered with, whatever they ask.
        losing: the same, after what they ask was done.
        asked: method and path of every request.
    """

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    failing: list[int] = field(default_factory=list)
    losing: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def namespace(self) -> str:
        return f"t-{uuid.uuid4().hex[:12]}"

    def answer(self, method: str, target: str, token: str, body: dict[str, Any]) -> Said:
        """What a request is answered with."""
        address = urlsplit(target)
        self.asked.append((method, address.path))
        if self.failing:
            return _wished(self.failing.pop(0))
        said = self._done(method, address, token, body)
        return _wished(self.losing.pop(0)) if self.losing else said

    def _done(self, method: str, address: SplitResult, token: str, body: dict[str, Any]) -> Said:
        if token != f"Bearer {ADMIN_TOKEN}":
            return 401, _status(401, "Unauthorized", "Unauthorized")
        found = PATH.fullmatch(address.path)
        if found is None or (found[1], found[3]) not in KINDS:
            return 404, "404 page not found"
        _, namespace, plural, name, below = found.groups()
        resource = f"{plural}/{below}" if below else plural
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(method, "get" if name else "list")
        if (verb, resource) in self.refused:
            message = f'{resource} is forbidden: User "u" cannot {verb} resource "{resource}"'
            return 403, _status(403, "Forbidden", message, kind=plural)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        if below == "log":
            return self._log(namespace, str(name), query)
        if verb == "list":
            return self._listed(namespace, plural, query)
        if verb == "create":
            return self._created(namespace, plural, KINDS[found[1], plural], body)
        key = (namespace, plural, str(name))
        if key not in self.objects:
            return 404, _status(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
        if verb == "delete":
            del self.objects[key]
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        if verb == "patch":
            _merge(self.objects[key], body)
        return 200, self.objects[key]

    def _created(self, namespace: str, plural: str, kind: str, body: dict[str, Any]) -> Said:
        name = body["metadata"]["name"]
        key = (namespace, plural, name)
        if key in self.objects:
            return 409, _status(409, "AlreadyExists", f'{plural} "{name}" already exists', name=name)
        about = {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self.objects[key] = {**body, "kind": kind, "metadata": {**body["metadata"], **about}}
        self.objects[key].pop("status", None)  # a resource of its own
        return 201, self.objects[key]

    def _listed(self, namespace: str, plural: str, query: dict[str, str]) -> Said:
        chosen = query.get("fieldSelector", "").removeprefix("involvedObject.name=")
        found = [
            one
            for (where, kind, _), one in sorted(self.objects.items())
            if (where, kind) == (namespace, plural)
            and chosen in ("", (one.get("involvedObject") or {}).get("name"))
        ]
        begin, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        rest = {"continue": str(begin + limit)} if begin + limit < len(found) else {}
        return 200, {"kind": "List", "metadata": rest, "items": found[begin : begin + limit]}

    def _log(self, namespace: str, pod: str, query: dict[str, str]) -> Said:
        if pod not in self.logs:
            return 404, _status(404, "NotFound", f'pods "{pod}" not found', name=pod, kind="pods")
        if query["container"] != "spark-kubernetes-driver":
            message = f"container {query['container']} is not valid for pod {pod}"
            return 400, _status(400, "BadRequest", message)
        lines = self.logs[pod].splitlines(keepends=True)[-int(query["tailLines"]) :]
        return 200, "".join(lines)[: int(query["limitBytes"])]


@contextmanager
def kubernetes_stand_in(folder: Path) -> Iterator[StandIn]:
    """A stand-in for this block alone.

    Args:
        folder: takes its certificates.
    """
    postgres.make_certificates(folder, postgres.Account())
    server = _Server(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    stand_in = StandIn(f"https://127.0.0.1:{server.server_address[1]}", str(folder / "ca.crt"), folder)
    server.stand_in = stand_in
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stand_in: StandIn


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(length) or b"{}")
        stand_in = self.server.stand_in
        status, said = stand_in.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
        content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *words: Any) -> None:
        """Says nothing."""


def _wished(code: int) -> Said:
    return code, _status(code, "InternalError", "as the test wishes")


def _status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    about = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**about, "message": message, "reason": reason, "details": details, "code": code}


def _merge(there: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            _merge(there[key], value)
        else:
            there[key] = value
