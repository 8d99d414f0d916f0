"""A load of an Iceberg table: rows to staged files, files to a prepared change, and the change to a commit.

How modes turn into files to add and to remove is worked out as for every format (`lake.prepare`); how the
commit is made so that a kill at any instant neither loses nor repeats is `publish`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import pyarrow as pa

from asgard.core.batch import RAW
from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError, Bug
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, Evolution, LoadRequest, Prepared, Staged
from asgard.core.types import canonical_batch
from asgard.lake.boundaries import reach
from asgard.lake.change import Change
from asgard.lake.delta.deletion_vectors import VectorFiles
from asgard.lake.delta.publish import SetAside
from asgard.lake.delta.quarantine import REASON, Quarantine
from asgard.lake.folder import Folder
from asgard.lake.iceberg.faults import translated
from asgard.lake.iceberg.leftovers import committed_files, lost_loads, settle, sweep
from asgard.lake.iceberg.pinned import Base
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.publish import Publisher, worked_out
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.prepare import Marking, Preparation


class IcebergLoad:
    """One change of one table.

    Args:
        place: of the table.
        request: what is to be done.
        where: for errors.
        limits: sizes of row groups and files.
    """

    def __init__(self, place: Place, request: LoadRequest, where: dict[str, str], limits: Limits) -> None:
        self._place = place
        self._request = request
        self._where = where
        self._open = True
        self._published: Change | None = None
        self._publisher: Publisher | None = None
        self._aside: SetAside | None = None
        with translated(place, where):
            place.data.make()
            self._lost = lost_loads(place.folder)  # before the version is pinned: see `leftovers`
            self._base = Base.open(place, request)
            self._columns = self._base.columns(request)
            self._ticket = place.folder.announce(self._base.version)
        reach("ticket_written")
        # Writers hold two row groups each, several may write: a small load has small ones (Promise 5).
        group_bytes = min(limits.row_group_bytes, max(request.memory_bytes // 16, MEBIBYTE))
        self._limits = replace(limits, row_group_bytes=group_bytes)
        if request.mode in (Mode.MERGE, Mode.HISTORY):
            self._limits = replace(self._limits, table_bytes=self._base.size_bytes)
        self._quarantine = Quarantine(place.folder)
        self._quarantine_place: Folder | None = None
        self._lock = threading.Lock()
        no_marks = Marking(0.0, 0, lambda sets: VectorFiles())
        self._preparation = Preparation(place.data, request, self._write_rows, no_marks)
        self._rewritten: tuple[str, ...] = ()

    @property
    def position(self) -> Position | None:
        """The position at the pinned version."""
        return self._base.record.position if self._base.record else None

    @property
    def evolution(self) -> Evolution:
        """What the request's schema changes."""
        return self._columns.evolution

    def stage(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """Writes rows to durable files of this load; from any thread."""
        staged = self._write_rows(self._columns.staged, batches)
        reach("staged")
        return staged

    def quarantine(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """Writes rows with their `_asgard_reason` to durable files of the twin; from any thread. Those that
        were messages nobody could decode have their bytes besides (`LoadRequest.raw`)."""
        schema = self._quarantine_schema()
        with translated(self._place, self._where), self._lock:
            if self._quarantine_place is None:
                twin = self._quarantine.place_for(schema)
                twin.make()
                self._quarantine_place = twin
        return self._write(self._quarantine_place, schema, batches)

    def discard(self, staged: Staged) -> None:
        """Deletes staged files: they were staged anew."""
        self._delete([file.path for file in staged.files])

    def prepare(self, staged: Iterable[Staged]) -> Prepared:
        """Works out what is added and removed. When it is called again, what it gave before is void."""
        with translated(self._place, self._where):
            self._delete(self._rewritten)
            change = worked_out(self._preparation, self._base, self._columns, tuple(staged))
            self._rewritten = change.rewritten
        reach("prepared")
        return change

    def publish(self, prepared: Prepared, position: Position, quarantined: Staged | None = None) -> Commit:
        """Data and position in one commit, durable when it returns."""
        if not isinstance(prepared, Change) or not self._open or self._published:
            raise Bug("publish takes what prepare of the same, unpublished load gave")
        aside = None
        if quarantined is not None and quarantined.files and self._quarantine_place is not None:
            aside = SetAside(self._quarantine_place, self._quarantine_schema(), quarantined)
        self._publisher = Publisher(self._place, self._request, self._preparation, aside)
        with translated(self._place, self._where):
            landed = self._publisher.publish(prepared, position)
        self._published, self._aside = landed.change, aside
        with (
            suppress(AsgardError, OSError),
            translated(self._place, self._where),
        ):  # the next load does it else
            sweep(self._place, self._lost)
        return landed.commit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Deletes what was staged and not committed; more than once is fine."""
        if not self._open:
            return
        self._open = False
        settle(self._place, self._ticket, self._committed)
        reach("settled")

    def _committed(self) -> set[str] | None:
        """The load's files that the table and its quarantine hold; None when that is not known."""
        if self._published is not None:
            aside = self._aside.staged.files if self._aside else ()
            return {file.path for file in (*self._published.adds, *aside)}
        if self._publisher is None:
            return set()
        if self._publisher.in_doubt:
            return None
        with translated(self._place, self._where):
            return committed_files(self._place, self._ticket.prefix)

    def _write_rows(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Staged:
        return self._write(self._place.data, schema, batches)

    def _write(self, folder: Folder, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Staged:
        if not self._open:
            raise Bug("the load is closed")
        with translated(self._place, self._where):
            files = ParquetFiles(folder, self._ticket.new_name, schema, self._limits, self._request.keys)
            try:
                for batch in batches:
                    if batch.num_rows:
                        files.write(canonical_batch(batch, schema))
                return Staged(files.finish())
            except BaseException:
                self._ticket.doubt()
                files.abandon()
                raise

    def _quarantine_schema(self) -> pa.Schema:
        raw = RAW if self._request.raw else ()
        return pa.schema([*self._columns.staged, *raw, pa.field(REASON, pa.string())])

    def _delete(self, names: Iterable[str]) -> None:
        found = list(names)
        for name in found:
            if not name.startswith(self._ticket.prefix):
                raise Bug(f"{name} is no file of this load")
        self._place.data.delete(*found)
