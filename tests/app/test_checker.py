from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from asgard.app.frames.checker import DataQualityChecker
from asgard.core.errors import ConfigError

ROWS = {
    "id": [1, 2, 2, 4],
    "name": ["a", "b", "b", None],
    "price": [1.5, 0.0, 0.0, 99.0],
    "day": [dt.date(2024, 1, d) for d in (1, 2, 2, 4)],
}
KINDS: list[Callable[[Any], Any]] = [
    pa.table, pd.DataFrame, pl.DataFrame, lambda rows: pa.table(rows).to_pylist(),
    lambda rows: pa.table(rows).to_pandas(types_mapper=pd.ArrowDtype),
]  # fmt: skip


@pytest.fixture(params=KINDS, ids=["arrow", "pandas", "polars", "rows", "arrow-pandas"])
def checker(request: pytest.FixtureRequest) -> DataQualityChecker:
    return DataQualityChecker(request.param(ROWS), "orders")


def test_nulls(checker: DataQualityChecker) -> None:
    assert checker.check_null_columns(["id", "price"]) == (True, "all 4 rows have id; all 4 rows have price")
    assert checker.check_null_columns(["id", "name"]) == (False, "1 of 4 rows has no name")
    assert checker.checks == [
        ("null_check", "id", True, "all 4 rows have id"),
        ("null_check", "price", True, "all 4 rows have price"),
        ("null_check", "id", True, "all 4 rows have id"),
        ("null_check", "name", False, "1 of 4 rows has no name"),
    ]


def test_duplicates(checker: DataQualityChecker) -> None:
    message = "1 value of id, price comes more than once, in 2 of 4 rows"
    assert checker.check_duplicates(["id", "price"]) == (False, message)
    assert checker.check_duplicates(["day", "name"])[0] is False
    assert checker.check_duplicates()[0] is False
    assert [entry[:3] for entry in checker.checks] == [
        ("duplicate_check", "['id', 'price']", False),
        ("duplicate_check", "['day', 'name']", False),
        ("duplicate_check", "[]", False),
    ]


def test_no_duplicates() -> None:
    checker = DataQualityChecker(pd.DataFrame({"a": [1, 1, None], "b": [1, 2, None]}))
    assert checker.check_duplicates(["a", "b"])[0] is True
    assert DataQualityChecker(pa.table({"a": pa.nulls(2, pa.int8())})).check_duplicates(["a"])[0] is False


def test_ranges(checker: DataQualityChecker) -> None:
    assert checker.check_value_range("price", 0, 99) == (True, "all 4 values of price are between 0 and 99")
    message = "3 of 4 values of price are not between 0.1 and 50"
    assert checker.check_value_range("price", 0.1, 50) == (False, message)
    assert checker.check_value_range("price", None, Decimal("99.0"))[0]
    assert not checker.check_value_range("day", dt.date(2024, 1, 2), None)[0]
    assert checker.check_value_range("day", np.datetime64("2024-01-01"), None)[0]
    assert checker.check_value_range("id", np.int64(1), np.int64(4))[0]
    assert checker.checks[1] == ("range_check", "price", False, message)
    with pytest.raises(ConfigError, match="min_val, max_val or both"):
        checker.check_value_range("price")


def test_a_range_that_does_not_fit_its_column_fails(checker: DataQualityChecker) -> None:
    passed, message = checker.check_value_range("price", "low", "high")
    assert not passed
    assert "low" in message


def test_nulls_are_in_every_range_and_nan_in_none() -> None:
    table = pa.table({"x": [1.0, None, float("nan")]})
    assert DataQualityChecker(table.slice(0, 2)).check_value_range("x", 0, 2)[0]
    assert not DataQualityChecker(table).check_value_range("x", 0, 2)[0]
    assert DataQualityChecker(table.to_pandas()).check_value_range("x", 0, 2)[0], "NaN is pandas' null"


@pytest.mark.parametrize("call", ["check_null_columns", "check_duplicates"])
def test_missing_columns_fail(checker: DataQualityChecker, call: str) -> None:
    assert getattr(checker, call)(["id", "gone"]) == (False, "there is no column gone")
    assert checker.run_all_checks() is False


def test_missing_columns_fail_everywhere(checker: DataQualityChecker) -> None:
    assert checker.check_value_range("gone", 0, 1) == (False, "there is no column gone")
    assert checker.check_data_types({"gone": "int64", "id": "int64"}) == (False, "there is no column gone")
    assert (
        checker.checks[1:]
        == [
            ("type_check", "gone", False, "there is no column gone"),
            (
                "type_check",
                "id",
                True,
                "id is int64" + ("[pyarrow]" if "pyarrow" in checker.checks[2][3] else ""),
            ),
        ]
        or checker.checks[2][3] == "id is Int64"
    )


