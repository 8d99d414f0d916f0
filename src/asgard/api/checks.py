"""`/checks`: what tables must be up to, and whether they are now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.served import Platform
from asgard.app.checks.checks import check_tables, declared_checks

router = APIRouter(prefix="/checks", tags=["checks"])


class ChecksRequest(BaseModel):
    """Which tables are looked at."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    tables: list[str] = Field(min_length=1, max_length=100)


@router.get("", openapi_extra=needs("checks.read"))
def list_checks(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The tables that have checks, by name; a name with `*` stands for all that match it in its source."""
    known = declared_checks(platform.workspace(with_sources=True))
    chosen, behind = page_after(sorted(known), cursor, limit)
    return Listed(items=[{"table": name, "checks": known[name]} for name in chosen], next=behind)


@router.post("", openapi_extra=needs("checks.run"))
def run_checks(platform: Platform, posted: ChecksRequest) -> dict[str, Any]:
    """Runs the checks of some tables over all of their rows, and waits for it; nothing is changed."""
    workspace = platform.workspace(with_sources=True)
    found = [{"table": table, **result.as_dict()} for table, result in check_tables(workspace, posted.tables)]
    return {"passed": all(one["passed"] for one in found), "results": found}
