"""What an Airbyte server tells: workspaces, ends and connections, jobs and their states, and why it refuses.

Knows the fields and words of its answers; leaves asking to `transport.airbyte`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from asgard.core.errors import DataError
from asgard.transport.http import Answer

HARMLESS = frozenset(
    """sourceType destinationType host port database databases schemas mode method cluster_type auth_source
    s3_bucket_name s3_bucket_path s3_bucket_region s3_endpoint s3_path_format file_name_pattern
    format_type compression_type flattening tunnel_method""".split()  # noqa: SIM905 one a line is no better
)
"""Options whose values errors may show. Every other one, of hundreds of connectors, may hold a secret."""


class Kind(StrEnum):
    """The two ends of a connection, which the API treats alike."""

    SOURCE = "source"
    DESTINATION = "destination"


class JobType(StrEnum):
    """What a job does: move data, or empty what was moved so that it is read anew."""

    SYNC = "sync"
    RESET = "reset"
    REFRESH = "refresh"
    CLEAR = "clear"


STATES = {
    "pending": "queued",
    "queued": "queued",
    "running": "running",
    "incomplete": "running",  # an attempt failed, and the job may begin another one
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Every status of a job, as Asgard calls it."""
ENDED = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class Named:
    """A workspace, or one end of a connection; its configuration is left with the server.

    Attributes:
        type: `postgres`, `s3`, ...; empty for a workspace.
    """

    id: str
    name: str
    type: str = ""


@dataclass(frozen=True)
class Connection:
    """What moves data from a source to a destination."""

    id: str
    name: str
    source_id: str
    destination_id: str
    workspace_id: str
    status: str


@dataclass(frozen=True)
class Job:
    """One run of a connection, as the server tells it now.

    Attributes:
        state: queued, running, done, failed or cancelled.
        status: the server's own word for it, see `STATES`.
        rows, size_bytes: moved so far; None when the server does not say (Promise 8).
        duration: ISO 8601, as the server has it.
    """

    id: int
    type: str
    status: str
    connection_id: str
    rows: int | None = None
    size_bytes: int | None = None
    duration: str | None = None

    @property
    def state(self) -> str:
        return STATES[self.status]

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def document_of(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer; None when it is none, as a web page is."""
    try:
        told = json.loads(answer.content)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def problem_of(answer: Answer, redacted: Callable[[str], str]) -> str:
    """What a refusal says, on one line: problem details, or whatever text there is.

    Args:
        redacted: takes secrets out of a text, which it gets as the server wrote it.
    """
    told = document_of(answer)
    if told is None:
        parts: list[Any] = [answer.content.decode("utf-8", "replace")]
    else:
        data = told.get("data")
        inner = data.get("message") if isinstance(data, dict) else None
        parts = [told.get("title"), told.get("detail"), told.get("message"), inner]
    said = dict.fromkeys(" ".join(redacted(part).split()) for part in parts if isinstance(part, str))
    return ": ".join([f"status {answer.status}", *filter(None, said)])


def strange_answer(what: str) -> DataError:
    """The error for an answer that is not as the specification has it."""
    return DataError(f"Airbyte's answer cannot be used: {what}", hint="is it version 1 of the public API?")


def text_in(told: Mapping[str, Any], name: str) -> str:
    """A text that the answer must have."""
    value = told.get(name)
    if not isinstance(value, str):
        raise strange_answer(f"there is no {name}")
    return value


def actor_of(kind: Kind, told: Mapping[str, Any]) -> Named:
    """A source or a destination as the server tells it."""
    return Named(text_in(told, f"{kind}Id"), text_in(told, "name"), text_in(told, f"{kind}Type"))


def connection_of(told: Mapping[str, Any]) -> Connection:
    """A connection as the server tells it."""
    names = ("connectionId", "name", "sourceId", "destinationId", "workspaceId", "status")
    return Connection(*(text_in(told, name) for name in names))


def job_of(told: Mapping[str, Any]) -> Job:
    """A job as the server tells it."""
    job_id, status = told.get("jobId"), text_in(told, "status")
    if not isinstance(job_id, int):
        raise strange_answer("there is no jobId")
    if status not in STATES:
        raise strange_answer(f"job {job_id} has the status {status!r}")
    rows, size = told.get("rowsSynced"), told.get("bytesSynced")
    return Job(
        job_id,
        text_in(told, "jobType"),
        status,
        text_in(told, "connectionId"),
        rows if isinstance(rows, int) else None,
        size if isinstance(size, int) else None,
        duration if isinstance(duration := told.get("duration"), str) else None,
    )


def hidden_in(value: Any, name: str = "") -> Iterator[str]:
    """Every value of a configuration that may be a secret, and how it reads within JSON."""
    if isinstance(value, Mapping):
        for inner_name, inner in value.items():
            yield from hidden_in(inner, inner_name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from hidden_in(inner, name)
    elif isinstance(value, str | int) and not isinstance(value, bool) and name not in HARMLESS:
        yield str(value)
        yield json.dumps(str(value))[1:-1]
        yield json.dumps(str(value), ensure_ascii=False)[1:-1]
