"""Wishes about users: who may sign in or own tokens, and with which role."""

from __future__ import annotations

import re
from typing import Any

from asgard.app.access.access import Access, deed, insist
from asgard.app.access.roles import Principal, rank
from asgard.core.errors import ConfigError, Refused
from asgard.schedule.timetable import instant_text
from asgard.secrets import passwords
from asgard.state.database import Rows
from asgard.state.users import User

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


def create_user(
    access: Access, by: Principal, name: str, role: str, password: str | None = None
) -> dict[str, Any]:
    """Puts a user in.

    Args:
        password: to sign in with; None for one who works with tokens alone.

    Raises:
        Refused: only admins may.
        ConfigError: there is one of that name, or name, role or password cannot be one.
    """
    insist(access, by, "users.write", f"user {name}")
    if not NAME.fullmatch(name):
        raise ConfigError(
            "this cannot be the name of a user",
            hint="letters, digits and . _ @ + - after the first, up to 100",
        )
    rank(role)
    written = None if password is None else passwords.hashed(password)
    with access.database.writing() as rows:
        if not access.users.add(rows, name, role, written):
            raise ConfigError(f"there is a user {name!r}", hint="asgard users role changes what they may do")
        access.audit.append(rows, deed(by, "users.create", f"user {name}", detail={"role": role}))
        return _as_dict(_known(access, rows, name))


def list_users(access: Access, by: Principal) -> list[dict[str, Any]]:
    """Every user, by name.

    Raises:
        Refused: only admins may.
    """
    insist(access, by, "users.read")
    with access.database.reading() as rows:
        return [_as_dict(user) for user in access.users.all(rows)]


def user(access: Access, by: Principal, name: str) -> dict[str, Any]:
    """A user, with the sessions that are open. Everybody may look at themselves.

    Raises:
        Refused: others are for admins.
        ConfigError: there is none of that name.
    """
    if by.user != name:
        insist(access, by, "users.read", f"user {name}")
    with access.database.reading() as rows:
        found = _known(access, rows, name)
        sessions = access.sessions.of(rows, name)
    opened = [
        {
            "session": session.id,
            "address": session.address,
            "created_at": instant_text(session.created_at),
            "expires_at": instant_text(session.expires_at),
        }
        for session in sessions
    ]
    return {**_as_dict(found), "sessions": opened}


def change_role(access: Access, by: Principal, name: str, role: str) -> dict[str, Any]:
    """Gives a user another role; it counts from the next request on, for tokens and sessions too.

    Raises:
        Refused: only admins may.
        ConfigError: there is none of that name, or no such role.
    """
    insist(access, by, "users.write", f"user {name}")
    rank(role)
    with access.database.writing() as rows:
        before = _known(access, rows, name).role
        access.users.set_role(rows, name, role)
        detail = {"role": role, "before": before}
        access.audit.append(rows, deed(by, "users.role", f"user {name}", detail=detail))
        return _as_dict(_known(access, rows, name))


def set_password(access: Access, by: Principal, name: str, password: str) -> None:
    """Gives a user another password, and ends all of their sessions.

    Raises:
        Refused: only admins may; for one's own there is `change_password`.
        ConfigError: there is none of that name, or it cannot be a password.
    """
    insist(access, by, "users.write", f"user {name}")
    written = passwords.hashed(password)
    with access.database.writing() as rows:
        _known(access, rows, name)
        access.users.set_password(rows, name, written)
        ended = access.sessions.end_all(rows, name)
        access.audit.append(
            rows, deed(by, "users.password", f"user {name}", detail={"sessions_ended": ended})
        )


def change_password(access: Access, by: Principal, old: str, new: str) -> None:
    """Changes one's own password; ends one's other sessions.

    Raises:
        Refused: nobody is signed in, or the old one is wrong: that counts as a wrong sign-in.
        ConfigError: the new one cannot be a password.
    """
    if by.kind != "session" or by.user is None:
        raise Refused("only who is signed in changes their password", hint="asgard users password")
    # An open browser must not be a place to try passwords at without end.
    limits = {f"password of {by.user}": 5}
    with access.database.writing() as rows:
        attempt, wait_seconds = access.attempts.begin(rows, limits)
        before = access.users.password(rows, by.user)
    if wait_seconds:
        raise Refused("there were too many wrong tries", hint=f"wait for {wait_seconds:.0f} s")
    right = passwords.matches(before, old)
    written = passwords.hashed(new) if right else ""
    with access.database.writing() as rows:
        done = right and access.users.password(rows, by.user) == before
        ended = 0
        if done:
            access.attempts.succeed(rows, attempt, next(iter(limits)))
            access.users.set_password(rows, by.user, written)
            ended = access.sessions.end_all(rows, by.user, but=by.credential)
        outcome, detail = ("done", {"sessions_ended": ended}) if done else ("refused", {})
        access.audit.append(rows, deed(by, "users.password", f"user {by.user}", outcome, detail))
    if not done:
        raise Refused("the old password is wrong", hint="an admin can set another: asgard users password")


def disable_user(access: Access, by: Principal, name: str) -> dict[str, Any]:
    """Takes all rights of a user away, at once: sessions end, and their tokens are refused.

    Raises:
        Refused: only admins may.
        ConfigError: there is none of that name.
    """
    return _set_disabled(access, by, name, disabled=True)


def enable_user(access: Access, by: Principal, name: str) -> dict[str, Any]:
    """Lets a user work again; tokens that were not revoked are good again.

    Raises:
        Refused, ConfigError: as for `disable_user`.
    """
    return _set_disabled(access, by, name, disabled=False)


def end_sessions(access: Access, by: Principal, name: str) -> int:
    """Ends every session of a user, at once and on every machine; gives how many. One's own are one's own.

    Raises:
        Refused: those of others are for admins.
        ConfigError: there is none of that name.
    """
    if by.user != name:
        insist(access, by, "users.write", f"user {name}")
    with access.database.writing() as rows:
        _known(access, rows, name)
        ended = access.sessions.end_all(rows, name)
        access.audit.append(
            rows, deed(by, "users.sign-out", f"user {name}", detail={"sessions_ended": ended})
        )
    return ended


def _set_disabled(access: Access, by: Principal, name: str, *, disabled: bool) -> dict[str, Any]:
    insist(access, by, "users.write", f"user {name}")
    with access.database.writing() as rows:
        _known(access, rows, name)
        access.users.set_disabled(rows, name, disabled)
        if disabled:
            access.sessions.end_all(rows, name)
        access.audit.append(rows, deed(by, "users.disable" if disabled else "users.enable", f"user {name}"))
        return _as_dict(_known(access, rows, name))


def _known(access: Access, rows: Rows, name: str) -> User:
    found = access.users.get(rows, name)
    if found is None:
        raise ConfigError(f"there is no user {name!r}", hint="asgard users lists them")
    return found


def _as_dict(user: User) -> dict[str, Any]:
    known = {
        "user": user.name,
        "role": user.role,
        "has_password": user.has_password,
        "created_at": instant_text(user.created_at),
    }
    if user.disabled_at is not None:
        known["disabled_at"] = instant_text(user.disabled_at)
    return known
