"""Position records: what each committed integer means, and the epochs that the integers count in.

The table's log holds one integer per stream and epoch (a Delta `txn` action, committed with the data). Beside
the log, `_asgard/positions/<stream>/<integer>.json` says what position that integer stands for. A record is
written before the commit and never changed; only the committed integer chooses one. Integers grow with time
and are sparse, so that a crash never occupies the next one, and an integer is never used twice.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from asgard.core.errors import PositionLost
from asgard.core.position import Position
from asgard.lake.folder import Folder

FORMAT = 1
INLINE = "asgard.records"
"""Under this name a commit carries the records of its integers, for the day that those beside the log are
lost: JSON, by stream the integer and the record."""
MOST_INLINE_CHARACTERS = 16_384
"""A longer one, of a stream with thousands of files, lies beside the log alone."""
NEWER_HINT = "run the version of Asgard that wrote it, or a newer one"
RESYNC_HINT = "asgard resync reads the stream anew; asgard resync --accept trusts the table as it is"


@dataclass(frozen=True)
class Record:
    """What a committed integer means.

    Attributes:
        number: the integer.
        position: how far the stream was read; None before the first load, or when it begins anew.
        prev: the integer that was current before; None when there was none.
        base: the table's version that the commit was worked out on, or an older one.
        files: prefix of the names of the data files that came with it.
        quarantined: rows that were set aside with it.
        anew: the next load replaces every row of the table, whatever its mode (resync).
        since: the integer of the last load that replaced all rows: what was set aside before it belongs to
            rows that are not there any more. It was judged again with them.
    """

    number: int
    position: Position | None
    prev: int | None
    base: int
    files: str = ""
    quarantined: int = 0
    anew: bool = False
    since: int = 0

    def replacing(self) -> Record:
        """The record of a load that replaces all rows."""
        return replace(self, since=self.number)

    def to_bytes(self) -> bytes:
        """The record as it is stored."""
        return json.dumps(self.document(), ensure_ascii=False).encode()

    def document(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "format": FORMAT,
            "position": self.position.to_json() if self.position else None,
            "prev": self.prev,
            "base": self.base,
            "files": self.files,
            "quarantined": self.quarantined,
            "anew": self.anew,
            "since": self.since,
        }

    @classmethod
    def from_bytes(cls, number: int, content: bytes) -> Record:
        """Reads a stored record.

        Raises:
            PositionLost: it is damaged, or of a newer format.
        """
        try:
            document = json.loads(content)
            if document["format"] != FORMAT:
                raise PositionLost(
                    f"position record {number} has format {document['format']!r}, not {FORMAT}",
                    hint=NEWER_HINT,
                )
            position = document["position"]
            return cls(
                number,
                None if position is None else Position.from_json(position),
                document["prev"],
                document["base"],
                document["files"],
                document["quarantined"],
                document["anew"],
                document.get("since", 0),  # Promise 10: the first records did not have it
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PositionLost(f"position record {number} is damaged: {error!r}", hint=RESYNC_HINT) from error


class Positions:
    """The records and epochs of one stream in one table.

    Args:
        folder: the table's `_asgard` folder.
        stream: id of the stream.
    """

    def __init__(self, folder: Folder, stream: str) -> None:
        slug = re.sub(r"[^a-z0-9]+", "-", stream.lower()).strip("-")[:60]
        name = f"{slug}-{hashlib.sha256(stream.encode()).hexdigest()[:12]}"
        self.stream = stream
        self.records_place = f"positions/{name}"
        self.epochs_place = f"epochs/{name}"
        self._records = folder / self.records_place
        self._epochs = folder / self.epochs_place

    def read(self, number: int) -> Record:
        """The record of a committed integer.

        Raises:
            PositionLost: it is missing or damaged.
        """
        try:
            content = self._records.read(f"{number}.json")
        except FileNotFoundError as error:
            raise PositionLost(
                f"the table says position {number}, and there is no record of it", hint=RESYNC_HINT
            ) from error
        return Record.from_bytes(number, content)

    def put(self, record: Record) -> bool:
        """Writes a record, durably. Protocol 7: put-if-absent; False when the integer was used before."""
        return self._records.put_if_absent(f"{record.number}.json", record.to_bytes())

    def numbers(self) -> list[int]:
        """The integers that have a record, committed or not, ascending."""
        return _numbers(self._records)

    def epochs(self) -> list[int]:
        """The epochs that were ever begun, ascending; 0 always was."""
        return sorted({0, *_numbers(self._epochs)})

    def new_epoch(self, why: str) -> int:
        """Gives the next epoch a name, durably. It counts from the commit that first uses it."""
        epoch, content = self.epochs()[-1], self.epoch_document(why)
        while True:
            epoch += 1
            if self._epochs.put_if_absent(f"{epoch}.json", content):
                return epoch

    def epoch_document(self, why: str) -> bytes:
        """What is written down of an epoch, as it is stored."""
        document = {"format": FORMAT, "stream": self.stream, "why": why}
        return json.dumps(document, ensure_ascii=False).encode()

    def prune(self, older_than_seconds: float, keep: Iterable[int | None]) -> int:
        """Protocol 15: deletes records that no retained version of the table can choose any more.

        Args:
            older_than_seconds: the log's retention.
            keep: integers whose records stay whatever their age: the current one and what it leads to.

        Returns:
            How many records were deleted.
        """
        kept = set(keep)
        newest = max((number for number in kept if number is not None), default=0)
        limit = min(number_at(older_than_seconds), newest)
        old = [number for number in self.numbers() if number < limit and number not in kept]
        self._records.delete(*(f"{number}.json" for number in old))
        return len(old)


def inline(records: Mapping[str, Record]) -> dict[str, str]:
    """Records as a commit carries them, by stream; none when they are too long.

    A commit outlives what lies beside the log: with it, the last commit alone says what its integers mean.
    """
    told = {stream: [record.number, record.document()] for stream, record in records.items()}
    text = json.dumps(told, ensure_ascii=False)
    return {INLINE: text} if len(text) <= MOST_INLINE_CHARACTERS else {}


def _numbers(folder: Folder) -> list[int]:
    stems = (name.removesuffix(".json") for name in folder.files() if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def next_number(current: int | None) -> int:
    """Protocol 7: the instant in microseconds, then eight random bits; above the current integer."""
    return max((current or 0) + 1, number_at() | random.getrandbits(8))


def number_at(seconds_ago: float = 0.0) -> int:
    """The least integer of an instant."""
    return (time.time_ns() // 1_000 - int(seconds_ago * 1e6)) << 8
