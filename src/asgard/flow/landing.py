"""The last stretch of every load, of streams and of models alike: prepare, audit, set aside, publish.

What fails its checks never becomes visible (Promise 4): checks look at staged files and at the table as
it would be; rows to be set aside leave before the commit, and go to the quarantine twin with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from asgard.core.check import Check, OnFail, Verdict
from asgard.core.engine import Engine
from asgard.core.errors import ValidationError
from asgard.core.events import Kind
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, Load, Prepared, Staged, TableName
from asgard.flow.setting import Setting
from asgard.quality.audit import AuditContext, audit
from asgard.quality.quarantine import split_rows


@dataclass(frozen=True)
class Standard:
    """What a load must be up to.

    Attributes:
        checks: in lake names.
        mode: the load's mode: after a replace the new rows are the whole table.
        previous_rows: rows of the last good version; None for a first load or when unknown.
        table: the table that is loaded, for checks that refer to itself.
        alone: what the new rows must be up to among themselves, whatever is there; a failure stops the load.
    """

    checks: tuple[Check, ...]
    mode: Mode
    previous_rows: int | None = None
    table: TableName | None = None
    alone: tuple[Check, ...] = ()


def land(
    load: Load,
    staged: Sequence[Staged],
    position: Position,
    standard: Standard,
    setting: Setting,
    rejected: Staged | None = None,
) -> tuple[Commit, Verdict]:
    """Publishes staged rows, or nothing.

    Args:
        rejected: what was staged for the quarantine already: messages that could not be decoded.

    Returns:
        The commit, and the answers of all checks as they were before rows were set aside.

    Raises:
        ValidationError: a check with on_fail stop failed, or still fails after the quarantine.
    """
    setting.tell(Kind.STEP_PHASE, {"phase": "merge" if standard.mode is Mode.MERGE else "prepare"})
    prepared = load.prepare(staged)
    if standard.alone:
        _insist_alone(prepared, standard, setting)
    if not standard.checks:
        return _publish(load, prepared, position, rejected, setting), Verdict()
    verdict, quarantined, prepared = _examined(load, prepared, staged, standard, setting)
    if rejected is not None and quarantined is not None:
        quarantined = Staged((*rejected.files, *quarantined.files))
    quarantined = quarantined or rejected
    return _publish(load, prepared, position, quarantined, setting), verdict


def _examined(
    load: Load, prepared: Prepared, staged: Sequence[Staged], standard: Standard, setting: Setting
) -> tuple[Verdict, Staged | None, Prepared]:
    setting.tell(Kind.STEP_PHASE, {"phase": "check"})
    context = AuditContext(
        mode=standard.mode,
        previous_rows=standard.previous_rows,
        now=setting.clock.now(),
        resolve=setting.resolve,
        table=standard.table,
        past=partial(setting.past, setting.step),
    )
    with _interruptible(setting) as engine:
        verdict = audit(engine, standard.checks, prepared.fresh(), prepared.mount, context)
        setting.tell(Kind.CHECKED, {"results": [result.as_dict() for result in verdict.results]})
        if verdict.stopped_by:
            raise _stopped(verdict)
        failed = [r.check for r in verdict.results if not r.passed and r.check.on_fail is OnFail.QUARANTINE]
        if not failed:
            return verdict, None, prepared
        rows = split_rows(engine, failed, prepared.fresh(), prepared.mount, context)
        quarantined = load.quarantine(rows.bad())
        good = load.stage(rows.good())
    for files in staged:
        load.discard(files)
    prepared = load.prepare([good])
    with _interruptible(setting) as engine:
        again = audit(engine, standard.checks, prepared.fresh(), prepared.mount, context)
    left = tuple(r for r in again.results if not r.passed and r.check.on_fail is not OnFail.WARN)
    if left:
        raise _stopped(Verdict(left))
    return verdict, quarantined, prepared


def _insist_alone(prepared: Prepared, standard: Standard, setting: Setting) -> None:
    context = AuditContext(Mode.REPLACE, None, setting.clock.now(), setting.resolve)
    with _interruptible(setting) as engine:
        verdict = audit(engine, standard.alone, prepared.fresh(), prepared.fresh, context)
    if verdict.stopped_by:
        raise ValidationError(
            "; ".join(result.message for result in verdict.stopped_by),
            hint="nothing was published, the last good version stays. Let the SELECT make one row of each",
        )


@contextmanager
def _interruptible(setting: Setting) -> Iterator[Engine]:
    with setting.open_engine(setting.budget.engine_bytes) as engine:
        forget = setting.cancel.on_cancel(engine.interrupt)
        try:
            yield engine
        finally:
            forget()


def _publish(
    load: Load, prepared: Prepared, position: Position, quarantined: Staged | None, setting: Setting
) -> Commit:
    setting.cancel.check()
    setting.tell(Kind.STEP_PHASE, {"phase": "commit"})
    commit = load.publish(prepared, position, quarantined)
    setting.tell(
        Kind.STEP_COMMITTED,
        {
            "version": commit.version,
            "bytes_added": commit.bytes_added,
            "quarantined": commit.quarantined,
            **({} if commit.rows_added is None else {"rows_added": commit.rows_added}),
            **({} if commit.rows_removed is None else {"rows_removed": commit.rows_removed}),
        },
    )
    return commit


def _stopped(verdict: Verdict) -> ValidationError:
    failed = verdict.stopped_by or verdict.results
    return ValidationError(
        "; ".join(result.message for result in failed),
        hint="nothing was published, the last good version stays. Mend the data, or set on_fail: "
        "quarantine or warn for: " + ", ".join(result.check.name for result in failed),
    )
