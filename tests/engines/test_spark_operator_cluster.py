"""What only a real API server says of Spark's applications: schemas, rights, certificates."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from asgard.core.errors import AuthenticationError, ConfigError, QueryError, Refused
from asgard.engines.spark_application import SparkCluster, SparkRun
from asgard.engines.spark_operator import SparkOperator
from asgard.transport.kubernetes import KubernetesClient
from asgard.transport.kubernetes_access import kubeconfig_access
from tests.engines.operator_ground import REQUEST, RUN, access, looked
from tests.servers.kubernetes import Cluster, base64_of, shared_cluster
from tests.servers.spark_operator import Operator, with_kind

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster() -> Cluster:
    return with_kind(shared_cluster())


@pytest.fixture
def operator(cluster: Cluster) -> Operator:
    return Operator(cluster, cluster.namespace())


def test_what_the_kind_does_not_take(cluster: Cluster, operator: Operator) -> None:
    ours = SparkOperator(KubernetesClient(access(cluster)), operator.namespace)
    run = SparkRun(RUN, REQUEST, executor_instances=0)
    with pytest.raises(ConfigError, match=r"executor\.instances"):
        ours.submit(run, SparkCluster(operator.namespace, "example/spark:4.1"))
    long = SparkRun(RUN, {**REQUEST, "sql": "SELECT '" + "x" * 200_000 + "'"})
    with pytest.raises(QueryError, match="at most"):
        ours.submit(long, SparkCluster(operator.namespace, "example/spark:4.1"))


def test_a_token_that_is_none_and_one_without_rights(cluster: Cluster, operator: Operator) -> None:
    with pytest.raises(AuthenticationError, match="credentials"):
        looked(cluster, operator, "stranger")
    cluster.make(f"/api/v1/namespaces/{operator.namespace}/serviceaccounts", {"metadata": {"name": "nobody"}})
    token = cluster.account_token(operator.namespace, "nobody")
    with pytest.raises(Refused, match="may not get sparkapplications sql-exec-107ea972") as refused:
        looked(cluster, operator, token)
    assert 'apiGroups: ["sparkoperator.k8s.io"], resources: [sparkapplications], verbs: [get]' in (
        refused.value.hint
    )
    assert token not in str(refused.value.as_dict())


def test_a_kubeconfig_with_a_certificate(cluster: Cluster, operator: Operator, tmp_path: Path) -> None:
    certificate, key = cluster.client_certificate("anna", "system:masters")
    (tmp_path / "anna.crt").write_text(certificate)
    (tmp_path / "anna.key").write_text(key)
    inline = {"client-certificate-data": base64_of(certificate), "client-key-data": base64_of(key)}
    for user in (inline, {"client-certificate": "anna.crt", "client-key": "anna.key"}):
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "anna"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": cluster.url, "certificate-authority": cluster.ca_file}}
            ],
            "users": [{"name": "anna", "user": user}],
        }
        with closing(KubernetesClient(kubeconfig_access(config, tmp_path))) as client:
            assert SparkOperator(client, operator.namespace).look(RUN) is None
