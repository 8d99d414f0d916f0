"""dlt's filesystem source over a bucket to Parquet. Arguments: FORM ENDPOINT BUCKET KEY SECRET OUT SCRATCH.

Reference: https://dlthub.com/docs/dlt-ecosystem/verified-sources/filesystem
"""

from __future__ import annotations

import os
import sys

SCRATCH = sys.argv[7]
os.environ["DLT_DATA_DIR"] = f"{SCRATCH}/dlt"  # read when dlt is imported

import dlt  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from dlt.common.configuration.specs import AwsCredentials  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from dlt.sources.filesystem import (  # type: ignore[import-not-found, unused-ignore] # noqa: E402
    filesystem,
    read_csv_duckdb,
    read_parquet,
)

CHUNK_ROWS = 100_000


def main(form: str, endpoint: str, bucket: str, key: str, secret: str, out: str) -> None:
    """All objects below the prefix that is called like the format, as Arrow: its fastest way."""
    found = filesystem(
        f"s3://{bucket}/{form}",
        AwsCredentials(
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            endpoint_url=endpoint,
            region_name="us-east-1",
        ),
        file_glob=f"*.{form}",
    )
    if form == "parquet":
        rows = found | read_parquet(chunksize=CHUNK_ROWS, use_pyarrow=True)
    else:
        rows = found | read_csv_duckdb(chunk_size=CHUNK_ROWS, use_pyarrow=True)
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"file://{out}"),
        dataset_name="lake",
        pipelines_dir=f"{SCRATCH}/pipelines",
    )
    pipeline.run(rows.with_name("lineitem"), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:7])
