"""A collection by pymongo alone. Arguments: URI DATABASE COLLECTION [OUT].

Without a folder the batches are fetched as they are on the wire, and forgotten: no document is decoded. With
one, pymongoarrow decodes them, and pyarrow writes Parquet.

Reference: https://mongo-arrow.readthedocs.io/en/latest/
"""

from __future__ import annotations

import sys
from typing import Any

from pymongo import MongoClient

BATCH_DOCUMENTS = 10_000


def main(uri: str, database: str, name: str, out: str = "") -> None:
    """One cursor over everything."""
    client: MongoClient[Any] = MongoClient(uri)
    with client:
        collection = client[database][name]
        if out:
            to_parquet(collection, out)
        else:
            for _ in collection.find_raw_batches({}, batch_size=BATCH_DOCUMENTS):
                pass


def to_parquet(collection: Any, out: str) -> None:
    """The whole collection as one table: it has no types before it has seen the documents."""
    import pyarrow.parquet as pq
    from pymongoarrow.api import find_arrow_all  # type: ignore[import-not-found, unused-ignore]

    table = find_arrow_all(collection, {}, batch_size=BATCH_DOCUMENTS)
    pq.write_table(table, f"{out}/part-0.parquet", compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
