"""Only what changed: documents above a cursor's bound, each once, none missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from asgard.connectors._mongodb import splits as _mongodb_splits
from asgard.connectors._mongodb.cursor import Value, value_of
from asgard.connectors.mongodb import MongoStreamOptions
from asgard.core.errors import ConfigError, DataError, PositionLost, QueryError
from asgard.core.position import DONE, Position
from asgard.core.stream import Mode, Selection
from asgard.testing.connectors import read_all
from asgard.transport.mongo import Deployment
from tests.connectors.reading import Loaded
from tests.connectors.test_mongodb import Shop
from tests.servers.mongodb import MongoServer


@pytest.fixture
def shop(mongodb: MongoServer) -> Iterator[Shop]:
    with mongodb.database() as database:
        yield Shop(mongodb, database)


OPTIONS = {"flatten": 1, "columns": {"c": "json"}}


def keyed(shop: Shop, since: str | None = None, **how: Any) -> Loaded:
    return shop.load("t", OPTIONS, since=since, cursor="c", primary_key=("_id",), **how)


def ids(loaded: Loaded) -> list[Any]:
    return sorted(row["_id"] for row in loaded.rows)


def oid(seconds: int, rest: int = 0) -> ObjectId:
    return ObjectId(f"{seconds:08x}{rest:016x}")


KINDS: dict[str, list[Any]] = {
    "date": [DatetimeMS(n * 1000) for n in (-5, 10, 20, 30, 40)],
    "date beyond Python's": [DatetimeMS(300_000_000_000_000 + n * 1000) for n in range(5)],
    "int": [-3, 10, Int64(1 << 40), Int64((1 << 40) + 1), Int64((1 << 62) + 1)],
    "int and double": [-3, 1.5, 2, 2.5, Int64(3)],
    "double": [-0.5, 1.25, 1.5, 2.5, 1e300],
    "decimal": [Decimal128(text) for text in ("-1.0", "0.10", "0.2", "1E+3", "1.001E+3")],
    "string": ["", "a", "aé", "aé1", "b"],
    "objectId": [oid(n, 5) for n in (1, 2, 3, 4, 5)],
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
def test_every_kind_of_cursor_goes_on(shop: Shop, values: list[Any]) -> None:
    """Two values, then a tie of the bound, one below it, and two above it."""
    shop.put("t", [{"_id": n, "c": value} for n, value in enumerate(values[:3])])
    first = keyed(shop)
    assert ids(first) == [0, 1, 2]
    unkeyed = shop.load("t", OPTIONS, cursor="c", primary_key=())
    shop.put("t", [{"_id": 10, "c": values[2]}, {"_id": 11, "c": values[1]}])
    shop.put("t", [{"_id": 12, "c": values[3]}, {"_id": 13, "c": values[4]}])
    second = keyed(shop, first.token)
    assert ids(second) == [2, 10, 12, 13]
    assert ids(keyed(shop, second.token)) == [13]
    later = shop.load("t", OPTIONS, cursor="c", primary_key=(), since=unkeyed.token)
    assert ids(later) == [12, 13]
    assert ids(shop.load("t", OPTIONS, cursor="c", primary_key=(), since=later.token)) == []


@pytest.mark.parametrize(
    ("values", "lag", "again"),
    [
        ([DatetimeMS(n * 1000) for n in (70, 80, 90, 100)], 25, [1, 2, 3]),
        ([DatetimeMS(n) for n in (70, 80, 90, 100)], 0.0105, [2, 3]),
        ([70, 80, 90, 100], 10, [2, 3]),
        ([70.0, 80.0, 90.0, 100.5], 10.5, [2, 3]),
        ([Decimal128("70"), Decimal128("80"), Decimal128("90"), Decimal128("100.5")], 10.5, [2, 3]),
        (["2026-01-01T00:00:0" + n for n in "0123"], 1, [2, 3]),
        ([oid(n, 9) for n in (70, 80, 90, 100)], 20, [1, 2, 3]),
    ],
)
def test_a_lag_is_read_again(shop: Shop, values: list[Any], lag: float, again: list[int]) -> None:
    shop.put("t", [{"_id": n, "c": value} for n, value in enumerate(values)])
    first = keyed(shop, cursor_lag=lag)
    assert ids(keyed(shop, first.token, cursor_lag=lag)) == again
    assert not [warning for warning in first.warnings if "written late" in warning]


def test_a_lag_needs_a_cursor_that_knows_one(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "c": "abc"}])
    first = keyed(shop, cursor_lag=5)
    with pytest.raises(ConfigError, match="cursor_lag cannot be taken from 'abc'"):
        keyed(shop, first.token, cursor_lag=5)
    unkeyed = shop.load("t", {"flatten": 1}, cursor="c", cursor_lag=5, primary_key=())
    assert [w for w in unkeyed.warnings if "cursor_lag does nothing without" in w]


@pytest.mark.parametrize(
    ("values", "until", "expected"),
    [
        ([datetime(2026, 1, n) for n in (1, 2, 3)], "2026-01-02", [0, 1]),
        ([datetime(2026, 1, n) for n in (1, 2, 3)], "2026-01-02T01:00:00+02:00", [0]),
        ([1, 2, 3], "2", [0, 1]),
        ([0.5, 1.5, 2.5], "1.5", [0, 1]),
        ([Decimal128("1"), Decimal128("2"), Decimal128("3")], "2.0", [0, 1]),
        (["a", "b", "c"], "b", [0, 1]),
        ([oid(1), oid(2), oid(3)], str(oid(2)), [0, 1]),
    ],
)
def test_until_bounds_a_backfill(shop: Shop, values: list[Any], until: str, expected: list[int]) -> None:
    shop.put("t", [{"_id": n, "c": value} for n, value in enumerate(values)])
    part = keyed(shop, until=until)
    assert ids(part) == expected
    assert ids(keyed(shop, part.token))[-1] == 2


@pytest.mark.parametrize(("value", "until"), [(1, "x"), (datetime(2026, 1, 1), "soon"), (oid(1), "12")])
def test_a_bound_of_another_kind_is_a_mistake(shop: Shop, value: Any, until: str) -> None:
    shop.put("t", [{"_id": 1, "c": value}])
    with pytest.raises(ConfigError, match="as the cursor is"):
        keyed(shop, until=until)


def test_documents_without_a_cursor_are_read(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "c": 5}, {"_id": 2, "c": None}, {"_id": 3}, {"_id": 4, "c": float("nan")}])
    first = keyed(shop)
    assert ids(first) == [1, 2, 3, 4]
    assert ids(keyed(shop, first.token)) == [1, 2, 3]
    unkeyed = shop.load("t", {"flatten": 1}, cursor="c", primary_key=())
    assert ids(unkeyed) == [1, 2, 3, 4]
    assert ids(shop.load("t", {"flatten": 1}, cursor="c", primary_key=(), since=unkeyed.token)) == []


def test_a_cursor_that_comes_later_begins_then(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "c": None}])
    options = {"flatten": 1, "columns": {"c": "int64"}}
    how: dict[str, Any] = {"cursor": "c", "primary_key": ("_id",)}
    first = shop.load("t", options, **how)
    assert ids(first) == [1]
    shop.put("t", [{"_id": 2, "c": 7}])
    second = shop.load("t", options, since=first.token, **how)
    assert ids(second) == [1, 2]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, "a"], "cannot be compared"),
        ([datetime(2026, 1, 1), oid(1)], "cannot be compared"),
        ([1.0, float("inf")], "no bound"),
        ([True, False], "no bound"),
        ([{"a": 1}], "no bound"),
        ([[1, 2]], "no bound"),
        ([Decimal128("Infinity")], "no bound"),
    ],
)
def test_values_that_are_no_bound_are_refused(shop: Shop, values: list[Any], says: str) -> None:
    shop.put("t", [{"_id": n, "c": value} for n, value in enumerate(values)])
    with pytest.raises(DataError, match=says):
        keyed(shop)


def test_a_bound_never_goes_back(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "c": n} for n in range(5)])
    first = keyed(shop)
    shop.database["t"].delete_many({"c": {"$gte": 3}})
    second = keyed(shop, first.token)
    assert ids(second) == []
    assert json.loads(second.token or "")["bound"] == json.loads(first.token or "")["bound"]
    assert [warning for warning in second.warnings if "documents were deleted" in warning]
    shop.database["t"].delete_many({})
    assert ids(keyed(shop, first.token)) == []


def test_another_collection_under_the_name_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("t", [{"_id": n, "c": n} for n in range(5)])
    monkeypatch.setattr(Deployment, "collection_id", lambda self, name: "first")
    first = keyed(shop)
    monkeypatch.setattr(Deployment, "collection_id", lambda self, name: "second")
    assert ids(keyed(shop, first.token)) == [4]  # a copy with everything in it is as good
    shop.database["t"].delete_many({"c": {"$gte": 3}})
    with pytest.raises(PositionLost, match="made anew"):
        keyed(shop, first.token)


def test_a_position_of_another_cursor_is_lost(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "c": 1, "d": 1}])
    first = keyed(shop)
    with pytest.raises(PositionLost, match="the cursor was 'c', now it is 'd'"):
        shop.load("t", {"flatten": 1}, since=first.token, cursor="d", primary_key=("_id",))
    shop.database["t"].update_one({}, {"$set": {"c": "text"}})
    with pytest.raises(PositionLost, match=r"ended at '1' \(int\)"):
        keyed(shop, first.token)


def test_a_cursor_lies_in_an_object_too(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "meta": {"at": n}} for n in range(3)])
    how: dict[str, Any] = {"cursor": "meta_at", "primary_key": ("_id",)}
    for options in ({"flatten": 2}, {"columns": {"meta.at": "int64"}}):
        first = shop.load("t", options, **how)
        assert (ids(first), ids(shop.load("t", options, since=first.token, **how))) == ([0, 1, 2], [2])


def test_a_pipeline_has_a_cursor_too(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "kind": n % 2, "at": n} for n in range(6)])
    options = {"pipeline": [{"$group": {"_id": "$kind", "at": {"$max": "$at"}}}], "flatten": 1}
    first = shop.load("t", options, cursor="at", primary_key=("_id",))
    assert ids(first) == [0, 1]
    shop.put("t", [{"_id": 9, "kind": 0, "at": 9}])
    assert ids(shop.load("t", options, since=first.token, cursor="at", primary_key=("_id",))) == [0, 1]
    last = shop.load("t", options, since=first.token, cursor="at", primary_key=())
    assert ids(last) == [0]


def test_a_cursor_that_is_no_column_is_a_mistake(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "a.b": 1, "c": 2}])
    with pytest.raises(QueryError, match="no column 'c'") as refused:
        shop.load("t", cursor="c")
    assert "columns: {c: timestamptz}" in refused.value.hint
    with pytest.raises(QueryError, match=r"cannot name the field 'a\.b'"):
        shop.load("t", {"flatten": 1}, cursor="a.b")


def test_half_read_plans_are_finished_as_they_began(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same ranges and the same bound; what came meanwhile is the next plan's."""
    monkeypatch.setattr(_mongodb_splits, "LEAST_SPLIT_DOCUMENTS", 10)
    shop.put("t", [{"_id": n if n % 2 else f"s{n}", "c": n} for n in range(100)])
    options = MongoStreamOptions.model_validate({"flatten": 1})
    with shop.source() as source:
        stream = source.describe("t", options)
        how: dict[str, Any] = {"primary_key": ("_id",), "cursor": "c", "mode": Mode.MERGE, "options": options}
        selection = Selection(stream, **how)
        with source.plan([selection], {}, parallel=4) as plan:
            assert stream.id in plan.resumable
            assert len(plan.splits) > 3
            done = plan.splits[1:3]
            there = read_all(source, done, stream.schema).to_pylist()
            pending = plan.tokens[stream.id]
        half = Position(pending=pending, splits={split.id: DONE for split in done})
        shop.put("t", [{"_id": 1000 + n, "c": 200 + n} for n in range(50)])
        with source.plan([selection], {stream.id: half}, parallel=2) as rest:
            assert (stream.id in rest.resumed, rest.tokens[stream.id]) == (True, pending)
            assert not {split.id for split in rest.splits} & {split.id for split in done}
            there += read_all(source, rest.splits, stream.schema).to_pylist()
        assert sorted(row["c"] for row in there) == list(range(100))
        with source.plan([selection], {stream.id: Position(token=pending)}) as after:
            later = read_all(source, after.splits, stream.schema).to_pylist()
        assert sorted(row["c"] for row in later) == [99, *range(200, 250)]


def test_values_keep_their_kind() -> None:
    for values in KINDS.values():
        made = [value_of(value) for value in values]
        assert [value and value.bson() for value in made] == values
        orders = [value.order for value in made if value]
        assert orders == sorted(orders)
    assert Value("objectId", str(oid(100, 7))).less(30) == Value("objectId", str(oid(70)))
    assert Value("objectId", str(oid(100, 7))).less(300) == Value("objectId", str(oid(0)))
