"""Files of loads that ended without a commit: found by their tickets, swept without touching anybody's work.

Every load begins by announcing itself in `_asgard/loads/<load>.json` and holds a lock on that ticket as long
as its process lives; the system gives the lock back when the process is killed. All data files of a load bear
its name, so whoever finds a ticket whose owner is dead knows which files nobody will commit - unless a commit
after the ticket's version names them, which the log tells.

A lock says nothing about a process on another machine. Tickets from elsewhere are left alone for
`FOREIGN_SECONDS`: longer than the longest load.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from asgard.lake.commits import log_file
from asgard.lake.disk import make_folder

FORMAT = 1
FOREIGN_SECONDS = 7 * 86_400.0
PREFIX = "part-"


@dataclass
class Ticket:
    """The announcement of a load that lives.

    Attributes:
        load: the load's name.
        path: of the ticket.
    """

    load: str
    path: Path
    _descriptor: int
    _count: int = 0

    @property
    def prefix(self) -> str:
        """How the names of the load's data files begin."""
        return f"{PREFIX}{self.load}-"

    def new_name(self) -> str:
        """A file name that nobody has; from any thread."""
        return f"{self.prefix}{uuid4().hex[:12]}.parquet"

    def close(self) -> None:
        """Takes the announcement back: the load's files are all committed or deleted."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._descriptor)

    def leave(self) -> None:
        """Lets the ticket lie for the next sweep: what became of the files is not known."""
        os.close(self._descriptor)


def announce(folder: Path, version: int) -> Ticket:
    """Writes a ticket and locks it.

    Args:
        folder: the table's folder.
        version: the table's version before the load; -1 when there is no table.
    """
    load = uuid4().hex
    place = folder / "_asgard" / "loads"
    make_folder(place)
    draft = place / f".{load}"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        # Locked before it has its name: a sweep never sees a ticket of a living load unlocked.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(
            descriptor, json.dumps({"format": FORMAT, "version": version, "machine": _machine()}).encode()
        )
        path = place / f"{load}.json"
        os.rename(draft, path)
    except BaseException:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
    return Ticket(load, path, descriptor)


def sweep(folder: Path, foreign_seconds: float = FOREIGN_SECONDS) -> list[str]:
    """Deletes the files of loads whose process is dead and that were not committed.

    Args:
        folder: the table's folder.
        foreign_seconds: how old a ticket from another machine has to be.

    Returns:
        The names of the deleted data files.
    """
    swept: list[str] = []
    place = folder / "_asgard" / "loads"
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                swept += _sweep_one(folder, path, descriptor, foreign_seconds)
            finally:
                os.close(descriptor)
    return swept


def committed_files(folder: Path, prefix: str, since: int) -> set[str] | None:
    """The files with the prefix that commits after the version name; None when the log does not tell all."""
    pattern = re.compile(re.escape(prefix).encode() + rb"[0-9a-f]+\.parquet")
    named: set[str] = set()
    version = since + 1
    while (path := log_file(folder, version)).exists():
        named |= {name.decode() for name in pattern.findall(path.read_bytes())}
        version += 1
    beyond = any(int(path.stem) > version for path in path.parent.glob("*.json") if path.stem.isdigit())
    return None if beyond else named


def _sweep_one(folder: Path, path: Path, descriptor: int, foreign_seconds: float) -> list[str]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return []  # it lives
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        document = {}
    from_here = document.get("machine") == _machine()
    if not from_here and time.time() - path.stat().st_mtime < foreign_seconds:
        return []
    prefix = f"{PREFIX}{path.stem}-"
    swept = delete_uncommitted(folder, prefix, document.get("version", -1))
    for twin in (folder / "_asgard").glob("quarantine/*/"):
        swept += delete_uncommitted(twin, prefix, -1)
    path.unlink(missing_ok=True)
    return swept


def delete_uncommitted(folder: Path, prefix: str, since: int) -> list[str]:
    """Deletes a load's files that no commit after the version names; their names."""
    files = list(folder.glob(f"{prefix}*.parquet"))
    committed = committed_files(folder, prefix, since) if files else set()
    if committed is None:
        return []
    lost = [file for file in files if file.name not in committed]
    for file in lost:
        file.unlink(missing_ok=True)
    return [file.name for file in lost]


def _machine() -> str:
    """This running system: a restart ends all its processes."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()
