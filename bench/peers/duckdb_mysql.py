"""DuckDB's own MySQL scanner to bare Parquet. Arguments: DSN TABLE OUT.

Reference: https://duckdb.org/docs/stable/core_extensions/mysql
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb


def main(dsn: str, table: str, out: str) -> None:
    """As fast as it goes: two threads, order not kept, zstd of level 1."""
    connection = duckdb.connect()
    spec = find_spec("duckdb_extension_mysql_scanner")
    folders = spec.submodule_search_locations if spec else None
    for file in Path((folders or ["."])[0]).rglob("mysql_scanner.duckdb_extension"):
        connection.execute(f"LOAD '{file}'")
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"ATTACH '{dsn}' AS source (TYPE mysql, READ_ONLY)")
    connection.execute(
        f"COPY (SELECT * FROM source.{table}) TO '{out}/part-0.parquet'"
        " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
