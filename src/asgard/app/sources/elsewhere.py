"""A stream read by other processes: described here, planned once, and read split by split wherever one is.

What travels is a `Reading` and a `Split`: how the source is written, never a secret (Promise 6). Who plans
keeps the plan open until everything is read: PostgreSQL lends its snapshot to other processes for so long,
Redshift's unloaded files lie for so long (`Feature.LENDS`). A source without that feature has an instant that
no other process sees: its stream is planned and read as a whole, by one process (Promise 7).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from asgard.app.config.specs import TableSpec
from asgard.app.frames.asked import Asked
from asgard.app.sources.written_source import Masks, WrittenSource, masks_of, table_of
from asgard.core.batch import Batch, Progress
from asgard.core.errors import AsgardError, ConfigError, DataError, QueryError
from asgard.core.source import Feature, Plan, ReadSettings, Source
from asgard.core.stream import Selection, Split
from asgard.core.types import canonical_batch, canonical_schema

POLL_SECONDS = 1.0
Batches = Generator[pa.RecordBatch, None, None]
GONE = "if its plan was closed meanwhile, make the frame anew: it reads what there is then"


@dataclass(frozen=True)
class Reading:
    """What is read of which source; picklable, and without a secret in it.

    Attributes:
        source: the source as it is written.
        table: the stream's name; None for the only one, or for the one that `source` names.
        query: the user's own query instead of a table.
        columns: the columns wanted, in this order; None for all. Sources that can leave the others out.
        schema: what batches are given as, serialized; None until the stream was described.
        masks: what the project masks of it; None for nothing.
    """

    source: WrittenSource
    table: str | None = None
    query: str | None = None
    columns: tuple[str, ...] | None = None
    schema: bytes | None = None
    masks: Masks | None = None

    @property
    def arrow_schema(self) -> pa.Schema:
        """What batches are given as."""
        assert self.schema is not None, "the stream was not described"
        return pa.ipc.read_schema(pa.py_buffer(self.schema))

    def giving(self, schema: pa.Schema) -> Reading:
        """The same, with batches of a schema."""
        return replace(self, schema=schema.serialize().to_pybytes())

    @property
    def lends(self) -> bool:
        """Whether other processes can read the splits of one plan."""
        wanted = Feature.LENDS | Feature.SPLITS
        return wanted in self.source.connector.features

    def opened(self) -> Source:
        """The source, its references looked up here and now, not yet connected.

        Raises:
            ConfigError: the configuration is wrong.
            Refused, Unreachable: a store of secrets does not give what is referred to.
        """
        return _source_of(self.source.asked())


def described(reading: Reading) -> Reading:
    """The reading with the columns that its stream has, in the source's own types.

    Raises:
        ConfigError: the configuration is wrong, or there are several tables and none is named.
        QueryError: the source does not know the stream, a column, or the query's words.
        Refused, Unreachable: the source, or a store of secrets that it refers to.
    """
    asked = reading.source.asked()
    with _source_of(asked) as source:
        selection, masks = _selected(reading, source, asked)
    stream = selection.stream
    masking = reading.source.masking(masks)
    schema = stream.schema if masking is None else masking.schema(stream.schema)
    if reading.columns is not None:
        schema = pa.schema([schema.field(name) for name in reading.columns])
    return replace(reading.giving(schema), masks=masks)


def only_table(source: Source) -> str:
    """The name of the one stream there is.

    Raises:
        ConfigError: there is none, or there are several; the first of them are named.
    """
    found = []
    for stream in source.streams():
        found.append(stream.full_name)
        if len(found) > 10:
            break
    if len(found) == 1:
        return found[0]
    shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
    if not found:
        raise ConfigError(f"{source.name} has nothing to load", hint="get_schema() lists what there is")
    raise ConfigError(
        f"{source.name} has several tables: {shown}", hint="name one: table=..., or give a query"
    )


def read_split(source: Source, split: Split) -> Batches:
    """The batches of a split to its end; its reader is closed with the generator."""
    reader = source.open(split)
    try:
        while True:
            polled = reader.poll(source.settings.batch_bytes, POLL_SECONDS)
            if isinstance(polled, Batch):
                yield polled.whole
            elif isinstance(polled, Progress) and polled.done:
                return
    finally:
        reader.close()


def _source_of(asked: Asked) -> Source:
    spec = asked.spec
    source: Source = spec.connector_class(spec.config, spec.name, ReadSettings())
    return source


def _selected(reading: Reading, source: Source, asked: Asked) -> tuple[Selection, Masks | None]:
    query, own = reading.query, asked.table if reading.table is None else None
    if query is not None and Feature.QUERY not in source.features:
        raise ConfigError(f"{source.type} takes no query", hint="name a table instead")
    if query is not None and reading.table is None:
        own = TableSpec(name="query")
    if own is None:
        own = table_of(source, asked, reading.table or only_table(source))
    elif not own.name:
        own = own.model_copy(update={"name": only_table(source)})
    # A pattern says how its streams are read, not which: the name is the caller's.
    name = reading.table or own.name
    query = query or own.query
    stream = source.describe(name, own.options, query)
    options = _narrowed(source, own.options, reading, stream.schema.names)
    if options is not own.options:
        stream = source.describe(name, options, query)
    return Selection(stream, query=query, options=options), masks_of(stream, own)


def _narrowed(source: Source, options: Any, reading: Reading, names: list[str]) -> Any:
    """The options without columns that nobody wants, where the source can leave them out."""
    if reading.columns is None:
        return options
    missing = [name for name in reading.columns if name not in names]
    if missing:
        raise QueryError(
            f"{source.name} has no column {', '.join(missing)}", hint=f"there are: {', '.join(names)}"
        )
    # Columns that a project masks must be there to be masked, so that a project's are all read.
    if "exclude_columns" not in source.StreamOptions.model_fields or reading.source.name:
        return options
    left_out = [name for name in names if name not in reading.columns]
    pinned = getattr(options, "columns", None) or {}
    narrower = {
        "exclude_columns": (*getattr(options, "exclude_columns", ()), *left_out),
        "columns": {name: word for name, word in pinned.items() if name not in left_out},
    }
    return (options or source.StreamOptions()).model_copy(update=narrower)


class Held:
    """A plan that is open, with the splits that other processes read.

    Attributes:
        splits: what may be read elsewhere while this is open.
        holds: whether closing takes anything from who still reads; False: the splits stand on their own.
    """

    def __init__(self, reading: Reading, parallel: int) -> None:
        asked = reading.source.asked()
        self._source = _source_of(asked)
        try:
            selection, _ = _selected(reading, self._source, asked)
            self._plan = self._source.plan([selection], {}, parallel=parallel)
        except BaseException:
            self._source.close()
            raise
        self.splits: tuple[Split, ...] = self._plan.splits
        self.holds = type(self._plan).close is not Plan.close

    def close(self) -> None:
        """Closes the plan and its source; more than once is fine."""
        self._plan.close()
        self._source.close()


def read_elsewhere(reading: Reading, split: Split | None) -> Iterator[pa.RecordBatch]:
    """The rows of a split, or of a whole stream in one plan of its own, in the reading's schema.

    A second call gives the same rows while the plan is open: whoever failed in the middle throws away what it
    has, and begins again.

    Raises:
        DataError: a value does not fit the schema that the reading was described with.
        AsgardError: the source failed, or the plan is closed.
    """
    target = reading.arrow_schema
    masking = reading.source.masking(reading.masks)
    with closing(_whole(reading) if split is None else _of_plan(reading, split)) as batches:
        for batch in batches:
            yield _fitted(batch if masking is None else masking.applied(batch), target)


def _of_plan(reading: Reading, split: Split) -> Batches:
    with reading.opened() as source:
        try:
            yield from read_split(source, split)
        except AsgardError as error:
            error.hint = f"{error.hint}; {GONE}" if error.hint else GONE
            raise


def _whole(reading: Reading) -> Batches:
    asked = reading.source.asked()
    with _source_of(asked) as source:
        selection, _ = _selected(reading, source, asked)
        with source.plan([selection], {}) as plan:
            for split in plan.splits:
                yield from read_split(source, split)


def _fitted(batch: pa.RecordBatch, target: pa.Schema) -> pa.RecordBatch:
    if set(target.names) < set(batch.schema.names):
        batch = batch.select(target.names)
    if batch.schema.equals(target):
        return batch
    canonical = canonical_schema(target)
    carried = canonical_batch(batch, canonical)
    if canonical.equals(target):
        return carried
    try:
        return carried.cast(target)
    except pa.ArrowException as error:
        raise DataError(
            f"the rows do not fit the columns that were described: {str(error).splitlines()[0]}",
            hint="make the frame anew: the source changed, or its first rows told too little of the others",
        ) from error
