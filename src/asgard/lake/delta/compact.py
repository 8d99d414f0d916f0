"""Puts files of a table together: small ones, so that a table of many commits stays quick to read, and those
that lie over one another by key, so that merges and queries open few (`clusters`).

A file is written anew at most once for each of a dozen sizes: files of about one size are put together when
`FEW` of them lie there, the smallest size first, so a table of any number of commits has a few dozen files.
One call does one such step, bounded by `STEP_BYTES`.

Rows are only moved: the commit says so (no data change), positions stay true over it, and `undo` passes over
it. It yields to writers: it stands aside as soon as a file that it put together is gone, and where another
commit was merely faster, it tries again with what it has. A load that it made work its change out anew is not
disturbed a second time.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from asgard.core.budget import MEBIBYTE
from asgard.core.table import Compacted, DataFile, Upkeep
from asgard.lake.boundaries import reach
from asgard.lake.delta import clusters, log_writer
from asgard.lake.delta.commits import (
    CLUSTER_BY,
    COMPACTED,
    LOG,
    MARK,
    checkpoint,
    clustered_by,
    grown_to,
    log_name,
    sync_log,
)
from asgard.lake.delta.publish import CHECKPOINT_EVERY, NO_HOOKS
from asgard.lake.delta.snapshot import LakeFile, Snapshot
from asgard.lake.folder import Folder, Ticket
from asgard.lake.leftovers import LOADS, outcome, settle
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.rewrite import rows_of
from asgard.lake.schemas import to_delta

FEW = 8
SMALLEST_TIER_BYTES = MEBIBYTE // 4
GROWTH = 4
STEP_BYTES = 128 * MEBIBYTE
MOST_ATTEMPTS = 10
MOST_GONE = 0.1
"""A file is written anew when so large a share of its rows is gone (deletion vectors)."""


@dataclass(frozen=True)
class Wish:
    """How a step is to go.

    Attributes:
        run: id of the run, for the commit's metadata.
        stopped: asked between batches: gives up, and leaves the table as it is.
        alone: held while the commit is made: no load of this process publishes meanwhile.
        limits: of row groups and files.
        order_by: columns whose ranges are to be narrow in every file.
        disturbed: names of the loads that were under way when a step before this one committed.
    """

    run: str
    stopped: Callable[[], bool]
    alone: Callable[[], AbstractContextManager[object]]
    limits: Limits = field(default_factory=Limits)
    order_by: Sequence[str] = ()
    disturbed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Step:
    """What is to be written anew: these files, in the order of these columns if there are any."""

    files: Sequence[LakeFile]
    order_by: tuple[str, ...]
    limits: Limits


def compact(folder: Folder, wish: Wish) -> Compacted | None:
    """Does one step, if there is one to do.

    Returns:
        None when there was nothing to do, or somebody else was in the way.
    """
    snapshot = Snapshot.open(folder)
    step = next_step(snapshot, wish.limits, wish.order_by) if snapshot is not None else None
    if snapshot is None or step is None or _busy(folder, wish):
        return None
    lost, ticket = folder.lost_loads(), folder.announce(snapshot.version)
    committed: set[str] | None = set()
    try:
        written = _written(folder, snapshot, step, ticket, wish.stopped)
        if written is None or not _is_better(snapshot, step, written):
            return None
        reach("rows_moved")
        committed = None  # from here on only the log says what became of them
        version = _commit(folder, wish, snapshot, step.files, written)
        if version is None:
            return None
        committed = {file.path for file in written}
        reach("moved")
        wish.disturbed.update(_loads(folder) - {ticket.load})
        sync_log(folder, version)
        lost.sweep(ticket)
        if version % CHECKPOINT_EVERY == 0:
            checkpoint(folder)
        size_bytes = sum(file.size_bytes for file in written)
        return Compacted(version, len(step.files), len(written), size_bytes)
    finally:
        known = committed
        settle(folder, ticket, lambda: outcome(folder, ticket, snapshot.version) if known is None else known)


def upkeep(folder: Folder, limits: Limits, order_by: Sequence[str] | None) -> Upkeep:
    """How the table lies, in an order; None for that of its newest load."""
    snapshot = Snapshot.open(folder)
    if snapshot is None or not snapshot.is_ours:
        return Upkeep()
    by = clustered_by(folder, snapshot.version) if order_by is None else tuple(order_by)
    step = next_step(snapshot, limits, by)
    entries = sum(name.endswith(".json") for name in (folder / LOG).files())
    deep = clusters.depth(_spans(snapshot, clusters.clusterable(snapshot.schema, by)))
    if step is None:
        return Upkeep(depth=deep, entries=entries, order_by=by)
    return Upkeep(len(step.files), sum(file.size_bytes for file in step.files), deep, entries, by)


def next_step(snapshot: Snapshot, limits: Limits, order_by: Sequence[str]) -> Step | None:
    """What is best done next; None when nothing is."""
    if not snapshot.is_ours or not snapshot.is_flat or not snapshot.total_rows:
        return None
    files, columns = snapshot.files(), clusters.clusterable(snapshot.schema, order_by)
    if columns:
        limits = replace(limits, table_bytes=sum(file.size_bytes for file in files))
    chosen = chosen_files(files, limits.next_file_bytes(0))
    if not chosen:
        chosen = thinned(files)
    if not chosen and columns:
        chosen = clusters.deepest_of_a_size(_spans(snapshot, columns), _tier, STEP_BYTES)
    return Step(chosen, columns, limits) if chosen else None


def chosen_files(files: Sequence[LakeFile], file_bytes: int) -> list[LakeFile]:
    """The files of the next step: those of the smallest size of which there are enough, and smaller ones."""
    tiers: dict[int, list[LakeFile]] = {}
    for file in files:
        if file.size_bytes < file_bytes // 2:
            tiers.setdefault(_tier(file.size_bytes), []).append(file)
    for tier in sorted(tiers):
        if len(tiers[tier]) >= FEW:
            chosen: list[LakeFile] = []
            size_bytes = 0
            for file in sorted(
                (one for lower, some in tiers.items() if lower <= tier for one in some),
                key=lambda one: one.size_bytes,
            ):
                if chosen and size_bytes + file.size_bytes > STEP_BYTES:
                    break
                chosen.append(file)
                size_bytes += file.size_bytes
            return chosen
    return []


def thinned(files: Sequence[LakeFile]) -> list[LakeFile]:
    """The files of which so many rows are gone that reading past them costs more than writing them anew."""
    chosen: list[LakeFile] = []
    size_bytes = 0
    for file in files:
        gone = file.vector.rows if file.vector is not None else 0
        if gone and gone >= MOST_GONE * (gone + (file.rows or 0)):
            if chosen and size_bytes + file.size_bytes > STEP_BYTES:
                break
            chosen.append(file)
            size_bytes += file.size_bytes
    return chosen


def _tier(size_bytes: int) -> int:
    tier, most = 0, SMALLEST_TIER_BYTES
    while size_bytes >= most:
        tier, most = tier + 1, most * GROWTH
    return tier


def _spans(snapshot: Snapshot, columns: Sequence[str]) -> list[clusters.Span]:
    if not columns:
        return []
    return clusters.spans(snapshot.adds, {file.path: file for file in snapshot.files()}, columns)


def _is_better(snapshot: Snapshot, step: Step, written: Sequence[DataFile]) -> bool:
    """Whether fewer files are there, or fewer lie over one another: else the next step would be the same."""
    thinner = any(file.vector for file in step.files)
    if len(written) < len(step.files) or not step.order_by or thinner:
        return True
    gone = {file.path for file in step.files}
    before = _spans(snapshot, step.order_by)
    come = clusters.spans_of(written, snapshot.schema, step.order_by)
    after = [*(one for one in before if one.file.path not in gone), *come]
    return clusters.crossings(after) < clusters.crossings(before)


# ---- rows


def _written(
    folder: Folder, snapshot: Snapshot, step: Step, ticket: Ticket, stopped: Callable[[], bool]
) -> tuple[DataFile, ...] | None:
    """The rows in files that nobody names yet; None when it was stopped."""
    files = ParquetFiles(folder, ticket.new_name, snapshot.schema, step.limits, step.order_by)
    try:
        for batch in _rows(folder, snapshot, step, stopped):
            if stopped():
                files.abandon()
                return None
            files.write(batch)
        return None if stopped() else files.finish()
    except BaseException:
        ticket.doubt()
        files.abandon()
        raise


def _rows(
    folder: Folder, snapshot: Snapshot, step: Step, stopped: Callable[[], bool]
) -> Iterator[pa.RecordBatch]:
    plain = pa.schema([column.remove_metadata() for column in snapshot.schema])
    paths = {snapshot.absolute(file.path): file.size_bytes for file in step.files}
    folder.know(paths)
    gone = snapshot.gone(step.files).__getitem__
    if not step.order_by:
        return rows_of(folder, list(paths), plain, gone)
    from asgard.lake.sorting import Unordered, sorted_rows  # with DuckDB: 30 MB that only an order is worth

    return sorted_rows(Unordered(folder, list(paths), plain, step.order_by, gone), stopped)


# ---- the commit


def _loads(folder: Folder) -> set[str]:
    """Names of the loads that are announced."""
    return {name.removesuffix(".json") for name in (folder / LOADS).files()}


def _busy(folder: Folder, wish: Wish) -> bool:
    """Whether a load is under way that had to work its change out anew for a step before this one."""
    return bool(wish.disturbed & _loads(folder))


def _commit(
    folder: Folder, wish: Wish, snapshot: Snapshot, gone: Sequence[LakeFile], come: Sequence[DataFile]
) -> int | None:
    """The version of the commit; None when one of the files is not the table's any more."""
    moved, started = {*gone}, snapshot.version
    seen = snapshot.log_identity()
    for attempt in range(MOST_ATTEMPTS):
        with wish.alone():
            if _busy(folder, wish):
                return None
            # A log that was exchanged may end before this version: a commit behind it would leave a gap.
            version = grown_to(folder, snapshot.version) if _identity_of(snapshot) == seen else None
            if version is None or not snapshot.takes_plain_commits:
                found = Snapshot.open(folder)
                # Of a file somebody may have marked more rows as deleted: then it is another one.
                if found is None or not found.is_flat or not moved <= {*found.files()}:
                    return None
                snapshot, version, seen = found, found.version, found.log_identity()
            try:
                return _put(snapshot, version, wish, gone, come)
            except Exception as error:
                # The log says what happened, never the exception (protocol, line 11).
                landed = _version_with(folder, come[0].path, started)
                if landed is not None:
                    return landed
                if not isinstance(error, CommitFailedError):
                    raise
        time.sleep(random.uniform(0.5, 1.0) * 0.01 * attempt)
    return None


