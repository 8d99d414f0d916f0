"""Folders that DuckDB spills into: one for each connection, under a lock, swept when its process was killed.

Two processes that spilled into one folder overwrote each other's blocks and died of it, so nobody shares one.
A killed process leaves its folder behind with all that was spilled. The system takes its lock back, whatever
container it ran in and whoever has its process id by now: that tells the next process what it may delete.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

PREFIX = "asgard-spill-"
LOCK = "lock"


class SpillFolder:
    """A folder of one's own in the parent.

    Where none can be made - a disk is full, a folder read-only - there is only its name: DuckDB says so when
    it has to spill, and most queries do not have to.

    Args:
        parent: made when it is not there; the system's temporary folder by default.
    """

    def __init__(self, parent: str | Path | None = None) -> None:
        parent = Path(parent or tempfile.gettempdir())
        self.path = parent / f"{PREFIX}{uuid4().hex}"
        self._process = os.getpid()
        self._descriptor: int | None = None
        with suppress(OSError):
            parent.mkdir(parents=True, exist_ok=True)
            _sweep_once(parent)
            self._descriptor = _locked(self.path)

    def remove(self) -> None:
        """Deletes the folder and what is in it; in a process forked from the one that made it, nothing."""
        if self._descriptor is not None and os.getpid() == self._process:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = None


def sweep(parent: Path) -> list[str]:
    """Deletes the folders whose process is dead; their names."""
    return [folder.name for folder in parent.glob(f"{PREFIX}*") if _sweep_one(folder)]


@cache
def _sweep_once(parent: Path) -> None:
    sweep(parent)


def _locked(folder: Path) -> int:
    """Makes the folder; the descriptor that holds its lock."""
    # Locked before it has its name: a sweep never sees the folder of a living process unlocked.
    draft = folder.with_name(f".{folder.name}")
    draft.mkdir(mode=0o700)
    try:
        descriptor = os.open(draft / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            draft.rename(folder)
        except BaseException:
            os.close(descriptor)
            raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return descriptor


def _sweep_one(folder: Path) -> bool:
    # The temporary folder is everybody's: neither a link nor another user's folder is followed or deleted.
    with suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where the owner lives
            shutil.rmtree(folder)
            return True
        finally:
            os.close(descriptor)
    return False
