"""Works out what a load adds and removes: by mode, on a base version, without anybody seeing it.

It knows how the modes turn into files. Where rows lie is asked of `lake.merge`; the load writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pyroaring import BitMap64

from asgard.core.errors import DataError
from asgard.core.stream import Mode
from asgard.core.table import DataFile, LoadRequest, Staged
from asgard.lake.change import Change, Mark, check_file
from asgard.lake.columns import Columns
from asgard.lake.delta.deletion_vectors import VectorFiles, numbers, united
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


@dataclass(frozen=True)
class Marking:
    """When rows of the table's files are marked as deleted, instead of the file being written anew.

    Attributes:
        gone_share: as `Limits` has it.
        least_bytes: of a file.
        write: writes deletion vectors to durable files of the load.
    """

    gone_share: float
    least_bytes: int
    write: Callable[[Iterable[BitMap64]], VectorFiles]

    def takes(self, file: LakeFile, rows: int) -> bool:
        """Whether so many more rows of a file are to be marked."""
        if file.rows is None or file.size_bytes < self.least_bytes:
            return False
        before = file.vector.rows if file.vector else 0
        return before + rows <= self.gone_share * (before + file.rows)


class Preparation:
    """Prepares one load, as often as it takes.

    Args:
        folder: the table's folder.
        request: what the load is to do.
        write: writes files of the load.
        marking: when rows are marked as deleted.
    """

    def __init__(self, folder: Folder, request: LoadRequest, write: Write, marking: Marking) -> None:
        self._folder = folder
        self._request = request
        self._write = write
        self._marking = marking

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
        if change.base.snapshot is None:
            return change
        gone = {file.path for file in change.removes}
        kept = {path: file for path, file in self._near(change).items() if file.path not in gone}
        rows = partial(rows_of, self._folder, without=change.base.gone.__getitem__)
        adds = self._anew(list(kept), rows, change.columns.table)
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
        keys = Keys(request.keys, request.order_by, request.deleted)
        with KeyIndex(self._folder, list(paths), keys, request.memory_bytes, base.gone) as index:
            there = self._near(change, index.bounds()) if snapshot is not None else {}
            if request.mode is Mode.MERGE:
                matched = index.matched(list(there))
                unwanted = index.unwanted(not request.keys_unique)
            else:
                matched = None
                unwanted = index.repeated_or_known(list(there), not request.keys_unique)
            shorter = unwanted.files
            kept = (file for path, file in paths.items() if path not in shorter)
            change = replace(change, adds=(*kept, *self._without(unwanted, shorter, change.columns.staged)))
            return change if matched is None else self._left_out(change, there, matched)

    def _by_history(self, change: Change) -> Change:
        """The change with every version of a row, and the range in which it held."""
        from asgard.lake.history import HistoryIndex, revised
        from asgard.lake.merge import Keys

        request, columns, gone = self._request, change.columns, change.base.gone
        assert request.history is not None
        whole = request.history.closes_at is not None
        paths = {self._folder.absolute(file.path): file for file in change.adds}
        keys = Keys(request.keys, deleted=request.deleted)
        with HistoryIndex(self._folder, list(paths), keys, request.memory_bytes, gone) as index:
            bounds = {} if whole or not paths else index.bounds()
            there = self._near(change, bounds) if whole or paths else {}
            if not paths and not there:
                return change
            revisions = index.revisions(list(there), columns.staged, request.history, columns.wider)
            rows = partial(revised, self._folder, revisions, gone)
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

        request, gone = self._request, change.base.gone
        paths = [self._folder.absolute(file.path) for file in change.adds]
        change = replace(change, adds=())
        if not (there := self._near(change)):
            return change
        given = (self._folder, paths, Keys(request.keys), request.memory_bytes, gone)
        if request.mode is Mode.HISTORY:
            assert request.history is not None
            assert request.history.closes_at is not None
            with HistoryIndex(*given) as ranges:
                revisions = ranges.ended(list(there), request.history.closes_at)
                rows = partial(revised, self._folder, revisions, gone)
                adds = self._anew(revisions.there, rows, change.columns.table)
            return replace(change, adds=adds, removes=tuple(there[path] for path in revisions.there))
        with KeyIndex(*given) as index:
            return self._left_out(change, there, index.absent(list(there)))

    def _near(self, change: Change, bounds: Bounds | None = None) -> dict[str, LakeFile]:
        """The table's files that may hold keys, by where they lie; none when all rows are replaced.

        Args:
            change: of the table.
            bounds: of the keys; None or empty for all files.
        """
        snapshot = change.base.snapshot
        if snapshot is None or change.base.replaces:
            return {}
        files = snapshot.files(_of_one_type(bounds or {}, change.columns))
        there = {snapshot.absolute(file.path): file for file in files}
        self._folder.know({path: file.size_bytes for path, file in there.items()})
        return there

    def _left_out(self, change: Change, there: Mapping[str, LakeFile], places: Places) -> Change:
        """The change without some rows of the table: marked as deleted where few of a file go, else by the
        file being written anew."""
        marked: list[str] = []
        if change.base.may_be_marked and not change.columns.wider:
            marked = [path for path in places.files if self._marking.takes(there[path], places.counts[path])]
        anew = [path for path in places.files if path not in {*marked}]
        gone = change.base.gone
        written = self._marking.write(united(gone[path], places.rows(path)) for path in marked)
        marks = (Mark(there[path], vector) for path, vector in zip(marked, written.vectors, strict=True))
        return replace(
            change,
            adds=(*change.adds, *self._without(places, anew, change.columns.table, gone)),
            removes=tuple(there[path] for path in anew),
            marks=tuple(marks),
            vector_files=written.sizes,
            rows_removed=places.count,
        )

    def _without(
        self,
        places: Places,
        files: Sequence[str],
        schema: pa.Schema,
        gone: Mapping[str, pa.Int64Array] | None = None,
    ) -> tuple[DataFile, ...]:
        """The files written anew without some rows, and without those that were gone before."""

        def lost(path: str) -> pa.Int64Array:
            return numbers(united(places.rows(path), gone[path])) if gone else places.rows(path)

        return self._anew(files, lambda some, plain: rows_of(self._folder, some, plain, lost), schema)

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
