"""Rows to be merged: changed rows of the table of `make_table`. Arguments: TABLE FIRST STEP COUNT FILE."""

from __future__ import annotations

import sys

import duckdb


def main(table: str, first: str, step: str, count: str, file: str) -> None:
    """Every STEP-th row from FIRST on, COUNT of them, with another status and note."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"COPY (SELECT * REPLACE ('changed' AS status, 'changed' AS note) FROM '{table}/plain/*.parquet' "
        f"WHERE id >= {int(first)} AND (id - {int(first)}) % {int(step)} = 0 LIMIT {int(count)}) "
        f"TO '{file}' (FORMAT parquet)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
