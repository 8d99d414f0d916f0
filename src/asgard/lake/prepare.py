"""Works out what a load adds and removes: by mode, on a base version, without anybody seeing it.

It knows how the modes turn into files. Where rows lie is asked of `lake.merge`; the load writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from asgard.core.errors import DataError
from asgard.core.stream import Mode
from asgard.core.table import DataFile, LoadRequest, Staged
from asgard.lake.change import Change, check_file
from asgard.lake.pinned import Base, Columns
from asgard.lake.rewrite import rows_of
from asgard.lake.snapshot import LakeFile

if TYPE_CHECKING:
    from asgard.lake.merge import Places

Write = Callable[[pa.Schema, Iterator[pa.RecordBatch]], Staged]
"""Writes rows to durable files of the load; from any thread."""

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

    def __init__(self, folder: Path, request: LoadRequest, write: Write) -> None:
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
        if base.replaces and base.snapshot is not None:
            change = replace(change, rows_removed=base.snapshot.total_rows)
        if self._request.keys and self._request.mode is not Mode.REPLACE:
            _check_keys(files, self._request.keys)
            change = self._by_key(change)
        return change

    def _by_key(self, change: Change) -> Change:
        """The change with one row a key."""
        from asgard.lake.merge import KeyIndex, Keys  # with DuckDB: 30 MB that only keys are worth

        request, base, files = self._request, change.base, change.adds
        looks = request.mode is Mode.MERGE or request.keep_existing
        snapshot = base.snapshot if looks and not base.replaces else None
        if not files or (request.keys_unique and (snapshot is None or not snapshot.files())):
            return change
        paths = {str(self._folder / file.path): file for file in files}
        there: dict[str, LakeFile] = {}
        with KeyIndex(list(paths), Keys(request.keys, request.order_by), request.memory_bytes) as index:
            if snapshot is not None:
                there = {snapshot.absolute(file.path): file for file in snapshot.files(index.bounds())}
            if request.mode is Mode.MERGE:
                matched = index.matched(list(there))
                unwanted = None if request.keys_unique else index.repeated()
            else:
                matched = None
                unwanted = index.repeated_or_known(list(there), not request.keys_unique)
            shorter = unwanted.files if unwanted else ()
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

    def _without(
        self, files: Sequence[str], places: Places | None, schema: pa.Schema
    ) -> tuple[DataFile, ...]:
        """The files written anew without some rows: neighbours together, so that their bounds stay narrow."""
        if places is None or not files:
            return ()
        plain = pa.schema([column.remove_metadata() for column in schema])
        writers = min(max(self._request.memory_bytes // WRITER_BYTES, 1), MOST_WRITERS)
        share = -(-len(files) // writers)
        shares = [files[start : start + share] for start in range(0, len(files), share)]
        with ThreadPoolExecutor(writers, "rewrite") as pool:
            done = pool.map(lambda some: self._write(schema, rows_of(some, plain, places.rows)), shares)
            return tuple(file for staged in done for file in staged.files)


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
