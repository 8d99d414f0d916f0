"""Rights on a cluster: each that is printed is used, and none that is not printed is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from asgard.app.spark.manifests import API_RULES, DRIVER_RULES, Rule, cluster_manifests, rights
from asgard.core.errors import ConfigError, Refused
from asgard.engines.spark_application import SparkCluster, SparkRun, driver_of
from asgard.engines.spark_operator import SparkOperator
from asgard.transport.kubernetes import KubernetesClient
from asgard.transport.kubernetes_access import Access
from tests.servers.kubernetes import Cluster, shared_cluster
from tests.servers.spark_operator import with_kind

RUN = "107ea972"
REQUEST = {"sql": "SELECT 1", "tables": [], "result": {"uri": "/x", "mode": "append", "format": "delta"}}
VERBS = ("create", "get", "list", "watch", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    ("sparkoperator.k8s.io", "sparkapplications"),
    ("sparkoperator.k8s.io", "sparkapplications/status"),
    ("sparkoperator.k8s.io", "scheduledsparkapplications"),
    *(("", core) for core in ("pods", "pods/log", "pods/exec", "pods/status", "configmaps", "events")),
    *(("", core) for core in ("secrets", "services", "persistentvolumeclaims", "serviceaccounts", "nodes")),
    ("", "serviceaccounts/token"),
    ("apps", "deployments"),
    ("batch", "jobs"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
)
PLACES = {"ServiceAccount": "/api/v1", "Role": "/apis/rbac.authorization.k8s.io/v1"}
PLACES["RoleBinding"] = PLACES["Role"]
SINGLE = [pytest.param(rule, verb, id=f"{verb}-{rule[1]}") for rule in API_RULES for verb in rule[2]]
DRIVER = """
import sys
from pyspark.sql import SparkSession
session = SparkSession.builder.getOrCreate()
print("started", flush=True)
sys.stdin.readline()
session.stop()
print("stopped", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".env").write_text("PIPELINE_NAMESPACE=jobs\nSPARK_SERVICE_ACCOUNT=spark\n")
    for name in ("PIPELINE_NAMESPACE", "SPARK_SERVICE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_what_is_printed_is_of_the_settings(folder: Path) -> None:
    printed = list(yaml.safe_load_all(cluster_manifests(folder, "platform/asgard-api")))
    named = [(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in printed]
    assert named == [
        ("ServiceAccount", "platform", "asgard-api"),
        ("Role", "jobs", "asgard-transforms"),
        ("RoleBinding", "jobs", "asgard-transforms"),
        ("ServiceAccount", "jobs", "spark"),
        ("Role", "jobs", "asgard-spark"),
        ("RoleBinding", "jobs", "asgard-spark"),
    ]
    assert printed[2]["subjects"] == [
        {"kind": "ServiceAccount", "namespace": "platform", "name": "asgard-api"}
    ]
    assert "secrets" not in str(printed)


def test_an_account_that_is_none(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no account"):
        cluster_manifests(folder, "a/b/c")


# ---- on a real API server


@pytest.fixture
def cluster() -> Cluster:
    return with_kind(shared_cluster())


def applied(cluster: Cluster, objects: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    for one in objects:
        where = f"{PLACES[one['kind']]}/namespaces/{one['metadata']['namespace']}/{one['kind'].lower()}s"
        cluster.make(where, one)


def allowed(cluster: Cluster, namespace: str, account: str) -> set[tuple[str, str, str]]:
    """Everything that an account may do, of all that it could want."""
    may = set()
    for group, resource in RESOURCES:
        name, _, below = resource.partition("/")
        for verb in VERBS:
            what = {"namespace": namespace, "verb": verb, "group": group, "resource": name}
            user = f"system:serviceaccount:{namespace}:{account}"
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": user, "resourceAttributes": {**what, "subresource": below}},
            }
            told = cluster.make("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            if told["status"]["allowed"]:
                may.add((group, resource, verb))
    return may


@pytest.mark.cluster
def test_nothing_is_given_that_is_not_printed(
    cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = cluster.namespace()
    monkeypatch.setenv("PIPELINE_NAMESPACE", namespace)
    applied(cluster, yaml.safe_load_all(cluster_manifests(folder)))
    for account, rules in (("asgard", API_RULES), ("spark", DRIVER_RULES)):
        printed = {(group, resource, verb) for group, resource, verbs in rules for verb in verbs}
        assert allowed(cluster, namespace, account) == printed


def everything(cluster: Cluster, namespace: str) -> None:
    """All that Asgard asks of a cluster, as the account `asgard`."""
    token = cluster.account_token(namespace, "asgard")
    access = Access(cluster.url, token=lambda: token, ca=Path(cluster.ca_file).read_text())
    with closing(KubernetesClient(access)) as client:
        operator = SparkOperator(client, namespace)
        operator.submit(SparkRun(RUN, REQUEST), SparkCluster(namespace, "example/spark:4.1"))
        operator.look(RUN)
        assert operator.log(RUN) == ""
        operator.events(RUN)
        assert operator.delete(RUN)


def with_pod(cluster: Cluster) -> str:
    """A new namespace with the driver's pod in it, which nobody starts."""
    namespace = cluster.namespace()
    containers = [{"name": "spark-kubernetes-driver", "image": "example/spark:4.1"}]
    pod = {"metadata": {"name": driver_of(RUN)}, "spec": {"containers": containers}}
    cluster.make(f"/api/v1/namespaces/{namespace}/pods", pod)
    return namespace


@pytest.mark.cluster
def test_what_is_printed_is_enough(cluster: Cluster) -> None:
    namespace = with_pod(cluster)
    applied(cluster, rights(namespace, "r", (namespace, "asgard"), API_RULES))
    everything(cluster, namespace)


@pytest.mark.cluster
@pytest.mark.parametrize(("rule", "verb"), SINGLE)
def test_without_one_right_it_is_said_which(cluster: Cluster, rule: Rule, verb: str) -> None:
    namespace = with_pod(cluster)
    less = [
        (group, resource, tuple(one for one in verbs if (resource, one) != (rule[1], verb)))
        for group, resource, verbs in API_RULES
    ]
    applied(cluster, rights(namespace, "r", (namespace, "asgard"), [one for one in less if one[2]]))
    with pytest.raises(Refused) as refused:
        everything(cluster, namespace)
    assert f'apiGroups: ["{rule[0]}"], resources: [{rule[1]}], verbs: [{verb}]' in refused.value.hint


@pytest.mark.cluster
def test_a_driver_of_spark_lives_on_its_rights(cluster: Cluster, tmp_path: Path) -> None:
    """Spark itself, with its own client of Kubernetes: no request of its whole life is refused."""
    namespace = cluster.namespace()
    applied(cluster, rights(namespace, "r", (namespace, "spark-sa"), DRIVER_RULES))
    containers = [{"name": "spark-kubernetes-driver", "image": "example/spark:4.1"}]
    pods = f"/api/v1/namespaces/{namespace}/pods"
    cluster.make(pods, {"metadata": {"name": "driver"}, "spec": {"containers": containers}})
    (tmp_path / "token").write_text(cluster.account_token(namespace, "spark-sa"))
    settings = {
        "spark.master": f"k8s://{cluster.url}",
        "spark.kubernetes.namespace": namespace,
        "spark.kubernetes.container.image": "example/spark:4.1",
        "spark.kubernetes.authenticate.oauthTokenFile": str(tmp_path / "token"),
        "spark.kubernetes.authenticate.caCertFile": cluster.ca_file,
        "spark.kubernetes.driver.pod.name": "driver",
        "spark.kubernetes.executor.apiPollingInterval": "1s",
        "spark.executor.instances": "2",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
    }
    words = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    environment = {"PYSPARK_SUBMIT_ARGS": f"{words} pyspark-shell", "SPARK_LOCAL_IP": "127.0.0.1"}
    said = tmp_path / "words"
    with (
        said.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n", said.read_text()
            first = executors(cluster, pods, 2)
            # One that ends before its time is taken away by itself, and another one is made.
            ended = {"status": {"phase": "Failed"}}
            kind = "application/merge-patch+json"
            assert cluster.ask("PATCH", f"{pods}/{first[0]}/status", ended, kind=kind).status == 200
            until_gone(cluster, f"{pods}/{first[0]}")
            out, _ = process.communicate("\n", timeout=120)
        finally:
            process.kill()
    assert out == "stopped\n"
    assert "orbidden" not in said.read_text()
    assert executors(cluster, pods, 0) == []


def executors(cluster: Cluster, pods: str, count: int) -> list[str]:
    """The names of the executors, as soon as there are so many."""
    for _ in range(600):
        found = cluster.ask("GET", f"{pods}?labelSelector=spark-role%3Dexecutor").body["items"]
        if len(found) == count:
            return [one["metadata"]["name"] for one in found]
        time.sleep(0.1)
    raise AssertionError(f"there are not {count} executors: {found}")


def until_gone(cluster: Cluster, path: str) -> None:
    for _ in range(600):
        if cluster.ask("GET", path).status == 404:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} is still there")
