"""HTTP: what is asked again and what is not, where secrets go, and every error of urllib3 in our words."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    Bug,
    Cancelled,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.transport import http, http_rules
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.http_rules import asked_wait_seconds, backoff_seconds, metadata_address
from tests.servers.api import Api, Asked, Reply

SECRET = "canary-0b7f42"
Connect = Callable[..., HttpClient]


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients that are closed when the test ends."""
    with ExitStack() as stack:

        def make(settings: HttpSettings, cancel: Cancel | None = None) -> HttpClient:
            made = HttpClient(settings, cancel or Cancel())
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def client(api: Api, connect: Connect) -> Connect:
    """Makes clients of the API."""
    return lambda **settings: connect(HttpSettings(**{"base_url": api.url, **settings}))


def test_an_answer(api: Api, client: Connect) -> None:
    api.on("/v1/x", Reply(200, {"a": 1}, {"Link": '</v1/x?page=2>; rel="next"'}))
    answer = client(base_url=f"{api.url}/v1", params={"k": 1}).send(Request("/x", params={"q": "a b"}))
    assert (answer.status, answer.content) == (200, b'{"a": 1}')
    assert answer.next_link is not None
    assert answer.at(answer.next_link) == f"{api.url}/v1/x?page=2"
    assert api.asked[0].query == {"k": "1", "q": "a b"}
    assert api.asked[0].headers["accept"] == "application/json"


def test_an_answer_that_is_packed(api: Api, client: Connect) -> None:
    api.on("/x", Reply(200, gzip.compress(b"[1]"), {"Content-Encoding": "gzip"}))
    assert client().send(Request("x")).content == b"[1]"
    api.on("/y", Reply(200, b"no gzip", {"Content-Encoding": "gzip"}))
    with pytest.raises(DataError, match="cannot be unpacked"):
        client().send(Request("y"))


def test_a_body_is_json(api: Api, client: Connect) -> None:
    api.on("/x", Reply(200, []))
    client().send(Request("x", "POST", body={"a": [1]}))
    assert (api.asked[0].method, api.asked[0].document) == ("POST", {"a": [1]})


