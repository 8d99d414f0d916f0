"""Spark on the same tables: it reads what we wrote; what it writes leaves positions true, or ends them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import DataError, PositionLost
from asgard.core.secret import Secret
from asgard.core.stream import Mode
from asgard.core.table import TableName
from asgard.lake.iceberg.catalog import RestAccess
from asgard.lake.iceberg.lake import IcebergLake
from asgard.lake.iceberg.table import IcebergTable
from asgard.testing.content import content_hash
from tests.lake.ground import NAME, STREAM, content, load, rows, token
from tests.lake.iceberg.ground import as_any, iceberg_table
from tests.lake.iceberg.test_foreign import everything, hashed
from tests.servers.iceberg_rest import CLIENT, SECRET, shared_iceberg_rest
from tests.servers.iceberg_spark import IcebergSession, iceberg_spark, jdbc_catalog, rest_catalog

pytestmark = pytest.mark.cluster

ORDERS = "asgard.bronze.shop.orders"
MERGE_ON_READ = f"ALTER TABLE {ORDERS} SET TBLPROPERTIES ('write.delete.mode'='merge-on-read')"
REWRITE = (
    "CALL asgard.system.rewrite_data_files(table => 'bronze.shop.orders', "
    "options => map('rewrite-all', 'true', 'delete-file-threshold', '1', 'remove-dangling-deletes', 'true'))"
)
EXPIRE = (
    "CALL asgard.system.expire_snapshots(table => 'bronze.shop.orders', "
    "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)"
)
BEFORE = {0: "v0", 1: "v1", 2: "v2", 3: "v3"}


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    """Four rows of two loads."""
    table = iceberg_table(tmp_path)
    for number in (0, 2):
        load(as_any(table), Mode.APPEND, rows([(n, f"v{n}") for n in (number, number + 1)]), str(number))
    return table


@pytest.fixture
def spark(table: IcebergTable, tmp_path: Path) -> IcebergSession:
    return iceberg_spark().session(jdbc_catalog(tmp_path))


def by_both(table: IcebergTable, spark: IcebergSession) -> dict[int, str | None]:
    """The rows, on which Spark and we agree."""
    ours = table.scan().read_all()
    assert hashed(spark.rows(f"SELECT * FROM {ORDERS}"), ours.schema) == content_hash(ours)
    pairs = list(zip(ours.column("id").to_pylist(), ours.column(1).to_pylist(), strict=True))
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def goes_on(table: IcebergTable, spark: IcebergSession, before: dict[int, str | None]) -> None:
    """The stream stands where it stood, and the next loads land once."""
    assert by_both(table, spark) == before
    assert token(as_any(table)) == "2"
    load(as_any(table), Mode.APPEND, rows([(10, "ten")]), "10", allow_missing=True)
    load(as_any(table), Mode.MERGE, rows([(10, "ten!"), (11, "x")]), "11", keys=("id",), allow_missing=True)
    assert by_both(table, spark) == before | {10: "ten!", 11: "x"}
    assert token(as_any(table)) == "11"


@pytest.mark.parametrize("catalog", ["sqlite", "rest"])
def test_spark_reads_values_of_every_type(tmp_path: Path, catalog: str) -> None:
    server = shared_iceberg_rest()
    uri = server.catalog()
    access = RestAccess(uri, credential=Secret(f"{CLIENT}:{SECRET}")) if catalog == "rest" else None
    table: Any = IcebergLake(tmp_path, access=access).table(NAME)
    load(table, Mode.APPEND, everything(), "1")
    settings = jdbc_catalog(tmp_path) if access is None else rest_catalog(server.properties(uri))
    spark = iceberg_spark().session(settings)
    assert hashed(spark.rows(f"SELECT * FROM {ORDERS}"), table.schema()) == content_hash(everything())
    spark.sql(f"INSERT INTO {ORDERS} SELECT * FROM {ORDERS} WHERE text IS NOT NULL")
    assert table.scan().read_all().num_rows == 5
    assert table.position(STREAM).token == "1"


HARMLESS: dict[str, tuple[list[str], dict[int, str | None]]] = {
    "append": ([f"INSERT INTO {ORDERS} VALUES (7, 'theirs')"], BEFORE | {7: "theirs"}),
    "update": ([f"UPDATE {ORDERS} SET v = 'u' WHERE id = 1"], BEFORE | {1: "u"}),
    "delete": ([f"DELETE FROM {ORDERS} WHERE id = 1"], {0: "v0", 2: "v2", 3: "v3"}),
    "merge": (
        [
            f"MERGE INTO {ORDERS} t USING (SELECT 1 AS id, 'm' AS v UNION ALL SELECT 8, 'n') s "
            "ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT *"
        ],
        BEFORE | {1: "m", 8: "n"},
    ),
    "compaction": ([REWRITE], BEFORE),
    "compaction and expiry": ([REWRITE, EXPIRE], BEFORE),
    "rewritten manifests": (["CALL asgard.system.rewrite_manifests('bronze.shop.orders')"], BEFORE),
    "tags and properties": (
        [
            f"ALTER TABLE {ORDERS} CREATE TAG audit",
            f"ALTER TABLE {ORDERS} SET TBLPROPERTIES ('comment'='ours and theirs')",
        ],
        BEFORE,
    ),
    "a new column": ([f"ALTER TABLE {ORDERS} ADD COLUMN theirs double"], BEFORE),
    "marked and rewritten": (
        [MERGE_ON_READ, f"DELETE FROM {ORDERS} WHERE id = 2", REWRITE],
        {0: "v0", 1: "v1", 3: "v3"},
    ),
}


@pytest.mark.parametrize("deed", HARMLESS)
def test_loads_go_on_exactly_once_over_what_spark_did(
    table: IcebergTable, spark: IcebergSession, deed: str
) -> None:
    statements, left = HARMLESS[deed]
    spark.sql(*statements)
    goes_on(table, spark, left)


ENDING = {
    "rollback": "CALL asgard.system.rollback_to_snapshot('bronze.shop.orders', {first})",
    "delete of all": f"DELETE FROM {ORDERS}",
    "truncate": f"TRUNCATE TABLE {ORDERS}",
    "overwrite": f"INSERT OVERWRITE {ORDERS} VALUES (1, 'theirs')",
}


@pytest.mark.parametrize("deed", ENDING)
def test_what_takes_rows_away_ends_the_position_and_says_so(
    table: IcebergTable, spark: IcebergSession, deed: str
) -> None:
    first = spark.rows(f"SELECT snapshot_id FROM {ORDERS}.snapshots ORDER BY committed_at")[0][0]
    spark.sql(ENDING[deed].format(first=first))
    with pytest.raises(PositionLost):
        table.position(STREAM)
    with pytest.raises(PositionLost):
        load(as_any(table), Mode.APPEND, rows([(9, "x")]), "9")
    table.accept(STREAM, resync=True)
    load(as_any(table), Mode.APPEND, rows([(9, "x")]), "9")
    assert by_both(table, spark) == {9: "x"}


REFUSED: dict[str, tuple[list[str], dict[int, str | None], str]] = {
    "rows are marked as deleted": (
        [MERGE_ON_READ, f"DELETE FROM {ORDERS} WHERE id = 1"],
        {0: "v0", 2: "v2", 3: "v3"},
        "delete rows",
    ),
    "a column is renamed": ([f"ALTER TABLE {ORDERS} RENAME COLUMN v TO w"], BEFORE, "other names"),
    "it is partitioned": ([f"ALTER TABLE {ORDERS} ADD PARTITION FIELD bucket(4, id)"], BEFORE, "partitioned"),
    "partitions are written": (
        [f"ALTER TABLE {ORDERS} ADD PARTITION FIELD v", f"INSERT INTO {ORDERS} VALUES (7, 'p')"],
        BEFORE | {7: "p"},
        "partitioned",
    ),
}


@pytest.mark.parametrize("deed", REFUSED)
def test_what_we_cannot_write_is_read_right_and_refused_by_name(
    table: IcebergTable, spark: IcebergSession, deed: str
) -> None:
    statements, left, why = REFUSED[deed]
    spark.sql(*statements)
    assert by_both(table, spark) == left
    assert token(as_any(table)) == "2"
    with pytest.raises(DataError, match=why):
        load(as_any(table), Mode.APPEND, rows([(9, "x")]), "9")
    assert table.compact("", lambda: False, pytest.fail) is None
    assert by_both(table, spark) == left


def test_a_column_that_was_dropped_does_not_come_back_with_its_old_values(
    table: IcebergTable, spark: IcebergSession
) -> None:
    spark.sql(f"ALTER TABLE {ORDERS} DROP COLUMN v", f"ALTER TABLE {ORDERS} ADD COLUMN v string")
    ours = table.scan().read_all()
    assert ours.column("v").null_count == 4
    assert hashed(spark.rows(f"SELECT * FROM {ORDERS}"), ours.schema) == content_hash(ours)
    with pytest.raises(DataError, match="other names"):
        load(as_any(table), Mode.APPEND, rows([(9, "x")]), "9")


def test_wider_types_of_spark_are_read_right(tmp_path: Path) -> None:
    table = iceberg_table(tmp_path)
    narrow = pa.schema([("id", pa.int32()), ("v", pa.float32())])
    batch = pa.RecordBatch.from_pylist([{"id": 1, "v": 1.5}, {"id": 2, "v": None}], narrow)
    load(as_any(table), Mode.APPEND, batch, "1")
    spark = iceberg_spark().session(jdbc_catalog(tmp_path))
    for column in ("id TYPE bigint", "v TYPE double"):
        spark.sql(f"ALTER TABLE {ORDERS} ALTER COLUMN {column}")
    spark.sql(f"INSERT INTO {ORDERS} VALUES ({2**40}, 2.5)")
    ours = table.scan().read_all()
    assert ours.schema.types == [pa.int64(), pa.float64()]
    assert sorted(ours.column("id").to_pylist()) == [1, 2, 2**40]
    assert hashed(spark.rows(f"SELECT * FROM {ORDERS}"), ours.schema) == content_hash(ours)


def test_tables_that_spark_made_are_found_and_read(
    tmp_path: Path, table: IcebergTable, spark: IcebergSession
) -> None:
    spark.sql(
        "CREATE NAMESPACE asgard.gold",
        "CREATE TABLE asgard.gold.theirs (id bigint, day date) USING iceberg PARTITIONED BY (day)",
        "INSERT INTO asgard.gold.theirs VALUES (1, DATE '2026-01-01'), (2, NULL)",
    )
    lake = IcebergLake(tmp_path)
    name = TableName("gold", "", "theirs")
    assert name in list(lake.tables())
    assert content(as_any(lake.table(name))) == [(1, date(2026, 1, 1)), (2, None)]  # type: ignore[arg-type]
