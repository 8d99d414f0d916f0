"""The plain face of a source: `BaseConnector`, and how a class written to it runs in a pipeline.

A user's own connector is a subclass with five methods. `PlainSource` makes a Source of it: one split that is
read by one thread, every time from its beginning. Connectors that can do more are Sources of their own
(`core.source`); `app.frames.source_connector` gives those the same plain face.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa
from pydantic import ConfigDict

from asgard.app.frames.frames import cut, to_arrow
from asgard.app.frames.listening import LOGGER, connection_attempt
from asgard.core import errors, registry
from asgard.core.config import Config
from asgard.core.errors import (
    AsgardError,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.position import Position, Token
from asgard.core.secret import STARS, redact
from asgard.core.source import Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.core.types import canonical_batch, canonical_schema

ONLY_TABLE = "data"
CHUNK_ROWS = 10_000
SECRET_NAME = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)


class BaseConnector(ABC):
    """A connector as users write it: five methods, and a context manager that connects and disconnects.

    Frames may be pandas or polars DataFrames, Arrow tables, DuckDB relations or lists of dictionaries.

    Args:
        config: options as they stand below the source's name in asgard.yml, references resolved.

    Attributes:
        config: the options, a dictionary of this connector's own.
        connection: for whatever `connect` opens; None before.
    """

    tables: ClassVar[Sequence[str] | Mapping[str, pa.Schema]] = ()
    """Names of the tables there are; each is passed to `load_data` as `table`. A mapping gives their Arrow
    schemas besides. Empty: there is one table, `data`, and `table` is not passed."""
    primary_key: ClassVar[Sequence[str]] = ()
    """Columns that are unique and never null in every table that has them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.connection: Any = None

    @abstractmethod
    def connect(self) -> bool:
        """Connects; True when it can be used. Raising says more than False does."""

    @abstractmethod
    def disconnect(self) -> None:
        """Gives the connection back; more than once is fine."""

    @abstractmethod
    def validate_connection(self) -> bool:
        """Whether the connection can be used now."""

    @abstractmethod
    def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
        """All rows of a query, or of the one table, as a frame."""

    @abstractmethod
    def get_schema(self) -> dict[str, Any]:
        """What there is: table to column to type, or as the connector documents it."""

    def load_data_streaming(
        self, query: str | None = None, chunk_size: int = 1000, **kwargs: Any
    ) -> Iterator[Any]:
        """The rows in frames of exactly `chunk_size` rows, the last may have fewer.

        This one loads everything and cuts it; a connector that can read piece by piece writes its own, and is
        then read so in pipelines too.
        """
        yield from cut(self.load_data(query, **kwargs), chunk_size)

    def __enter__(self) -> Self:
        with connection_attempt(type(self).__name__, type(self).__name__):
            _insist(self.connect(), type(self).__name__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    @classmethod
    def as_source(cls, name: str) -> type[Source]:
        """The Source that stands for this class in pipelines under a registered name."""
        return _plain_source(cls, name)


def register_connector(name: str, connector: Any) -> None:
    """Makes a connector of one's own known under a type, in this process.

    Args:
        name: what users write as `type`.
        connector: a subclass of BaseConnector, or a Source.

    A distribution does the same for every process with an entry point of the group `asgard.connectors`.

    Raises:
        ConfigError: the class is no connector, or lacks methods.
    """
    wanted = "connect, disconnect, validate_connection, load_data and get_schema"
    if not isinstance(connector, type) or not issubclass(connector, (BaseConnector, Source)):
        raise ConfigError(
            f"{connector!r} is no connector",
            hint=f"register a subclass of asgard.BaseConnector with {wanted}",
        )
    missing = sorted(getattr(connector, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(
            f"{connector.__name__} lacks {', '.join(missing)}", hint=f"a connector has {wanted}"
        )
    registry.register(name, connector)


class PlainConfig(Config):
    """Options of a connector that declares none: everything is taken, and shown to nobody."""

    model_config = ConfigDict(extra="allow")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Names alone: which of the values are secret is not known (Promise 6)."""
        yield from ((name, STARS) for name in self.model_extra or {})


class PlainSource(Source):
    """A Source made of a `BaseConnector` subclass: one table, one split, everything anew each time."""

    Config: ClassVar[type[Config]] = PlainConfig
    plain: ClassVar[type[BaseConnector]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options: dict[str, Any] = dict(self.config.model_extra or {})
        self._connector: BaseConnector | None = None
        self._schemas: dict[str, pa.Schema] = {}
        self._begun: tuple[str, pa.Table, Iterator[pa.Table]] | None = None

    def check(self) -> None:
        """Connects, and asks the connector whether its connection is valid."""
        connector = self._connected()
        with self._translated("validate_connection"):
            valid = connector.validate_connection()
        if not valid:
            raise Unreachable(f"{self.name} says that its connection is not valid")

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """The declared tables, or the one. A table without a declared schema is begun to be loaded for it."""
        for name in self.plain.tables or (ONLY_TABLE,):
            if fnmatchcase(name, pattern):
                yield self.describe(name)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table; with a query any name will do."""
        known = tuple(self.plain.tables) or (ONLY_TABLE,)
        if query is None and name not in known:
            raise QueryError(
                f"{self.name} has no table {name!r}",
                hint=f"it has {', '.join(known)}. A connector names its tables in the class attribute "
                "`tables`, or the table gets a query",
            )
        tables = self.plain.tables
        schema = tables.get(name) if isinstance(tables, Mapping) and query is None else None
        if schema is None:
            schema = self._begin(name, query).schema
        key = tuple(self.plain.primary_key)
        schema = canonical_schema(schema)
        return Stream(name, name, "", schema, primary_key=key if set(key) <= set(schema.names) else ())

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """One split for each selection; cursors are refused."""
        splits = []
        for selection in selections:
            stream = selection.stream
            if selection.cursor is not None:
                raise ConfigError(
                    f"connector {self.type} reads everything each time and has no use for a cursor",
                    hint="leave cursor out; with mode: merge and a primary_key only what changed is written",
                    where={"source": self.name, "stream": stream.name},
                )
            self._schemas[stream.id] = stream.schema
            splits.append(Split(stream.id, stream.id, {"table": stream.name, "query": selection.query}))
        return Plan(splits)

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """What the connector gives, in the types of its first rows: what does not fit those without loss is
        refused."""
        name, query = split.spec["table"], split.spec["query"]
        schema = self._schemas.get(split.stream) or self.describe(name, query=query).schema
        for table in self._tables(name, query):
            rows = max(1, self.settings.batch_bytes * max(1, table.num_rows) // max(1, table.nbytes))
            for batch in table.to_batches(max_chunksize=rows):
                yield canonical_batch(batch, schema)

    def close(self) -> None:
        """Disconnects."""
        connector, self._connector, self._begun = self._connector, None, None
        if connector is not None:
            with self._translated("disconnect"):
                connector.disconnect()

    def _begin(self, name: str, query: str | None) -> pa.Table:
        """The first rows, which give the schema; the reading that follows goes on behind them."""
        key = f"{name}\n{query}"
        if self._begun is None or self._begun[0] != key:
            chunks = self._loaded(name, query)
            self._begun = (key, next(chunks, pa.table({})), chunks)
        return self._begun[1]

    def _tables(self, name: str, query: str | None) -> Iterator[pa.Table]:
        first = self._begin(name, query)
        assert self._begun is not None
        rest, self._begun = self._begun[2], None
        yield first
        yield from rest

    def _loaded(self, name: str, query: str | None) -> Iterator[pa.Table]:
        connector = self._connected()
        extra = {"table": name} if self.plain.tables and query is None else {}
        if not _writes_streaming(self.plain):
            with self._translated("load_data"):
                frame = connector.load_data(query, **extra)
            yield to_arrow(frame, self.name)
            return
        chunk_rows = int(self._options.get("chunk_size") or CHUNK_ROWS)
        with self._translated("load_data_streaming"):
            for frame in connector.load_data_streaming(query, chunk_size=chunk_rows, **extra):
                yield to_arrow(frame, self.name)

    def _connected(self) -> BaseConnector:
        if self._connector is None:
            with connection_attempt(self.name, self.type), self._translated("connect"):
                connector = self.plain(self._options)
                _insist(connector.connect(), self.name)
            self._connector = connector
        return self._connector

    @contextmanager
    def _translated(self, method: str) -> Iterator[None]:
        try:
            yield
        except AsgardError:
            raise
        except Exception as error:
            LOGGER.debug("%s of connector %s failed", method, self.type, exc_info=True)
            secrets = list(_secrets(self._options))
            said = redact(f"{type(error).__name__}: {error}", secrets)
            raise _kind_of(error, method)(
                f"{method} of connector {self.type} failed: {said}", where={"source": self.name}
            ) from (None if secrets else error)


@cache
def _plain_source(plain: type[BaseConnector], name: str) -> type[PlainSource]:
    return type(
        f"{plain.__name__}Source", (PlainSource,), {"plain": plain, "type": name, "__doc__": plain.__doc__}
    )


def _insist(connected: bool | None, name: str) -> None:
    # A connector that forgets to say True has raised nothing either: only a plain False is a refusal.
    if connected is False:
        raise Unreachable(f"{name} could not connect", hint="its connect() returned False; raising says more")


def _writes_streaming(plain: type[BaseConnector]) -> bool:
    return inspect.getattr_static(plain, "load_data_streaming") is not BaseConnector.load_data_streaming


def _secrets(options: Mapping[str, Any], inside: bool = False) -> Iterator[str]:
    for name, value in options.items():
        secret = inside or bool(SECRET_NAME.search(str(name)))
        if isinstance(value, Mapping):
            yield from _secrets(value, secret)
        elif secret and isinstance(value, str):
            yield value


def _kind_of(error: Exception, method: str) -> type[AsgardError]:
    if isinstance(error, PermissionError):
        return Refused
    if isinstance(error, OSError):
        return Unreachable
    return errors.ConnectionError if method in ("connect", "validate_connection", "disconnect") else DataError
