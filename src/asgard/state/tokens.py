"""API tokens: what each may, until when, and the SHA-256 of its secret. The secret itself is nowhere.

Every method takes part in a transaction that is under way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asgard.state.database import Rows

_COLUMNS = (
    "token, name, role, owner, sources, pipelines, created_by, created_at, expires_at, used_at, ended_at,"
    " ended_why"
)


@dataclass(frozen=True)
class NewToken:
    """What a token is to be.

    Attributes:
        id: the part of the token that everybody may see.
        owner: the user whose rights are the most that it has; None for one that stands for itself.
        sources, pipelines: what it is good for; both empty for everything.
        created_by: who made it.
        lifetime_seconds: None for one without an end.
    """

    id: str
    name: str
    role: str
    owner: str | None
    sources: tuple[str, ...]
    pipelines: tuple[str, ...]
    created_by: str
    lifetime_seconds: float | None


@dataclass(frozen=True)
class Token:
    """A token as it is known; instants are seconds since 1970 by the database's clock.

    Attributes:
        used_at: when it was used last, to the minute.
        ended_at: since when it is good for nothing.
        ended_why: revoked or expired.
    """

    id: str
    name: str
    role: str
    owner: str | None
    sources: tuple[str, ...]
    pipelines: tuple[str, ...]
    created_by: str
    created_at: float
    expires_at: float | None
    used_at: float | None
    ended_at: float | None
    ended_why: str | None


class Tokens:
    """The tokens of one workspace.

    Args:
        now: SQL for the database's clock.
    """

    def __init__(self, now: str, workspace: str) -> None:
        self._now = now
        self._workspace = workspace

    def add(self, rows: Rows, new: NewToken, digest: str) -> Token:
        """Puts a token in."""
        ((now,),) = rows(f"SELECT {self._now}")
        expires_at = None if new.lifetime_seconds is None else now + new.lifetime_seconds
        (found,) = rows(
            "INSERT INTO asgard_tokens (workspace, token, name, role, owner, sources, pipelines, created_by,"
            f" digest, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
            (self._workspace, new.id, new.name, new.role, new.owner, json.dumps(new.sources),
             json.dumps(new.pipelines), new.created_by, digest, now, expires_at),
        )  # fmt: skip
        return _token(found)

    def find(self, rows: Rows, token: str) -> tuple[Token, str, float] | None:
        """The token of an id, the digest of its secret, and the time by the database's clock."""
        found = rows(
            f"SELECT {_COLUMNS}, digest, {self._now} FROM asgard_tokens WHERE workspace = ? AND token = ?",
            (self._workspace, token),
        )
        return (_token(found[0][:-2]), *found[0][-2:]) if found else None

    def all(self, rows: Rows, owner: str | None = None) -> list[Token]:
        """Every token that ever was, the oldest first.

        Args:
            owner: of this user alone.
        """
        of, given = ("", ()) if owner is None else (" AND owner = ?", (owner,))
        found = rows(
            f"SELECT {_COLUMNS} FROM asgard_tokens WHERE workspace = ?{of} ORDER BY created_at, token",
            (self._workspace, *given),
        )
        return [_token(row) for row in found]

    def good_ones(self, rows: Rows) -> int:
        """How many tokens would be accepted now."""
        ((count,),) = rows(
            "SELECT COUNT(*) FROM asgard_tokens AS t LEFT JOIN asgard_users AS u"
            " ON u.workspace = t.workspace AND u.name = t.owner WHERE t.workspace = ?"
            f" AND t.ended_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > {self._now})"
            " AND u.disabled_at IS NULL",
            (self._workspace,),
        )
        return int(count)

    def end(self, rows: Rows, token: str, why: str) -> bool:
        """Ends a token for good, whatever clocks say later; False when it had ended or never was."""
        found = rows(
            f"UPDATE asgard_tokens SET ended_at = {self._now}, ended_why = ?"
            " WHERE workspace = ? AND token = ? AND ended_at IS NULL RETURNING token",
            (why, self._workspace, token),
        )
        return bool(found)

    def touch(self, rows: Rows, token: str) -> None:
        """Notes that it was used."""
        rows(
            f"UPDATE asgard_tokens SET used_at = {self._now} WHERE workspace = ? AND token = ?",
            (self._workspace, token),
        )


def _token(row: tuple[Any, ...]) -> Token:
    id_, name, role, owner, sources, pipelines, *rest = row
    return Token(id_, name, role, owner, tuple(json.loads(sources)), tuple(json.loads(pipelines)), *rest)
