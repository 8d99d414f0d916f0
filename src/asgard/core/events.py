"""What a run tells (Promise 8): the core emits, screens, logs, metrics and lineage listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The events there are. The comment behind each names its data."""

    RUN_STARTED = "run.started"  # selector, streams, models
    RUN_FINISHED = "run.finished"  # status, seconds, rows, bytes, error
    STEP_STARTED = "step.started"  # step: stream or model; mode, rows (estimate), bytes (estimate)
    STEP_PROGRESS = "step.progress"  # rows, bytes, splits_done, splits
    STEP_PHASE = "step.phase"  # phase: read | check | merge | commit
    STEP_COMMITTED = "step.committed"  # version, rows_added, rows_removed, bytes_added, quarantined
    STEP_FINISHED = "step.finished"  # status, seconds, rows, bytes, error
    CHECKED = "checked"  # results: list of check results
    SCHEMA_CHANGED = "schema.changed"  # added, widened, missing; rewritten, renamed, discarded if any
    MEASURED = "measured"  # rows_in, bytes_in, rows_out, bytes_out, peak_memory_bytes: of a whole transform
    COMPACTED = "compacted"  # version, files_before, files_after, bytes
    LAG = "lag"  # rows: at most so many are in the source beyond the last commit; told only when known
    RETRIED = "retried"  # attempt, after_seconds, error
    WARNING = "warning"  # what, hint
    CRASHED = "crashed"  # trace: where a mistake of ours happened, without values
    JOB_STARTED = "job.started"  # job, attempt, schedule
    JOB_FINISHED = "job.finished"  # job, attempt, schedule, status, exit_code, error
    CONNECTION = "connection"  # outcome, seconds, error


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: which thing.
        run: id of the run; empty outside of runs.
        step: `bronze.shop.orders`, `gold.revenue`, ...; empty for the run itself.
        data: JSON values, named at `Kind`. A figure that is not known is absent, never zero.
        at: when, UTC.
    """

    kind: Kind
    run: str = ""
    step: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        head = {"at": self.at.isoformat(timespec="milliseconds"), "event": str(self.kind)}
        if self.run:
            head["run"] = self.run
        if self.step:
            head["step"] = self.step
        return {**head, **self.data}


Emit = Callable[[Event], None]
"""How events are told. A listener must not raise and must not block."""
