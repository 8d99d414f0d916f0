"""Takes from a table's log what no version needs that is kept, and what beside it nothing chooses any more.

What stays is everything from the newest checkpoint on that lies at or before

- the version that was the newest one at the bound, so that it and all later ones can be read,
- the least `base` of a stream's current record: every load reads what happened since (protocol, line 4),
- the version on which a load began that is announced.

Files go in the order of their versions, so a kill leaves an end of the log, and that is whole: a version that
is half gone is refused, like one that is gone. Records of positions and documents of schemas that only lost
versions chose go behind it (line 15).

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#metadata-cleanup
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from deltalake import Schema as DeltaSchema

from asgard.core.errors import PositionLost
from asgard.core.table import Vacuumed
from asgard.core.types import fingerprint
from asgard.lake.boundaries import reach
from asgard.lake.delta.commits import LOG, checkpoint, log_name, newest_at
from asgard.lake.delta.ledger import Ledger
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.folder import Folder
from asgard.lake.leftovers import LOADS
from asgard.lake.schemas import SchemaDocuments, from_delta

VERSIONED = re.compile(r"(?P<version>[0-9]{20})\.(json|crc|checkpoint\..+|[0-9]{20}\.compacted\.json)")
CHECKPOINT = re.compile(
    r"(?P<version>[0-9]{20})\.checkpoint\.((?P<part>[0-9]{10})\.(?P<of>[0-9]{10})\.)?parquet"
)
LAST = "_last_checkpoint"
BATCH_FILES = 200


def expire(folder: Folder, before: datetime, dry_run: bool) -> Vacuumed:
    """Takes from the log what is not needed to read the versions that are kept, the twin's log too.

    Args:
        folder: the table's folder.
        before: versions that were the newest one at this instant or later stay readable.
        dry_run: deletes nothing and says what would go.
    """
    snapshot = Snapshot.open(folder)
    if snapshot is None or not snapshot.is_ours:
        return Vacuumed(0, 0, -1)
    log = _Log.of(snapshot)
    chosen = _chosen(snapshot, log)
    bounds = [newest_at(folder, snapshot.version, before), *_begun_on(folder)]
    bounds += [-1] if chosen is None else [base for _, base in chosen.values()]
    gone = _shortened(log, min(bounds), dry_run)
    if chosen is not None and gone.oldest_version >= 0 and not dry_run:
        _forget_records(snapshot, log, gone.oldest_version, before)
        if not (folder / LOADS).files():
            _forget_schemas(snapshot, log, gone.oldest_version)
    for place in Quarantine(folder).generations():
        if (twin := Snapshot.open(place)) is not None:
            more = _shortened(_Log.of(twin), newest_at(place, twin.version, before), dry_run)
            gone = Vacuumed(gone.files + more.files, gone.size_bytes + more.size_bytes, gone.oldest_version)
    return gone


@dataclass(frozen=True)
class _Log:
    """The files of a log.

    Attributes:
        folder: of the log.
        newest: the newest version.
        versions: version to the names of its files.
    """

    snapshot: Snapshot
    folder: Folder
    newest: int
    versions: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Log:
        log = snapshot.folder / LOG
        found: dict[int, list[str]] = defaultdict(list)
        for name in log.files():
            if told := VERSIONED.fullmatch(name):
                found[int(told["version"])].append(name)
        versions = {version: tuple(found[version]) for version in sorted(found)}
        return cls(snapshot, log, snapshot.version, versions)

    def checkpoint_files(self, version: int) -> list[str]:
        """The files of a version's checkpoint; none where it has none that is whole, or of another kind."""
        found = [told for name in self.versions.get(version, ()) if (told := CHECKPOINT.fullmatch(name))]
        whole = [told[0] for told in found if told["part"] is None]
        parts = [told[0] for told in found if told["part"] is not None]
        if whole or (parts and len(parts) == int(found[0]["of"] or 0)):
            return whole or parts
        return []

    def newest_checkpoint(self, upto: int) -> int | None:
        """The newest version up to that one that has a checkpoint."""
        return next(
            (v for v in sorted(self.versions, reverse=True) if v <= upto and self.checkpoint_files(v)), None
        )

    def numbers(self, since: int) -> dict[str, set[int]]:
        """Every integer that a version's checkpoint, or a commit from there on, chose, by application id."""
        found: dict[str, set[int]] = defaultdict(set)
        for name in self.checkpoint_files(since):
            with self.folder.opened(self.folder.absolute(name)) as file:
                read = pq.ParquetFile(file).read(columns=["txn"]).column("txn")
            for one in read.drop_null().to_pylist():
                found[one["appId"]].add(one["version"])
        for line in self._lines(since, b'{"txn"'):
            found[line["txn"]["appId"]].add(line["txn"]["version"])
        return found

    def schemas(self, since: int) -> Iterator[str]:
        """The schemas that commits from a version on brought, as Delta writes them."""
        for line in self._lines(since, b'{"metaData"'):
            yield line["metaData"]["schemaString"]

    def _lines(self, since: int, kind: bytes) -> Iterator[dict[str, Any]]:
        for version in (one for one in self.versions if one >= since):
            if log_name(version) not in self.versions[version]:
                continue
            for line in self.folder.read(log_name(version)).splitlines():
                if line.startswith(kind):
                    yield json.loads(line)


