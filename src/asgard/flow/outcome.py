"""How a step ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from asgard.core.check import CheckResult
from asgard.core.errors import AsgardError
from asgard.core.table import Commit, Evolution


class Status(StrEnum):
    """The ends that a step can come to."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass
class Outcome:
    """What one step did; filled while it goes.

    Attributes:
        step: `bronze.shop.orders`, `gold.revenue`, ...
        commits: in their order; a resumable first load has many.
        rows_read, bytes_read: what came from the source; bytes in Arrow's memory form.
        discarded: column to the values that were left out and the rows that were set aside for it.
        renamings: columns that look renamed, before and now.
        about: what else is known, as JSON: for a model `action` and `reasons`.
    """

    step: str
    status: Status = Status.DONE
    commits: list[Commit] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    evolution: Evolution = field(default_factory=Evolution)
    warnings: list[str] = field(default_factory=list)
    rows_read: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    error: AsgardError | None = None
    discarded: dict[str, dict[str, int]] = field(default_factory=dict)
    renamings: list[list[str]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent (Promise 8)."""
        last = self.commits[-1] if self.commits else None
        known: dict[str, Any] = {
            "step": self.step,
            "status": str(self.status),
            "seconds": round(self.seconds, 3),
            "rows_read": self.rows_read,
            "bytes_read": self.bytes_read,
            "quarantined": sum(commit.quarantined for commit in self.commits),
            "warnings": self.warnings,
            "checks": [result.as_dict() for result in self.checks],
        }
        known |= self.about
        if self.commits and all(commit.rows_added is not None for commit in self.commits):
            known["rows_added"] = sum(commit.rows_added or 0 for commit in self.commits)
        if last is not None:
            known["version"] = last.version
            if last.total_rows is not None:
                known["total_rows"] = last.total_rows
        if self.evolution or self.discarded:
            known["schema_changes"] = self.schema_changes()
        if self.error is not None:
            known["error"] = self.error.as_dict()
        return known

    def schema_changes(self) -> dict[str, Any]:
        """What became of columns, as JSON: those that came, whose values a wider type carries, that became
        wider themselves, that did not come, that look renamed, and what was discarded."""
        change = self.evolution
        told: dict[str, Any] = {
            "added": list(change.added),
            "widened": {name: list(types) for name, types in change.widened.items()},
            "missing": list(change.missing),
        }
        if change.rewritten:
            told["rewritten"] = {name: list(types) for name, types in change.rewritten.items()}
        if self.renamings:
            told["renamed"] = self.renamings
        if self.discarded:
            told["discarded"] = self.discarded
        return told
