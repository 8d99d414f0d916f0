"""A collection by dlt to Parquet. Arguments: URI DATABASE COLLECTION HOW OUT SCRATCH.

dlt's own source of MongoDB is not in its package but copied into each project. This does the same in its two
ways: `object` makes Python objects, `arrow` has pymongoarrow decode the batches of one cursor, by the calls
that pymongoarrow has today.

Reference: https://dlthub.com/docs/dlt-ecosystem/verified-sources/mongodb
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

SCRATCH = sys.argv[6]
os.environ["DLT_DATA_DIR"] = f"{SCRATCH}/dlt"  # read when dlt is imported

import dlt  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from bson import Decimal128, ObjectId  # noqa: E402
from pymongo import MongoClient  # noqa: E402

CHUNK_DOCUMENTS = 10_000


def main(uri: str, database: str, name: str, how: str, out: str) -> None:
    """The whole collection; nested values as JSON: tables of their own for them would cost more."""
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"file://{out}"),
        dataset_name="lake",
        pipelines_dir=f"{SCRATCH}/pipelines",
    )
    client: MongoClient[Any] = MongoClient(uri)
    with client:
        chunks = (tables if how == "arrow" else documents)(client[database][name])
        rows = dlt.resource(chunks, name=name, max_table_nesting=0)
        pipeline.run(rows, loader_file_format="parquet").raise_on_failed_jobs()


def documents(collection: Any) -> Iterator[list[Any]]:
    """Chunks of documents."""
    # MongoDB itself ends a batch at 16 MB; the tests' server does not, and the driver refuses long ones.
    cursor = collection.find({}, batch_size=CHUNK_DOCUMENTS)
    while chunk := list(islice(cursor, CHUNK_DOCUMENTS)):
        yield [plain(document) for document in chunk]


def plain(value: Any) -> Any:
    """A value in types that dlt knows."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, ObjectId | Decimal128) else value


def tables(collection: Any) -> Iterator[Any]:
    """Arrow tables, a batch at a time."""
    import pyarrow as pa
    from pymongoarrow.context import PyMongoArrowContext  # type: ignore[import-not-found, unused-ignore]

    for batch in collection.find_raw_batches({}, batch_size=CHUNK_DOCUMENTS):
        context = PyMongoArrowContext(None, codec_options=collection.codec_options)
        context.process_bson_stream(batch)
        table = context.finish()
        plain_fields = [pa.field(field.name, storage(field.type)) for field in table.schema]
        yield table.cast(pa.schema(plain_fields))


def storage(type: Any) -> Any:
    """The type below pymongoarrow's own ones, which dlt does not know."""
    import pyarrow as pa

    if isinstance(type, pa.ExtensionType):
        return type.storage_type
    if pa.types.is_struct(type):
        return pa.struct([pa.field(field.name, storage(field.type)) for field in type])
    return pa.list_(storage(type.value_type)) if pa.types.is_list(type) else type


if __name__ == "__main__":
    main(*sys.argv[1:6])
