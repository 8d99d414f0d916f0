"""Figures into answers: whether a check passed, and one sentence about it with the figures."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from asgard.core.check import Check, CheckResult, OnFail
from asgard.quality.failing import within_limits
from asgard.quality.families import Asked
from asgard.quality.measure import Figures
from asgard.quality.phrases import some
from asgard.quality.registry import ROW_KINDS, TABLE_KINDS
from asgard.quality.tables import AuditContext


def judged(check: Check, figures: Figures, context: AuditContext) -> CheckResult:
    """The answer to one check.

    A check whose bad rows are set aside has failed as soon as there is one, so that no bad row stays. When
    the share of good rows is below `mostly`, it is too much to set aside, and the answer's check says stop.
    """
    if figures.found is not None:
        asked = Asked(figures.found, figures.schema, context)
        found = TABLE_KINDS[check.kind].judge(check, asked)
        return CheckResult(check, found.passed, found.message, observed=found.observed)
    rows, failed = figures.rows or 0, figures.failed or 0
    if check.kind == "failing":
        found = within_limits(check, rows, failed)
        return CheckResult(check, found.passed, found.message, rows=rows, failed_rows=failed)
    enough = rows - failed >= Decimal(str(check.mostly)) * rows
    passed = failed == 0 if check.on_fail is OnFail.QUARANTINE else enough
    message = _sentence(check, figures)
    if failed and check.mostly < 1:
        message += f"; {check.mostly:.6g} of them must be good"
    if check.on_fail is OnFail.QUARANTINE and check.mostly < 1 and not enough:
        check = replace(check, on_fail=OnFail.STOP)
        message += ", which is too much to set aside"
    return CheckResult(check, passed, message, rows=rows, failed_rows=failed)


def _sentence(check: Check, figures: Figures) -> str:
    rows, failed = figures.rows or 0, figures.failed or 0
    if check.kind in {"unique", "no_duplicates"}:
        return _repetition(check, rows, failed, figures.keys)
    kind = ROW_KINDS[check.kind]
    noun, of = kind.noun, "" if kind.noun == "row" else f" of {check.columns[0]}"
    good, bad = kind.phrases(check)
    if rows == 0:
        return f"there are no {noun}s{of} to look at"
    if failed == 0:
        return f"all {some(rows, noun)}{of} {good[1]}" if rows > 1 else f"the only {noun}{of} {good[0]}"
    return f"{failed:,} of {some(rows, noun)}{of} {bad[failed > 1]}"


def _repetition(check: Check, rows: int, failed: int, keys: int) -> str:
    if not check.columns and failed == 0:
        return f"no two of {some(rows, 'row')} are the same"
    what = f"of {', '.join(check.columns)}" if check.columns else "of all columns together"
    if failed == 0:
        return f"no value {what} comes twice in {some(rows, 'row')}"
    come = "comes" if keys == 1 else "come"
    return f"{some(keys, 'value')} {what} {come} more than once, in {failed:,} of {some(rows, 'row')}"
