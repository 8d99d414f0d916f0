"""Spark's applications, on a stand-in of Kubernetes' API and on a real one: the test is the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from asgard.core.errors import AuthenticationError, ConfigError, DataError, QueryError, Refused, Unreachable
from asgard.engines.spark_application import APPLICATIONS, SparkCluster, SparkRun, driver_of, name_of
from asgard.engines.spark_operator import PHASES, Phase, SparkOperator, failure, figures, seen, told_by
from asgard.transport.kubernetes import CONFIG_MAPS, KubernetesClient
from asgard.transport.kubernetes_access import Access
from tests.engines.operator_ground import REQUEST, RUN, access, submitted
from tests.servers.kubernetes import ADMIN_TOKEN, Cluster, shared_cluster
from tests.servers.kubernetes_stand_in import StandIn, kubernetes_stand_in
from tests.servers.spark_operator import Operator, with_kind


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with kubernetes_stand_in(tmp_path_factory.mktemp("stand-in")) as started:
        yield started


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.cluster)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if request.param == "real":
        return with_kind(shared_cluster())
    started: StandIn = request.getfixturevalue("stand_in")
    return started


@pytest.fixture
def operator(cluster: Cluster) -> Operator:
    return Operator(cluster, cluster.namespace())


@pytest.fixture
def client(cluster: Cluster) -> Iterator[KubernetesClient]:
    with closing(KubernetesClient(access(cluster))) as opened:
        yield opened


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


def test_a_cluster_without_the_operator(client: KubernetesClient, operator: Operator) -> None:
    other = replace(APPLICATIONS, plural="scheduledsparkapplications")
    with pytest.raises(ConfigError, match="/v1beta2 is not there") as refused:
        client.get(other, operator.namespace, "x")
    assert "operator installed" in refused.value.hint


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


def test_a_cluster_that_is_another_one(cluster: Cluster) -> None:
    stranger = KubernetesClient(Access(cluster.url, token=lambda: ADMIN_TOKEN))
    with closing(stranger), pytest.raises(Unreachable, match="cannot be used: the certificate"):
        stranger.get(CONFIG_MAPS, "default", "x")


# ---- what only the stand-in can


@pytest.fixture
def ours(stand_in: StandIn) -> Iterator[SparkOperator]:
    """Our side, in a namespace with one application."""
    with closing(KubernetesClient(access(stand_in))) as opened:
        yield submitted(opened, Operator(stand_in, stand_in.namespace()))


def test_the_last_words_of_a_driver(ours: SparkOperator, stand_in: StandIn) -> None:
    line = '{"format":1,"run_id":"107ea972","state":"succeeded","rows_out":3,"bytes_out":0,"version":null}'
    other = line.replace("107ea972", "00000000").replace("3", "9")
    stand_in.logs[driver_of(RUN)] = f"words\n{line}\n{other}\n{{not json\n"
    log = ours.log(RUN)
    del stand_in.logs[driver_of(RUN)]
    assert log is not None
    assert log.startswith("words")
    told = told_by(log, RUN)
    # What is not known is absent, and what is known to be 0 is 0.
    assert figures(told) == {"rows_out": 3, "bytes_out": 0}
    assert figures(None) == {}
    assert told_by("no line at all", RUN) is None
    assert ours.log(RUN) is None


def test_a_list_that_the_cluster_forgot_meanwhile_begins_anew(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgard.transport.kubernetes.PAGE", 2)
    namespace = stand_in.namespace()
    with closing(KubernetesClient(access(stand_in))) as client:
        for number in range(5):
            client.create(CONFIG_MAPS, namespace, {"metadata": {"name": f"m{number}"}})
        listed = client.listed(CONFIG_MAPS, namespace)
        names = [next(listed)["metadata"]["name"], next(listed)["metadata"]["name"]]
        stand_in.failing.append(410)
        names += [one["metadata"]["name"] for one in listed]
    assert names == ["m0", "m1", "m2", "m3", "m4"]


def test_a_cluster_that_stumbles_is_asked_again(ours: SparkOperator, stand_in: StandIn) -> None:
    stand_in.failing.append(503)
    assert ours.look(RUN) is not None
    stand_in.failing.extend([500, 500, 500])
    with pytest.raises(Unreachable, match="cannot be used: the server failed") as failed:
        ours.look(RUN)
    assert not stand_in.failing
    assert ADMIN_TOKEN not in str(failed.value.as_dict())


def test_a_submission_whose_answer_was_lost_is_made_once(stand_in: StandIn) -> None:
    namespace = stand_in.namespace()
    with closing(KubernetesClient(access(stand_in))) as client:
        stand_in.losing.append(504)
        run = SparkRun(RUN, REQUEST)
        SparkOperator(client, namespace).submit(run, SparkCluster(namespace, "example/spark:4.1"))
    assert len(Operator(stand_in, namespace).applications()) == 1


# ---- what is read from an application, without a cluster


def test_an_application_that_nobody_has_looked_at() -> None:
    now = seen({"metadata": {"name": "sql-exec-107ea972"}})
    assert (now.state, now.phase, now.taken) == ("SUBMITTED", Phase.WAITING, False)
    assert (now.executors, now.seconds, now.error) == (None, None, "")


def test_a_state_of_a_newer_operator_is_no_end() -> None:
    status = {"applicationState": {"state": "HIBERNATING"}, "driverInfo": {}, "executorState": {}}
    now = seen({"metadata": {"name": "sql-exec-107ea972"}, "status": status})
    assert (now.state, now.phase, now.is_over, now.executors) == ("HIBERNATING", Phase.RUNNING, False, None)


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("Refused", Refused), ("DataError", DataError), ("QueryError", QueryError), ("Bug", ConfigError)],
)
def test_a_job_says_itself_why_it_failed(kind: str, ours: type[Exception]) -> None:
    now = seen({"metadata": {"name": name_of(RUN)}, "status": {"applicationState": {"state": "FAILED"}}})
    error = failure(RUN, now, {"error": {"type": kind, "what": "because"}})
    assert (type(error), error.what, error.retryable) == (ours, "because", False)
    assert failure(RUN, now, None).what == "Spark failed: the driver ended without a word"
