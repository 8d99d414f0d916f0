"""A load of a Delta table: rows to staged files, files to a prepared change, and the change to a commit.

It knows how the modes turn into files to add and to remove. How the commit is made so that a kill at any
instant neither loses nor repeats is `lake.publish`'s.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from asgard.core.errors import Bug, DataError
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, DataFile, Evolution, LoadRequest, Prepared, Staged
from asgard.core.types import canonical_batch
from asgard.lake.base import Base, Columns
from asgard.lake.boundaries import reach
from asgard.lake.change import Change, check_file
from asgard.lake.disk import make_folder, translated
from asgard.lake.leftovers import Ticket, announce, committed_files, sweep
from asgard.lake.merge import KeyIndex, Keys, Places, rows_without
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.publish import Publisher, SetAside
from asgard.lake.quarantine import REASON, Quarantine


class DeltaLoad:
    """One change of one table.

    Args:
        folder: the table's folder.
        request: what is to be done.
        where: for errors.
        limits: sizes of row groups and files.
    """

    def __init__(self, folder: Path, request: LoadRequest, where: dict[str, str], limits: Limits) -> None:
        self._folder = folder
        self._request = request
        self._where = where
        self._limits = limits
        self._open = True
        self._published: Change | None = None
        self._tried = False
        with translated(where):
            make_folder(folder)
            sweep(folder)
            self._base = Base.open(folder, request)
            self._columns = self._base.columns(folder, request)
            self._ticket = announce(folder, self._base.version)
        reach("ticket_written")
        self._quarantine = Quarantine(folder)
        self._quarantine_place: Path | None = None
        self._lock = threading.Lock()

    @property
    def position(self) -> Position | None:
        """The position at the pinned version."""
        record = self._base.standing.record
        return record.position if record else None

    @property
    def evolution(self) -> Evolution:
        """What the request's schema changes."""
        return self._columns.evolution

    def stage(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """Writes rows to durable files of this load; from any thread."""
        staged = self._write(self._folder, self._columns.staged, batches)
        reach("staged")
        return staged

    def quarantine(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """Writes rows with their `_asgard_reason` to durable files of the twin; from any thread."""
        schema = self._quarantine_schema()
        with translated(self._where), self._lock:
            if self._quarantine_place is None:
                place = self._quarantine.place_for(schema)
                make_folder(place)
                self._quarantine_place = place
        return self._write(self._quarantine_place, schema, batches)

    def discard(self, staged: Staged) -> None:
        """Deletes staged files: they were staged anew."""
        self._delete(self._folder, [file.path for file in staged.files])

    def prepare(self, staged: Iterable[Staged]) -> Prepared:
        """Works out what is added and removed; may be called again with other files."""
        with translated(self._where):
            change = self._prepared(self._base, self._columns, tuple(staged))
        reach("prepared")
        return change

    def publish(self, prepared: Prepared, position: Position, quarantined: Staged | None = None) -> Commit:
        """Data and position in one commit, durable when it returns."""
        if not isinstance(prepared, Change) or not self._open or self._published:
            raise Bug("publish takes what prepare of the same, unpublished load gave")
        self._tried = True
        aside = None
        if quarantined is not None and quarantined.files and self._quarantine_place is not None:
            aside = SetAside(self._quarantine_place, self._quarantine_schema(), quarantined)
        publisher = Publisher(self._folder, self._request, self._ticket.prefix, self._prepared, aside)
        with translated(self._where):
            commit, self._published = publisher.publish(prepared, position)
        return commit

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
        settle(self._folder, self._ticket, self._base.version if self._tried else None)
        reach("settled")

    def _write(self, folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Staged:
        if not self._open:
            raise Bug("the load is closed")
        with translated(self._where):
            files = ParquetFiles(folder, self._ticket.new_name, schema, self._limits)
            try:
                for batch in batches:
                    if batch.num_rows:
                        files.write(canonical_batch(batch, schema))
                return Staged(files.finish())
            except BaseException:
                files.abandon()
                raise

    def _quarantine_schema(self) -> pa.Schema:
        return pa.schema([*self._columns.staged, pa.field(REASON, pa.string())])

    def _delete(self, folder: Path, names: Iterable[str]) -> None:
        for name in names:
            if not name.startswith(self._ticket.prefix):
                raise Bug(f"{name} is no file of this load")
            with suppress(FileNotFoundError):
                (folder / name).unlink()

    def _prepared(self, base: Base, columns: Columns, staged: tuple[Staged, ...]) -> Change:
        files = tuple(file for one in staged for file in one.files)
        for file in files:
            check_file(self._folder, file, columns.staged)
        request = self._request
        if request.keys and request.mode in (Mode.MERGE, Mode.APPEND):
            _check_keys(files, request.keys)
            return self._keyed(base, columns, staged, files)
        if base.replaces:
            gone = base.snapshot.total_rows if base.snapshot else 0
            return Change(self._folder, base, columns, staged, files, rows_removed=gone)
        return Change(self._folder, base, columns, staged, files)

    def _keyed(
        self, base: Base, columns: Columns, staged: tuple[Staged, ...], files: tuple[DataFile, ...]
    ) -> Change:
        request = self._request
        old = base.snapshot is not None and not base.replaces and bool(base.snapshot.files())
        gone = base.snapshot.total_rows if base.snapshot and base.replaces else 0
        asks = not request.keys_unique or (old and (request.mode is Mode.MERGE or request.keep_existing))
        if not files or not asks:
            return Change(self._folder, base, columns, staged, files, rows_removed=gone)
        paths = [str(self._folder / file.path) for file in files]
        with KeyIndex(paths, Keys(request.keys, request.order_by), request.memory_bytes) as index:
            dropped = Places() if request.keys_unique else index.repeated()
            matched = Places()
            if old and base.snapshot is not None:
                there = base.snapshot.files(index.bounds())
                by_path = {base.snapshot.absolute(file.path): file for file in there}
                if request.mode is Mode.MERGE:
                    matched = index.matched(list(by_path))
                elif request.keep_existing:
                    dropped = dropped | index.known(list(by_path))
        touched = [path for path in paths if path in dropped.rows]
        kept = tuple(file for file, path in zip(files, paths, strict=True) if path not in dropped.rows)
        adds = (*kept, *self._without(touched, dropped, columns.staged))
        if not matched.rows:
            return Change(self._folder, base, columns, staged, adds, rows_removed=gone)
        rewritten = [path for path in by_path if path in matched.rows]
        adds = (*adds, *self._without(rewritten, matched, columns.table))
        removes = tuple(by_path[path] for path in rewritten)
        return Change(self._folder, base, columns, staged, adds, removes, matched.count)

    def _without(self, paths: Sequence[str], places: Places, schema: pa.Schema) -> tuple[DataFile, ...]:
        if not paths:
            return ()
        rows = rows_without(paths, places, pa.schema([f.remove_metadata() for f in schema]))
        return self._write(self._folder, schema, rows).files


def settle(folder: Path, ticket: Ticket, tried_on: int | None) -> None:
    """Deletes the files of a load that no commit holds, and takes its ticket back.

    After an attempt to commit only the log says which files are in, never the exception (protocol, line 11).

    Args:
        folder: the table's folder.
        ticket: of the load.
        tried_on: the version before the first attempt to commit; None when there was none.
    """
    committed = set() if tried_on is None else committed_files(folder, ticket.prefix, tried_on)
    if committed is None:
        ticket.leave()
        return
    with suppress(OSError):
        for path in folder.glob(f"{ticket.prefix}*.parquet"):
            if path.name not in committed:
                path.unlink(missing_ok=True)
        for twin in (folder / "_asgard" / "quarantine").glob("*/"):
            mine = list(twin.glob(f"{ticket.prefix}*.parquet"))
            inside = committed_files(twin, ticket.prefix, -1) if mine and tried_on is not None else set()
            for path in mine:
                if inside is not None and path.name not in inside:
                    path.unlink(missing_ok=True)
    ticket.close()


def _check_keys(files: Iterable[DataFile], keys: Sequence[str]) -> None:
    """Raises DataError for nulls in a key: such a row could never be found again."""
    for file in files:
        nulls = json.loads(file.stats).get("nullCount", {})
        empty = [name for name in keys if nulls.get(name)]
        if empty:
            raise DataError(
                f"the key column {empty[0]} is null in {nulls[empty[0]]} of the rows",
                hint="choose a key that every row has, or filter those rows out",
                where={"column": empty[0]},
            )
