"""What lies beside the logs of the lake's tables: into a backup, and back where it was lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from asgard.app.backup.archive import Archive, Draft
from asgard.app.backup.manifest import TableKept
from asgard.app.project.environments import BesideWorkspace
from asgard.app.project.workspace import Workspace
from asgard.core.errors import AsgardError, DataError, OutOfSpace
from asgard.core.names import folder, from_folder
from asgard.core.table import Lake, TableName
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.delta.records import Document, Mark, Standing, TableRecords

FOLDER = "tables"
PLENTY_BYTES = 1 << 18

HINTS = {
    Standing.OLDER: "an older copy of it is in its place: it goes on from its own position, and reads again "
    "what is missing. Where its source forgets what was read: asgard resync {table}",
    Standing.ANOTHER_PAST: "an older copy of it came into its place, and was loaded since: asgard tables "
    "show {table} has its versions, asgard resync {table} reads all of it",
    Standing.ANOTHER: "it was made anew since the backup, and goes on from its own position",
    Standing.GONE: "bring its folder back from a copy of the lake and restore again, or let asgard run read "
    "it from the beginning, as far back as its source goes (if it stops: asgard resync {table})",
}  # fmt: skip

TO_BE_DECIDED = (Standing.OLDER, Standing.ANOTHER_PAST, Standing.GONE, Standing.UNREADABLE)


@dataclass(frozen=True)
class TableFound:
    """What a restore found and did of a table.

    Attributes:
        standing: compared with the backup.
        version, kept: the newest one now, and in the backup.
        brought: documents from the backup.
        rebuilt: documents from the table's own log.
        lost: by stream, why its position is lost.
        error: why nothing could be done; running it again may help.
        hint: the next step, for a person; empty where there is none to take.
    """

    table: str
    standing: Standing
    version: int | None = None
    kept: int | None = None
    brought: int = 0
    rebuilt: int = 0
    lost: Mapping[str, str] = field(default_factory=dict)
    quarantine_lost: bool = False
    error: AsgardError | None = None

    @property
    def hint(self) -> str:
        """The next step; empty where there is none to take."""
        if self.error is not None:
            return f"{self.error.what}; {self.error.hint or 'restore again when that is mended'}"
        if self.lost:
            return f"asgard resync {self.table}: the next run then reads it from the beginning"
        return HINTS.get(self.standing, "").format(table=self.table)

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to decide something."""
        return bool(self.lost) or self.standing in TO_BE_DECIDED

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {
            "table": self.table,
            "standing": str(self.standing),
            "version": self.version,
            "version_in_backup": self.kept,
            "records_brought_back": self.brought,
            "records_from_the_log": self.rebuilt,
            "lost": dict(self.lost) or None,
            "quarantine_lost": self.quarantine_lost or None,
            "hint": self.hint or None,
        }
        return {name: value for name, value in known.items() if value is not None}


def keep_tables(
    workspace: Workspace, draft: Draft, tell: Callable[[str, int], None], failed: dict[str, AsgardError]
) -> Iterator[TableKept]:
    """Puts the records of every table into an archive, each table as it is at one version.

    Args:
        failed: takes the errors of tables that cannot be read: they keep no other out.
    """
    lake = lake_of(workspace)
    for number, name in enumerate(lake.tables()):
        member = f"{FOLDER}/{number:05d}.jsonl"
        try:
            records = records_of(lake, name)
            if records is None or (mark := records.mark()) is None:
                continue
            tell(member, draft.add(member, _lines(records.documents())).size_bytes)
        except OutOfSpace:
            raise
        except AsgardError as error:
            failed[str(name)] = error
            continue
        yield TableKept(str(name), mark.id, mark.version, mark.commit, mark.set_aside, folder(name), member)


def restore_tables(workspace: Workspace, archive: Archive, *, dry_run: bool) -> Iterator[TableFound]:
    """Brings back what was lost beside the tables' logs, of those of the backup and all others.

    The rows, and what the tables' logs say, are as they are. Tables that need nothing are told, too.
    """
    lake = lake_of(workspace)
    kept = {table.table: table for table in archive.manifest.tables}
    there = {str(name): name for name in lake.tables()}
    for text in sorted(kept.keys() | there.keys()):
        name = there.get(text) or from_folder(kept[text].folder)
        records = records_of(lake, name)
        if records is None:
            continue
        try:
            yield _restored(records, text, kept.get(text), archive, dry_run)
        except AsgardError as error:
            yield TableFound(text, Standing.UNREADABLE, error=error)


def _restored(
    records: TableRecords, text: str, kept: TableKept | None, archive: Archive, dry_run: bool
) -> TableFound:
    mark = None if kept is None else Mark(kept.id, kept.version, kept.commit, kept.set_aside)

    def given() -> Iterator[Document]:
        return iter(()) if kept is None else _documents(archive, kept.member)

    found = records.recovery(mark, (name for name, _ in given()))
    if found.standing is Standing.GONE:
        lost = found.lost
    elif dry_run:  # what is mended by documents that are missing cannot be told apart from what is not
        mended = found.missing or found.rebuilt
        lost = found.lost if mended else {**records.doubts(), **found.lost}
    else:
        lost = records.recover(found, given())
    return TableFound(
        text, found.standing, found.version, kept.version if kept else None, len(found.missing),
        len(found.rebuilt), lost, found.quarantine_lost,
    )  # fmt: skip


def records_of(lake: Lake, name: TableName) -> TableRecords | None:
    """What lies beside a table's log; None of a format that keeps nothing there."""
    return lake.records(name) if isinstance(lake, DeltaLake) else None


def lake_of(workspace: Workspace) -> Lake:
    """The lake that the project writes: of an environment beside production, its own."""
    return workspace.lake.own if isinstance(workspace, BesideWorkspace) else workspace.lake


def _lines(documents: Iterable[Document]) -> Iterator[bytes]:
    """Documents as they are, byte by byte: what is damaged stays as damaged as it is."""
    waiting, size = [], 0
    for name, content in documents:
        line = json.dumps({"name": name, "content": base64.b64encode(content).decode()}) + "\n"
        waiting.append(line.encode())
        size += len(line)
        if size > PLENTY_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _documents(archive: Archive, member: str) -> Iterator[Document]:
    rest = b""
    for chunk in archive.read(member):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _document(line, member)
    if rest:
        yield _document(rest, member)


def _document(line: bytes, member: str) -> Document:
    try:
        document = json.loads(line)
        return document["name"], base64.b64decode(document["content"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the backup's {member} is damaged: {error!r}", hint="take another backup") from error