def _shortened(log: _Log, bound: int, dry_run: bool) -> Vacuumed:
    """Deletes what stands before the newest checkpoint up to the bound."""
    first = next(iter(log.versions), 0)
    oldest = log.newest_checkpoint(bound)
    if oldest is None:
        return Vacuumed(0, 0, first)
    names = [name for version, some in log.versions.items() if version < oldest for name in some]
    size_bytes = sum(log.folder.sizes(names).values())
    if names and not dry_run:
        _stand_first(log, oldest)
        for start in range(0, len(names), BATCH_FILES):
            log.folder.delete(*names[start : start + BATCH_FILES])
            reach("log_shortened")
    return Vacuumed(len(names), size_bytes, oldest)


def _stand_first(log: _Log, oldest: int) -> None:
    """Sees that what replaces the entries can be read, and that readers are pointed to nothing that goes.

    Raises:
        ArrowInvalid: the checkpoint is damaged; nothing was deleted.
    """
    for name in log.checkpoint_files(oldest):
        with log.folder.opened(log.folder.absolute(name)) as file:
            pq.read_metadata(file)
    try:
        pointed_to = int(json.loads(log.folder.read(LAST))["version"])
    except (FileNotFoundError, ValueError, KeyError):
        pointed_to = -1
    if pointed_to < oldest:
        checkpoint(log.snapshot.folder)


def _begun_on(folder: Folder) -> Iterator[int]:
    """The versions on which loads began that are announced."""
    place = folder / LOADS
    for name in place.files():
        try:
            yield int(json.loads(place.read(name))["version"])
        except FileNotFoundError:
            continue  # it ended meanwhile
        except (ValueError, KeyError):
            yield -1


def _chosen(snapshot: Snapshot, log: _Log) -> dict[str, tuple[int, int]] | None:
    """Stream to its current integer and that one's base; None where they are not all known."""
    newest = log.newest_checkpoint(log.newest)
    if newest is None and 0 not in log.versions:
        return None
    ledger = Ledger(snapshot.folder)
    found = {}
    for stream in _streams(snapshot, log.numbers(newest or 0)):
        _, number = ledger.current(snapshot, stream)
        if number is not None:
            try:
                found[stream] = number, ledger.positions(stream).read(number).base
            except PositionLost:
                return None
    return found


def _streams(snapshot: Snapshot, numbers: Mapping[str, set[int]]) -> set[str]:
    prefix = f"asgard/{snapshot.table_id}/"
    return {app.removeprefix(prefix).rpartition("/")[0] for app in numbers if app.startswith(prefix)}


def _forget_records(snapshot: Snapshot, log: _Log, oldest: int, before: datetime) -> None:
    """Line 15: records go that were written before the bound and that no version chooses which is kept. What
    a record leads back to stays with it: undo needs it."""
    ledger, numbers = Ledger(snapshot.folder), log.numbers(oldest)
    age_seconds = (datetime.now(UTC) - before).total_seconds()
    for stream in _streams(snapshot, numbers):
        positions = ledger.positions(stream)
        prefix = f"asgard/{snapshot.table_id}/{stream}/"
        kept = {number for app, some in numbers.items() if app.startswith(prefix) for number in some}
        there = kept.intersection(positions.numbers())
        kept |= {prev for number in there if (prev := positions.read(number).prev) is not None}
        positions.prune(age_seconds, kept)
        reach("records_forgotten")


def _forget_schemas(snapshot: Snapshot, log: _Log, oldest: int) -> None:
    """Documents of schemas go that no version has which is kept. The one with the highest field id stays:
    no id is ever given again."""
    old = Snapshot.open(snapshot.folder, oldest)
    if old is None:
        return
    kept = {fingerprint(one.schema) for one in (old, snapshot)}
    kept |= {fingerprint(from_delta(DeltaSchema.from_json(text))) for text in log.schemas(oldest)}
    SchemaDocuments(snapshot.folder / "_asgard").forget(kept)
