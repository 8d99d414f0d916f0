"""Wishes about the audit log: look at it, and see that nobody has tampered with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgard.app.access.access import Access, insist
from asgard.app.access.roles import Principal
from asgard.core.errors import ConfigError
from asgard.schedule.timetable import instant_text
from asgard.state.audit import Entry


@dataclass(frozen=True)
class AuditPage:
    """Some entries, the newest first; `next` is the cursor of the page behind them, None for the last."""

    items: list[dict[str, Any]]
    next: int | None


@dataclass(frozen=True)
class AuditWish:
    """Which entries are asked for; None for any.

    Attributes:
        before: the cursor of an earlier page.
    """

    who: str | None = None
    action: str | None = None
    outcome: str | None = None
    before: int | None = None
    limit: int = 50


def audit_entries(access: Access, by: Principal, wish: AuditWish) -> AuditPage:
    """The audit log, a page at a time.

    Raises:
        Refused: only admins may.
    """
    insist(access, by, "audit.read")
    with access.database.reading() as rows:
        found = access.audit.entries(
            rows, before=wish.before, limit=wish.limit + 1, who=wish.who, action=wish.action,
            outcome=wish.outcome,
        )  # fmt: skip
    more = len(found) > wish.limit
    return AuditPage(
        [_as_dict(entry) for entry in found[: wish.limit]], found[wish.limit - 1].number if more else None
    )


def verify_audit(access: Access, by: Principal, expected: str | None = None) -> dict[str, Any]:
    """Works every hash of the log out again.

    Args:
        expected: the `head` that an earlier call gave, kept elsewhere: finds a log that was cut off or
            written anew as a whole.

    Returns:
        entries: how many there are; head: what to keep elsewhere.

    Raises:
        Refused: only admins may.
        DataError: the log is not as it was written; `where` has the number of the first wrong entry.
        ConfigError: `expected` is none.
    """
    insist(access, by, "audit.read")
    known = None if expected is None else _head(expected)
    with access.database.reading() as rows:
        number, last = access.audit.verify(rows, known)
    return {"entries": number, "head": f"{number}:{last}"}


def _head(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not (number.isdecimal() and len(digest) == 64):
        raise ConfigError(
            f"{text!r} is no head of the log", hint="asgard audit verify prints it: NUMBER:HASH"
        )
    return int(number), digest


def _as_dict(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": instant_text(entry.at_microseconds / 1_000_000),
        "who": entry.who,
        "action": entry.action,
        "target": entry.target,
        "address": entry.address,
        "outcome": entry.outcome,
        "detail": dict(entry.detail),
    }
