from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.frames.frames import (
    chosen_backend,
    cut,
    exact_chunks,
    from_arrow,
    to_arrow,
    with_target,
)
from asgard.core.errors import ConfigError, DataError

AWKWARD = pa.table(
    {
        "beyond_float": pa.array([2**53 + 1, None, -(2**63)], pa.int64()),
        "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "money": pa.array([Decimal("0.10"), None, Decimal("-99999999.99")], pa.decimal128(10, 2)),
        "text": ["", None, "ünï"],
        "flag": [True, None, False],
        "day": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
        "instant": pa.array([0, None, -62_135_596_800_000_000], pa.timestamp("us", "UTC")),
        "bytes": [b"\x00\xff", None, b""],
        "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1}, None, {"a": None}], pa.struct([("a", pa.int64())])),
        "not_a_number": pa.array([float("nan"), None, float("-inf")]),
    }
)


@pytest.mark.parametrize("backend", ["pandas", "arrow", "duckdb", "polars"])
def test_values_go_out_and_come_back_as_they_were(backend: str) -> None:
    back = to_arrow(from_arrow(AWKWARD, backend))
    assert repr(back.cast(AWKWARD.schema).to_pylist()) == repr(AWKWARD.to_pylist())


def test_pandas_columns_are_arrow_backed() -> None:
    frame = from_arrow(AWKWARD, "pandas")
    assert isinstance(frame, pd.DataFrame)
    assert frame["beyond_float"][0] == 2**53 + 1
    assert frame["money"][0] == Decimal("0.10")
    assert set(frame.dtypes.map(type)) == {pd.ArrowDtype}


def test_auto_is_pandas_where_it_is_installed() -> None:
    assert chosen_backend("auto") == "pandas"
    assert isinstance(from_arrow(AWKWARD), pd.DataFrame)


def test_auto_is_arrow_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert chosen_backend("auto") == "arrow"
    with pytest.raises(ConfigError) as caught:
        chosen_backend("polars")
    assert caught.value.hint == "pip install 'asgard-platform[polars]'"


@pytest.mark.parametrize(("name", "says"), [("spark", "reads by itself"), ("dask", "reads by itself"),
                                            ("excel", "there is no backend 'excel'")])  # fmt: skip
def test_other_backends_are_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_arrow(AWKWARD, name)


def test_a_duckdb_relation_can_be_asked_further() -> None:
    relation = from_arrow(pa.table({"a": [1, 2, 3]}), "duckdb")
    assert relation.filter("a > 1").order("a").fetchall() == [(2,), (3,)]


def test_rows_with_different_keys_keep_them_all() -> None:
    table = to_arrow([{"a": 1}, {"b": "x"}, {"a": 3, "b": None}])
    assert table.to_pydict() == {"a": [1, None, 3], "b": [None, "x", None]}


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        ({"a": [1, 2]}, {"a": [1, 2]}),
        ({"a": 1, "b": "x"}, {"a": [1], "b": ["x"]}),
        (pa.record_batch({"a": [1]}), {"a": [1]}),
        (pa.table({"a": [1]}).to_reader(), {"a": [1]}),
        (pl.LazyFrame({"a": [1]}), {"a": [1]}),
        (pd.DataFrame({"a": [1.5, None]}), {"a": [1.5, None]}),
        (pd.DataFrame({"a": [1, 2]}).iloc[1:], {"a": [2]}),
        (pd.DataFrame({"id": [7], "a": [1]}).set_index("id"), {"a": [1], "id": [7]}),
        ([], {}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_frame_is_taken(frame: Any, wanted: dict[str, list[Any]]) -> None:
    assert to_arrow(frame).to_pydict() == wanted


@pytest.mark.parametrize("frame", [[{"a": 1}, {"a": "x"}], pd.DataFrame({"ok": [1, 2], "a": [1, "x"]})])
def test_values_of_several_types_are_refused_by_column(frame: Any) -> None:
    with pytest.raises(DataError) as caught:
        to_arrow(frame, "shop")
    assert caught.value.where == {"column": "a"}
    assert caught.value.what.startswith("shop: the values of column 'a' have no common type")


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="Duplicate column names"):
        to_arrow(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("frame", [5, None, "text", [1, 2]])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    with pytest.raises(ConfigError, match="which is no frame"):
        to_arrow(frame)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 11))
def test_chunks_have_exactly_their_size(sizes: list[int], chunk_rows: int) -> None:
    schema = pa.schema([("n", pa.int64())])
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    batches = [
        pa.record_batch([pa.array(range(start, start + size), pa.int64())], schema=schema)
        for start, size in zip(starts, sizes, strict=True)
    ]
    chunks = [chunk["n"].to_pylist() for chunk in exact_chunks(batches, schema, chunk_rows)]
    assert [n for chunk in chunks for n in chunk] == list(range(sum(sizes)))
    assert all(len(chunk) == chunk_rows for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= chunk_rows for chunk in chunks[-1:])


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [pa.table, pd.DataFrame, pl.DataFrame, lambda columns: columns["a"]])
def test_a_frame_is_cut_into_its_own_kind(kind: Any, rows: int) -> None:
    frame = kind({"a": list(range(rows))})
    pieces = list(cut(frame, 2))
    assert [len(piece) for piece in pieces] == [2] * (rows // 2) + [1] * (rows % 2)
    assert {type(piece) for piece in pieces} <= {type(frame)}


def test_a_chunk_has_at_least_one_row() -> None:
    with pytest.raises(ConfigError, match="chunk_size is 0"):
        list(cut([1], 0))


def test_the_target_column_is_kept_with_the_schema() -> None:
    table = with_target(pa.table({"y": [1]}), "y")
    assert table.schema.metadata == {b"asgard.target_column": b"y"}
    assert from_arrow(table, "pandas").attrs == {"target_column": "y"}
