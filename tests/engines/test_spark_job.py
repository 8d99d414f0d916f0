"""The job of a cluster, run for real: as a process of its own on local Spark, and in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from asgard.engines import spark_job
from asgard.engines.spark_job import Failed, as_query, checked, readable, run
from asgard.testing.content import content_hash
from tests.servers.spark import environment

JOB = Path(spark_job.__file__)
ORDERS = pa.table({"id": [1, 2, 3], "customer": ["a", None, "a"], "amount": [10, 20, 30]})
SQL = "SELECT customer, sum(amount) AS amount FROM `bronze.shop.orders` AS orders GROUP BY customer"
SUMS = pa.table({"customer": ["a", None], "amount": [40, 20]})


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write_deltalake(str(tmp_path / "orders"), ORDERS)
    return tmp_path


def request_of(lake: Path, sql: str = SQL, mode: str = "overwrite", **more: Any) -> dict[str, Any]:
    orders = {"name": "bronze.shop.orders", "uri": (lake / "orders").as_uri(), "format": "delta"}
    result = {"uri": (lake / "result").as_uri(), "mode": mode, "format": "delta"}
    return {"format": 1, "run_id": "3f2a9c01", "sql": sql, "tables": [orders], "result": result, **more}


def rows_of(folder: Path) -> pa.Table:
    return pa.table(DeltaTable(str(folder)).to_pyarrow_table())


def process(request: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, str(JOB), "--request", json.dumps(request)]
    return subprocess.Popen(
        command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


# ---- the whole application


def test_the_application_writes_one_commit_and_tells_its_figures(lake: Path) -> None:
    metrics = lake / "metrics.json"
    done = process(request_of(lake, metrics_uri=metrics.as_uri()))
    out, errors = done.communicate(timeout=250)
    assert done.returncode == 0, errors
    told = json.loads(out.splitlines()[-1])
    assert {key: told[key] for key in ("format", "run_id", "state", "rows_out", "version")} == {
        **{"format": 1, "run_id": "3f2a9c01", "state": "succeeded", "rows_out": 2, "version": 0}
    }
    assert told["bytes_out"] > 0
    assert told["duration_seconds"] > 0
    assert json.loads(metrics.read_text()) == told
    assert content_hash(rows_of(lake / "result")) == content_hash(SUMS)


def test_the_application_ends_with_a_clear_message_where_its_sql_is_wrong(lake: Path) -> None:
    done = process(request_of(lake, "SELECT wrong FROM `bronze.shop.orders`"))
    out, errors = done.communicate(timeout=250)
    assert done.returncode == 2
    told = json.loads(out.splitlines()[-1])
    assert told["state"] == "failed"
    assert told["error"]["type"] == "QueryError"
    assert "`wrong` cannot be resolved" in told["error"]["what"]
    assert "`wrong` cannot be resolved" in errors
    assert not (lake / "result").exists()


def test_the_application_killed_while_it_writes_leaves_nothing_visible(lake: Path) -> None:
    write_deltalake(str(lake / "result"), pa.table({"id": [0]}))
    job = process(request_of(lake, "SELECT id FROM range(0, 200000000000, 1, 64)", mode="append"))
    try:
        end = time.monotonic() + 250
        while time.monotonic() < end and job.poll() is None and len(_data_files(lake)) < 2:
            time.sleep(0.1)
        assert job.poll() is None
        assert len(_data_files(lake)) > 1, "it was to be writing by now"
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
    assert DeltaTable(str(lake / "result")).version() == 0
    assert rows_of(lake / "result").num_rows == 1


def _data_files(lake: Path) -> list[Path]:
    return list((lake / "result").glob("*.parquet"))


# ---- what it does, in this process


def test_overwrite_takes_the_place_of_what_was_there_in_new_columns_too(spark: Any, lake: Path) -> None:
    write_deltalake(str(lake / "result"), pa.table({"other": ["x"]}))
    told = run(spark.newSession(), request_of(lake))
    assert (told["rows_out"], told["version"]) == (2, 1)
    assert content_hash(rows_of(lake / "result")) == content_hash(SUMS)


def test_an_append_that_is_started_again_appends_nothing_twice(spark: Any, lake: Path) -> None:
    first, second = (request_of(lake, mode="append", run_id=name) for name in ("3f2a9c01", "77aa00bb"))
    assert run(spark.newSession(), first)["version"] == 0
    run(spark.newSession(), first)
    assert run(spark.newSession(), second)["rows_out"] == 2
    assert content_hash(rows_of(lake / "result")) == content_hash(pa.concat_tables([SUMS, SUMS]))


def test_a_table_is_read_at_its_version_and_as_source_data_and_as_parquet(spark: Any, lake: Path) -> None:
    write_deltalake(str(lake / "orders"), ORDERS, mode="append")
    request = request_of(lake, source_data=(lake / "orders").as_uri())
    request["tables"][0]["version"] = 0
    request["tables"].append({"name": "plain", "uri": (lake / "orders").as_uri(), "format": "parquet"})
    request["sql"] = (
        "SELECT (SELECT count(*) FROM source_data) AS whole, (SELECT count(*) FROM plain) AS plain, "
        "count(*) AS old FROM `bronze.shop.orders`"
    )
    run(spark.newSession(), request)
    assert rows_of(lake / "result").to_pylist() == [{"whole": 6, "plain": 6, "old": 3}]


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELECT * FROM nowhere", "QueryError", "nowhere"),
        ("SELEC 1", "QueryError", "SELEC"),
        ("SELECT 1 AS a; SELECT 2 AS b", "QueryError", ";"),
        ("DROP VIEW `bronze.shop.orders`", "QueryError", "DROP"),
        ("INSERT INTO t VALUES (1)", "QueryError", "INSERT"),
        ("SELECT 1 AS a) SELECT 2 AS b --", "QueryError", "(line 2,"),
        ("SELECT * FROM parquet.`/etc`", "QueryError", "parquet"),
        ("SELECT * FROM delta.`/etc`", "QueryError", "delta"),
        ("SELECT reflect('java.lang.System', 'exit', 3) AS x", "Refused", "reflect"),
        ("SELECT `java_method`('java.lang.System', 'exit', 3) AS x", "Refused", "java_method"),
        ("SELECT TRANSFORM(id) USING 'cat' FROM `bronze.shop.orders`", "Refused", "USING"),
        ("SELECT 1 / (id - 1) AS x FROM `bronze.shop.orders`", "DataError", "Division by zero"),
        ("SELECT CAST(customer AS INT) AS x FROM `bronze.shop.orders`", "DataError", "'a'"),
        ("SELECT 9223372036854775807 + id AS x FROM `bronze.shop.orders`", "DataError", "overflow"),
    ],
)
def test_what_is_no_good_query_is_told_in_plain_words_and_writes_nothing(
    spark: Any, lake: Path, sql: str, kind: str, said: str
) -> None:
    with pytest.raises(Failed) as failed:
        run(spark.newSession(), request_of(lake, sql))
    assert failed.value.kind == kind
    assert said in failed.value.what
    assert "org.apache" not in failed.value.what
    assert "SQLSTATE" not in failed.value.what
    assert not (lake / "result" / "_delta_log").exists() or not list(
        (lake / "result" / "_delta_log").glob("*.json")
    )
    assert spark.range(1).count() == 1, "the driver lives"


def test_a_statement_may_end_with_a_semicolon_and_name_its_parts_as_it_likes(spark: Any, lake: Path) -> None:
    sql = (
        "WITH a AS (SELECT 'it''s ; DROP' AS t, id FROM `bronze.shop.orders`) SELECT t, id FROM a -- all;\n;"
    )
    run(spark.newSession(), request_of(lake, sql))
    assert rows_of(lake / "result").num_rows == 3


# ---- the request


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "format 1"),
        ('{"format": 2}', "another version"),
        ('{"format": 1, "run_id": "a"}', "no sql"),
        ('{"format": 1, "run_id": "a", "sql": "x", "result": {"uri": "u", "mode": "merge"}}', "mode"),
        (
            '{"format": 1, "run_id": "a", "sql": "x",'
            ' "result": {"uri": "u", "mode": "append", "format": "csv"}}',
            "not csv",
        ),
        (
            '{"format": 1, "run_id": "a", "sql": "x", "tables": [{"name": "t"}],'
            ' "result": {"uri": "u", "mode": "append"}}',
            "each of tables",
        ),
    ],
)
def test_a_request_of_another_shape_is_refused(text: str, said: str) -> None:
    with pytest.raises(Failed, match=said) as failed:
        checked(text)
    assert failed.value.exit_code == 2


def test_the_job_needs_nothing_of_asgard() -> None:
    text = JOB.read_text()
    assert "import asgard" not in text
    assert "from asgard" not in text


def test_words_inside_of_texts_and_comments_are_no_code() -> None:
    assert "reflect" in as_query("SELECT 'reflect(' AS a, \"using 'x'\" AS b -- reflect('x')")
    assert as_query("SELECT 1;").count(";") == 0


def test_a_message_loses_its_class_and_its_stack() -> None:
    text = "org.apache.spark.SparkException: [A_B.C] Too bad. SQLSTATE: 22012\n\tat org.apache.x.y(Z.java:1)"
    assert readable(text) == "Too bad."
