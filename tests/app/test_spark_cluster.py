"""How a cluster is found: kubeconfigs, pods, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asgard.app.spark.cluster import access_of
from asgard.core.errors import ConfigError
from asgard.transport.kubernetes_access import kubeconfig_access, pod_access, trust
from tests.servers.kubernetes import base64_of

SERVER = "https://cluster.example.com:6443"
CANARY = "c4n4ry-t0k3n"


def config(user: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "jobs"}},
            {"name": "there", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **(cluster or {})}}],
        "users": [{"name": "u", "user": dict(user or {})}],
    }


def test_the_current_context(tmp_path: Path) -> None:
    found = kubeconfig_access(config({"token": CANARY}), tmp_path)
    assert (found.url, found.namespace) == (SERVER, "jobs")
    assert found.token is not None
    assert found.token() == CANARY
    assert CANARY not in repr(found)


def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    found = kubeconfig_access(config({"tokenFile": "token"}), tmp_path)
    assert found.token is not None
    assert found.token() == "first"
    (tmp_path / "token").write_text("second\n")
    assert found.token() == "second"
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        found.token()


@pytest.mark.parametrize(
    ("user", "cluster", "what"),
    [
        ({"exec": {"command": "aws"}}, {}, "exec of a kubeconfig"),
        ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider"),
        ({"username": "anna", "password": CANARY}, {}, "username"),
        ({"as": "root"}, {}, "as of a kubeconfig"),
        ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        ({}, {"tls-server-name": "x"}, "tls-server-name"),
        ({}, {"proxy-url": "http://x"}, "proxy-url"),
        ({"client-certificate-data": base64_of("x")}, {}, "go together"),
        ({"client-certificate-data": "%%%", "client-key-data": "%%%"}, {}, "no base64"),
    ],
)
def test_what_is_not_done_here(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=what) as refused:
        kubeconfig_access(config(user, cluster), tmp_path)
    assert CANARY not in str(refused.value.as_dict())


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no context 'elsewhere'") as refused:
        kubeconfig_access(config(), tmp_path, "elsewhere")
    assert refused.value.hint == "it has: here, there"
    with pytest.raises(ConfigError, match="no user 'nobody'"):
        kubeconfig_access(config(), tmp_path, "there")


def test_whom_to_trust(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no https:// one"):
        trust(kubeconfig_access(config({}, {"server": "http://cluster"}), tmp_path))
    with pytest.raises(ConfigError, match="authority is no certificate"):
        trust(kubeconfig_access(config({}, {"certificate-authority-data": base64_of("x")}), tmp_path))
    user = {"client-certificate-data": base64_of("x"), "client-key-data": base64_of(CANARY)}
    with pytest.raises(ConfigError, match="client certificate of u of the context here") as refused:
        trust(kubeconfig_access(config(user), tmp_path))
    assert CANARY not in str(refused.value.as_dict())


def test_the_account_of_a_pod(tmp_path: Path) -> None:
    for name, text in (("token", "first"), ("namespace", "jobs\n"), ("ca.crt", "PEM")):
        (tmp_path / name).write_text(text)
    around = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = pod_access(around.get, tmp_path)
    assert (found.url, found.namespace, found.ca) == ("https://[fd00::1]:6443", "jobs", "PEM")
    assert found.token is not None
    (tmp_path / "token").write_text("second")
    assert found.token() == "second"


def test_which_cluster_is_meant(tmp_path: Path) -> None:
    file = tmp_path / ".kube" / "config"
    with pytest.raises(ConfigError, match="no cluster of Kubernetes is known"):
        access_of(tmp_path, None, {"HOME": str(tmp_path)})
    file.parent.mkdir()
    file.write_text(json.dumps(config({"token": "home"})))
    (tmp_path / "named").write_text(json.dumps(config({"token": "named"})))
    at_home = access_of(tmp_path, None, {"HOME": str(tmp_path)})
    named = access_of(tmp_path, None, {"HOME": str(tmp_path), "KUBECONFIG": "named"})
    assert at_home.token is not None
    assert named.token is not None
    assert (at_home.token(), named.token()) == ("home", "named")
    with pytest.raises(ConfigError, match="several files"):
        access_of(tmp_path, None, {"KUBECONFIG": "named:other"})
    with pytest.raises(ConfigError, match="no service account"):
        access_of(tmp_path, None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    (tmp_path / "list").write_text("- 1\n")
    with pytest.raises(ConfigError, match="is no kubeconfig"):
        access_of(tmp_path, None, {"KUBECONFIG": "list"})
