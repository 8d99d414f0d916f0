"""Everybody's deletion vectors: others read ours and write on, and we read theirs and write on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pytest
from deltalake import QueryBuilder, write_deltalake

from asgard.core.stream import Mode
from asgard.engines.duckdb import DuckDBEngine
from asgard.engines.spark import SparkEngine
from asgard.lake.delta.table import LakeTable
from asgard.testing.content import content_hash
from asgard.transport import duck
from tests.lake.ground import STREAM, delta, folder_of, load, table_in, token, values
from tests.lake.vectors import EAGER, filled, snapshot_of, vectors_of, wide


@pytest.fixture
def merged(tmp_path: Path) -> LakeTable:
    """A table of three files, two with vectors, one of them twice marked; a checkpoint in between."""
    table = table_in(tmp_path, EAGER)
    filled(table, 5000)
    load(table, Mode.MERGE, wide((key, "b") for key in range(0, 5000, 50)), "1", keys=("id",))
    delta(tmp_path).create_checkpoint()
    load(table, Mode.MERGE, wide((key, "c") for key in range(0, 6000, 350)), "2", keys=("id",))
    assert len(vectors_of(tmp_path)) == 2
    return table


def expected() -> pa.RecordBatch:
    found = dict.fromkeys(range(5000), "old") | dict.fromkeys(range(0, 5000, 50), "b")
    return wide(sorted((found | dict.fromkeys(range(0, 6000, 350), "c")).items()))


def stream(found: Any) -> pa.Table:
    return pa.RecordBatchReader.from_stream(found).read_all()


def spark_rows(spark: Any, lake: Path) -> pa.Table:
    return spark.read.format("delta").load(str(folder_of(lake))).toArrow().select(["id", "v", "fill"])


def same(found: pa.Table) -> None:
    assert content_hash(found.cast(expected().schema)) == content_hash(expected())


def test_delta_rs_polars_and_duckdb_read_them(merged: LakeTable, tmp_path: Path) -> None:
    same(merged.scan().read_all())
    same(stream(delta(tmp_path).scan()))
    same(stream(QueryBuilder().register("t", delta(tmp_path)).execute("SELECT * FROM t")))
    same(polars.read_delta(str(folder_of(tmp_path))).to_arrow())
    connection = duck.connect(extensions=["delta"])
    same(connection.execute(f"FROM delta_scan('{folder_of(tmp_path)}')").to_arrow_table())
    connection.close()


def test_delta_rs_writes_on(merged: LakeTable, tmp_path: Path) -> None:
    write_deltalake(delta(tmp_path), pa.Table.from_batches([wide([(9000, "theirs")])]), mode="append")
    delta(tmp_path).delete("id = 1")
    load(merged, Mode.MERGE, wide([(9000, "ours"), (2, "ours")]), "3", keys=("id",))
    found = dict(values(merged.scan(["id", "v"]).read_all()))
    assert (found[9000], found[2], 1 in found, found[3], len(found)) == ("ours", "ours", False, "old", 5003)
    assert content_hash(stream(delta(tmp_path).scan(columns=["id", "v"]))) == content_hash(
        merged.scan(["id", "v"])
    )
    assert token(merged) == "3"


def test_spark_reads_them_and_marks_more(merged: LakeTable, tmp_path: Path, spark: Any) -> None:
    same(spark_rows(spark, tmp_path))
    where = f"delta.`{folder_of(tmp_path)}`"
    spark.sql(f"DELETE FROM {where} WHERE id IN (3, 75)")
    spark.sql(f"UPDATE {where} SET v = 'spark' WHERE id = 4")
    vectors = {path: vector.rows for path, vector in snapshot_of(tmp_path).vectors.items()}
    assert sorted(vectors.values()) == [15, 103]
    load(merged, Mode.MERGE, wide([(4, "ours"), (75, "ours")]), "3", keys=("id",))
    found = dict(values(merged.scan(["id", "v"]).read_all()))
    assert (3 in found, found[4], found[75], found[5], len(found)) == (False, "ours", "ours", "old", 5002)
    assert content_hash(spark_rows(spark, tmp_path)) == content_hash(merged.scan())
    assert merged.mount().rows == 5002


def test_a_table_that_spark_made_is_read_and_merged_into(tmp_path: Path, spark: Any) -> None:
    where = f"delta.`{folder_of(tmp_path)}`"
    spark.sql(
        f"CREATE TABLE {where} (id BIGINT, v STRING, fill STRING) USING delta "
        "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
    )
    spark.sql(f"INSERT INTO {where} SELECT id, 'theirs', '' FROM range(0, 200000, 1, 1)")
    spark.sql(f"DELETE FROM {where} WHERE id % 1000 = 7 OR id BETWEEN 70000 AND 70100")
    table = table_in(tmp_path, EAGER)
    count = 200_000 - 300
    assert (table.mount().rows, sum(v.rows for v in vectors_of(tmp_path))) == (count, 300)
    load(table, Mode.MERGE, wide([(7, "back"), (8, "ours")]), "1", keys=("id",))
    assert sum(v.rows for v in vectors_of(tmp_path)) == 301
    found = dict(values(table.scan(["id", "v"]).read_all()))
    assert (found[7], found[8], 1007 in found, len(found)) == ("back", "ours", False, count + 1)
    assert content_hash(spark_rows(spark, tmp_path)) == content_hash(table.scan())


def test_both_engines_tell_the_same(merged: LakeTable, spark: Any) -> None:
    question = "SELECT count(*) AS n, sum(id) AS s, max(v) AS v FROM t"
    found = []
    for engine in (SparkEngine(), DuckDBEngine(256 << 20)):
        with engine:
            engine.attach("t", merged.mount())
            found.append(
                [tuple(map(str, row.values())) for row in engine.query(question).read_all().to_pylist()]
            )
    assert found[0] == found[1]
    keys = expected().column(0).to_pylist()
    assert found[0] == [(str(len(keys)), str(sum(keys)), "old")]


def test_the_stream_goes_on_after_others_wrote(merged: LakeTable, tmp_path: Path) -> None:
    write_deltalake(delta(tmp_path), pa.Table.from_batches([wide([(9000, "theirs")])]), mode="append")
    assert merged.position(STREAM) is not None
    done = load(merged, Mode.MERGE, wide([(0, "d")]), "3", keys=("id",))
    assert (done.rows_added, done.rows_removed) == (1, 1)
