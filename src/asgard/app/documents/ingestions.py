"""Ingestions that programs ask for over the API: a posted source into a posted sink, as a job."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from asgard.app.airbyte.documents import hands_over
from asgard.app.airbyte.ingestions import connect, disconnect, started_job, sync_task
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.documents.datasources import source_of
from asgard.app.documents.documents import created, found, open_documents, page_of, refuse_references
from asgard.app.documents.sinks import lake_of
from asgard.app.jobs import jobs
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.state.documents import Document
from asgard.state.queue import NewJob

KIND = "ingestion"
FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class NewIngestion:
    """An ingestion as it is posted.

    Attributes:
        tables: names, or entries as asgard.yml has them; by default everything that the source has.
    """

    source_id: str
    destination_id: str
    workspace_name: str
    connection_name: str
    tables: tuple[Any, ...] = ()


def add_ingestion(project: Project, new: NewIngestion) -> dict[str, Any]:
    """Puts an ingestion into the queue.

    Raises:
        ConfigError: there is no such source or sink, or a table's entry is wrong.
    """
    mistakes = Mistakes()
    for number, entry in enumerate(new.tables):
        # Each text for itself: these are not hidden, whatever their key is called.
        for text in _texts(entry):
            refuse_references(text, f"tables[{number}]", mistakes)
    mistakes.raise_if_any()
    for kind, posted_id in (("datasource", new.source_id), ("sink", new.destination_id)):
        within = found(project, kind, posted_id).body["workspace_name"]
        if within != new.workspace_name:
            raise ConfigError(
                f"there is no {kind} {posted_id!r} in the workspace {new.workspace_name!r}",
                hint="workspace_name is that of the source and of the sink",
            )
    id = str(uuid.uuid4())
    ends = (new.source_id, new.destination_id)
    asked: dict[str, Any] = {"source_id": ends[0], "destination_id": ends[1], "tables": list(new.tables)}
    source = found(project, "datasource", new.source_id).name
    if hands_over(project):
        asked["airbyte"] = connect(project, ends, new.workspace_name, new.connection_name, new.tables)
    else:
        lake_of(project, new.destination_id)
        source_of(project, new.source_id, new.tables)
    task = jobs.task_of(KIND, of=id, asked=asked)
    with jobs.open_jobs(project) as store:
        (job,) = store.queue.add([NewJob(task, sources=(source,), alone=f"{KIND} into {asked}")])
    body = {
        **asked,
        "source": source,
        "workspace_name": new.workspace_name,
        "connection_name": new.connection_name,
        "job": job,
    }
    with open_documents(project) as documents:
        documents.forget(KIND, project.queue.keep_days)
        documents.add(Document(KIND, id, id, body))
    return {**ingestion(project, id), "status": "submitted"}


def ingestions(project: Project, after: str | None, limit: int) -> jobs.Page:
    """Those that there are, the oldest first."""
    listed, behind = page_of(project, KIND, after, limit)
    return jobs.Page([_described(project, document) for document in listed], behind)


def ingestion(project: Project, id: str) -> dict[str, Any]:
    """How one is going.

    Raises:
        ConfigError: there is none.
    """
    return _described(project, found(project, KIND, id))


def delete_ingestion(project: Project, id: str) -> dict[str, Any]:
    """Ends one if it runs, and takes it away; what it has committed stays.

    Raises:
        ConfigError: there is none.
    """
    document = found(project, KIND, id)
    with suppress(ConfigError):  # the queue has forgotten it
        jobs.cancel_job(project, document.body["job"])
    if "airbyte" in document.body and hands_over(project):
        disconnect(project, document, is_last=not _shares_connection(project, document))
    described = _described(project, document)
    with open_documents(project) as store:
        store.delete(KIND, id)
    return described


def ingest_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Runs an ingestion; called by the process of its job.

    Raises:
        ConfigError: its source or its sink was taken away.
        Refused, Unreachable: the store of secrets does not give them.
    """
    asked = task["asked"]
    if "airbyte" in asked:
        return sync_task(project, task, run_id, emit, cancel)
    source = source_of(project, asked["source_id"], asked["tables"])
    alone = replace(
        project,
        sources={source.name: source},
        lake=lake_of(project, asked["destination_id"]),
        models_folder=project.state_folder / "no-models",
        files=None,
    )
    return run(Workspace(alone), RunWish((*task["selectors"],), run_id=run_id), emit, cancel)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(child)


def _described(project: Project, document: Document) -> dict[str, Any]:
    body = document.body
    at_airbyte = {}
    if "airbyte" in body:
        at_airbyte["connection_id"] = body["airbyte"]["connection_id"]
        at_airbyte["airbyte_job_id"] = started_job(project, document.id)
    try:
        job = jobs.job(project, body["job"])
    except ConfigError:
        job = {"status": FORGOTTEN, "steps": []}
    return {
        "id": document.id,
        "connection_id": document.id,
        "source_id": body["source_id"],
        "source": body.get("source"),
        "destination_id": body["destination_id"],
        "workspace_name": body["workspace_name"],
        "connection_name": body["connection_name"],
        "job_id": body["job"],
        "run_id": job.get("run"),
        "status": job["status"],
        "error": job.get("error"),
        "started_at": job.get("started_at"),
        "finished_at": job.get("finished_at"),
        "created_at": created(document),
        "tables": [
            {key: step[key] for key in ("step", "status", "rows_read", "total_rows") if key in step}
            for step in job["steps"]
        ],
    } | at_airbyte


def _shares_connection(project: Project, document: Document) -> bool:
    """Whether another ingestion of the same name goes by the same connection of Airbyte."""
    wanted = document.body["airbyte"]["connection_id"]
    after: tuple[float, str] | None = None
    with open_documents(project) as store:
        while page := store.page(KIND, after, 500):
            after = page[-1].created_at, page[-1].id
            for one in page:
                if one.id != document.id and one.body.get("airbyte", {}).get("connection_id") == wanted:
                    return True
    return False
