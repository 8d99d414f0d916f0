"""Who asks, and may they: one dependency before every route, and an entry in the audit log for every change.

Every route says what it does by an action of `app.access.access.ACTIONS`; one that says nothing is a mistake
that stops the server, so that none can be forgotten. From loopback no token is needed, unless a proxy or a
page of somebody else asks; from everywhere else one is, whatever address the server was told to listen at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from asgard.api.problems import Problem
from asgard.api.served import Platform
from asgard.app.access.access import (
    ACTIONS,
    Denied,
    Principal,
    allowed_somewhere,
    authenticate,
    insist,
    is_local_page,
    needs_token,
    reaches,
    record,
)
from asgard.core.errors import Bug, ConfigError, Refused

ACTION = "x-asgard-action"
OPEN = "open"
"""The action of what anybody may ask: health, and a session."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
LOOKING = ("GET", "HEAD")


CONFINED = "x-asgard-confined"


def needs(action: str, *, confined: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a route.

    Args:
        confined: the route itself keeps those whose rights end at some sources to these, by `Reach`. Other
            routes are closed to them, unless their path names the source or the pipeline.
    """
    return {ACTION: action, **({CONFINED: True} if confined else {})}


class Reached:
    """How far the rights of whoever asks go: nothing beyond that is listed, shown or changed for them."""

    def __init__(self, request: Request) -> None:
        self._principal: Principal = request.state.principal

    @property
    def is_everything(self) -> bool:
        """Whether they end nowhere."""
        return not self._principal.is_scoped

    def has(self, source: str | None, pipeline: str | None = None) -> bool:
        """Whether they reach this source, or this pipeline."""
        return reaches(self._principal, source=source, pipeline=pipeline)

    def insist(self, source: str | None, pipeline: str | None = None, *, what: str) -> None:
        """Goes on only if they do.

        Raises:
            ConfigError: they do not: what is beyond them is not there for them.
        """
        if not self.has(source, pipeline):
            raise ConfigError(f"there is no {what}", hint="or it is beyond what this token is for")


Reach = Annotated[Reached, Depends(Reached)]
"""The parameter by which a route asks for it."""


def insist_on_actions(routes: Iterable[BaseRoute]) -> None:
    """Sees that every route says what it does.

    Raises:
        Bug: one does not.
    """
    for route in routes:
        if isinstance(route, APIRoute) and _action(route) not in (*ACTIONS, OPEN):
            raise Bug(f"the route {route.path} says no action that somebody may be asked about")


def guard(request: Request, platform: Platform) -> Iterator[None]:
    """Lets in who may do what the route does, and writes down what changes something.

    Raises:
        Problem: 401 for strangers, 429 for those that tried too often.
        Refused: they may not.
    """
    route = request.scope["route"]
    action = _action(route)
    if action == OPEN:
        yield
        return
    access = platform.access()
    address = asker(request)
    header = request.headers.get("authorization")
    by = authenticate(access, header, address, token_needed=not _is_local(request, address))
    if isinstance(by, Denied):
        raise denied(by)
    names = request.path_params
    target = f"{request.method} {request.url.path}"
    confined = CONFINED in (route.openapi_extra or {})
    source, pipeline = names.get("source"), names.get("pipeline")
    if not (confined and allowed_somewhere(by, action)):
        insist(access, by, action, target, source=source, pipeline=pipeline)
    request.state.principal = by
    if request.method in LOOKING:
        yield
        return
    try:
        yield
    except BaseException as error:
        record(access, by, action, target, "failed", {"error": type(error).__name__})
        raise
    record(access, by, action, target)


def asker(request: Request) -> str:
    """The address that a request came from; empty where it came through a file."""
    return request.client.host if request.client else ""


def denied(by: Denied) -> Problem:
    """The answer to a stranger."""
    if by.retry_after_seconds is not None:
        return Problem(429, by.error, {"Retry-After": str(int(by.retry_after_seconds) + 1)})
    error = Refused(by.error.what, hint=by.error.hint)
    return Problem(401, error, {"WWW-Authenticate": "Bearer"})


def _is_local(request: Request, address: str) -> bool:
    headers = request.headers
    if needs_token(address) or any(name in headers for name in FORWARDED):
        return False
    return is_local_page(headers.get("host"), headers.get("origin"))


def _action(route: APIRoute) -> str:
    return str((route.openapi_extra or {}).get(ACTION))
