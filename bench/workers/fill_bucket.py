"""lineitem as objects of a bucket. Arguments: ENDPOINT BUCKET KEY SECRET CSV FILES.

So many objects of equal length below `parquet/`, and the same rows below `csv/`.
"""

from __future__ import annotations

import io
import sys

import obstore
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from obstore.store import S3Store

MONEY = pa.decimal128(15, 2)
TYPES = {
    **dict.fromkeys(("l_orderkey", "l_partkey", "l_suppkey"), pa.int64()),
    "l_linenumber": pa.int32(),
    **dict.fromkeys(("l_quantity", "l_extendedprice", "l_discount", "l_tax"), MONEY),
    **dict.fromkeys(("l_returnflag", "l_linestatus"), pa.string()),
    **dict.fromkeys(("l_shipdate", "l_commitdate", "l_receiptdate"), pa.date32()),
    **dict.fromkeys(("l_shipinstruct", "l_shipmode", "l_comment"), pa.string()),
}


def main(endpoint: str, bucket: str, key: str, secret: str, csv: str, files: str) -> None:
    """Fills the bucket, which is there."""
    store = S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    table = pc.read_csv(
        csv,
        read_options=pc.ReadOptions(column_names=list(TYPES)),
        convert_options=pc.ConvertOptions(column_types=TYPES),
    ).combine_chunks()
    rows = -(-table.num_rows // int(files))
    for number in range(int(files)):
        part = table.slice(number * rows, rows)
        written = io.BytesIO()
        pq.write_table(part, written)
        obstore.put(store, f"parquet/{number:03}.parquet", written.getvalue())
        written = io.BytesIO()
        pc.write_csv(part, written)
        obstore.put(store, f"csv/{number:03}.csv", written.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
