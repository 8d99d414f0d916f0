"""What is asked of data, and what came out (Promise 4). `asgard.quality` turns checks into SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class OnFail(StrEnum):
    """What happens to a load whose check fails."""

    STOP = "stop"
    QUARANTINE = "quarantine"
    WARN = "warn"


@dataclass(frozen=True)
class Check:
    """One question about a table.

    Attributes:
        kind: not_null, unique, accepted_values, between, matches, type, row_count, fresh, referential,
            no_duplicates, non_negative or expression.
        columns: the columns it is about; empty for the whole table.
        options: what the kind needs besides (min, max, values, pattern, within, ...).
        mostly: the share of rows that has to be good, above 0 to 1.
        severity: for people and alerts: info, warning, error, critical.
        on_fail: what a failure does.
        name: for reports; unique in the table.
    """

    kind: str
    columns: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    mostly: float = 1.0
    severity: str = "error"
    on_fail: OnFail = OnFail.STOP
    name: str = ""


@dataclass(frozen=True)
class CheckResult:
    """The answer to one check.

    Attributes:
        check: the question.
        passed: whether enough rows are good.
        rows: how many rows were looked at; None for checks that look at none.
        failed_rows: how many are not good; None where rows are not what fails.
        observed: the figure that was compared, for table-wide checks.
        message: one sentence for people, with the figures.
    """

    check: Check
    passed: bool
    message: str
    rows: int | None = None
    failed_rows: int | None = None
    observed: Any = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known: dict[str, Any] = {
            "check": self.check.name,
            "kind": self.check.kind,
            "columns": list(self.check.columns),
            "passed": self.passed,
            "severity": self.check.severity,
            "on_fail": str(self.check.on_fail),
            "message": self.message,
        }
        extra = {"rows": self.rows, "failed_rows": self.failed_rows, "observed": self.observed}
        return known | {key: value for key, value in extra.items() if value is not None}


@dataclass(frozen=True)
class Verdict:
    """All answers about one load."""

    results: tuple[CheckResult, ...] = ()

    @property
    def stopped_by(self) -> tuple[CheckResult, ...]:
        """The failures that forbid publishing."""
        return tuple(r for r in self.results if not r.passed and r.check.on_fail is OnFail.STOP)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The failures that are only told."""
        return tuple(r for r in self.results if not r.passed and r.check.on_fail is OnFail.WARN)

    @property
    def passed(self) -> bool:
        """True when nothing failed at all."""
        return all(r.passed for r in self.results)
