"""Who asks, and may they: one dependency before every route, and an entry in the audit log for every change.

Every route says what it does by an action of `asgard.app.access.ACTIONS`; one that says nothing is a mistake
that stops the server, so that none can be forgotten. From loopback no token is needed, unless a proxy or a
page of somebody else asks; from everywhere else one is, whatever address the server was told to listen at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from asgard.api.problems import Problem
from asgard.api.served import Platform
from asgard.app.access import ACTIONS, Denied, authenticate, insist, is_local_page, needs_token, record
from asgard.core.errors import Bug, Refused

ACTION = "x-asgard-action"
OPEN = "open"
"""The action of what anybody may ask: health, and a session."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
LOOKING = ("GET", "HEAD")


def needs(action: str) -> dict[str, Any]:
    """`openapi_extra` of a route."""
    return {ACTION: action}


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
    insist(access, by, action, target, source=names.get("source"), pipeline=names.get("pipeline"))
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
