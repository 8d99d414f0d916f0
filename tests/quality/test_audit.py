"""Every kind of check on real files: what is good, what is bad, what is said about it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.check import OnFail
from asgard.core.errors import ConfigError, DataError, QueryError
from asgard.core.table import Mount
from tests.quality.ground import NOW, Ground, checks, column, keys

INF, NAN = float("inf"), float("nan")


def bounds(**options: Any) -> dict[str, Any]:
    return {"between": {"column": "v", **options}}


# ---- rows: which values are bad, of how many


@pytest.mark.parametrize(
    ("spec", "table", "failed", "rows"),
    [
        ({"not_null": "v"}, column(pa.string(), "", None, " "), 1, 3),
        ({"not_null": "v"}, column(pa.float64(), NAN, None), 1, 2),
        ({"non_negative": "v"}, column(pa.int64(), 0, -1, None, 5), 1, 3),
        ({"non_negative": "v"}, column(pa.float64(), -0.0, -1e-300, NAN, INF, None), 2, 4),
        ({"non_negative": "v"}, column(pa.decimal128(38, 10), Decimal("-1E-10"), Decimal(0)), 1, 2),
        ({"non_negative": "v"}, column(pa.string(), "1.5", "-0.1", "abc", "", None), 3, 4),
        ({"non_negative": "v"}, column(pa.uint64(), 2**64 - 1), 0, 1),
        (bounds(min=0, max=10), column(pa.int64(), -1, 0, 10, 11, None), 2, 4),
        (bounds(min=0.5), column(pa.int64(), 0, 1), 1, 2),
        (bounds(max=0.5), column(pa.int64(), 0, 1), 1, 2),
        (bounds(max=0.5), column(pa.decimal128(38, 0), Decimal(9 * 10**37), Decimal(0)), 1, 2),
        (bounds(max=10**30), column(pa.int64(), 2**63 - 1), 0, 1),
        (bounds(min=10**30), column(pa.int64(), 2**63 - 1), 1, 1),
        (bounds(min=-(10**30)), column(pa.int64(), -(2**63)), 0, 1),
        (bounds(max=-(10**30)), column(pa.int64(), -(2**63)), 1, 1),
        (bounds(min=-(2**63), max=2**63 - 1), column(pa.int64(), -(2**63), 2**63 - 1), 0, 2),
        (bounds(min=1e400), column(pa.float64(), INF, 1.0), 1, 2),
        (bounds(max=0.1), column(pa.float64(), 0.1, 0.10000000000000002), 1, 2),
        (bounds(max=0.1), column(pa.float32(), 0.1), 0, 1),
        (bounds(min=0, max=9), column(pa.float64(), NAN, 5.0), 1, 2),
        (bounds(max=Decimal("0.3")), column(pa.decimal128(5, 2), Decimal("0.30"), Decimal("0.31")), 1, 2),
        (bounds(min="2026-01-01"), column(pa.date32(), date(2025, 12, 31), date(2026, 1, 1)), 1, 2),
        (bounds(max=date(2026, 1, 1)), column(pa.date32(), date(2026, 1, 2), date(2026, 1, 1)), 1, 2),
        (bounds(max="2026-01-01"), column(pa.timestamp("us"), datetime(2026, 1, 1, 0, 0, 1)), 1, 1),
        (
            bounds(max="2026-01-01T01:00:00+01:00"),
            column(
                pa.timestamp("us", "UTC"), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
            ),
            1,
            2,
        ),
        (bounds(min="b", max="d"), column(pa.string(), "a", "b", "c'", "e", None), 2, 4),
        (bounds(min=1, max=20), column(pa.string(), "5", "20", "100", "x", "NaN", None), 3, 5),
        (
            {"accepted_values": {"column": "v", "values": ["a", "it's"]}},
            column(pa.string(), "a", "it's", "A", "", None),
            2,
            4,
        ),
        ({"accepted_values": {"column": "v", "values": [1, "2"]}}, column(pa.int32(), 1, 2, 3, None), 1, 3),
        ({"accepted_values": {"column": "v", "values": [1, 10**30, 1.5]}}, column(pa.int32(), 1, 2), 1, 2),
        ({"accepted_values": {"column": "v", "values": [1.5]}}, column(pa.int32(), 1, None), 1, 1),
        (
            {"accepted_values": {"column": "v", "values": [0.1]}},
            column(pa.decimal128(5, 2), Decimal("0.10"), Decimal("0.11")),
            1,
            2,
        ),
        ({"accepted_values": {"column": "v", "values": [True]}}, column(pa.bool_(), True, False, None), 1, 2),
        (
            {"accepted_values": {"column": "v", "values": [True, 1]}},
            column(pa.string(), "true", "1", "x"),
            1,
            3,
        ),
        ({"accepted_values": {"column": "v", "values": [0.1]}}, column(pa.float64(), 0.1, NAN), 1, 2),
        (
            {"accepted_values": {"column": "v", "values": ["2026-01-01"]}},
            column(pa.date32(), date(2026, 1, 1), date(2026, 1, 2)),
            1,
            2,
        ),
        (
            {"matches": {"column": "v", "pattern": "[A-Z]{2}"}},
            column(pa.string(), "AB", "ABC", "xAB", None),
            2,
            3,
        ),
        ({"matches": {"column": "v", "pattern": "a'.|b"}}, column(pa.string(), "a'x", "b", "xb"), 1, 3),
        ({"matches": {"column": "v", "pattern": "b?"}}, column(pa.string(), "", None), 0, 1),
        ({"expression": "v >= 2"}, column(pa.int64(), 1, 2, None), 1, 3),
        ({"expression": "v > 0 -- not zero"}, column(pa.int64(), 0, 1), 1, 2),
        ({"expression": "v > 0 OR v < -5"}, column(pa.int64(), 0, 1, -9), 1, 3),
        (
            {"expression": "len(v) = 2 AND list_contains(v, 1)"},
            column(pa.list_(pa.int64()), [1, 2], [3, 4]),
            1,
            2,
        ),
    ],
)
def test_rows_that_are_bad(
    ground: Ground, spec: dict[str, Any], table: pa.Table, failed: int, rows: int
) -> None:
    result = ground.answer(spec, table)
    assert (result.failed_rows, result.rows, result.passed) == (failed, rows, failed == 0)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            "bigint",
            ["0", " -7 ", "+9223372036854775807"],
            ["1.5", "1e3", "9223372036854775808", "", "x", "0x1f"],
        ),
        ("smallint", ["32767"], ["32768"]),
        ("decimal(4,2)", ["1.5", "-99.99", ".5", "7.", "1.2500"], ["1.125", "100", "1e1", "x", ""]),
        ("numeric", ["1.125", "-" + "9" * 60, ".5"], ["1e3", "NaN", "x", "", "."]),
        ("double", ["1.5", "1e300", "NaN", "-inf"], ["x", ""]),
        ("boolean", ["true", "F", "1", "no"], ["2", "", "wahr"]),
        ("date", ["2026-02-28", "2024-02-29"], ["2026-02-29", "2026-02-28 10:00:00", "28.02.2026", ""]),
        ("timestamp", ["2026-02-28 10:00:00.123456", "2026-02-28"], ["2026-02-28 25:00:00", "now-ish"]),
        ("timestamptz", ["2026-02-28T10:00:00Z", "2026-02-28 10:00:00+02"], ["2026-02-30T00:00:00Z"]),
        ("time", ["10:00:00", "23:59:59.999999"], ["25:00:00", ""]),
        ("uuid", ["6f9619ff-8b86-d011-b42d-00cf4fc964ff"], ["x"]),
        ("json", ["{}", "[1, null]", '"x"', "1"], ["{", "", "{'a': 1}"]),
        ("text", ["", "anything"], []),
        ("varchar(3)", ["abcdef"], []),
    ],
)
def test_texts_that_can_be_read_as_a_type(ground: Ground, kind: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert ground.answer({"type": {"v": kind}}, column(pa.string(), text, None)).failed_rows == 0, text
    for text in bad:
        assert ground.answer({"type": {"v": kind}}, column(pa.string(), text, None)).failed_rows == 1, text


@pytest.mark.parametrize(
    ("type_", "fulfils", "not_"),
    [
        (
            pa.int32(),
            ["int", "bigint", "decimal(10,0)", "numeric"],
            ["smallint", "decimal(9,0)", "text", "double"],
        ),
        (pa.int64(), ["bigint", "decimal(19,0)"], ["int", "decimal(18,0)"]),
        (pa.uint32(), ["bigint"], ["int"]),
        (
            pa.decimal128(10, 2),
            ["decimal(10,2)", "decimal(12,4)", "numeric"],
            ["decimal(10,4)", "bigint", "decimal(10,1)"],
        ),
        (pa.float32(), ["float", "double"], ["numeric"]),
        (pa.float64(), ["double"], ["float", "decimal(10,2)"]),
        (pa.bool_(), ["boolean"], ["int"]),
        (pa.date32(), ["date"], ["timestamp"]),
        (pa.timestamp("us"), ["timestamp", "datetime"], ["timestamptz", "date"]),
        (pa.timestamp("us", "UTC"), ["timestamptz"], ["timestamp"]),
        (pa.binary(), ["blob", "bytea"], ["text"]),
        (pa.list_(pa.int64()), [], ["int", "text", "json"]),
    ],
    ids=str,
)
def test_columns_that_have_a_type(
    ground: Ground, type_: pa.DataType, fulfils: list[str], not_: list[str]
) -> None:
    table = pa.table({"v": pa.nulls(2, type_), "w": [1, 2]})
    mount = ground.mount(table)
    asked = checks(*({"type": {"v": kind}} for kind in [*fulfils, *not_]), {"not_null": "w"})
    verdict = ground.verdict(asked, mount)
    assert [r.passed for r in verdict.results] == [*[True] * len(fulfils), *[True] * len(not_), True]
    if not pa.types.is_list(type_):
        values = {"i": 1, "u": 1, "d": Decimal(1), "f": 1.0, "b": True, "t": datetime(2026, 1, 1)}
        value: Any = date(2026, 1, 1) if type_ == pa.date32() else values[str(type_)[0]]
        value = b"x" if type_ == pa.binary() else 1.0 if type_ == pa.float64() else value
        filled = ground.verdict(asked[:-1], column(type_, value, None))
        assert [r.passed for r in filled.results] == [*[True] * len(fulfils), *[False] * len(not_)]


# ---- how much has to be good, and what follows


@pytest.mark.parametrize(
    ("mostly", "on_fail", "passed", "then"),
    [
        (1.0, "stop", False, OnFail.STOP),
        (0.9, "stop", True, OnFail.STOP),
        (0.91, "stop", False, OnFail.STOP),
        (0.9, "warn", True, OnFail.WARN),
        (0.91, "warn", False, OnFail.WARN),
        (1.0, "quarantine", False, OnFail.QUARANTINE),
        (0.9, "quarantine", False, OnFail.QUARANTINE),
        (0.91, "quarantine", False, OnFail.STOP),
    ],
)
def test_mostly(ground: Ground, mostly: float, on_fail: str, passed: bool, then: OnFail) -> None:
    table = column(pa.int64(), *range(9), -1, None)
    result = ground.answer({"non_negative": "v", "mostly": mostly, "on_fail": on_fail}, table)
    assert (result.passed, result.check.on_fail) == (passed, then)
    assert (result.rows, result.failed_rows) == (10, 1)


def test_a_share_is_reckoned_exactly(ground: Ground) -> None:
    """7 of 10 are 0.7 of them, whatever floats say."""
    asked = checks(*({"non_negative": "v", "mostly": tenths / 10} for tenths in range(1, 11)))
    for good in range(11):
        table = column(pa.int64(), *([1] * good), *([-1] * (10 - good)))
        results = ground.verdict(asked, table).results
        assert [result.passed for result in results] == [good >= tenths for tenths in range(1, 11)]


def test_a_verdict_says_what_stops_and_what_only_warns(ground: Ground) -> None:
    asked = checks(
        {"not_null": "v"},
        {"non_negative": "v", "on_fail": "warn"},
        {"between": {"column": "v", "max": 0}, "on_fail": "quarantine"},
        {"row_count": {"min": 1}},
    )
    verdict = ground.verdict(asked, column(pa.int64(), 1, -1, None))
    assert [result.passed for result in verdict.results] == [False, False, False, True]
    assert [result.check.name for result in verdict.stopped_by] == ["not_null(v)"]
    assert [result.check.name for result in verdict.warnings] == ["non_negative(v)"]
    assert not verdict.passed


def test_no_checks_ask_nothing(ground: Ground) -> None:
    assert ground.verdict((), keys(1)).results == ()


def test_an_empty_load_has_nothing_bad(ground: Ground) -> None:
    asked = checks({"not_null": "v"}, {"unique": "v"}, {"no_duplicates": "all"}, {"expression": "v > 0"})
    verdict = ground.verdict(asked, Mount(keys().schema))
    assert [(r.passed, r.rows, r.failed_rows) for r in verdict.results] == [(True, 0, 0)] * 4


# ---- messages


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"not_null": "v"}, "1 of 6 rows has no v"),
        ({"not_null": "w"}, "2 of 6 rows have no w"),
        ({"not_null": "id"}, "all 6 rows have id"),
        ({"unique": "v"}, "1 value of v comes more than once, in 2 of 5 rows"),
        ({"unique": "id"}, "no value of id comes twice in 6 rows"),
        ({"no_duplicates": "all"}, "no two of 6 rows are the same"),
        ({"between": {"column": "v", "min": 0, "max": 3}}, "2 of 5 values of v are not between 0 and 3"),
        ({"between": {"column": "v", "min": 0}}, "1 of 5 values of v is not at least 0"),
        ({"between": {"column": "v", "max": 99}}, "all 5 values of v are at most 99"),
        ({"non_negative": "v"}, "1 of 5 values of v is not zero or more"),
        (
            {"accepted_values": {"column": "w", "values": list("abcdefghi")}},
            "1 of 4 values of w is not one of a, b, c, d, e and 4 more",
        ),
        ({"matches": {"column": "w", "pattern": "email"}}, "4 of 4 values of w are not email addresses"),
        ({"matches": {"column": "w", "pattern": "[a-c]"}}, "1 of 4 values of w does not match [a-c]"),
        ({"type": {"w": "date"}}, "4 of 4 values of w cannot be read as date"),
        ({"type": {"v": "bigint"}}, "all 5 values of v are bigint"),
        ({"row_count": {"min": 7, "max": 5}}, ""),
        ({"row_count": {"min": 1}}, "the table would have 6 rows"),
        (
            {"row_count": {"min": 1_000, "change": 0.5}},
            "the table would have 6 rows: at least 1,000 are wanted, there were 2,000 before, "
            "and a change of 50% is allowed",
        ),
        ({"fresh": {"column": "at", "within": "36h"}}, "the newest at is 2 d 3 h old, 1 d 12 h is allowed"),
        ({"expression": "v > 0"}, "1 of 6 rows breaks v > 0"),
        ({"expression": "v > 1"}, "3 of 6 rows break v > 1"),
        ({"not_null": "v", "mostly": 0.9}, "1 of 6 rows has no v; 0.9 of them must be good"),
        (
            {"not_null": "v", "mostly": 0.9, "on_fail": "quarantine"},
            "1 of 6 rows has no v; 0.9 of them must be good, which is too much to set aside",
        ),
    ],
    ids=repr,
)
def test_messages_are_a_sentence_with_the_figures(ground: Ground, spec: dict[str, Any], message: str) -> None:
    table = pa.table(
        {
            "id": range(6),
            "v": [-1, 1, 1, 3, 9, None],
            "w": ["a", "b", "c", "x", None, None],
            "at": pa.array([NOW - timedelta(days=2, hours=3, minutes=4)] * 6, pa.timestamp("us", "UTC")),
        }
    )
    if message:
        context = ground.context(previous_rows=2_000)
        (result,) = ground.verdict(checks(spec), table, context=context).results
        assert result.message == message


def test_an_answer_as_json(ground: Ground) -> None:
    result = ground.answer({"not_null": "v", "severity": "critical"}, column(pa.int64(), 1, None))
    assert result.as_dict() == {
        "check": "not_null(v)",
        "kind": "not_null",
        "columns": ["v"],
        "passed": False,
        "severity": "critical",
        "on_fail": "stop",
        "message": "1 of 2 rows has no v",
        "rows": 2,
        "failed_rows": 1,
    }


# ---- mistakes


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"not_null": "w"}, "the table has no column w"),
        ({"unique": ["v", "w"]}, "the table has no column w"),
        ({"fresh": {"column": "w", "within": "1d"}}, "the table has no column w"),
        (bounds(min="abc"), "'abc' cannot be compared with v, which is int64"),
        ({"accepted_values": {"column": "v", "values": ["abc"]}}, "'abc' cannot be compared with v"),
        ({"matches": {"column": "v", "pattern": "email"}}, "v is int64, and only texts can match"),
        ({"referential": {"column": "v", "to": "bronze.shop.self", "field": "nope"}}, "no column nope"),
    ],
    ids=repr,
)
def test_checks_that_do_not_fit_the_table_are_the_projects_mistake(
    ground: Ground, spec: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        ground.answer(spec, column(pa.int64(), 1))
    assert caught.value.where["check"] == checks(spec)[0].name


@pytest.mark.parametrize("bad", ["abc", "2026-13-01", 5, 1.5])
def test_a_bound_of_another_type_than_the_time_is_named(ground: Ground, bad: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be compared with v"):
        ground.answer(bounds(min=bad), column(pa.timestamp("us"), None))


def test_an_expression_about_a_missing_column_names_it(ground: Ground) -> None:
    with pytest.raises(QueryError, match='"w" not found'):
        ground.answer({"expression": "w > 0"}, column(pa.int64(), 1))


def test_an_expression_that_cannot_be_calculated_is_a_data_error(ground: Ground) -> None:
    with pytest.raises(DataError, match="Could not convert"):
        ground.answer({"expression": "CAST(v AS INTEGER) > 0"}, column(pa.string(), "1", "x"))


@pytest.mark.parametrize("name", ["we ird", 'quo"te', "semi;--", "größe", "select", "a.b"])
def test_odd_names_of_columns(ground: Ground, name: str) -> None:
    table = pa.table({name: pa.array([1, -1, 1, None], pa.int64())})
    asked = checks(
        {"not_null": name},
        {"unique": name},
        {"non_negative": name},
        {"type": {name: "bigint"}},
        {"no_duplicates": "all"},
        {"accepted_values": {"column": name, "values": [1]}},
    )
    failed = [result.failed_rows for result in ground.verdict(asked, table).results]
    assert failed == [1, 2, 1, 0, 2, 1]


def test_names_are_found_without_regard_to_case(ground: Ground) -> None:
    assert ground.answer({"not_null": "ID"}, pa.table({"Id": [1, None]})).failed_rows == 1


# ---- against a plain reckoning


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=30),
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=30),
    st.integers(-3, 3),
    st.integers(-3, 3),
)
def test_counts_are_those_of_a_plain_loop(
    ground: Ground, fresh: list[int | None], old: list[int | None], low: int, high: int
) -> None:
    asked = checks(
        {"not_null": "v"},
        bounds(min=low, max=high),
        {"unique": "v"},
        {"no_duplicates": "v"},
        {"expression": f"v <> {low}"},
        {"row_count": {"min": 0}},
        {"referential": {"column": "v", "to": "bronze.shop.self"}},
    )
    values = [value for value in fresh if value is not None]
    for before in ([], old):
        whole = fresh + before
        results = ground.verdict(asked, keys(*fresh), keys(*before) if before else None).results
        assert [result.failed_rows for result in results] == [
            fresh.count(None),
            sum(not low <= value <= high for value in values),
            sum(whole.count(value) > 1 for value in values),
            sum(whole.count(value) > 1 for value in fresh),
            values.count(low),
            None,
            0,
        ]
        assert results[5].observed == len(whole)
