"""Puts small files of a table together, so that a table of many commits stays quick to read.

A file is written anew at most once for each of `TIERS` sizes: files of about one size are put together when
`FEW` of them lie there, the smallest size first, so a table of any number of commits has a few dozen files.
One call does one such step, bounded by `STEP_BYTES`.

Rows are only moved: the commit says so (no data change), positions stay true over it, and `undo` passes over
it. It yields to writers: it stands aside as soon as a file that it put together is gone, and where another
commit was merely faster, it tries again with what it has.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from asgard.core.budget import MEBIBYTE
from asgard.core.table import Compacted, DataFile
from asgard.lake.delta.commits import COMPACTED, LOG, MARK, checkpoint, log_name, sync_log
from asgard.lake.delta.publish import CHECKPOINT_EVERY, NO_HOOKS
from asgard.lake.delta.snapshot import LakeFile, Snapshot
from asgard.lake.folder import Folder
from asgard.lake.leftovers import outcome, settle
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.rewrite import rows_of
from asgard.lake.schemas import to_delta

FEW = 8
SMALLEST_TIER_BYTES = MEBIBYTE // 4
GROWTH = 4
STEP_BYTES = 128 * MEBIBYTE
MOST_ATTEMPTS = 10


def compact(
    folder: Folder,
    run: str,
    stopped: Callable[[], bool],
    alone: Callable[[], AbstractContextManager[object]],
    limits: Limits | None = None,
) -> Compacted | None:
    """Does one step, if there is one to do.

    Args:
        folder: the table's folder.
        run: id of the run, for the commit's metadata.
        stopped: asked between batches: gives up, and leaves the table as it is.
        alone: held while the commit is made: no load of this process publishes meanwhile.
        limits: of row groups and files.

    Returns:
        None when there was nothing to do, or somebody else was in the way.
    """
    snapshot = Snapshot.open(folder)
    if snapshot is None or not snapshot.is_ours or not snapshot.is_plain or not snapshot.total_rows:
        return None
    sizes = limits or Limits()
    chosen = chosen_files(snapshot.files(), sizes.file_bytes)
    if not chosen:
        return None
    lost, ticket = folder.lost_loads(), folder.announce(snapshot.version)
    committed: set[str] | None = set()
    try:
        plain = pa.schema([column.remove_metadata() for column in snapshot.schema])
        files = ParquetFiles(folder, ticket.new_name, snapshot.schema, sizes)
        for batch in rows_of(folder, [snapshot.absolute(file.path) for file in chosen], plain):
            if stopped():
                return None
            files.write(batch)
        written = files.finish()
        committed = None  # from here on only the log says what became of them
        version = _commit(folder, run, chosen, written, alone)
        if version is None:
            return None
        committed = {file.path for file in written}
        sync_log(folder, version)
        lost.sweep(ticket)
        if version % CHECKPOINT_EVERY == 0:
            checkpoint(folder)
        return Compacted(version, len(chosen), len(written), sum(file.size_bytes for file in written))
    finally:
        known = committed
        settle(folder, ticket, lambda: outcome(folder, ticket, snapshot.version) if known is None else known)


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


def _tier(size_bytes: int) -> int:
    tier, most = 0, SMALLEST_TIER_BYTES
    while size_bytes >= most:
        tier, most = tier + 1, most * GROWTH
    return tier


def _commit(
    folder: Folder,
    run: str,
    gone: Sequence[LakeFile],
    come: Sequence[DataFile],
    alone: Callable[[], AbstractContextManager[object]],
) -> int | None:
    """The version of the commit; None when one of the files is not the table's any more."""
    now = int(time.time() * 1000)
    paths = {file.path for file in gone}
    adds = [AddAction(f.path, f.size_bytes, {}, now, False, f.stats) for f in come]
    removes = [RemoveAction(unquote(f.path), False, now, f.size_bytes, {}) for f in gone]
    for attempt in range(MOST_ATTEMPTS):
        with alone():
            snapshot = Snapshot.open(folder)
            if snapshot is None or not snapshot.is_plain:  # another writer may have marked rows as deleted
                return None
            if not paths <= {file.path for file in snapshot.files()}:
                return None
            try:
                snapshot.handle.create_write_transaction(
                    [*adds, *removes],
                    "append",
                    to_delta(snapshot.schema),
                    commit_properties=CommitProperties(
                        custom_metadata={MARK: "1", "asgard.run": run, "asgard.mode": COMPACTED},
                        max_commit_retries=0,  # the very next version, or none
                    ),
                    post_commithook_properties=NO_HOOKS,
                )
            except Exception as error:
                # The log says what happened, never the exception (protocol, line 11).
                landed = _version_with(folder, come[0].path, snapshot.version)
                if landed is not None:
                    return landed
                if not isinstance(error, CommitFailedError):
                    raise
            else:
                return snapshot.version + 1
        time.sleep(random.uniform(0.5, 1.0) * 0.05 * (attempt + 1))
    return None


def _version_with(folder: Folder, path: str, since: int) -> int | None:
    """The version after that one whose commit names the file; None when none does."""
    log, version = folder / LOG, since
    with suppress(FileNotFoundError):
        while True:
            version += 1
            if path.encode() in log.read(log_name(version)):
                return version
    return None
