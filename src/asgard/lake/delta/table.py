"""A table of the lake, kept by Delta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa

from asgard.core.errors import QueryError
from asgard.core.position import Position
from asgard.core.table import (
    Compacted,
    Load,
    LoadRequest,
    Mount,
    TableName,
    Upkeep,
    Vacuumed,
    Version,
)
from asgard.lake.delta.carried import Newest
from asgard.lake.delta.commits import Entry, entries
from asgard.lake.delta.compact import Wish, compact, upkeep
from asgard.lake.delta.ledger import Ledger
from asgard.lake.delta.load import DeltaLoad
from asgard.lake.delta.log_cleanup import expire
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.restore import accept, undo
from asgard.lake.delta.scan import scan
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.delta.vacuum import vacuum
from asgard.lake.disk import translated
from asgard.lake.folder import Folder
from asgard.lake.local import as_folder
from asgard.lake.parquet import Limits


class LakeTable:
    """A table: what it holds, how far its streams were read, and the loads that change it.

    Args:
        name: in the lake.
        folder: where it lies; need not exist.
        limits: sizes of row groups and files that loads write.
    """

    def __init__(self, name: TableName, folder: Path | Folder, limits: Limits | None = None) -> None:
        self.name = name
        self._folder = as_folder(folder)
        self._limits = limits or Limits()
        self._where = {"table": str(name)}
        self._disturbed: set[str] = set()
        self._newest = Newest(self._folder)

    def exists(self) -> bool:
        """True once a first load was published, by whomever."""
        with translated(self._where):
            snapshot = Snapshot.open(self._folder)
            return snapshot is not None and (snapshot.version > 0 or not snapshot.is_ours)

    def schema(self, at: int | datetime | None = None) -> pa.Schema:
        """Arrow schema at a version or instant; field metadata holds ids and the source's names."""
        with translated(self._where):
            return self._snapshot(at).schema

    def position(self, stream: str) -> Position | None:
        """From the last commit: the integer in the log chooses the record."""
        with translated(self._where):
            ledger = Ledger(self._folder)
            snapshot = self._newest.open()
            if snapshot is None:
                ledger.check_absence()
                return None
            record = ledger.standing(snapshot, stream).record
            return record.position if record else None

    def load(self, request: LoadRequest) -> Load:
        """A load on the newest version. The table comes into being with the first publish."""
        return DeltaLoad(self._folder, request, self._where, self._limits, self._newest)

    def mount(self, at: int | datetime | None = None) -> Mount:
        """The rows at a version or instant."""
        with translated(self._where):
            return self._snapshot(at).mount()

    def quarantined(self) -> Mount | None:
        """The rows set aside by committed loads, with `_asgard_reason`."""
        with translated(self._where):
            quarantine = Quarantine(self._folder)
            snapshot = Snapshot.open(self._folder) if quarantine.exists else None
            if snapshot is None:
                return None
            return quarantine.mount(Ledger(self._folder).chooser(snapshot))

    def scan(
        self, columns: list[str] | None = None, where: str | None = None, at: int | datetime | None = None
    ) -> pa.RecordBatchReader:
        """A stream of rows, in no order; where is a predicate in DuckDB's SQL."""
        with translated(self._where):
            return scan(self._snapshot(at), columns, where)

    def versions(self, limit: int = 20) -> list[Version]:
        """The newest versions first, those that the log still holds."""
        with translated(self._where):
            newest = self._snapshot(None).version
            return [_version(entry) for entry in islice(entries(self._folder, newest), limit)]

    def compact(
        self,
        run: str,
        stopped: Callable[[], bool],
        alone: Callable[[], AbstractContextManager[object]],
        order_by: Sequence[str] = (),
    ) -> Compacted | None:
        """Puts small files together, and those in order that lie over one another: one bounded step."""
        with translated(self._where):
            wish = Wish(run, stopped, alone, self._limits, order_by, self._disturbed)
            return compact(self._folder, wish)

    def upkeep(self, order_by: Sequence[str] | None = None) -> Upkeep:
        """How the table lies."""
        with translated(self._where):
            return upkeep(self._folder, self._limits, order_by)

    def expire(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Takes from the log what only versions need that were replaced before an instant."""
        with translated(self._where):
            return expire(self._folder, before, dry_run)

    def vacuum(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Deletes files that only versions need that were replaced before an instant, and leftovers."""
        with translated(self._where):
            return vacuum(self._folder, before, dry_run)

    def undo(self, run: str = "") -> Version:
        """Takes the last load back, or all of a run's last loads: data and position together."""
        with translated(self._where):
            undo(self._folder, run)
        return self.versions(1)[0]

    def accept(self, stream: str, resync: bool) -> None:
        """Ends PositionLost. With resync the next load replaces every row, whatever its mode."""
        with translated(self._where):
            accept(self._folder, stream, resync)

    def _snapshot(self, at: int | datetime | None) -> Snapshot:
        snapshot = Snapshot.open(self._folder, at)
        if snapshot is None:
            raise QueryError(f"there is no table {self.name}", hint="asgard tables lists what there is")
        return snapshot


def _version(entry: Entry) -> Version:
    told = entry.provenance
    rows = told.get("asgard.rows_added")
    return Version(
        version=entry.version,
        at=entry.at,
        operation=str(told.get("asgard.mode") or entry.operation).lower(),
        run=str(told.get("asgard.run", "")) if entry.ours else "",
        rows_added=int(rows) if rows is not None else None,
    )
