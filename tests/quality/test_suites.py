"""Suites of Great Expectations: what every expectation means, what is refused, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import ConfigError
from asgard.quality.expectations import EXPECTATIONS, REFUSED, spec_of, type_name
from asgard.quality.parameters import with_values
from asgard.quality.row_conditions import condition_sql
from asgard.quality.suites import read_suite, write_suite
from tests.quality.ground import Ground, checks

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "a": pa.array([1, 2, 2, None], pa.int64()),
        "b": pa.array([0, 2, 1, None], pa.int64()),
        "s": ["new", "paid", "paid", None],
        "t": ["2026-01-01", "2026-02-30", '{"x": 1}', None],
    }
)
BAD_PARAMETERS = ["gone", "open('x')", "rows.real", "1 / 0", "(", "rows + 'x'"]
PAIR = {"column_A": "a", "column_B": "b"}
MANY = {"column_list": ["a", "b"]}
A, S = {"column": "a"}, {"column": "s"}
RANGES = {"quantiles": [0.5, 1], "value_ranges": [[2, 2], [None, 2]]}
OUTCOMES: list[tuple[str, dict[str, Any], bool]] = [
    ("expect_column_distinct_values_to_be_in_set", {**S, "value_set": ["new", "paid", "odd"]}, True),
    ("expect_column_distinct_values_to_contain_set", {**S, "value_set": ["odd"]}, False),
    ("expect_column_distinct_values_to_equal_set", {**S, "value_set": ["new", "paid"]}, True),
    ("expect_column_max_to_be_between", {**A, "max_value": 2, "strict_max": True}, False),
    ("expect_column_mean_to_be_between", {**A, "min_value": 1.6, "max_value": 1.7}, True),
    ("expect_column_median_to_be_between", {**A, "min_value": 2, "max_value": 2}, True),
    ("expect_column_min_to_be_between", {**A, "min_value": 2}, False),
    ("expect_column_most_common_value_to_be_in_set", {**S, "value_set": ["paid"]}, True),
    ("expect_column_pair_values_a_to_be_greater_than_b", PAIR, False),
    ("expect_column_pair_values_a_to_be_greater_than_b", {**PAIR, "or_equal": True}, True),
    ("expect_column_pair_values_to_be_equal", {**PAIR, "mostly": 0.3}, True),
    ("expect_column_pair_values_to_be_in_set", {**PAIR, "value_pairs_set": [[1, 0], [2, 2]]}, False),
    ("expect_column_proportion_of_unique_values_to_be_between", {**A, "min_value": 0.6}, True),
    ("expect_column_stdev_to_be_between", {**A, "max_value": 0.1}, False),
    ("expect_column_sum_to_be_between", {**A, "min_value": 5, "max_value": 5}, True),
    ("expect_column_to_exist", {"column": "gone"}, False),
    ("expect_column_to_exist", {"column": "s", "column_index": 3}, True),
    ("expect_column_unique_value_count_to_be_between", {**A, "max_value": 1}, False),
    ("expect_column_value_lengths_to_be_between", {**S, "min_value": 3, "max_value": 4}, True),
    ("expect_column_value_lengths_to_equal", {**S, "value": 4}, False),
    ("expect_column_value_z_scores_to_be_less_than", {**A, "threshold": 2, "double_sided": True}, True),
    ("expect_column_values_to_be_between", {**A, "min_value": 2}, False),
    ("expect_column_values_to_be_in_set", {**S, "value_set": ["new", "paid"]}, True),
    ("expect_column_values_to_be_in_type_list", {**A, "type_list": ["int64", "FLOAT"]}, True),
    ("expect_column_values_to_be_json_parseable", {"column": "t", "mostly": 0.5}, False),
    ("expect_column_values_to_be_null", {**A, "row_condition": "id > 3", "condition_parser": "pandas"}, True),
    ("expect_column_values_to_be_of_type", {**S, "type_": "IntegerType"}, False),
    ("expect_column_values_to_be_unique", A, False),
    ("expect_column_values_to_match_json_schema",
     {"column": "t", "json_schema": {"type": "object"}, "row_condition": 'col("id") == 3'}, True),
    ("expect_column_values_to_match_like_pattern", {**S, "like_pattern": "%a%"}, False),
    ("expect_column_values_to_match_like_pattern_list", {**S, "like_pattern_list": ["n%", "p%"]}, True),
    ("expect_column_values_to_match_regex", {**S, "regex": "^p", "mostly": 0.6}, True),
    ("expect_column_values_to_match_regex_list", {**S, "regex_list": ["n", "p"], "match_on": "all"}, False),
    ("expect_column_values_to_match_strftime_format",
     {"column": "t", "strftime_format": "%Y-%m-%d", "row_condition": "id == 1"}, True),
    ("expect_column_values_to_not_be_in_set", {**S, "value_set": ["odd"]}, True),
    ("expect_column_values_to_not_be_in_set", {**S, "value_set": []}, True),
    ("expect_column_values_to_not_be_null", {**A, "row_condition": "`id` < 4"}, True),
    ("expect_column_values_to_not_match_like_pattern", {**S, "like_pattern": "n%"}, False),
    ("expect_column_values_to_not_match_like_pattern_list", {**S, "like_pattern_list": ["x%", "y%"]}, True),
    ("expect_column_values_to_not_match_regex", {**S, "regex": "d$"}, False),
    ("expect_column_values_to_not_match_regex_list", {**S, "regex_list": ["x", "z"]}, True),
    ("expect_column_quantile_values_to_be_between", {**A, "quantile_ranges": RANGES}, True),
    ("expect_compound_columns_to_be_unique", MANY, True),
    ("expect_compound_columns_to_be_unique", {"column_list": ["a", "s"], "ignore_row_if": "never"}, False),
    ("expect_compound_columns_to_be_unique",
     {"column_list": ["a", "b"], "ignore_row_if": "any_value_is_missing"}, True),
    ("expect_multicolumn_sum_to_equal", {**MANY, "sum_total": 3, "mostly": 0.3}, True),
    ("expect_select_column_values_to_be_unique_within_record", MANY, False),
    ("expect_table_column_count_to_be_between", {"min_value": 5, "max_value": 5}, True),
    ("expect_table_column_count_to_equal", {"value": 4}, False),
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["id", "a", "b", "s", "t"]}, True),
    ("expect_table_columns_to_match_set", {"column_set": ["id", "a"]}, False),
    ("expect_table_columns_to_match_set", {"column_set": ["id", "a"], "exact_match": False}, True),
    ("expect_table_row_count_to_be_between", {"min_value": 5}, False),
    ("expect_table_row_count_to_equal", {"value": 4}, True),
    ("expect_table_row_count_to_equal_other_table", {"other_table_name": "bronze.shop.self"}, True),
    ("UnexpectedRowsExpectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE b > a"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "kwargs", "passed"), OUTCOMES)
def test_each_expectation(ground: Ground, kind: str, kwargs: dict[str, Any], passed: bool) -> None:
    suite = read_suite({"expectations": [{"expectation_type": kind, "kwargs": kwargs}]}, {}, NOW)
    assert not suite.refused
    results = ground.verdict(suite.checks, TABLE).results
    assert all(result.passed for result in results) is passed, [result.message for result in results]


def test_every_expectation_has_a_case() -> None:
    assert {type_name(kind) for kind, _, _ in OUTCOMES} == set(EXPECTATIONS)


@pytest.mark.parametrize("major", [0, 1])
def test_what_is_written_asks_the_same(ground: Ground, major: int) -> None:
    entries = [{"type": kind, "kwargs": kwargs} for kind, kwargs, _ in OUTCOMES]
    suite = read_suite({"name": "all", "expectations": entries}, {}, NOW)
    written, left_out = write_suite("all", suite.checks, major=major)
    assert left_out == ["expression(true)"]
    again = read_suite(written, {}, NOW)
    assert not again.refused
    asked = [check for check in suite.checks if check.name not in left_out]
    before = [result.passed for result in ground.verdict(asked, TABLE).results]
    assert [result.passed for result in ground.verdict(again.checks, TABLE).results] == before


def test_what_asgard_alone_knows_is_left_out_by_name() -> None:
    asked = checks(
        {"not_null": "id", "on_fail": "quarantine", "severity": "warning"},
        {"anomaly": {}},
        {"failing": {"check": {"unique": "id"}, "max": 1}},
        {"row_count": {"change": 0.5}},
    )
    written, left_out = write_suite("orders", asked)
    assert left_out == ["anomaly(rows)", "failing(unique(id))", "row_count"]
    assert read_suite(written, {}, NOW).checks == asked[:1]


def test_severity_says_whether_a_failure_stops() -> None:
    entries = [
        {"type": "expect_column_to_exist", "kwargs": A, "severity": s} for s in ("critical", "warning")
    ]
    critical, warning = read_suite({"expectations": entries}, {}, NOW).checks
    assert (critical.severity, str(critical.on_fail)) == ("critical", "stop")
    assert (warning.severity, str(warning.on_fail)) == ("warning", "warn")


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_what_is_refused_says_why(kind: str) -> None:
    with pytest.raises(ConfigError, match=kind):
        spec_of(kind, A)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "expect_my_own_thing", "kwargs": {}}, "is no expectation that is known here"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {}}, "cannot both be None"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": A}, "has no regex"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {**A, "regex": "("}}, "no regular"),
        (
            {"type": "expect_column_values_to_be_of_type", "kwargs": {**A, "type_": "Thing"}},
            "the type 'Thing'",
        ),
        ({"type": "expect_compound_columns_to_be_unique", "kwargs": {**MANY, "ignore_row_if": "x"}}, "'x'"),
        ({"kwargs": A}, "has no type"),
        ("nothing", "has no type"),
    ],
)
def test_an_expectation_that_cannot_be_read_is_told_and_the_others_are_read(entry: Any, said: str) -> None:
    good = {"type": "expect_column_to_exist", "kwargs": A}
    suite = read_suite({"expectations": [entry, good]}, {}, NOW)
    assert len(suite.checks) == 1
    assert suite.refused[0].startswith("expectation 0: ")
    assert said in suite.refused[0]


def test_what_is_no_suite() -> None:
    with pytest.raises(ConfigError, match="no list of expectations"):
        read_suite({"checks": []}, {}, NOW)


@pytest.mark.parametrize(
    ("condition", "parser", "sql"),
    [
        ('y == "abc"', "pandas", "(\"y\" = 'abc')"),
        ("`a b` != 3 and not (x > -1.5 or z <= 2)", "pandas",
         '(("a b" <> 3) AND (NOT (("x" > -1.5) OR ("z" <= 2))))'),
        ("x.isnull() | y.notna()", None, '(("x" IS NULL) OR ("y" IS NOT NULL))'),
        ('col("it\'s").notNull()', "great_expectations", '("it\'s" IS NOT NULL)'),
        ("x in ['a', 'b']", "pandas", "(\"x\" IN ('a', 'b'))"),
        ("x = 'a' AND `y` IS NULL", "spark", "x = 'a' AND \"y\" IS NULL"),
        ({"type": "and", "conditions": [
            {"type": "comparison", "column": {"name": "x"}, "operator": "==", "parameter": True},
            {"type": "nullity", "column": {"name": "y"}, "is_null": True}]}, None,
         '(("x" = true) AND ("y" IS NULL))'),
    ],
)  # fmt: skip
def test_conditions(condition: Any, parser: str | None, sql: str) -> None:
    assert condition_sql(condition, parser) == sql


@pytest.mark.parametrize(
    ("condition", "parser"),
    [
        ("x == 1; import os", "pandas"), ("__import__('os').system('x')", "pandas"), ("f(x) == 1", "pandas"),
        ("x == y.z", "pandas"), ("1 <", "pandas"), ("x = (SELECT 1)", "spark"), ("x", "own"), ({}, None),
        ("x < 1 < 2", "pandas"), ('x == b"1"', "pandas"), ("(", "spark"),
    ],
)  # fmt: skip
def test_conditions_that_are_refused(condition: Any, parser: str | None) -> None:
    with pytest.raises(ConfigError):
        condition_sql(condition, parser)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("rows", 10),
        ("trunc(0.9 * rows)", 9),
        ("rows / 4", 2.5),
        ("0.1 + 0.2", 0.3),
        ("-abs(rows - 20)", -10),
        ("now() - timedelta(weeks=52)", "2025-06-16T12:00:00+00:00"),
        ("urn:great_expectations:validations:a.b:c.result.observed_value:column=x + 1", 6),
    ],
)
def test_parameters(expression: str, value: Any) -> None:
    known = {"rows": 10, "urn:great_expectations:validations:a.b:c.result.observed_value:column=x": 5}
    assert with_values({"k": [{"$PARAMETER": expression}]}, known, NOW) == {"k": [value]}


@pytest.mark.parametrize("expression", BAD_PARAMETERS)
def test_parameters_that_are_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="parameter"):
        with_values({"$PARAMETER": expression}, {"rows": 1}, NOW)
