"""Spark's applications on a real API server: the test is the operator, and RBAC is real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asgard.core.errors import AuthenticationError, ConfigError, QueryError, Refused, Unreachable
from asgard.engines.spark_application import APPLICATIONS, SparkCluster, SparkRun, name_of
from asgard.engines.spark_operator import PHASES, Phase, SparkOperator
from asgard.transport.kubernetes import CONFIG_MAPS, KubernetesClient
from asgard.transport.kubernetes_access import Access, kubeconfig_access
from tests.servers.kubernetes import ADMIN_TOKEN, Cluster, base64_of, shared_cluster
from tests.servers.spark_operator import Operator, with_kind

pytestmark = pytest.mark.cluster
RUN = "107ea972"
REQUEST = {
    "sql": "SELECT 1 AS one",
    "tables": [],
    "result": {"uri": "s3a://lake/silver/one", "mode": "overwrite", "format": "delta"},
}


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return with_kind(shared_cluster())


@pytest.fixture
def operator(cluster: Cluster) -> Operator:
    return Operator(cluster, cluster.namespace())


def access(cluster: Cluster, token: str = ADMIN_TOKEN, **more: Any) -> Access:
    return Access(cluster.url, token=lambda: token, ca=Path(cluster.ca_file).read_text(), **more)


@pytest.fixture
def client(cluster: Cluster) -> Iterator[KubernetesClient]:
    with closing(KubernetesClient(access(cluster))) as opened:
        yield opened


def submitted(client: KubernetesClient, operator: Operator, **more: Any) -> SparkOperator:
    ours = SparkOperator(client, operator.namespace)
    run = SparkRun(RUN, REQUEST, **more)
    assert ours.submit(run, SparkCluster(operator.namespace, "example/spark:4.1"))
    return ours


def test_an_application_from_its_submission_to_its_end(client: KubernetesClient, operator: Operator) -> None:
    ours = submitted(client, operator, executor_instances=3, driver_memory="2g")
    (found,) = operator.applications()
    assert found["metadata"]["name"] == "sql-exec-107ea972"
    assert found["spec"]["executor"]["instances"] == 3
    assert found["spec"]["driver"]["memory"] == "2g"
    now = ours.look(RUN)
    assert now is not None
    assert (now.state, now.phase, now.executors, now.taken) == ("SUBMITTED", Phase.WAITING, None, False)
    assert now.driver_pod == "sql-exec-107ea972-driver"
    began = {"lastSubmissionAttemptTime": "2026-01-02T03:04:05Z"}
    operator.says(RUN, "RUNNING", **began, executorState={"a": "RUNNING", "b": "PENDING"})
    now = ours.look(RUN)
    assert now is not None
    assert (now.state, now.phase, now.executors, now.seconds) == ("RUNNING", Phase.RUNNING, 2, None)
    operator.says(RUN, "COMPLETED", terminationTime="2026-01-02T03:05:00Z")
    now = ours.look(RUN)
    assert now is not None
    assert (now.phase, now.executors, now.seconds, now.is_over) == (Phase.SUCCEEDED, 2, 55.0, True)
    assert ours.delete(RUN)
    assert not ours.delete(RUN)
    assert ours.look(RUN) is None


@pytest.mark.parametrize("state", sorted(PHASES))
def test_every_state_of_the_operator(client: KubernetesClient, operator: Operator, state: str) -> None:
    ours = submitted(client, operator)
    operator.says(RUN, state, error="why")
    now = ours.look(RUN)
    assert now is not None
    assert (now.state, now.phase, now.error) == (state or "SUBMITTED", PHASES[state], "why")
    assert now.is_over == (state in ("COMPLETED", "FAILED"))


def test_who_submits_twice_finds_the_first(client: KubernetesClient, operator: Operator) -> None:
    ours = submitted(client, operator)
    other = SparkRun(RUN, {**REQUEST, "sql": "SELECT 2 AS two"})
    assert not ours.submit(other, SparkCluster(operator.namespace, "example/spark:4.1"))
    (found,) = operator.applications()
    assert "SELECT 1 AS one" in found["spec"]["arguments"][1]


def test_the_file_comes_though_who_submitted_was_killed(client: KubernetesClient, operator: Operator) -> None:
    ours = submitted(client, operator)
    assert client.delete(CONFIG_MAPS, operator.namespace, name_of(RUN))
    ours.bring_file(RUN)
    found = client.get(CONFIG_MAPS, operator.namespace, name_of(RUN))
    assert found is not None
    assert "--request" in found["data"]["spark_job.py"]
    (owner,) = found["metadata"]["ownerReferences"]
    assert owner["uid"] == operator.applications()[0]["metadata"]["uid"]
    assert ours.delete(RUN)
    with pytest.raises(ConfigError, match="taken out of the cluster"):
        ours.bring_file(RUN)


def test_what_the_cluster_says_of_a_run(client: KubernetesClient, operator: Operator) -> None:
    ours = submitted(client, operator)
    assert ours.events(RUN) == []
    assert ours.log(RUN) is None
    for number, (name, at) in enumerate(
        [("sql-exec-107ea972-driver", "2026-01-02T00:00:02Z"), ("sql-exec-107ea972", "2026-01-02T00:00:01Z"),
         ("sql-exec-00000000", "2026-01-02T00:00:00Z")]
    ):  # fmt: skip
        event = {
            "metadata": {"name": f"e{number}", "namespace": operator.namespace},
            "involvedObject": {"kind": "Pod", "name": name, "namespace": operator.namespace},
            "type": "Warning",
            "reason": f"R{number}",
            "message": "words",
            "lastTimestamp": at,
            "count": 2,
        }
        operator.cluster.make(f"/api/v1/namespaces/{operator.namespace}/events", event)
    assert [(event["reason"], event["data"]["count"]) for event in ours.events(RUN)] == [("R1", 2), ("R0", 2)]


def test_a_namespace_a_page_at_a_time(
    client: KubernetesClient, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgard.transport.kubernetes.PAGE", 2)
    for number in range(5):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{number}"}}
        assert client.create(CONFIG_MAPS, operator.namespace, body) is not None
    names = [one["metadata"]["name"] for one in client.listed(CONFIG_MAPS, operator.namespace)]
    assert [name for name in names if name.startswith("m")] == ["m0", "m1", "m2", "m3", "m4"]


def test_what_the_kind_does_not_take(client: KubernetesClient, operator: Operator) -> None:
    ours = SparkOperator(client, operator.namespace)
    run = SparkRun(RUN, REQUEST, executor_instances=0)
    with pytest.raises(ConfigError, match=r"executor\.instances"):
        ours.submit(run, SparkCluster(operator.namespace, "example/spark:4.1"))
    long = SparkRun(RUN, {**REQUEST, "sql": "SELECT '" + "x" * 200_000 + "'"})
    with pytest.raises(QueryError, match="at most"):
        ours.submit(long, SparkCluster(operator.namespace, "example/spark:4.1"))


def test_a_cluster_without_the_operator(client: KubernetesClient, operator: Operator) -> None:
    other = replace(APPLICATIONS, plural="scheduledsparkapplications")
    with pytest.raises(ConfigError, match="/v1beta2 is not there") as refused:
        client.get(other, operator.namespace, "x")
    assert "operator installed" in refused.value.hint


# ---- who asks


def looked(cluster: Cluster, operator: Operator, token: str) -> object:
    with closing(KubernetesClient(access(cluster, token))) as client:
        return SparkOperator(client, operator.namespace).look(RUN)


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


def test_a_token_that_is_exchanged_meanwhile(cluster: Cluster, operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(ADMIN_TOKEN)
    told = Access(cluster.url, token=file.read_text, ca=Path(cluster.ca_file).read_text())
    with closing(KubernetesClient(told)) as client:
        ours = SparkOperator(client, operator.namespace)
        assert ours.look(RUN) is None
        file.write_text("stranger")
        with pytest.raises(AuthenticationError):
            ours.look(RUN)
        file.write_text(ADMIN_TOKEN)
        assert ours.look(RUN) is None


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


def test_a_cluster_that_is_another_one(cluster: Cluster) -> None:
    stranger = KubernetesClient(Access(cluster.url, token=lambda: ADMIN_TOKEN))
    with closing(stranger), pytest.raises(Unreachable, match="cannot be used: the certificate"):
        stranger.get(CONFIG_MAPS, "default", "x")
