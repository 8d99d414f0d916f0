"""What came to a table between two of its versions, by its files.

Files are never changed, so the rows of a file that both versions have are old, and those of a file that only
the newer has came - unless a compaction put old and new rows together: its commits are left out, and what it
took away is read from the files that it took.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from asgard.core.errors import AsgardError
from asgard.core.table import Mount, Table, Version

COMPACTIONS = ("compact", "optimize")
MOST_COMPACTIONS = 200
"""More between two builds: the whole table is read, rather than each of its versions."""


@dataclass(frozen=True)
class News:
    """What came to a table.

    Attributes:
        why_whole: why it cannot be told apart from what was there; empty when it can.
        rows: the files that the older version did not have; rows of other files are old.
        only_added: nothing went or was changed: the old rows and `rows` are all there are.
    """

    why_whole: str = ""
    rows: Mount | None = None
    only_added: bool = False

    @property
    def is_none(self) -> bool:
        """Rows only moved from file to file."""
        return self.only_added and self.rows is not None and not self.rows.files


def digest(mount: Mount) -> str:
    """What tells the files of a version from those of another table's version of the same number; empty for
    a table that its files do not tell whole."""
    if mount.reader is not None:
        return ""
    names = sorted(_name(file) for file in mount.files)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]


def news(table: Table, since: int, seen: str, upto: tuple[int, Mount]) -> News:
    """What came after a version, up to another.

    Args:
        seen: the digest of the version `since` when it was read.
        upto: the newer version and its rows.
    """
    version, mount = upto
    if since > version:
        return News("it was restored or made anew")
    try:
        before = table.mount(since)
    except AsgardError:
        return News(f"its version {since} is not kept any more")
    if not seen or mount.reader is not None or digest(before) != seen:
        return News(
            "it was restored or made anew" if seen and mount.reader is None else "its files do not tell"
        )
    if not before.schema.equals(mount.schema, check_metadata=False):
        return News("its columns changed")
    old = set(before.files)
    fresh = tuple(file for file in mount.files if file not in old)
    if old <= set(mount.files):
        rows = None if None in (mount.rows, before.rows) else (mount.rows or 0) - (before.rows or 0)
        return News(rows=replace(mount, files=fresh, rows=rows, figures={}), only_added=True)
    added = _added(table, since, upto)
    if added is None:
        return News(rows=replace(mount, files=fresh, rows=None, figures={}))
    return News(rows=replace(mount, files=added, rows=None, figures={}), only_added=True)


def _added(table: Table, since: int, upto: tuple[int, Mount]) -> tuple[str, ...] | None:
    """The files that came, with all of the older ones still there but for compactions; None otherwise."""
    version, mount = upto
    compactions = _compactions(table, since, version)
    if not compactions:
        return None
    added: dict[str, None] = {}
    old = set(table.mount(since).files)
    for compaction in [*compactions, version + 1]:
        behind = mount if compaction > version else table.mount(compaction - 1)
        if not old <= set(behind.files):
            return None
        added |= dict.fromkeys(file for file in behind.files if file not in old)
        if compaction <= version:
            old = set(table.mount(compaction).files)
    there = set(mount.files)
    if any(file not in there and not Path(file).exists() for file in added):
        return None  # taken away since: its rows are told apart no more
    return tuple(added)


def _compactions(table: Table, since: int, version: int) -> list[int]:
    newest: list[Version] = table.versions(1)
    listed = table.versions(newest[0].version - since)
    found = sorted(v.version for v in listed if since < v.version <= version and v.operation in COMPACTIONS)
    return found if len(found) <= MOST_COMPACTIONS else []


def _name(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2]
