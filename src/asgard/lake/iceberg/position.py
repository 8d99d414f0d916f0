"""Where a stream stands in a table, by the table's own last commit, and whether that may be trusted.

The position lies in a table property, `asgard.position.<stream>`, which a commit sets together with its data.
Properties outlive expiry, compaction and whatever else others do to snapshots - and a rollback too, which
takes the rows and leaves the property. So a record names the snapshot that it came with, and is true only
where the table's current snapshot descends from that one, by steps that take no rows away.

Reference: docs/decisions/0183-exactly-once-on-iceberg.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyiceberg.serializers import FromInputFile
from pyiceberg.table import snapshots as iceberg

from asgard.core.errors import PositionLost
from asgard.core.position import Position
from asgard.lake.delta.positions import NEWER_HINT, RESYNC_HINT
from asgard.lake.folder import Folder
from asgard.lake.iceberg.snapshot import MARK, Snapshot

FORMAT = 1
PREFIX = "asgard.position."
STREAM = "asgard.stream"
"""In the summary of a snapshot: whose load it is."""
IDENTITY = "table.json"


@dataclass(frozen=True)
class Record:
    """What a table says of a stream.

    Attributes:
        number: of the load; greater than those before it, and never used twice.
        epoch: counts the resyncs.
        position: how far the stream was read; None when it begins anew.
        prev: the number of the load before; None when there was none.
        snapshot: id of the snapshot that came with it.
        sequence: its sequence number.
        anew: the next load replaces every row of the table, whatever its mode (resync).
        since: the number of the last load that replaced all rows.
    """

    number: int
    epoch: int
    position: Position | None
    prev: int | None
    snapshot: int
    sequence: int
    anew: bool = False
    since: int = 0

    def to_json(self) -> str:
        """As the property holds it."""
        document = {
            "format": FORMAT,
            "number": self.number,
            "epoch": self.epoch,
            "position": self.position.to_json() if self.position else None,
            "prev": self.prev,
            "snapshot": self.snapshot,
            "sequence": self.sequence,
            "anew": self.anew,
            "since": self.since,
        }
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Reads a property.

        Raises:
            PositionLost: it is damaged, or of a newer format.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise PositionLost(
                    f"the position has format {document['format']!r}, not {FORMAT}", hint=NEWER_HINT
                )
            position = document["position"]
            return cls(
                number=document["number"],
                epoch=document["epoch"],
                position=None if position is None else Position.from_json(position),
                prev=document["prev"],
                snapshot=document["snapshot"],
                sequence=document["sequence"],
                anew=document["anew"],
                since=document["since"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PositionLost(f"the table's position is damaged: {error!r}", hint=RESYNC_HINT) from error


def recorded(snapshot: Snapshot, stream: str) -> Record | None:
    """What the table says of a stream, whether it may be trusted or not; None when it says nothing.

    Raises:
        PositionLost: what it says is damaged.
    """
    text = snapshot.properties.get(PREFIX + stream)
    return None if text is None else Record.from_json(text)


def standing(snapshot: Snapshot, stream: str) -> Record | None:
    """Where the stream stands, when that may be trusted. Protocol 3 and 4.

    Raises:
        PositionLost: the table is another one, was rolled back, or rows were taken away.
    """
    check_identity(snapshot)
    record = recorded(snapshot, stream)
    if record is not None:
        check_descent(snapshot, record)
    elif any(STREAM in told and told[STREAM] == stream for told in _told(snapshot)):
        raise PositionLost(
            "the table's property with the position was taken away, snapshots tell of loads", hint=RESYNC_HINT
        )
    return record


def _told(snapshot: Snapshot) -> Iterator[dict[str, str]]:
    for one in snapshot.handle.metadata.snapshots:
        if one.summary is not None:
            yield one.summary.additional_properties


# ---- descent


def check_descent(snapshot: Snapshot, record: Record) -> None:
    """Protocol 4: goes back from the table's current snapshot to the one that the record came with.

    Raises:
        PositionLost: it is not among the ancestors, or what came after it took rows away.
    """
    history = _History(snapshot)
    one = snapshot.at
    while one is None or one.snapshot_id != record.snapshot:
        if one is None or (one.sequence_number or 0) <= record.sequence:
            raise PositionLost(
                "somebody else took the table back to an older version: rows that the position says were "
                "read are not there any more",
                hint=RESYNC_HINT,
            )
        if not keeps_positions(one):
            raise PositionLost(
                f"somebody else changed the table in version {one.sequence_number} ({_operation(one)}): "
                "what the position says was read may not be there any more",
                hint=RESYNC_HINT,
            )
        parent = history.parent(one)
        if parent == record.snapshot:
            return
        one = history.snapshot(parent)


class _History:
    """The snapshots that the table has, and those that it had, as long as its metadata log tells of them.

    Expiry forgets snapshots, and pyiceberg's also who was the parent of the next. Older metadata files, of
    which a table keeps a hundred, still tell.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        metadata = snapshot.handle.metadata
        self._known = {one.snapshot_id: one for one in metadata.snapshots}
        self._older = self._older_snapshots(snapshot)

    def parent(self, one: iceberg.Snapshot) -> int:
        while (parent := self._known[one.snapshot_id].parent_snapshot_id) is None:
            self._look_back()
        return parent

    def snapshot(self, number: int) -> iceberg.Snapshot:
        while number not in self._known:
            self._look_back()
        return self._known[number]

    def _look_back(self) -> None:
        snapshots = next(self._older, None)
        if snapshots is None:
            raise PositionLost(
                "the table's metadata does not tell any more what happened to it since the last load",
                hint=RESYNC_HINT,
            )
        for one in snapshots:
            known = self._known.get(one.snapshot_id)
            if known is None or known.parent_snapshot_id is None:
                self._known[one.snapshot_id] = one

    @staticmethod
    def _older_snapshots(snapshot: Snapshot) -> Iterator[list[iceberg.Snapshot]]:
        for entry in reversed(snapshot.handle.metadata.metadata_log):
            file = snapshot.io.new_input(entry.metadata_file)
            if file.exists():
                yield FromInputFile.table_metadata(file).snapshots


