"""The ways out when a position was lost: trust the table as it is, or begin anew. Either is a new epoch."""

from __future__ import annotations

from dataclasses import replace

from asgard.core.errors import PositionLost
from asgard.lake.delta.positions import RESYNC_HINT, next_number
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import PREFIX, STREAM, Record, adopt, forget_identity, recorded
from asgard.lake.iceberg.snapshot import Snapshot


def accept(place: Place, stream: str, resync: bool) -> None:
    """Ends PositionLost: a new epoch with the last position that the table tells, or with none.

    Args:
        place: of the table.
        stream: whose position.
        resync: begin anew: the next load replaces every row of the table.

    Raises:
        PositionLost: no position is known that could be trusted; only resync is left.
        CommitFailedException: another writer was faster.
    """
    snapshot = Snapshot.open(place)
    if snapshot is None:
        if not resync:
            raise PositionLost("there is no table whose position could be trusted", hint=RESYNC_HINT)
        forget_identity(place.folder)
        return
    known = _known(snapshot, stream, resync)
    if known is None and not resync:
        raise PositionLost("the table tells no position", hint=RESYNC_HINT)
    if known is not None:
        Quarantine(place.folder).forget_failed(stream, known.number, known.prev)
    draft = Draft(place, snapshot)
    record = begun(draft, known)
    if resync:
        record = replace(record, position=None, anew=True)
    mode = "resync" if resync else "accept"
    edit = Edit(summary=told(record, known, stream, mode), properties={PREFIX + stream: record.to_json()})
    try:
        draft.commit(edit)
    except Exception:
        # The record says what happened, never the exception (protocol, line 9).
        now = Snapshot.open(place)
        if now is None or recorded(now, stream) != record:
            raise
    adopt(place.folder, snapshot.table_id)


def begun(draft: Draft, known: Record | None) -> Record:
    """The first record of the next epoch, which comes with a draft."""
    epoch = known.epoch + 1 if known else 1
    position = known.position if known else None
    return Record(
        number=next_number(known.number if known else None),
        epoch=epoch,
        position=replace(position, epoch=epoch) if position else None,
        prev=known.number if known else None,
        snapshot=draft.snapshot_id,
        sequence=draft.sequence,
        anew=known.anew if known else False,
        since=known.since if known else 0,
    )


def told(record: Record, before: Record | None, stream: str, mode: str) -> dict[str, str]:
    """What the summary says of a snapshot that changes a position and no row."""
    return {
        STREAM: stream,
        "asgard.mode": mode,
        "asgard.position": record.to_json(),
        "asgard.position_before": before.to_json() if before else "",
    }


def _known(snapshot: Snapshot, stream: str, resync: bool) -> Record | None:
    try:
        return recorded(snapshot, stream)
    except PositionLost:
        if resync:
            return None
        raise
