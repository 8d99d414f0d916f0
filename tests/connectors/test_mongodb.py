"""Collections of a server of MongoDB's protocol: which documents come, in which columns and splits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import json_util
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from pydantic import ValidationError as BadConfig

import asgard
from asgard.connectors._mongodb import splits as _mongodb_splits
from asgard.connectors._mongodb.splits import boundaries, ranges, wanted_splits
from asgard.connectors.mongodb import MongoConfig, MongoSource, MongoStreamOptions
from asgard.core.errors import ConfigError, DataError, QueryError
from asgard.core.source import ReadSettings
from asgard.core.stream import Selection
from tests.connectors.harness_mongodb import config_of
from tests.connectors.mongodb_types import CASES, RESCUED
from tests.connectors.reading import Loaded, load
from tests.servers.mongodb import MongoServer

OID = ObjectId("507f1f77bcf86cd799439011")
Documents = list[dict[str, Any]]


class Shop:
    """A database that a test writes to."""

    def __init__(self, server: MongoServer, database: Any) -> None:
        self.server = server
        self.database = database

    def put(self, name: str, documents: Documents) -> None:
        self.database[name].insert_many(documents)

    def source(self, batch_bytes: int = 8 << 20, **config: Any) -> MongoSource:
        made = MongoConfig.model_validate(config_of(self.server, self.database.name, **config))
        return MongoSource(made, "shop", ReadSettings(batch_bytes=batch_bytes))

    def load(self, name: str, options: dict[str, Any] | None = None, **how: Any) -> Loaded:
        with self.source() as source:
            return load(source, name, options, **how)


@pytest.fixture
def shop(mongodb: MongoServer) -> Iterator[Shop]:
    with mongodb.database() as database:
        yield Shop(mongodb, database)


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> int:
    """A collection is split as soon as a split has so many documents."""
    monkeypatch.setattr(_mongodb_splits, "LEAST_SPLIT_DOCUMENTS", 10)
    return 10


# ---- documents


def test_documents_come_as_json(shop: Shop) -> None:
    shop.put("orders", [{"_id": OID, "a": {"b": [1, 2.0, Decimal128("3.10")]}, "when": datetime(2026, 1, 1)}])
    loaded = shop.load("orders")
    assert loaded.types == {"_id": "string objectId", "document": "string json"}
    assert loaded.rows == [
        {
            "_id": str(OID),
            "document": f'{{"_id":{{"$oid":"{OID}"}},"a":{{"b":[1,2.0,{{"$numberDecimal":"3.10"}}]}},'
            '"when":{"$date":"2026-01-01T00:00:00Z"}}',
        }
    ]
    canonical = shop.load("orders", {"json_form": "canonical"}).rows[0]["document"]
    (stored,) = shop.database["orders"].find()
    assert json_util.loads(canonical, json_options=json_util.JSONOptions(tz_aware=False)) == stored


@pytest.mark.parametrize("case", [case for case in CASES if case.stored and case.word], ids=lambda c: c.name)
def test_values_come_through_the_server(shop: Shop, case: Any) -> None:
    shop.put("t", [{"_id": i, "v": value.given} for i, value in enumerate(case.values)])
    loaded = shop.load("t", {"flatten": 1})
    assert loaded.types["v"] == f"{case.arrow} {case.label}".strip()
    rows = sorted(loaded.rows, key=lambda row: row["_id"])
    for value, row in zip(case.values, rows, strict=True):
        assert value.column is not RESCUED
        assert repr(row["v"]) == repr(value.column)
        assert row["_rescued"] is None


def test_an_empty_collection_has_no_rows(shop: Shop) -> None:
    shop.database.create_collection("empty")
    assert shop.load("empty").rows == []
    assert shop.load("empty", {"flatten": 1, "columns": {"x": "int64"}}).types == {
        "_id": "string objectId",
        "x": "int64",
        "_rescued": "string json",
    }


def test_documents_of_any_size_come(shop: Shop) -> None:
    documents = [{"_id": i, "v": "x" * size} for i, size in enumerate([0, 1, 4_000_000, 5, 9_000_000, 7])]
    shop.put("t", documents)
    for batch_bytes in (1, 1 << 16, 8 << 20):
        with shop.source(batch_bytes) as source:
            rows = load(source, "t", {"flatten": 1}).rows
        assert {row["_id"]: len(row["v"]) for row in rows} == {d["_id"]: len(d["v"]) for d in documents}


@pytest.mark.parametrize("count", [99, 100, 101, 102, 1999, 2000, 2001])
def test_every_answer_of_the_server_is_read(shop: Shop, count: int) -> None:
    shop.put("t", [{"_id": i, "pad": "x" * 2500} for i in range(count)])
    assert sorted(row["_id"] for row in shop.load("t").rows) == list(range(count))


# ---- ids


@pytest.mark.parametrize(
    ("ids", "type"),
    [
        ([OID], "string objectId"),
        (["a", "b"], "string"),
        ([1, Int64(1 << 40)], "int64"),
        ([1.5, 2.0], "double"),
        ([DatetimeMS(0)], "timestamp[us, tz=UTC]"),
        ([1, 1.5], "string json"),
        ([1, "a"], "string json"),
        ([{"a": 1}], "string json"),
        ([True], "string json"),
        ([Decimal128("1.0")], "string json"),
    ],
)
def test_the_type_of_ids_is_that_of_all(shop: Shop, ids: list[Any], type: str) -> None:
    shop.put("t", [{"_id": id} for id in ids])
    with shop.source() as source:
        assert source.describe("t").primary_key == ("_id",)
    assert shop.load("t").types["_id"] == type
    assert shop.load("t", {"columns": {"_id": "json"}}).types["_id"] == "string json"


def test_ids_between_that_do_not_fit_stop_the_load(shop: Shop) -> None:
    shop.put("t", [{"_id": 1}, {"_id": 1.5}, {"_id": 2}])
    with pytest.raises(DataError, match=r"_id is 1\.5, which is no int64") as refused:
        shop.load("t")
    assert "columns: {_id: json}" in refused.value.hint
    assert sorted(row["_id"] for row in shop.load("t", {"columns": {"_id": "json"}}).rows) == [
        "1",
        "1.5",
        "2",
    ]


MIXED = [
    *range(40), *(n + 0.5 for n in range(20)), *(Int64((1 << 40) + n) for n in range(9)), Decimal128("7.25"),
    float("nan"), float("inf"), float("-inf"), *(f"s{n}" for n in range(40)), "", True, False, None,
    *(ObjectId(f"{n:024x}") for n in range(30)), *(DatetimeMS(n * 10**10) for n in range(-9, 30)), b"", b"x",
    Binary(b"y" * 16, 0), {"a": 1}, {"a": "b"}, MinKey(), MaxKey(), Timestamp(1, 2),
]  # fmt: skip


@pytest.mark.parametrize("parallel", [1, 2, 3, 8])
def test_ids_of_every_type_come_once(shop: Shop, small_splits: int, parallel: int) -> None:
    shop.put("t", [{"_id": id, "n": n} for n, id in enumerate(MIXED)])
    loaded = shop.load("t", parallel=parallel)
    assert loaded.splits > 1 or parallel == 1
    assert sorted(json.loads(row["document"])["n"] for row in loaded.rows) == list(range(len(MIXED)))
    assert len({row["_id"] for row in loaded.rows}) == len(MIXED)


def test_documents_that_come_meanwhile_have_a_split_too(shop: Shop, small_splits: int) -> None:
    """Whatever their ids: below, above, of types that no boundary has."""
    shop.put("t", [{"_id": n} for n in range(100)])
    with shop.source() as source:
        stream = source.describe("t", MongoStreamOptions.model_validate({"columns": {"_id": "json"}}))
        options = MongoStreamOptions.model_validate({"columns": {"_id": "json"}})
        with source.plan([Selection(stream, options=options)], {}, parallel=4) as plan:
            new = [-1, 1000, 50.5, "text", OID, None, {"x": 1}]
            shop.put("t", [{"_id": id} for id in new])
            assert len(plan.splits) == 4
            found = [row for split in plan.splits for b in source.read(split) for row in b.to_pylist()]
    assert len({row["_id"] for row in found}) == len(found) == 107


@pytest.mark.parametrize(("count", "splits"), [(19, 1), (20, 2), (21, 2), (29, 2), (30, 3), (31, 3)])
def test_splits_begin_where_they_pay(shop: Shop, small_splits: int, count: int, splits: int) -> None:
    shop.put("t", [{"_id": n} for n in range(count)])
    loaded = shop.load("t", parallel=8)
    assert 1 <= loaded.splits <= splits
    assert (loaded.splits > 1) == (splits > 1)
    assert sorted(row["_id"] for row in loaded.rows) == list(range(count))


def test_splits_are_as_many_as_size_and_workers_want() -> None:
    assert wanted_splits(0, 0, 8) == 1
    assert wanted_splits(39_999, 100, 8) == 1
    assert wanted_splits(40_000, 100, 8) == 2
    assert wanted_splits(10_000_000, 100, 8) == 8
    assert wanted_splits(10_000_000, 1000, 8) == 38


def test_boundaries_are_taken_evenly_and_once() -> None:
    assert boundaries(list(range(40)), 4) == [10, 20, 30]
    assert boundaries([5, 5, 5, 5], 4) == [5]
    assert boundaries([], 4) == []
    assert boundaries([None, float("nan"), True, MinKey()], 4) == []
    assert ranges([]) == [{}]
    assert ranges([1, "a"]) == [
        {"$nor": [{"_id": {"$gte": 1}}, {"_id": {"$gte": "a"}}]},
        {"_id": {"$gte": 1}},
        {"_id": {"$gte": "a"}},
    ]


def test_max_parallel_bounds_the_cursors(shop: Shop, small_splits: int) -> None:
    shop.put("t", [{"_id": n} for n in range(200)])
    with shop.source(max_parallel=2) as source:
        assert load(source, "t", parallel=16).splits <= 2


# ---- columns


def test_fields_are_found_in_the_first_and_the_last_documents(shop: Shop) -> None:
    shop.put(
        "t",
        [{"_id": n, "old" if n < 50 else "new": n, **({"rare": 1} if n == 25 else {})} for n in range(100)],
    )
    loaded = shop.load("t", {"flatten": 1, "sample_documents": 10})
    assert list(loaded.types) == ["_id", "old", "new", "_rescued"]
    assert [row for row in loaded.rows if row["_rescued"]] == [
        {"_id": 25, "old": 25, "new": None, "_rescued": '{"rare":1}'}
    ]


def test_without_a_sample_only_declared_fields_have_columns(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "a": {"b": "x", "c": 1}, "d": "y"}])
    loaded = shop.load("t", {"flatten": 1, "sample_documents": 0, "columns": {"a.b": "text"}})
    assert loaded.rows == [{"_id": 1, "a_b": "x", "_rescued": '{"a.c":1,"d":"y"}'}]


def test_declared_fields_stand_beside_the_document(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "n": 5, "a": {"b": True}}, {"_id": 2, "n": "five"}])
    loaded = shop.load("t", {"columns": {"n": "int64", "a.b": "bool"}})
    assert sorted(loaded.rows, key=lambda row: row["_id"]) == [
        {"_id": 1, "n": 5, "a_b": True, "document": '{"_id":1,"n":5,"a":{"b":true}}', "_rescued": None},
        {"_id": 2, "n": None, "a_b": None, "document": '{"_id":2,"n":"five"}', "_rescued": '{"n":"five"}'},
    ]


def test_fields_with_reserved_names_are_rescued(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "_rescued": "mine", "document": "mine too"}])
    assert shop.load("t", {"flatten": 1}).rows == [
        {"_id": 1, "_rescued": '{"_rescued":"mine","document":"mine too"}'}
    ]


def test_excluded_fields_stay_at_the_server(shop: Shop) -> None:
    shop.put("t", [{"_id": 1, "a": {"b": 1, "c": 2}, "secret": "x"}])
    options = {"exclude_columns": ["secret", "a.b"]}
    assert shop.load("t", options).rows == [{"_id": 1, "document": '{"_id":1,"a":{"c":2}}'}]
    without_id = shop.load("t", {"exclude_columns": ["_id", "a"]})
    assert without_id.rows == [{"document": '{"secret":"x"}'}]


# ---- filters, pipelines, queries


def test_a_filter_says_ids_and_dates(shop: Shop) -> None:
    shop.put(
        "t",
        [{"_id": n, "o": OID if n % 2 else ObjectId(), "when": datetime(2026, 1, n)} for n in range(1, 9)],
    )
    options = {"filter": {"o": {"$oid": str(OID)}, "when": {"$gte": {"$date": "2026-01-04T00:00:00Z"}}}}
    assert sorted(row["_id"] for row in shop.load("t", options).rows) == [5, 7]


def test_a_filter_holds_in_every_split(shop: Shop, small_splits: int) -> None:
    shop.put("t", [{"_id": n, "even": n % 2 == 0} for n in range(100)])
    loaded = shop.load("t", {"filter": {"even": True}}, parallel=4)
    assert loaded.splits == 4
    assert sorted(row["_id"] for row in loaded.rows) == list(range(0, 100, 2))


def test_a_pipeline_is_read_as_one(shop: Shop, small_splits: int) -> None:
    shop.put("t", [{"_id": n, "kind": f"k{n % 3}", "lines": [{"x": n}, {"x": -n}]} for n in range(60)])
    unwound = shop.load(
        "t", {"pipeline": [{"$unwind": "$lines"}, {"$project": {"lines": 1}}], "flatten": 2}, parallel=4
    )
    assert unwound.splits == 1
    assert sorted((row["_id"], row["lines_x"]) for row in unwound.rows) == sorted(
        (n, x) for n in range(60) for x in (n, -n)
    )
    counted = shop.load(
        "t",
        {
            "filter": {"_id": {"$gte": 30}},
            "pipeline": [{"$group": {"_id": "$kind", "n": {"$sum": 1}}}],
            "exclude_columns": [],
            "flatten": 1,
        },
    )
    assert sorted((row["_id"], row["n"]) for row in counted.rows) == [("k0", 10), ("k1", 10), ("k2", 10)]
    with shop.source() as source:
        options = MongoStreamOptions.model_validate({"pipeline": [{"$match": {}}]})
        assert source.describe("t", options).primary_key == ()


def test_a_result_with_ids_of_several_types_has_them_as_json(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "v": v} for n, v in enumerate([1, "1", None, {"a": 1}])])
    loaded = shop.load("t", {"pipeline": [{"$group": {"_id": "$v"}}], "flatten": 1})
    assert sorted(str(row["_id"]) for row in loaded.rows) == ['"1"', "1", "None", '{"a":1}']


@pytest.mark.parametrize(
    "stage",
    [
        {"$out": "other"},
        {"$merge": {"into": "other"}},
        {"$lookup": {"from": "t", "pipeline": [{"$merge": "x"}], "as": "y"}},
    ],
)
def test_pipelines_that_write_are_refused(shop: Shop, stage: dict[str, Any]) -> None:
    shop.put("t", [{"_id": 1}])
    with pytest.raises(ConfigError, match="the pipeline writes"):
        shop.load("t", {"pipeline": [stage]})
    with pytest.raises(ConfigError, match="the pipeline writes"):
        shop.load("q", query=json.dumps({"aggregate": "t", "pipeline": [stage]}))
    assert shop.database.list_collection_names() == ["t"]


def test_a_query_is_a_command(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "o": OID, "x": n} for n in range(9)])
    find = {"find": "t", "filter": {"o": {"$oid": str(OID)}}, "sort": {"_id": -1}, "skip": 1, "limit": 2}
    asked = json.dumps({**find, "projection": {"x": 1}})
    assert [row["document"] for row in shop.load("q", query=asked).rows] == [
        '{"_id":7,"x":7}',
        '{"_id":6,"x":6}',
    ]
    counted = '{"aggregate": "t", "pipeline": [{"$match": {"x": {"$gt": 5}}}, {"$count": "n"}]}'
    assert shop.load("q", {"flatten": 1}, query=counted).rows == [{"n": 3, "_rescued": None}]


def test_a_limit_is_the_servers(shop: Shop, small_splits: int) -> None:
    shop.put("t", [{"_id": n} for n in range(100)])
    query = '{"find": "t", "sort": {"_id": -1}, "limit": 50}'
    for how in ({}, {"query": query}):
        limited = shop.load("t", limit_rows=7, parallel=4, **how)
        assert (len(limited.rows), limited.splits) == (7, 1)
    assert len(shop.load("t", {"pipeline": [{"$match": {}}]}, limit_rows=7).rows) == 7


def test_values_of_the_driver_are_taken_too(shop: Shop) -> None:
    shop.put("t", [{"_id": n, "o": OID, "when": datetime(2026, 1, n)} for n in range(1, 5)])
    options = {"filter": {"o": OID, "when": {"$gt": datetime(2026, 1, 2, tzinfo=UTC)}}}
    assert sorted(row["_id"] for row in shop.load("t", options).rows) == [3, 4]


def test_a_query_stands_alone(shop: Shop) -> None:
    shop.put("t", [{"_id": 1}])
    with pytest.raises(ConfigError, match="a query says itself"):
        shop.load("q", {"filter": {"_id": 1}}, query='{"find": "t"}')


@pytest.mark.parametrize(
    "query",
    ["{", "[]", "{}", '{"find": "t", "aggregate": "t"}', '{"find": "t", "update": 1}', '{"drop": "t"}'],
)
def test_what_is_no_query_is_refused(shop: Shop, query: str) -> None:
    shop.put("t", [{"_id": 1}])
    with pytest.raises(QueryError, match="the query") as refused:
        shop.load("q", query=query)
    assert '{"find": "orders"' in refused.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"filter": {"a": {"$foo": 1}}},
        {"pipeline": [{"$foo": {}}]},
        {"filter": {"a": {"$oid": "short"}}},
        {"filter": {"a": {"$date": "yesterday"}}},
    ],
)
def test_words_that_the_server_does_not_know_are_mistakes(shop: Shop, options: dict[str, Any]) -> None:
    shop.put("t", [{"_id": 1}])
    with pytest.raises(ConfigError):
        shop.load("t", options)


# ---- names and configurations


def test_near_names_are_told(shop: Shop) -> None:
    shop.put("orders", [{"_id": 1}])
    with shop.source() as source, pytest.raises(QueryError, match="no collection 'order'") as refused:
        source.describe("order")
    assert refused.value.hint == "did you mean orders?"
    wrong = shop.database.name[:-1]
    with shop.source(database=wrong) as source, pytest.raises(QueryError, match="has no database") as refused:
        source.check()
    assert shop.database.name in refused.value.hint


def test_streams_are_the_collections(shop: Shop) -> None:
    for name in ("orders", "order_lines", "customers"):
        shop.put(name, [{"_id": 1}, {"_id": 2}])
    with shop.source() as source:
        assert [stream.name for stream in source.streams()] == ["customers", "order_lines", "orders"]
        assert [stream.name for stream in source.streams("order*")] == ["order_lines", "orders"]
        (orders,) = source.streams("orders")
        assert (orders.rows, orders.namespace, orders.primary_key) == (2, "", ("_id",))
        assert orders.size_bytes
        assert orders.id == f"{shop.database.name}/orders"


def test_a_url_names_server_user_and_database(shop: Shop) -> None:
    password = "c%40nary+p%3Aw%2Fd%3F%27%251%5Cx"
    url = f"mongodb://asgard:{password}@{shop.server.host}:{shop.server.port}/{shop.database.name}?authSource=admin"
    shop.put("t", [{"_id": 1}])
    for name in ("url", "uri", "connection_string"):
        with MongoSource(MongoConfig.model_validate({name: url}), "shop") as source:
            source.check()
            assert [stream.name for stream in source.streams()] == ["t"]


def test_configurations_without_a_database_are_mistakes() -> None:
    for config in ({"host": "h"}, {"url": "mongodb://h"}, {"url": "mongodb://h/?x=1"}):
        with pytest.raises(BadConfig, match="database is missing"):
            MongoConfig.model_validate(config)
    assert MongoConfig.model_validate({"url": "mongodb://h/shop?x=1"}).server.database == "shop"


def test_the_users_own_names_are_known() -> None:
    given = {"host": "h", "port": None, "database": "d", "username": "u", "password": "p", "ssl_mode": None}
    config = MongoConfig.model_validate(
        {**given, "connection_timeout": 7, "authSource": "a", "replicaSet": "r"}
    )
    assert (config.port, config.ssl_mode, config.connection_timeout_seconds) == (27017, "require", 7)
    assert (config.auth_source, config.replica_set) == ("a", "r")


def test_the_plain_face_loads(shop: Shop) -> None:
    shop.put("orders", [{"_id": n, "when": datetime(2026, 1, n, tzinfo=UTC)} for n in (1, 2, 3)])
    connector = asgard.MongoDBConnector(config_of(shop.server, shop.database.name))
    with connector:
        table = connector.load_data(table="orders", backend="arrow")
        assert sorted(table["_id"].to_pylist()) == [1, 2, 3]
        query = '{"find": "orders", "filter": {"_id": 2}}'
        assert connector.load_data(query, backend="arrow")["_id"].to_pylist() == [2]
        assert connector.get_schema()["orders"] == {"_id": "int64", "document": "json"}


def test_the_lack_of_a_snapshot_is_told(shop: Shop) -> None:
    shop.put("t", [{"_id": 1}])
    (warning,) = shop.load("t").warnings
    assert "without a snapshot" in warning
