"""DuckDB over the objects of a bucket to bare Parquet. Arguments: FORM ENDPOINT BUCKET KEY SECRET OUT.

Reference: https://duckdb.org/docs/stable/core_extensions/httpfs/s3api
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb


def main(form: str, endpoint: str, bucket: str, key: str, secret: str, out: str) -> None:
    """As fast as it goes: two threads, order not kept, zstd of level 1."""
    connection = duckdb.connect()
    spec = find_spec("duckdb_extension_httpfs")
    folders = spec.submodule_search_locations if spec else None
    for file in Path((folders or ["."])[0]).rglob("httpfs.duckdb_extension"):
        connection.execute(f"LOAD '{file}'")
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    host = endpoint.removeprefix("http://")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', URL_STYLE 'path',"
        " USE_SSL false, REGION 'us-east-1')"
    )
    connection.execute(
        f"COPY (SELECT * FROM read_{form}('s3://{bucket}/{form}/*')) TO '{out}/part-0.parquet'"
        " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
