"""What a step told about columns, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def drift_lines(changes: Mapping[str, Any]) -> Iterator[str]:
    """One line a fact; none where nothing changed. `changes` is a step's `schema_changes`."""
    for title, names in (("new columns", changes.get("added")), ("did not come", changes.get("missing"))):
        if names:
            yield f"{title}: {', '.join(names)}"
    for before, now in changes.get("renamed", ()):
        yield f"{now} stands where {before} stood, and has its type: renamed?"
    for name, (before, now) in changes.get("rewritten", {}).items():
        yield f"{name} became wider: {before} to {now}; the table was written anew"
    for name, counts in changes.get("discarded", {}).items():
        found = ((counts.get("values"), "value", "left out"), (counts.get("rows"), "row", "set aside"))
        parts = (f"{n:,} {what}{'s' if n > 1 else ''} {how}" for n, what, how in found if n)
        yield f"{name}: {', '.join(parts)}"