def keeps_positions(one: iceberg.Snapshot) -> bool:
    """Whether positions from before a snapshot are still true after it.

    Appends and compaction are harmless, and so is who edits single rows on purpose (UPDATE, MERGE, a DELETE
    of some): what was read stays read. What takes out everything that was there, or whole partitions, is not.
    """
    told = one.summary.additional_properties if one.summary else {}
    if MARK in told or _operation(one) in ("append", "replace"):
        return True
    if _operation(one) not in ("overwrite", "delete") or told.get("replace-partitions") == "true":
        return False
    total, added = told.get(iceberg.TOTAL_DATA_FILES), told.get(iceberg.ADDED_DATA_FILES, "0")
    if total is None or total == "0":
        return False
    if total != added:
        return True
    # Every file that was there went: an update of all has as many rows as before, an INSERT OVERWRITE hardly.
    return told.get(iceberg.ADDED_RECORDS) == told.get(iceberg.DELETED_RECORDS)


def _operation(one: iceberg.Snapshot) -> str:
    return one.summary.operation.value if one.summary else "an operation without a name"


# ---- identity


def check_identity(snapshot: Snapshot) -> None:
    """Sees that the table is the one that the folder's documents belong to.

    Raises:
        PositionLost: it was dropped, and created again.
    """
    known = known_id(snapshot.place.folder)
    if known not in (None, snapshot.table_id):
        raise PositionLost(
            "the table was re-created or replaced: its id is not the one that the positions belonged to",
            hint=RESYNC_HINT,
        )


def check_absence(folder: Folder) -> None:
    """Sees that where there is no table there never was one.

    Raises:
        PositionLost: there was, and it was dropped.
    """
    if known_id(folder) is not None:
        raise PositionLost("the table was dropped, what was loaded into it lies there", hint=RESYNC_HINT)


def known_id(folder: Folder) -> str | None:
    """The id of the table that a folder was last used for; None before the first load."""
    try:
        document = json.loads((folder / "_asgard").read(IDENTITY))
        if document["format"] != FORMAT:
            told = f"_asgard/table.json has format {document['format']!r}, not {FORMAT}"
            raise PositionLost(told, hint=NEWER_HINT)
        return str(document["id"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise PositionLost(f"_asgard/table.json is damaged: {error!r}", hint=RESYNC_HINT) from error


def adopt(folder: Folder, table_id: str) -> None:
    """Writes the table's id down, durably, in place of another one."""
    if known_id(folder) != table_id:
        content = json.dumps({"format": FORMAT, "id": table_id}).encode()
        (folder / "_asgard").put(IDENTITY, content)


def forget_identity(folder: Folder) -> None:
    """The table is gone, and what is loaded next is another one."""
    (folder / "_asgard").delete(IDENTITY)
