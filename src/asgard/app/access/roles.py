"""Roles, what each may do, and who asks.

Each role may do what the one before it may, and more. Somebody whose rights end at some sources or pipelines
may only do what names one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asgard.core.errors import Bug, ConfigError

ROLES = ("viewer", "operator", "editor", "admin")

ACTIONS = {
    # Looks: everything that was loaded, and how; no secret, and no data before it was masked.
    "sources.read": "viewer",
    "sinks.read": "viewer",
    "pipelines.read": "viewer",
    "tables.read": "viewer",
    "models.read": "viewer",
    "checks.read": "viewer",
    "runs.read": "viewer",
    "schedules.read": "viewer",
    "transforms.read": "viewer",
    "account.write": "viewer",  # one's own password, sessions and tokens
    # Works what is there.
    "sources.check": "operator",
    "pipelines.run": "operator",
    "models.run": "operator",
    "checks.run": "operator",
    "runs.start": "operator",
    "runs.cancel": "operator",
    "schedules.pause": "operator",
    "transforms.cancel": "operator",
    # Changes what there is.
    "sources.sample": "editor",  # rows of the source itself: they are not masked yet
    "sources.write": "editor",
    "sinks.write": "editor",
    "pipelines.write": "editor",
    "models.write": "editor",
    "schedules.write": "editor",
    "tables.write": "editor",  # restore, resync
    "transforms.run": "editor",  # any SELECT, into a table
    "secrets.read": "editor",  # the names: no value is ever given out
    # Decides about people and secrets.
    "secrets.write": "admin",
    "users.read": "admin",
    "users.write": "admin",
    "tokens.read": "admin",  # of everybody
    "tokens.write": "admin",
    "audit.read": "admin",
}
"""Each action with the least role that may do it."""


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: for the audit log: `ada`, `ada by token 3f2a`, `local ada`.
        role: one of ROLES; of a token, the lesser of its own and its owner's.
        address: where the request came from.
        kind: how they showed who they are; `local` needed not to.
        user: None for a token that stands for itself, and for local ones.
        credential: the id of the token or session.
        sources, pipelines: where the rights end; both empty for nowhere.
    """

    name: str
    role: str
    address: str
    kind: Literal["local", "session", "token"] = "local"
    user: str | None = None
    credential: str | None = None
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()

    @property
    def is_scoped(self) -> bool:
        """Whether the rights end at some sources or pipelines."""
        return bool(self.sources or self.pipelines)


def allowed(
    principal: Principal, action: str, *, source: str | None = None, pipeline: str | None = None
) -> bool:
    """Whether somebody may do something.

    Args:
        action: one of ACTIONS.
        source, pipeline: what it is done to. Without them it is done to everything, which who is confined to
            some may not.
    """
    if not allowed_somewhere(principal, action):
        return False
    return reaches(principal, source=source, pipeline=pipeline)


def reaches(principal: Principal, *, source: str | None = None, pipeline: str | None = None) -> bool:
    """Whether somebody's rights reach a source or a pipeline, whatever they are."""
    if not principal.is_scoped:
        return True
    sources, pipelines = map(str.casefold, principal.sources), map(str.casefold, principal.pipelines)
    return (source or "").casefold() in sources or (pipeline or "").casefold() in pipelines


def allowed_somewhere(principal: Principal, action: str) -> bool:
    """Whether there may be something that somebody may do this to; for lists, which ask for every entry."""
    if action not in ACTIONS:
        raise Bug(f"{action} is no action that a role may be asked about")
    return rank(principal.role) >= rank(ACTIONS[action])


def rank(role: str) -> int:
    """How much a role may do, to compare it with others.

    Raises:
        ConfigError: there is no such role.
    """
    if role not in ROLES:
        raise ConfigError(f"there is no role {role!r}", hint=f"one of {', '.join(ROLES)}")
    return ROLES.index(role)
