"""Sessions of people who signed in with a password, and how often somebody tried to.

A session that is not in the table does not exist: taking it away is how it is revoked. Attempts are counted
before the password is looked at, so a hundred at the same time are a hundred. Every method takes part in a
transaction that is under way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from asgard.state.database import Rows


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in; instants are seconds since 1970 by the database's clock."""

    id: str
    owner: str
    address: str
    created_at: float
    expires_at: float


class Sessions:
    """The sessions of one workspace.

    Args:
        now: SQL for the database's clock.
    """

    def __init__(self, now: str, workspace: str) -> None:
        self._now = now
        self._workspace = workspace

    def add(self, rows: Rows, session: str, digest: str, who: tuple[str, str], seconds: float) -> Session:
        """Puts a session in, and forgets those that have expired.

        Args:
            who: the user and the address.
        """
        ((now,),) = rows(f"SELECT {self._now}")
        rows(
            "DELETE FROM asgard_sessions WHERE workspace = ? AND expires_at <= ?",
            (self._workspace, now),
        )
        rows(
            "INSERT INTO asgard_sessions (workspace, session, digest, owner, address, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._workspace, session, digest, *who, now, now + seconds),
        )
        return Session(session, *who, now, now + seconds)

    def find(self, rows: Rows, session: str) -> tuple[Session, str, float] | None:
        """The session of an id, the digest of its secret, and the time by the database's clock."""
        found = rows(
            f"SELECT session, owner, address, created_at, expires_at, digest, {self._now}"
            " FROM asgard_sessions WHERE workspace = ? AND session = ?",
            (self._workspace, session),
        )
        return (Session(*found[0][:5]), *found[0][5:]) if found else None

    def of(self, rows: Rows, owner: str) -> list[Session]:
        """The sessions of a user, the oldest first."""
        found = rows(
            "SELECT session, owner, address, created_at, expires_at FROM asgard_sessions"
            f" WHERE workspace = ? AND owner = ? AND expires_at > {self._now} ORDER BY created_at, session",
            (self._workspace, owner),
        )
        return [Session(*row) for row in found]

    def end(self, rows: Rows, session: str) -> bool:
        """Takes one away; False when it was not there."""
        found = rows(
            "DELETE FROM asgard_sessions WHERE workspace = ? AND session = ? RETURNING session",
            (self._workspace, session),
        )
        return bool(found)

    def end_all(self, rows: Rows, owner: str, but: str | None = None) -> int:
        """Takes all of a user away but one; gives how many."""
        return len(
            rows(
                "DELETE FROM asgard_sessions WHERE workspace = ? AND owner = ? AND session <> ?"
                " RETURNING session",
                (self._workspace, owner, but or ""),
            )
        )


class Attempts:
    """How often something was tried within the window that has just passed.

    Args:
        now: SQL for the database's clock.
        window_seconds: what is older does not count.
    """

    def __init__(self, now: str, workspace: str, window_seconds: float) -> None:
        self._now = now
        self._workspace = workspace
        self._window_seconds = window_seconds

    def begin(self, rows: Rows, limits: Mapping[str, int]) -> tuple[str, float]:
        """Counts one attempt for every subject, unless one of them has tried too often.

        Args:
            limits: how often each subject may try within the window.

        Returns:
            The attempt and 0.0; or an empty text and the seconds until the next may begin.
        """
        ((now,),) = rows(f"SELECT {self._now}")
        # A clock that was set back must not lock anybody out for longer than the window.
        rows(
            "UPDATE asgard_attempts SET at = ? WHERE workspace = ? AND at > ?",
            (now, self._workspace, now),
        )
        rows(
            "DELETE FROM asgard_attempts WHERE workspace = ? AND at <= ?",
            (self._workspace, now - self._window_seconds),
        )
        wait_seconds = self.wait_seconds(rows, limits)
        if wait_seconds:
            return "", wait_seconds
        attempt = os.urandom(8).hex()
        for subject in limits:
            rows(
                "INSERT INTO asgard_attempts (workspace, attempt, subject, at) VALUES (?, ?, ?, ?)",
                (self._workspace, attempt, subject, now),
            )
        return attempt, 0.0

    def wait_seconds(self, rows: Rows, limits: Mapping[str, int]) -> float:
        """How long until an attempt may begin; 0.0 for now."""
        ((now,),) = rows(f"SELECT {self._now}")
        longest = 0.0
        for subject, most in limits.items():
            made = rows(
                "SELECT at FROM asgard_attempts WHERE workspace = ? AND subject = ? AND at > ? AND at <= ?"
                " ORDER BY at DESC LIMIT ?",
                (self._workspace, subject, now - self._window_seconds, now, most),
            )
            if len(made) == most:
                longest = max(longest, made[-1][0] + self._window_seconds - now)
        return longest

    def succeed(self, rows: Rows, attempt: str, subject: str) -> None:
        """The attempt counts for nobody, and earlier ones of this subject do not either.

        Those of other subjects go on counting: who knows one password has not earned tries at another.
        """
        rows(
            "DELETE FROM asgard_attempts WHERE workspace = ? AND (attempt = ? OR subject = ?)",
            (self._workspace, attempt, subject),
        )
