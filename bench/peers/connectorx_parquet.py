"""connectorx to Parquet. Arguments: URI TABLE KEY OUT.

Reference: https://sfu-db.github.io/connector-x/api.html
"""

from __future__ import annotations

import sys

import connectorx  # type: ignore[import-not-found, unused-ignore]
import pyarrow.parquet as pq


def main(uri: str, table: str, key: str, out: str) -> None:
    """Its fastest way that does not hold the table in memory: an Arrow stream, two partitions by the key."""
    batches = connectorx.read_sql(
        uri,
        f"SELECT * FROM {table}",
        return_type="arrow_stream",
        protocol="binary",
        batch_size=100_000,
        partition_on=key,
        partition_num=2,
    )
    writer = None
    for batch in batches:
        if writer is None:
            writer = pq.ParquetWriter(
                f"{out}/part-0.parquet", batch.schema, compression="zstd", compression_level=1
            )
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
