"""Wishes about API tokens: make one, list them, revoke one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgard.app.access.access import Access, deed, insist
from asgard.app.access.credentials import new_credential
from asgard.app.access.roles import Principal, allowed, rank
from asgard.core.errors import ConfigError, Refused
from asgard.core.secret import Secret
from asgard.schedule.timetable import instant_text
from asgard.state.tokens import NewToken, Token

LIFETIME_SECONDS = 90 * 86400
MOST_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class TokenWish:
    """What a token is to be.

    Attributes:
        name: what it is for, for people.
        owner: the user whose rights are the most that it has; None for one that stands for itself.
        sources, pipelines: what it is good for; both empty for everything.
        lifetime_seconds: None for one without an end.
    """

    name: str
    role: str = "viewer"
    owner: str | None = None
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    lifetime_seconds: float | None = LIFETIME_SECONDS


def create_token(access: Access, by: Principal, wish: TokenWish) -> tuple[dict[str, Any], Secret]:
    """Makes a token; gives what is known of it, and its text, which is never seen again.

    Raises:
        Refused: it would be of somebody else, or may more than whoever asks for it.
        ConfigError: there is no such role or user, or the name or the lifetime cannot be one.
    """
    _insist_may_create(access, by, wish)
    if not wish.name.strip() or not wish.name.isprintable() or len(wish.name) > MOST_NAME_CHARACTERS:
        raise ConfigError("a token has a name, to know it by", hint="what it is for: nightly loads")
    if wish.lifetime_seconds is not None and not 0 < wish.lifetime_seconds < 1e10:
        raise ConfigError(f"{wish.lifetime_seconds} s is no lifetime", hint="for example 90d, or never")
    given, text = new_credential("token")
    new = NewToken(given.id, wish.name, wish.role, wish.owner, wish.sources, wish.pipelines, by.name,
                   wish.lifetime_seconds)  # fmt: skip
    detail = {"name": wish.name, "role": wish.role, "owner": wish.owner, "sources": wish.sources,
              "pipelines": wish.pipelines, "lifetime_seconds": wish.lifetime_seconds}  # fmt: skip
    with access.database.writing() as rows:
        if wish.owner is not None and access.users.get(rows, wish.owner) is None:
            raise ConfigError(f"there is no user {wish.owner!r}", hint="asgard users lists them")
        token = access.tokens.add(rows, new, given.digest)
        access.audit.append(rows, deed(by, "tokens.create", f"token {given.id}", detail=detail))
    return _as_dict(token), text


def _insist_may_create(access: Access, by: Principal, wish: TokenWish) -> None:
    wanted = rank(wish.role)
    if not allowed(by, "tokens.write"):
        if wish.owner is None or wish.owner != by.user or by.kind != "session":
            # A token that made others would outlive its own end.
            insist(access, by, "tokens.write", "a token")
        insist(access, by, "account.write", "a token")
    if wanted > rank(by.role):
        raise Refused(f"{by.name} is {by.role}, and gives nobody more than that", hint="ask an admin")


def list_tokens(access: Access, by: Principal, owner: str | None = None) -> list[dict[str, Any]]:
    """Every token that ever was, the oldest first, without its text. Everybody may ask for their own.

    Raises:
        Refused: those of others are for admins.
    """
    if owner is None or owner != by.user:
        insist(access, by, "tokens.read")
    with access.database.reading() as rows:
        return [_as_dict(token) for token in access.tokens.all(rows, owner)]


def revoke_token(access: Access, by: Principal, token: str) -> dict[str, Any]:
    """Ends a token for good, at once and on every machine. A token may end itself.

    Args:
        token: its id: what stands between the first and the second `_`.

    Raises:
        Refused: it is neither one's own, nor are they an admin.
        ConfigError: there is none of that id, or it has ended.
    """
    with access.database.reading() as rows:
        found = access.tokens.find(rows, token)
    own = found is not None and by.user is not None and found[0].owner == by.user and by.kind == "session"
    if not own and by.credential != token:
        insist(access, by, "tokens.write", f"token {token}")
    if found is None:
        raise ConfigError(f"there is no token {token!r}", hint="asgard tokens list shows their ids")
    with access.database.writing() as rows:
        if not access.tokens.end(rows, token, "revoked"):
            raise ConfigError(f"token {token} has ended already", hint="there is nothing to do")
        access.audit.append(rows, deed(by, "tokens.revoke", f"token {token}"))
        ended = access.tokens.find(rows, token)
    assert ended is not None
    return _as_dict(ended[0])


def _as_dict(token: Token) -> dict[str, Any]:
    """A token as JSON; what is not known is absent (Promise 8)."""
    known: dict[str, Any] = {
        "token": token.id,
        "name": token.name,
        "role": token.role,
        "owner": token.owner,
        "sources": list(token.sources) or None,
        "pipelines": list(token.pipelines) or None,
        "created_by": token.created_by,
        "ended": token.ended_why,
    }
    for name in ("created_at", "expires_at", "used_at", "ended_at"):
        instant = getattr(token, name)
        known[name] = None if instant is None else instant_text(instant)
    return {name: value for name, value in known.items() if value is not None}
