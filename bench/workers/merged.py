"""What a Delta table holds after a merge, as JSON: rows, different keys, changed rows. Arguments: LAKE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import deltalake
import duckdb

from bench.workers.loads import NAME


def main(lake: str) -> None:
    """From the files of the newest version."""
    files = deltalake.DeltaTable(Path(lake, *NAME.parts)).file_uris()
    row = duckdb.sql(
        "SELECT count(*), count(DISTINCT id), count(*) FILTER (status = 'changed' AND note = 'changed') "
        f"FROM read_parquet({files})"
    ).fetchone()
    print(json.dumps(dict(zip(("rows", "keys", "changed"), row or (), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
