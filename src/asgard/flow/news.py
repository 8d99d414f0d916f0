"""What came to a table between two of its versions, by its files.

Files are never changed, so the rows of a file that both versions have are old, and those of a file that only
the newer has came - unless a compaction put old and new rows together: its commits are left out, and what it
took away is read from the files that it took.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

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
    if not _is_told(mount):
        return ""
    names = sorted(f"{_name(file)}{gone}" for file, gone in _files(mount).items())
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
    if not seen or not _is_told(mount) or digest(before) != seen:
        return News("it was restored or made anew" if seen and _is_told(mount) else "its files do not tell")
    if not before.schema.equals(mount.schema, check_metadata=False):
        return News("its columns changed")
    old, there = _files(before), _files(mount)
    fresh = tuple(file for file in there if file not in old)
    if old.items() <= there.items():
        rows = None if None in (mount.rows, before.rows) else (mount.rows or 0) - (before.rows or 0)
        return _of(mount, fresh, rows, only_added=True)
    added = _added(table, since, upto)
    if added is None:
        return _of(mount, fresh, None, only_added=False)
    return _of(mount, added, None, only_added=True)


def _is_told(mount: Mount) -> bool:
    """Whether files, and the numbers of rows that are gone, tell all rows."""
    return mount.reader is None or bool(mount.marked)


def _files(mount: Mount) -> dict[str, str]:
    """Each file, and what tells the rows of it that are gone from others; nothing where none is."""
    if not mount.marked:
        return dict.fromkeys(mount.files, "")
    return {file: _told_apart(rows) for file, rows in mount.marked.items()}


def _told_apart(rows: pa.Int64Array) -> str:
    plain = rows.buffers()[1]
    return hashlib.sha256(plain).hexdigest()[:16] if len(rows) else ""


def _of(mount: Mount, files: tuple[str, ...], rows: int | None, only_added: bool) -> News:
    """The rows of some files, which are told only where none of theirs is gone again."""
    if any(len(mount.marked[file]) for file in files if file in mount.marked):
        return News("rows that came were changed since")
    came = replace(mount, files=files, rows=rows, figures={}, reader=None, marked={})
    return News(rows=came, only_added=only_added)


def _added(table: Table, since: int, upto: tuple[int, Mount]) -> tuple[str, ...] | None:
    """The files that came, with all of the older ones still there but for compactions; None otherwise."""
    version, mount = upto
    compactions = _compactions(table, since, version)
    if not compactions:
        return None
    added: dict[str, None] = {}
    old = _files(table.mount(since)).items()
    for compaction in [*compactions, version + 1]:
        behind = mount if compaction > version else table.mount(compaction - 1)
        found = _files(behind)
        if not old <= found.items():
            return None
        added |= dict.fromkeys(file for file in found if file not in dict(old))
        if compaction <= version:
            old = _files(table.mount(compaction)).items()
    there = _files(mount)
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
