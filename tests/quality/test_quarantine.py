"""Which rows every kind of check sets aside, with the reason; and that nothing is lost or bent by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.check import OnFail
from asgard.core.stream import Mode
from asgard.core.table import Mount
from asgard.engines.duckdb import BATCH_ROWS, DuckDBEngine
from asgard.quality.audit import audit
from asgard.quality.quarantine import REASON, split_rows
from asgard.quality.spec import CheckSpec
from tests.quality.ground import MEBIBYTE, Ground, checks

ROWS = pa.table(
    {
        "row": range(8),
        "id": pa.array([1, 2, 2, None, 5, 6, 7, 8], pa.int64()),
        "day": ["a", "a", "b", "a", None, "a", "a", "a"],
        "amount": pa.array([Decimal(v) if v else None for v in ("1", "-1", "0", "", "99", "5", "5", "5")]),
        "x": pa.array([0.5, 1.0, float("nan"), None, -2.0, 3.0, 4.0, 5.0]),
        "status": ["new", "paid", "odd", None, "", "new", "new", "new"],
        "text": ["1", "x", "1.5", None, "2", "3", "4", "5"],
        "customer": pa.array([1, 2, 3, None, 9, 1, 1, 1], pa.int32()),
        "at": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 8, pa.timestamp("us", "UTC")),
    }
)
ALL = [0, 1, 2, 3, 4, 5, 6, 7]
OLD = ROWS.slice(0, 1).set_column(1, "id", pa.array([8], pa.int64()))


@pytest.mark.parametrize(
    ("spec", "old", "bad"),
    [
        ({"not_null": "id"}, None, [3]),
        ({"unique": "id"}, None, [1, 2]),
        ({"unique": "id"}, OLD, [1, 2, 7]),
        ({"unique": ["id", "day"]}, None, []),
        ({"no_duplicates": ["status"]}, None, [0, 5, 6, 7]),
        ({"no_duplicates": ["day"]}, None, [0, 1, 3, 5, 6, 7]),
        ({"between": {"column": "amount", "min": 0, "max": 10}}, None, [1, 4]),
        ({"between": {"column": "x", "min": 0}}, None, [2, 4]),
        ({"non_negative": "amount"}, None, [1]),
        ({"accepted_values": {"column": "status", "values": ["new", "paid"]}}, None, [2, 4]),
        ({"matches": {"column": "status", "pattern": "[a-z]+"}}, None, [4]),
        ({"type": {"text": "bigint"}}, None, [1, 2]),
        ({"type": {"row": "text"}}, None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"referential": {"column": "customer", "to": "gold.customers", "field": "id"}}, None, [2, 4]),
        ({"expression": "amount > 0"}, None, [1, 2]),
        ({"row_count": {"min": 100}}, None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"fresh": {"column": "at", "within": "1d"}}, OLD, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"is_null": "customer"}, None, [0, 1, 2, 4, 5, 6, 7]),
        ({"rejected_values": {"column": "status", "values": ["odd", ""]}}, None, [2, 4]),
        ({"distinct_values": {"column": "status", "values": ["new"]}}, None, ALL),
        ({"most_common": {"column": "status", "values": ["paid"]}}, None, ALL),
        ({"length": {"column": "status", "min": 1, "max": 3}}, None, [1, 4]),
        ({"regex": {"column": "status", "patterns": "a|e"}}, None, [2, 4]),
        ({"like": {"column": "status", "patterns": ["n%", "p%"], "found": "none"}}, None, [0, 1, 5, 6, 7]),
        ({"time_format": {"column": "text", "format": "%d"}}, None, [1, 2]),
        ({"is_json": "text"}, None, [1]),
        ({"compare": {"columns": ["row", "id"], "sign": "<"}}, None, [2]),
        ({"pair_values": {"columns": ["id", "day"], "values": [[1, "a"], [2, "b"]]}}, None, [1, 5, 6, 7]),
        ({"different": ["row", "id"]}, None, [2]),
        ({"sum_of": {"columns": ["row", "id"], "equals": 1}}, None, [1, 2, 4, 5, 6, 7]),
        ({"outliers": {"column": "row", "below": 1.2}}, None, [0, 7]),
        ({"columns": ["nothing"]}, None, ALL),
        ({"column_count": {"max": 1}}, None, ALL),
        ({"column_type": {"column": "text", "family": "number"}}, None, ALL),
        ({"statistic": {"column": "id", "metric": "max", "max": 7}}, None, ALL),
        ({"same_row_count": "gold.customers"}, None, ALL),
        ({"query": "SELECT * FROM {table} WHERE id = 5"}, None, ALL),
        ({"failing": {"check": {"not_null": "id"}, "max": 0}}, None, [3]),
        ({"not_null": "amount", "where": "status = 'new' OR id IS NULL"}, None, [3]),
        ({"unique": "customer", "where": '"row" < 6'}, None, [0, 5]),
        ({"anomaly": {"metric": "rows"}}, None, ALL),
    ],
)
def test_every_kind_sets_rows_aside(
    ground: Ground, spec: dict[str, Any], old: pa.Table | None, bad: list[int]
) -> None:
    ground.others["gold.customers"] = ground.mount(pa.table({"id": [1, 2, None]}))
    asked = checks(spec | {"on_fail": "quarantine"})
    good_rows, bad_rows = ground.parted(asked, ROWS, old)
    assert bad_rows.column("row").to_pylist() == bad
    assert set(bad_rows.column(REASON).to_pylist()) <= {asked[0].name}
    # Both sides together are the load: same values, same types.
    assert good_rows.schema == ROWS.schema
    assert bad_rows.drop_columns([REASON]).schema == ROWS.schema
    together = pa.concat_tables([good_rows, bad_rows.drop_columns([REASON])]).sort_by("row")
    assert together.drop_columns(["x"]).equals(ROWS.drop_columns(["x"]))
    assert str(together.column("x").to_pylist()) == str(ROWS.column("x").to_pylist())


def test_kind_list_is_whole() -> None:
    """A kind that is added must say here what it sets aside."""
    kinds = {option["required"][0] for option in CheckSpec.model_json_schema()["oneOf"]}
    (mark,) = test_every_kind_sets_rows_aside.pytestmark
    assert {next(iter(case[0])) for case in mark.args[1]} == kinds


def test_reasons_name_every_check_that_a_row_failed(ground: Ground) -> None:
    asked = checks(
        {"non_negative": "amount"}, {"unique": "id", "name": "it's; unique"}, {"type": {"text": "int"}}
    )
    _, bad = ground.parted(asked, ROWS)
    assert dict(zip(bad.column("row").to_pylist(), bad.column(REASON).to_pylist(), strict=True)) == {
        1: "non_negative(amount); it's; unique; type(text)",
        2: "it's; unique; type(text)",
    }


@pytest.mark.parametrize(
    "spec",
    [{"non_negative": "amount"}, {"unique": "id"}, {"no_duplicates": "status"}, {"expression": "x < 4"}],
    ids=str,
)
def test_what_is_left_passes(ground: Ground, spec: dict[str, Any]) -> None:
    asked = checks(spec)
    good, bad = ground.parted(asked, ROWS, OLD)
    assert bad.num_rows > 0
    assert ground.verdict(asked, good, OLD).passed


def test_rows_that_a_merge_replaces_are_not_taken_for_repetitions(ground: Ground) -> None:
    fresh = ground.mount(pa.table({"id": [1, 1, 2, 3]}))
    whole = ground.mount(pa.table({"id": [1, 2, 3, 3]}))
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        parts = split_rows(engine, checks({"unique": "id"}), fresh, lambda: whole, ground.context(Mode.MERGE))
        assert pa.Table.from_batches(parts.bad()).to_pylist() == [{"id": 3, REASON: "unique(id)"}]


def test_the_same_engine_audits_and_parts(ground: Ground) -> None:
    """As a load does it: the engine that found out is the one that parts."""
    asked = checks({"non_negative": "amount", "on_fail": "quarantine"}, {"row_count": {"min": 1}})
    fresh = ground.mount(ROWS)
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        verdict = audit(engine, asked, fresh, lambda: fresh, ground.context())
        failed = [r.check for r in verdict.results if not r.passed and r.check.on_fail is OnFail.QUARANTINE]
        parts = split_rows(engine, failed, fresh, lambda: fresh, ground.context())
        bad = pa.Table.from_batches(parts.bad())
        good = pa.Table.from_batches(parts.good())
    assert bad.column("row").to_pylist() == [1]
    assert good.column("row").to_pylist() == [0, 2, 3, 4, 5, 6, 7]


def test_rows_keep_their_order(ground: Ground) -> None:
    """Of two rows with one key the later one counts in a merge: parting must not turn them round."""
    count = 20 * BATCH_ROWS + 1
    tables = [pa.table({"i": range(start, start + count)}) for start in (0, count)]
    mount = ground.mount(*tables)
    for file, table in zip(mount.files, tables, strict=True):
        pq.write_table(table, file, row_group_size=5_000)
    good, bad = ground.parted(checks({"expression": "i % 1000 <> 7"}), mount)
    assert good.column("i").to_pylist() == [i for i in range(2 * count) if i % 1000 != 7]
    assert bad.column("i").to_pylist() == list(range(7, 2 * count, 1000))


TYPES = pa.schema(
    [
        pa.field("i", pa.int64(), metadata={"asgard.type": "bigint"}),
        pa.field("text", pa.string(), metadata={"asgard.type": "json"}),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("naive", pa.timestamp("us")),
        pa.field("d", pa.decimal128(38, 18)),
        pa.field("b", pa.binary()),
        pa.field("l", pa.list_(pa.field("element", pa.struct({"a": pa.int32(), "b": pa.string()})))),
        pa.field("m", pa.map_(pa.string(), pa.float32())),
        pa.field("f", pa.float32()),
        pa.field("s", pa.int8()),
        pa.field("flag", pa.bool_()),
        pa.field("day", pa.date32()),
    ]
)


def test_rows_come_in_the_loads_own_schema(ground: Ground) -> None:
    values: dict[str, list[Any]] = {
        "i": [1, None],
        "text": ['{"a": 1.10}', None],
        "at": [datetime(2026, 1, 1, 0, 0, 0, 1, UTC), None],
        "naive": [datetime(2026, 1, 1), None],
        "d": [Decimal("1." + "1" * 18), None],
        "b": [b"\x00\xff", None],
        "l": [[{"a": 1, "b": None}, None], None],
        "m": [[("k", 0.5)], None],
        "f": [0.1, None],
        "s": [-128, None],
        "flag": [True, None],
        "day": [datetime(2026, 1, 1).date(), None],
    }
    table = pa.table(values, schema=TYPES)
    good, bad = ground.parted(checks({"not_null": "i"}), table)
    assert good.schema.equals(TYPES, check_metadata=True)
    assert good.equals(table.slice(0, 1))
    assert bad.drop_columns([REASON]).schema.equals(TYPES, check_metadata=True)
    assert bad.drop_columns([REASON]).equals(table.slice(1, 1))


def test_an_empty_load_has_no_rows_on_either_side(ground: Ground) -> None:
    good, bad = ground.parted(checks({"unique": "id"}), Mount(ROWS.schema))
    assert (good.num_rows, bad.num_rows) == (0, 0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 5)), st.integers(-2, 2)), max_size=25))
def test_each_row_is_on_exactly_one_side(ground: Ground, values: list[tuple[int | None, int]]) -> None:
    table = pa.table(
        {
            "row": pa.array(range(len(values)), pa.int64()),
            "k": pa.array([k for k, _ in values], pa.int64()),
            "v": pa.array([v for _, v in values], pa.int64()),
        }
    )
    asked = checks({"unique": "k"}, {"non_negative": "v"}, {"not_null": "k"})
    good, bad = ground.parted([replace(check, on_fail=OnFail.QUARANTINE) for check in asked], table)
    keys = [k for k, _ in values]
    wanted = [i for i, (k, v) in enumerate(values) if k is None or v < 0 or keys.count(k) > 1]
    assert bad.column("row").to_pylist() == wanted
    assert good.column("row").to_pylist() == [i for i in range(len(values)) if i not in wanted]
