"""A DuckLake table: made, merged into, read. Arguments: make|merge|read FOLDER [PARQUET].

Changed rows are marked in delete files beside the data files, and written as new files.

Reference: https://ducklake.select/docs/stable/duckdb/usage/upserting
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb

HELD = (
    "SELECT count(*), count(DISTINCT id), count(*) FILTER (status = 'changed' AND note = 'changed') "
    "FROM l.orders"
)


def main(deed: str, folder: str, parquet: str = "") -> None:
    """One deed; `read` prints what the table holds."""
    connection = _connected(Path(folder))
    if deed == "make":
        connection.execute(f"CREATE TABLE l.orders AS FROM read_parquet('{parquet}')")
    elif deed == "merge":
        connection.execute(
            f"MERGE INTO l.orders AS t USING read_parquet('{parquet}') AS s USING (id) "
            "WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT"
        )
    else:
        row = connection.execute(HELD).fetchone()
        print(json.dumps(dict(zip(("rows", "keys", "changed"), row or (), strict=True))))


def _connected(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    spec = find_spec("duckdb_extension_ducklake")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for file in Path(place).rglob("ducklake.duckdb_extension"):
            connection.execute(f"LOAD '{file}'")
    connection.execute("SET threads = 2")
    connection.execute("SET TimeZone = 'UTC'")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    connection.execute(f"ATTACH 'ducklake:{folder}/catalog.ducklake' AS l (DATA_PATH '{folder}/data/')")
    return connection


if __name__ == "__main__":
    main(*sys.argv[1:])
