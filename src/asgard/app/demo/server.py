"""The demo's REST API: one collection, page by page, on loopback; needs nothing but the standard library.

    GET /airlines?page=2&per_page=5
    {"data": [{"carrier": "DL", "name": "..."}, ...], "page": 2, "pages": 4, "next": "http://.../airlines?page=3&..."}

`next` is null on the last page. Everything else is 404, mistaken numbers are 400, both with an `error`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

HOST = "127.0.0.1"
PREFERRED_PORT = 8613
PAGE_ROWS = 5
MOST_PAGE_ROWS = 100

Collections = Mapping[str, Sequence[Mapping[str, Any]]]


@contextmanager
def serving_collections(collections: Collections) -> Iterator[str]:
    """Serves collections by name from a thread of its own until the block is left.

    Yields:
        The address, such as `http://127.0.0.1:8613`; another port where that one is taken.
    """
    server = _server(collections)
    thread = threading.Thread(target=server.serve_forever, name="demo-api", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server(collections: Collections) -> _Server:
    try:
        return _Server(PREFERRED_PORT, collections)
    except OSError:
        return _Server(0, collections)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, collections: Collections) -> None:
        super().__init__((HOST, port), _Handler)
        self.collections = collections


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answers one page of a collection."""
        address = urlsplit(self.path)
        rows = self.server.collections.get(address.path.strip("/"))
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if rows is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"there is no {address.path}"})
            return
        try:
            page, page_rows = int(asked.get("page", "1")), int(asked.get("per_page", PAGE_ROWS))
        except ValueError:
            page = page_rows = 0
        if page < 1 or not 1 <= page_rows <= MOST_PAGE_ROWS:
            self._answer(
                HTTPStatus.BAD_REQUEST, {"error": f"page counts from 1, per_page from 1 to {MOST_PAGE_ROWS}"}
            )
            return
        pages = max(1, -(-len(rows) // page_rows))
        following = f"{address.path}?{urlencode({'page': page + 1, 'per_page': page_rows})}"
        self._answer(
            HTTPStatus.OK,
            {
                "data": rows[(page - 1) * page_rows : page * page_rows],
                "page": page,
                "pages": pages,
                "next": f"http://{self.headers['Host']}{following}" if page < pages else None,
            },
        )

    def _answer(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the demo's screen belongs to the run."""
