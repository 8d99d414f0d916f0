"""The plain face of every Source: load a query or a table as a frame, whole or in chunks.

The shapes that a configuration may have are `frames.asked`'s, frames are `frames.frames`', and what a source
can do is its own: here they are put together. Nothing is written anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import chain
from typing import Any, ClassVar, Self

import pyarrow as pa

from asgard.app.config.mistakes import near
from asgard.app.frames.asked import Asked, asked_of, given_in
from asgard.app.frames.connector import BaseConnector, PlainSource
from asgard.app.frames.frames import (
    LAZY,
    checked_chunk,
    chosen_backend,
    exact_chunks,
    from_arrow,
    with_target,
)
from asgard.app.frames.lazy_frames import lazy_frame
from asgard.app.frames.listening import LOGGER, connection_attempt
from asgard.app.frames.query_cache import CACHE, DEFAULT_BYTES, cache_key
from asgard.app.sources.elsewhere import Batches, Reading, only_table, read_split
from asgard.app.sources.written_source import WrittenSource
from asgard.core import registry
from asgard.core.errors import AsgardError, ConfigError, ValidationError
from asgard.core.source import Feature, Plan, ReadSettings, Source
from asgard.core.stream import Selection, Split

PARALLEL = 4


@dataclass(frozen=True)
class LoadWish:
    """What may be wished of a load as keyword arguments, besides the query.

    Attributes:
        table: a table, endpoint or file of the source; needed where there are several and no query.
        backend: pandas, polars, arrow, duckdb, dask or spark; auto is pandas where it is installed, else
            arrow.
        limit: the most rows to load.
        target_column: must be there; is kept as `asgard.target_column` in the schema's metadata, and in
            `attrs["target_column"]` of pandas.
        cache_seconds: answers from memory if this process loaded the same at most so long ago; 0 always asks.
        cache_bytes: what all answers in memory may take together.
        partitions: of dask and spark: about how many are wanted; else what can be done at once.
    """

    table: str | None = None
    backend: str | None = None
    limit: int | None = None
    target_column: str | None = None
    cache_seconds: float = 0
    cache_bytes: int = DEFAULT_BYTES
    partitions: int | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> LoadWish:
        """The wish that keyword arguments make.

        Raises:
            ConfigError: there is no such wish; the hint names near ones.
        """
        for name in arguments:
            if name not in WISHES:
                hint = near(name, WISHES) or f"there are: query, {', '.join(WISHES)}"
                raise ConfigError(f"a load takes no {name!r}", hint=hint)
        wish = cls(**arguments)
        if wish.limit is not None and wish.limit < 0:
            raise ConfigError(f"limit is {wish.limit}", hint="it counts rows: give it 0 or more")
        return wish


WISHES = tuple(field.name for field in fields(LoadWish))


def lazy_load(library: str, source: WrittenSource, query: str | None, wished: LoadWish) -> Any:
    """What is wished as a frame of dask or Spark.

    Raises:
        ConfigError: the library is not installed, or the wish cannot be had of it.
        ValidationError: the target column is not there.
    """
    if wished.cache_seconds:
        raise ConfigError(
            f"cache_seconds keeps rows in this process, and {library} has them elsewhere",
            hint="persist() the frame instead",
        )
    frame = lazy_frame(library, Reading(source, wished.table, query), wished.partitions)
    target = wished.target_column or source.entry.get("target_column")
    if target is not None and target not in frame.columns:
        raise missing_target(target, list(frame.columns))
    if wished.limit is None:
        return frame
    return frame.limit(wished.limit) if library == "spark" else frame.head(wished.limit, -1, compute=False)


class SourceConnector(BaseConnector):
    """A connector of Asgard's as a plain object; the classes below are made of it.

    Args:
        config: the connector's options, flat or below `connection`; or a whole DataSourceConfig. Values are
            taken as they are: `${...}` is resolved in files, not here.
        name: what events and errors call it; the connector's type by default.
    """

    connector_type: ClassVar[str]
    """The connector's registered name."""

    def __init__(self, config: Any, name: str | None = None) -> None:
        self._given = config
        self._asked: Asked = asked_of(self.connector_type, config)
        super().__init__(self._asked.spec.config.model_dump())
        self.name = name or self.connector_type
        self.error: AsgardError | None = None
        self._source: Source | None = None

    def connect(self) -> bool:
        """Connects and signs in; True, or an error that says why not.

        Raises:
            AuthenticationError, Refused: credentials or permissions do not suffice.
            Unreachable: no answer.
            ConfigError: it answered, but what the configuration names is not there.
        """
        spec = self._asked.spec
        source: Source = spec.connector_class(spec.config, self.name, ReadSettings())
        try:
            with connection_attempt(self.name, self.connector_type):
                source.check()
        except BaseException:
            source.close()
            raise
        self.disconnect()
        self._source = self.connection = source
        return True

    def disconnect(self) -> None:
        """Gives connections back; what is loaded afterwards connects anew."""
        source, self._source, self.connection = self._source, None, None
        if source is not None:
            source.close()

    def validate_connection(self) -> bool:
        """Whether the source can be used now; why not is in `error`, and in the event."""
        self.error = None
        try:
            if self._source is None:
                return self.connect()
            with connection_attempt(self.name, self.connector_type):
                self._source.check()
        except AsgardError as error:
            self.error = error
            return False
        return True

    def load_data(self, query: str | None = None, **wish: Any) -> Any:
        """All rows of a query, a table, or of what the configuration names; keywords are those of LoadWish.

        Values are exact in every backend; pandas gets Arrow-backed columns. All rows are held in memory:
        `load_data_streaming` holds one chunk, and the frames of dask and spark read when they are computed.

        Raises:
            QueryError: the source does not know the query's words, or the table.
            ConfigError: there are several tables and none is named; the backend is not there.
            ValidationError: the target column is not there.
        """
        wished = LoadWish.of(wish)
        wanted = wished.backend or self._asked.backend
        if wanted in LAZY:
            return lazy_load(wanted, self.written(), query, wished)
        backend = chosen_backend(wanted)
        target = wished.target_column or self._asked.target_column
        key = self._key(query, wished)
        table = CACHE.get(key, wished.cache_seconds) if wished.cache_seconds else None
        if table is None:
            began = time.monotonic()
            selection = self._selected(query, wished)
            _insist_on(target, selection.stream.schema)
            table = self._loaded(selection, wished.limit)
            LOGGER.info("%s, %s: %d rows, %d bytes in %.3f s", self.name, selection.stream.full_name,
                        table.num_rows, table.nbytes, time.monotonic() - began)  # fmt: skip
            if wished.cache_seconds:
                CACHE.put(key, table, wished.cache_bytes)
        _insist_on(target, table.schema)
        return from_arrow(with_target(table, target) if target else table, backend)

    def load_data_streaming(
        self, query: str | None = None, chunk_size: int | None = None, **wish: Any
    ) -> Iterator[Any]:
        """The same in frames of exactly `chunk_size` rows (1000 by default), the last may have fewer.

        Holds one chunk and one batch of the source. The reading, and what holds its snapshot, ends when the
        iterator does, or is closed.
        """
        wished = LoadWish.of(wish)
        chunk_rows = checked_chunk(chunk_size or self._asked.chunk_rows or 1000)
        backend = chosen_backend(wished.backend or self._asked.backend)
        target = wished.target_column or self._asked.target_column
        selection = self._selected(query, wished)
        _insist_on(target, selection.stream.schema)
        with self._planned(selection, wished.limit) as plan:
            batches = self._batches(plan, wished.limit)
            for chunk in exact_chunks(batches, plan.stream_of(selection).schema, chunk_rows):
                yield from_arrow(with_target(chunk, target) if target else chunk, backend)

    def get_schema(self, pattern: str = "*") -> dict[str, Any]:
        """Table to column to type, of what the configuration names, else of every table there is.

        Args:
            pattern: glob over `name` and `namespace.name`.
        """
        if self._asked.table is not None and self._asked.table.name and pattern == "*":
            found = [self._selected(None, LoadWish()).stream]
        else:
            found = list(self._opened().streams(pattern))
        return {
            stream.full_name: {field.name: _type_text(field) for field in stream.schema} for stream in found
        }

    def __enter__(self) -> Self:
        self.connect()
        return self

    @classmethod
    def as_source(cls, name: str) -> type[Source]:
        """The Source behind it."""
        found: type[Source] = registry.connector_class(cls.connector_type)
        return found

    def written(self) -> WrittenSource:
        """What the connector was configured with, for other processes to open.

        Raises:
            ConfigError: there is a secret in it in clear.
        """
        if isinstance(self._given, Asked):
            raise ConfigError("this connector was made from a file", hint="asgard.load_data(file, ...)")
        return WrittenSource.of_options({"type": self.connector_type, **given_in(self._given)})

    def _key(self, query: str | None, wished: LoadWish) -> str:
        name, own_query, options = self._named(query, wished)
        config = self._asked.spec.config.model_dump()
        read = (own_query, name, None if options is None else options.model_dump(), wished.limit)
        return cache_key(self.connector_type, config, read)

    def _opened(self) -> Source:
        if self._source is None:
            self.connect()
        assert self._source is not None
        return self._source

    def _selected(self, query: str | None, wished: LoadWish) -> Selection:
        source = self._opened()
        name, query, options = self._named(query, wished)
        if query is not None and Feature.QUERY not in source.features:
            raise ConfigError(f"{self.connector_type} takes no query", hint="name a table instead: table=...")
        if name is None:
            name = "query" if query is not None else only_table(source)
        return Selection(source.describe(name, options, query), query=query, options=options)

    def _named(self, query: str | None, wished: LoadWish) -> tuple[str | None, str | None, Any]:
        """Name, query and options of what is meant: a query of the call goes before its table, and what the
        call says before the configuration."""
        own = self._asked.table
        if wished.table is not None:
            own = self._asked.named(wished.table)
            return wished.table, query or (own.query if own else None), own.options if own else None
        if query is not None:
            return None, query, None
        return (own.name or None, own.query, own.options) if own is not None else (None, None, None)

    def _loaded(self, selection: Selection, limit_rows: int | None) -> pa.Table:
        source = self._opened()

        def read(split: Split) -> list[pa.RecordBatch]:
            return list(read_split(source, split))

        pool = ThreadPoolExecutor(PARALLEL, "load")
        try:
            with self._planned(selection, limit_rows) as plan:
                if limit_rows is not None:
                    batches = list(self._batches(plan, limit_rows))
                else:
                    batches = list(chain.from_iterable(pool.map(read, plan.splits)))
                return pa.Table.from_batches(batches, schema=plan.stream_of(selection).schema)
        finally:
            pool.shutdown(cancel_futures=True)

    def _planned(self, selection: Selection, limit_rows: int | None) -> Plan:
        parallel = PARALLEL if limit_rows is None else 1
        return self._opened().plan([replace(selection, limit_rows=limit_rows)], {}, parallel=parallel)

    def _batches(self, plan: Plan, limit_rows: int | None) -> Batches:
        source = self._opened()
        left = limit_rows
        for split in plan.splits:
            with closing(read_split(source, split)) as batches:
                for batch in batches:
                    if left is not None and batch.num_rows >= left:
                        yield batch.slice(0, left)
                        return
                    yield batch
                    left = None if left is None else left - batch.num_rows


