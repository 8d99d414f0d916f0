"""What the tests of object stores share: a bucket for the contract, writing, and counting what is read."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.errors import AsgardError
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from asgard.transport.files import FoundFile
from asgard.transport.objects import Bucket

BadConfigs = tuple[tuple[dict[str, Any], type[AsgardError]], ...]


def contract_harness(
    connector: Any,
    config: dict[str, Any],
    bad_configs: BadConfigs,
    secrets: tuple[str, ...],
    store: Callable[[Bucket, str, bytes], None] | None = None,
) -> Harness:
    """The harness over an empty bucket of any store; `store` writes into it in a way of its own."""
    store = store or put
    place: Bucket = connector(connector.Config.model_validate(config)).place
    for month in (1, 2):
        text = f"id,delay,carrier\n{month}1,1.5,007\n{month}2,,UA\n"
        store(place, f"flights/{month}.csv.gz", gzip.compress(text.encode()))
    store(place, "airports.jsonl", b'{"faa": "EWR"}\n')
    store(place, "fares.parquet", parquet(pa.table({"id": [1, 2, 3], "fare": ["1.5", None, "x"]})))

    def add_rows() -> int:
        store(place, "flights/3.csv.gz", gzip.compress(b"id,delay,carrier\n31,2,DL\n32,2,DL\n"))
        return 2

    flights = Wanted("flights", {"path": "flights/*.csv.gz"}, rows=4)
    return Harness(
        name=connector.type,
        connector=connector,
        config=config,
        stream=flights,
        bad_configs=bad_configs,
        cursor=CursorWanted(flights, "_file", add_rows),
        query=f"SELECT fare FROM '{place.location}/fares.parquet' WHERE id > 1",
        secrets=secrets,
    )


def parquet(table: pa.Table, **options: Any) -> bytes:
    """The table as a file."""
    data = io.BytesIO()
    pq.write_table(table, data, **options)
    return data.getvalue()


def put(place: Bucket, name: str, data: bytes) -> None:
    """Stores an object under a name below the prefix."""
    obstore.put(place.store, place.key(name), data)


def remove(place: Bucket, name: str) -> None:
    """Deletes an object."""
    obstore.delete(place.store, place.key(name))


@contextmanager
def counted_reads() -> Iterator[list[tuple[str, int, int]]]:
    """Name, start and end of every range that is asked for meanwhile, of any bucket."""
    reads: list[tuple[str, int, int]] = []
    plain = Bucket.part

    def part(self: Bucket, file: FoundFile, start: int, end: int) -> memoryview:
        reads.append((file.name, start, end))
        return plain(self, file, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "part", part)
        yield reads
