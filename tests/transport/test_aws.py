"""Who we are at AWS: keys from every place, in the right order, and signatures as AWS counts them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, ConfigError
from asgard.transport import aws
from asgard.transport.aws import Identity, Keys, RoleKeys, found_keys, signed_params
from asgard.transport.cloud_s3 import S3Connection
from tests.servers.object_stores import shared_store

CANARY = "canary-secret"
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything, and an environment without AWS."""
    for name in [*os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path


def write(home: Path, credentials: str = "", config: str = "") -> None:
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)


def found(**identity: Any) -> Keys | None:
    return found_keys(Identity(**identity), Cancel())


# ---- where keys are


def test_the_order_of_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found() is None
    write(home, "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n[other]\n"
          "aws_access_key_id=OTHER\naws_secret_access_key=s\naws_session_token=t\n",
          "[profile other]\nregion = eu-west-1\nendpoint_url = http://minio:9000\n")  # fmt: skip
    assert found() == Keys("FILE", "s")
    assert found(profile="other") == Keys("OTHER", "s", "t")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert found() == Keys("OTHER", "s", "t")
    assert Identity().region_or_default() == "eu-west-1"
    assert S3Connection(bucket="b").endpoint == "http://minio:9000"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-environment")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert found() == Keys("ENV", "s", "of-the-environment")
    assert Identity().region_or_default() == "eu-north-1"
    assert found(profile="other") == Keys("OTHER", "s", "t")
    # Keys of the configuration do not get a token from elsewhere.
    assert found(keys=Keys("CONFIG", "s")) == Keys("CONFIG", "s")
    assert Identity(region="us-west-2").region_or_default() == "us-west-2"


def test_files_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "keys"))
    (home / "keys").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=a%b=c;d#e\n")
    assert found() == Keys("A", "a%b=c;d#e")


@pytest.mark.parametrize(
    ("credentials", "config", "says"),
    [
        ("", "", "there is no AWS profile 'wanted'"),
        ("", "[profile wanted]\nsso_session = company\n", "has no keys, but sso_session"),
        ("", "[profile wanted]\ncredential_process = /bin/give\n", "has no keys, but credential_process"),
        ("", f"[profile wanted]\nrole_arn={ROLE}\nsource_profile=gone\n", "takes its keys from 'gone'"),
        (f"aws_secret_access_key = {CANARY}\n[wanted]", "", "cannot be read"),
    ],
)
def test_profiles_that_cannot_be(home: Path, credentials: str, config: str, says: str) -> None:
    write(home, credentials, config)
    with pytest.raises(ConfigError, match=says) as caught:
        found(profile="wanted")
    assert CANARY not in str(caught.value)
    assert caught.value.hint


# ---- signatures


def test_a_signature_is_the_one_of_the_documentation() -> None:
    """The example of "Authenticating Requests: Using Query Parameters" of S3's documentation."""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    at = datetime(2013, 5, 24, tzinfo=UTC)
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "SIGNED_SECONDS", 86_400)
        told = signed_params("GET", url, {}, (keys, "us-east-1", "s3"), at)
    assert told["X-Amz-Signature"] == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


# ---- roles


def test_a_role_is_assumed(home: Path) -> None:
    url = shared_store("moto").url
    keys = found(keys=Keys("BASE", CANARY), role=ROLE, external_id="x y", sts_endpoint_url=url)
    assert keys is not None
    assert keys.access_key != "BASE"
    assert keys.session_token
    assert keys.expires_at is not None
    assert timedelta(minutes=50) < keys.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    assert CANARY not in repr(keys)
    write(
        home,
        f"[lender]\naws_access_key_id=LENT\naws_secret_access_key={CANARY}\n",
        f"[profile reader]\nrole_arn={ROLE}\nsource_profile=lender\n",
    )
    assert (found(profile="reader", sts_endpoint_url=url) or keys).access_key not in ("LENT", keys.access_key)


