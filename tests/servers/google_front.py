"""A front that makes a store of S3 pass for Google's: both speak the same XML, but clients of Google's encode
every sign of a path, and sign in with a token.

Reference: https://cloud.google.com/storage/docs/interoperability
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlencode

import urllib3

from asgard.transport.aws import Keys, signed_params
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY

HOST = "127.0.0.1"
SIGNER = (Keys(ACCESS_KEY, SECRET_KEY), "us-east-1", "s3")
PASSED = ("range", "if-match", "content-type")
HEADERS = ("etag", "last-modified", "content-range", "content-type", "accept-ranges")


@contextmanager
def google_front(url: str, token: str = "canary-token") -> Iterator[str]:
    """The URL at which the store at `url` answers as Google's does, to whoever has the token."""

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {token}":
                self.answer(401, {}, b"<Error><Code>AuthenticationRequired</Code></Error>")
                return
            path, _, query = self.path.partition("?")
            target = f"{url}{quote(unquote(path))}"
            params = dict(parse_qsl(query, keep_blank_values=True))
            signed = signed_params(self.command, target, params, SIGNER, datetime.now(UTC))
            target = f"{target}?{urlencode(signed)}"
            headers = {name: self.headers[name] for name in PASSED if name in self.headers}
            got = urllib3.request(self.command, target, body=body, headers=headers, retries=False)
            told = {name: got.headers[name] for name in HEADERS if name in got.headers}
            length = got.headers.get("content-length", "0") if self.command == "HEAD" else None
            self.answer(got.status, told, got.data, length)

        def answer(
            self, status: int, headers: dict[str, str], body: bytes, length: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on

    server = ThreadingHTTPServer((HOST, 0), Front)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="google-front", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
