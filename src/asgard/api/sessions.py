"""`/session`: users sign in by a password, and show what they get as a bearer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, SecretStr

from asgard.api.access import OPEN, asker, denied, needs
from asgard.api.served import Platform
from asgard.app.access.access import Denied, sign_in, sign_out
from asgard.core.secret import reveal

router = APIRouter(prefix="/session", tags=["session"])


class SignIn(BaseModel):
    """Who signs in."""

    user: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(min_length=1, max_length=1000)


@router.post("", status_code=201, openapi_extra=needs(OPEN))
def create_session(platform: Platform, request: Request, posted: SignIn) -> dict[str, Any]:
    """Opens a session."""
    found = sign_in(platform.access(), posted.user, reveal(posted.password) or "", asker(request))
    if isinstance(found, Denied):
        raise denied(found)
    until = datetime.fromtimestamp(found.expires_at, UTC).isoformat(timespec="seconds")
    return {"token": reveal(found.session), "role": found.principal.role, "expires_at": until}


@router.delete("", openapi_extra=needs("account.write"))
def end_session(platform: Platform, request: Request) -> dict[str, Any]:
    """Ends the session that the request came with."""
    sign_out(platform.access(), request.state.principal)
    return {"ended": True}
