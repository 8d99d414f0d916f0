"""TPC-H lineitem as CSV, made by DuckDB's generator. Arguments: SCALE_FACTOR FILE.

Reference: https://duckdb.org/docs/stable/core_extensions/tpch
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb


def main(scale_factor: str, file: str) -> None:
    """The file appears whole or not at all."""
    connection = duckdb.connect()
    spec = find_spec("duckdb_extension_tpch")
    folders = spec.submodule_search_locations if spec else None
    for extension in Path((folders or ["."])[0]).rglob("tpch.duckdb_extension"):
        connection.execute(f"LOAD '{extension}'")
    connection.execute(f"CALL dbgen(sf = {float(scale_factor)})")
    part = f"{file}.part"
    connection.execute(f"COPY lineitem TO '{part}' (FORMAT csv, HEADER false)")
    Path(part).rename(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
