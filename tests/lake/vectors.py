"""What tests of deletion vectors stand on: a table that marks rows of small files, too, and its vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from asgard.core.stream import Mode
from asgard.lake.delta.deletion_vectors import Vector
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.delta.table import LakeTable
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits
from tests.lake.ground import folder_of, load

EAGER = Limits(marked_bytes=0)
WIDE = pa.schema([("id", pa.int64()), ("v", pa.string()), ("fill", pa.string())])


def wide(pairs: Iterable[tuple[int, str]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"id": key, "v": v, "fill": ""} for key, v in pairs], WIDE)


def filled(table: LakeTable, count: int) -> list[tuple[int, str]]:
    """A table of so many rows, `old` all of them."""
    pairs = [(key, "old") for key in range(count)]
    load(table, Mode.APPEND, wide(pairs), "0")
    return pairs


def snapshot_of(lake: Path) -> Snapshot:
    found = Snapshot.open(LocalFolder(folder_of(lake)))
    assert found is not None
    return found


def vectors_of(lake: Path) -> list[Vector]:
    return list(snapshot_of(lake).vectors.values())
