"""The embedded engine over real Parquet files: names, types, streaming, locks, errors, interruption."""

from __future__ import annotations

import collections
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from datetime import time as daytime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, Cancelled, DataError, OutOfSpace, QueryError, Refused
from asgard.core.table import Mount, TableName
from asgard.engines.duckdb import BATCH_ROWS, DuckDBEngine

MEBIBYTE = 1 << 20
ORDERS = pa.table({"id": [1, 2, 3], "amount": pa.array([Decimal("1.50"), None, Decimal("-3.00")])})

Mounted = Callable[..., Mount]


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        yield engine


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """Writes each table to a file of its own and mounts them together, with the first one's schema."""

    def write(*tables: pa.Table, schema: pa.Schema | None = None) -> Mount:
        files = []
        for table in tables:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
            pq.write_table(table, path)
            files.append(str(path))
        return Mount(schema or tables[0].schema, tuple(files))

    return write


def rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    with engine.query(sql) as reader:
        found: list[dict[str, Any]] = reader.read_all().to_pylist()
    return found


# ---- names


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        (TableName("bronze", "shop", "orders"), "bronze.shop.orders"),
        (TableName("bronze", "shop", "orders"), '"bronze"."shop"."orders"'),
        (TableName("bronze", "shop", "orders"), "BRONZE.Shop.ORDERS"),
        (TableName("silver", "", "orders"), "silver.orders"),
        (TableName("gold", "", "revenue"), '"gold".revenue'),
        (TableName("gold", "", "select"), 'gold."select"'),
        (TableName("bronze", "größe ё", 'a"b c.d;-- '), 'bronze."größe ё"."a""b c.d;-- "'),
        (TableName("bronze", "main", "main"), "bronze.main.main"),
        ("fresh", "fresh"),
        ("with.dots", '"with.dots"'),
    ],
)
def test_every_spelling_of_a_name_finds_its_table(
    engine: DuckDBEngine, mounted: Mounted, name: TableName | str, sql: str
) -> None:
    engine.attach(name, mounted(ORDERS))
    assert rows(engine, f"SELECT id FROM {sql} ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_a_column_is_found_by_its_tables_whole_name(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach(TableName("bronze", "shop", "orders"), mounted(ORDERS))
    engine.attach(TableName("silver", "", "orders"), mounted(ORDERS.slice(0, 1)))
    sql = (
        "SELECT bronze.shop.orders.id AS a, silver.orders.id AS b FROM bronze.shop.orders "
        "JOIN silver.orders ON bronze.shop.orders.id = silver.orders.id"
    )
    assert rows(engine, sql) == [{"a": 1, "b": 1}]


def test_a_source_may_be_called_like_a_layer(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach(TableName("bronze", "silver", "orders"), mounted(ORDERS.slice(0, 1)))
    engine.attach(TableName("silver", "", "orders"), mounted(ORDERS.slice(1, 1)))
    assert rows(engine, "SELECT id FROM bronze.silver.orders UNION ALL SELECT id FROM silver.orders") == [
        {"id": 1},
        {"id": 2},
    ]


def test_attaching_a_name_again_replaces_it_also_after_a_query(
    engine: DuckDBEngine, mounted: Mounted
) -> None:
    engine.attach("t", mounted(ORDERS))
    assert len(rows(engine, "FROM t")) == 3
    engine.attach("T", mounted(ORDERS.slice(0, 1)))
    assert rows(engine, "SELECT id FROM t") == [{"id": 1}]


# ---- mounts


def test_files_of_older_schemas_are_read_in_the_tables_schema(engine: DuckDBEngine, mounted: Mounted) -> None:
    old = pa.table(
        {"id": pa.array([1], pa.int32()), "amount": pa.array([Decimal("1.5")], pa.decimal128(4, 1))}
    )
    new = pa.table(
        {
            "note": ["new"],
            "id": pa.array([2**40]),
            "amount": pa.array([Decimal("2.25")], pa.decimal128(12, 2)),
            "nested": pa.array([{"a": 1, "b": "x"}]),
        }
    )
    schema = pa.schema([new.schema.field(name) for name in ("id", "amount", "note", "nested")])
    schema = schema.append(pa.field("later", pa.timestamp("us", "UTC")))
    engine.attach("t", mounted(old, new, schema=schema))
    with engine.query("SELECT * FROM t ORDER BY id") as reader:
        found = reader.read_all()
    assert found.schema == schema
    assert found.to_pylist() == [
        {"id": 1, "amount": Decimal("1.50"), "note": None, "nested": None, "later": None},
        {"id": 2**40, "amount": Decimal("2.25"), "note": "new", "nested": {"a": 1, "b": "x"}, "later": None},
    ]


def test_a_struct_that_grew_a_field_is_null_there_in_old_files(
    engine: DuckDBEngine, mounted: Mounted
) -> None:
    old = pa.table({"s": pa.array([{"a": 1}]), "l": pa.array([[{"x": 1}]])})
    schema = pa.schema(
        {
            "s": pa.struct({"a": pa.int64(), "b": pa.string()}),
            "l": pa.list_(pa.struct({"x": pa.int64(), "y": pa.string()})),
        }
    )
    engine.attach("t", mounted(old, schema=schema))
    assert rows(engine, "FROM t") == [{"s": {"a": 1, "b": None}, "l": [{"x": 1, "y": None}]}]


def test_a_mount_without_files_is_empty_and_typed(engine: DuckDBEngine) -> None:
    schema = pa.schema(
        {
            "id": pa.int64(),
            'odd "name"': pa.decimal128(38, 10),
            "at": pa.timestamp("us", "UTC"),
            "tags": pa.list_(pa.field("l", pa.string())),
            "data": pa.binary(),
        }
    )
    engine.attach(TableName("silver", "", "none"), Mount(schema))
    with engine.query("SELECT * FROM silver.none") as reader:
        found = reader.read_all()
    assert (found.num_rows, found.schema) == (0, schema)


def test_a_reader_is_opened_anew_for_every_scan(engine: DuckDBEngine) -> None:
    opened = []

    def read() -> pa.RecordBatchReader:
        opened.append(1)
        return pa.table({"k": pa.array([1, 2], pa.int32())}).to_reader()

    engine.attach(TableName("gold", "", "r"), Mount(pa.schema({"k": pa.int64()}), reader=read))
    assert rows(engine, "SELECT a.k + b.k AS s FROM gold.r a JOIN gold.r b USING (k) ORDER BY 1") == [
        {"s": 2},
        {"s": 4},
    ]
    assert rows(engine, "SELECT count(*) AS n FROM gold.r") == [{"n": 2}]
    assert len(opened) == 3


def test_names_of_files_are_never_patterns(engine: DuckDBEngine, tmp_path: Path) -> None:
    wanted, other = tmp_path / "a[1]*" / "b?'c.parquet", tmp_path / "a1x" / "bb'c.parquet"
    for path, value in ((wanted, 1), (other, 2)):
        path.parent.mkdir()
        pq.write_table(pa.table({"k": [value]}), path)
    engine.attach("t", Mount(pa.schema({"k": pa.int64()}), (str(wanted),)))
    assert rows(engine, "FROM t") == [{"k": 1}]


def test_folders_that_look_like_partitions_add_no_column(engine: DuckDBEngine, tmp_path: Path) -> None:
    path = tmp_path / "year=2026" / "x.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"k": [1]}), path)
    engine.attach("t", Mount(pa.schema({"k": pa.int64()}), (str(path),)))
    assert rows(engine, "FROM t") == [{"k": 1}]


# ---- values

EXACT: dict[str, tuple[pa.DataType, list[Any]]] = {
    "bool": (pa.bool_(), [True, False, None]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1, 0, None]),
    "decimal": (pa.decimal128(38, 10), [Decimal("9" * 28 + "." + "9" * 10), Decimal("-0.0000000001"), None]),
    "double": (pa.float64(), [0.1, -0.0, float("inf"), 5e-324, None]),
    "float": (pa.float32(), [0.5, float("-inf"), None]),
    "text": (pa.string(), ["", "a\x00b", "Ünï\U0001f600", '{"a": 1.10}', None]),
    "binary": (pa.binary(), [b"", b"\x00\xff", None]),
    "date": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), None]),
    "time": (pa.time64("us"), [daytime(0, 0), daytime(23, 59, 59, 999999), None]),
    "naive": (pa.timestamp("us"), [datetime(1, 1, 1), datetime(2026, 3, 29, 2, 30, 0, 1), None]),
    "instant": (pa.timestamp("us", "UTC"), [datetime(2026, 10, 25, 0, 30, 0, 999999, UTC), None]),
    "list": (pa.list_(pa.field("l", pa.int64())), [[1, None], [], None]),
    "struct": (pa.struct({"a b": pa.int64(), "c": pa.string()}), [{"a b": 1, "c": None}, None]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("k", 1)], [], None]),
    "ubigint": (pa.uint64(), [2**64 - 1, None]),
}


