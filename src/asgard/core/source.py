"""The socket of everything that data comes from.

A connector is one file in `asgard.connectors`: a Source with its Config, features, examples and methods.
A bounded source writes `read(split)` alone; its Reader comes for nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa

from asgard.core.batch import Batch, Progress
from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.config import Config
from asgard.core.errors import Bug, QueryError
from asgard.core.position import Position, Token
from asgard.core.stream import Selection, Split, Stream


class Feature(Flag):
    """What a source can do."""

    NONE = 0
    SPLITS = auto()  # a stream can be read by several workers
    CURSOR = auto()  # it can read only what changed since a position
    SNAPSHOT = auto()  # all splits of a plan show one instant
    LATE_COMMITS = auto()  # its cursor never skips a row that commits late (Promise 7)
    RESUME = auto()  # a half-read plan can be finished by a later one
    QUERY = auto()  # it takes a query of the user's instead of a table
    CHANGES = auto()  # it can follow a change log
    ENDLESS = auto()  # it never ends by itself: a log; plans are one split a stream, batches carry tokens
    LENDS = auto()  # while a plan is open, other processes that read its splits see what this one would


@dataclass(frozen=True)
class Example:
    """A working configuration: documentation, test case and form sample in one.

    Attributes:
        title: what it shows, in a few words.
        config: as it stands in asgard.yml below the source's name, `type` included.
        note: what a reader should know; empty when nothing.
    """

    title: str
    config: Mapping[str, Any]
    note: str = ""


class Reader(ABC):
    """Reads one split. Used by one thread; only `close` may come from any."""

    @abstractmethod
    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """The next rows or position.

        Args:
            max_bytes: about how large the batch may be.
            timeout_seconds: how long an endless source may wait. A bounded source always has something
                to give, and takes as long for it as it takes; `close` breaks it off.

        Returns:
            A Batch, a Progress (`done` after the last), or None when idle.
        """

    def acknowledge(self, upto: Token) -> None:
        """Everything up to here is durable in the lake; the source may forget it (Promise 3)."""

    def lag_rows(self) -> int | None:
        """How many rows at most the source has beyond what was polled; None when that is not known."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Ends the reading, breaks off a poll in another thread; more than once is fine."""


class BoundedReader(Reader):
    """A Reader over an iterator of record batches that ends."""

    def __init__(self, split: Split, batches: Iterator[pa.RecordBatch]) -> None:
        self._split = split
        self._batches = batches
        self._closed = False

    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """The next batch as the iterator gives it; batches with no rows are passed over."""
        for data in self._batches:
            if self._closed:
                break
            if data.num_rows:
                return Batch(self._split.stream, self._split.id, data)
        return Progress(done=True)

    def close(self) -> None:
        """Ends after the batch that is being read."""
        self._closed = True


class Plan:
    """What is to be read of some streams: a context manager that holds the snapshot.

    Attributes:
        splits: the parts; those that `since` has as done are left out.
        tokens: stream id to the token at which the stream stands once all its splits are in.
        resumable: stream ids whose splits may be committed one by one: a later plan finishes the rest, and
            a cursor or log then catches up from `tokens` of the first plan.
        resumed: stream ids of which more is to be read: when the plan is in, plan once more. It finishes an
            earlier, half-read one, or ends in the middle of what its token can go on from.
        warnings: what the user should know about this reading.
        streams: stream id to the stream as the plan knows it better than `describe` did: its batches have
            that schema. Sources that learn their types from values put them here.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        tokens: Mapping[str, Token] | None = None,
        resumable: frozenset[str] = frozenset(),
        resumed: frozenset[str] = frozenset(),
        warnings: Sequence[str] = (),
        streams: Mapping[str, Stream] | None = None,
    ) -> None:
        self.splits = tuple(splits)
        self.tokens = dict(tokens or {})
        self.resumable = resumable
        self.resumed = resumed
        self.warnings = tuple(warnings)
        self.streams = dict(streams or {})

    def stream_of(self, selection: Selection) -> Stream:
        """The selection's stream with the schema that its batches have."""
        return self.streams.get(selection.stream.id, selection.stream)

    def acknowledge(self, stream: str, position: Position) -> None:
        """The position is durable in the lake; the source may forget what is before it (Promise 3)."""

    def close(self) -> None:
        """Gives the snapshot back; more than once is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class ReadSettings:
    """How a run wants its sources to read.

    Attributes:
        batch_bytes: about how large a batch may be.
        cancel: asked before every batch.
        reader_bytes: what one reader may hold altogether of what cannot be read in parts, such as one value.
    """

    batch_bytes: int = 8 * MEBIBYTE
    cancel: Cancel = field(default_factory=Cancel)
    reader_bytes: int = 2048 * MEBIBYTE


ConfigClass = type[Config]
ErrorClass = type[BaseException]
"""Names of their own: inside of Source the word `type` is the connector's name."""


