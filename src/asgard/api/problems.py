"""Errors as answers: problem+json with what, hint and where. No answer repeats what was posted (Promise 6).

Reference: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    Bug,
    Cancelled,
    ConfigError,
    Conflict,
    DataError,
    OutOfSpace,
    Refused,
    Unreachable,
)

PROBLEM = "application/problem+json"
STATUS: tuple[tuple[type[AsgardError], int], ...] = (
    (ConfigError, 422),
    (AuthenticationError, 424),
    (Refused, 403),
    (DataError, 409),
    (Conflict, 409),
    (Cancelled, 409),
    (OutOfSpace, 507),
    (Unreachable, 503),
    (Bug, 500),
)
"""The first that fits. That a system behind us refuses who we say we are is no matter of the client's own."""
LOG = logging.getLogger("uvicorn.error")


class ProblemBody(BaseModel):
    """What is wrong, what to do next, and where: `what`, `hint`, `where`."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    what: str
    hint: str
    where: dict[str, str]


_CONTENT: dict[str, Any] = {PROBLEM: {"schema": ProblemBody.model_json_schema()}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request, or what it asks for, is wrong; or who asks may not.",
        "content": _CONTENT,
    },
    503: {"description": "A system behind the server does not answer, or not yet.", "content": _CONTENT},
    507: {"description": "There is no space left.", "content": _CONTENT},
}
"""What every operation may answer instead of what it is asked for."""


class Problem(Exception):
    """An answer that is a problem, where an error of the core does not tell enough."""

    def __init__(self, status: int, error: AsgardError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.what)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


@contextmanager
def looked_up() -> Iterator[None]:
    """What is not there is 404: around wishes whose one mistake can be a wrong id or name."""
    try:
        yield
    except ConfigError as error:
        raise Problem(404, error) from error


def problem(status: int, error: AsgardError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.what,
        "error": type(error).__name__,
        "what": error.what,
        "hint": error.hint,
        "where": error.where,
    }
    return JSONResponse(body, status, dict(headers or {}), PROBLEM)


def handle_problems(app: FastAPI) -> None:
    """Makes every error of the application a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(AsgardError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error.status, error.error, error.headers)


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AsgardError)
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    headers = {"Retry-After": "5"} if status == 503 else {}
    return problem(status, error, headers)


def _on_wrong_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = [(".".join(str(step) for step in one["loc"]), str(one["msg"])) for one in error.errors()]
    what = "\n".join(f"{place}: {message}" for place, message in told)
    where = {"request": ", ".join(place for place, _ in told)}
    return problem(422, ConfigError(what, hint="/docs has what is expected", where=where))


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "/docs lists what there is" if error.status_code in (404, 405) else ""
    what = f"{request.method} {request.url.path}: {error.detail}"
    return problem(error.status_code, ConfigError(what, hint=hint), error.headers)


def _on_bug(request: Request, error: Exception) -> Response:
    LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
    hint = "a mistake in Asgard; the server's log has the trace. Please report it with that"
    return problem(500, Bug(f"{type(error).__name__} in {request.method} {request.url.path}", hint=hint))
