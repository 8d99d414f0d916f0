"""Addresses at which clouds give credentials out: no way there, by name, redirect or change of DNS."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError, Unreachable
from asgard.transport import http_rules
from asgard.transport.cloud_azure import AzureConnection
from asgard.transport.cloud_gcs import GCSConnection
from asgard.transport.cloud_s3 import S3Connection
from asgard.transport.files import FoundFile, opened
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.http_rules import metadata_address
from tests.servers.api import Api, Reply

Connect = Callable[..., HttpClient]


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients that are closed when the test ends."""
    with ExitStack() as stack:

        def make(settings: HttpSettings) -> HttpClient:
            made = HttpClient(settings, Cancel())
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def client(api: Api, connect: Connect) -> Connect:
    """Makes clients of the API."""
    return lambda **settings: connect(HttpSettings(**{"base_url": api.url, **settings}))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "fe80::1%lo", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:169.254.169.254", "::169.254.169.254",
        "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_addresses_that_give_credentials_out(address: str) -> None:
    assert http_rules.gives_credentials_out(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "100.100.100.201", "2001:db8::1", "64:ff9b::808:808", "::"]
)
def test_addresses_that_do_not(address: str) -> None:
    assert not http_rules.gives_credentials_out(address)


@pytest.mark.parametrize("host", ["0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.254.169.254"])
def test_an_address_in_disguise(host: str) -> None:
    assert metadata_address(host) == "169.254.169.254"