class Source(ABC):
    """A configured connector.

    Args:
        config: an instance of the class's own `Config`.
        name: the source's name in the project.
        settings: batch sizes and the run's Cancel.

    The contract of all methods: errors are `core.errors` with the next step in them, foreign exceptions are
    translated once; no secret is in an error, a `repr` or a split; a Source is used by one thread, except
    `open`, which several call at the same time.
    """

    type: ClassVar[str]
    """The registered name; the same as the file's name."""
    Config: ClassVar[ConfigClass]
    StreamOptions: ClassVar[ConfigClass] = Config
    """Options of one table, endpoint or file set that only this connector has."""
    features: ClassVar[Feature] = Feature.NONE
    examples: ClassVar[tuple[Example, ...]] = ()
    extra: ClassVar[str] = ""
    """The extra that brings its driver (`pip install 'asgard-platform[extra]'`); empty when it is there."""
    quote: ClassVar[str] = ""
    """Around a column's name in the SQL of its option `where`; empty where there is no such option."""

    def __init__(self, config: Any, name: str = "", settings: ReadSettings | None = None) -> None:
        self.config = config
        self.name = name or self.type
        self.settings = settings or ReadSettings()

    @abstractmethod
    def check(self) -> None:
        """Connects, signs in and asks something small.

        Raises:
            Refused: credentials or permissions do not suffice.
            Unreachable: no answer.
            ConfigError: it answered, but what the configuration names is not there.
        """

    @abstractmethod
    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """The streams there are, in the source's order.

        Args:
            pattern: glob over `name` and `namespace.name`; a plain name is looked up directly.
        """

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One stream as configured: its schema after the options (columns, casts, query).

        Args:
            name: the stream's name, or the name that the query's result shall have.
            options: an instance of `StreamOptions`, None for its defaults.
            query: the user's own query instead of a table.

        Raises:
            QueryError: there is no such stream or column; the hint names near ones.
        """
        found = [s for s in self.streams(name) if name in (s.name, s.full_name)]
        if not found:
            raise QueryError(
                f"{self.name} has no stream {name!r}",
                hint=f"asgard discover {self.name} lists what there is",
            )
        return found[0]

    @abstractmethod
    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Fixes what will be read: takes the snapshot, finds the bound of the cursor in it, makes splits.

        Args:
            selections: the streams and how they are wanted.
            since: stream id to the position that the table has; missing for a first load. Modes without
                a cursor ignore it.
            until: an upper bound of the cursor, for backfills.
            parallel: how many splits may be read at the same time.
        """

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The rows of a split, with the schema of the selection's stream; lazily, in batches of about
        `settings.batch_bytes`. Bounded sources write this instead of `open`."""
        raise Bug(f"{type(self).__name__} has neither read nor open")

    def open(self, split: Split, since: Token | None = None) -> Reader:
        """A Reader for the split, from its beginning or from a token of the split."""
        return BoundedReader(split, self.read(split))

    def close(self) -> None:
        """Gives connections back; more than once is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: ErrorClass | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
