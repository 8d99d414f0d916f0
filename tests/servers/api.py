"""An HTTP server on loopback whose answers a test decides, with a record of what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer; a body that is no bytes is sent as JSON. Status 0 breaks the connection off."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Answering = Callable[[Asked], Reply]


class Api:
    """The server; paths that nobody answers are 404."""

    Asked = Asked

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.clock: Callable[[], float] = time.time
        self._answers: dict[str, Answering] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, path: str, answer: Answering | Reply | list[Reply]) -> None:
        """Answers a path: always the same, one after the other (the last for ever), or as a function says."""
        if isinstance(answer, Reply):
            self._answers[path] = lambda asked: answer
        elif isinstance(answer, list):
            waiting = list(answer)
            self._answers[path] = lambda asked: waiting.pop(0) if len(waiting) > 1 else waiting[0]
        else:
            self._answers[path] = answer

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        answer = self._answers.get(asked.path)
        return answer(asked) if answer else Reply(404, {"error": f"there is no {asked.path}"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: Api) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, address.path, query, headers, self.rfile.read(length))
        reply = self.server.api.reply(asked)
        if not reply.status:
            self.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer

    def date_time_string(self, timestamp: float | None = None) -> str:
        """What the Date header says: the server's own clock."""
        return super().date_time_string(int(self.server.api.clock()))

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
