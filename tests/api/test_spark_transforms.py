"""The users' whole workflow on Spark: the API in front, Kubernetes' behind it, and Spark itself at work.

The test is the operator: it takes the application out of the cluster, as the operator would, and runs its
file on a Spark of this machine. Behind a real API server no pod runs, so that nothing of the driver's log
comes from it; the stand-in has logs.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore
import psutil
import pytest

from asgard.app.jobs.worker import WorkerWish, work
from asgard.core.cancel import Cancel
from asgard.engines.spark_application import name_of
from asgard.transport.cloud_s3 import S3Connection
from tests.api.callers import Caller
from tests.servers import spark
from tests.servers.kubernetes import ADMIN_TOKEN, Cluster, shared_cluster
from tests.servers.kubernetes_stand_in import StandIn, kubernetes_stand_in
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, new_bucket, shared_store
from tests.servers.spark_operator import Operator, with_kind

TOTALS = "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id"
STATUS_KEYS = {"run_id", "spark_application", "namespace", "state", "driver_pod", "executor_count",
               "creation_time", "spark_version"}  # fmt: skip
WAIT_SECONDS = 120


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.cluster)])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Kubernetes' API with the operator's kind."""
    if request.param == "real":
        yield with_kind(shared_cluster())
        return
    with kubernetes_stand_in(tmp_path_factory.mktemp("stand-in")) as stand_in:
        yield stand_in


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The operator of a namespace of this test's own, to which the settings send transforms."""
    namespace = cluster.namespace()
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": cluster.url, "certificate-authority": cluster.ca_file}}
        ],
        "users": [{"name": "u", "user": {"token": ADMIN_TOKEN}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    settings = {
        "TRANSFORM_ENGINE": "kubernetes",
        "SPARK_IMAGE": "registry.example.com/spark:4.1",
        "PIPELINE_NAMESPACE": namespace,
        "SPARK_LAKE_CLAIM": "lake",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return Operator(cluster, namespace)


@pytest.fixture
def sink(operator: Operator, caller: Caller) -> str:
    """A sink with the three orders in bronze."""
    sink = caller.sink()
    assert caller.ingested(caller.datasource(), sink)["status"] == "done"
    return sink


Working = Callable[..., Future[None]]


@pytest.fixture
def working(caller: Caller) -> Iterator[Working]:
    """Has the jobs that wait done, beside the test; by a worker that can be stopped."""
    stop = Cancel()

    def jobs(stop: Cancel) -> None:
        file = str(caller.folder / "asgard.yml")
        wish = WorkerWish(file, slots=1, clock=False, until_idle=True, first_pause_seconds=0.1)
        drain = Cancel()
        stop.on_cancel(drain.cancel)
        work(wish, lambda event: None, drain, stop)

    with ThreadPoolExecutor(1) as pool:
        yield lambda until=stop: pool.submit(jobs, until)
        stop.cancel()


def until(told: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if found := told():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come to be")


def application_of(operator: Operator, run: str) -> Any:
    def found() -> Any:
        there = {one["metadata"]["name"]: one for one in operator.applications()}
        return there.get(name_of(run))

    return until(found, name_of(run))


def test_the_workflow_of_the_users(
    caller: Caller, operator: Operator, sink: str, working: Working, tmp_path: Path
) -> None:
    said = caller.post("/transform", sql=TOTALS, executor_instances=4, executor_memory="8g")
    run = said["run_id"]
    assert (said["status"], said["engine"]) == ("submitted", "kubernetes")
    waiting = caller.get(f"/transform/{run}/status")
    assert set(waiting) >= STATUS_KEYS
    assert (waiting["state"], waiting["spark_application"]) == ("SUBMITTED", f"sql-exec-{run}")
    assert (waiting["namespace"], waiting["driver_pod"]) == (operator.namespace, f"sql-exec-{run}-driver")
    done = working()
    spec = application_of(operator, run)["spec"]
    assert (spec["executor"]["instances"], spec["executor"]["memory"]) == (4, "8g")
    assert spec["driver"]["memory"] == "512m"
    operator.says(run, "RUNNING", executorState={"a": "RUNNING", "b": "PENDING"})
    running = caller.get(f"/transform/{run}/status")
    assert (running["state"], running["executor_count"]) == ("RUNNING", 2)
    until(lambda: "RUNNING" in str(caller.get(f"/transform/{run}/events")), "the new state among the events")
    words = operator.runs(run, tmp_path, spark.environment())
    done.result(WAIT_SECONDS)
    has_log = isinstance(operator.cluster, StandIn)
    status = caller.get(f"/transform/{run}/status")
    assert (status["state"], status["error"]) == ("COMPLETED", None), words
    assert status["executor_count"] == 2
    assert {row["customer_id"]: row["total"] for row in caller.rows(status["table"], sink)} == {
        7: "3.75",
        8: "10.00",
    }
    metrics = caller.get(f"/transform/{run}/metrics")
    assert (metrics["executors"], metrics["peak_memory_bytes"], metrics["state"]) == (2, None, "COMPLETED")
    assert metrics["rows_out"] == (2 if has_log else None)
    assert metrics["duration_seconds"] > 0
    assert ('"state": "succeeded"' if has_log else "done") in caller.get(f"/transform/{run}/logs")["logs"]
    reasons = [event["reason"] for event in caller.get(f"/transform/{run}/events")["events"]]
    assert (reasons[0], reasons[-1]) == ("Submitted", "Completed")
    (listed,) = caller.get("/transform/jobs", status_filter="COMPLETED")["items"]
    assert (listed["run_id"], listed["spark_version"]) == (run, status["spark_version"])


def began(caller: Caller, operator: Operator, working: Working, **more: Any) -> tuple[str, Future[None]]:
    """A transform whose application runs."""
    run = caller.post("/transform", sql=TOTALS, **more)["run_id"]
    done = working()
    application_of(operator, run)
    operator.says(run, "RUNNING")
    return str(run), done


def process_of(job: str) -> psutil.Process:
    """The process of a job that runs."""

    def found() -> psutil.Process | None:
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                words = one.cmdline()
                if "--job" in words and job in words and "guard.py" not in " ".join(words):
                    return one
        return None

    process: psutil.Process = until(found, f"the process of {job}")
    return process


def test_a_run_goes_on_when_its_process_is_killed(
    caller: Caller, operator: Operator, sink: str, working: Working
) -> None:
    run, done = began(caller, operator, working)
    job = caller.get(f"/transform/{run}/status")["job_id"]
    first = application_of(operator, run)["metadata"]["uid"]
    os.kill(process_of(job).pid, signal.SIGKILL)
    until(lambda: caller.get(f"/transform/{run}/status")["attempt"] == 2, "the second attempt")
    assert caller.get(f"/transform/{run}/status")["state"] == "RUNNING"
    operator.says(run, "COMPLETED")
    done.result(WAIT_SECONDS)
    assert caller.get(f"/transform/{run}/status")["state"] == "COMPLETED"
    assert application_of(operator, run)["metadata"]["uid"] == first


def test_a_run_goes_on_when_its_worker_is_stopped(
    caller: Caller, operator: Operator, sink: str, working: Working
) -> None:
    stop = Cancel()
    run = caller.post("/transform", sql=TOTALS)["run_id"]
    stopped = working(stop)
    first = application_of(operator, run)["metadata"]["uid"]
    operator.says(run, "RUNNING")
    stop.cancel()
    stopped.result(WAIT_SECONDS)
    assert caller.get(f"/transform/{run}/status")["state"] == "PENDING_RERUN"
    assert application_of(operator, run)["metadata"]["uid"] == first
    done = working()
    operator.says(run, "COMPLETED")
    done.result(WAIT_SECONDS)
    assert caller.get(f"/transform/{run}/status")["state"] == "COMPLETED"


def test_who_calls_a_run_off_ends_its_application(
    caller: Caller, operator: Operator, sink: str, working: Working
) -> None:
    run, done = began(caller, operator, working)
    job = caller.get(f"/transform/{run}/status")["job_id"]
    until(lambda: "RUNNING" in str(caller.get(f"/transform/{run}/events")), "the state")
    caller.post(f"/jobs/{job}/cancel")
    done.result(WAIT_SECONDS)
    assert operator.applications() == []
    assert caller.get(f"/transform/{run}/status")["state"] == "CANCELLED"


def test_why_spark_failed(caller: Caller, operator: Operator, sink: str, working: Working) -> None:
    run, done = began(caller, operator, working)
    operator.says(run, "FAILED", error="driver container failed with ExitCode: 137, Reason: OOMKilled")
    done.result(WAIT_SECONDS)
    status = caller.get(f"/transform/{run}/status")
    assert (status["state"], status["attempt"]) == ("FAILED", 1)
    assert "OOMKilled" in status["error"]
    assert caller.get(f"/transform/{run}/metrics")["rows_out"] is None


def test_an_application_that_somebody_took_away(
    caller: Caller, operator: Operator, sink: str, working: Working
) -> None:
    run, done = began(caller, operator, working)
    until(lambda: "RUNNING" in str(caller.get(f"/transform/{run}/events")), "the state")
    assert operator.cluster.ask("DELETE", operator.path(run)).status == 200
    done.result(WAIT_SECONDS)
    assert "was taken out of the cluster" in caller.get(f"/transform/{run}/status")["error"]


def test_settings_that_do_not_fit(
    caller: Caller, operator: Operator, sink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARK_LAKE_CLAIM")
    assert "cannot reach the lake" in caller.refused("POST", "/transform", 422, sql=TOTALS)["what"]
    monkeypatch.setenv("SPARK_LAKE_CLAIM", "lake")
    monkeypatch.delenv("SPARK_IMAGE")
    assert "SPARK_IMAGE is not set" in caller.refused("POST", "/transform", 422, sql=TOTALS)["what"]
    monkeypatch.delenv("TRANSFORM_ENGINE")
    assert caller.post("/transform", sql=TOTALS)["engine"] == "duckdb"
    monkeypatch.setenv("SPARK_IMAGE", "example/spark:4.1")
    monkeypatch.setenv("KUBECONFIG", "nowhere")
    assert "no cluster" in caller.refused("POST", "/transform", 422, sql=TOTALS)["what"]


def test_a_sink_in_a_bucket(
    caller: Caller, operator: Operator, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARK_LAKE_CLAIM")
    store = shared_store("moto")
    bucket = new_bucket(store)
    config = {
        "s3_bucket_name": bucket, "s3_bucket_path": "bronze/", "s3_endpoint": store.url,
        "s3_bucket_region": "us-east-1", "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY,
    }  # fmt: skip
    sink = caller.post("/sink", destination_type="s3", destination_config=config, name="Bronze")["id"]
    assert caller.ingested(caller.datasource(), sink)["status"] == "done"
    said = caller.post("/transform", sql=TOTALS, table="totals")
    done = working()
    spec = application_of(operator, said["run_id"])["spec"]
    request = json.loads(spec["arguments"][1])
    (table,) = request["tables"]
    assert (table["name"], table["format"]) == ("source_data", "delta")
    # The same place as the lake has it, in the words of Hadoop.
    assert table["uri"] == f"s3a://{bucket}/bronze/my_files/orders"
    kept = S3Connection(**store.s3_config(bucket)).open(Cancel()).store
    assert [one for some in obstore.list(kept, "bronze/my_files/orders/_delta_log") for one in some]
    assert request["result"] == {
        "uri": f"s3a://{bucket}/silver/totals",
        "mode": "overwrite",
        "format": "delta",
    }
    assert spec["hadoopConf"]["fs.s3a.endpoint"] == store.url
    assert spec["hadoopConf"]["fs.s3a.path.style.access"] == "true"
    names = {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in spec["executor"]["env"]}
    assert names["AWS_SECRET_ACCESS_KEY"] == "s3-credentials"
    assert SECRET_KEY not in str(operator.applications())
    operator.says(said["run_id"], "COMPLETED")
    done.result(WAIT_SECONDS)


@pytest.mark.parametrize("cluster", ["stand-in"], indirect=True)
def test_a_cluster_that_does_not_answer_is_waited_for(
    caller: Caller, operator: Operator, sink: str, working: Working
) -> None:
    stumbling = operator.cluster
    assert isinstance(stumbling, StandIn)
    run, done = began(caller, operator, working)
    until(lambda: "RUNNING" in str(caller.get(f"/transform/{run}/events")), "the state")
    stumbling.failing.extend([503] * 3)
    until(lambda: not stumbling.failing, "what fails")
    operator.says(run, "COMPLETED")
    done.result(WAIT_SECONDS)
    assert caller.get(f"/transform/{run}/status")["state"] == "COMPLETED"
