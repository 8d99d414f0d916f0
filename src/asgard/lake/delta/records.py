"""What lies beside a table's log: taken for a backup, and brought back where it was lost.

The table's own log is the truth (Promise 1): what it chose stays chosen, whatever a backup says. Records only
say what the log's integers mean. So a record is brought back when none is there, and never put in another's
place; and what came after the backup is read from the log, where every commit carries its own record. An
integer that nobody can explain any more stops its stream, as it did before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import pyarrow.parquet as pq

from asgard.core.errors import PositionLost
from asgard.lake.delta.commits import LOG, entry, log_name
from asgard.lake.delta.ledger import IDENTITY, Ledger, app_id, identity_of
from asgard.lake.delta.positions import INLINE, Positions
from asgard.lake.delta.snapshot import FORMAT_PROPERTY, Snapshot
from asgard.lake.disk import translated
from asgard.lake.folder import Folder
from asgard.lake.leftovers import QUARANTINE

OWN = "_asgard"
KINDS = ("epochs", "positions", "schemas")
DOCUMENT = re.compile(
    r"table\.json|schemas/[0-9A-Za-z_-]+\.json|(?:epochs|positions)/[a-z0-9-]+/[0-9]+\.json"
)
CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint\.parquet")
AT_ONCE = 64
Document = tuple[str, bytes]
"""Its name below `_asgard`, and what is in it."""


class Standing(StrEnum):
    """A table, compared with a backup."""

    AS_IT_WAS = "as it was"
    NEWER = "newer"
    OLDER = "older"
    ANOTHER_PAST = "with another past"
    ANOTHER = "another table"
    UNKNOWN = "not in the backup"
    GONE = "gone"
    UNREADABLE = "not to be read"


@dataclass(frozen=True)
class Mark:
    """What tells one version of one table from all others.

    Attributes:
        commit: SHA-256 of what the log says of the version; empty when it does not hold it any more.
        set_aside: whether rows of it were set aside.
    """

    id: str
    version: int
    commit: str
    set_aside: bool


@dataclass(frozen=True)
class Recovery:
    """What can be done for a table.

    Attributes:
        version: the newest one; None when there is no table.
        missing: documents that the backup has and the table has not.
        rebuilt: documents that come from the table's own log.
        lost: by stream, why its position is lost; nothing but a resync helps it.
        quarantine_lost: whether rows that were set aside are gone: they are data, and in no backup of ours.
    """

    standing: Standing
    version: int | None
    missing: frozenset[str] = frozenset()
    rebuilt: Mapping[str, bytes] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    quarantine_lost: bool = False


class TableRecords:
    """What lies beside the log of one table.

    Args:
        folder: the table's folder.
        where: for errors.
    """

    def __init__(self, folder: Folder, where: Mapping[str, str]) -> None:
        self._folder = folder
        self._where = where

    def mark(self) -> Mark | None:
        """The newest version; None when there is no table."""
        with translated(self._where):
            snapshot = Snapshot.open(self._folder)
            if snapshot is None:
                return None
            commit = _digest(self._folder, snapshot.version)
            return Mark(snapshot.table_id, snapshot.version, commit, _has_quarantine(self._folder))

    def documents(self) -> Iterator[Document]:
        """All of it, but for announcements of loads and the quarantine. Taken after `mark`, it has what every
        integer of that version means: a record is written before its commit."""
        with translated(self._where), ThreadPoolExecutor(self._folder.asked_at_once, "records") as pool:
            names = iter(_names(self._folder))
            while some := list(islice(names, AT_ONCE)):
                for name, content in zip(some, pool.map(self._read, some), strict=True):
                    if content is not None:
                        yield name, content

    def recovery(self, kept: Mark | None, names: Iterable[str]) -> Recovery:
        """What can be done about what was lost; changes nothing.

        Args:
            kept: what a backup says of the table; None when it is not in there.
            names: of its documents in the backup.
        """
        with translated(self._where):
            return _recovery(self._folder, kept, names)

    def recover(self, found: Recovery, given: Iterable[Document]) -> Mapping[str, str]:
        """Does it; more than once is fine, and so is a kill in the middle.

        Args:
            given: the documents of the backup.

        Returns:
            By stream, why its position is lost.
        """
        with translated(self._where):
            identity = found.rebuilt.get(IDENTITY)
            for name, content in found.rebuilt.items():
                if name != IDENTITY:
                    _put(self._folder, name, content)
            for name, content in given:
                if name == IDENTITY and name in found.missing:
                    identity = content
                elif name in found.missing:
                    _put(self._folder, name, content)
            # The last: as long as it is missing, no load believes what else is there.
            if identity is not None:
                _put(self._folder, IDENTITY, identity)
        return {**self.doubts(), **found.lost}

    def doubts(self) -> Mapping[str, str]:
        """By stream, why no load would believe its position, as things are."""
        with translated(self._where):
            return _untrusted(self._folder)

    def _read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):  # pruned meanwhile: no version that is kept can choose it
            return (self._folder / OWN).read(name)
        return None


def _recovery(folder: Folder, kept: Mark | None, names: Iterable[str]) -> Recovery:
    snapshot = Snapshot.open(folder)
    if snapshot is None:
        return Recovery(Standing.GONE, None)
    standing = _standing(folder, snapshot, kept)
    known = frozenset(_names(folder))
    is_other = standing in (Standing.ANOTHER, Standing.UNKNOWN)
    usable = frozenset() if is_other else frozenset(name for name in names if DOCUMENT.fullmatch(name))
    gone = kept is not None and kept.set_aside and not is_other and not _has_quarantine(folder)
    chosen = _chosen(folder, snapshot)
    if chosen is None:
        # Which epoch is the newest cannot be told: without its identity no load believes the table.
        lost = {} if IDENTITY in known else {"": "the log does not tell any more which position is the last"}
        missing = usable - known - {IDENTITY}
        return Recovery(standing, snapshot.version, missing, lost=lost, quarantine_lost=gone)
    rebuilt, lost = _explained(folder, snapshot, known | usable, chosen)
    return Recovery(standing, snapshot.version, usable - known, rebuilt, lost, gone)


def _standing(folder: Folder, snapshot: Snapshot, kept: Mark | None) -> Standing:
    if kept is None:
        return Standing.UNKNOWN
    if snapshot.table_id != kept.id:
        return Standing.ANOTHER
    if snapshot.version < kept.version:
        return Standing.OLDER
    now = _digest(folder, kept.version)
    if now and kept.commit and now != kept.commit:
        return Standing.ANOTHER_PAST
    return Standing.AS_IT_WAS if snapshot.version == kept.version else Standing.NEWER


def _explained(
    folder: Folder, snapshot: Snapshot, known: frozenset[str], chosen: Mapping[tuple[str, int], int]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """What the log itself knows of what is missing, and the streams whose position nobody knows.

    Args:
        known: documents that are there, or in the backup.
        chosen: by stream and epoch, the integer of the log.
    """
    found: dict[str, bytes] = {}
    wanted: dict[str, tuple[str, int]] = {}
    for stream in {stream for stream, _ in chosen}:
        positions = Ledger(folder).positions(stream)
        epochs = sorted(epoch for other, epoch in chosen if other == stream)
        for epoch in filter(None, epochs):  # a newer one that nobody has heard of would not be asked for
            found[f"{positions.epochs_place}/{epoch}.json"] = positions.epoch_document("restore")
        number = chosen[stream, epochs[-1]]
        wanted[_record_name(positions, number)] = stream, number
    if not wanted.keys() <= known or IDENTITY not in known:
        found |= _records_in_log(folder, snapshot.version)
    if snapshot.version and FORMAT_PROPERTY in snapshot.properties:
        found[IDENTITY] = identity_of(snapshot)
    lost = {
        stream: f"the table says position {number}, and no record of it is left"
        for name, (stream, number) in wanted.items()
        if name not in known and name not in found
    }
    return {name: content for name, content in found.items() if name not in known}, lost


def _chosen(folder: Folder, snapshot: Snapshot) -> dict[tuple[str, int], int] | None:
    """By stream and epoch, the integer that the table's log says; None when the log is not all there."""
    prefix = app_id(snapshot.table_id, "", 0).removesuffix("/0")
    found = _transactions(folder, snapshot.version)
    if found is None:
        return None
    chosen = {}
    for app, number in found.items():
        stream, _, epoch = app.removeprefix(prefix).rpartition("/")
        if app.startswith(prefix) and epoch.isdigit():
            chosen[stream, int(epoch)] = number
    return chosen


