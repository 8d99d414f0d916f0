"""What the tests of Iceberg tables stand on: the table, other hands on it, and what lies in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from pyiceberg.table import Table

from asgard.lake.delta.table import LakeTable
from asgard.lake.iceberg.lake import IcebergLake
from asgard.lake.iceberg.leftovers import committed_files
from asgard.lake.iceberg.table import IcebergTable
from asgard.lake.parquet import Limits
from tests.lake.ground import NAME, folder_of


def iceberg_table(lake: Path, limits: Limits | None = None) -> IcebergTable:
    return IcebergLake(lake, limits).table(NAME)


def as_any(table: IcebergTable) -> LakeTable:
    """For what the tests of every format do with a table."""
    return cast(Any, table)


def theirs(table: IcebergTable) -> Table:
    """The table as another hand opens it."""
    handle = table.place.handle()
    assert handle is not None
    return handle


class ReadByPyiceberg:
    """For tests that ask another reader: pyiceberg's, where those of Delta ask delta-rs."""

    def __init__(self, lake: Path) -> None:
        self._handle = theirs(iceberg_table(lake))

    def scan(self, columns: list[str]) -> pa.RecordBatchReader:
        return self._handle.scan(selected_fields=tuple(columns)).to_arrow_batch_reader()


def unknown_data_files(lake: Path) -> set[str]:
    """Data files of ours in the table's folder that no snapshot names."""
    known = committed_files(iceberg_table(lake).place, "part-")
    return {path.name for path in (folder_of(lake) / "data").glob("part-*.parquet")} - known


def count_of_metadata(lake: Path) -> dict[str, int]:
    """How many files of each kind lie in the table's metadata folder."""
    names = [path.name for path in (folder_of(lake) / "metadata").iterdir()]
    return {
        "metadata": sum(name.endswith(".metadata.json") for name in names),
        "lists": sum(name.startswith("snap-") for name in names),
        "manifests": sum(not name.startswith("snap-") and name.endswith(".avro") for name in names),
    }