TYPED = pa.table(
    {
        "i": pa.array([1], pa.int64()),
        "small": pa.array([1], pa.int16()),
        "f": pa.array([1.0], pa.float64()),
        "s": ["x"],
        "b": [True],
        "d": pa.array([Decimal("1.00")], pa.decimal128(10, 2)),
        "day": pa.array([dt.date(2024, 1, 1)]),
        "naive": pa.array([0], pa.timestamp("us")),
        "zoned": pa.array([0], pa.timestamp("ns", "UTC")),
        "raw": [b"x"],
        "l": [[1]],
    }
)


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        ("i", ["int64", "int", "integer", "bigint", "Int64", int, np.int64, np.dtype("int64"), pa.int64()],
         ["int32", "float", "float64", "string", "datetime64", float, pa.int32(), "smallint", np.float32]),
        ("small", ["int16", "int", "bigint", "smallint", int], ["int64", "int8", "tinyint"]),
        ("f", ["float64", "double", "float", float, "number", pl.Float64], ["float32", "int", int]),
        ("s", ["string", "str", str, "text", "varchar", "object"], ["int64", "bytes", bytes, "category"]),
        ("b", ["bool", "boolean", bool], ["int", int, "string"]),
        ("d", ["decimal", Decimal, "decimal128(10, 2)", "decimal(12,2)", "decimal(10,2)", "number"],
         ["decimal(10,1)", "decimal128(11, 2)", "float", float]),
        ("day", ["date", dt.date, "date32"], ["datetime64", "timestamp", dt.datetime]),
        ("naive", ["datetime64", "datetime64[us]", "timestamp[us]", "datetime", dt.datetime, "timestamp"],
         ["datetime64[ns]", "datetime64[us, UTC]", "date", "timestamptz", "timestamp[us, tz=UTC]"]),
        ("zoned", ["datetime64", "datetime64[ns, UTC]", "timestamp[ns, tz=UTC]", dt.datetime, "timestamptz"],
         ["datetime64[ns]", "datetime64[ns, Asia/Tokyo]", "timestamp[ns]", "timedelta64[ns]"]),
        ("raw", ["bytes", "binary", bytes], ["string", str]),
        ("l", ["list", list, str(pa.list_(pa.int64())), pa.list_(pa.int64())], ["list<item: string>", dict]),
    ],
)  # fmt: skip
def test_types_are_really_checked(column: str, right: list[Any], wrong: list[Any]) -> None:
    checker = DataQualityChecker(TYPED)
    assert [e for e in right if not checker.check_data_types({column: e})[0]] == []
    assert [e for e in wrong if checker.check_data_types({column: e})[0]] == []


def test_the_names_of_the_frames_own_library_count() -> None:
    pandas = pd.DataFrame({"c": pd.Categorical(["x"]), "o": pd.Series(["x"], dtype=object), "n": [1.0]})
    checker = DataQualityChecker(pandas)
    assert checker.check_data_types({"c": "category", "o": "object", "n": "float64"}) == (
        True, "c is category; o is object; n is float64",
    )  # fmt: skip
    polars = DataQualityChecker(pl.DataFrame({"t": [dt.datetime(2024, 1, 1)], "s": ["x"]}))
    assert polars.check_data_types({"t": pl.Datetime("us"), "s": pl.String})[0]
    assert polars.check_data_types({"t": pl.Datetime("ns")}) == (
        False, "t is Datetime(time_unit='us', time_zone=None), not Datetime(time_unit='ns', time_zone=None)",
    )  # fmt: skip


def test_a_type_that_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="there is no type 'integr'") as caught:
        DataQualityChecker(TYPED).check_data_types({"i": "integr"})
    assert caught.value.hint == "did you mean integer?"


def test_the_report(checker: DataQualityChecker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "asgard")
    assert checker.run_all_checks() is True
    checker.check_null_columns("id")
    assert checker.run_all_checks() is True
    assert checker.get_report() == {
        "dataset": "orders",
        "total_rows": 4,
        "total_columns": 4,
        "checks": [("null_check", "id", True, "all 4 rows have id")],
        "all_passed": True,
    }
    checker.check_null_columns(["name"])
    assert checker.run_all_checks() is False
    assert checker.get_report()["all_passed"] is False
    assert "orders: 1 of 2 checks passed" in caplog.text
    assert "orders: 1 of 4 rows has no name" in caplog.text


def test_an_empty_frame_passes() -> None:
    checker = DataQualityChecker(pa.table({"a": pa.array([], pa.int64())}))
    assert checker.check_null_columns(["a"])[0]
    assert checker.check_duplicates(["a"])[0]
    assert checker.check_value_range("a", 0, 1)[0]
    assert checker.get_report()["total_rows"] == 0
    assert DataQualityChecker(pa.table({}), "nothing").check_duplicates()[0]
