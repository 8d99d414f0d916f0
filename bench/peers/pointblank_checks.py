"""pointblank on the checks of bench/workers/checks.py, but for `type` and `row_count`. Arguments: FOLDER.

Reference: https://posit-dev.github.io/pointblank/
"""

from __future__ import annotations

import sys

import ibis  # type: ignore[import-not-found, unused-ignore]
import pointblank  # type: ignore[import-not-found, unused-ignore]

ROWS_WITHOUT_NOTE = 0.3


def main(folder: str) -> None:
    """The table stays in DuckDB, and no failing rows are fetched: its fastest way."""
    table = ibis.duckdb.connect(threads=2).read_parquet(f"{folder}/*.parquet")
    validation = (
        pointblank.Validate(table)
        .col_vals_not_null(["id", "customer", "sku", "amount", "status", "updated_at"])
        .col_vals_between("quantity", 1, 50)
        .col_vals_between("discount", 0, 1)
        .col_vals_ge("day", "2020-01-01")
        .col_vals_in_set("status", ["new", "paid", "sent", "done", "void"])
        .col_vals_regex("sku", "^SKU-[0-9]{6}$")
        .col_vals_regex("email", r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
        .col_vals_ge(["amount", "quantity", "customer"], 0)
        .col_vals_expr(ibis._.quantity * ibis._.amount < 10_000_000)
        .col_vals_not_null("note", thresholds=ROWS_WITHOUT_NOTE)
        .rows_distinct(["id"])
        .interrogate(collect_extracts=False)
    )
    if validation.above_threshold(level="warning"):
        raise SystemExit("error: checks failed that should not")


if __name__ == "__main__":
    main(*sys.argv[1:])
