"""A table of the lake, kept by Iceberg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow as pa
from pyiceberg.table import snapshots as iceberg

from asgard.core.errors import QueryError
from asgard.core.position import Position
from asgard.core.table import Compacted, Load, LoadRequest, Mount, TableName, Upkeep, Vacuumed, Version
from asgard.lake.delta.compact import Wish
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.scan import scan
from asgard.lake.iceberg.accept import accept
from asgard.lake.iceberg.compact import compact, upkeep
from asgard.lake.iceberg.faults import translated
from asgard.lake.iceberg.load import IcebergLoad
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import Record, check_absence, recorded, standing
from asgard.lake.iceberg.restore import undo
from asgard.lake.iceberg.snapshot import MARK, Snapshot
from asgard.lake.iceberg.vacuum import expire, vacuum
from asgard.lake.parquet import Limits


class IcebergTable:
    """A table: what it holds, how far its streams were read, and the loads that change it.

    Args:
        name: in the lake.
        place: where it is, whether it exists or not.
        limits: sizes of row groups and files that loads write.
    """

    def __init__(self, name: TableName, place: Place, limits: Limits | None = None) -> None:
        self.name = name
        self.place = place
        self._limits = limits or Limits()
        self._where = {"table": str(name)}
        self._disturbed: set[str] = set()

    def exists(self) -> bool:
        """True once a first load was published, by whomever, or somebody else made the table."""
        with translated(self.place, self._where):
            return self.place.handle() is not None

    def schema(self, at: int | datetime | None = None) -> pa.Schema:
        """Arrow schema at a version or instant; field metadata holds ids and the source's names."""
        with translated(self.place, self._where):
            return self._snapshot(at).schema

    def position(self, stream: str) -> Position | None:
        """From the last commit: the property that it set, where the table still descends from it."""
        with translated(self.place, self._where):
            snapshot = Snapshot.open(self.place)
            if snapshot is None:
                check_absence(self.place.folder)
                return None
            record = standing(snapshot, stream)
            return record.position if record else None

    def load(self, request: LoadRequest) -> Load:
        """A load on the newest version. The table comes into being with the first publish."""
        return IcebergLoad(self.place, request, self._where, self._limits)

    def mount(self, at: int | datetime | None = None) -> Mount:
        """The rows at a version or instant."""
        with translated(self.place, self._where):
            return self._snapshot(at).mount()

    def quarantined(self) -> Mount | None:
        """The rows set aside by committed loads, with `_asgard_reason`."""
        with translated(self.place, self._where):
            quarantine = Quarantine(self.place.folder)
            snapshot = Snapshot.open(self.place) if quarantine.exists else None
            return None if snapshot is None else quarantine.mount(_chooser(snapshot))

    def scan(
        self, columns: list[str] | None = None, where: str | None = None, at: int | datetime | None = None
    ) -> pa.RecordBatchReader:
        """A stream of rows, in no order; where is a predicate in DuckDB's SQL."""
        with translated(self.place, self._where):
            return scan(cast(Any, self._snapshot(at)), columns, where)

    def versions(self, limit: int = 20) -> list[Version]:
        """The newest versions first, those that the table still has."""
        with translated(self.place, self._where):
            snapshot = self._snapshot(None)
            metadata = snapshot.handle.metadata
            found: list[Version] = []
            one = snapshot.at
            while one is not None and len(found) < limit:
                found.append(_version(one))
                parent = one.parent_snapshot_id
                one = None if parent is None else metadata.snapshot_by_id(parent)
            return found

    def compact(
        self,
        run: str,
        stopped: Callable[[], bool],
        alone: Callable[[], AbstractContextManager[object]],
        order_by: Sequence[str] = (),
    ) -> Compacted | None:
        """Puts small files together, one bounded step; in the order of the columns, where some are given."""
        wish = Wish(run, stopped, alone, self._limits, order_by, self._disturbed)
        with translated(self.place, self._where):
            return compact(self.place, wish)

    def upkeep(self, order_by: Sequence[str] | None = None) -> Upkeep:
        """How the table lies. Files are put in order when they are put together, and only then."""
        with translated(self.place, self._where):
            return upkeep(self.place, self._limits, order_by)

    def expire(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Forgets versions that were replaced before an instant."""
        with translated(self.place, self._where):
            return expire(self.place, before, dry_run)

    def vacuum(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Forgets versions that were replaced before an instant, and deletes the files that none needs."""
        with translated(self.place, self._where):
            return vacuum(self.place, before, dry_run)

    def undo(self, run: str = "") -> Version:
        """Takes the last load back, or all of a run's last loads: data and position together."""
        with translated(self.place, self._where):
            undo(self.place, run)
        return self.versions(1)[0]

    def accept(self, stream: str, resync: bool) -> None:
        """Ends PositionLost. With resync the next load replaces every row, whatever its mode."""
        with translated(self.place, self._where):
            accept(self.place, stream, resync)

    def _snapshot(self, at: int | datetime | None) -> Snapshot:
        snapshot = Snapshot.open(self.place, at)
        if snapshot is None:
            raise QueryError(f"there is no table {self.name}", hint="asgard tables lists what there is")
        return snapshot


def _chooser(snapshot: Snapshot) -> Callable[[str, int], bool]:
    """Whether the table committed a number of a stream: see `lake.delta.ledger`."""
    records: dict[str, Record | None] = {}

    def chosen(stream: str, number: int) -> bool:
        if stream not in records:
            records[stream] = recorded(snapshot, stream)
        record = records[stream]
        if record is None:
            return False
        return number == record.number or record.since <= number <= (record.prev or 0)

    return chosen


def _version(one: iceberg.Snapshot) -> Version:
    told = one.summary.additional_properties if one.summary else {}
    operation = one.summary.operation.value if one.summary else ""
    rows = told.get("asgard.rows_added")
    return Version(
        version=int(one.sequence_number or 0),
        at=datetime.fromtimestamp(one.timestamp_ms / 1000, UTC),
        operation=told.get("asgard.mode", operation).lower(),
        run=told.get("asgard.run", "") if MARK in told else "",
        rows_added=int(rows) if rows is not None else None,
    )
