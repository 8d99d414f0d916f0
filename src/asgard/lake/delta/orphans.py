"""What killed first loads left where no table is: found by their age, and gone when nobody is at work there.

A folder with a log is a table, or is about to be one, and is left alone. In others a load announces itself
before it writes anything: where nothing is announced, and all that lies there is old, nobody will miss it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from asgard.lake.boundaries import reach
from asgard.lake.delta.commits import LOG
from asgard.lake.folder import Folder
from asgard.lake.leftovers import FOREIGN_SECONDS, LOADS

OWN = "_asgard"


def swept(root: Folder, place: str, before: datetime, dry_run: bool) -> Iterator[str]:
    """Deletes what was left before an instant; its paths below the lake.

    Args:
        root: of the lake.
        place: where a table may be, or a source with tables in it.
        before: what was written later is left alone.
        dry_run: deletes nothing.
    """
    inside = (root / place).folders()
    tables = [place] if {LOG, OWN} & {*inside} else [f"{place}/{name}" for name in inside]
    for table in tables:
        folder = root / table
        if LOG in folder.folders():
            continue
        if not dry_run:
            folder.lost_loads()
        there = folder.tree()
        if any(_stays(name, at, before) for name, at in there.items()):
            continue
        yield from (f"{table}/{name}" for name in there)
        if not dry_run:
            folder.delete(*there)
            reach("vacuumed")
            folder.prune()


def _stays(name: str, at: datetime, before: datetime) -> bool:
    """Whether a file says that somebody may be at work, or that it is too young to tell."""
    if name.startswith(f"{LOADS}/"):
        return at > min(before, datetime.now(UTC) - timedelta(seconds=FOREIGN_SECONDS))
    return at > before
