"""dlt's sql_database to Parquet or Delta. Arguments: URI TABLE BACKEND FORMAT OUT SCRATCH.

Reference: https://dlthub.com/docs/dlt-ecosystem/verified-sources/sql_database
"""

from __future__ import annotations

import os
import sys

SCRATCH = sys.argv[6]
os.environ["DLT_DATA_DIR"] = f"{SCRATCH}/dlt"  # read when dlt is imported

import dlt  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found, unused-ignore] # noqa: E402

DRIVERS = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql"}


def main(uri: str, table: str, backend: str, table_format: str, out: str) -> None:
    """One table, replaced; a connectorx backend streams, as that is its faster way."""
    kind, _, rest = uri.partition("://")
    more = {}
    if backend == "connectorx":
        more["backend_kwargs"] = {"conn": uri, "protocol": "binary", "return_type": "arrow_stream"}
    rows = sql_table(
        credentials=f"{DRIVERS[kind]}://{rest.partition('?')[0]}",
        table=table,
        backend=backend,
        chunk_size=100_000,
        **more,
    )
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"file://{out}"),
        dataset_name="lake",
        pipelines_dir=f"{SCRATCH}/pipelines",
    )
    wanted = {"table_format": "delta"} if table_format == "delta" else {}
    pipeline.run(rows, loader_file_format="parquet", **wanted).raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:6])