def test_keys_of_a_role_are_renewed_before_they_end() -> None:
    url = shared_store("moto").url
    identity = Identity(Keys("BASE", CANARY), role=ROLE, sts_endpoint_url=url)
    old = Keys("OLD", "s", "t", datetime.now(UTC) + timedelta(minutes=2))
    role = RoleKeys(identity, old)
    fresh = role.now()
    assert fresh.access_key != "OLD"
    assert role.now() == fresh
    lost = RoleKeys(Identity(Keys("BASE", CANARY), role=ROLE, sts_endpoint_url="http://127.0.0.1:9"), old)
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        lost.now()
    assert lost.failure is not None


# ---- what reaches the store


@dataclass
class Stub:
    """What was asked of a store that has nothing, of an instance's metadata, of a container's keys."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def signers(self) -> list[str]:
        """The access keys that signed, with their tokens."""
        told = [line for line in self.asked if "Credential=" in line.get("Authorization", "")]
        return [
            line["Authorization"].partition("Credential=")[2].partition("/")[0]
            + ("+" + line["X-Amz-Security-Token"] if "X-Amz-Security-Token" in line else "")
            for line in told
        ]


@contextmanager
def stub_store() -> Iterator[Stub]:
    stub = Stub()
    given = {
        "Code": "Success", "AccessKeyId": "MACHINE", "SecretAccessKey": CANARY, "Token": "lent",
        "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
    }  # fmt: skip
    listing = b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    answers = {
        "/latest/api/token": b"session",
        "/latest/meta-data/iam/security-credentials/": b"reader",
        "/latest/meta-data/iam/security-credentials/reader": json.dumps(given).encode(),
        "/container": json.dumps(given).encode(),
    }

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            stub.asked.append({"path": self.path, **{n.title(): v for n, v in self.headers.items()}})
            body = answers.get(self.path.partition("?")[0], listing)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asks(stub: Stub, **config: Any) -> list[str]:
    stub.asked.clear()
    connection = S3Connection.model_validate({"bucket": "b", "endpoint_url": stub.url, **config})
    assert connection.open(Cancel()).find() == []
    return stub.signers


def test_the_keys_that_sign(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_store() as stub:
        own = {"access_key": "CONFIG", "secret_key": CANARY}
        assert asks(stub, **own) == ["CONFIG"]
        assert asks(stub, **own, session_token="mine") == ["CONFIG+mine"]
        assert asks(stub, anonymous=True) == []
        write(home, f"[default]\naws_access_key_id=FILE\naws_secret_access_key={CANARY}\n")
        assert asks(stub) == ["FILE"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-environment")
        assert asks(stub) == ["ENV+of-the-environment"]
        assert asks(stub, profile="default") == ["FILE"]
        assert asks(stub, **own) == ["CONFIG"]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        assert asks(stub, **own) == ["CONFIG"]


def test_the_keys_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_store() as stub:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", stub.url)
        assert asks(stub) == ["MACHINE+lent"]
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{stub.url}/container")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/dev/null")
        assert asks(stub) == ["MACHINE+lent"]


def test_no_keys_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    connection = S3Connection.model_validate({"bucket": "b", "endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(AuthenticationError, match="there are no credentials") as caught:
        connection.open(Cancel()).check()
    assert "anonymous" in caught.value.hint


def test_the_options_of_other_libraries(home: Path) -> None:
    own = {"access_key": "CONFIG", "secret_key": CANARY, "session_token": "t", "region": "eu-west-1"}
    told = S3Connection.model_validate({"bucket": "b", "endpoint_url": "http://m:9000", **own})
    assert told.storage_options(Cancel()) == {
        "AWS_ACCESS_KEY_ID": "CONFIG", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": "t",
        "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://m:9000",
        "AWS_ENDPOINT_URL_S3": "http://m:9000", "AWS_ALLOW_HTTP": "true", "AWS_SKIP_SIGNATURE": "false",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }  # fmt: skip
    assert CANARY not in repr(told) + told.model_dump_json()
