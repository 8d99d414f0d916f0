"""What the state machines stand on: a table of one format in a folder, and another hand that changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from asgard.core.table import Table
from asgard.lake.parquet import Limits
from tests.lake.ground import folder_of, table_in

SMALL = Limits(row_group_rows=3, file_bytes=1 << 20)


class Ground(Protocol):
    """A place for one table."""

    folder: Path
    """All of it: what a kill leaves behind lies in here."""

    def table(self) -> Table:
        """A handle as a process of its own would have it."""
        ...

    def restore(self, version: int) -> bool:
        """Somebody else takes the table back to a version; whether it has other files then."""
        ...

    def compact(self) -> None:
        """Somebody else puts its files together."""
        ...

    def vacuum(self) -> None:
        """Somebody else deletes every file that the newest version does not need."""
        ...

    def append(self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        """Somebody else adds rows; columns that do not come are null."""
        ...

    def delete(self, key: int) -> None:
        """Somebody else deletes the rows with an id."""
        ...


class DeltaGround:
    """A Delta table, and delta-rs as the other hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self) -> Table:
        return table_in(self.folder, SMALL)

    def restore(self, version: int) -> bool:
        before = self._theirs().file_uris()
        self._theirs().restore(version)
        return sorted(before) != sorted(self._theirs().file_uris())

    def compact(self) -> None:
        self._theirs().optimize.compact()

    def vacuum(self) -> None:
        self._theirs().vacuum(0, dry_run=False, enforce_retention_duration=False)

    def append(self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        handle = self._theirs()
        own = pa.schema([field.remove_metadata() for field in schema])
        write_deltalake(handle, pa.Table.from_pylist(list(rows), own), mode="append")

    def delete(self, key: int) -> None:
        self._theirs().delete(f"id = {key}")

    def _theirs(self) -> DeltaTable:
        return DeltaTable(folder_of(self.folder))
