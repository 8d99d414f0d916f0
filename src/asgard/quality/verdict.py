"""Figures into answers: whether a check passed, and one sentence about it with the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from asgard.core.check import Check, CheckResult, OnFail
from asgard.quality.measure import Figures
from asgard.quality.tables import AuditContext

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def judged(check: Check, figures: Figures, context: AuditContext) -> CheckResult:
    """The answer to one check.

    A check whose bad rows are set aside has failed as soon as there is one, so that no bad row stays. When
    the share of good rows is below `mostly`, it is too much to set aside, and the answer's check says stop.
    """
    if check.kind == "row_count":
        return _row_count(check, figures.observed or 0, context.previous_rows)
    if check.kind == "fresh":
        return _fresh(check, figures.observed, context.now)
    rows, failed = figures.rows or 0, figures.failed or 0
    enough = rows - failed >= Decimal(str(check.mostly)) * rows
    passed = failed == 0 if check.on_fail is OnFail.QUARANTINE else enough
    message = _sentence(check, figures)
    if failed and check.mostly < 1:
        message += f"; {check.mostly:.6g} of them must be good"
    if check.on_fail is OnFail.QUARANTINE and check.mostly < 1 and not enough:
        check = replace(check, on_fail=OnFail.STOP)
        message += ", which is too much to set aside"
    return CheckResult(check, passed, message, rows=rows, failed_rows=failed)


def _row_count(check: Check, rows: int, before: int | None) -> CheckResult:
    wishes = check.options
    faults = []
    if rows < wishes.get("min", rows):
        faults.append(f"at least {wishes['min']:,} are wanted")
    if rows > wishes.get("max", rows):
        faults.append(f"at most {wishes['max']:,} are wanted")
    if before is not None and abs(rows - before) > Decimal(str(wishes.get("change", "Infinity"))) * before:
        faults.append(f"there were {before:,} before, and a change of {wishes['change']:.0%} is allowed")
    message = f"the table would have {_some(rows, 'row')}"
    if faults:
        message += ": " + ", ".join(faults)
    return CheckResult(check, not faults, message, observed=rows)


def _fresh(check: Check, newest_us: int | None, now: datetime) -> CheckResult:
    column, allowed_seconds = check.columns[0], check.options["within_seconds"]
    if newest_us is None:
        return CheckResult(check, False, f"{column} has no value at all")
    age_us = (now - EPOCH) // timedelta(microseconds=1) - newest_us
    message = (
        f"the newest {column} is {_duration(max(age_us, 0) // 1_000_000)} old, "
        f"{_duration(allowed_seconds)} is allowed"
    )
    return CheckResult(check, age_us <= allowed_seconds * 1_000_000, message, observed=_moment(newest_us))


def _moment(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds} microseconds since 1970"


def _duration(seconds: int) -> str:
    """In its two largest units."""
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {name}")
    return " ".join(parts[:2]) or "0 s"


def _sentence(check: Check, figures: Figures) -> str:
    rows, failed = figures.rows or 0, figures.failed or 0
    if check.kind in {"unique", "no_duplicates"}:
        return _repetition(check, rows, failed, figures.keys)
    noun = "row" if check.kind in {"not_null", "expression"} else "value"
    of = "" if noun == "row" else f" of {check.columns[0]}"
    good, bad = _PHRASES[check.kind](check)
    if rows == 0:
        return f"there are no {noun}s{of} to look at"
    if failed == 0:
        return f"all {_some(rows, noun)}{of} {good[1]}" if rows > 1 else f"the only {noun}{of} {good[0]}"
    return f"{failed:,} of {_some(rows, noun)}{of} {bad[failed > 1]}"


def _repetition(check: Check, rows: int, failed: int, keys: int) -> str:
    if not check.columns and failed == 0:
        return f"no two of {_some(rows, 'row')} are the same"
    what = f"of {', '.join(check.columns)}" if check.columns else "of all columns together"
    if failed == 0:
        return f"no value {what} comes twice in {_some(rows, 'row')}"
    come = "comes" if keys == 1 else "come"
    return f"{_some(keys, 'value')} {what} {come} more than once, in {failed:,} of {_some(rows, 'row')}"


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


Forms = tuple[str, str]
"""Of one, and of many."""


def _being(what: str) -> tuple[Forms, Forms]:
    """Good and bad, where good is to be something."""
    return (f"is {what}", f"are {what}"), (f"is not {what}", f"are not {what}")


def _not_null(check: Check) -> tuple[Forms, Forms]:
    (column,) = check.columns
    return (f"has {column}", f"have {column}"), (f"has no {column}", f"have no {column}")


def _between(check: Check) -> tuple[Forms, Forms]:
    low, high = check.options.get("min"), check.options.get("max")
    if high is None:
        return _being(f"at least {_shown(low)}")
    return _being(f"at most {_shown(high)}" if low is None else f"between {_shown(low)} and {_shown(high)}")


def _accepted_values(check: Check) -> tuple[Forms, Forms]:
    values = [_shown(value) for value in check.options["values"]]
    more = f" and {len(values) - 5} more" if len(values) > 6 else ""
    return _being(f"one of {', '.join(values[:5] if more else values)}{more}")


def _matches(check: Check) -> tuple[Forms, Forms]:
    pattern = check.options["pattern"]
    named = {"email": "email address", "url": "URL", "uuid": "UUID"}
    if pattern not in named:
        return (
            (f"matches {pattern}", f"match {pattern}"),
            (f"does not match {pattern}", f"do not match {pattern}"),
        )
    article = "an" if pattern == "email" else "a"
    one, many = f"{article} {named[pattern]}", f"{named[pattern]}{'es' if pattern == 'email' else 's'}"
    return (f"is {one}", f"are {many}"), (f"is not {one}", f"are not {many}")


def _type(check: Check) -> tuple[Forms, Forms]:
    kind = check.options["type"]
    return (f"is a {kind}", f"are {kind}"), (f"cannot be read as {kind}", f"cannot be read as {kind}")


def _referential(check: Check) -> tuple[Forms, Forms]:
    return _being(f"in {check.options['to']}.{check.options['field']}")


def _expression(check: Check) -> tuple[Forms, Forms]:
    sql = " ".join(check.options["sql"].split())
    return (f"keeps to {sql}", f"keep to {sql}"), (f"breaks {sql}", f"break {sql}")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_PHRASES: dict[str, Callable[[Check], tuple[Forms, Forms]]] = {
    "not_null": _not_null,
    "non_negative": lambda check: _being("zero or more"),
    "between": _between,
    "accepted_values": _accepted_values,
    "matches": _matches,
    "type": _type,
    "referential": _referential,
    "expression": _expression,
}
