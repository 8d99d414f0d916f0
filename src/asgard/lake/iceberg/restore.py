"""The way back: the last load undone with its position, in one commit.

What was there before comes back as a new version, so that versions only grow. It is a new epoch of the
stream: numbers of another epoch have nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pyiceberg.manifest import DataFile
from pyiceberg.table import snapshots as iceberg
from pyiceberg.table.snapshots import Operation

from asgard.core.errors import ConfigError, DataError
from asgard.lake.boundaries import reach
from asgard.lake.iceberg.accept import begun
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import PREFIX, Record, recorded
from asgard.lake.iceberg.snapshot import MARK, Snapshot

UNDONE_TO = "asgard.undone_to"
"""The snapshot that came back; empty: the table as it was before its first."""


@dataclass(frozen=True)
class _Done:
    """A load that was committed, by what its snapshot says of it."""

    at: iceberg.Snapshot
    stream: str
    run: str
    before: Record | None


def undo(place: Place, run: str = "") -> None:
    """Restores what was before the last load, data and position in one commit.

    Args:
        place: of the table.
        run: take all loads back that this run made last; empty: the last load alone.

    Raises:
        ConfigError: there is no load to take back, or the last one is not of the run.
        DataError: another writer changed rows since, or the older version is gone.
        CommitFailedException: another writer was faster.
    """
    snapshot = Snapshot.open(place)
    if snapshot is None:
        raise ConfigError("there is no table, so there is nothing to undo")
    snapshot.check_writable()
    loads = _last_loads(snapshot, run)
    target = _before(snapshot, loads[-1].at)
    there = {file.file_path: file for file in snapshot.entries}
    wanted = {file.file_path: file for file in target.entries} if target is not None else {}
    _check_files(place, [file for path, file in wanted.items() if path not in there])
    draft = Draft(place, snapshot)
    records = {load.stream: _record(draft, snapshot, load) for load in loads}  # of a stream the oldest load
    edit = Edit(
        adds=[file for path, file in wanted.items() if path not in there],
        removes={path for path in there if path not in wanted},
        operation=Operation.OVERWRITE,
        summary={
            "asgard.mode": "undo",
            "asgard.run": run,
            UNDONE_TO: str(target.at.snapshot_id) if target is not None and target.at else "",
        },
        properties={PREFIX + stream: record.to_json() for stream, record in records.items()},
        schema=target.iceberg_schema if target is not None else None,
    )
    try:
        draft.commit(edit)
    except Exception:
        # The records say what happened, never the exception (protocol, line 9).
        now = Snapshot.open(place)
        if now is None or any(recorded(now, stream) != record for stream, record in records.items()):
            raise
    reach("restored")


def _record(draft: Draft, snapshot: Snapshot, load: _Done) -> Record:
    """The stream where it stood before a load, in the next epoch."""
    first = begun(draft, recorded(snapshot, load.stream))
    known = load.before
    if known is None:
        return replace(first, position=None, prev=None, anew=False, since=0)
    position = replace(known.position, epoch=first.epoch) if known.position else None
    return replace(first, position=position, prev=known.number, anew=known.anew, since=known.since)


def _last_loads(snapshot: Snapshot, run: str) -> list[_Done]:
    """The loads to take back, newest first."""
    loads: list[_Done] = []
    for one in _back(snapshot):
        told = one.summary.additional_properties if one.summary else {}
        if MARK in told and "asgard.load" in told:
            if loads and told.get("asgard.run", "") != run:
                break
            before = told.get("asgard.position_before")
            known = Record.from_json(before) if before else None
            loads.append(_Done(one, told["asgard.stream"], told.get("asgard.run", ""), known))
            if not run:
                break
        elif _changes_rows(one) and not loads:
            raise DataError(
                f"another writer changed the table in version {one.sequence_number}: undo would take that "
                "back, too",
                hint="restore the version that you want with your own tool, then asgard resync --accept",
            )
        elif _changes_rows(one):
            break
    if not loads:
        raise ConfigError("there is no load to take back")
    if run and loads[0].run != run:
        raise ConfigError(
            f"the last load is not of run {run}, but of {loads[0].run or 'no run'}",
            hint="asgard undo takes the last load back",
        )
    return loads


def _back(snapshot: Snapshot) -> Iterator[iceberg.Snapshot]:
    """The snapshots from now on back; from what was undone straight to what came back."""
    metadata = snapshot.handle.metadata
    one = snapshot.at
    while one is not None:
        told = one.summary.additional_properties if one.summary else {}
        if MARK in told and UNDONE_TO in told:
            parent = int(told[UNDONE_TO]) if told[UNDONE_TO] else None
        else:
            yield one
            parent = one.parent_snapshot_id
        one = None if parent is None else metadata.snapshot_by_id(parent)


def _changes_rows(one: iceberg.Snapshot) -> bool:
    """Whether rows come or go: not so when they are only moved."""
    if one.summary is None:
        return True
    if one.summary.operation is Operation.REPLACE:
        return False
    told = one.summary.additional_properties
    figures = (
        iceberg.ADDED_DATA_FILES,
        iceberg.DELETED_DATA_FILES,
        iceberg.ADDED_DELETE_FILES,
        iceberg.REMOVED_DELETE_FILES,
    )
    return any(told.get(figure, "0") != "0" for figure in figures)


def _before(snapshot: Snapshot, load: iceberg.Snapshot) -> Snapshot | None:
    """The version before a load; None when it made the table.

    Raises:
        DataError: the table does not have it any more.
    """
    if load.parent_snapshot_id is None and load.sequence_number == 1:
        return None
    parent = load.parent_snapshot_id
    found = None if parent is None else snapshot.handle.metadata.snapshot_by_id(parent)
    if found is None:
        raise _gone("the table does not have it any more (expired)")
    return Snapshot(snapshot.place, snapshot.handle, found)


def _check_files(place: Place, files: list[DataFile]) -> None:
    names = [file.file_path.rpartition("/")[2] for file in files]
    missing = len(names) - len(place.data.sizes(names))
    if missing:
        raise _gone(f"{missing} of its files were deleted (vacuum)")


def _gone(why: str) -> DataError:
    return DataError(
        f"the version before the last load cannot come back: {why}", hint="load the table anew: asgard resync"
    )