class PostgreSQLConnector(SourceConnector):
    """Tables, views and queries of a PostgreSQL database."""

    connector_type = "postgres"


class MySQLConnector(SourceConnector):
    """Tables, views and queries of a MySQL or MariaDB database."""

    connector_type = "mysql"


class RedshiftConnector(SourceConnector):
    """Tables, views and queries of an Amazon Redshift database."""

    connector_type = "redshift"


class SQLiteConnector(SourceConnector):
    """Tables and queries of a SQLite database file."""

    connector_type = "sqlite"


class MongoDBConnector(SourceConnector):
    """Collections, views and pipelines of a MongoDB database."""

    connector_type = "mongodb"


class FileConnector(SourceConnector):
    """CSV, TSV, JSON, JSONL, Parquet and Excel files, packed or not."""

    connector_type = "files"


class S3Connector(SourceConnector):
    """Files in S3, MinIO and what speaks like it."""

    connector_type = "s3"


class GCSConnector(SourceConnector):
    """Files in Google Cloud Storage."""

    connector_type = "gcs"


class AzureBlobConnector(SourceConnector):
    """Files in Azure Blob Storage."""

    connector_type = "azure"


class KafkaConnector(SourceConnector):
    """Topics of an Apache Kafka cluster, up to what is there now."""

    connector_type = "kafka"


