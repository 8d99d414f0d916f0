"""The table that checks and merges work on: 12 columns, as Parquet, and as a Delta table of Asgard's.

Arguments: ROWS FOLDER. Makes FOLDER/plain/*.parquet and FOLDER/lake/bronze/shop/orders.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.lake.delta.lake import DeltaLake
from bench.workers.loads import NAME, request

ORDERS = """
SELECT i AS id,
    (i * 2654435761) % 1000000 AS customer,
    'SKU-' || lpad(((i * 48271) % 200000)::varchar, 6, '0') AS sku,
    ((i * 16807) % 50 + 1)::integer AS quantity,
    (((i * 69621) % 10000000) / 100)::decimal(12, 2) AS amount,
    ((i * 40692) % 1000003) / 1000003.0::double AS discount,
    ['new', 'paid', 'sent', 'done', 'void'][i % 5 + 1] AS status,
    'user' || ((i * 2654435761) % 1000000) || '@example.com' AS email,
    (timestamptz '2020-01-01 00:00:00+00' + to_seconds(i * 15)) AS updated_at,
    (date '2020-01-01' + (i % 2000)::integer) AS day,
    i % 3 = 0 AS gift,
    CASE WHEN i % 4 = 0 THEN NULL ELSE 'note ' || md5(i::varchar) END AS note
"""


def main(rows: str, folder: str) -> None:
    """Both forms hold the same rows in the same order."""
    plain = Path(folder) / "plain"
    plain.mkdir(parents=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 2")
    reader = connection.sql(f"{ORDERS} FROM range({int(rows)}) AS source(i)").to_arrow_reader(100_000)
    with pq.ParquetWriter(plain / "part-0.parquet", reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
    file = pq.ParquetFile(plain / "part-0.parquet")
    table = DeltaLake(Path(folder) / "lake").table(NAME)
    with table.load(request(file.schema_arrow, Mode.APPEND)) as load:
        staged = load.stage(file.iter_batches(100_000))
        load.publish(load.prepare([staged]), Position().finished("first"))


if __name__ == "__main__":
    main(*sys.argv[1:])
