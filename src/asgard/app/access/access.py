"""Wishes about access: who is asking, may they do that, sign in, sign out, write it down.

Knows no web: a server hands over the `Authorization` header and the address, and translates what comes
back. `Denied` is who cannot be told apart from a stranger (401, or 429 with `retry_after_seconds`);
`Refused`, raised, is somebody we know and who may not do this (403).
"""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from asgard.app.access.addresses import is_local_page, needs_token, network_of
from asgard.app.access.credentials import Credential, bearer, new_credential, without_credentials
from asgard.app.access.roles import ACTIONS, ROLES, Principal, allowed, allowed_somewhere, rank, reaches
from asgard.app.config.project import Project
from asgard.app.config.shared_database import Tables, open_database
from asgard.core.errors import Refused, Unreachable
from asgard.core.secret import STARS, Secret
from asgard.secrets import passwords
from asgard.state.access import NAME, SCHEMA, SCHEMA_VERSION
from asgard.state.audit import AuditLog, Deed
from asgard.state.database import Database, Rows
from asgard.state.sessions import Attempts, Sessions
from asgard.state.tokens import Tokens
from asgard.state.users import Users
from asgard.transport.http_rules import SECRET_NAME

__all__ = [
    "ACTIONS", "ROLES", "Access", "Denied", "Principal", "SignedIn", "allowed", "allowed_somewhere",
    "authenticate", "insist", "insist_on_credentials", "is_local_page", "local_principal", "needs_token",
    "open_access", "reaches", "record", "sign_in", "sign_out",
]  # fmt: skip

SESSION_SECONDS = 12 * 3600
WINDOW_SECONDS = 15 * 60
MOST_PER_USER_AND_ADDRESS = 5
MOST_PER_ADDRESS = 20
MOST_PER_USER = 50
TOUCH_SECONDS = 60
"""A token that is used all the time is noted as used so often."""
MOST_NOTED_CHARACTERS = 500
TABLES = Tables(NAME, "access.db", "store of users and tokens", SCHEMA, SCHEMA_VERSION, careful=True)


@dataclass(frozen=True)
class Access:
    """The users, tokens, sessions and the audit log of a project, opened. Used from any thread."""

    database: Database
    users: Users
    tokens: Tokens
    sessions: Sessions
    attempts: Attempts
    audit: AuditLog


@dataclass(frozen=True)
class Denied:
    """Nobody that is known.

    Attributes:
        error: what to tell them.
        retry_after_seconds: they tried too often, and may try again then; None for other reasons.
    """

    error: Refused
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class SignedIn:
    """Somebody who gave the right password.

    Attributes:
        session: what to show as a bearer from now on; it is nowhere else.
        expires_at: seconds since 1970.
    """

    principal: Principal
    session: Secret
    expires_at: float


@contextmanager
def open_access(project: Project) -> Iterator[Access]:
    """The project's users and tokens, in the same place as its queue.

    Raises:
        Unreachable, AuthenticationError, ConfigError, Refused: the database cannot be used.
    """
    database = open_database(project, TABLES)
    try:
        yield access_in(database, project.workspace)
    finally:
        database.close()


def access_in(database: Database, workspace: str = "default") -> Access:
    """The same in a database that is open and has the tables."""
    now = database.now
    return Access(
        database,
        Users(now, workspace),
        Tokens(now, workspace),
        Sessions(now, workspace),
        Attempts(now, workspace, WINDOW_SECONDS),
        AuditLog(now, workspace),
    )