@pytest.mark.parametrize("kind", EXACT)
def test_values_pass_exactly(engine: DuckDBEngine, mounted: Mounted, kind: str) -> None:
    type_, values = EXACT[kind]
    table = pa.table({"v": pa.array(values, type_)})
    engine.attach("t", mounted(table))
    with engine.query("SELECT v FROM t") as reader:
        found = reader.read_all()
    assert found.schema.types == [type_]
    assert found.column("v").to_pylist() == values


@pytest.mark.parametrize(
    ("type_", "read"),
    [
        (pa.large_string(), pa.string()),
        (pa.dictionary(pa.int32(), pa.string()), pa.string()),
        (pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.date64(), pa.date32()),
        (pa.binary(2), pa.binary()),
        (pa.large_binary(), pa.binary()),
    ],
)
def test_types_of_other_writers_are_read(
    engine: DuckDBEngine, mounted: Mounted, type_: pa.DataType, read: pa.DataType
) -> None:
    values = {"date": [date(2026, 1, 1)], "timestamp": [datetime(2026, 1, 1)], "binary": [b"ab"]}
    kind = next((name for name in values if name in str(type_)), "")
    table = pa.table({"v": pa.array(values.get(kind, ["ab"]), type_)})
    engine.attach("t", mounted(table))
    with engine.query("SELECT v FROM t") as reader:
        found = reader.read_all()
    assert found.schema.types == [read]
    assert found.column("v").cast(type_) == table.column("v")


