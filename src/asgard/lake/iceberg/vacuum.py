"""Forgets old snapshots, and deletes the files that no snapshot needs any more.

In Iceberg a version is readable as long as the table has its snapshot, for every reader. So versions are
forgotten first, by a commit, and only then go the files that none of those that are left names: data files of
ours whose load is not announced, and manifests and metadata files that are older than the bound, whoever
wrote them. What another writer left among the data is not touched: nothing says whether it is still at work.

What is kept whatever its age: what branches and tags hold, and what a load that is under way began on.
Positions are judged by the snapshots since the one that they came with (`position`). Where that is to be
forgotten, the same commit says that the position is true of the current snapshot, once that was made sure of;
where it cannot say so, because a load is under way, all since then is kept.

The order keeps that true while others write: first the files are listed, then the announced loads, then the
table is opened. A file on the list whose load is not announced any more was committed before that.

Reference: https://iceberg.apache.org/docs/latest/maintenance/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import PurePath

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import update as u
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from asgard.core.errors import PositionLost
from asgard.core.table import Vacuumed
from asgard.lake.boundaries import reach
from asgard.lake.delta.vacuum import BATCH_FILES, OURS
from asgard.lake.folder import PREFIX, Folder
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import PREFIX as POSITIONS
from asgard.lake.iceberg.position import Record, standing
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.leftovers import LOADS

METADATA = re.compile(
    r"snap-[0-9]+-[0-9]+-[0-9a-f-]{36}\.avro|[0-9a-f-]{36}-m[0-9]+\.avro|"
    r"[0-9]+-[0-9a-f-]{36}\.(gz\.)?metadata\.json(\.gz)?"
)
"""Names that writers of Iceberg tables give what they write beside the data."""
NOTHING = Vacuumed(0, 0, -1)


def expire(place: Place, before: datetime, dry_run: bool) -> Vacuumed:
    """Forgets the versions that were replaced before an instant.

    Args:
        before: versions that were the newest one at this instant or later stay readable.
        dry_run: changes nothing; the files of what would be forgotten are not counted.

    Returns:
        The files beside the data that went with them.
    """
    snapshot = Snapshot.open(place)
    if snapshot is None or not snapshot.is_ours:
        return NOTHING
    oldest, gone = _forgotten(snapshot, before)
    if dry_run or not gone:
        return Vacuumed(0, 0, oldest)
    candidates = set(_metadata_of(snapshot, gone))
    try:
        _forget(place, snapshot, gone, oldest)
    except CommitFailedException:
        return Vacuumed(0, 0, snapshot.version)  # a writer was faster; the next upkeep does it
    reach("expired")
    now = Snapshot.open(place)
    if now is None:
        return NOTHING
    unneeded = candidates - set(_metadata_of(now, now.handle.metadata.snapshots))
    return _deleted(place.folder / "metadata", sorted(unneeded), False, oldest)


def vacuum(place: Place, before: datetime, dry_run: bool) -> Vacuumed:
    """Forgets versions as `expire`, and deletes all that no version names.

    Args:
        before: versions that were the newest one at this instant or later stay readable.
        dry_run: deletes nothing and says what would go of what lies there now.
    """
    metadata_folder = place.folder / "metadata"
    expired = expire(place, before, dry_run)
    names = place.data.files(PREFIX)
    beside = [name for name, at in metadata_folder.tree().items() if at < before and METADATA.fullmatch(name)]
    announced = _announced(place)
    snapshot = Snapshot.open(place)
    if snapshot is None or not snapshot.is_ours:
        return NOTHING
    metadata = snapshot.handle.metadata
    going = _forgotten(snapshot, before)[1] if dry_run else []
    kept = [one for one in metadata.snapshots if one not in going]
    needed = _data_of(snapshot, kept)
    found = [(name, OURS.fullmatch(name)) for name in names]
    data = [name for name, ours in found if ours and ours["load"] not in announced and name not in needed]
    named = {*_metadata_of(snapshot, kept), *_own_metadata(snapshot.handle.metadata_location, metadata)}
    gone = _deleted(place.data, data, dry_run, expired.oldest_version)
    more = _deleted(metadata_folder, [name for name in beside if name not in named], dry_run, 0)
    return Vacuumed(
        expired.files + gone.files + more.files,
        expired.size_bytes + gone.size_bytes + more.size_bytes,
        expired.oldest_version,
    )


# ---- which versions


def _forgotten(snapshot: Snapshot, before: datetime) -> tuple[int, list[IcebergSnapshot]]:
    """The oldest version of the main branch that stays, and the snapshots that go."""
    metadata = snapshot.handle.metadata
    chain = list(_ancestors(metadata, metadata.current_snapshot_id))
    instant = before.timestamp() * 1000
    newest_then = next((one for one in chain if one.timestamp_ms <= instant), None)
    if newest_then is None:
        return (chain[-1].sequence_number or 0 if chain else 0), []
    begun = list(_begun_on(snapshot.place))
    held = [record.sequence for record in _records(snapshot).values()] if begun else []
    bound = min(_number(newest_then), *begun, *held, snapshot.version)
    kept = {one.snapshot_id for one in chain if _number(one) >= bound}
    for name, ref in metadata.refs.items():
        if name != MAIN_BRANCH:
            kept.add(ref.snapshot_id)
            if ref.snapshot_ref_type is SnapshotRefType.BRANCH:
                kept |= {one.snapshot_id for one in _ancestors(metadata, ref.snapshot_id)}
    gone = [one for one in metadata.snapshots if one.snapshot_id not in kept and one.timestamp_ms <= instant]
    oldest = min((_number(one) for one in chain if one.snapshot_id in kept), default=snapshot.version)
    return oldest, gone


def _ancestors(metadata: TableMetadata, snapshot_id: int | None) -> Iterator[IcebergSnapshot]:
    while snapshot_id is not None and (one := metadata.snapshot_by_id(snapshot_id)) is not None:
        yield one
        snapshot_id = one.parent_snapshot_id


def _number(one: IcebergSnapshot) -> int:
    return one.sequence_number or 0


def _records(snapshot: Snapshot) -> dict[str, Record]:
    """The positions of the streams that may be trusted, by their property."""
    found: dict[str, Record] = {}
    for key in snapshot.properties:
        if key.startswith(POSITIONS):
            with suppress(PositionLost):  # who asks for that position is told
                if (record := standing(snapshot, key.removeprefix(POSITIONS))) is not None:
                    found[key] = record
    return found


def _begun_on(place: Place) -> Iterator[int]:
    """The versions on which loads began that are announced."""
    folder = place.folder / LOADS
    for name in folder.files():
        try:
            yield int(json.loads(folder.read(name))["version"])
        except FileNotFoundError:
            continue  # it ended meanwhile
        except (ValueError, KeyError):
            yield 0


def _announced(place: Place) -> set[str]:
    return {name.removesuffix(".json") for name in (place.folder / LOADS).files()}


def _forget(place: Place, snapshot: Snapshot, gone: Iterable[IcebergSnapshot], oldest: int) -> None:
    """The commit. It makes no snapshot, and is refused when the table moved meanwhile."""
    catalog, at = place.catalogue.opened(), snapshot.at
    metadata = snapshot.handle.metadata
    assert catalog is not None
    assert at is not None
    anchored = {
        key: replace(record, snapshot=at.snapshot_id, sequence=_number(at)).to_json()
        for key, record in _records(snapshot).items()
        if record.sequence < oldest
    }
    catalog.commit_table(
        snapshot.handle,
        (
            u.AssertTableUUID(uuid=metadata.table_uuid),
            u.AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": at.snapshot_id}),
        ),
        (
            *((u.SetPropertiesUpdate(updates=anchored),) if anchored else ()),
            u.RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [one.snapshot_id for one in gone]}),
        ),
    )


# ---- which files


def _data_of(snapshot: Snapshot, kept: Iterable[IcebergSnapshot]) -> set[str]:
    """The names of the data files of some versions."""
    seen: set[str] = set()
    named: set[str] = set()
    for one in kept:
        for manifest in one.manifests(snapshot.io):
            if manifest.manifest_path in seen or manifest.content != ManifestContent.DATA:
                continue
            seen.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(snapshot.io, discard_deleted=True)
            named |= {PurePath(entry.data_file.file_path).name for entry in entries}
    return named


def _metadata_of(snapshot: Snapshot, some: Iterable[IcebergSnapshot]) -> Iterator[str]:
    """The names of the manifests, and of the lists of them, of some versions."""
    for one in some:
        yield PurePath(one.manifest_list).name
        yield from (PurePath(manifest.manifest_path).name for manifest in one.manifests(snapshot.io))


def _own_metadata(location: str, metadata: TableMetadata) -> Iterator[str]:
    """The names of the metadata files that the table goes back to."""
    yield PurePath(location).name
    yield from (PurePath(entry.metadata_file).name for entry in metadata.metadata_log)


def _deleted(folder: Folder, names: list[str], dry_run: bool, oldest: int) -> Vacuumed:
    """How many files, and of how many bytes."""
    sizes = folder.sizes(names)
    if not dry_run:
        for start in range(0, len(names), BATCH_FILES):
            folder.delete(*names[start : start + BATCH_FILES])
            reach("vacuumed")
    return Vacuumed(len(sizes), sum(sizes.values()), oldest)
