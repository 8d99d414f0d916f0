"""What killed first loads left where no table is: found by their age, and gone when nobody is at work there.

A table that the catalog knows is left alone, and one that it does not know any more, too: who dropped it may
have kept its files on purpose. In other folders a load announces itself before it writes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asgard.lake.boundaries import reach
from asgard.lake.iceberg.leftovers import lost_loads
from asgard.lake.iceberg.position import known_id
from asgard.lake.leftovers import FOREIGN_SECONDS, LOADS
from asgard.lake.local import LocalFolder

OWN = "_asgard"


def swept(root: Path, tables: Collection[str], before: datetime, dry_run: bool) -> Iterator[str]:
    """Deletes what was left before an instant; its paths below the lake.

    Args:
        root: of the lake.
        tables: the folders of the catalog's tables, below the lake.
        before: what was written later is left alone.
        dry_run: deletes nothing.
    """
    for own in sorted((*root.glob(f"*/*/{OWN}"), *root.glob(f"*/*/*/{OWN}"))):
        place = str(own.parent.relative_to(root))
        folder = LocalFolder(own.parent)
        if place in tables or known_id(folder) is not None:
            continue
        lost = set() if dry_run else {f"{LOADS}/{load}.json" for load in lost_loads(folder)}
        there = folder.tree()
        if any(name not in lost and _stays(name, at, before) for name, at in there.items()):
            continue
        yield from (f"{place}/{name}" for name in there)
        if not dry_run:
            folder.delete(*there)
            reach("vacuumed")
            folder.prune()


def _stays(name: str, at: datetime, before: datetime) -> bool:
    """Whether a file says that somebody may be at work, or that it is too young to tell."""
    if name.startswith(f"{LOADS}/"):
        return at > min(before, datetime.now(UTC) - timedelta(seconds=FOREIGN_SECONDS))
    return at > before
