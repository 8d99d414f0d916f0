"""A way to an object store on which answers get lost: an HTTP proxy on loopback that knows what a put is.

    with lossy_store(server) as lossy:
        lossy.lose("_delta_log/", Loss.CUT, times=1)
        ... a client of lossy.url: the next put below that key is carried out, and its answer never comes ...
        assert lossy.lost == 1

Requests pass as they are, their host too: signatures stay true. The proxy is a process of its own, because
some clients hold Python's lock while they wait for an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import urllib3

from tests.servers.object_stores import ObjectServer
from tests.servers.postgres import HOST

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}
ORDER = "/-/"
"""Paths below are orders to the proxy itself."""


class Loss(StrEnum):
    """What becomes of a put."""

    CUT = "carried out, and the connection ends without an answer"
    ERROR = "carried out, and answered by 503"
    NEVER = "not carried out, and answered by 503"
    LATE = "the connection ends, and it is carried out when `arrive` is called"


@dataclass(frozen=True)
class LossyStore:
    """The proxy, as tests order it."""

    server: ObjectServer
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def lost(self) -> int:
        """How many puts have suffered since `lose`."""
        return int(self._ordered("lost"))

    def lose(self, part: str, loss: Loss, times: int = -1) -> None:
        """From now on puts to keys with the part in them suffer; so many of them, all for -1."""
        self._ordered("lose", part, loss, times)

    def heal(self) -> None:
        """From now on nothing more is lost; what is late stays so."""
        self._ordered("lose", "", Loss.CUT, 0)

    def arrive(self) -> list[int]:
        """Carries out what is late; the store's answers."""
        return list(self._ordered("arrive"))

    def _ordered(self, *order: Any) -> Any:
        answer = urllib3.request("POST", f"{self.url}{ORDER}", body=json.dumps(order), retries=False)
        return json.loads(answer.data)


@contextmanager
def lossy_store(server: ObjectServer) -> Iterator[LossyStore]:
    """The proxy, for this block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.lossy_store", server.url],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    assert process.stdin
    try:
        yield LossyStore(server, int(process.stdout.readline()))
    finally:
        process.stdin.close()  # it ends with its input
        process.wait(30)
        process.stdout.close()


# ---- in the process of the proxy


@dataclass
class _Road:
    store: str
    lost: int = 0
    rule: tuple[str, Loss] = ("", Loss.CUT)
    left: int = 0
    late: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=20))

    def passed(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        """Status, headers and body of the store's answer."""
        answer = self.pool.urlopen(
            method, f"{self.store}{path}", body=body or None, headers=headers, retries=False,
            redirect=False, decode_content=False,
        )  # fmt: skip
        return answer.status, answer.headers, answer.data

    def struck(self, method: str, path: str) -> Loss | None:
        """What this request suffers."""
        with self.lock:
            part, loss = self.rule
            if method != "PUT" or part not in unquote(path.partition("?")[0]) or not self.left:
                return None
            self.left -= 1
            self.lost += 1
            return loss

    def ordered(self, name: str, *given: Any) -> Any:
        """Does what a test wants."""
        if name == "lose":
            with self.lock:
                self.rule, self.left, self.lost = (given[0], Loss(given[1])), given[2], 0
        if name == "arrive":
            late, self.late = self.late, []
            return [self.passed(*one)[0] for one in late]
        return self.lost


def _handler(road: _Road) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = (self.command, self.path, body, dict(self.headers.items()))
            if self.path == ORDER:
                return self._answer(200, {}, json.dumps(road.ordered(*json.loads(body))).encode())
            loss = road.struck(self.command, self.path)
            if loss is Loss.LATE:
                road.late.append(request)
            answer = (503, {}, b"") if loss in (Loss.LATE, Loss.NEVER) else road.passed(*request)
            if loss in (Loss.CUT, Loss.LATE):
                self.close_connection = True
                return None
            return self._answer(*((503, {}, b"") if loss is Loss.ERROR else answer))

        def _answer(self, status: int, headers: Any, data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            # A HEAD tells the size of what it does not send.
            size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", size)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Handler


def _serve(store: str) -> None:
    listener = ThreadingHTTPServer((HOST, 0), _handler(_Road(store)))
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    print(listener.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
