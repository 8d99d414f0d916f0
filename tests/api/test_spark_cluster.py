"""The users' whole workflow on Spark: the API in front, a real API server behind, and Spark itself at work.

The test is the operator: it takes the application out of the cluster, as the operator would, and runs its
file on a Spark of this machine. No pod is there, so nothing of the driver's log comes from the cluster here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from asgard.engines.spark_application import name_of
from tests.api.callers import Caller
from tests.servers import spark
from tests.servers.kubernetes import ADMIN_TOKEN, shared_cluster
from tests.servers.spark_operator import Operator, with_kind

pytestmark = pytest.mark.cluster
TOTALS = "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id"
STATUS_KEYS = {"run_id", "spark_application", "namespace", "state", "driver_pod", "executor_count",
               "creation_time", "spark_version"}  # fmt: skip
WAIT_SECONDS = 120


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The operator of a namespace of this test's own, to which the settings send transforms."""
    cluster = with_kind(shared_cluster())
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


@pytest.fixture
def working(caller: Caller) -> Iterator[Callable[[], Future[None]]]:
    """Has the jobs that wait done, beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda: pool.submit(caller.done)


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
    caller: Caller, operator: Operator, sink: str, working: Callable[[], Future[None]], tmp_path: Path
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
    status = caller.get(f"/transform/{run}/status")
    assert (status["state"], status["error"]) == ("COMPLETED", None), words
    assert status["executor_count"] == 2
    assert {row["customer_id"]: row["total"] for row in caller.rows(status["table"], sink)} == {
        7: "3.75",
        8: "10.00",
    }
    metrics = caller.get(f"/transform/{run}/metrics")
    assert (metrics["executors"], metrics["peak_memory_bytes"], metrics["state"]) == (2, None, "COMPLETED")
    assert "done" in caller.get(f"/transform/{run}/logs")["logs"]
    reasons = [event["reason"] for event in caller.get(f"/transform/{run}/events")["events"]]
    assert (reasons[0], reasons[-1]) == ("Submitted", "Completed")
    (listed,) = caller.get("/transform/jobs", status_filter="COMPLETED")["items"]
    assert (listed["run_id"], listed["spark_version"]) == (run, status["spark_version"])
