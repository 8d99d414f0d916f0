"""`/secrets`: names of the encrypted store. A value goes in, and none ever comes out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.secrets import secrets
from asgard.app.secrets import uses as secret_uses
from asgard.core.secret import reveal

router = APIRouter(prefix="/secrets", tags=["secrets"])


class SecretRequest(BaseModel):
    """A value."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not set another value than meant

    value: SecretStr = Field(min_length=1, max_length=1 << 20)


@router.get("", openapi_extra=needs("secrets.read"))
def list_secrets(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The names, and when each was set."""
    known = {entry["name"]: entry for entry in secrets.list_secrets(platform.project().file)}
    chosen, behind = page_after(sorted(known), cursor, limit)
    return Listed(items=[known[name] for name in chosen], next=behind)


@router.post("/rotate", openapi_extra=needs("secrets.write"))
def rotate_secrets(platform: Platform) -> dict[str, Any]:
    """Locks every secret anew; with a new key where the keys rest in a file. The values stay."""
    return secrets.rotate_secrets(platform.project().file)


@router.get("/{name:path}", openapi_extra=needs("secrets.read"))
def show_secret(platform: Platform, name: str) -> dict[str, Any]:
    """When a secret was set, and where it is used: keys of asgard.yml, posted sources and sinks."""
    with looked_up():
        return secret_uses.show_secret(platform.project(), name)


@router.put("/{name:path}", openapi_extra=needs("secrets.write"))
def set_secret(platform: Platform, name: str, posted: SecretRequest) -> dict[str, Any]:
    """Puts a secret in, or in the place of an older one: `${store:NAME}` is its value from now on."""
    secrets.set_secret(platform.project().file, name, reveal(posted.value) or "")
    return {"name": name}


@router.delete("/{name:path}", openapi_extra=needs("secrets.write"))
def delete_secret(platform: Platform, name: str) -> dict[str, Any]:
    """Takes a secret away."""
    with looked_up():
        secrets.delete_secret(platform.project().file, name)
    return {"name": name}