class GenericAPIConnector(SourceConnector):
    """Collections of a REST API."""

    connector_type = "rest"


PUBLIC = {
    one.connector_type: one
    for one in (
        PostgreSQLConnector,
        MySQLConnector,
        RedshiftConnector,
        SQLiteConnector,
        MongoDBConnector,
        FileConnector,
        S3Connector,
        GCSConnector,
        AzureBlobConnector,
        KafkaConnector,
        GenericAPIConnector,
    )
}


def get_connector_class(connector_type: str) -> type[BaseConnector]:
    """The plain class of a type, or of an alias such as `csv` or `api`.

    Raises:
        ConfigError: there is no such connector; the hint names near ones.
    """
    source = registry.connector_class(connector_type)
    if issubclass(source, PlainSource):
        plain: type[BaseConnector] = source.plain
        return plain
    return _facade(registry.canonical_name(connector_type))


@cache
def _facade(name: str) -> type[SourceConnector]:
    title = name.title().replace("_", "")
    return PUBLIC.get(name) or type(f"{title}Connector", (SourceConnector,), {"connector_type": name})


def _insist_on(target: str | None, schema: pa.Schema) -> None:
    if target is None or target in schema.names:
        return
    raise missing_target(target, schema.names)


def missing_target(target: str, names: list[str]) -> ValidationError:
    """The error of a target column that is not there."""
    return ValidationError(
        f"there is no column {target!r}, which is to be the target",
        hint=near(target, names) or f"the columns are: {', '.join(names)}",
        where={"column": target},
    )


def _type_text(field: pa.Field) -> str:
    return (field.metadata or {}).get(b"asgard.type", b"").decode() or str(field.type)