def test_a_type_that_duckdb_lacks_is_named(engine: DuckDBEngine) -> None:
    engine.attach("t", Mount(pa.schema({"v": pa.decimal256(60, 0)})))
    with pytest.raises(DataError, match="decimal256"):
        engine.query("FROM t")


def test_the_time_zone_is_utc(engine: DuckDBEngine) -> None:
    found = rows(engine, "SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00+00' AS VARCHAR) AS v")
    assert found == [{"v": "2026-01-01 00:00:00+00"}]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))),
            st.one_of(st.none(), st.decimals(-(10**18), 10**18, places=6)),
        ),
        max_size=20,
    )
)
def test_whatever_was_written_is_read(tmp_path: Path, values: list[tuple[Any, ...]]) -> None:
    schema = pa.schema({"i": pa.int64(), "s": pa.string(), "d": pa.decimal128(30, 6)})
    columns = [list(column) for column in zip(*values, strict=True)] or [[], [], []]
    table = pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
    pq.write_table(table, tmp_path / "t.parquet")
    with DuckDBEngine(128 * MEBIBYTE) as engine:
        engine.attach("t", Mount(schema, (str(tmp_path / "t.parquet"),)))
        assert rows(engine, "SELECT * FROM t") == table.to_pylist()


# ---- streams


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 5 * BATCH_ROWS])
def test_rows_come_in_their_order_and_in_small_batches(
    engine: DuckDBEngine, mounted: Mounted, count: int
) -> None:
    halves = [
        pa.table({"i": pa.array(range(lo, hi), pa.int64())})
        for lo, hi in ((0, count // 2), (count // 2, count))
    ]
    engine.attach("t", mounted(*halves))
    batches = list(engine.query("SELECT i FROM t"))
    assert [value for batch in batches for value in batch.column("i").to_pylist()] == list(range(count))
    assert max((batch.num_rows for batch in batches), default=0) <= BATCH_ROWS


def test_a_result_larger_than_memory_streams(engine: DuckDBEngine) -> None:
    """10 GB of rows would not fit; the first batches come at once."""
    started = time.monotonic()
    with engine.query("SELECT i, repeat('x', 1000) AS s FROM range(10_000_000) t(i)") as reader:
        seen = [reader.read_next_batch().num_rows for _ in range(20)]
    assert seen == [BATCH_ROWS] * 20
    assert time.monotonic() - started < 10


def test_another_query_can_follow_a_reader_that_was_closed_early(engine: DuckDBEngine) -> None:
    with engine.query("SELECT * FROM range(10_000_000)") as reader:
        reader.read_next_batch()
    assert rows(engine, "SELECT 1 AS one") == [{"one": 1}]


def test_grouping_spills_and_leaves_nothing_behind(tmp_path: Path) -> None:
    spill = tmp_path / "not yet there"
    with DuckDBEngine(80 * MEBIBYTE, threads=1, spill_folder=spill) as engine:
        reader = engine.query(
            "SELECT count(*) AS n FROM (SELECT i, hash(i) AS h, repeat('k', 40) || i AS k "
            "FROM range(3_000_000) t(i) ORDER BY h) WHERE k IS NOT NULL"
        )
        assert reader.read_all().to_pylist() == [{"n": 3_000_000}]
    assert list(spill.iterdir()) == []


def test_what_exceeds_memory_and_spill_is_out_of_space(tmp_path: Path) -> None:
    with (
        DuckDBEngine(40 * MEBIBYTE, spill_folder=tmp_path) as engine,
        pytest.raises(OutOfSpace, match="memory"),
    ):
        rows(engine, "SELECT list(repeat('x', 100) || i) AS l FROM range(3_000_000) t(i)")


# ---- the lock


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('{secret}')",
        "FROM read_csv('{secret}')",
        "FROM '{other}'",
        "FROM read_parquet('{other}')",
        "FROM parquet_metadata('{other}')",
        "FROM read_parquet('{folder}/*.parquet')",
        "FROM glob('{folder}/*')",
        "FROM read_csv('https://127.0.0.1:1/x.csv')",
        "FROM duckdb_secrets()",
        "FROM enable_logging(storage = 'file', storage_path = '{folder}/log')",
        "SELECT (SELECT count(*) FROM system.main.ENABLE_LOGGING())",
        "WITH a AS (SELECT * FROM arrow_scan(1, 2, 3)) SELECT * FROM a",
        "FROM query('FROM read_text(''{secret}'')')",
        "FROM query_table('{other}')",
        "FROM json_execute_serialized_sql('{{}}')",
    ],
)
def test_a_select_reads_the_attached_tables_and_nothing_else(
    engine: DuckDBEngine, mounted: Mounted, tmp_path: Path, sql: str
) -> None:
    secret, other = tmp_path / "secret.csv", tmp_path / "other.parquet"
    secret.write_text("a\ncanary\n")
    pq.write_table(ORDERS, other)
    engine.attach("t", mounted(ORDERS))
    with pytest.raises(Refused) as caught:
        rows(engine, sql.format(secret=secret, other=other, folder=tmp_path))
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "log").exists()
    assert len(rows(engine, "FROM t")) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "FROM range(3)",
        "FROM generate_series(1, 3)",
        "FROM unnest([1, 2, 3])",
        "SELECT unnest([1, 2, 3])",
        "FROM json_each('[1, 2, 3]')",
        """SELECT 1 FROM range(3) WHERE '"type":"TABLE_FUNCTION", "function_name":"glob"' <> ''""",
    ],
)
def test_functions_that_make_rows_are_run(engine: DuckDBEngine, sql: str) -> None:
    assert len(rows(engine, sql)) == 3


