"""A kill inside of this process: at a boundary, with what a SIGKILL would have left on the disk.

At the boundary the folder is copied as it lies there; then an exception goes up through the load, whose own
clean-up may do what it likes: the copy takes the folder's place. So thousands of kills cost no process each,
and a kill is where a seed says. Locks that the killed load held are gone with its open files.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asgard.lake import boundaries


class Killed(BaseException):
    """Nobody catches it on purpose."""


@dataclass
class Trail:
    """The boundaries that were reached, in their order; the last one is where it was killed, if it was."""

    reached: list[str] = field(default_factory=list)
    killed: bool = False

    def passed(self, *names: str) -> bool:
        """Whether one of the boundaries was reached."""
        return any(name in self.reached for name in names)


@contextmanager
def interrupted(folder: Path, at: int | None) -> Iterator[Trail]:
    """The block is killed when it reaches its boundary number `at`, counted from one; None lets it live."""
    trail, lock = Trail(), threading.Lock()
    copy = folder.with_name(f"{folder.name}.as-it-was")

    def reach(name: str) -> None:
        with lock:
            if trail.killed:
                raise Killed
            trail.reached.append(name)
            if at is None or len(trail.reached) < at:
                return
            if folder.exists():
                shutil.copytree(folder, copy)
            trail.killed = True
        raise Killed

    with listening(reach):
        try:
            yield trail
        except Killed:
            assert trail.killed
    if trail.killed:
        shutil.rmtree(folder, ignore_errors=True)
        if copy.exists():
            copy.rename(folder)


@contextmanager
def listening(reach: Callable[[str], None]) -> Iterator[None]:
    """Whoever has imported `boundaries.reach` calls another function for a while."""
    own = boundaries.reach
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("asgard.lake") and getattr(module, "reach", None) is own
    ]
    for module in users:
        module.reach = reach  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in users:
            module.reach = own  # type: ignore[attr-defined]
