"""Spark on Kubernetes through the Spark operator: applications are handed in, and looked after.

The operator starts an application, tries a submission that failed again, and keeps the state. Whoever submits
a run twice finds the first: names hang on the run alone. What an application is, is `spark_application`'s.

Reference: https://github.com/kubeflow/spark-operator/blob/master/docs/api-docs.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from asgard.core.errors import AsgardError, ConfigError, DataError, QueryError, Refused
from asgard.engines.spark_application import (
    APPLICATIONS,
    SparkCluster,
    SparkRun,
    application,
    driver_of,
    job_file,
    name_of,
)
from asgard.transport.kubernetes import CONFIG_MAPS, EVENTS, KubernetesClient

DRIVER_CONTAINER = "spark-kubernetes-driver"
LOG_LINES, LOG_BYTES = 5_000, 16 << 20
FIGURES = ("rows_in", "bytes_in", "rows_out", "bytes_out", "peak_memory_bytes", "duration_seconds", "version")
"""What a job may tell of itself; what it leaves out is not known (Promise 8)."""


class Phase(StrEnum):
    """What a state of the operator means to a run."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


PHASES = {
    "": Phase.WAITING,
    "SUBMITTED": Phase.WAITING,
    "SUBMISSION_FAILED": Phase.WAITING,
    "PENDING_RERUN": Phase.WAITING,
    "INVALIDATING": Phase.WAITING,
    "SUSPENDING": Phase.WAITING,
    "SUSPENDED": Phase.WAITING,
    "RESUMING": Phase.WAITING,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDING": Phase.RUNNING,
    "FAILING": Phase.RUNNING,
    "UNKNOWN": Phase.RUNNING,
    "COMPLETED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
}
"""SUBMISSION_FAILED and FAILING are no end: the operator may try again, and says FAILED when it does not."""
NEW = "SUBMITTED"
"""What an application is said to be that the operator has not looked at yet."""


@dataclass(frozen=True)
class Seen:
    """An application as it is now.

    Attributes:
        state: the operator's word; `SUBMITTED` before it has one.
        executors: how many there are or were; None while none is known.
        seconds: from its submission to its end; None where either is not known.
        error: why it failed, in the operator's words.
    """

    state: str
    phase: Phase
    created: str
    spark_version: str
    driver_pod: str
    executors: int | None = None
    seconds: float | None = None
    error: str = ""
    taken: bool = False

    @property
    def is_over(self) -> bool:
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)


class SparkOperator:
    """The applications of one namespace. Used from any thread.

    Raises:
        AsgardError: by every method, what `KubernetesClient` raises.
    """

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def submit(self, run: SparkRun, cluster: SparkCluster) -> bool:
        """Makes the application and its ConfigMap; False when the application was there already."""
        made = self._client.create(APPLICATIONS, self._namespace, application(run, cluster))
        self.bring_file(run.run_id)
        return made is not None

    def bring_file(self, run_id: str) -> None:
        """Makes the ConfigMap of an application where it is missing: whoever made the application may have
        been killed before, and its driver waits for the file."""
        there = self._client.get(APPLICATIONS, self._namespace, name_of(run_id))
        if there is None:
            raise gone(run_id)
        file = job_file(run_id, self._namespace, str(there["metadata"]["uid"]))
        self._client.create(CONFIG_MAPS, self._namespace, file)

    def look(self, run_id: str) -> Seen | None:
        """The application now; None where there is none."""
        found = self._client.get(APPLICATIONS, self._namespace, name_of(run_id))
        return None if found is None else seen(found)

    def log(self, run_id: str) -> str | None:
        """The last words of the driver; None where its pod is gone, or not there yet."""
        return self._client.log(self._namespace, driver_of(run_id), DRIVER_CONTAINER, LOG_LINES, LOG_BYTES)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """What the cluster says of the application and of its driver's pod, the oldest first."""
        found = [
            _event(event)
            for name in (name_of(run_id), driver_of(run_id))
            for event in self._client.listed(
                EVENTS, self._namespace, {"fieldSelector": f"involvedObject.name={name}"}
            )
        ]
        return sorted(found, key=lambda event: datetime.fromisoformat(event["timestamp"]))

    def delete(self, run_id: str) -> bool:
        """Ends the application and takes it away with its pods; False when there is none."""
        return self._client.delete(APPLICATIONS, self._namespace, name_of(run_id))