def test_a_long_statement_is_run(engine: DuckDBEngine) -> None:
    assert rows(engine, "SELECT " + "+".join(["1"] * 150) + " AS n") == [{"n": 150}]
    numbers = ", ".join(map(str, range(20_000)))
    assert rows(engine, f"SELECT 19_999 IN ({numbers}) AS there") == [{"there": True}]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "COPY t TO '{folder}/out.csv'",
        "ATTACH '{folder}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "PRAGMA threads = 100",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW t",
        "SELECT 1; DROP VIEW t",
        "SELECT 1; SELECT 2",
        "EXPORT DATABASE '{folder}/x'",
        "CALL pragma_version()",
        "-- nothing",
        "",
    ],
)
def test_only_one_select_is_run(engine: DuckDBEngine, mounted: Mounted, tmp_path: Path, sql: str) -> None:
    engine.attach("t", mounted(ORDERS))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(QueryError, match="exactly one SELECT"):
        engine.query(sql.format(folder=tmp_path))
    with pytest.raises(QueryError, match="exactly one SELECT"):
        engine.explain(sql.format(folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    assert len(rows(engine, "FROM t")) == 3


def test_variables_of_the_program_are_no_tables(engine: DuckDBEngine) -> None:
    local = pa.table({"x": [1]})
    assert local.num_rows == 1
    with pytest.raises(QueryError, match="there is no table local"):
        engine.query("SELECT * FROM local")


@pytest.mark.parametrize("sql", ["VALUES (1)", "DESCRIBE t", "SHOW TABLES", "SUMMARIZE t", "SELECT 1;;"])
def test_what_only_looks_is_run(engine: DuckDBEngine, mounted: Mounted, sql: str) -> None:
    engine.attach("t", mounted(ORDERS))
    assert rows(engine, sql)


def test_pivot_says_how_it_can_be_written(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(ORDERS))
    with pytest.raises(QueryError) as caught:
        engine.query("PIVOT t ON id USING count(*)")
    assert "IN (...)" in caught.value.hint
    assert rows(engine, "SELECT * FROM (PIVOT t ON id IN (1) USING count(*)) LIMIT 1")


# ---- errors


def test_a_missing_table_names_near_ones_and_its_place(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach(TableName("bronze", "shop", "orders"), mounted(ORDERS))
    with pytest.raises(QueryError) as caught:
        engine.query("SELECT *\n  FROM bronze.shop.ordrs")
    error = caught.value
    assert error.what == "there is no table bronze.shop.ordrs"
    assert error.hint == "did you mean bronze.shop.orders?"
    assert error.where == {"line": "2", "column": "8"}


@pytest.mark.parametrize("sql", ["SELECT * FROM gold.nothing", "SELECT * FROM nothing"])
def test_a_table_like_no_other_is_missing_too(engine: DuckDBEngine, sql: str) -> None:
    with pytest.raises(QueryError, match=r"there is no table (gold\.)?nothing"):
        engine.query(sql)


def test_a_missing_column_names_those_that_there_are(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(ORDERS))
    with pytest.raises(QueryError, match='"amnt" not found') as caught:
        engine.query("SELECT amnt FROM t")
    assert "amount" in caught.value.what


def test_wrong_syntax_shows_where(engine: DuckDBEngine) -> None:
    for blanks in (1, 300):
        with pytest.raises(
            QueryError, match=r'^line 2, column [0-9]+: syntax error at or near "2"$'
        ) as caught:
            engine.query(f"SELECT id,\n{' ' * blanks}1 2 FROM t")
        assert caught.value.where == {"line": "2", "column": str(blanks + 3)}


def test_an_error_in_the_middle_of_a_stream_is_ours(engine: DuckDBEngine) -> None:
    sql = "SELECT CASE WHEN i > 3_000_000 THEN error('late') ELSE i END AS v FROM range(5_000_000) t(i)"
    reader = engine.query(sql)
    with pytest.raises(DataError, match="late"):
        collections.deque(reader, maxlen=0)
    assert rows(engine, "SELECT 1 AS one") == [{"one": 1}]


def test_a_value_that_cannot_be_cast_is_a_data_error(engine: DuckDBEngine) -> None:
    with pytest.raises(DataError, match="Could not convert string"):
        rows(engine, "SELECT CAST(s AS INTEGER) FROM (VALUES ('1'), ('x')) t(s)")


def test_a_truncated_file_is_an_error_and_no_rows(engine: DuckDBEngine, mounted: Mounted) -> None:
    mount = mounted(ORDERS)
    path = Path(mount.files[0])
    path.write_bytes(path.read_bytes()[:-20])
    engine.attach("t", mount)
    with pytest.raises(AsgardError, match="magic bytes"):
        rows(engine, "FROM t")


@pytest.mark.parametrize("opened", [False, True])
def test_a_missing_file_is_an_error_of_the_data_and_no_rows(
    engine: DuckDBEngine, mounted: Mounted, opened: bool
) -> None:
    mount = mounted(ORDERS)
    engine.attach("t", mount)
    if opened:
        assert len(rows(engine, "FROM t")) == 3
    Path(mount.files[0]).unlink()
    with pytest.raises(DataError, match=r"no file .*\.parquet") as caught:
        rows(engine, "FROM t")
    assert "taken away" in caught.value.hint


# ---- stopping


def test_a_query_is_interrupted_from_another_thread(engine: DuckDBEngine) -> None:
    timer = threading.Timer(0.3, engine.interrupt)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        rows(engine, "SELECT count(*) FROM range(100_000_000_000) t(i) WHERE hash(i) % 7 = 1")
    timer.join()
    assert time.monotonic() - started < 20
    assert rows(engine, "SELECT 1 AS one") == [{"one": 1}]


def test_a_stream_is_interrupted_between_batches(engine: DuckDBEngine) -> None:
    reader = engine.query("SELECT i FROM range(1_000_000_000) t(i)")
    reader.read_next_batch()
    engine.interrupt()
    with pytest.raises(Cancelled):
        collections.deque(reader, maxlen=0)


def test_interrupting_nothing_does_nothing(engine: DuckDBEngine) -> None:
    engine.interrupt()
    assert rows(engine, "SELECT 1 AS one") == [{"one": 1}]
    engine.interrupt()
    assert rows(engine, "SELECT 2 AS two") == [{"two": 2}]


def test_closing_twice_is_fine_and_a_query_opens_again(mounted: Mounted) -> None:
    engine = DuckDBEngine(128 * MEBIBYTE)
    engine.attach("t", mounted(ORDERS))
    assert len(rows(engine, "FROM t")) == 3
    engine.close()
    engine.close()
    assert len(rows(engine, "FROM t")) == 3
    engine.close()


def test_a_plan_is_shown_without_running(engine: DuckDBEngine, mounted: Mounted) -> None:
    engine.attach("t", mounted(ORDERS))
    assert "amount" in engine.explain("SELECT sum(amount) FROM t WHERE error('ran') IS NULL")


def test_two_processes_can_spill_into_one_folder(tmp_path: Path) -> None:
    """They did overwrite each other's blocks, and died, when the folder was one for all."""
    work = """
import sys
from asgard.engines.duckdb import DuckDBEngine
with DuckDBEngine(64 << 20, threads=1, spill_folder=sys.argv[1]) as engine:
    (row,) = engine.query(
        "SELECT sum(i) AS s, max(k) AS k FROM (SELECT i, k, row_number() OVER (ORDER BY hash(i)) AS n "
        "FROM (SELECT i, repeat('k', 200) || i AS k FROM range(500_000) t(i))) WHERE n > 0"
    ).read_all().to_pylist()
    print(row["s"], row["k"][200:])
"""
    running = [
        subprocess.Popen([sys.executable, "-c", work, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=200)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told == [f"{sum(range(500_000))} 99999\n"] * 2
    assert list(tmp_path.iterdir()) == []
