"""OpenLineage events of a run: for the run and for each of its steps a START, and a COMPLETE, FAIL or ABORT.

A listener: it is given what a step reads and makes, puts it into the standard's form, and sends it in a
thread of its own. Whatever goes wrong with lineage never stops, fails or delays a run: what cannot be sent in
time is dropped, and counted.

Reference: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError
from asgard.core.events import Event, Kind
from asgard.transport.http import HttpClient, HttpSettings, Request

LOGGER = logging.getLogger("asgard.openlineage")
PRODUCER = "urn:asgard-platform:openlineage"
SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS_URL = "https://openlineage.io/spec/facets"
MOST_WAITING = 1000
LAST_WORDS_SECONDS = 10.0
NAMESPACE_UUID = uuid.UUID("6f2d3e0a-5f5b-5d55-9a5b-4d4f2f9f0c11")
ENDS = {"done": "COMPLETE", "unchanged": "COMPLETE", "cancelled": "ABORT"}
"""How steps and runs end; whatever else is a FAIL."""


@dataclass(frozen=True)
class Dataset:
    """A table as OpenLineage calls it.

    Attributes:
        namespace, name: of the standard's naming.
        facets: without their producer and schema.
    """

    namespace: str
    name: str
    facets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self, **more: Any) -> dict[str, Any]:
        """As in an event."""
        facets = {name: facet(name, said) for name, said in self.facets.items()}
        return {"namespace": self.namespace, "name": self.name, "facets": facets, **more}


@dataclass(frozen=True)
class StepFacts:
    """What a step reads and makes, as it is known now.

    Attributes:
        job: facets of the job.
    """

    inputs: Sequence[Dataset] = ()
    output: Dataset | None = None
    job: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Outlet(Protocol):
    """Where events go."""

    def send(self, event: Mapping[str, Any]) -> None:
        """Sends one event; may raise."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class FileOutlet:
    """One event a line, at the end of a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def send(self, event: Mapping[str, Any]) -> None:
        """Appends it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(event) + "\n")

    def close(self) -> None:
        """Nothing is held."""


class HttpOutlet:
    """A server that takes events, such as Marquez.

    Args:
        settings: the server's address and the credentials to it.
        endpoint: the path that takes events.
    """

    def __init__(self, settings: HttpSettings, endpoint: str) -> None:
        self._client = HttpClient(settings, Cancel())
        self._endpoint = endpoint

    def send(self, event: Mapping[str, Any]) -> None:
        """Posts it."""
        self._client.send(Request(self._endpoint, "POST", body=event))

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


