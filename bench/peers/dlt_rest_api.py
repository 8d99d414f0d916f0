"""dlt's rest_api to Parquet. Arguments: URL OUT SCRATCH.

Reference: https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api/basic
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

SCRATCH = sys.argv[3]
os.environ["DLT_DATA_DIR"] = f"{SCRATCH}/dlt"  # read when dlt is imported

import dlt  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found, unused-ignore] # noqa: E402


def main(url: str, out: str) -> None:
    """One endpoint, nested values as JSON: tables of their own for them would cost more."""
    parts = urlsplit(url)
    paginator = {"type": "cursor", "cursor_path": "next", "cursor_param": "page"}
    source = rest_api_source(
        {
            "client": {"base_url": f"{parts.scheme}://{parts.netloc}", "paginator": paginator},
            "resources": [{"name": "items", "endpoint": {"path": parts.path, "data_selector": "data"}}],
        }
    )
    source.max_table_nesting = 0
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"file://{out}"),
        dataset_name="lake",
        pipelines_dir=f"{SCRATCH}/pipelines",
    )
    pipeline.run(source, loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:3])
