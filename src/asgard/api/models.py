"""`/models`: the models of the project."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed, page_after
from asgard.api.problems import Problem
from asgard.api.served import Platform
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", openapi_extra=needs("models.read"))
def list_models(platform: Platform, limit: Limit = 50, cursor: Cursor = None) -> Listed:
    """The models, by name."""
    known = _models(platform.workspace())
    chosen, behind = page_after(sorted(known), cursor, limit)
    items = [{key: value for key, value in known[name].items() if key != "sql"} for name in chosen]
    return Listed(items=items, next=behind)


@router.get("/{model}", openapi_extra=needs("models.read"))
def show_model(platform: Platform, model: str) -> dict[str, Any]:
    """One model with its SQL."""
    known = _models(platform.workspace())
    if model not in known:
        raise Problem(404, ConfigError(f"there is no model {model!r}", hint="GET /models lists them"))
    return known[model]


def _models(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {
        str(model.name): {
            "model": str(model.name),
            "mode": str(model.spec.mode),
            "reads": [str(name) for name in model.upstream],
            "checks": len(model.checks) + len(model.promises),
            "contract": model.contract or None,
            "description": model.spec.description,
            "file": model.file,
            "sql": model.sql.strip(),
        }
        for model in workspace.models
    }
