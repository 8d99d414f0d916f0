"""Rows in all Parquet files of a folder, as JSON. Arguments: FOLDER. Runs in the environment of DuckDB."""

from __future__ import annotations

import json
import sys

import duckdb


def main(folder: str) -> None:
    """From the footers alone."""
    query = f"SELECT sum(num_rows) FROM parquet_file_metadata('{folder}/**/*.parquet')"
    row = duckdb.connect().execute(query).fetchone()
    print(json.dumps({"rows": int(row[0] or 0) if row else 0}))


if __name__ == "__main__":
    main(*sys.argv[1:])
