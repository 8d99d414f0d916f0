"""Files of loads that ended without a commit: which they are, and that they go.

Loads announce themselves as everywhere in the lake (`lake.leftovers`), and all files of a load bear its name.
Which of them were committed is told by the manifests of the snapshots that the table has.

A killed process may leave its last request to a catalog on the way, to be carried out later. So files are
deleted behind a fence: who looked for lost loads, then opened the table, and then committed, has moved the
main branch, and no commit that was worked out before can appear any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath

from pyiceberg.manifest import ManifestContent

from asgard.core.errors import AsgardError
from asgard.lake.folder import PREFIX, Folder, Ticket
from asgard.lake.iceberg.place import Place
from asgard.lake.leftovers import FOREIGN_SECONDS, FORMAT, LOADS, QUARANTINE, delete_uncommitted, machine
from asgard.lake.local import LocalFolder


def lost_loads(folder: LocalFolder) -> list[str]:
    """The loads whose process is dead, or that said themselves that they gave up."""
    place = folder.path / LOADS
    return [path.stem for path in sorted(place.glob("*.json")) if _is_lost(path)] if place.is_dir() else []


def sweep(place: Place, lost: list[str]) -> list[str]:
    """Deletes the files of lost loads that no snapshot names; their names. To be called after a commit that
    was worked out on a version opened since they were found."""
    swept: list[str] = []
    for load in lost:
        prefix = f"{PREFIX}{load}-"
        files = place.data.files(prefix)
        known = committed_files(place, prefix) if files else set()
        gone = [name for name in files if name not in known]
        place.data.delete(*gone)
        swept += [*gone, *_sweep_twins(place.folder, prefix)]
        (place.folder / LOADS).delete(f"{load}.json")
    return swept


def settle(place: Place, ticket: Ticket, committed: Callable[[], set[str] | None]) -> None:
    """Deletes the files of a load that no commit holds, and takes its ticket back.

    Args:
        place: of the table.
        ticket: of the load.
        committed: names of the load's files that the table and its quarantine hold; None when that is not
            known: then all stay, for a later sweep.
    """
    with suppress(OSError, AsgardError):
        known = committed()
        if known is not None:
            place.data.delete(*(name for name in place.data.files(ticket.prefix) if name not in known))
            _sweep_twins(place.folder, ticket.prefix, known)
            ticket.close()
            return
    ticket.leave()


def committed_files(place: Place, prefix: str) -> set[str]:
    """The files with the prefix that any snapshot of the table names."""
    handle = place.handle()
    if handle is None:
        return set()
    seen: set[str] = set()
    named: set[str] = set()
    for snapshot in handle.metadata.snapshots:
        for manifest in snapshot.manifests(handle.io):
            if manifest.manifest_path in seen or manifest.content != ManifestContent.DATA:
                continue
            seen.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(handle.io, discard_deleted=True)
            named |= {PurePath(entry.data_file.file_path).name for entry in entries}
    return {name for name in named if name.startswith(prefix)}


def _sweep_twins(folder: Folder, prefix: str, known: set[str] | None = None) -> list[str]:
    swept: list[str] = []
    twins = folder / QUARANTINE
    for generation in twins.folders():
        if not {*(twins / generation).files(prefix)} <= (known or set()):
            swept += delete_uncommitted(twins / generation, prefix, -1)
    return swept


def _is_lost(path: Path) -> bool:
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            document = json.loads(os.read(descriptor, 1 << 16) or b"{}")
        except BlockingIOError:
            return False  # it lives
        except ValueError:
            document = {}
        finally:
            os.close(descriptor)
        if document.get("format", FORMAT) != FORMAT:
            return False  # Promise 10: a newer version knows what it means
        if document.get("machine") == machine():
            return True
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    return False
