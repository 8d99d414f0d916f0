"""Merges a file of changed rows through `DeltaTable.merge`. Arguments: LAKE CHANGES [bounded].

`bounded` puts the bounds of the keys into the predicate, which it does not find by itself.

Reference: https://delta-io.github.io/delta-rs/usage/merging-tables/
"""

from __future__ import annotations

import sys
from pathlib import Path

import deltalake
import pyarrow.compute as pc
import pyarrow.parquet as pq


def main(lake: str, changes: str, bounded: str = "") -> None:
    """One merge, one commit."""
    source = pq.read_table(changes)
    predicate = "t.id = s.id"
    if bounded:
        ends = pc.min_max(source["id"])
        predicate += f" AND t.id >= {ends['min']} AND t.id <= {ends['max']}"
    table = deltalake.DeltaTable(Path(lake, "bronze", "shop", "orders"))
    merger = table.merge(source, predicate=predicate, source_alias="s", target_alias="t")
    columns = {name: f"s.{name}" for name in source.schema.names}
    merger.when_matched_update(columns).when_not_matched_insert(columns).execute()


if __name__ == "__main__":
    main(*sys.argv[1:])
