"""When the last backup was made, and what it has of the tables: a note in the state, for the doctor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from asgard.app.backup.manifest import Manifest

FORMAT = 1
FILE = "backup.json"
RESTORING = "restore.json"
"""The mark of a restore that is under way."""


@dataclass(frozen=True)
class LastBackup:
    """The newest backup of a project.

    Attributes:
        versions: of the tables, when it was made.
    """

    file: Path
    made_at: datetime
    versions: Mapping[str, int]

    @classmethod
    def of(cls, file: Path, manifest: Manifest) -> Self:
        """What a manifest says."""
        return cls(file, manifest.made_at, {table.table: table.version for table in manifest.tables})


def note_backup(state_folder: Path, last: LastBackup) -> None:
    """Writes it down; that it could not be is no reason to think that there is no backup."""
    document = {
        "format": FORMAT,
        "file": str(last.file),
        "made_at": last.made_at.isoformat(),
        "versions": dict(last.versions),
    }
    with suppress(OSError):
        state_folder.mkdir(parents=True, exist_ok=True)
        beside = state_folder / f".{FILE}.new"
        beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
        beside.replace(state_folder / FILE)


def last_backup(state_folder: Path) -> LastBackup | None:
    """The newest backup; None when none is known. A note of a newer version is as good as none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads((state_folder / FILE).read_text(encoding="utf-8"))
        if document["format"] == FORMAT:
            made_at = datetime.fromisoformat(document["made_at"])
            return LastBackup(Path(document["file"]), made_at, document["versions"])
    return None


def unfinished_restore(state_folder: Path) -> str:
    """The archive of a restore that was begun; empty where none was, or all are done."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((state_folder / RESTORING).read_text(encoding="utf-8"))["file"])
    return ""
