"""Works out what a load adds and removes: by mode, on a base version, without anybody seeing it.

It knows how the modes turn into files. Where rows lie is asked of `lake.merge`; the load writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from asgard.core.errors import DataError
from asgard.core.stream import Mode
from asgard.core.table import DataFile, LoadRequest, Staged
from asgard.lake.change import Change, check_file
from asgard.lake.columns import Columns
from asgard.lake.delta.pinned import Base
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.folder import Folder
from asgard.lake.rewrite import rows_of

if TYPE_CHECKING:
    from asgard.lake.merge import Places

Write = Callable[[pa.Schema, Iterator[pa.RecordBatch]], Staged]
"""Writes rows to durable files of the load; from any thread."""
Bounds = dict[str, tuple[pa.Scalar, pa.Scalar]]
RowsOf = Callable[[Sequence[str], pa.Schema], Iterator[pa.RecordBatch]]
"""The rows of files, in a schema."""

MOST_WRITERS = 2
WRITER_BYTES = 96 << 20
"""What writing one file anew holds altogether (measured)."""


class Preparation:
    """Prepares one load, as often as it takes.

    Args:
        folder: the table's folder.
        request: what the load is to do.
        write: writes files of the load.
    """

    def __init__(self, folder: Folder, request: LoadRequest, write: Write) -> None:
        self._folder = folder
        self._request = request
        self._write = write

    def change(self, base: Base, columns: Columns, staged: tuple[Staged, ...]) -> Change:
        """The staged rows as a change of the base.

        Raises:
            DataError: a staged file is not what was staged, or a key is null.
            Conflict: a staged file is gone.
        """
        files = tuple(file for one in staged for file in one.files)
        for file in files:
            check_file(self._folder, file, columns.staged)
        change = Change(self._folder, base, columns, staged, files)
        if self._request.vanished:
            change = self._without_vanished(change)
            return self._widened(change) if columns.wider else change
        if base.replaces and base.snapshot is not None:
            change = replace(change, rows_removed=base.snapshot.total_rows)
        if self._request.keys and self._request.mode is not Mode.REPLACE:
            _check_keys(files, self._request.keys)
            by_history = self._request.mode is Mode.HISTORY
            change = self._by_history(change) if by_history else self._by_key(change)
        return self._widened(change) if columns.wider else change

    def _widened(self, change: Change) -> Change:
        """The change with every file that stays written anew, in the table's wider types."""
        snapshot = change.base.snapshot
        if snapshot is None:
            return change
        gone = {file.path for file in change.removes}
        kept = {snapshot.absolute(file.path): file for file in snapshot.files() if file.path not in gone}
        self._folder.know({path: file.size_bytes for path, file in kept.items()})
        adds = self._anew(list(kept), partial(rows_of, self._folder), change.columns.table)
        return replace(change, adds=(*change.adds, *adds), removes=(*change.removes, *kept.values()))

    def _by_key(self, change: Change) -> Change:
        """The change with one row a key."""
        from asgard.lake.merge import KeyIndex, Keys  # with DuckDB: 30 MB that only keys are worth

        request, base, files = self._request, change.base, change.adds
        looks = request.mode is Mode.MERGE or request.keep_existing
        snapshot = base.snapshot if looks and not base.replaces else None
        first = request.keys_unique and (snapshot is None or not snapshot.files())
        if not files or (first and not request.deleted):
            return change
        paths = {self._folder.absolute(file.path): file for file in files}
        there: dict[str, LakeFile] = {}
        keys = Keys(request.keys, request.order_by, request.deleted)
        with KeyIndex(self._folder, list(paths), keys, request.memory_bytes) as index:
            if snapshot is not None:
                near = snapshot.files(_of_one_type(index.bounds(), change.columns))
                there = {snapshot.absolute(file.path): file for file in near}
                self._folder.know({path: file.size_bytes for path, file in there.items()})
            if request.mode is Mode.MERGE:
                matched = index.matched(list(there))
                unwanted = index.unwanted(not request.keys_unique)
            else:
                matched = None
                unwanted = index.repeated_or_known(list(there), not request.keys_unique)
            shorter = unwanted.files
            touched = matched.files if matched else ()
            adds = (
                *(file for path, file in paths.items() if path not in shorter),
                *self._without(shorter, unwanted, change.columns.staged),
                *self._without(touched, matched, change.columns.table),
            )
        if matched is None or not touched:
            return replace(change, adds=adds)
        removes = tuple(there[path] for path in touched)
        return replace(change, adds=adds, removes=removes, rows_removed=matched.count)

    def _by_history(self, change: Change) -> Change:
        """The change with every version of a row, and the range in which it held."""
        from asgard.lake.history import HistoryIndex, revised
        from asgard.lake.merge import Keys

        request, columns = self._request, change.columns
        assert request.history is not None
        snapshot = change.base.snapshot if not change.base.replaces else None
        whole = request.history.closes_at is not None
        paths = {self._folder.absolute(file.path): file for file in change.adds}
        there: dict[str, LakeFile] = {}
        keys = Keys(request.keys, deleted=request.deleted)
        with HistoryIndex(self._folder, list(paths), keys, request.memory_bytes) as index:
            if snapshot is not None:
                bounds = {} if whole or not paths else _of_one_type(index.bounds(), columns)
                files = snapshot.files(bounds) if whole or paths else []
                there = {snapshot.absolute(file.path): file for file in files}
                self._folder.know({path: file.size_bytes for path, file in there.items()})
            if not paths and not there:
                return change
            revisions = index.revisions(list(there), columns.staged, request.history, columns.wider)
            rows = partial(revised, self._folder, revisions)
            adds = (
                *(file for path, file in paths.items() if path not in revisions.came),
                *self._anew(revisions.came, rows, columns.staged),
                *self._anew(revisions.there, rows, columns.table),
            )
        removes = tuple(there[path] for path in revisions.there)
        return replace(change, adds=adds, removes=removes, rows_removed=revisions.superseded)

    def _without_vanished(self, change: Change) -> Change:
        """The change without the rows whose key is not staged: what is staged are keys, that do not stay."""
        from asgard.lake.history import HistoryIndex, revised
        from asgard.lake.merge import KeyIndex, Keys

        request, snapshot = self._request, change.base.snapshot
        paths = [self._folder.absolute(file.path) for file in change.adds]
        change = replace(change, adds=())
        if snapshot is None or change.base.replaces:
            return change
        there = {snapshot.absolute(file.path): file for file in snapshot.files()}
        self._folder.know({path: file.size_bytes for path, file in there.items()})
        given = (self._folder, paths, Keys(request.keys), request.memory_bytes)
        if request.mode is Mode.HISTORY:
            assert request.history is not None
            assert request.history.closes_at is not None
            with HistoryIndex(*given) as ranges:
                revisions = ranges.ended(list(there), request.history.closes_at)
                rows = partial(revised, self._folder, revisions)
                adds = self._anew(revisions.there, rows, change.columns.table)
            return replace(change, adds=adds, removes=tuple(there[path] for path in revisions.there))
        with KeyIndex(*given) as index:
            absent = index.absent(list(there))
            adds = self._without(absent.files, absent, change.columns.table)
        removes = tuple(there[path] for path in absent.files)
        return replace(change, adds=adds, removes=removes, rows_removed=absent.count)

    def _without(
        self, files: Sequence[str], places: Places | None, schema: pa.Schema
    ) -> tuple[DataFile, ...]:
        """The files written anew without some rows."""
        if places is None:
            return ()
        rows = places.rows
        return self._anew(files, lambda some, plain: rows_of(self._folder, some, plain, rows), schema)

    def _anew(self, files: Sequence[str], rows: RowsOf, schema: pa.Schema) -> tuple[DataFile, ...]:
        """Files for the rows of other files: neighbours together, so that their bounds stay narrow."""
        if not files:
            return ()
        plain = pa.schema([column.remove_metadata() for column in schema])
        writers = min(max(self._request.memory_bytes // WRITER_BYTES, 1), MOST_WRITERS)
        share = -(-len(files) // writers)
        shares = [files[start : start + share] for start in range(0, len(files), share)]
        with ThreadPoolExecutor(writers, "rewrite") as pool:
            done = pool.map(lambda some: self._write(schema, rows(some, plain)), shares)
            return tuple(file for staged in done for file in staged.files)


def _of_one_type(bounds: Bounds, columns: Columns) -> Bounds:
    """Bounds that the figures of the table's files can be compared with: not of keys that become wider."""
    return {name: pair for name, pair in bounds.items() if name not in columns.wider}


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
