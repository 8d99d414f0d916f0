"""Where Redshift is and as whom we sign in: AWS's API by a stand-in, and a serverless one of our own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from asgard.connectors._redshift.access import Access
from asgard.connectors.redshift import RedshiftConfig
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Unreachable
from asgard.core.secret import reveal
from asgard.transport.aws import Keys, signed_post
from tests.connectors.redshift_reading import Warehouse
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, shared_store
from tests.servers.redshift import RedshiftFront

KEYS = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "us-east-1"}
LENT = "lent-canary-" + "x" * 32


@pytest.fixture
def cluster() -> str:
    """A cluster that the stand-in of the API knows."""
    name = f"cluster-{time.time_ns()}"
    form = {
        "Action": "CreateCluster", "Version": "2012-12-01", "ClusterIdentifier": name, "DBName": "shop",
        "NodeType": "ra3.large", "MasterUsername": "admin", "MasterUserPassword": "Passw0rd", "Port": "5440",
    }  # fmt: skip
    by = (Keys(ACCESS_KEY, SECRET_KEY), "us-east-1", "redshift")
    signed_post(shared_store("moto").url, form, by, Cancel())
    return name


@contextmanager
def serverless(answers: dict[str, tuple[int, dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An API of JSON, by operation; its URL, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            action = self.headers["X-Amz-Target"].removeprefix("RedshiftServerless.")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert "/us-east-1/redshift-serverless/aws4_request" in self.headers["Authorization"]
            asked.append({"action": action, **body})
            status, answer = answers[action]
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def access(**config: Any) -> Access:
    given = {"database": "shop", "redshift_endpoint_url": shared_store("moto").url, **KEYS, **config}
    return Access(RedshiftConfig.model_validate(given).where, Cancel())


def test_a_cluster_is_found_by_its_name(cluster: str) -> None:
    server = access(cluster_identifier=cluster, username="u", password="p").server()
    assert server.host.startswith(f"{cluster}.")
    assert server.port == 5440
    assert access(cluster_identifier=cluster, username="u", password="p", port=9).server().port == 9
    with pytest.raises(ConfigError, match="DescribeClusters") as caught:
        access(cluster_identifier="nobody", username="u", password="p").server()
    assert "cluster_identifier" in caught.value.hint
    dead = access(
        cluster_identifier="c", username="u", password="p", redshift_endpoint_url="http://127.0.0.1:9"
    )
    with pytest.raises(Unreachable):
        dead.server()


def test_iam_lends_a_password(cluster: str, redshift: RedshiftFront) -> None:
    warehouse = Warehouse.new(redshift)
    warehouse.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    config = {"cluster_identifier": cluster, "password": None, "redshift_endpoint_url": redshift.store.url}
    assert warehouse.load("t", {"read": "direct"}, config=config).rows == [{"id": 1}]
    assert set(redshift.users) == {"IAM:asgard"}
    lent = access(cluster_identifier=cluster, username="u", host="h")
    first = lent.server()
    assert lent.server() is first  # it lasts for an hour
    assert len(reveal(first.password) or "") == 32
    with pytest.raises(ConfigError, match="GetClusterCredentials"):
        access(cluster_identifier="nobody", username="u", host="h").server()
    with pytest.raises(ConfigError, match="no password, and nobody to lend one"):
        access(host="h", username="u").server()


def test_a_workgroup() -> None:
    ends = time.time() + 30  # so soon that it is asked for anew each time
    answers: dict[str, tuple[int, dict[str, Any]]] = {
        "GetWorkgroup": (200, {"workgroup": {"endpoint": {"address": "w.example.com", "port": 5439}}}),
        "GetCredentials": (200, {"dbUser": "IAMR:reader", "dbPassword": LENT, "expiration": ends}),
    }
    with serverless(answers) as (url, asked):
        found = access(workgroup="w", redshift_endpoint_url=url)
        server = found.server()
        assert (server.host, server.port, server.username) == ("w.example.com", 5439, "IAMR:reader")
        assert reveal(server.password) == LENT
        assert LENT not in repr(server)
        assert asked[1] == {"action": "GetCredentials", "workgroupName": "w", "dbName": "shop"}
        assert found.server() is not server
        answers["GetCredentials"] = (200, {**answers["GetCredentials"][1], "expiration": ends + 3600})
        assert found.server() is found.server()


@pytest.mark.parametrize(
    ("status", "told", "wanted"),
    [
        (400, {"__type": "AccessDeniedException", "message": "User is not authorized"}, Refused),
        (400, {"__type": "x#ResourceNotFoundException", "message": "no workgroup w"}, ConfigError),
        (400, {"__type": "UnrecognizedClientException", "message": "invalid"}, AuthenticationError),
        (403, {"__type": "InvalidSignatureException", "message": "no"}, AuthenticationError),
        (200, {"workgroup": {}}, ConfigError),
    ],
)
def test_what_the_api_refuses(status: int, told: dict[str, Any], wanted: type[AsgardError]) -> None:
    with serverless({"GetWorkgroup": (status, told)}) as (url, _), pytest.raises(wanted) as caught:
        access(workgroup="w", redshift_endpoint_url=url).server()
    assert caught.value.hint
    assert SECRET_KEY not in str(caught.value)


def test_no_keys_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    config = RedshiftConfig(database="shop", cluster_identifier="c", username="u")
    with pytest.raises(ConfigError, match="no AWS keys"):
        Access(config.where, Cancel()).server()
