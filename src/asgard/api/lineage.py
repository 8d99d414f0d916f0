"""`/lineage`: what columns are made of, and what is made of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from asgard.api.access import needs
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.models.lineage import LineageGraph

router = APIRouter(prefix="/lineage", tags=["models"])


@router.get("/{of}", openapi_extra=needs("models.read"))
def show_lineage(platform: Platform, of: str) -> dict[str, Any]:
    """A table, as gold.revenue: each of its columns; or a column, as gold.revenue.total: every step to it and
    from it. `unknown` has models whose SQL cannot be followed, and why."""
    graph = LineageGraph(platform.workspace_of(None))
    with looked_up():
        said = graph.named(of)
    return {**said, "unknown": graph.unknown}
