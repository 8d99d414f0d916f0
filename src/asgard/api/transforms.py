"""`/transform`: one SELECT over what was ingested, its rows into a table of silver."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from asgard.api.access import needs
from asgard.api.pages import Cursor, Limit, Listed
from asgard.api.problems import looked_up
from asgard.api.served import Platform
from asgard.app.documents import transforms

router = APIRouter(prefix="/transform", tags=["transform"])
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}[kmgtKMGT]?[bB]?$")]
Cores = Annotated[int, Field(ge=1, le=1024)]


class TransformRequest(BaseModel):
    """A transform. What is said of executors and the driver counts on Spark alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sql": "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id"}
            ]
        }
    )
    sql: str = Field(min_length=1, max_length=1_000_000, description="Exactly one SELECT.")
    write_mode: Literal["overwrite", "append"] = "overwrite"
    table: str | None = Field(
        default=None,
        max_length=100,
        description="The table of silver; by default one that belongs to this SQL alone.",
    )
    executor_instances: Annotated[int, Field(ge=1, le=10_000)] = 2
    executor_cores: Cores = 1
    executor_memory: Memory = "512m"
    driver_cores: Cores = 1
    driver_memory: Memory = "512m"


class TransformStatus(BaseModel):
    """How a transform is going; null is what its engine has not."""

    run_id: str
    spark_application: str | None
    namespace: str | None
    state: str
    driver_pod: str | None
    executor_count: int | None
    creation_time: str
    spark_version: str | None
    engine: str
    job_id: str
    table: str
    write_mode: str
    attempt: int
    error: str | None


class TransformMetrics(BaseModel):
    """What a transform took; null is what is not known, or not yet."""

    run_id: str
    state: str
    engine: str
    duration_seconds: float | None
    rows_in: int | None
    bytes_in: int | None
    rows_out: int | None
    bytes_out: int | None
    peak_memory_bytes: int | None
    executors: int | None


@router.post("", status_code=202, openapi_extra=needs("transforms.run"))
def submit_transform(platform: Platform, posted: TransformRequest) -> dict[str, Any]:
    """Puts a transform into the queue. It reads the first sink: `source_data`, every bronze table by name."""
    wanted = posted.model_dump(exclude={"sql", "write_mode", "table"})
    new = transforms.NewTransform(posted.sql, posted.write_mode == "append", posted.table, wanted)
    return transforms.add_transform(platform.project(), new)


@router.get("/jobs", openapi_extra=needs("transforms.read"))
def list_transforms(
    platform: Platform,
    limit: Limit = 20,
    status_filter: Annotated[str | None, Query(description="COMPLETED, RUNNING, FAILED, ...")] = None,
    cursor: Cursor = None,
) -> Listed:
    """The transforms, the newest first."""
    page = transforms.transforms(platform.project(), status_filter, cursor, limit)
    return Listed(items=page.items, next=page.next)


@router.get("/{run_id}/status", openapi_extra=needs("transforms.read"))
def transform_status(platform: Platform, run_id: str) -> TransformStatus:
    """How one is going."""
    with looked_up():
        return TransformStatus(**transforms.status(platform.project(), run_id))


@router.get("/{run_id}/logs", openapi_extra=needs("transforms.read"))
def transform_logs(platform: Platform, run_id: str) -> dict[str, Any]:
    """What its newest attempt said."""
    with looked_up():
        return transforms.logs(platform.project(), run_id)


@router.get("/{run_id}/events", openapi_extra=needs("transforms.read"))
def transform_events(platform: Platform, run_id: str) -> dict[str, Any]:
    """What happened, in its order."""
    with looked_up():
        return transforms.events(platform.project(), run_id)


@router.get("/{run_id}/metrics", openapi_extra=needs("transforms.read"))
def transform_metrics(platform: Platform, run_id: str) -> TransformMetrics:
    """What it took, and how much it read and wrote."""
    with looked_up():
        return TransformMetrics(**transforms.metrics(platform.project(), run_id))
