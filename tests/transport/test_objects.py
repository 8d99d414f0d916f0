"""Stores that answer wrongly: what is no part of the object that was found is never taken for one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError, DataError, Refused, Unreachable
from asgard.transport.cloud_s3 import S3Connection
from asgard.transport.files import FoundFile, opened
from asgard.transport.objects import Bucket

SECRET = "canary-secret"
Answer = Callable[[int, int], tuple[int, dict[str, str], bytes]]


@contextmanager
def store(answer: Answer) -> Iterator[Bucket]:
    """A bucket whose GET of a range is answered so; everything else has no content."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            start, end = re.findall(r"\d+", self.headers.get("Range", "0-0"))
            status, headers, body = answer(int(start), int(end) + 1)
            self.send_response(status)
            told = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": str(len(body))}
            for name, value in (told | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        given = {"bucket": "b", "endpoint_url": url, "access_key": "a", "secret_key": SECRET}
        yield S3Connection.model_validate(given).open(Cancel())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read(bucket: Bucket) -> bytes:
    with opened(FoundFile("k", "k", 10, 0, etag="first", place=bucket)) as stream:
        return stream.read()


def ranged(start: int, end: int, etag: str, of: int = 10) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{end - 1}/{of}", "ETag": f'"{etag}"'}


def test_a_good_answer() -> None:
    with store(lambda start, end: (206, ranged(start, end, "first"), b"0123456789"[start:end])) as bucket:
        assert read(bucket) == b"0123456789"


def test_a_store_that_knows_no_condition() -> None:
    with (
        store(lambda start, end: (206, ranged(start, end, "second"), b"9876543210"[start:end])) as bucket,
        pytest.raises(DataError, match="changed while it was being read"),
    ):
        read(bucket)


def test_an_object_that_became_shorter() -> None:
    with (
        store(lambda start, end: (206, ranged(start, 5, "first", of=5), b"01234")) as bucket,
        pytest.raises(Unreachable, match="5 bytes came where 10 were asked for"),
    ):
        read(bucket)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (412, "PreconditionFailed", DataError),
        (416, "InvalidRange", DataError),
        (403, "AccessDenied", Refused),
        (403, "SignatureDoesNotMatch", Refused),
        (403, "RequestTimeTooSkewed", ConfigError),
        (301, "PermanentRedirect", ConfigError),
        (400, "AuthorizationHeaderMalformed", ConfigError),
        (400, "InvalidRequest", ConfigError),
    ],
)
def test_what_a_store_says(status: int, code: str, error: type[AsgardError]) -> None:
    body = f"<Error><Code>{code}</Code><Message>says {SECRET} aloud</Message></Error>".encode()
    with store(lambda start, end: (status, {}, body)) as bucket, pytest.raises(error) as caught:
        read(bucket)
    assert caught.value.hint
    assert SECRET not in str(caught.value)
