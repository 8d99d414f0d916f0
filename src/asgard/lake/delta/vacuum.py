"""Deletes data files that no version needs any more which somebody may still ask for, and what was left.

Versions younger than a bound stay readable, and so do loads that are on their way: a file goes when it is
ours by its name, no version from the bound on names it, and no load that is announced wrote it. What another
writer left is not touched: nothing says whether it is still at work. The same is true of the quarantine twin.
Beside data files, drafts go that never got their name.

The order keeps that true while others write: first the files are listed, then the announced loads, then the
log is read. A file on the list whose load is not announced any more was committed before the log was read.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from asgard.core.table import Vacuumed
from asgard.lake.boundaries import reach
from asgard.lake.delta import deletion_vectors
from asgard.lake.delta.commits import LOG, log_name, newest_at
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.folder import PREFIX, Folder
from asgard.lake.leftovers import LOADS

OURS = re.compile(re.escape(PREFIX) + r"(?P<load>[0-9a-f]{32})-[0-9a-f]{12}\.parquet")
DRAFT = re.compile(r"(_asgard|_delta_log)/(.+/)?(\.[^/]+(?<!\.crc)|_commit_[^/]+\.tmp)(#[0-9]+)?")
DRAFTS_LIVE = timedelta(hours=1)
"""Longer than it takes to write a small document: it has its name then, or its writer was killed."""
BATCH_FILES = 200


def vacuum(folder: Folder, before: datetime, dry_run: bool) -> Vacuumed:
    """Deletes what only versions need that were replaced before an instant.

    Args:
        folder: the table's folder.
        before: versions that were the newest one at this instant or later stay readable.
        dry_run: deletes nothing and says what would go.
    """
    places = [folder, *Quarantine(folder).generations()]
    listed = [[*place.files(PREFIX), *place.files(deletion_vectors.VECTOR_PREFIX)] for place in places]
    announced = {name.removesuffix(".json") for name in (folder / LOADS).files()}
    snapshot = Snapshot.open(folder)
    if snapshot is None or not snapshot.is_ours:
        return Vacuumed(0, 0, -1)
    old = min(before, datetime.now(UTC) - DRAFTS_LIVE)
    drafts = [name for name, at in folder.tree().items() if at < old and DRAFT.fullmatch(name)]
    files, size_bytes = _deleted(folder, drafts, dry_run)
    for place, names in zip(places, listed, strict=True):
        gone = _unneeded(place, names, announced, before)
        count, bytes_of_place = _deleted(place, gone, dry_run)
        files, size_bytes = files + count, size_bytes + bytes_of_place
    return Vacuumed(files, size_bytes, newest_at(folder, snapshot.version, before))


def _unneeded(folder: Folder, names: list[str], announced: set[str], before: datetime) -> list[str]:
    """The files that no load under way wrote and no kept version names."""
    snapshot = Snapshot.open(folder)
    if snapshot is None:
        return []
    oldest = newest_at(folder, snapshot.version, before)
    needed = {*_names_at(folder, oldest), *_names_since(folder, oldest, snapshot.version)}
    found = [(name, OURS.fullmatch(name)) for name in names]
    gone = [name for name, ours in found if ours and ours["load"] not in announced and name not in needed]
    marks = filter(deletion_vectors.OURS.fullmatch, names)
    lost = (name for name in marks if name not in needed and not deletion_vectors.is_of(name, announced))
    return [*gone, *lost]


def _deleted(folder: Folder, names: list[str], dry_run: bool) -> tuple[int, int]:
    """How many files, and of how many bytes."""
    size_bytes = sum(folder.sizes(names).values())
    if not dry_run:
        for start in range(0, len(names), BATCH_FILES):
            folder.delete(*names[start : start + BATCH_FILES])
            reach("vacuumed")
    return len(names), size_bytes


def _names_at(folder: Folder, version: int) -> Iterator[str]:
    old = Snapshot.open(folder, version)
    for file in old.files() if old is not None else ():
        yield file.path.rpartition("/")[2]
        if file.vector is not None:
            yield file.vector.file


def _names_since(folder: Folder, version: int, upto: int) -> Iterator[str]:
    """Every name of ours in the commits after a version; one that cannot be read keeps all from going."""
    log = folder / LOG
    for later in range(version + 1, upto + 1):
        commit = log.read(log_name(later))
        for name in OURS.finditer(commit.decode()):
            yield name[0]
        yield from deletion_vectors.named_in(commit)
