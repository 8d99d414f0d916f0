"""Files of loads that ended without a commit: found by their tickets, swept without touching anybody's work.

Every load begins by announcing itself in `_asgard/loads/<load>.json`. All data files of a load bear its name,
so whoever finds a ticket whose owner is dead knows which files nobody will commit - unless a commit after the
ticket's version names them, which the log tells. Who is dead is a matter of where the table lies: here of a
disk, `bucket_loads` knows it of buckets.

On a disk a load holds a lock on its ticket as long as its process lives; the system gives the lock back when
the process is killed. A lock says nothing about a process on another machine. Tickets from elsewhere are left
alone for `FOREIGN_SECONDS`: longer than the longest load.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from asgard.core.errors import AsgardError
from asgard.lake.delta.commits import LOG, log_name
from asgard.lake.delta.deletion_vectors import named_in, vector_prefix
from asgard.lake.disk import make_folder
from asgard.lake.folder import PREFIX, Folder, Ticket

if TYPE_CHECKING:
    from asgard.lake.local import LocalFolder

FORMAT = 1
FOREIGN_SECONDS = 7 * 86_400.0
LOADS = "_asgard/loads"
QUARANTINE = "_asgard/quarantine"


@dataclass
class LocalTicket(Ticket):
    """The announcement of a load that lives, on a disk.

    Attributes:
        load: the load's name.
        path: of the ticket.
    """

    load: str
    path: Path
    _descriptor: int
    given: set[str] = field(default_factory=set)

    is_final = True
    """A rename that failed was none, and none comes after the process."""

    def doubt(self) -> None:
        """As Ticket: there is none."""

    def close(self) -> None:
        """As Ticket."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._descriptor)

    def leave(self) -> None:
        """As Ticket: the next sweep finds it without an owner."""
        os.close(self._descriptor)


def announce(folder: LocalFolder, version: int) -> LocalTicket:
    """Writes a ticket and locks it.

    Args:
        folder: the table's folder.
        version: the table's version before the load; -1 when there is no table.
    """
    load = uuid4().hex
    place = folder.path / LOADS
    draft = place / f".{load}"
    descriptor = _created(draft)
    try:
        # Locked before it has its name: a sweep never sees a ticket of a living load unlocked.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(
            descriptor, json.dumps({"format": FORMAT, "version": version, "machine": machine()}).encode()
        )
        path = place / f"{load}.json"
        os.rename(draft, path)
    except BaseException:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
    return LocalTicket(load, path, descriptor)


def _created(draft: Path) -> int:
    """Makes a file and the folders above it, again when upkeep has just taken an empty one away."""
    while True:
        make_folder(draft.parent)
        with suppress(FileNotFoundError):
            return os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)


@dataclass(frozen=True)
class Swept:
    """Lost loads of a disk: they are swept as soon as they are found."""

    names: tuple[str, ...]

    def sweep(self, ticket: Ticket) -> tuple[str, ...]:
        """As LostLoads."""
        return self.names


def sweep(folder: LocalFolder, foreign_seconds: float = FOREIGN_SECONDS) -> list[str]:
    """Deletes the files of loads whose process is dead and that were not committed.

    Args:
        folder: the table's folder.
        foreign_seconds: how old a ticket from another machine has to be.

    Returns:
        The names of the deleted data files.
    """
    swept: list[str] = []
    place = folder.path / LOADS
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                swept += _sweep_one(folder, path, descriptor, foreign_seconds)
            finally:
                os.close(descriptor)
    return swept


def _sweep_one(folder: LocalFolder, path: Path, descriptor: int, foreign_seconds: float) -> list[str]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return []  # it lives
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        document = {}
    if document.get("format", FORMAT) != FORMAT:
        return []  # Promise 10: a newer version knows what it means
    from_here = document.get("machine") == machine()
    if not from_here and time.time() - path.stat().st_mtime < foreign_seconds:
        return []
    swept = delete_load(folder, path.stem, document.get("version", -1))
    path.unlink(missing_ok=True)
    return swept


# ---- wherever the table lies


def committed_files(folder: Folder, prefix: str, since: int) -> set[str] | None:
    """The files with the prefix that commits after the version name, and all deletion vectors that they name;
    None when the log does not tell all."""
    pattern = re.compile(re.escape(prefix).encode() + rb"[0-9a-f]+\.parquet")
    named: set[str] = set()
    version = since + 1
    log = folder / LOG
    with suppress(FileNotFoundError):
        while True:
            commit = log.read(log_name(version))
            named |= {name.decode() for name in pattern.findall(commit)} | named_in(commit)
            version += 1
    stems = (name.removesuffix(".json") for name in log.files() if name.endswith(".json"))
    return None if any(int(stem) > version for stem in stems if stem.isdigit()) else named


def delete_load(folder: Folder, load: str, since: int) -> list[str]:
    """Deletes the files of a load, of the table and of its quarantine, that no commit names; their names."""
    prefix = f"{PREFIX}{load}-"
    swept = delete_uncommitted(folder, prefix, since)
    swept += delete_uncommitted(folder, vector_prefix(load), since)
    twins = folder / QUARANTINE
    for generation in twins.folders():
        swept += delete_uncommitted(twins / generation, prefix, -1)
    return swept


def delete_uncommitted(folder: Folder, prefix: str, since: int) -> list[str]:
    """Deletes a load's files that no commit after the version names; their names."""
    files = folder.files(prefix)
    committed = committed_files(folder, prefix, since) if files else set()
    if committed is None:
        return []
    lost = [name for name in files if name not in committed]
    folder.delete(*lost)
    return lost


def outcome(folder: Folder, ticket: Ticket, since: int) -> set[str] | None:
    """The files of a load that tried to commit, as far as the log names them; None when it may yet name more.

    Only the log says what became of an attempt to commit, never the exception (protocol, line 11).
    """
    return committed_files(folder, ticket.prefix, since) if ticket.is_final else None


def settle(folder: Folder, ticket: Ticket, committed: Callable[[], set[str] | None]) -> None:
    """Deletes the files of a load that no commit holds, and takes its ticket back.

    Args:
        folder: the table's folder.
        ticket: of the load.
        committed: names of the load's files that the table and its quarantine hold; None when that is not
            known: then all stay, for a later sweep, as they do when the storage does not answer.
    """
    with suppress(OSError, AsgardError):
        known = committed()
        if known is not None and ticket.given <= known:
            ticket.close()
            return
        if known is not None:
            there = (*folder.files(ticket.prefix), *folder.files(vector_prefix(ticket.load)))
            folder.delete(*(name for name in there if name not in known))
            twins = folder / QUARANTINE
            for generation in twins.folders():
                if not {*(twins / generation).files(ticket.prefix)} <= known:
                    delete_uncommitted(twins / generation, ticket.prefix, -1)
            ticket.close()
            return
    ticket.leave()


def machine() -> str:
    """This running system: a restart ends all its processes."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()
