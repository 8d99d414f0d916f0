"""From MongoDB to the lake: orders with lines in them, beside a bare cursor, pymongoarrow, dlt and ingestr.

Asgard runs a real project with its default settings to a committed Delta table, and looks at the type of
every value. The server is the tests' own, in Java and in memory: what it takes says nothing about MongoDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from bson.decimal128 import Decimal128

from bench.carriers import Argv, Carriers, bars, ingestr
from bench.contest import Contender, Contest
from bench.setting import Setting
from tests.servers.mongodb import MongoServer, mongo_server

REFERENCE = "pymongoarrow to parquet"
COLLECTION = "orders"
HEAP_MEGABYTES = 3000
CHUNK_DOCUMENTS = 2000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("open", "paid", "sent", "back")


@dataclass(frozen=True)
class Filled:
    """A server with the collection, and how it is addressed."""

    server: MongoServer
    database: str

    @property
    def uri(self) -> str:
        """As everybody wants it."""
        user = f"{self.server.user}:{quote(self.server.password, safe='')}"
        return f"mongodb://{user}@{self.server.host}:{self.server.port}/"


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    documents = setting.sized(200_000, 10_000)
    with _filled(documents) as source:
        to = Carriers(setting.folder / "mongodb", documents)
        contenders = [*_ours(to, source), *_others(to, source)]
        title = f"MongoDB to the lake: {documents:,} documents with {documents * 3:,} lines in them"
        yield Contest(
            "mongodb",
            title,
            contenders,
            bars(contenders),
            documents,
            REFERENCE,
            server_pid=source.server.pid,
        )


@contextmanager
def _filled(documents: int) -> Iterator[Filled]:
    with mongo_server(heap_megabytes=HEAP_MEGABYTES) as server, server.database() as database:
        for start in range(0, documents, CHUNK_DOCUMENTS):
            chunk = range(start, min(start + CHUNK_DOCUMENTS, documents))
            database[COLLECTION].insert_many([_order(number) for number in chunk])
        yield Filled(server, database.name)


def _order(number: int) -> dict[str, Any]:
    """About 700 bytes of every kind of value that orders have."""
    lines = [
        {"sku": f"SKU-{(number * 7 + line) % 5000:05}", "quantity": line + 1, "price": (number % 977) / 100}
        for line in range(3)
    ]
    return {
        "number": number,
        "placed": BEGIN + timedelta(seconds=number),
        "state": STATES[number % len(STATES)],
        "total": Decimal128(f"{number * 37 % 100_000}.{number % 100:02}"),
        "score": number / 7,
        "gift": number % 5 == 0,
        "note": None if number % 3 else f"please ring {number} times, nobody hears the bell " * 3,
        "customer": {
            "id": number % 9973,
            "name": f"Customer {number % 9973}",
            "address": {"street": f"{number % 199} Main Street", "city": "Halifax", "country": "CA"},
            "tags": ["new", "web", f"group-{number % 11}"],
        },
        "lines": lines,
    }


def _ours(to: Carriers, source: Filled) -> Iterator[Contender]:
    server = source.server
    shop = {
        "type": "mongodb",
        "host": server.host,
        "port": server.port,
        "database": source.database,
        "username": server.user,
        "password": server.password,
        "ssl_mode": "disable",
    }
    whole = {"name": COLLECTION}
    yield to.asgard(
        "asgard", "asgard run, each document as JSON, committed Delta, default settings", shop, whole
    )
    for depth, note in ((1, "a column for each field"), (2, "a column for each field of objects, too")):
        yield to.asgard(f"asgard, flatten {depth}", f"the same, {note}", shop, {**whole, "flatten": depth})


def _others(to: Carriers, source: Filled) -> Iterator[Contender]:
    where = (source.uri, source.database, COLLECTION)
    bare = "pymongo, raw batches of 10,000 into nothing: no document is decoded"
    yield to.limit_of("pymongo", "limit: bare cursor", bare, lambda env, _: env.script("mongo_arrow", *where))
    yield to.peer(
        "pymongo",
        REFERENCE,
        "decoded by pymongoarrow, objects and lists as Arrow's; pyarrow's writer, zstd 1",
        lambda env, folder: env.script("mongo_arrow", *where, folder / "out"),
    )
    yield to.peer(
        "ingestr",
        "ingestr to parquet",
        "1.1.21 (newer ones fetch their program), snappy, which is fixed",
        ingestr(source.uri, f"{source.database}.{COLLECTION}"),
    )
    for how, note in (("object", "Python objects"), ("arrow", "Arrow tables by pymongoarrow")):
        yield to.peer(
            "dlt-mongodb", f"dlt {how} to parquet", f"as its source of MongoDB: {note}", _dlt(where, how)
        )


def _dlt(where: tuple[str, ...], how: str) -> Argv:
    return lambda env, folder: env.script("dlt_mongodb", *where, how, folder / "out", folder / "scratch")