def test_names_of_such_addresses_that_only_a_proxy_knows(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", api.url)
    with pytest.raises(ConfigError, match="clouds give credentials out"):
        connect(HttpSettings("http://Metadata.Google.Internal./computeMetadata/v1")).send(Request("x"))
    assert api.asked == []


@pytest.fixture
def second_thoughts(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets `rebind.test` mean 127.0.0.1 when it is looked up first, and another address ever after."""
    real = socket.getaddrinfo
    looked_up: list[str] = []

    def arrange(then: str) -> None:
        def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
            if host == "rebind.test":
                looked_up.append(host)
                host = "127.0.0.1" if len(looked_up) == 1 else then
            return real(host, *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return arrange


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_means_another_address_once_it_was_checked(
    scheme: str, second_thoughts: Callable[[str], None], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_rules, "_METADATA", (ipaddress.ip_network("127.0.0.2/32"),))
    second_thoughts("127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as server:
        server.settimeout(10)
        url = f"{scheme}://rebind.test:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"rebind\.test is 127\.0\.0\.2, an address at which clouds"):
            connect(HttpSettings(url)).send(Request("latest/meta-data"))
        reached, _ = server.accept()
        with reached:
            assert reached.recv(1) == b"", "nothing is sent there, not even a greeting of TLS"


def test_a_name_that_moves_within_what_may_be_asked(
    api: Api, second_thoughts: Callable[[str], None], connect: Connect
) -> None:
    second_thoughts("127.0.0.1")
    api.on("/x", Reply(200, []))
    url = api.url.replace("127.0.0.1", "rebind.test")
    assert connect(HttpSettings(url)).send(Request("x")).status == 200


@pytest.mark.parametrize(
    "away", ["http://169.254.169.254/latest/meta-data/", "//169.254.169.254/", "http://[fd00:ec2::254]/"]
)
def test_no_answer_leads_to_such_an_address(api: Api, client: Connect, away: str) -> None:
    api.on("/x", Reply(302, headers={"Location": away}))
    with pytest.raises(ConfigError, match="another host"):
        client().send(Request("x"))
    api.on("/page", Reply(200, [], {"Link": f'<{away}>; rel="next"'}))
    answer = client().send(Request("page"))
    assert answer.next_link == away
    with pytest.raises(ConfigError, match="another host"):
        client().send(Request(answer.at(away)))


def test_a_redirect_to_the_same_name_is_looked_at_too(
    api: Api, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection was closed meanwhile, and the name means something else for the next one."""
    api.on("/x", Reply(302, headers={"Location": "/y", "Connection": "close"}))
    api.on("/y", Reply(200, []))
    asking = client(max_retries=0)
    real = http_rules.gives_credentials_out
    looked_at: list[str] = []

    def second_time(address: str) -> bool:
        looked_at.append(address)
        return len(looked_at) > 1 or real(address)

    monkeypatch.setattr("asgard.transport.http_peers.gives_credentials_out", second_time)
    with pytest.raises(ConfigError, match="clouds give credentials out"):
        asking.send(Request("x"))
    assert [asked.path for asked in api.asked] == ["/x"]


# ---- object stores


@contextmanager
def answering(
    host: str, status: int, headers: dict[str, str], body: bytes, trust: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A server that gives one answer to everything: its port, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body)), "ETag": "first"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


ITS_OWN = {"Content-Range": "bytes 0-9/10", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


def object_at(endpoint: str, **more: Any) -> bytes:
    given = {"bucket": "b", "endpoint_url": endpoint, "access_key": "a", "secret_key": "canary", **more}
    bucket = S3Connection.model_validate(given).open(Cancel())
    with opened(FoundFile("k", "k", 10, 0, etag="first", place=bucket)) as stream:
        return stream.read()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_an_object_store_without_tls_leads_nowhere_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asgard.transport.cloud_s3.RETRIES", {"max_retries": 0})
    with answering("127.0.0.2", 206, ITS_OWN, b"credential") as (away, stolen):
        sent = {"Location": f"http://127.0.0.2:{away}/latest/meta-data/iam"}
        with answering("127.0.0.1", 307, sent, b"") as (port, asked):
            with pytest.raises(AsgardError) as refused:
                object_at(f"http://{name}:{port}")
            assert stolen == []
            assert asked != []
            assert isinstance(refused.value, Unreachable | ConfigError)
            assert object_at(f"http://{name}:{port}", allow_metadata_addresses=True) == b"credential"


def test_an_object_store_with_tls_leads_to_nothing_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgard.transport.cloud_s3.RETRIES", {"max_retries": 0})
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with answering("127.0.0.2", 206, ITS_OWN, b"credential") as (away, stolen):
        sent = {"Location": f"http://127.0.0.2:{away}/latest/meta-data/iam"}
        with answering("127.0.0.1", 307, sent, b"", trust) as (port, asked):
            with pytest.raises(AsgardError):
                object_at(f"https://localhost:{port}", ca_file=str(tmp_path / "cert.pem"))
            assert (asked, stolen) == (["/b/k"], [])


def test_an_object_store_in_plain_http_is_read() -> None:
    with answering("127.0.0.1", 206, ITS_OWN, b"0123456789") as (port, _):
        assert object_at(f"http://127.0.0.1:{port}") == b"0123456789"
        assert object_at(f"http://localhost:{port}") == b"0123456789"


def test_a_bucket_in_the_name_of_the_host_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asgard.transport.cloud_s3.RETRIES", {"max_retries": 0})
    with pytest.raises(Unreachable) as unknown:
        object_at("http://store.invalid", path_style=False)
    assert "dns error" in str(unknown.value.__cause__), "its name was looked up: no proxy was asked"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0xa9fea9fe", "metadata.goog"])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (S3Connection, {"access_key": "a", "secret_key": "b"}),
        (GCSConnection, {"anonymous": True}),
        (AzureConnection, {"account_name": "a", "anonymous": True}),
    ],
)
def test_no_object_store_is_at_such_an_address(kind: Any, given: dict[str, Any], host: str) -> None:
    connection = kind.model_validate({"bucket": "b", "endpoint_url": f"http://{host}/x", **given})
    with pytest.raises(ConfigError, match="clouds give credentials out") as refused:
        connection.open(Cancel())
    assert "allow_metadata_addresses" in refused.value.hint
    allowed = {"bucket": "b", "endpoint_url": f"http://{host}/x", "allow_metadata_addresses": True, **given}
    assert kind.model_validate(allowed).open(Cancel()) is not None
