"""The objects of one format in a bucket, by a bare client. Arguments: FORM ENDPOINT BUCKET KEY SECRET [OUT].

Without a folder obstore fetches every object, eight at a time, and forgets it. With one, pyarrow's own S3
client reads them as one data set, and its writer makes one Parquet file.

Reference: https://developmentseed.org/obstore/latest/, https://arrow.apache.org/docs/python/dataset.html
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 8


def fetch(form: str, endpoint: str, bucket: str, key: str, secret: str) -> None:
    """Every byte, kept nowhere."""
    import obstore  # type: ignore[import-not-found, unused-ignore]
    from obstore.store import S3Store  # type: ignore[import-not-found, unused-ignore]

    store = S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    names = [found["path"] for chunk in obstore.list(store, f"{form}/") for found in chunk]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sizes = list(pool.map(lambda name: len(obstore.get(store, name).bytes()), names))
    if not sizes or not all(sizes):
        raise SystemExit("no objects")


def to_parquet(form: str, endpoint: str, bucket: str, key: str, secret: str, out: str) -> None:
    """The types of CSV are guessed from the first block of the first object."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
    from pyarrow.fs import S3FileSystem

    store = S3FileSystem(access_key=key, secret_key=secret, endpoint_override=endpoint, region="us-east-1")
    found = ds.dataset(f"{bucket}/{form}", format=form, filesystem=store)
    with pq.ParquetWriter(
        f"{out}/part-0.parquet", found.schema, compression="zstd", compression_level=1
    ) as writer:
        for batch in found.to_batches(batch_size=100_000):
            writer.write_batch(batch)


if __name__ == "__main__":
    (to_parquet if len(sys.argv) > 6 else fetch)(*sys.argv[1:])