def _transactions(folder: Folder, upto: int) -> dict[str, int] | None:
    log, found = folder / LOG, dict[str, int]()
    summed = [
        int(name[1]) for name in map(CHECKPOINT.fullmatch, log.files()) if name and int(name[1]) <= upto
    ]
    start = max(summed, default=-1)
    if summed:
        name = log.absolute(f"{start:020d}.checkpoint.parquet")
        with log.opened(name) as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=["txn"]):
                for txn in batch.column("txn").drop_null().to_pylist():
                    found[txn["appId"]] = txn["version"]
    for version in range(start + 1, upto + 1):
        try:
            lines = log.read(log_name(version)).splitlines()
        except FileNotFoundError:
            return None
        for line in lines:
            if line.startswith(b'{"txn"'):
                txn = json.loads(line)["txn"]
                found[txn["appId"]] = txn["version"]
    return found


def _records_in_log(folder: Folder, upto: int) -> dict[str, bytes]:
    """The records that commits carry, as far back as the log goes."""
    found: dict[str, bytes] = {}
    ledger = Ledger(folder)
    for version in range(upto, -1, -1):
        commit = entry(folder, version)
        if commit is None:
            break
        with suppress(ValueError, TypeError, AttributeError):
            for stream, (number, record) in json.loads(commit.provenance.get(INLINE, "{}")).items():
                name = _record_name(ledger.positions(stream), int(number))
                found[name] = json.dumps(record, ensure_ascii=False).encode()
    return found


def _untrusted(folder: Folder) -> dict[str, str]:
    snapshot = Snapshot.open(folder)
    chosen = _chosen(folder, snapshot) if snapshot else None
    found = {}
    for stream in sorted({stream for stream, _ in chosen or {}}):
        try:
            assert snapshot is not None
            Ledger(folder).standing(snapshot, stream)
        except PositionLost as error:
            found[stream] = error.what
    return found


def _put(folder: Folder, name: str, content: bytes) -> None:
    place, _, file = f"{OWN}/{name}".rpartition("/")
    (folder / place).put_if_absent(file, content)


def _record_name(positions: Positions, number: int) -> str:
    return f"{positions.records_place}/{number}.json"


def _has_quarantine(folder: Folder) -> bool:
    return bool((folder / QUARANTINE).folders())


def _names(folder: Folder) -> list[str]:
    own = folder / OWN
    found = [IDENTITY] if own.has(IDENTITY) else []
    for kind in KINDS:
        place = own / kind
        found += [f"{kind}/{name}" for name in place.files() if name.endswith(".json")]
        for inner in place.folders():
            found += [f"{kind}/{inner}/{name}" for name in (place / inner).files() if name.endswith(".json")]
    return [name for name in found if DOCUMENT.fullmatch(name)]


def _digest(folder: Folder, version: int) -> str:
    try:
        return hashlib.sha256((folder / LOG).read(log_name(version))).hexdigest()
    except FileNotFoundError:
        return ""
