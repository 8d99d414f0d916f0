"""Wishes about sources: try them, list what they have, look at first rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asgard.app.config.specs import TableSpec
from asgard.app.project.workspace import Workspace
from asgard.app.sources.streams import masking_of
from asgard.core.batch import Batch
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.events import Emit, Event, Kind
from asgard.core.source import Source
from asgard.core.stream import Selection, Stream
from asgard.quality.masking import Masking


@dataclass(frozen=True)
class Connection:
    """How trying a source ended.

    Attributes:
        seconds: until the answer or the failure.
        error: None when it can be used.
    """

    source: str
    type: str
    seconds: float
    error: AsgardError | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        known: dict[str, Any] = {
            "source": self.source,
            "type": self.type,
            "outcome": "ok" if self.error is None else "failed",
            "seconds": round(self.seconds, 3),
        }
        return known if self.error is None else {**known, "error": self.error.as_dict()}


def check_sources(workspace: Workspace, names: Sequence[str], emit: Emit) -> Iterator[Connection]:
    """Tries sources one after the other; all of the project when none is named. Each attempt is an event.

    Raises:
        ConfigError: there is no source of a name.
    """
    for name in names or list(workspace.project.sources):
        began = time.monotonic()
        error = None
        spec = workspace.project.sources.get(name)
        try:
            with workspace.source(name) as source:
                source.check()
        except AsgardError as failure:
            if spec is None:
                raise
            error = failure.at(source=name)
        tried = Connection(name, spec.type if spec else "", time.monotonic() - began, error)
        emit(Event(Kind.CONNECTION, data=tried.as_dict()))
        yield tried


def discover(workspace: Workspace, name: str, pattern: str = "*") -> list[Stream]:
    """What a source has.

    Args:
        pattern: glob over `name` and `namespace.name`.
    """
    with workspace.source(name) as source:
        return list(source.streams(pattern))


def sample(workspace: Workspace, name: str, limit_rows: int = 10) -> pa.Table:
    """The first rows of a stream as the source gives them, masked where the project says so.

    Args:
        name: `source.stream`; options come from the project where it names the stream.

    Raises:
        ConfigError: there is no such source, or the name has no stream in it.
    """
    source_name, _, stream_name = name.partition(".")
    if not stream_name:
        raise ConfigError(f"{name!r} names no stream", hint=f"asgard discover {source_name} lists them")
    spec = workspace.project.sources.get(source_name)
    entries = [table for table in spec.tables if table.name == stream_name] if spec else []
    entry = entries[0] if entries and not entries[0].is_pattern else None
    entry = entry or TableSpec(name=stream_name)
    masking = masking_of(workspace.project, source_name, stream_name, entry)
    with workspace.source(source_name) as source:
        return first_rows(source, entry, limit_rows, masking)


def first_rows(source: Source, spec: TableSpec, limit_rows: int, masking: Masking | None = None) -> pa.Table:
    """The first rows of a stream, in the source's own types."""
    stream = source.describe(spec.name, spec.options, spec.query)
    selection = Selection(stream, query=spec.query, options=spec.options, limit_rows=limit_rows)
    batches: list[pa.RecordBatch] = []
    with source.plan([selection], {}) as plan:
        stream = plan.stream_of(selection)
        for split in plan.splits:
            reader = source.open(split)
            try:
                while (rows := sum(batch.num_rows for batch in batches)) < limit_rows:
                    polled = reader.poll(1 << 20, 1.0)
                    if not isinstance(polled, Batch):
                        break
                    batches.append(polled.data.slice(0, limit_rows - rows))
            finally:
                reader.close()
    if masking is None:
        return pa.Table.from_batches(batches, schema=stream.schema)
    return pa.Table.from_batches(map(masking.applied, batches), schema=masking.schema(stream.schema))
