"""Puts small files of a table together, in the steps and sizes of Delta's (`lake.delta.compact`).

Rows are only moved, and the snapshot says so (operation replace): positions stay true over it, other engines
that follow the table's changes see none, and `undo` passes over it. It yields to writers: it stands aside as
soon as a file that it put together is gone, or another writer marked rows as deleted, and where another
commit was merely faster, it tries again with what it has.

Reference: https://iceberg.apache.org/spec/#snapshots
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.snapshots import Operation

from asgard.core.errors import DataError
from asgard.core.table import Compacted, DataFile, Upkeep
from asgard.lake.boundaries import reach
from asgard.lake.delta.clusters import clusterable
from asgard.lake.delta.commits import CLUSTER_BY, COMPACTED
from asgard.lake.delta.compact import MOST_ATTEMPTS, Wish, chosen_files
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.folder import Ticket
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.files import data_file
from asgard.lake.iceberg.leftovers import lost_loads, settle, sweep
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.leftovers import LOADS
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.rewrite import rows_of


def compact(place: Place, wish: Wish) -> Compacted | None:
    """Does one step, if there is one to do.

    Returns:
        None when there was nothing to do, or somebody else was in the way.
    """
    snapshot = Snapshot.open(place)
    step = next_step(snapshot, wish.limits) if snapshot is not None else []
    if snapshot is None or not step or _busy(place, wish):
        return None
    lost, ticket = lost_loads(place.folder), place.folder.announce(snapshot.version)
    committed: set[str] | None = set()
    try:
        written = _written(snapshot, step, ticket, wish)
        if written is None:
            return None
        reach("rows_moved")
        committed = None  # from here on only the table says what became of them
        version = _commit(place, wish, snapshot, step, written)
        committed = {file.path for file in written} if version is not None else set()
        if version is None:
            return None
        reach("moved")
        wish.disturbed.update(_loads(place) - {ticket.load})
        sweep(place, lost)
        return Compacted(version, len(step), len(written), sum(file.size_bytes for file in written))
    finally:
        known = committed
        settle(place, ticket, lambda: known)


def upkeep(place: Place, limits: Limits, order_by: Sequence[str] | None) -> Upkeep:
    """How the table lies. Its files are not told apart by key.

    Args:
        order_by: columns that its rows are to be in order of; None: those that its newest load named.
    """
    snapshot = Snapshot.open(place)
    if snapshot is None or not snapshot.is_ours:
        return Upkeep()
    step = next_step(snapshot, limits)
    entries = len(snapshot.handle.metadata.snapshots)
    columns = _last_order(snapshot) if order_by is None else tuple(order_by)
    return Upkeep(len(step), sum(file.size_bytes for file in step), 0, entries, columns)


def _last_order(snapshot: Snapshot) -> tuple[str, ...]:
    one = snapshot.at
    while one is not None:
        told = one.summary.additional_properties if one.summary else {}
        if CLUSTER_BY in told or "asgard.load" in told:
            return tuple(json.loads(told.get(CLUSTER_BY, "[]")))
        parent = one.parent_snapshot_id
        one = None if parent is None else snapshot.handle.metadata.snapshot_by_id(parent)
    return ()


def next_step(snapshot: Snapshot, limits: Limits) -> list[LakeFile]:
    """The files that are best put together next; none where nothing is to be done."""
    if not snapshot.is_ours or not _is_writable(snapshot) or not snapshot.total_rows:
        return []
    return chosen_files(snapshot.files(), limits.next_file_bytes(0))


def _is_writable(snapshot: Snapshot) -> bool:
    with suppress(DataError):
        snapshot.check_writable()
        return True
    return False


def _written(
    snapshot: Snapshot, step: Sequence[LakeFile], ticket: Ticket, wish: Wish
) -> tuple[DataFile, ...] | None:
    """The rows in files that nobody names yet; None when it was stopped."""
    columns = clusterable(snapshot.schema, wish.order_by)
    limits = replace(wish.limits, table_bytes=snapshot.size_bytes) if columns else wish.limits
    files = ParquetFiles(snapshot.folder, ticket.new_name, snapshot.schema, limits, columns)
    try:
        for batch in _rows(snapshot, step, columns, wish):
            if wish.stopped():
                files.abandon()
                return None
            files.write(batch)
        return None if wish.stopped() else files.finish()
    except BaseException:
        ticket.doubt()
        files.abandon()
        raise


def _rows(
    snapshot: Snapshot, step: Sequence[LakeFile], columns: Sequence[str], wish: Wish
) -> Iterator[pa.RecordBatch]:
    """All rows of the files, in the order of the columns if there are any."""
    plain = pa.schema([column.remove_metadata() for column in snapshot.schema])
    paths = [snapshot.absolute(file.path) for file in step]
    if not columns:
        return rows_of(snapshot.folder, paths, plain)
    from asgard.lake.sorting import Unordered, sorted_rows  # with DuckDB: 30 MB that only an order is worth

    return sorted_rows(Unordered(snapshot.folder, paths, plain, columns), wish.stopped)


# ---- the commit


def _loads(place: Place) -> set[str]:
    return {name.removesuffix(".json") for name in (place.folder / LOADS).files()}


def _busy(place: Place, wish: Wish) -> bool:
    """Whether a load is under way that had to work its change out anew for a step before this one."""
    return bool(wish.disturbed & _loads(place))


def _commit(
    place: Place, wish: Wish, base: Snapshot, gone: Sequence[LakeFile], come: Sequence[DataFile]
) -> int | None:
    """The version of the commit; None when one of the files is not the table's any more."""
    paths = {file.path for file in gone}
    adds = [data_file(place.data, file, base.schema) for file in come]
    told = {"asgard.run": wish.run, "asgard.mode": COMPACTED}
    if wish.order_by:
        told[CLUSTER_BY] = json.dumps([*wish.order_by])
    for attempt in range(MOST_ATTEMPTS):
        with wish.alone():
            snapshot = Snapshot.open(place)
            if snapshot is None or not _is_writable(snapshot) or _busy(place, wish):
                return None
            if not paths <= {file.path for file in snapshot.files()}:
                return None
            draft = Draft(place, snapshot)
            try:
                draft.commit(Edit(adds, paths, Operation.REPLACE, told))
            except CommitFailedException:
                pass
            except Exception:
                # The table says what happened, never the exception.
                now = place.handle()
                if now is None or now.metadata.snapshot_by_id(draft.snapshot_id) is None:
                    raise
                return draft.sequence
            else:
                return draft.sequence
        time.sleep(random.uniform(0.5, 1.0) * 0.01 * attempt)
    return None
