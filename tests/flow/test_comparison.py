"""Comparing tables: every kind of difference, exact values, against a plain account of the same rows."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.app.tables.diff import DiffWish, diff, diff_as_dict
from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import Mode
from asgard.core.table import Mount
from asgard.engines.duckdb import DuckDBEngine
from asgard.flow.comparison import Bounds, Comparison, compare
from tests.flow.lab import Lab, orders


def compared(a: pa.Table, b: pa.Table, *keys: str, **bounds: int) -> Comparison:
    with DuckDBEngine(64 << 20) as engine:
        return compare(
            engine,
            Mount(a.schema, reader=a.to_reader),
            Mount(b.schema, reader=b.to_reader),
            keys=keys,
            bounds=Bounds(**bounds),
        )


VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "float": (pa.float64(), [0.0, -0.0, float("nan"), None, 1e300, float("inf")]),
    "decimal": (pa.decimal128(38, 10), [Decimal("0.1"), Decimal("0.1000000001"), None, Decimal(10**27)]),
    "text": (pa.string(), ["", None, "a", "A", "a\u0301", "á"]),
    "whole": (pa.int64(), [2**63 - 1, 2**63 - 2, None, 0]),
    "list": (pa.list_(pa.int64()), [[], None, [None], [1], [1, 2]]),
    "bytes": (pa.binary(), [b"", None, b"\x00", b"\xff"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_equals_itself_alone(name: str) -> None:
    kind, values = VALUES[name]
    pairs = [(one, two) for one in range(len(values)) for two in range(len(values))]
    ids = list(range(len(pairs)))
    a, b = (pa.table({"id": ids, "v": pa.array([values[p[n]] for p in pairs], kind)}) for n in (0, 1))
    differing = sum(one != two for one, two in pairs)
    assert compared(a, b).counts == Counter(only_a=differing, only_b=differing)
    assert compared(a, b, "id").counts == Counter(changed=differing)


ROW = st.tuples(st.integers(0, 12), st.sampled_from([None, 0.0, -0.0, math.nan, 1.5]), st.sampled_from("xyz"))


def table(rows: list[tuple[int, float | None, str]]) -> pa.Table:
    kinds = pa.schema([("id", pa.int64()), ("n", pa.float64()), ("s", pa.string())])
    return pa.Table.from_pylist([dict(zip(kinds.names, row, strict=True)) for row in rows], schema=kinds)


def said(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(repr, row))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ROW, max_size=12), st.lists(ROW, max_size=12))
def test_the_counts_are_those_of_a_plain_account(a: list[Any], b: list[Any]) -> None:
    one, two = Counter(map(said, a)), Counter(map(said, b))
    wanted = {"only_a": (one - two).total(), "only_b": (two - one).total(), "changed": 0}
    for memory_bytes in (1 << 20, 300):  # all rows at once, and a share at a time
        found = compared(table(a), table(b), memory_bytes=memory_bytes)
        assert {kind: found.counts[kind] for kind in wanted} == wanted
    by_id = [{row[0]: row for row in rows} for rows in (a, b)]
    found = compared(*(table(list(rows.values())) for rows in by_id), "id")
    shared = by_id[0].keys() & by_id[1].keys()
    differing = [key for key in shared if said(by_id[0][key]) != said(by_id[1][key])]
    assert found.counts == Counter(
        only_a=len(by_id[0].keys() - shared), only_b=len(by_id[1].keys() - shared), changed=len(differing)
    )
    for n, name in ((1, "n"), (2, "s")):
        assert found.changed_columns[name] == sum(
            repr(by_id[0][k][n]) != repr(by_id[1][k][n]) for k in shared
        )


def test_shares_are_those_of_values_whatever_their_type() -> None:
    a = pa.table({"id": pa.array(range(50), pa.int32()), "n": [Decimal(n) for n in range(50)]})
    b = pa.table({"id": pa.array(range(50), pa.int64()), "n": [Decimal(f"{n}.00") for n in range(50)]})
    assert compared(a, b, memory_bytes=500).counts == Counter()


def test_columns_that_differ(tmp_path: Path) -> None:
    a = pa.table({"id": [1], "n": pa.array([1], pa.int32()), "gone": ["x"], "kind": ["1"]})
    b = pa.table({"id": [1], "n": pa.array([1], pa.int64()), "come": ["x"], "kind": [1.0]})
    found = compared(a, b, "id")
    assert found.columns.as_dict() == {
        "added": {"come": "string"},
        "removed": ["gone"],
        "changed": {"n": ["int32", "int64"], "kind": ["string", "double"]},
    }
    assert found.not_compared == ("kind",)
    assert found.counts.total() == 0
    assert not found.is_equal


def test_keys_may_be_null_and_of_several_columns() -> None:
    a = pa.table({"x": [1, None, 2], "y": ["a", "a", None], "v": [1, 2, 3]})
    b = pa.table({"x": [1, None, 2], "y": ["a", "a", "b"], "v": [1, 5, 3]})
    found = compared(a, b, "x", "y")
    assert found.counts == Counter(only_a=1, only_b=1, changed=1)


def test_keys_must_be_keys() -> None:
    twice = pa.table({"id": [1, 1], "v": [1, 2]})
    with pytest.raises(DataError, match="not unique in b: id = 1 comes 2 times"):
        compared(pa.table({"id": [1], "v": [1]}), twice, "id")
    with pytest.raises(ConfigError, match="other cannot be the key"):
        compared(twice, twice, "other")


def test_versions_of_one_table(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    lab.load("shop.orders", orders(3, 4, amount=7), Mode.MERGE, ("id",))
    found = diff(lab.workspace, DiffWish("bronze.shop.orders", at_a=1, at_b=2, keys=("id",)))
    said_ = diff_as_dict(found)
    assert said_["differences"] == {"only_a": 0, "only_b": 1, "changed": 1}
    assert said_["samples"]["changed"] == [{"key": {"id": 3}, "columns": {"amount": [1, 7]}}]
    assert said_["samples"]["only_b"] == [{"id": 4, "customer": 1, "amount": 7}]
    assert diff(lab.workspace, DiffWish("orders", at_a=1, at_b=2, ignore=("amount",))).counts.total() == 1
    with pytest.raises(ConfigError, match="equal to itself"):
        diff(lab.workspace, DiffWish("orders"))
    with pytest.raises(ConfigError, match="neither table has a column amuont"):
        diff(lab.workspace, DiffWish("orders", at_a=1, ignore=("amuont",)))