@pytest.mark.parametrize(
    ("status", "error", "attempts"),
    [
        (400, QueryError, 1), (401, AuthenticationError, 1), (403, Refused, 1), (404, QueryError, 1),
        (405, QueryError, 1), (407, Refused, 1), (410, QueryError, 1), (422, QueryError, 1),
        (408, Unreachable, 3), (425, Unreachable, 3), (429, Unreachable, 3), (500, Unreachable, 3),
        (502, Unreachable, 3), (503, Unreachable, 3), (504, Unreachable, 3), (501, Unreachable, 1),
    ],
)  # fmt: skip
def test_statuses(api: Api, status: int, error: type[AsgardError], attempts: int, client: Connect) -> None:
    api.on("/x", Reply(status, {"detail": f"no {SECRET}"}))
    with pytest.raises(error) as caught:
        client(max_retries=2, secrets=(SECRET,)).send(Request("x", params={"token": SECRET, "q": "1"}))
    assert type(caught.value) is error
    assert len(api.asked) == attempts
    assert f"status {status}" in caught.value.what
    assert "detail" in caught.value.what
    assert caught.value.hint
    assert SECRET not in str(caught.value)
    assert "q=1" in caught.value.where["url"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_may_have_been_done_is_not_asked_again(api: Api, method: str, client: Connect) -> None:
    api.on("/busy", [Reply(503), Reply(200, [])])
    api.on("/slow", [Reply(429), Reply(200, [])])
    api.on("/broken", [Reply(0), Reply(200, [])])
    asking = client()
    assert asking.send(Request("slow", method)).status == 200
    for path in ("busy", "broken"):
        if method == "GET":
            assert asking.send(Request(path, method)).status == 200
        else:
            with pytest.raises(Unreachable):
                asking.send(Request(path, method))


def test_the_server_says_how_long_to_wait(api: Api, monkeypatch: pytest.MonkeyPatch, client: Connect) -> None:
    waited: list[float] = []
    monkeypatch.setattr(Cancel, "sleep", lambda self, seconds: waited.append(seconds))
    api.on("/x", [Reply(503, headers={"Retry-After": "2.5"}), Reply(200)])
    client().send(Request("x"))
    assert [int(seconds * 2) for seconds in waited] == [5]
    api.on("/y", Reply(429, headers={"Retry-After": "86400"}))
    with pytest.raises(Unreachable, match="wants us to wait for 86400 s"):
        client().send(Request("y"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2020 07:28:10 GMT"}, 0.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "1792567700"}, 10.0),
        ({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "12"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "later"}, None),
        ({"x-vendor-ratelimit-remaining": "0", "x-vendor-ratelimit-interval-milliseconds": "2500"}, 2.5),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"ratelimit": '"default";r=0;t=7'}, 7.0),
        ({"ratelimit": '"default";r=10;t=7'}, None),
        ({"ratelimit": "limit=100, remaining=20, reset=50"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC).timestamp()
    if "ratelimit-reset" in headers and headers["ratelimit-reset"].startswith("17"):
        headers = {**headers, "ratelimit-reset": str(int(now) + 10)}
    assert asked_wait_seconds(headers, now) == seconds


def test_waits_grow_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.5)
    for attempt, seconds in ((0, 0.5), (1, 1.0), (5, 16.0), (20, 60.0)):
        assert 0.75 * seconds <= backoff_seconds(attempt) <= 1.25 * seconds


def test_the_rate_is_kept(api: Api, client: Connect) -> None:
    api.on("/x", Reply(200, []))
    asking = client(rate_limit=2.5, rate_seconds=0.05)  # two in 0.04 s
    began = time.monotonic()
    threads = [threading.Thread(target=asking.send, args=(Request("x"),)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 4 * 0.04


def test_a_cancelled_client_asks_nothing(api: Api, connect: Connect) -> None:
    cancel = Cancel()
    asking = connect(HttpSettings(api.url), cancel)
    cancel.cancel()
    with pytest.raises(Cancelled):
        asking.send(Request("x"))
    assert api.asked == []


def test_a_timeout(api: Api, client: Connect) -> None:
    def slow(asked: Asked) -> Reply:
        time.sleep(0.3)
        return Reply(200)

    api.on("/x", slow)
    with pytest.raises(Unreachable, match=r"did not answer within 0\.1 s") as caught:
        client(timeout_seconds=0.1, max_retries=1).send(Request("x"))
    assert "timeout_seconds" in caught.value.hint
    assert len(api.asked) == 2


@pytest.mark.parametrize(
    ("base_url", "error", "says"),
    [
        ("http://127.0.0.1:9", Unreachable, "takes no connection"),
        ("http://no-such-host.invalid", Unreachable, "is not known"),
        ("http://169.254.169.254/latest", ConfigError, "clouds give credentials out"),
        ("http://[fd00:ec2::254]", ConfigError, "clouds give credentials out"),
        ("http://[::ffff:169.254.169.254]", ConfigError, "clouds give credentials out"),
        ("http://2852039166", ConfigError, "clouds give credentials out"),
    ],
)
def test_hosts_that_cannot_be_asked(
    base_url: str, error: type[AsgardError], says: str, connect: Connect
) -> None:
    with pytest.raises(error, match=says) as caught:
        connect(HttpSettings(base_url, max_retries=0)).send(Request("x"))
    assert caught.value.hint


@pytest.mark.parametrize(
    "base_url", ["", "api.example.com", "ftp://x", "http://", "https://user:pw@x", "http://a\n"]
)
def test_base_urls_that_are_none(base_url: str, connect: Connect) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        connect(HttpSettings(base_url))
    assert caught.value.hint
    assert "pw" not in str(caught.value)


def test_metadata_addresses_can_be_allowed(
    api: Api, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert metadata_address("127.0.0.1") is None
    assert metadata_address("169.254.1.1") == "169.254.1.1"
    monkeypatch.setattr(http, "metadata_address", lambda host: "169.254.1.1")
    api.on("/x", Reply(200, []))
    with pytest.raises(ConfigError, match="clouds give credentials out"):
        client().send(Request("x"))
    assert client(allow_metadata_addresses=True).send(Request("x")).status == 200


# ---- where secrets go


def test_redirects_stay_with_their_host(api: Api, client: Connect) -> None:
    api.on("/old", Reply(301, headers={"Location": "/new?b=2"}))
    api.on("/new", Reply(200, {"ok": True}))
    asking = client(headers={"Authorization": f"Bearer {SECRET}"}, secrets=(SECRET,))
    assert asking.send(Request("old", params={"a": "1"})).content == b'{"ok": true}'
    assert api.asked[1].query == {"b": "2"}
    with Api() as other:
        api.on("/away", Reply(302, headers={"Location": f"{other.url}/x"}))
        with pytest.raises(ConfigError, match="another host"):
            asking.send(Request("away"))
        with pytest.raises(ConfigError, match="another host"):
            asking.send(Request(f"{other.url}/x"))
        assert other.asked == []


def test_redirects_end(api: Api, client: Connect) -> None:
    api.on("/round", Reply(302, headers={"Location": "/round"}))
    with pytest.raises(ConfigError, match="again and again"):
        client().send(Request("round"))


def test_https_is_not_left(connect: Connect) -> None:
    asking = connect(HttpSettings("https://api.example.com/v1"))
    assert asking.absolute("http://api.example.com/v1/x?page=2") == "https://api.example.com/v1/x?page=2"
    assert asking.absolute("x") == "https://api.example.com/v1/x"
    assert asking.absolute("/x") == "https://api.example.com/v1/x"
    assert asking.absolute("") == "https://api.example.com/v1"
    with pytest.raises(ConfigError):
        asking.absolute("https://api.example.com:444/x")


def test_secrets_are_nowhere(api: Api, connect: Connect) -> None:
    api.on("/x", lambda asked: Reply(400, {"headers": dict(asked.headers), "query": dict(asked.query)}))
    settings = HttpSettings(
        api.url,
        headers={"X-API-Key": SECRET},
        params={"api_key": f"{SECRET}-2", "page": 1},
        basic=("somebody", f"{SECRET}-3"),
        secrets=(SECRET, f"{SECRET}-2"),
    )
    asking = connect(settings)
    with pytest.raises(QueryError) as caught:
        asking.send(Request("x"))
    assert SECRET in api.asked[0].headers["x-api-key"]
    told = str(caught.value) + repr(caught.value.as_dict()) + repr(settings) + repr(asking)
    assert SECRET not in told
    assert "page=1" in told
    assert (
        asking.shown("https://u:p@h/x?access_token=1&page=2") == "https://h/x?access_token=**********&page=2"
    )


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    pem = folder / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
         "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return pem


def test_certificates_are_looked_at(certificate: Path, connect: Connect) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    class Quiet(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Handshakes that fail are the test."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Quiet(("127.0.0.1", 0), Handler)
    plain_port = server.server_address[1]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        settings = HttpSettings(f"https://localhost:{plain_port}", max_retries=0)
        with pytest.raises(Unreachable, match="is not trusted") as caught:
            connect(settings).send(Request("x"))
        assert "ca_file" in caught.value.hint
        trusted = replace(settings, ca_file=str(certificate))
        assert connect(trusted).send(Request("x")).content == b"[]"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(ConfigError, match="has no certificates"):
        connect(replace(settings, ca_file=__file__))


def test_tls_with_a_server_that_has_none(api: Api, client: Connect) -> None:
    with pytest.raises(Unreachable, match="no TLS") as caught:
        client(base_url=api.url.replace("http:", "https:"), max_retries=0).send(Request("x"))
    assert "http://" in caught.value.hint


# ---- every error of urllib3


def exceptions_of_urllib3() -> list[Any]:
    """Each as it may be raised: they take arguments of many kinds, and none of them matters here."""
    found = [getattr(urllib3.exceptions, name) for name in dir(urllib3.exceptions)]
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception)]
    return [kind for kind in kinds if issubclass(kind, urllib3.exceptions.HTTPError)]


@pytest.mark.parametrize(
    "kind", [*exceptions_of_urllib3(), OSError, TimeoutError, ConnectionResetError, ValueError]
)
def test_no_error_of_urllib3_escapes(
    kind: Any, api: Api, monkeypatch: pytest.MonkeyPatch, client: Connect
) -> None:
    error = kind.__new__(kind)
    error.args = (f"no {SECRET}",)
    if issubclass(kind, urllib3.exceptions.HTTPError):
        monkeypatch.setattr(kind, "__str__", lambda self: f"no {SECRET}", raising=False)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    asking = client(max_retries=0, secrets=(SECRET,))
    monkeypatch.setattr(asking._pool, "urlopen", fail)
    with pytest.raises(AsgardError) as caught:
        asking.send(Request("x"))
    assert not isinstance(caught.value, Bug)
    assert caught.value.hint
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is error


# ---- how often, and who waits


def test_what_was_tried_to_the_end_is_not_tried_again_by_the_run(api: Api, client: Connect) -> None:
    api.on("/x", Reply(503))
    with pytest.raises(Unreachable) as caught:
        client(max_retries=1).send(Request("x"))
    assert not caught.value.retryable
    with pytest.raises(Unreachable) as caught:
        client(max_retries=0).send(Request("x"))
    assert caught.value.retryable
    with pytest.raises(Unreachable, match="takes no connection") as caught:
        client(base_url="http://127.0.0.1:9", max_retries=1).send(Request("x"))
    assert not caught.value.retryable


def test_a_post_that_may_be_repeated(api: Api, client: Connect) -> None:
    api.on("/x", [Reply(503), Reply(0), Reply(200, [])])
    assert client().send(Request("x", "POST", body={}, repeatable=True)).status == 200


def test_a_limit_that_lasts_for_the_day_is_not_waited_for(api: Api, client: Connect) -> None:
    api.on("/x", [Reply(429, {"policyName": "SECONDLY"}), Reply(429, {"policyName": "DAILY"}), Reply(200)])
    with pytest.raises(Unreachable, match="DAILY"):
        client(policies={"policyName": {"DAILY": None, "SECONDLY": 0.01}}).send(Request("x"))
    assert len(api.asked) == 2


def test_one_budget_for_all_who_share_an_account(api: Api, client: Connect) -> None:
    came: list[float] = []
    api.on("/x", lambda asked: came.append(time.monotonic()) or Reply(200, []))  # type: ignore[func-returns-value]
    askers = [client(rate_limit=4, rate_seconds=0.3) for _ in range(3)]
    threads = [threading.Thread(target=asker.send, args=(Request("x"),)) for asker in askers * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    came.sort()
    assert len(came) == 12
    assert all(later - earlier >= 0.3 for earlier, later in zip(came, came[4:], strict=False))


def test_a_used_up_limit_makes_everybody_wait(api: Api, client: Connect) -> None:
    headers = {"X-HubSpot-RateLimit-Remaining": "0", "X-HubSpot-RateLimit-Interval-Milliseconds": "250"}
    api.on("/x", [Reply(200, [], headers), Reply(200, [])])
    began = time.monotonic()
    client().send(Request("x"))
    client().send(Request("x"))
    assert time.monotonic() - began >= 0.25


def test_answers_without_end_are_cut_short(
    api: Api, monkeypatch: pytest.MonkeyPatch, client: Connect
) -> None:
    monkeypatch.setattr(http, "MOST_BODY_BYTES", 1000)
    api.on("/x", Reply(200, b"x" * 2000))
    with pytest.raises(DataError, match="more than"):
        client().send(Request("x"))


# ---- the network


def served(*answers: bytes) -> tuple[str, threading.Thread]:
    """A URL whose connections are answered with these bytes, one each, and then cut."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}", thread


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 9\r\n\r\n[1, 2, 3]"


@pytest.mark.parametrize(
    "cut",
    [
        b"", b"HTTP/1.1 2", HEAD, HEAD + b"Content-Length: 9\r\n\r\n[1, 2",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n", b"not HTTP at all\r\n\r\n",
    ],
)  # fmt: skip
def test_an_answer_that_is_cut_off_is_never_taken_for_whole(cut: bytes, connect: Connect) -> None:
    url, thread = served(cut, WHOLE)
    assert connect(HttpSettings(url, max_retries=1)).send(Request("x")).content == b"[1, 2, 3]"
    thread.join()
    url, thread = served(cut)
    with pytest.raises(Unreachable) as caught:
        connect(HttpSettings(url, max_retries=0)).send(Request("x"))
    assert caught.value.hint
    thread.join()


def test_a_proxy_is_used(api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", api.url.replace("http://", f"http://me:{SECRET}@"))
    api.on("/v1/x", Reply(200, []))
    assert connect(HttpSettings("http://shop.invalid/v1")).send(Request("x")).status == 200
    assert api.asked[0].headers["host"] == "shop.invalid"
    assert api.asked[0].headers["proxy-authorization"].startswith("Basic ")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert connect(HttpSettings(f"{api.url}/v1")).send(Request("x")).status == 200
    assert "proxy-authorization" not in api.asked[1].headers
