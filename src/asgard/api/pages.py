"""Lists in pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]


class Listed(BaseModel):
    """A page of a list."""

    items: list[dict[str, Any]]
    next: str | None = Field(description="The cursor of the page behind it; null for the last.")


def page_after(names: list[str], cursor: str | None, limit: int) -> tuple[list[str], str | None]:
    """The page of sorted names behind a name, and the next cursor."""
    behind = [name for name in names if cursor is None or name > cursor]
    chosen = behind[:limit]
    return chosen, chosen[-1] if len(behind) > limit else None