class OpenLineage:
    """Listens to a run.

    Args:
        outlet: where events go; closed with the listener.
        namespace: of the jobs.
        project: the name of the run's own job.
        facts: what a step reads and makes; called when it begins and when it ends. It may fail.
    """

    def __init__(
        self, outlet: Outlet, namespace: str, project: str, facts: Callable[[str], StepFacts]
    ) -> None:
        self._outlet = outlet
        self._namespace = namespace
        self._project = project
        self._facts = facts
        self._written: dict[str, dict[str, int]] = {}
        self._begun: set[str] = set()
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Events that nobody got."""

    def __call__(self, event: Event) -> None:
        """Takes note of one event; never raises."""
        try:
            self._note(event)
        except Exception as error:  # lineage never stops a run
            self._drop(error)

    def close(self) -> None:
        """Waits until what was said is sent, for a short while."""
        if self._thread is not None:
            try:
                self._waiting.put(None, timeout=LAST_WORDS_SECONDS)
                self._thread.join(LAST_WORDS_SECONDS)
            except queue.Full:
                self._drop(TimeoutError("the lineage server does not keep up"))

    def _note(self, event: Event) -> None:
        if event.kind is Kind.RUN_STARTED:
            self._say("START", event, self._project)
        elif event.kind is Kind.RUN_FINISHED:
            self._say(ENDS.get(event.data["status"], "FAIL"), event, self._project)
        elif event.kind is Kind.STEP_STARTED:
            self._begun.add(event.step)
            self._say("START", event, event.step)
        elif event.kind is Kind.STEP_COMMITTED:
            known = self._written.setdefault(event.step, {})
            for name, key in (("rowCount", "rows_added"), ("size", "bytes_added")):
                if key in event.data:
                    known[name] = known.get(name, 0) + event.data[key]
        elif event.kind is Kind.STEP_FINISHED and event.step in self._begun:
            self._say(ENDS.get(event.data["status"], "FAIL"), event, event.step)

    def _say(self, state: str, event: Event, name: str) -> None:
        facets: dict[str, Any] = {}
        if event.step:
            job = {"namespace": self._namespace, "name": self._project}
            facets["parent"] = facet("parent", {"run": {"runId": run_id(event.run)}, "job": job})
        if (error := _error(event)) is not None:
            facets["errorMessage"] = facet("errorMessage", error)
        facts = self._facts_of(event.step)
        output = facts.output
        said: dict[str, Any] = {
            "eventType": state,
            "eventTime": event.at.isoformat(timespec="milliseconds"),
            "producer": PRODUCER,
            "schemaURL": SCHEMA_URL,
            "run": {"runId": run_id(event.run, event.step), "facets": facets},
            "job": {"namespace": self._namespace, "name": name, "facets": self._job(facts)},
            "inputs": [one.as_dict() for one in facts.inputs],
            "outputs": [],
        }
        if output is not None:
            written = self._written.get(event.step)
            statistics = {"outputStatistics": facet("outputStatistics", written)} if written else {}
            said["outputs"] = [output.as_dict(outputFacets=statistics)]
        self._queue(said)

    def _facts_of(self, step: str) -> StepFacts:
        if not step:
            return StepFacts()
        try:
            return self._facts(step)
        except AsgardError as error:
            LOGGER.warning("the lineage of %s is not known: %s", step, error.what)
            return StepFacts()

    def _job(self, facts: StepFacts) -> dict[str, Any]:
        said = {"jobType": {"processingType": "BATCH", "integration": "ASGARD", "jobType": "JOB"}}
        return {name: facet(name, one) for name, one in {**said, **facts.job}.items()}

    def _queue(self, said: Mapping[str, Any]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="openlineage", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(said)
        except queue.Full:
            self._drop(TimeoutError("the lineage server does not keep up"))

    def _send_all(self) -> None:
        while (said := self._waiting.get()) is not None:
            try:
                self._outlet.send(said)
            except Exception as error:  # lineage never stops a run
                self._drop(error)
        self._outlet.close()

    def _drop(self, error: Exception) -> None:
        self.dropped += 1
        if self.dropped == 1:  # the others would say the same
            what = error.what if isinstance(error, AsgardError) else f"{type(error).__name__}: {error}"
            LOGGER.warning("lineage could not be told: %s", what)


VERSIONS = {
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "dataSource": ("1-0-1", "DatasourceDatasetFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "parent": ("1-2-0", "ParentRunFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "sql": ("1-1-0", "SQLJobFacet"),
    "symlinks": ("1-0-1", "SymlinksDatasetFacet"),
    "version": ("1-0-1", "DatasetVersionDatasetFacet"),
}
"""The facets that are sent, by their key."""


def facet(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A facet with what the standard wants of each."""
    version, title = VERSIONS[name]
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS_URL}/{version}/{title}.json", **said}


def run_id(run: str, step: str = "") -> str:
    """The UUID of a run, or of one of its steps: the same whoever asks."""
    return str(uuid.uuid5(NAMESPACE_UUID, f"{run}/{step}"))


def _error(event: Event) -> dict[str, Any] | None:
    error = event.data.get("error")
    if not isinstance(error, Mapping):
        return None
    return {"message": str(error.get("what", "")), "programmingLanguage": "python"}