def local_principal() -> Principal:
    """Whoever runs a command here: they can read and write the store itself, so there is nothing to ask."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # a container may have nobody of that number
        login = "somebody"
    return Principal(f"local {login}", ROLES[-1], "local")


# ---- who is asking


def authenticate(
    access: Access, header: str | None, address: str, *, token_needed: bool = True
) -> Principal | Denied:
    """Who shows this header.

    Args:
        header: of `Authorization`; None where there is none.
        address: whom the request came from.
        token_needed: False lets in who shows nothing, as `needs_token` and `is_local_page` say. Who shows
            something is always asked for the right thing.

    Raises:
        Unreachable: the store does not answer: nobody may be let in.
    """
    if not header:
        if not token_needed:
            return Principal("local", ROLES[-1], address)
        return Denied(_refused("this needs a token"))
    given = bearer(header)
    if given is None:
        return _stranger(access, address, "is no token of ours")
    with access.database.reading() as rows:
        found = (_by_token if given.kind == "token" else _by_session)(access, rows, given, address)
    if isinstance(found, Principal):
        return found
    return _stranger(access, address, found)


def _by_token(access: Access, rows: Rows, given: Credential, address: str) -> Principal | str:
    known = access.tokens.find(rows, given.id)
    if known is None or not given.is_of(known[1]):
        return "is not known"
    token, _, now = known
    if token.ended_at is not None:
        return f"was {token.ended_why}" if token.ended_why == "revoked" else "has expired"
    if token.expires_at is not None and token.expires_at <= now:
        with access.database.writing() as writing:  # for good: a clock that is set back revives nothing
            access.tokens.end(writing, given.id, "expired")
        return "has expired"
    role, name = token.role, f"token {token.id}"
    if token.owner is not None:
        owner = access.users.get(rows, token.owner)
        if owner is None or owner.disabled_at is not None:
            return "is of a user who is disabled"
        role, name = min(role, owner.role, key=rank), f"{token.owner} by token {token.id}"
    if token.used_at is None or abs(now - token.used_at) > TOUCH_SECONDS:
        with suppress(Unreachable), access.database.writing() as writing:
            access.tokens.touch(writing, token.id)
    return Principal(name, role, address, "token", token.owner, token.id, token.sources, token.pipelines)


def _by_session(access: Access, rows: Rows, given: Credential, address: str) -> Principal | str:
    known = access.sessions.find(rows, given.id)
    if known is None or not given.is_of(known[1]):
        return "is not known, or has ended"
    session, _, now = known
    user = access.users.get(rows, session.owner)
    if user is None or user.disabled_at is not None:
        return "is of a user who is disabled"
    # A session from the future was made before the clock was set back: it would last too long.
    if not session.created_at - TOUCH_SECONDS <= now < session.expires_at:
        with access.database.writing() as writing:
            access.sessions.end(writing, session.id)
        return "has expired"
    return Principal(user.name, user.role, address, "session", user.name, session.id)


def _stranger(access: Access, address: str, why: str) -> Denied:
    """Writes down who showed something wrong, but not more often than anybody would read."""
    limits = {f"token from {network_of(address)}": MOST_PER_ADDRESS}
    with access.database.reading() as rows:
        wait_seconds = access.attempts.wait_seconds(rows, limits)
    if not wait_seconds:
        with access.database.writing() as rows:
            attempt, wait_seconds = access.attempts.begin(rows, limits)
            if attempt:
                deed = Deed("unknown", "authenticate", "", address, "refused", {"why": f"the token {why}"})
                access.audit.append(rows, deed)
    if wait_seconds:
        return _too_often(wait_seconds)
    return Denied(_refused(f"the token {why}"))


# ---- sign in, sign out


def sign_in(access: Access, user: str, password: str, address: str) -> SignedIn | Denied:
    """Opens a session for a user with a password; takes a good part of a second, whether it is right or not.

    Raises:
        Unreachable: the store does not answer.
        ConfigError: the library that hashes passwords is not installed.
    """
    network = network_of(address)
    # A digest: people type passwords where the name goes, and no state may have one (Promise 6).
    named = hashlib.sha256(user.encode()).hexdigest()[:32]
    both = f"sign-in {named} from {network}"
    limits = {
        both: MOST_PER_USER_AND_ADDRESS,
        f"sign-in from {network}": MOST_PER_ADDRESS,
        f"sign-in {named}": MOST_PER_USER,
    }
    with access.database.writing() as rows:
        attempt, wait_seconds = access.attempts.begin(rows, limits)
        known = access.users.get(rows, user) is not None
        written = access.users.password(rows, user)
    if wait_seconds:
        return _too_often(wait_seconds)
    right = passwords.matches(written, password)
    fresh = passwords.hashed(password) if right and passwords.is_outdated(written or "") else None
    with access.database.writing() as rows:
        found = access.users.get(rows, user)
        if not right or found is None or access.users.password(rows, user) != written:
            target = f"user {user}" if known else "an unknown user"
            access.audit.append(rows, Deed("unknown", "sign-in", target, address, "refused"))
            return Denied(
                Refused("user or password is wrong", hint="an admin can set another: asgard users password")
            )
        if fresh is not None:
            access.users.set_password(rows, user, fresh)
        access.attempts.succeed(rows, attempt, both)
        given, text = new_credential("session")
        session = access.sessions.add(rows, given.id, given.digest, (user, address), SESSION_SECONDS)
        access.audit.append(rows, Deed(user, "sign-in", f"session {given.id}", address))
    principal = Principal(user, found.role, address, "session", user, given.id)
    return SignedIn(principal, text, session.expires_at)


def sign_out(access: Access, by: Principal) -> None:
    """Ends the session that the request came with; at once, on every machine.

    Raises:
        Refused: it came with something else.
    """
    if by.kind != "session" or by.credential is None:
        raise Refused("there is no session to end", hint="asgard tokens revoke ends a token")
    with access.database.writing() as rows:
        access.sessions.end(rows, by.credential)
        access.audit.append(rows, deed(by, "sign-out", f"session {by.credential}"))


# ---- may they


def insist(
    access: Access,
    by: Principal,
    action: str,
    target: str = "",
    *,
    source: str | None = None,
    pipeline: str | None = None,
) -> None:
    """Goes on only if they may (see `allowed`); a refusal is written to the audit log.

    Raises:
        Refused: they may not.
    """
    if allowed(by, action, source=source, pipeline=pipeline):
        return
    record(access, by, action, target, "refused")
    if not allowed_somewhere(by, action):
        raise Refused(f"{action} needs the role {ACTIONS[action]}, {by.name} is {by.role}", hint=_ASK)
    ends = ", ".join((*by.sources, *by.pipelines))
    raise Refused(f"{action} goes beyond what {by.name} is for: {ends}", hint=_ASK)


_ASK = "an admin can give out a token for it: asgard tokens create"


def insist_on_credentials(access: Access, host: str) -> None:
    """Goes on only if a server that listens there lets nobody in unseen, and somebody at all.

    Raises:
        Refused: the address is not loopback, and there is no token and no user yet.
    """
    if not needs_token(host):
        return
    with access.database.reading() as rows:
        people = [user for user in access.users.all(rows) if user.has_password and user.disabled_at is None]
        if people or access.tokens.good_ones(rows):
            return
    raise Refused(
        f"{host or 'every address'} can be reached from other machines, and there is no token to ask for",
        hint="asgard tokens create --name NAME --role admin\nmakes one; without one, listen at 127.0.0.1",
    )


# ---- write it down


def record(
    access: Access,
    by: Principal,
    action: str,
    target: str = "",
    outcome: str = "done",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Writes to the audit log what somebody did, or tried to.

    Args:
        action: one of ACTIONS, or another word of the same form.
        outcome: done, refused or failed.
        detail: JSON values; those with telling names, and tokens in texts, become stars.
    """
    with access.database.writing() as rows:
        access.audit.append(rows, deed(by, action, target, outcome, detail))


def deed(
    by: Principal,
    action: str,
    target: str = "",
    outcome: str = "done",
    detail: Mapping[str, Any] | None = None,
) -> Deed:
    """The entry for it, to be written in a transaction that is under way."""
    return Deed(by.name, action, _plain(target), by.address, outcome, _plain(dict(detail or {})))


def _plain(value: Any, name: str = "") -> Any:
    """Without secrets (Promise 6), and not longer than anybody would read."""
    if name and SECRET_NAME.search(name):
        return STARS
    if isinstance(value, dict):
        return {str(key): _plain(child, str(key)) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_credentials(str(value))[:MOST_NOTED_CHARACTERS]


def _refused(what: str) -> Refused:
    return Refused(what, hint="Authorization: Bearer TOKEN; asgard tokens create makes one")


def _too_often(seconds: float) -> Denied:
    return Denied(
        Refused(f"there were too many wrong tries; the next may come in {seconds:.0f} s", hint="wait"),
        seconds,
    )
