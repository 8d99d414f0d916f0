"""The kinds beyond the plain ones: figures that are exact, and rows that are counted rightly."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.quality.tables import AuditContext
from tests.quality.ground import NOW, Ground, checks, column

NAN = float("nan")


def statistic(metric: str, **options: Any) -> dict[str, Any]:
    return {"statistic": {"column": "v", "metric": metric, **options}}


@pytest.mark.parametrize(
    ("spec", "table", "passed", "observed"),
    [
        (statistic("mean", min=1.5, max=1.5), column(pa.int64(), 1, 2, None), True, 1.5),
        (statistic("mean", min="0.1", max="0.1"), column(pa.decimal128(38, 30), Decimal("0.1")), True, 0.1),
        (statistic("sum", min="0.3", max="0.3"), column(pa.decimal128(5, 1), *map(Decimal, ("0.1", "0.2"))),
         True, 0.3),
        (statistic("sum", max=2**64), column(pa.int64(), 2**63 - 1, 2**63 - 1), True, 2**64 - 2),
        (statistic("sum", max=2**64 - 3), column(pa.int64(), 2**63 - 1, 2**63 - 1), False, 2**64 - 2),
        (statistic("mean", min=0), column(pa.float64(), NAN, 1.0), False, "nan"),
        (statistic("mean", max=0.5, min=0.5), column(pa.bool_(), True, False, None), True, 0.5),
        (statistic("mean", min=0), column(pa.int64(), None), False, None),
        (statistic("mean"), column(pa.int64(), None), True, None),
        (statistic("median", min=2, max=2), column(pa.int64(), 3, 1, 2), True, 2),
        (statistic("median", min=2.5, max=2.5), column(pa.int64(), 4, 1, 2, 3), True, 2.5),
        (statistic("median", max="0.15"), column(pa.decimal128(3, 1), *map(Decimal, ("0.1", "0.2"))),
         True, 0.15),
        (statistic("median", max=1), column(pa.int64()), False, None),
        (statistic("quantile", quantile=0.9, min=9, max=9), column(pa.int64(), *range(1, 11)), True, 9),
        (statistic("quantile", quantile=0, min=1, max=1), column(pa.int64(), *range(1, 11)), True, 1),
        (statistic("quantile", quantile=1, max=9), column(pa.int64(), *range(1, 11)), False, 10),
        (statistic("stdev", min=1, max=1), column(pa.int64(), 1, 2, 3), True, 1),
        (statistic("min", min="2026-01-01"), column(pa.date32(), date(2025, 12, 31)), False, "2025-12-31"),
        (statistic("max", max=5, strict_max=True), column(pa.int32(), 5, 1), False, 5),
        (statistic("max", max=5), column(pa.int32(), 5, 1), True, 5),
        (statistic("max", max=10**30), column(pa.int32(), 5), True, 5),
        (statistic("max", min=10**30), column(pa.int32(), 5), False, 5),
        (statistic("max", min=3, max=6, outside=True), column(pa.int32(), 5), False, 5),
        (statistic("min", min="b"), column(pa.string(), "c", "a"), False, "a"),
        (statistic("distinct", min=2, max=2), column(pa.string(), "a", "b", "b", None), True, 2),
        (statistic("distinct_share", max=0.5), column(pa.string(), "b", "b", None), True, 0.5),
        (statistic("nulls", max=0), column(pa.string(), "b", None), False, 1),
        (statistic("null_share", max=0.5), column(pa.string(), "b", None), True, 0.5),
        (statistic("null_share", max=0.5), column(pa.string()), False, None),
    ],
)  # fmt: skip
def test_figures(ground: Ground, spec: dict[str, Any], table: pa.Table, passed: bool, observed: Any) -> None:
    answer = ground.answer(spec, table)
    assert (answer.passed, answer.observed) == (passed, observed), answer.message


@given(
    values=st.lists(st.none() | st.decimals(-999, 999, places=2), max_size=30),
    part=st.sampled_from(["0", "0.1", "0.25", "0.5", "0.9", "0.95", "1"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_median_and_quantiles_are_exact(ground: Ground, values: list[Decimal | None], part: str) -> None:
    table = column(pa.decimal128(7, 2), *values)
    there = sorted(value for value in values if value is not None)
    if not there:
        assert not ground.answer(statistic("median", min=0), table).passed
        return
    middle = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
    assert ground.answer(statistic("median", min=str(middle), max=str(middle)), table).passed
    exact = str(there[max(math.ceil(Fraction(part) * len(there)), 1) - 1])
    assert ground.answer(statistic("quantile", quantile=float(part), min=exact, max=exact), table).passed


@pytest.mark.parametrize("metric", ["mean", "sum", "median", "stdev"])
def test_texts_have_no_mean(ground: Ground, metric: str) -> None:
    with pytest.raises(ConfigError, match=f"only numbers have a {metric}"):
        ground.answer(statistic(metric, min=0), column(pa.string(), "1"))


@pytest.mark.parametrize(
    ("spec", "failed", "rows"),
    [
        ({"regex": {"column": "v", "patterns": ["^a", "b$"]}}, 3, 4),
        ({"regex": {"column": "v", "patterns": ["^a", "b$"], "found": "any"}}, 1, 4),
        ({"regex": {"column": "v", "patterns": ["^a", "b$"], "found": "none"}}, 3, 4),
        ({"regex": {"column": "v", "patterns": ""}}, 0, 4),
        ({"like": {"column": "v", "patterns": "a_"}}, 2, 4),
        ({"length": {"column": "v", "min": 2, "max": 2}}, 1, 4),
        ({"length": {"column": "v", "min": 2, "strict_min": True}}, 4, 4),
        ({"is_null": "v"}, 4, 5),
        ({"rejected_values": {"column": "v", "values": ["cc"]}}, 1, 4),
        ({"not_null": "v", "where": "v IS DISTINCT FROM 'cc' -- but that one"}, 1, 4),
        ({"unique": "v", "where": "false"}, 0, 0),
    ],
)
def test_texts(ground: Ground, spec: dict[str, Any], failed: int, rows: int) -> None:
    answer = ground.answer(spec, column(pa.string(), "ab", "ac", "cc", "b", None))
    assert (answer.failed_rows, answer.rows) == (failed, rows), answer.message


@pytest.mark.parametrize(
    ("spec", "failed", "rows"),
    [
        ({"compare": {"columns": ["a", "b"], "sign": ">"}}, 1, 2),
        ({"compare": {"columns": ["a", "b"], "sign": ">", "without": "all"}}, 2, 3),
        ({"compare": {"columns": ["a", "b"], "sign": "=", "without": "none"}}, 4, 4),
        ({"compare": {"columns": ["a", "b"], "sign": "!="}}, 0, 2),
        ({"pair_values": {"columns": ["a", "b"], "values": [[2, 1], [3, None]], "without": "none"}}, 2, 4),
        ({"different": ["a", "b"]}, 0, 2),
        ({"different": ["a", "b"], "where": "a IS NULL", "mostly": 0.5}, 0, 0),
        ({"different": {"columns": ["a", "b"], "without": "none"}}, 1, 4),
        ({"sum_of": {"columns": ["a", "b"], "equals": 3}}, 1, 2),
        ({"sum_of": {"columns": ["a", "b"], "equals": 3, "without": "all"}}, 1, 3),
        ({"sum_of": {"columns": ["a", "b"], "equals": 3.5}}, 2, 2),
    ],
)
def test_pairs(ground: Ground, spec: dict[str, Any], failed: int, rows: int) -> None:
    table = pa.table({"a": [2, 1, 3, None], "b": [1, 4, None, None]})
    table = table.cast(pa.schema([("a", pa.int64()), ("b", pa.int64())]))
    answer = ground.answer(spec, table)
    assert (answer.failed_rows, answer.rows) == (failed, rows), answer.message


def test_sums_of_a_row_are_exact(ground: Ground) -> None:
    of = {"columns": ["a", "b"]}
    decimals = pa.table({"a": [Decimal("0.1")], "b": [Decimal("0.2")]})
    assert ground.answer({"sum_of": {**of, "equals": "0.3"}}, decimals).passed
    huge = pa.table({"a": pa.array([2**63 - 1], pa.int64()), "b": pa.array([1], pa.int64())})
    assert ground.answer({"sum_of": {**of, "equals": 2**63}}, huge).passed
    with pytest.raises(ConfigError, match="only numbers can be added"):
        ground.answer({"sum_of": {**of, "equals": 1}}, pa.table({"a": ["x"], "b": [1]}))


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ({"values": ["a", "b"]}, True),
        ({"values": ["a"]}, False),
        ({"values": ["a", "b", "c"]}, False),
        ({"values": ["a", "b", "c"], "are": "among"}, True),
        ({"values": ["a"], "are": "all"}, True),
        ({"values": ["c"], "are": "all"}, False),
    ],
)
def test_sets_of_values(ground: Ground, spec: dict[str, Any], passed: bool) -> None:
    answer = ground.answer(
        {"distinct_values": {"column": "v", **spec}}, column(pa.string(), "a", "b", "a", None)
    )
    assert answer.passed is passed, answer.message


def test_a_listed_value_that_no_row_can_have_is_missing(ground: Ground) -> None:
    answer = ground.answer({"distinct_values": {"column": "v", "values": [1, 1.5]}}, column(pa.int64(), 1))
    assert (answer.passed, answer.message) == (False, "v never is 1.5")


def test_the_most_common_value(ground: Ground) -> None:
    tied = column(pa.int64(), 1, 1, 2, 2, 3, None, None, None)
    assert not ground.answer({"most_common": {"column": "v", "values": [1]}}, tied).passed
    assert ground.answer({"most_common": {"column": "v", "values": [1], "ties": True}}, tied).passed
    assert ground.answer({"most_common": {"column": "v", "values": [1, 2]}}, tied).observed == ["1", "2"]
    assert not ground.answer({"most_common": {"column": "v", "values": [1]}}, column(pa.int64(), None)).passed


SHAPE = pa.table(
    {"id": [1], "Name": ["x"], "at": [datetime(2026, 1, 1)], "extracted_at": [1], "tags": [["x"]]}
)


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ({"columns": ["name", "id"]}, True),
        ({"columns": ["id", "gone"]}, False),
        ({"columns": {"names": ["id", "name", "at", "tags"], "exactly": True, "in_order": True}}, True),
        ({"columns": {"names": ["name", "id", "at", "tags"], "exactly": True, "in_order": True}}, False),
        ({"columns": {"names": ["id", "name"], "exactly": True}}, False),
        ({"columns": {"names": ["name"], "at": 1}}, True),
        ({"columns": {"names": ["name"], "at": 0}}, False),
        ({"column_count": {"min": 4, "max": 4}}, True),
        ({"column_count": {"min": 5}}, False),
        ({"column_type": {"column": "id", "types": ["int", "bigint"]}}, True),
        ({"column_type": {"column": "id", "types": ["int"]}}, False),
        ({"column_type": {"column": "id", "family": "number"}}, True),
        ({"column_type": {"column": "at", "family": "timestamp"}}, True),
        ({"column_type": {"column": "tags", "family": "array"}}, True),
        ({"column_type": {"column": "name", "family": "integer"}}, False),
    ],
)
def test_columns(ground: Ground, spec: dict[str, Any], passed: bool) -> None:
    answer = ground.answer(spec, SHAPE)
    assert answer.passed is passed, answer.message


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ({"query": "SELECT v FROM {table} WHERE v > 2"}, True),
        ({"query": "SELECT v FROM {table} WHERE v > 1 -- more"}, False),
        ({"query": {"sql": "SELECT count(*) FROM {table}", "min": 2, "max": 2}}, True),
        ({"query": {"sql": "SELECT sum(v) / 2 FROM {table};", "min": 2}}, False),
        ({"query": {"sql": "WITH t AS (SELECT max(v) AS m FROM {table}) SELECT m FROM t", "max": 2}}, True),
        ({"query": {"sql": "SELECT v FROM {table}", "max": 2}}, False),
        ({"query": {"sql": "SELECT 'ok' FROM {table} LIMIT 1", "min": "ok", "max": "ok"}}, True),
        ({"query": {"sql": "SELECT max(v) FROM {table} WHERE v > 9", "max": 2}}, False),
    ],
)
def test_queries(ground: Ground, spec: dict[str, Any], passed: bool) -> None:
    answer = ground.answer(spec, column(pa.int64(), 1, 2))
    assert answer.passed is passed, answer.message


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1", "must read {table}"),
        ("SELECT * FROM {table}, orders", "may read {table} alone, this reads orders"),
        ("DELETE FROM {table}", "must be one SELECT"),
        ("SELECT 1 FROM {table}; SELECT 2 FROM {table}", "must be one SELECT"),
        ("SELECT FROM WHERE {table}", "is no SQL"),
    ],
)
def test_queries_that_are_refused(sql: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("{", r"\{")):
        checks({"query": sql})


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ({"check": {"not_null": "v"}, "max": 2}, True),
        ({"check": {"not_null": "v"}, "max": 2, "strict_max": True}, False),
        ({"check": {"not_null": "v"}, "max": 50, "unit": "percent"}, True),
        ({"check": {"not_null": "v"}, "max": "49.9", "unit": "percent"}, False),
        ({"check": {"not_null": "v"}, "min": 0, "max": 0, "outside": True}, True),
        ({"check": {"unique": "v"}, "max": 1}, False),
        ({"check": {"between": {"column": "v", "max": 1}}, "max": 0, "where": "v IS NULL"}, True),
    ],
)
def test_failing(ground: Ground, spec: dict[str, Any], passed: bool) -> None:
    answer = ground.answer({"failing": spec}, column(pa.int64(), 2, 2, None, None))
    assert answer.passed is passed, answer.message


def test_failing_takes_checks_of_rows_alone() -> None:
    with pytest.raises(ValidationError, match="must be one check that looks at rows"):
        checks({"failing": {"check": {"row_count": {"min": 1}}, "max": 1}})


SCHEMA = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "name": {"type": ["string", "null"], "maxLength": 3, "pattern": "^[a-z]+$"},
        "kind": {"enum": ["a", 1, None]},
        "tags": {"type": "array", "maxItems": 2, "items": {"type": "object", "required": ["t"]}},
        'odd"key': {"const": True},
    },
}
DOCUMENTS = [
    {"id": 1}, {"id": 0}, {"id": 1.5}, {"id": 10**30}, {"id": 2.0}, {}, [], 5, None, "x",
    {"id": 1, "name": "abc"}, {"id": 1, "name": "abcd"}, {"id": 1, "name": "A"}, {"id": 1, "name": None},
    {"id": 1, "kind": 1},
    {"id": 1, "kind": None}, {"id": 1, "kind": "b"}, {"id": 1, "tags": []}, {"id": 1, "tags": [{"t": 1}]},
    {"id": 1, "tags": [{}]}, {"id": 1, "tags": [{"t": 1}] * 3}, {"id": 1, "tags": {}},
    {"id": 1, 'odd"key': True}, {"id": 1, 'odd"key': 1}, {"id": 1, "name": 5},
]  # fmt: skip


def test_json_schemas_are_checked_as_the_standard_has_it(ground: Ground) -> None:
    judge = jsonschema.Draft202012Validator(SCHEMA)
    expected = [not judge.is_valid(document) for document in DOCUMENTS]
    table = pa.table({"v": [json.dumps(document) for document in DOCUMENTS] + ["{", None]})
    asked = checks({"is_json": {"column": "v", "schema": SCHEMA}, "on_fail": "quarantine"})
    _, bad = ground.parted(asked, table)
    wanted = [json.dumps(d) for d, wrong in zip(DOCUMENTS, expected, strict=True) if wrong]
    assert bad.column("v").to_pylist() == [*wanted, "{"]


def test_what_a_json_schema_may_not_have_is_named() -> None:
    with pytest.raises(ValidationError, match=r"schema\.a has oneOf, which is not checked here"):
        checks({"is_json": {"column": "v", "schema": {"properties": {"a": {"oneOf": []}}}}})


# ---- anomalies


def history(*values: float, last: datetime = NOW, step: timedelta = timedelta(days=1)) -> AuditContext:
    past = [(last - step * (len(values) - i), value) for i, value in enumerate(values)]
    return AuditContext(Mode.REPLACE, None, NOW, lambda name: (_ for _ in ()).throw(KeyError(name)), None,
                        lambda check: past)  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "past", "options", "passed", "said"),
    [
        (10, (10,) * 3, {}, True, "3 of 7 earlier loads are known"),
        (500, (10,) * 3, {}, True, "3 of 7 earlier loads are known"),
        (500, (10,) * 3, {"min_runs": 3}, False, "robust standard deviations away"),
        (10, (10,) * 8, {}, True, "10 is usual"),
        (12, (10,) * 8, {}, False, "10 is usual"),
        (11, (10, 12, 9, 11, 10, 13, 8, 10), {}, True, "is usual"),
        (30, (10, 12, 9, 11, 10, 13, 8, 10), {}, False, "is usual"),
        (0, (10, 12, 9, 11, 10, 13, 8, 10), {}, False, "is usual"),
        (0, (10, 12, 9, 11, 10, 13, 8, 10), {"direction": "up"}, True, "is usual"),
        (30, (10, 12, 9, 11, 10, 13, 8, 10), {"direction": "down"}, True, "is usual"),
        (18, (10, 12, 9, 11, 10, 13, 8, 10), {"sensitivity": "low"}, True, "is usual"),
        (18, (10, 12, 9, 11, 10, 13, 8, 10), {"sensitivity": "high"}, False, "is usual"),
        (17, (10, 12, 9, 11, 10, 13, 8, 10), {"sensitivity": "high"}, True, "is usual"),
        (17, (10, 12, 9, 11, 10, 13, 8, 10), {"sensitivity": "high", "weekdays": False}, False, "is usual"),
        (11, (10, 12, 9, 11, 10, 13, 8, 900), {}, True, "is usual"),
    ],
)
def test_the_number_of_rows_against_history(
    ground: Ground, rows: int, past: tuple[int, ...], options: dict[str, Any], passed: bool, said: str
) -> None:
    asked = checks({"anomaly": {"metric": "rows", **options}})
    (answer,) = ground.verdict(asked, column(pa.int64(), *range(rows)), context=history(*past)).results
    assert answer.passed is passed, answer.message
    assert said in answer.message
    assert answer.observed == rows


def test_mondays_are_compared_with_mondays(ground: Ground) -> None:
    """Few rows on weekends: no anomaly on a Sunday, one on a Monday."""
    assert NOW.weekday() == 0
    days = [NOW - timedelta(days=back) for back in range(35, 0, -1)]
    past = tuple(5.0 + day.day % 2 if day.weekday() >= 5 else 100.0 + day.day % 3 for day in days)
    few = column(pa.int64(), *range(5))
    asked = checks({"anomaly": {"metric": "rows"}})
    (monday,) = ground.verdict(asked, few, context=history(*past)).results
    assert not monday.passed
    assert "on a Monday" in monday.message
    sunday = AuditContext(Mode.REPLACE, None, NOW - timedelta(days=1), history().resolve, None,
                          history(*past[:-1], last=NOW - timedelta(days=1)).past)  # fmt: skip
    (answer,) = ground.verdict(asked, few, context=sunday).results
    assert answer.passed, answer.message


@pytest.mark.parametrize(
    ("options", "values", "usual", "passed"),
    [
        ({"metric": "null_share"}, (1, 2, 3, None), 0.25, True),
        ({"metric": "null_share"}, (1, None, None, None), 0.25, False),
        ({"metric": "mean"}, (10, 12), 11.0, True),
        ({"metric": "mean"}, (20, 22), 11.0, False),
        ({"metric": "median"}, (10, 11, 500), 11.0, True),
        ({"metric": "quantile", "quantile": 0.5}, (10, 11, 500), 11.0, True),
        ({"metric": "distinct"}, (1, 1, 1), 3.0, False),
        ({"metric": "mean"}, (None,), 11.0, True),
    ],
)
def test_figures_of_columns_against_history(
    ground: Ground, options: dict[str, Any], values: tuple[int | None, ...], usual: float, passed: bool
) -> None:
    asked = checks({"anomaly": {"column": "v", **options}})
    context = history(*[usual] * 9)
    (answer,) = ground.verdict(asked, column(pa.int64(), *values), context=context).results
    assert answer.passed is passed, answer.message


def test_outside_of_a_load_nothing_is_an_anomaly(ground: Ground) -> None:
    answer = ground.answer({"anomaly": {}}, column(pa.int64(), 1))
    assert (answer.passed, answer.message) == (True, "rows is 1; it is judged when rows are loaded")


def test_outliers(ground: Ground) -> None:
    values = column(pa.int64(), *([10] * 20), 100, -80, None)
    assert ground.answer({"outliers": {"column": "v", "below": 3}}, values).failed_rows == 2
    spec = {"outliers": {"column": "v", "below": 3, "one_sided": True}}
    assert ground.answer(spec, values).failed_rows == 1
    assert ground.answer(spec, column(pa.int64(), 7, 7)).passed