def seen(found: Mapping[str, Any]) -> Seen:
    """An application as the cluster describes it. Its status may be missing altogether, and states that a
    newer operator has count as running: they are no end."""
    status = found.get("status") or {}
    told = status.get("applicationState") or {}
    state = str(told.get("state") or "")
    metadata = found["metadata"]
    return Seen(
        state=state or NEW,
        phase=PHASES.get(state, Phase.RUNNING),
        created=str(metadata.get("creationTimestamp") or ""),
        spark_version=str((found.get("spec") or {}).get("sparkVersion") or ""),
        driver_pod=(status.get("driverInfo") or {}).get("podName") or f"{metadata['name']}-driver",
        executors=len(status["executorState"]) if status.get("executorState") else None,
        seconds=_between(status.get("lastSubmissionAttemptTime"), status.get("terminationTime")),
        error=str(told.get("errorMessage") or ""),
        taken=bool(status),
    )


def told_by(log: str | None, run_id: str) -> dict[str, Any] | None:
    """The last line of a job's own words: how it ended and its figures; None where there is none."""
    for line in reversed((log or "").splitlines()):
        if not line.lstrip().startswith("{"):
            continue
        with suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict) and told.get("run_id") == run_id and "state" in told:
                return told
    return None


def figures(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the job knows of its work; a figure that it does not know is absent (Promise 8)."""
    known = told or {}
    return {name: known[name] for name in FIGURES if isinstance(known.get(name), int | float)}


def failure(run_id: str, now: Seen, told: Mapping[str, Any] | None) -> AsgardError:
    """Why an application failed: in the words of its job, else in those of the operator."""
    where = {"spark_application": name_of(run_id)}
    error = (told or {}).get("error")
    if isinstance(error, Mapping) and error.get("what"):
        kind = _KINDS.get(str(error.get("type")), ConfigError)
        return kind(str(error["what"]), hint=_HINTS.get(kind, "the driver's log has more"), where=where)
    return ConfigError(
        f"Spark failed: {now.error or 'the driver ended without a word'}",
        hint="see its events and log; more driver_memory or executor_memory helps where it was killed",
        where=where,
    )


def gone(run_id: str) -> ConfigError:
    """The application is not there any more, and nobody here took it away."""
    return ConfigError(
        f"{name_of(run_id)} was taken out of the cluster before its end",
        hint="ask for the transform again",
    )


_KINDS: Mapping[str, type[AsgardError]] = {
    "Refused": Refused,
    "DataError": DataError,
    "QueryError": QueryError,
}
_HINTS: Mapping[type[AsgardError], str] = {
    Refused: "give the keys of the Secret, or the role of the pods, the right to it",
    QueryError: "Spark's SQL differs in places from DuckDB's",
}


def _between(begin: str | None, end: str | None) -> float | None:
    if not begin or not end:
        return None
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    except ValueError:
        return None


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the cluster as those of every engine are told."""
    about = event.get("involvedObject") or {}
    instants = [event.get(key) for key in ("lastTimestamp", "eventTime", "firstTimestamp")]
    instants.append((event.get("metadata") or {}).get("creationTimestamp"))
    return {
        "type": event.get("type") or "Normal",
        "reason": event.get("reason") or "",
        "message": event.get("message") or "",
        "timestamp": next(instant for instant in instants if instant),
        "data": {"kind": about.get("kind"), "name": about.get("name"), "count": event.get("count")},
    }