def _identity_of(snapshot: Snapshot) -> tuple[object, ...] | None:
    with suppress(FileNotFoundError):
        return snapshot.log_identity()
    return None


def _put(
    snapshot: Snapshot, version: int, wish: Wish, gone: Sequence[LakeFile], come: Sequence[DataFile]
) -> int:
    """Commits as the version after that one, or not at all."""
    told = {MARK: "1", "asgard.run": wish.run, "asgard.mode": COMPACTED}
    if wish.order_by:
        told[CLUSTER_BY] = json.dumps([*wish.order_by])
    if snapshot.takes_plain_commits or any(file.vector for file in gone):
        comes = [log_writer.added(file, moves_rows=True) for file in come]
        goes = [log_writer.removed(file, moves_rows=True) for file in gone]
        return log_writer.put_commit(snapshot.folder, version + 1, [*comes, *goes], told)
    now = int(time.time() * 1000)
    snapshot.handle.create_write_transaction(
        [
            *(AddAction(f.path, f.size_bytes, {}, now, False, f.stats) for f in come),
            *(RemoveAction(unquote(f.path), False, now, f.size_bytes, {}) for f in gone),
        ],
        "append",
        to_delta(snapshot.schema),
        commit_properties=CommitProperties(custom_metadata=told, max_commit_retries=0),
        post_commithook_properties=NO_HOOKS,
    )
    return version + 1


def _version_with(folder: Folder, path: str, since: int) -> int | None:
    """The version after that one whose commit names the file; None when none does."""
    log, version = folder / LOG, since
    with suppress(FileNotFoundError):
        while True:
            version += 1
            if path.encode() in log.read(log_name(version)):
                return version
    return None
