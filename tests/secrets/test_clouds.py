"""Kubernetes, AWS, Azure and Google: moto for AWS, stand-ins over HTTP for the others."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Unreachable
from asgard.core.secret import SecretStore
from asgard.secrets import aws, azure, gcp, k8s
from asgard.secrets.surroundings import Surroundings
from asgard.transport.aws import Keys, signed_call
from tests.servers.api import Api, Asked, Reply
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, shared_store

CANARY = "c4n4ry-cl0ud-90ad"


def read(store: SecretStore, name: str) -> str:
    return store.read(name).get_secret_value()


def refused(store: SecretStore, name: str, kind: type[AsgardError]) -> AsgardError:
    """The error, of that very class, without a secret in it."""
    with pytest.raises(kind) as caught:
        store.read(name)
    assert type(caught.value) is kind
    assert CANARY not in str(caught.value.as_dict())
    return caught.value


# ---- Kubernetes


@dataclass(frozen=True)
class Cluster:
    """An API server behind TLS, and the service account of a pod in it."""

    api: Api
    account: Path

    def store(self, surroundings: Surroundings) -> k8s.KubernetesSecrets:
        return k8s.KubernetesSecrets(surroundings, self.account)


@pytest.fixture
def cluster(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text(f"{CANARY}.token\n")
    (account / "namespace").write_text("prod")
    key_file = _certificate(account / "ca.crt")
    with Api() as api:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "ca.crt", key_file)
        api._server.socket = context.wrap_socket(api._server.socket, server_side=True)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api._server.server_address[1]))
        api.on("/api/v1/namespaces/prod/secrets/shop", _kubernetes_secret)
        api.on("/api/v1/namespaces/other/secrets/shop", Reply(403, {"kind": "Status", "code": 403}))
        yield Cluster(api, account)


def _kubernetes_secret(asked: Asked) -> Reply:
    if asked.headers.get("authorization") != f"Bearer {CANARY}.token":
        return Reply(401, {"kind": "Status", "code": 401})
    data = {
        "password": base64.b64encode(CANARY.encode()).decode(),
        "picture": base64.b64encode(b"\xff").decode(),
    }
    return Reply(200, {"kind": "Secret", "data": data})


def _certificate(file: Path) -> Path:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = file.with_suffix(".key")
    key_file.write_bytes(_pem(key))
    return key_file


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_secret_of_the_cluster(cluster: Cluster, surroundings: Surroundings) -> None:
    store = cluster.store(surroundings)
    assert read(store, "shop/password") == CANARY
    assert read(store, "prod/shop/password") == CANARY
    assert len(cluster.api.asked) == 1
    assert refused(store, "shop/none", ConfigError).hint == "it has: password, picture"
    assert "is no text" in refused(store, "shop/picture", ConfigError).what


def test_what_the_cluster_refuses(cluster: Cluster, surroundings: Surroundings) -> None:
    store = cluster.store(surroundings)
    assert "resourceNames: [shop]" in refused(store, "other/shop/password", Refused).hint
    assert "no secret prod/none" in refused(store, "none/password", ConfigError).what
    (cluster.account / "token").write_text("exchanged meanwhile")
    refused(store, "shop/password", AuthenticationError)


def test_another_authority_is_not_believed(
    cluster: Cluster, surroundings: Surroundings, tmp_path: Path
) -> None:
    _certificate(tmp_path / "serviceaccount" / "stranger.crt")
    (cluster.account / "ca.crt").write_bytes((cluster.account / "stranger.crt").read_bytes())
    moved = cluster.account.rename(tmp_path / "another")  # authorities are read once for each file
    assert (
        "not trusted"
        in refused(k8s.KubernetesSecrets(surroundings, moved), "shop/password", Unreachable).what
    )


def test_outside_of_a_pod_or_without_its_account_it_is_said_so(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = k8s.KubernetesSecrets(surroundings, tmp_path)
    assert "inside of a pod" in refused(store, "shop/password", ConfigError).hint
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    assert "automountServiceAccountToken" in refused(store, "shop/password", ConfigError).hint


# ---- AWS


@pytest.fixture(scope="module")
def moto() -> str:
    return shared_store("moto").url


@pytest.fixture
def account(moto: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    return moto


def put_secret(url: str, text: str) -> dict[str, Any]:
    name = f"shop/{uuid.uuid4().hex}"
    by = (Keys(ACCESS_KEY, SECRET_KEY), "eu-north-1", "secretsmanager")
    answer = signed_call(
        url, "secretsmanager.CreateSecret", {"Name": name, "SecretString": text}, by, Cancel()
    )
    assert answer.status == 200, answer.content
    told: dict[str, Any] = json.loads(answer.content)
    return told


def test_a_secret_of_aws_by_name_by_arn_and_by_key(account: str, surroundings: Surroundings) -> None:
    plain, keyed = (
        put_secret(account, CANARY),
        put_secret(account, json.dumps({"password": CANARY, "port": 1})),
    )
    store = aws.SecretsManager(surroundings)
    assert read(store, plain["Name"]) == CANARY
    assert read(store, plain["ARN"]) == CANARY
    assert read(store, f"{keyed['Name']}#password") == CANARY
    assert read(store, f"{keyed['Name']}#port") == "1"
    assert "it is no JSON object" in refused(store, f"{plain['Name']}#password", ConfigError).what
    assert refused(store, f"{keyed['Name']}#none", ConfigError).hint == "it has: password, port"
    assert "ResourceNotFoundException" in refused(store, "shop/none", ConfigError).what


def test_without_keys_of_our_own_the_machine_is_asked(
    account: str, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_secret(account, CANARY)["Name"]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "the machine is lent none" in refused(aws.SecretsManager(surroundings), name, ConfigError).what
    lent = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": CANARY}
    with Api() as agent:
        agent.on("/keys", Reply(200, {**lent, "Expiration": "2099-01-01T00:00:00Z"}))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/keys")
        assert read(aws.SecretsManager(surroundings), name) == CANARY


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "AccessDeniedException", Refused),
        (400, "DecryptionFailure", Refused),
        (400, "UnrecognizedClientException", AuthenticationError),
        (400, "com.amazon.coral.service#ExpiredTokenException", AuthenticationError),
        (403, "InvalidSignatureException", AuthenticationError),
        (400, "ThrottlingException", Unreachable),
    ],
)
def test_what_aws_refuses(
    account: str,
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    kind: str,
    error: type[AsgardError],
) -> None:
    with Api() as api:
        api.on("/", Reply(status, {"__type": kind, "message": "no"}))
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", api.url)
        refused(aws.SecretsManager(surroundings), "shop", error)
        (asked,) = api.asked
    assert asked.headers["content-type"] == "application/x-amz-json-1.1"
    assert "content-type;host;x-amz-date;x-amz-target" in asked.headers["authorization"]
    assert "eu-north-1/secretsmanager" in asked.headers["authorization"]


# ---- Azure


@pytest.fixture
def azure_cloud(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api() as api:
        monkeypatch.setenv("AZURE_KEYVAULT_DNS_SUFFIX", api.url)
        token = Reply(200, {"access_token": f"{CANARY}.token", "expires_in": 3600})
        api.on("/tenant/oauth2/v2.0/token", token)
        api.on("/metadata/identity/oauth2/token", token)
        api.on("/secrets/shop", _azure_secret)
        api.on("/secrets/denied", Reply(403, {"error": {"code": "Forbidden"}}))
        yield api


def _azure_secret(asked: Asked) -> Reply:
    if asked.headers.get("authorization") != f"Bearer {CANARY}.token":
        return Reply(401, {"error": {"code": "Unauthorized"}})
    assert asked.query["api-version"] == "7.4"
    return Reply(200, {"value": CANARY, "id": "https://shop/secrets/shop/1"})


def test_a_secret_of_azure_by_a_service_principal(
    azure_cloud: Api, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", azure_cloud.url)
    for name, value in (("TENANT_ID", "tenant"), ("CLIENT_ID", "us"), ("CLIENT_SECRET", CANARY)):
        monkeypatch.setenv(f"AZURE_{name}", value)
    store = azure.KeyVault(surroundings)
    assert read(store, "kv/shop") == CANARY
    assert b"vault.azure.net%2F.default" in azure_cloud.asked[0].body
    refused(store, "kv/denied", Refused)
    refused(store, "kv/none", ConfigError)
    azure_cloud.on("/tenant/oauth2/v2.0/token", Reply(401, {"error": "invalid_client"}))
    refused(azure.KeyVault(surroundings), "kv/shop", AuthenticationError)


def test_a_secret_of_azure_by_the_machine(azure_cloud: Api, surroundings: Surroundings) -> None:
    store = azure.KeyVault(surroundings, machine=azure_cloud.url)
    assert read(store, "kv/shop") == CANARY
    assert azure_cloud.asked[0].headers["metadata"] == "true"
    azure_cloud.on("/metadata/identity/oauth2/token", Reply(400, {"error": "invalid_request"}))
    refused(azure.KeyVault(surroundings, machine=azure_cloud.url), "kv/shop", AuthenticationError)


# ---- Google


@pytest.fixture
def google(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api() as api:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        token = Reply(200, {"access_token": f"{CANARY}.token"})
        api.on("/computeMetadata/v1/instance/service-accounts/default/token", token)
        api.on("/token", token)
        data = base64.b64encode(json.dumps({"password": CANARY}).encode()).decode()
        api.on("/v1/projects/p/secrets/shop/versions/latest:access", Reply(200, {"payload": {"data": data}}))
        api.on("/v1/projects/p/secrets/shop/versions/3:access", Reply(200, {"payload": {"data": data}}))
        api.on("/v1/projects/p/secrets/denied/versions/latest:access", Reply(403, {"error": {"code": 403}}))
        yield api


def test_a_secret_of_google_by_the_machine(google: Api, surroundings: Surroundings) -> None:
    store = gcp.SecretManager(surroundings, google.url, google.url)
    assert read(store, "shop#password") == CANARY
    assert read(store, "projects/p/secrets/shop/versions/3#password") == CANARY
    assert google.asked[0].headers["metadata-flavor"] == "Google"
    assert google.asked[1].headers["authorization"] == f"Bearer {CANARY}.token"
    refused(store, "denied", Refused)
    refused(store, "none", ConfigError)


def test_a_secret_of_google_by_a_service_account(
    google: Api, surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    file = tmp_path / "account.json"
    document = {"client_email": "us@p", "private_key": _pem(key).decode(), "token_uri": f"{google.url}/token"}
    file.write_text(json.dumps(document))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    assert read(gcp.SecretManager(surroundings, google.url), "shop#password") == CANARY
    form = dict(pair.split("=", 1) for pair in google.asked[0].body.decode().split("&"))
    said, _, signature = form["assertion"].rpartition(".")
    padded = signature + "=" * (-len(signature) % 4)
    key.public_key().verify(
        base64.urlsafe_b64decode(padded), said.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    file.write_text("{}")
    refused(gcp.SecretManager(surroundings, google.url), "shop#password", ConfigError)
