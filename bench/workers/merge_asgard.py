"""Merges a file of changed rows through Asgard's lake. Arguments: LAKE CHANGES."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.lake.delta.lake import DeltaLake
from bench.workers.loads import NAME, request


def main(lake: str, changes: str) -> None:
    """One merge, one commit."""
    file = pq.ParquetFile(changes)
    table = DeltaLake(Path(lake)).table(NAME)
    with table.load(request(file.schema_arrow, Mode.MERGE)) as load:
        staged = load.stage(file.iter_batches())
        load.publish(load.prepare([staged]), Position().finished("second"))


if __name__ == "__main__":
    main(*sys.argv[1:])
