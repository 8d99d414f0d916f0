"""`/diffs`: how two tables, two versions of one, or one in two environments differ."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.tables.diff import DiffWish
from asgard.app.tables.diffs import add_diff, found_diff

router = APIRouter(prefix="/diffs", tags=["tables"])
Name = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
Version = Annotated[int, Field(ge=0, le=1 << 62)]


class DiffRequest(BaseModel):
    """What is compared: as `asgard diff` takes it."""

    model_config = ConfigDict(extra="forbid")  # a misspelled key must not mean everything

    a: Name = Field(description="A table: silver.orders; dev:silver.orders is that of an environment.")
    b: Name | None = Field(default=None, description="The other one; by default a again.")
    at_a: Version | None = None
    at_b: Version | None = None
    keys: list[Name] = Field(default=[], max_length=100, description="Columns that tell rows apart.")
    ignore: list[Name] = Field(default=[], max_length=1000)
    metadata: bool = Field(default=False, description="What loads say of themselves is compared, too.")
    samples: int = Field(default=5, ge=0, le=1000, description="Rows to show of each kind.")


@router.post("", status_code=202, openapi_extra=needs("checks.run"))
def start_diff(platform: Platform, posted: DiffRequest) -> dict[str, Any]:
    """Puts a comparison into the queue; the answer is its job, by whose id the result is asked for."""
    said = posted.model_dump()
    keys, ignore = tuple(said.pop("keys")), tuple(said.pop("ignore"))
    wish = DiffWish(**{**said, "b": posted.b or ""}, keys=keys, ignore=ignore)
    return add_diff(platform.project(), wish)


@router.get("/{job}", openapi_extra=needs("tables.read"))
def show_diff(platform: Platform, job: str) -> dict[str, Any]:
    """One comparison; `result` is there once it is done."""
    with looked_up():
        return found_diff(platform.project(), job)
