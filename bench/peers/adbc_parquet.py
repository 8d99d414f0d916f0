"""ADBC to Parquet. Arguments: URI TABLE OUT.

Its decimals come as text and are cast here, its interval has no Parquet type and becomes text, too.

Reference: https://arrow.apache.org/adbc/current/driver/postgresql.html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-not-found, unused-ignore]
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

THREADS = 2
ROW_GROUP_BYTES = 64 << 20


def main(uri: str, table: str, out: str) -> None:
    """Two connections, each with half of the table's pages."""
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT (pg_relation_size('{table}') / 8192)::bigint")
        pages = cursor.fetchone()[0]
    middle = pages // THREADS
    halves = [f"ctid < '({middle},0)'::tid", f"ctid >= '({middle},0)'::tid"]
    with ThreadPoolExecutor(THREADS) as threads:
        list(
            threads.map(
                lambda part: one(uri, table, part[1], f"{out}/part-{part[0]}.parquet"), enumerate(halves)
            )
        )


def one(uri: str, table: str, where: str, file: str) -> None:
    """Part of the table to one file, in row groups of about 64 MiB."""
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} WHERE {where}")
        reader = cursor.fetch_record_batch()
        schema = pa.schema([pa.field(field.name, kept_type(field)) for field in reader.schema])
        with pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
            for group in grouped(reader, schema):
                writer.write_table(group, row_group_size=10**9)


def grouped(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """Batches put together until they are worth a row group."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        held.append(
            pa.RecordBatch.from_arrays(
                [cast(*pair) for pair in zip(batch.columns, schema, strict=True)], schema=schema
            )
        )
        size += held[-1].nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held, schema)
            held, size = [], 0
    yield pa.Table.from_batches(held, schema)


def kept_type(field: pa.Field) -> pa.DataType:
    """What the column is written as."""
    told = field.metadata or {}
    if told.get(b"ADBC:postgresql:typname") == b"numeric" or told.get(b"POSTGRESQL:type") == b"numeric":
        modifier = int(told.get(b"POSTGRESQL:typmod", b"-1"))
        if modifier >= 4:
            return pa.decimal128((modifier - 4 >> 16) & 0xFFFF, modifier - 4 & 0x7FF)
        return pa.string()
    if isinstance(field.type, pa.BaseExtensionType):
        return field.type.storage_type
    return pa.string() if field.type == pa.month_day_nano_interval() else field.type


def cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """The column in the type that is written."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if column.type == pa.month_day_nano_interval():
        texts = [
            None if v is None else f"P{v.months}M{v.days}DT{v.nanoseconds / 1e9}S" for v in column.to_pylist()
        ]
        return pa.array(texts, pa.string())
    return column if column.type == field.type else pc.cast(column, field.type)


if __name__ == "__main__":
    main(*sys.argv[1:])
