"""A transform on the project's own Spark: the same request, answers and tables as on the embedded engine."""

from __future__ import annotations

import pytest

from tests.api.callers import Caller

TOTALS = "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id"
STATUS_KEYS = {"run_id", "spark_application", "namespace", "state", "driver_pod", "executor_count",
               "creation_time", "spark_version"}  # fmt: skip


def test_the_same_on_a_spark_without_a_cluster(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORM_ENGINE", "spark")
    sink = caller.sink()
    assert caller.ingested(caller.datasource(), sink)["status"] == "done"
    said = caller.post("/transform", sql=TOTALS)
    assert said["engine"] == "spark"
    caller.done()
    status = caller.get(f"/transform/{said['run_id']}/status")
    assert set(status) >= STATUS_KEYS
    assert (status["state"], status["spark_application"], status["error"]) == ("COMPLETED", None, None)
    assert {row["customer_id"]: row["total"] for row in caller.rows(status["table"], sink)} == {
        7: "3.75",
        8: "10.00",
    }
    metrics = caller.get(f"/transform/{said['run_id']}/metrics")
    assert (metrics["engine"], metrics["rows_in"], metrics["rows_out"]) == ("spark", 3, 2)
