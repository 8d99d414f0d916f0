"""From a MongoDB collection into tables of the lake: the same documents, whatever runs in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

import asgard
from asgard.connectors._mongodb import splits as _mongodb_splits
from tests.connectors.test_mongodb import Shop
from tests.servers.mongodb import MongoServer

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = """
lake: {location: lake}
data_sources:
  shop:
    type: mongodb
    host: %(host)s
    port: %(port)s
    database: %(database)s
    username: %(user)s
    password: "${MONGODB_PASSWORD}"
    ssl_mode: disable
    tables:
      - name: orders
        mode: merge
        primary_key: _id
        cursor: changed
        flatten: 2
        columns: {total: "decimal(12, 2)"}
        checks: [{unique: [_id]}, {not_null: [changed]}]
      - name: orders
        table: documents
        filter: {changed: {$gte: {$date: 2026-01-01T00:00:10Z}}}
"""


@pytest.fixture
def shop(mongodb: MongoServer) -> Iterator[Shop]:
    with mongodb.database() as database:
        yield Shop(mongodb, database)


def order(n: int, seconds: int) -> dict[str, Any]:
    total: Any = Decimal128(f"{n}.5") if n % 7 else "unknown"
    changed = BEGAN + timedelta(seconds=seconds)
    return {
        "_id": ObjectId(f"{n:024x}"),
        "n": n,
        "total": total,
        "customer": {"name": f"c{n}"},
        "changed": changed,
    }


def expected(document: dict[str, Any]) -> tuple[Any, ...]:
    total, rescued = document["total"], None
    if isinstance(total, str):
        total, rescued = None, {"total": total}
    else:
        total = total.to_decimal()
    return (str(document["_id"]), document["n"], total, document["customer"]["name"], rescued)


def stored(project: asgard.Project) -> list[tuple[Any, ...]]:
    rows = project.query(
        "SELECT _id, n, total, customer_name, _rescued FROM bronze.shop.orders ORDER BY _id", backend="arrow"
    ).to_pylist()
    return [
        (
            row["_id"],
            row["n"],
            row["total"],
            row["customer_name"],
            row["_rescued"] and json.loads(row["_rescued"]),
        )
        for row in rows
    ]


def test_what_changed_is_merged(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_PASSWORD", shop.server.password)
    monkeypatch.setattr(_mongodb_splits, "LEAST_SPLIT_DOCUMENTS", 50)
    where = {"host": shop.server.host, "port": shop.server.port, "database": shop.database.name}
    (tmp_path / "asgard.yml").write_text(PROJECT % {**where, "user": shop.server.user})
    project = asgard.Project(tmp_path)
    now = {n: order(n, n % 30) for n in range(500)}
    shop.put("orders", list(now.values()))
    for _ in range(2):
        assert project.run().status == "done"
        assert stored(project) == [expected(now[n]) for n in sorted(now)]
    for n in (3, 7, 14, 500, 501):
        now[n] = order(n, 60) | {"n": -n}
        shop.database["orders"].replace_one({"_id": now[n]["_id"]}, now[n], upsert=True)
    assert project.run().status == "done"
    assert stored(project) == [expected(now[n]) for n in sorted(now)]
    documents = project.query("SELECT document FROM bronze.shop.documents", backend="arrow")["document"]
    late = [d for d in now.values() if d["changed"] >= BEGAN + timedelta(seconds=10)]
    assert sorted(json.loads(text)["n"] for text in documents.to_pylist()) == sorted(d["n"] for d in late)
