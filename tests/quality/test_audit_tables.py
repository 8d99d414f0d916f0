"""Checks that look beyond a row: at the table as it would be, and at others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.stream import Mode
from asgard.core.table import ColumnFigures, Mount
from asgard.engines.duckdb import DuckDBEngine
from asgard.quality.audit import audit
from tests.quality.ground import MEBIBYTE, NOW, Ground, checks, column, keys

# ---- whole tables


@pytest.mark.parametrize(
    ("values", "failed", "rows"),
    [
        ((), 0, 0),
        ((None, None), 0, 0),
        ((1, 2, 3, None, None), 0, 3),
        ((1, 2, 2, 3, 3, 3, None), 5, 6),
        ((-(2**63), 2**63 - 1, 0), 0, 3),
        ((-(2**63), 2**63 - 1, -(2**63)), 2, 3),
        ((5, 5 + 2**27 - 1), 0, 2),
        ((5, 5 + 2**27), 0, 2),
        ((5, 5 + 2**27 - 1, 5), 2, 3),
    ],
    ids=repr,
)
def test_unique_in_a_replace(ground: Ground, values: tuple[Any, ...], failed: int, rows: int) -> None:
    result = ground.answer({"unique": "v"}, keys(*values))
    assert (result.failed_rows, result.rows) == (failed, rows)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.decimal128(19, 0), pa.uint8(), pa.float64(), pa.int8()], ids=str
)
def test_unique_of_other_types(ground: Ground, kind: pa.DataType) -> None:
    again = keys(1, 2, 2, None, 7).set_column(0, "v", keys(1, 2, 2, None, 7).column(0).cast(kind))
    assert ground.answer({"unique": "v"}, again).failed_rows == 2


def test_unique_together(ground: Ground) -> None:
    table = pa.table({"a": [1, 1, 1, None, None], "b": ["x", "y", "x", "x", "x"]})
    result = ground.answer({"unique": ["a", "b"]}, table)
    assert (result.failed_rows, result.rows) == (2, 3)
    assert result.message == "1 value of a, b comes more than once, in 2 of 3 rows"


def test_no_duplicates_takes_nulls_for_the_same_and_leaves_own_columns_out(ground: Ground) -> None:
    table = pa.table(
        {
            "a": [1, 1, None, None, 2],
            "b": ["x", "x", None, None, None],
            "extracted_at": pa.array(range(5), pa.timestamp("us", "UTC")),
            "_asgard_run_id": ["r1", "r2", "r3", "r4", "r5"],
        }
    )
    result = ground.answer({"no_duplicates": "all"}, table)
    assert (result.failed_rows, result.rows) == (4, 5)
    assert result.message == "2 values of all columns together come more than once, in 4 of 5 rows"
    assert ground.answer({"no_duplicates": ["b"]}, table).failed_rows == 5


def test_whole_rows_of_nested_values_are_compared(ground: Ground) -> None:
    table = pa.table(
        {
            "l": pa.array([[1, None], [1, None], [], None, None, [1]], pa.list_(pa.int64())),
            "s": pa.array([{"a": "x"}, {"a": "x"}, {"a": None}, None, None, {"a": "x"}]),
            "m": pa.array([[("k", 1)], [("k", 1)], [], None, None, []], pa.map_(pa.string(), pa.int64())),
            "f": [0.0, -0.0, math.nan, math.nan, math.nan, 1.0],
            "t": ["long enough for the heap", "long enough for the heap", "", None, None, "x"],
        }
    )
    assert ground.answer({"no_duplicates": "all"}, table).failed_rows == 4
    assert ground.answer({"no_duplicates": "all"}, table.slice(1, 2), table).failed_rows == 2
    good, bad = ground.parted(checks({"no_duplicates": "all"}), table)
    assert (good.column("t").to_pylist(), bad.num_rows) == (["", "x"], 4)


def test_keys_of_an_append_are_looked_for_in_the_old_rows(ground: Ground) -> None:
    old, fresh = keys(1, 2, 2, None), keys(1, 3, 4, 4, None)
    result = ground.answer({"unique": "v"}, fresh, old)
    assert (result.failed_rows, result.rows) == (3, 4)
    assert result.message == "2 values of v come more than once, in 3 of 4 rows"
    duplicates = ground.answer({"no_duplicates": "all"}, fresh, old)
    assert (duplicates.failed_rows, duplicates.rows) == (4, 5)


def test_what_came_twice_before_does_not_stop_a_load_that_is_good(ground: Ground) -> None:
    assert ground.answer({"unique": "v"}, keys(3, 4), keys(1, 1)).passed


def test_a_merge_that_replaced_the_old_row_has_no_key_twice(ground: Ground) -> None:
    fresh = ground.mount(keys(1, 1, 2))
    whole = ground.mount(keys(1, 2, 9))
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        verdict = audit(engine, checks({"unique": "v"}), fresh, lambda: whole, ground.context(Mode.MERGE))
    assert verdict.passed


@pytest.mark.parametrize("spec", [{"unique": "v"}, {"no_duplicates": ["v"]}], ids=str)
@pytest.mark.parametrize("type_", [pa.float32(), pa.float64()], ids=str)
def test_a_key_that_is_no_number_is_found_in_the_old_rows(
    ground: Ground, spec: dict[str, Any], type_: pa.DataType
) -> None:
    old = column(type_, 1.0, math.nan, 2.0)
    assert ground.answer(spec, column(type_, math.nan), old).failed_rows == 1
    assert ground.answer(spec, column(type_, math.nan, 7.0), old).failed_rows == 1
    assert ground.answer(spec, column(type_, 0.5, 7.0), old).passed


@pytest.mark.parametrize("spec", [{"unique": "v"}, {"no_duplicates": ["v"]}], ids=str)
def test_of_the_old_rows_only_keys_near_the_loads_own_are_read(ground: Ground, spec: dict[str, Any]) -> None:
    """What is not read is damaged: other row groups, and other columns."""
    old = ground.mount(pa.table({"v": range(100_000), "other": [f"text {i}" for i in range(100_000)]}))
    path = Path(old.files[0])
    pq.write_table(pq.read_table(path), path, row_group_size=10_000, compression="none")
    footer = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    for group in range(footer.num_row_groups):
        for number, name in enumerate(("v", "other")):
            chunk = footer.row_group(group).column(number)
            if group != 5 or name == "other":
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)
    new = ground.mount(pa.table({"v": [50_001, 59_999, 59_999], "other": ["x", "y", "z"]}))
    fresh = replace(new, rows=3, figures={"v": ColumnFigures(0, 50_001, 59_999)})
    whole = Mount(fresh.schema, (*old.files, *fresh.files))
    with DuckDBEngine(256 * MEBIBYTE, threads=1) as engine:
        verdict = audit(engine, checks(spec), fresh, lambda: whole, ground.context(Mode.APPEND))
    assert verdict.results[0].failed_rows == 3


@pytest.mark.parametrize("nulls", [0, 1])
def test_nulls_are_the_same_whatever_the_files_tell(ground: Ground, nulls: int) -> None:
    table = pa.table({"a": [1, 2, None][: 2 + nulls], "b": ["x", None, None][: 2 + nulls]})
    fresh = replace(ground.mount(table), rows=2 + nulls, figures={"a": ColumnFigures(nulls, 1, 2)})
    old = ground.mount(pa.table({"a": pa.array([2, None, None, 1]), "b": pa.array([None, None, "x", "y"])}))
    whole = Mount(fresh.schema, (*old.files, *fresh.files))
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        verdict = audit(
            engine, checks({"no_duplicates": "all"}), fresh, lambda: whole, ground.context(Mode.APPEND)
        )
    assert verdict.results[0].failed_rows == 1 + nulls


def test_the_first_append_is_the_whole_table(ground: Ground) -> None:
    fresh = ground.mount(keys(1, 2, 2))
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        verdict = audit(
            engine,
            checks({"unique": "v"}, {"row_count": {"min": 4}}),
            fresh,
            lambda: Mount(fresh.schema, fresh.files),
            ground.context(Mode.APPEND),
        )
    assert [result.failed_rows for result in verdict.results] == [2, None]
    assert [result.observed for result in verdict.results] == [None, 3]


@pytest.mark.parametrize(
    ("options", "previous", "passed"),
    [
        ({"min": 3}, None, True),
        ({"min": 4}, None, False),
        ({"max": 3}, None, True),
        ({"max": 2}, None, False),
        ({"change": 0.5}, None, True),
        ({"change": 0.5}, 2, True),
        ({"change": 0.5}, 6, True),
        ({"change": 0.5}, 7, False),
        ({"change": 0.49}, 2, False),
        ({"change": 0.1}, 0, False),
        ({"change": 0}, 3, True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("known", [True, False])
def test_row_count(
    ground: Ground, options: dict[str, Any], previous: int | None, passed: bool, known: bool
) -> None:
    mount = ground.mount(keys(1, 2, None))
    mount = Mount(mount.schema, mount.files, 3 if known else None)
    context = ground.context(previous_rows=previous)
    (result,) = ground.verdict(checks({"row_count": options}), mount, context=context).results
    assert (result.passed, result.observed, result.failed_rows) == (passed, 3, None)


def test_row_count_of_an_append_counts_the_old_rows_too(ground: Ground) -> None:
    result = ground.answer({"row_count": {"min": 5}}, keys(1, 2), keys(1, 2, 3))
    assert (result.passed, result.observed) == (True, 5)


TIMES: list[tuple[pa.DataType, Callable[[datetime], Any]]] = [
    (pa.timestamp("us", "UTC"), lambda moment: moment),
    (pa.timestamp("us"), lambda moment: moment.replace(tzinfo=None)),
    (pa.timestamp("ns", "UTC"), lambda moment: moment),
    (pa.string(), lambda moment: moment.isoformat()),
]


@pytest.mark.parametrize(("type_", "made"), TIMES, ids=[str(type_) for type_, _ in TIMES])
@pytest.mark.parametrize(
    ("age", "passed"),
    [
        (timedelta(0), True),
        (timedelta(days=1), True),
        (timedelta(days=1, microseconds=1), False),
        (timedelta(days=-3), True),
    ],
)
def test_fresh(
    ground: Ground, type_: pa.DataType, made: Callable[[datetime], Any], age: timedelta, passed: bool
) -> None:
    table = column(type_, made(NOW - age - timedelta(days=9)), None, made(NOW - age))
    result = ground.answer({"fresh": {"column": "v", "within": "1d"}}, table)
    assert (result.passed, result.observed) == (passed, (NOW - age).isoformat())


def test_a_date_counts_to_its_end(ground: Ground) -> None:
    yesterday, before = NOW.date() - timedelta(days=1), NOW.date() - timedelta(days=2)
    assert ground.answer({"fresh": {"column": "v", "within": "12h"}}, column(pa.date32(), yesterday)).passed
    assert not ground.answer({"fresh": {"column": "v", "within": "12h"}}, column(pa.date32(), before)).passed


def test_nothing_is_not_fresh(ground: Ground) -> None:
    result = ground.answer({"fresh": {"column": "v", "within": "1d"}}, column(pa.timestamp("us"), None))
    assert (result.passed, result.message) == (False, "v has no value at all")


def test_an_append_of_nothing_is_as_fresh_as_the_table(ground: Ground) -> None:
    old = column(pa.timestamp("us", "UTC"), NOW - timedelta(hours=1))
    assert ground.answer({"fresh": {"column": "v", "within": "1d"}}, old.slice(0, 0), old).passed


# ---- other tables


@pytest.fixture
def customers(ground: Ground) -> Ground:
    ground.others["bronze.shop.customers"] = ground.mount(
        pa.table({"id": [1, 2, None], "code": ["1", "b", None]})
    )
    return ground


def refers(field: str) -> dict[str, Any]:
    return {"referential": {"column": "v", "to": "bronze.shop.customers", "field": field}}


@pytest.mark.parametrize(
    ("table", "field", "failed"),
    [
        (column(pa.int64(), 1, 2, 3, None), "id", 1),
        (column(pa.int32(), 1, 3, 3), "ID", 2),
        (column(pa.string(), "1", "2", "x", None), "id", 1),
        (column(pa.int64(), 1, 2), "code", 1),
        (column(pa.string(), "1", "b", ""), "code", 1),
        (column(pa.int64()), "id", 0),
    ],
)
def test_referential(customers: Ground, table: pa.Table, field: str, failed: int) -> None:
    assert customers.answer(refers(field), table).failed_rows == failed


def test_in_an_empty_table_there_is_nothing(ground: Ground) -> None:
    ground.others["bronze.shop.customers"] = Mount(pa.schema({"id": pa.int64()}))
    assert ground.answer(refers("id"), column(pa.int64(), 1, None)).failed_rows == 1


def test_a_table_may_refer_to_itself_as_it_would_be(ground: Ground) -> None:
    spec = {"referential": {"column": "parent", "to": "bronze.shop.self", "field": "id"}}
    old = pa.table({"id": [1], "parent": pa.array([None], pa.int64())})
    fresh = pa.table({"id": [2, 3], "parent": [1, 2]})
    assert ground.answer(spec, fresh, old).passed
    assert ground.answer(spec, fresh).failed_rows == 1
