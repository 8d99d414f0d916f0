"""One SELECT over what was ingested: what it reads, what it writes, and what it must not say."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from asgard.app.config.project import load_project
from asgard.app.documents.transforming import transform_task
from asgard.app.documents.transforms import STATES
from asgard.app.jobs.jobs import open_jobs, task_of
from asgard.app.jobs.tasks import do_task
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError
from asgard.core.table import Mount
from asgard.engines.duckdb import DuckDBEngine
from asgard.state.queue import NewJob
from asgard.transform.dependencies import names_read
from tests.api.callers import Caller

TOTALS = "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id ORDER BY 1"
STATUS_KEYS = {"run_id", "spark_application", "namespace", "state", "driver_pod", "executor_count",
               "creation_time", "spark_version"}  # fmt: skip
REFUSED = [
    "DELETE FROM orders",
    "DROP TABLE orders",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO orders SELECT 1",
    "UPDATE orders SET id = 1",
    "COPY orders TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "ATTACH '/tmp/x.db' AS x",
    "DETACH bronze",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET memory_limit = '1TB'",
    "RESET ALL",
    "CALL pragma_version()",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "VACUUM",
    "CHECKPOINT",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '/tmp/x'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('/tmp/x.parquet')",
    "SELECT * FROM parquet_scan('s3://bucket/x')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'data.parquet'",
    'SELECT * FROM "https://example.com/x.csv"',
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM orders WHERE id IN (SELECT id FROM read_csv('/etc/passwd'))",
    "WITH a AS (SELECT * FROM read_csv('/etc/passwd')) SELECT * FROM a",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM sqlite_scan('/tmp/x', 'y')",
    "SELECT * FROM postgres_scan('host=x', 'a', 'b')",
    "FROM read_csv('/etc/passwd')",
    "SELECT * FROM orders UNION ALL SELECT * FROM read_csv('/etc/passwd')",
    "",
    "not sql at all",
]


@pytest.fixture
def sink(caller: Caller) -> str:
    """A sink with the three orders in bronze."""
    sink = caller.sink()
    found = caller.ingested(caller.datasource(), sink)
    assert (found["status"], [table["total_rows"] for table in found["tables"]]) == ("done", [3])
    return sink


def submitted(caller: Caller, sql: str, **more: object) -> str:
    said = caller.post("/transform", sql=sql, **more)
    assert said["status"] == "submitted"
    assert re.fullmatch(r"[0-9a-f]{8}", said["run_id"])
    return str(said["run_id"])


def test_from_a_select_to_a_silver_table(caller: Caller, sink: str) -> None:
    run = submitted(caller, TOTALS, executor_instances=4, executor_memory="8g")
    waiting = caller.get(f"/transform/{run}/status")
    assert waiting["state"] == "SUBMITTED"
    assert caller.get(f"/transform/{run}/logs")["logs"] == ""
    assert caller.get(f"/transform/{run}/metrics")["duration_seconds"] is None
    caller.done()
    status = caller.get(f"/transform/{run}/status")
    assert set(status) >= STATUS_KEYS
    assert status["state"] == "COMPLETED"
    assert [status[key] for key in ("spark_application", "driver_pod", "spark_version")] == [None] * 3
    assert caller.rows(status["table"], sink) == [
        {"customer_id": 7, "total": "3.75"},
        {"customer_id": 8, "total": "10.00"},
    ]
    assert "2 rows" in caller.get(f"/transform/{run}/logs")["logs"]
    reasons = [event["reason"] for event in caller.get(f"/transform/{run}/events")["events"]]
    assert reasons[:2] == ["Submitted", "Started"]
    assert reasons[-1] == "Completed"
    metrics = caller.get(f"/transform/{run}/metrics")
    assert (metrics["rows_in"], metrics["rows_out"], metrics["executors"]) == (3, 2, None)
    assert min(metrics[key] for key in ("bytes_in", "bytes_out", "peak_memory_bytes", "duration_seconds")) > 0


def test_defaults_are_those_of_the_users_own_document(caller: Caller) -> None:
    said = caller.post("/transform", sql="SELECT 1 AS one")
    wanted = {"write_mode": "overwrite", "executor_instances": 2, "executor_cores": 1,
              "executor_memory": "512m", "driver_cores": 1, "driver_memory": "512m"}  # fmt: skip
    assert {key: said[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    "name", ["orders", "ORDERS", "source_data", "my_files.orders", "bronze.my_files.orders", '"orders"']
)
def test_a_table_is_found_by_every_name(caller: Caller, sink: str, name: str) -> None:
    run = submitted(caller, f"WITH o AS (SELECT * FROM {name}) SELECT COUNT(*) AS n FROM o", table="n")
    caller.done()
    assert caller.get(f"/transform/{run}/status")["error"] is None
    assert caller.rows("silver.n", sink) == [{"n": 3}]


def test_silver_is_read_as_well(caller: Caller, sink: str) -> None:
    submitted(caller, TOTALS, table="totals")
    caller.done()
    submitted(caller, "SELECT MAX(total) AS best FROM silver.totals", table="best")
    caller.done()
    assert caller.rows("silver.best", sink) == [{"best": "10.00"}]


def test_overwrite_and_append(caller: Caller, sink: str) -> None:
    for mode, rows in (("overwrite", 3), ("append", 6), ("append", 9), ("overwrite", 3)):
        submitted(caller, "SELECT id FROM orders", write_mode=mode, table="ids")
        caller.done()
        assert len(caller.rows("silver.ids", sink)) == rows


def test_questions_of_their_own_have_tables_of_their_own(caller: Caller) -> None:
    first, again, other = (
        caller.post("/transform", sql=sql)["table"]
        for sql in ("SELECT 1 AS a", "SELECT  1\nAS a", "SELECT 2 AS a")
    )
    assert first == again
    assert first != other


def test_a_run_that_is_tried_again_appends_nothing_twice(caller: Caller, sink: str) -> None:
    project = load_project(caller.folder)
    asked = {"sql": "SELECT id FROM orders", "write_mode": "append", "table": "ids", "sink": sink}
    for run, attempt in (("aaaa0001", "1"), ("aaaa0001", "2"), ("aaaa0002", "1"), ("aaaa0001", "3")):
        task = task_of("transform", run, asked)
        summary = transform_task(project, task, f"{run}-{attempt}", lambda event: None, None)
        assert summary.status == "done"
    assert sorted(row["id"] for row in caller.rows("silver.ids", sink)) == [1, 1, 2, 2, 3, 3]


def test_several_tables_are_no_source_data(caller: Caller, sink: str) -> None:
    (caller.folder / "files" / "customers.csv").write_text("id,name\n7,Ada\n")
    caller.ingested(caller.datasource("More"), sink)
    run = submitted(caller, TOTALS)
    also = submitted(caller, "SELECT * FROM orders")
    caller.done()
    for one in (run, also):
        found = caller.get(f"/transform/{one}/status")
        assert found["state"] == "FAILED"
        assert "could be each of" in found["error"]
    failed = caller.get("/transform/jobs", status_filter="FAILED")["items"]
    assert {one["run_id"] for one in failed} == {run, also}


def test_a_table_that_is_not_there_is_told_in_the_status(caller: Caller, sink: str) -> None:
    run = submitted(caller, "SELECT * FROM nothing")
    caller.done()
    status = caller.get(f"/transform/{run}/status")
    assert (status["state"], status["error"]) == ("FAILED", "there is no table nothing")
    warnings = [e for e in caller.get(f"/transform/{run}/events")["events"] if e["type"] == "Warning"]
    assert any("there is no table nothing" in event["message"] for event in warnings)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_select_is_refused_by_the_parser(caller: Caller, sql: str) -> None:
    caller.refused("POST", "/transform", 422, sql=sql)
    assert caller.get("/transform/jobs")["items"] == []
    if sql:
        with pytest.raises(AsgardError):
            names_read(sql)


@pytest.mark.parametrize("sql", REFUSED)
def test_and_by_the_engine_itself(sql: str, tmp_path: Path) -> None:
    with DuckDBEngine(200_000_000, spill_folder=tmp_path) as engine:
        orders = pa.table({"id": [1]})
        engine.attach("orders", Mount(orders.schema, reader=orders.to_reader))
        with pytest.raises(AsgardError):
            engine.query(sql).read_all()


def test_names_of_tables(caller: Caller) -> None:
    for table in ("a b", "gold.x", "../x", "1x", "x" * 101):
        caller.refused("POST", "/transform", 422, sql="SELECT 1 AS a", table=table)
    (caller.folder / "models" / "silver").mkdir(parents=True)
    (caller.folder / "models" / "silver" / "mine.sql").write_text("SELECT 1 AS a")
    said = caller.refused("POST", "/transform", 422, sql="SELECT 1 AS a", table="mine")
    assert "made by a model" in said["what"]


def test_jobs_are_listed_by_state_and_in_pages(caller: Caller) -> None:
    runs = [submitted(caller, f"SELECT {number} AS a") for number in range(3)]
    caller.done()
    runs.append(submitted(caller, "SELECT 9 AS a"))
    done = caller.get("/transform/jobs", limit=2, status_filter="COMPLETED")
    assert len(done["items"]) == 2
    rest = caller.get("/transform/jobs", limit=2, status_filter="COMPLETED", cursor=done["next"])
    assert rest["next"] is None
    assert {one["run_id"] for one in done["items"] + rest["items"]} == set(runs[:3])
    assert [one["run_id"] for one in caller.get("/transform/jobs", status_filter="submitted")["items"]] == [
        runs[3]
    ]
    assert caller.get("/transform/jobs", status_filter="RUNNING")["items"] == []
    caller.refused("GET", "/transform/jobs?status_filter=NONSENSE", 422)


def test_a_transform_that_is_called_off(caller: Caller) -> None:
    run = submitted(caller, "SELECT 1 AS a")
    job = caller.get(f"/transform/{run}/status")["job_id"]
    caller.post(f"/jobs/{job}/cancel")
    assert caller.get(f"/transform/{run}/status")["state"] == STATES["cancelled"]
    said = caller.refused("POST", f"/jobs/{job}/rerun", 422, failed_only=False)
    assert "POST /transform" in said["hint"]


def test_what_nobody_asked_for_is_not_there(caller: Caller) -> None:
    for part in ("status", "logs", "events", "metrics"):
        caller.refused("GET", f"/transform/00000000/{part}", 404)


def test_a_job_of_an_unknown_kind_is_refused(caller: Caller) -> None:
    project = load_project(caller.folder)
    with open_jobs(project) as store:
        (job,) = store.queue.add([NewJob(task_of("dance", "1", {}))])
    with pytest.raises(AsgardError, match="dance"):
        do_task(str(project.file), None, job, "r", lambda event: None, Cancel())
