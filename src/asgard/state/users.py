"""Users: their names, roles, and the hashes of their passwords.

Knows nothing of what a role may do. Every method takes part in a transaction that is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgard.state.database import Rows

_COLUMNS = "name, role, password IS NOT NULL, created_at, disabled_at"


@dataclass(frozen=True)
class User:
    """A user; instants are seconds since 1970 by the database's clock.

    Attributes:
        has_password: whether there is a password to sign in with.
        disabled_at: since when nothing is granted; None for a user who may work.
    """

    name: str
    role: str
    has_password: bool
    created_at: float
    disabled_at: float | None


class Users:
    """The users of one workspace.

    Args:
        now: SQL for the database's clock.
    """

    def __init__(self, now: str, workspace: str) -> None:
        self._now = now
        self._workspace = workspace

    def add(self, rows: Rows, name: str, role: str, password: str | None) -> bool:
        """Puts a user in; False when there is one of that name.

        Args:
            password: its hash; None for one who works with tokens alone.
        """
        found = rows(
            "INSERT INTO asgard_users (workspace, name, role, password, created_at)"
            f" VALUES (?, ?, ?, ?, {self._now}) ON CONFLICT (workspace, name) DO NOTHING RETURNING name",
            (self._workspace, name, role, password),
        )
        return bool(found)

    def get(self, rows: Rows, name: str) -> User | None:
        """The user of that name."""
        found = rows(
            f"SELECT {_COLUMNS} FROM asgard_users WHERE workspace = ? AND name = ?", (self._workspace, name)
        )
        return _user(found[0]) if found else None

    def all(self, rows: Rows) -> list[User]:
        """Every user, by name."""
        found = rows(
            f"SELECT {_COLUMNS} FROM asgard_users WHERE workspace = ? ORDER BY name", (self._workspace,)
        )
        return [_user(row) for row in found]

    def password(self, rows: Rows, name: str) -> str | None:
        """The hash of the password of a user who may work; None where there is none."""
        found = rows(
            "SELECT password FROM asgard_users WHERE workspace = ? AND name = ? AND disabled_at IS NULL",
            (self._workspace, name),
        )
        return found[0][0] if found else None

    def set_role(self, rows: Rows, name: str, role: str) -> None:
        """Counts from the next request on, for tokens and sessions too."""
        self._set(rows, name, "role = ?", role)

    def set_password(self, rows: Rows, name: str, password: str) -> None:
        """Puts the hash of another password in."""
        self._set(rows, name, "password = ?", password)

    def set_disabled(self, rows: Rows, name: str, disabled: bool) -> None:
        """A disabled user has no rights, and keeps name and history."""
        self._set(rows, name, f"disabled_at = CASE WHEN ? = 1 THEN {self._now} END", int(disabled))

    def _set(self, rows: Rows, name: str, change: str, value: Any) -> None:
        rows(
            f"UPDATE asgard_users SET {change} WHERE workspace = ? AND name = ?",
            (value, self._workspace, name),
        )


def _user(row: tuple[Any, ...]) -> User:
    name, role, has_password, created_at, disabled_at = row
    return User(name, role, bool(has_password), created_at, disabled_at)
