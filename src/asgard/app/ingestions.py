"""Ingestions that programs ask for over the API: a posted source into a posted sink, as a job."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from asgard.app import jobs
from asgard.app.datasources import source_of
from asgard.app.documents import created, found, open_documents, page_of, refuse_references
from asgard.app.mistakes import Mistakes
from asgard.app.project import Project
from asgard.app.runs import RunWish, Summary, run
from asgard.app.sinks import lake_of
from asgard.app.workspace import Workspace
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
    lake_of(project, new.destination_id)
    source = source_of(project, new.source_id, new.tables)
    id = str(uuid.uuid4())
    asked = {"source_id": new.source_id, "destination_id": new.destination_id, "tables": list(new.tables)}
    task = jobs.task_of(KIND, of=id, asked=asked)
    with jobs.open_jobs(project) as store:
        (job,) = store.queue.add([NewJob(task, sources=(source.name,), alone=f"{KIND} into {asked}")])
    body = {
        **asked,
        "source": source.name,
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
    }
