"""What a Delta table holds after a merge, as JSON: rows, different keys, changed rows. Arguments: LAKE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa

from bench.workers.loads import NAME


def main(lake: str) -> None:
    """As delta-rs reads the newest version: rows that are marked as deleted do not count."""
    table = deltalake.DeltaTable(Path(lake, *NAME.parts))
    rows = pa.RecordBatchReader.from_stream(table.scan(columns=["id", "status", "note"]))
    connection = duckdb.connect()
    connection.register("rows_of_the_table", rows)
    row = connection.execute(
        "SELECT count(*), count(DISTINCT id), count(*) FILTER (status = 'changed' AND note = 'changed') "
        "FROM rows_of_the_table"
    ).fetchone()
    print(json.dumps(dict(zip(("rows", "keys", "changed"), row or (), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
