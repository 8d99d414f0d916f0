"""Reads the table's own log, commit by commit: who did what since a version, and is a position still true.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#commit-provenance-information
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asgard.core.errors import PositionLost
from asgard.lake.delta.positions import RESYNC_HINT
from asgard.lake.folder import Folder

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
"""The folder of the log, in a table's."""

MARK = "asgard.format"
"""Every commit of ours carries it among its provenance."""

CLUSTER_BY = "asgard.cluster_by"
"""What the provenance calls the columns by which upkeep keeps files apart: JSON."""

COMPACTED = "compact"
"""What the provenance of our own compaction says as its mode."""

LOOKED_BACK_VERSIONS = 100
"""So many commits without a load, and nobody says how files are to be kept apart."""

_HARMLESS = frozenset(
    {
        "OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "CLUSTER BY", "COMPUTE STATS", "ANALYZE TABLE",
        "ADD COLUMN", "ADD COLUMNS", "CHANGE COLUMN", "CHANGE COLUMNS", "RENAME COLUMN", "DROP COLUMNS",
        "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ADD CONSTRAINT", "DROP CONSTRAINT",
        "ADD FEATURE", "DROP FEATURE", "UPGRADE PROTOCOL", "UPDATE FIELD METADATA", "UPDATE TABLE METADATA",
        "UPDATE", "MERGE",
    }
)  # fmt: skip
"""Operations of other hands after which a position still tells how far the stream was read.

UPDATE, MERGE and a DELETE with a predicate edit single rows on purpose (a person's right to be forgotten, a
correction): what was read stays read. RESTORE, an overwrite, a DELETE of everything, CREATE OR REPLACE, FSCK
and whatever is not known here take rows away that the position says are there.
"""


@dataclass(frozen=True)
class Entry:
    """One commit of the log.

    Attributes:
        version: the version that it made.
        operation: as its writer called it; empty when it did not say.
        provenance: the rest of its commit info.
        touches_files: whether it adds or removes files.
        removes_rows: whether it takes files out for good (compaction does not).
    """

    version: int
    operation: str
    provenance: Mapping[str, Any]
    touches_files: bool
    removes_rows: bool

    @property
    def at(self) -> datetime:
        """When it was made, by its writer's own clock; the beginning of time where that is not said."""
        return datetime.fromtimestamp(float(self.provenance.get("timestamp", 0)) / 1000, UTC)

    @property
    def ours(self) -> bool:
        """Whether Asgard wrote it."""
        return MARK in self.provenance

    @property
    def rearranges(self) -> bool:
        """Whether it puts rows into other files, and changes none."""
        return self.operation == "OPTIMIZE" or (self.ours and self.provenance.get("asgard.mode") == COMPACTED)

    @property
    def keeps_positions(self) -> bool:
        """Whether positions from before are still true after it."""
        if self.ours or self.operation in _HARMLESS:
            return True
        parameters = self.provenance.get("operationParameters") or {}
        if self.operation == "DELETE":
            return str(parameters.get("predicate") or "[]") not in ("[]", "true", '["true"]')
        if self.operation in ("WRITE", "STREAMING UPDATE"):
            mode = str(parameters.get("mode") or parameters.get("outputMode") or "").lower()
            return mode == "append" and not self.removes_rows
        return False


def log_name(version: int) -> str:
    """The name of the file of one commit."""
    return f"{version:020d}.json"


def entry(folder: Folder, version: int) -> Entry | None:
    """One commit; None when the log does not hold it any more."""
    try:
        return _parsed(version, (folder / LOG).read(log_name(version)).splitlines())
    except FileNotFoundError:
        return None


def clustered_by(folder: Folder, newest: int) -> tuple[str, ...]:
    """The columns that the newest load of ours wants files to be kept apart by."""
    for version in range(newest, max(newest - LOOKED_BACK_VERSIONS, -1), -1):
        found = entry(folder, version)
        if found is None:
            break
        if CLUSTER_BY in found.provenance or "asgard.load" in found.provenance:
            return tuple(json.loads(found.provenance.get(CLUSTER_BY, "[]")))
    return ()


def version_at(folder: Folder, newest: int, at: datetime) -> int | None:
    """The newest version that was committed at the instant or before; without a zone it is meant in UTC.

    By the writers' own clocks, which `versions` shows; None when the log goes back no further.
    """
    instant = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000
    for version in range(newest, -1, -1):
        found = entry(folder, version)
        if found is None:
            return None
        if float(found.provenance.get("timestamp", "inf")) <= instant:
            return version
    return None


def check_since(folder: Folder, base: int, upto: int) -> None:
    """Protocol 4: reads the commits after a record's base version.

    Raises:
        PositionLost: one of them makes the position untrue, or the log does not tell any more.
    """
    for version in range(base + 1, upto + 1):
        found = entry(folder, version)
        if found is None:
            raise PositionLost(
                f"the log does not hold version {version} any more: what happened to the table since the "
                "last load cannot be told",
                hint=RESYNC_HINT,
            )
        if not found.keeps_positions:
            raise PositionLost(
                f"somebody else changed the table in version {version} "
                f"({found.operation or 'an operation without a name'}): what the position says was read may "
                "not be there any more",
                hint=RESYNC_HINT,
            )


def grown_to(folder: Folder, version: int) -> int | None:
    """The newest version since that one, where all later ones only brought files; None where one did more."""
    while True:
        try:
            lines = (folder / LOG).read(log_name(version + 1)).splitlines()
        except FileNotFoundError:
            return version
        if not all(line.startswith((b'{"add"', b'{"txn"', b'{"commitInfo"')) for line in lines if line):
            return None
        version += 1


def sync_log(folder: Folder, version: int) -> None:
    """Protocol 12: puts a commit onto the disk, which the writer of the log leaves to chance."""
    (folder / LOG).sync(log_name(version))


def newest_at(folder: Folder, newest: int, instant: datetime) -> int:
    """The newest version at an instant; the oldest that the log tells of, if they are all younger."""
    oldest = newest
    for found in entries(folder, newest):
        oldest = found.version
        if found.at <= instant:
            break
    return oldest


def entries(folder: Folder, newest: int) -> Iterator[Entry]:
    """The commits up to a version, the newest first, as far as the log tells of them.

    Not as delta-rs numbers them: it counts back from its own version what lies there, also what came since.
    """
    for version in range(newest, -1, -1):
        found = entry(folder, version)
        if found is None:
            return
        yield found


def checkpoint(folder: Folder) -> DeltaTable:
    """Sums the log up to now in one file, durably before readers are pointed to it again.

    Returns:
        The table as it was summed up.
    """
    handle, log = folder.delta(), folder / LOG
    handle.create_checkpoint()
    log.sync(*log.files(f"{handle.version():020d}.checkpoint"), "_last_checkpoint")
    return handle


def identity(folder: Folder, version: int) -> tuple[object, ...]:
    """What tells a log file from another one that came into its place."""
    return (folder / LOG).identity(log_name(version))


def _parsed(version: int, lines: Iterable[bytes]) -> Entry:
    info: dict[str, Any] = {}
    touches = removes = False
    for line in lines:
        if line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
        elif line.startswith(b'{"add"'):
            touches = True
        elif line.startswith(b'{"remove"'):
            touches = True
            removes = removes or b'"dataChange":true' in line
    return Entry(version, str(info.get("operation") or ""), info, touches, removes)
