"""Where a stream stands in a table, by the table's own last commit, and whether that may be trusted.

Reference: the fifteen lines of the protocol, docs/decisions/0020-exactly-once-on-delta.md
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from asgard.core.errors import PositionLost
from asgard.lake.delta.commits import check_since
from asgard.lake.delta.positions import NEWER_HINT, RESYNC_HINT, Positions, Record
from asgard.lake.delta.snapshot import FORMAT_PROPERTY, Snapshot
from asgard.lake.folder import Folder

FORMAT = 1
IDENTITY = "table.json"


@dataclass(frozen=True)
class Standing:
    """Where a stream stands at one version.

    Attributes:
        epoch: which epoch its integers count in.
        number: the committed integer; None before the first load.
        record: what the integer means; None before the first load.
    """

    epoch: int = 0
    number: int | None = None
    record: Record | None = None

    @property
    def anew(self) -> bool:
        """Whether the next load replaces all rows."""
        return self.record is not None and self.record.anew


class Ledger:
    """The standing of streams, from log and records together.

    Args:
        folder: the table's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._own = folder / "_asgard"

    def positions(self, stream: str) -> Positions:
        """Records and epochs of one stream."""
        return Positions(self._own, stream)

    def standing(self, snapshot: Snapshot, stream: str) -> Standing:
        """Where the stream stands, when that may be trusted. Protocol 3 and 4.

        Raises:
            PositionLost: a record is missing, the table is another one, or an unknown hand changed it.
        """
        self.check_identity(snapshot)
        epoch, number = self.current(snapshot, stream)
        if number is None:
            return Standing(epoch)
        record = self.positions(stream).read(number)
        check_since(self._folder, record.base, snapshot.version)
        return Standing(epoch, number, record)

    def current(self, snapshot: Snapshot, stream: str, table_id: str = "") -> tuple[int, int | None]:
        """The newest epoch that was committed, and its integer: the integer alone chooses."""
        epochs = self.positions(stream).epochs()
        for epoch in reversed(epochs):
            number = snapshot.transaction_version(app_id(table_id or snapshot.table_id, stream, epoch))
            if number is not None:
                return epoch, number
        return epochs[-1], None

    def check_identity(self, snapshot: Snapshot) -> None:
        """Sees that the records beside the table are this table's.

        Raises:
            PositionLost: the table was re-created, or its records were taken away.
        """
        known = self.known_id()
        if known == snapshot.table_id:
            return
        if known is None:
            if FORMAT_PROPERTY not in snapshot.properties or snapshot.version == 0:
                return  # another hand's table, or the first load was killed before it wrote the identity
            raise PositionLost("the table's folder _asgard was taken away", hint=RESYNC_HINT)
        raise PositionLost(
            "the table was re-created or replaced: its id is not the one that the positions belong to",
            hint=RESYNC_HINT,
        )

    def check_absence(self) -> None:
        """Sees that where there is no table there never was one.

        Raises:
            PositionLost: there was, and its log was taken away.
        """
        if self.known_id() is not None:
            raise PositionLost("the table's log was taken away, its positions are there", hint=RESYNC_HINT)

    def last_known(self, snapshot: Snapshot, stream: str) -> Record | None:
        """The record that the log chooses, under the table's id or the one that it had before; None when
        there is none: nothing else tells which record was ever committed."""
        for table_id in dict.fromkeys([snapshot.table_id, self.known_id()]):
            _, number = self.current(snapshot, stream, table_id or "")
            if number is not None:
                with suppress(PositionLost):
                    return self.positions(stream).read(number)
        return None

    def chooser(self, snapshot: Snapshot) -> Callable[[str, int], bool]:
        """Whether the table committed an integer of a stream (protocol, line 8).

        Integers up to the one before the current were committed: those that were not are taken out of the
        quarantine before the next load of the stream commits. In between lie only attempts that failed. What
        is older than the last load that replaced all rows was set aside from rows that are gone.
        """
        records: dict[str, Record | None] = {}

        def chosen(stream: str, number: int) -> bool:
            if stream not in records:
                _, current = self.current(snapshot, stream)
                records[stream] = None if current is None else self.positions(stream).read(current)
            record = records[stream]
            if record is None:
                return False
            return number == record.number or record.since <= number <= (record.prev or 0)

        return chosen

    def forget_identity(self) -> None:
        """The table is gone, and what is loaded next is another one."""
        self._own.delete(IDENTITY)

    def known_id(self) -> str | None:
        """The id of the table that the records belong to; None before the first load."""
        try:
            document = json.loads(self._own.read(IDENTITY))
            if document["format"] != FORMAT:
                raise PositionLost(
                    f"_asgard/table.json has format {document['format']!r}, not {FORMAT}", hint=NEWER_HINT
                )
            return str(document["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:
            raise PositionLost(f"_asgard/table.json is damaged: {error!r}", hint=RESYNC_HINT) from error

    def adopt(self, snapshot: Snapshot, again: bool = False) -> None:
        """Writes the table's identity down, durably.

        Args:
            snapshot: of the table.
            again: in place of another identity.
        """
        content = identity_of(snapshot)
        if again:
            self._own.put(IDENTITY, content)
        elif not self._own.has(IDENTITY):
            self._own.put_if_absent(IDENTITY, content)


def identity_of(snapshot: Snapshot) -> bytes:
    """The document that says whose records these are."""
    return json.dumps({"format": FORMAT, "id": snapshot.table_id}).encode()


def app_id(table_id: str, stream: str, epoch: int) -> str:
    """Protocol 1: what the log calls a stream's integers."""
    return f"asgard/{table_id}/{stream}/{epoch}"
