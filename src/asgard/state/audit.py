"""The audit log: who did what, when, from where, and how it ended. It only grows.

Every entry carries the SHA-256 of itself and of the entry before, and the last one is written down a second
time. So an entry that was changed, taken away, put in between or cut off at the end is found by `verify`.
Whoever can write the whole store can also make a whole new chain: against that, number and hash of the last
entry are kept elsewhere, and `verify` is told of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgard.core.errors import DataError
from asgard.state.database import Rows

FORMAT = 1
PAGE_ENTRIES = 1000
_COLUMNS = "number, at_microseconds, who, action, target, address, outcome, detail, hash"


@dataclass(frozen=True)
class Deed:
    """What is to be remembered; without secrets.

    Attributes:
        action: what was asked for: `tokens.create`.
        target: of what: `token 3f2a`; empty where the action says it all.
        outcome: done, refused or failed.
        detail: further JSON values.
    """

    who: str
    action: str
    target: str
    address: str
    outcome: str = "done"
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry(Deed):
    """A deed in the log.

    Attributes:
        number: 1 for the first; none is left out.
        at_microseconds: since 1970 by the database's clock.
        hash: hexadecimal SHA-256 of this entry and of the hash before.
    """

    number: int = 0
    at_microseconds: int = 0
    hash: str = ""


class AuditLog:
    """The log of one workspace. Every method takes part in a transaction that is under way.

    Args:
        now: SQL for the database's clock.
    """

    def __init__(self, now: str, workspace: str) -> None:
        self._now = now
        self._workspace = workspace

    def append(self, rows: Rows, deed: Deed) -> None:
        """Writes an entry; it stands or falls with the transaction, which must be one that writes."""
        ((now,),) = rows(f"SELECT {self._now}")
        last, previous = self.head(rows)
        detail = json.dumps(deed.detail, sort_keys=True)
        row = (last + 1, int(now * 1_000_000), deed.who, deed.action, deed.target, deed.address,
               deed.outcome, detail)  # fmt: skip
        fresh = self._hash(previous, row)
        rows(
            f"INSERT INTO asgard_audit (workspace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._workspace, *row, fresh),
        )
        rows(
            "INSERT INTO asgard_audit_head (workspace, number, hash) VALUES (?, ?, ?)"
            " ON CONFLICT (workspace) DO UPDATE SET number = excluded.number, hash = excluded.hash",
            (self._workspace, last + 1, fresh),
        )

    def entries(
        self, rows: Rows, *, before: int | None = None, limit: int = 50, **asked: str | None
    ) -> list[Entry]:
        """The newest first.

        Args:
            before: only entries with lower numbers.
            asked: `who`, `action`, `target`, `outcome`, `address`: only entries with exactly that.
        """
        kept: dict[str, Any] = {
            f"{column} = ?": value for column, value in asked.items() if value is not None
        }
        if before is not None:
            kept["number < ?"] = before
        where = "".join(f" AND {sql}" for sql in kept)
        found = rows(
            f"SELECT {_COLUMNS} FROM asgard_audit WHERE workspace = ?{where} ORDER BY number DESC LIMIT ?",
            (self._workspace, *kept.values(), limit),
        )
        return [_entry(row) for row in found]

    def head(self, rows: Rows) -> tuple[int, str]:
        """Number and hash of the last entry, as noted beside the log; 0 and no hash before the first."""
        found = rows("SELECT number, hash FROM asgard_audit_head WHERE workspace = ?", (self._workspace,))
        return found[0] if found else (0, "")

    def verify(self, rows: Rows, expected: tuple[int, str] | None = None) -> tuple[int, str]:
        """Works every hash out again; gives number and hash of the last entry. Others may write meanwhile.

        Args:
            expected: number and hash of an entry, as an earlier call gave them.

        Raises:
            DataError: the log is not as it was written; `where` has the first entry that is wrong.
        """
        number, previous = 0, ""
        while True:
            head = self.head(rows)  # read before the page: what is written after it may come in the page too
            page = rows(
                f"SELECT {_COLUMNS} FROM asgard_audit WHERE workspace = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                (self._workspace, number, PAGE_ENTRIES),
            )
            for row in page:
                number += 1
                previous = self._checked(row, number, previous)
                if expected is not None and number == expected[0] and previous != expected[1]:
                    raise _tampered(number, "is not the one that it was: the log was written anew")
            if head[0] == number and head[1] != previous:
                raise _tampered(number, "is not the one that was noted as the last")
            if not page:
                break
        if head[0] != number or head[1] != previous:
            raise _tampered(number + 1, "is missing, or entries behind it were put in by hand")
        if expected is not None and not 0 < expected[0] <= number:
            raise _tampered(expected[0], "is missing: the log was cut off")
        return number, previous

    def _checked(self, row: tuple[Any, ...], number: int, previous: str) -> str:
        *content, written = row
        if content[0] != number:
            raise _tampered(number, "is missing")
        if self._hash(previous, tuple(content)) != written:
            raise _tampered(number, "was changed, or one before it")
        return str(written)

    def _hash(self, previous: str, row: tuple[Any, ...]) -> str:
        # A JSON array: no two different entries have the same text.
        text = json.dumps([FORMAT, self._workspace, previous, *row])
        return hashlib.sha256(text.encode()).hexdigest()


def _entry(row: tuple[Any, ...]) -> Entry:
    number, at_microseconds, who, action, target, address, outcome, detail, written = row
    return Entry(who, action, target, address, outcome, json.loads(detail), number, at_microseconds, written)


def _tampered(number: int, what: str) -> DataError:
    return DataError(
        f"entry {number} of the audit log {what}",
        hint="somebody wrote to the store past Asgard: compare with a backup, and change who can write there",
        where={"entry": str(number)},
    )
