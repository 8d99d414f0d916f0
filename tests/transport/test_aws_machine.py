"""Keys that a pod, a container or an instance is lent, and what is said where it is lent none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError
from asgard.transport.aws import Identity, Keys
from asgard.transport.aws_machine import ROLES, machine_keys
from tests.servers.api import Api, Asked, Reply

CANARY = "c4n4ry-m4ch1ne"
LENT = {
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "secret",
    "Token": "session",
    "Expiration": "2030-01-01T00:00:00Z",
}
KEYS = Keys("ASIA", "secret", "session", datetime(2030, 1, 1, tzinfo=UTC))
STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Result><Credentials>
<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></Result></AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Api]:
    for name in ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Api() as api:
        yield api


def found() -> Keys | None:
    return machine_keys(Identity(), Cancel())


def refused() -> AsgardError:
    with pytest.raises(AuthenticationError) as caught:
        found()
    assert CANARY not in str(caught.value.as_dict())
    return caught.value


def test_a_pod_is_lent_a_role_for_its_token(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{CANARY}\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/reader")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", api.url)
    api.on("/", Reply(200, STS.encode()))
    assert found() == KEYS
    form = parse_qs(api.asked[0].body.decode())
    assert (form["WebIdentityToken"], form["RoleArn"]) == ([CANARY], ["arn:aws:iam::1:role/reader"])
    api.on("/", Reply(400, f"<Error>{CANARY} is expired</Error>".encode()))
    assert "trust policy" in refused().hint
    (tmp_path / "token").unlink()
    assert "cannot be read" in refused().what


def test_a_container_is_lent_keys_by_its_agent(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(CANARY)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{api.url}/v1/credentials?of=us")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    api.on("/v1/credentials", Reply(200, LENT))
    assert found() == KEYS
    assert (api.asked[0].query, api.asked[0].headers["authorization"]) == ({"of": "us"}, CANARY)
    api.on("/v1/credentials", Reply(200, {"Code": "none"}))
    assert "lends no keys" in refused().what


def test_an_instance_is_lent_keys_by_version_2_of_its_metadata(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(reply: Reply) -> object:
        def answer(asked: Asked) -> Reply:
            return reply if asked.headers.get("x-aws-ec2-metadata-token") == CANARY else Reply(401)

        return answer

    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", api.url)
    api.on("/latest/api/token", Reply(200, CANARY.encode()))
    api.on(ROLES, guarded(Reply(200, b"reader\n")))  # type: ignore[arg-type]
    api.on(f"{ROLES}reader", guarded(Reply(200, LENT)))  # type: ignore[arg-type]
    assert found() == KEYS
    api.on(ROLES, Reply(404))
    assert found() is None


def test_a_machine_elsewhere_is_lent_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    assert found() is None
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", api.url)
    assert found() is None
    assert not api.asked
