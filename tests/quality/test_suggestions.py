"""Suggested checks: true of every row that they were made from, and with figures that are right."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.engines.duckdb import DuckDBEngine
from asgard.quality.profile import Profile, profiles
from asgard.quality.suggestions import suggestions
from tests.quality.ground import MEBIBYTE, NOW, Ground, checks


def profiled(ground: Ground, table: pa.Table) -> list[Profile]:
    with DuckDBEngine(256 * MEBIBYTE) as engine:
        return profiles(engine, ground.mount(table))


def suggested(ground: Ground, table: pa.Table) -> list[dict[str, Any]]:
    return [one.entry for one in suggestions(profiled(ground, table), NOW)]


def test_a_profile_has_the_figures_of_each_column(ground: Ground) -> None:
    table = pa.table(
        {"id": range(100), "s": ["a", "bb", None, "a"] * 25, "d": [date(2026, 1, 1)] * 100,
         "f": [float(n % 50) - 1 for n in range(100)], "list": [[1]] * 100, "_asgard_x": [1] * 100}
    )  # fmt: skip
    id_, s, d, f = profiled(ground, table)
    assert (id_.rows, id_.nulls, id_.distinct, id_.counted, id_.least, id_.greatest) == (
        100,
        0,
        100,
        True,
        "0",
        "99",
    )
    assert id_.is_unique
    assert (s.nulls, s.values, s.shortest, s.longest) == (25, (("a", 50), ("bb", 25)), 1, 2)
    assert (d.values, d.least) == ((("2026-01-01", 100),), "2026-01-01")
    assert (f.negative, f.is_unique) == (2, False)


def test_what_is_proposed(ground: Ground) -> None:
    table = pa.table(
        {
            "id": range(60),
            "status": ["new", "paid"] * 30,
            "maybe": ["x", None] * 30,
            "price": [n / 4 for n in range(60)],
            "change": [n - 30 for n in range(60)],
            "mail": [f"u{n}@example.com" for n in range(60)],
            "code": [f"AB-{n:04d}" for n in range(60)],
            "at": pa.array([NOW - timedelta(days=2)] * 60, pa.timestamp("us", "UTC")),
            "old": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 60, pa.timestamp("us", "UTC")),
            "doc": [f'{{"n": {n}}}' for n in range(60)],
            "flag": [True, False] * 30,
        }
    )
    entries = suggested(ground, table)
    for wanted in (
        {"row_count": {"min": 30}},
        {"unique": "id"},
        {"accepted_values": {"column": "status", "values": ["new", "paid"]}},
        {"non_negative": "price"},
        {"matches": {"column": "mail", "pattern": "email"}},
        {"length": {"column": "code", "min": 7, "max": 7}},
        {"is_json": "doc"},
        {"fresh": {"column": "at", "within": "6d"}, "severity": "warning", "on_fail": "warn"},
    ):
        assert wanted in entries, wanted
    said = str(entries)
    assert "'not_null': 'maybe'" not in said
    assert "'fresh': {'column': 'old'" not in said
    assert "'column': 'flag'" not in said


def test_few_rows_propose_little_and_none_nothing(ground: Ground) -> None:
    few = pa.table({"id": [1, 2, 3], "s": ["a", "b", None]})
    assert suggested(ground, few) == [{"row_count": {"min": 1}}, {"not_null": "id"}]
    assert suggested(ground, few.slice(0, 0)) == []
    assert suggested(ground, pa.table({"x": pa.array([None] * 30, pa.string())})) == [
        {"row_count": {"min": 15}}
    ]


def test_what_only_looks_like_it_is_not_proposed(ground: Ground) -> None:
    table = pa.table(
        {
            "day": [f"2026-02-{n:02d}" for n in range(1, 31)],
            "nan": [float(n) for n in range(29)] + [float("nan")],
            "doc": [f"{{{n}" for n in range(30)],
        }
    )
    assert [
        entry for entry in suggested(ground, table) if not {"not_null", "row_count", "unique"} & set(entry)
    ] == []


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "i": st.none() | st.integers(-5, 5),
                "n": st.integers(-(2**63), 2**63 - 1),
                "d": st.none() | st.decimals(-99, 99, places=2),
                "f": st.none() | st.floats(width=64),
                "s": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
                "t": st.none() | st.sampled_from(["2026-01-01", "2026-02-03", "DE", "{}", "1", ""]),
                "at": st.none() | st.datetimes(datetime(2026, 5, 20), datetime(2026, 6, 15)),
            }
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_suggestion_fails_on_the_rows_that_it_was_made_from(
    ground: Ground, rows: list[dict[str, Any]]
) -> None:
    schema = pa.schema([("i", pa.int32()), ("n", pa.int64()), ("d", pa.decimal128(6, 2)), ("f", pa.float64()),
                        ("s", pa.string()), ("t", pa.string()), ("at", pa.timestamp("us"))])  # fmt: skip
    table = pa.Table.from_pylist(rows, schema)
    entries = suggested(ground, table)
    failed = [r.message for r in ground.verdict(checks(*entries), table).results if not r.passed]
    assert failed == []


def test_a_wide_table_is_profiled_in_several_scans(tmp_path: Path) -> None:
    table = pa.table({f"c{n}": [n, n + 1] for n in range(120)})
    assert [one.greatest for one in profiled(Ground(tmp_path), table)] == [str(n + 1) for n in range(120)]
