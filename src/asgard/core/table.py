"""The socket of a lake table: a Load stages, prepares and publishes; nothing is visible before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from asgard.core.position import Position
from asgard.core.stream import Mode


@dataclass(frozen=True, order=True)
class TableName:
    """Where a table lies: `bronze.shop.orders` or `gold.revenue`, in lake names; only bronze has `source`."""

    layer: str
    source: str
    name: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Layer, source if any, name."""
        return (self.layer, self.source, self.name) if self.source else (self.layer, self.name)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True)
class ColumnFigures:
    """What is known of a column's values without reading them, exactly: how many are missing, and the bounds
    of the others as int, Decimal or float; both None when there are none, or when they are not known."""

    nulls: int
    smallest: Any = None
    largest: Any = None


@dataclass(frozen=True)
class Mount:
    """Rows for an engine to query: Parquet files that together are a table.

    Attributes:
        files: paths or URLs of Parquet files, every row of which counts; columns missing in a file are null.
        reader: for tables that whole files do not tell; files is empty then. Gives a new stream of the rows.
        marked: may tell them too: every file, with the ascending numbers of its rows that are gone.
        figures: columns that the files themselves tell about; others are not known.
        filesystem: fsspec's, through which the files are read; None for those of this machine.
    """

    schema: pa.Schema
    files: tuple[str, ...] = ()
    rows: int | None = None
    reader: Any = None
    marked: Mapping[str, pa.Int64Array] = field(default_factory=dict)
    figures: Mapping[str, ColumnFigures] = field(default_factory=dict)
    filesystem: Any = None


@dataclass(frozen=True)
class DataFile:
    """A staged Parquet file, by its path in the table's folder: durable, not yet part of the table.

    Attributes:
        stats: Delta statistics as JSON (numRecords, minValues, maxValues, nullCount).
        partition: partition column to value, for formats that keep it outside of the file.
    """

    path: str
    rows: int
    size_bytes: int
    stats: str
    partition: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """Files that one worker wrote. Picklable."""

    files: tuple[DataFile, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Commit:
    """What a publish did. A figure that is not known is None, never zero (Promise 8).

    Attributes:
        version: the table's version that holds it.
        rows_added, rows_removed: rows that appeared and vanished (an update is one of each).
        quarantined: rows set aside.
        total_rows: rows of the whole table afterwards.
    """

    version: int
    rows_added: int | None
    rows_removed: int | None
    bytes_added: int
    quarantined: int = 0
    total_rows: int | None = None


@dataclass(frozen=True)
class Evolution:
    """How the incoming columns differ from the table's.

    Attributes:
        added: columns that the table did not have, now added; old rows have null.
        widened: column to (incoming type, table type) where values are carried in the table's wider type.
        missing: columns of the table that did not come; new rows have null (only where allowed).
        rewritten: column to (type before, wider type now): the table is written anew with it.
    """

    added: tuple[str, ...] = ()
    widened: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    rewritten: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.widened or self.missing or self.rewritten)


@dataclass(frozen=True)
class Version:
    """One version of a table: number, instant, what was done, by which run (if by Asgard)."""

    version: int
    at: datetime
    operation: str
    run: str = ""
    rows_added: int | None = None


@dataclass(frozen=True)
class Compacted:
    """Files that were put together: how many they were and are, and the bytes of those that they are."""

    version: int
    files_before: int
    files_after: int
    size_bytes: int


@dataclass(frozen=True)
class Upkeep:
    """How a table lies. `files` of `size_bytes` are what `compact` would write anew next; none: 0. Of its
    data files, `depth` at most lie over one key. `entries` are the versions that its log tells of; `order_by`
    is what the newest load has in `cluster_by`."""

    files: int = 0
    size_bytes: int = 0
    depth: int = 0
    entries: int = 0
    order_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vacuumed:
    """Files that were deleted, and the oldest version that can still be read; -1: the table is not ours."""

    files: int
    size_bytes: int
    oldest_version: int


class Prepared(Protocol):
    """A worked-out load that nobody sees yet."""

    def mount(self) -> Mount:
        """The table as it would be."""
        ...

    def fresh(self) -> Mount:
        """The rows of this load alone, as they were staged."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether no row comes and none goes or changes."""
        ...


class Load(Protocol):
    """One change of one table, on a pinned version. Leaving it without `publish` deletes its files.

    Threads: `stage` and `quarantine` may be called by many at the same time; the rest by one.
    """

    @property
    def position(self) -> Position | None:
        """The position at the pinned version."""
        ...

    @property
    def evolution(self) -> Evolution:
        """What the schema given to `Table.load` changes."""
        ...

    def stage(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """Writes rows to durable files of this load; streams, and holds no more than a row group.

        Raises:
            DataError: a value cannot be carried in the table's type; names the column and the way.
            OutOfSpace: the disk is full.
        """
        ...

    def quarantine(self, batches: Iterable[pa.RecordBatch]) -> Staged:
        """The same into the quarantine twin. The batches carry `_asgard_reason` besides the columns."""
        ...

    def discard(self, staged: Staged) -> None:
        """Takes staged files back (they were staged anew)."""
        ...

    def prepare(self, staged: Iterable[Staged]) -> Prepared:
        """Works out what is added and removed for the load's mode. May be called again with other files."""
        ...

    def publish(self, prepared: Prepared, position: Position, quarantined: Staged | None = None) -> Commit:
        """Data and position in one compare-and-swap commit (Promise 1), durable when it returns.

        Raises:
            Conflict: another writer was faster, and this load cannot be repeated on top of it by itself.
            PositionLost: the table was restored or written by an unknown hand meanwhile.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class History:
    """How rows become versions, with `Mode.HISTORY`.

    Attributes:
        by_cursor: a version begins when its row says, also among others; else with this load, after all.
        closes_at: keys that hold and do not come end then: every row of the source comes. None leaves them.
    """

    by_cursor: bool = False
    closes_at: datetime | None = None


@dataclass(frozen=True)
class LoadRequest:
    """What a load is to do.

    Attributes:
        stream: id under which the position is kept: the source's stream, or the model.
        mode: what happens to the rows that are there.
        keys: the key columns, for merge and for append with a cursor.
        keys_unique: the source guarantees that no key comes twice in this load: no de-duplication needed.
        order_by: of rows of this load with one key, the one with the greatest value here stays, and among
            equals the last staged; empty: the last staged.
        history: for Mode.HISTORY: batches have `_asgard_valid_from`, and `_asgard_valid_to`, null.
        deleted: for merge and history: the column by which a row says that it is deleted: true, or for other
            types not null. Such a row is not kept; its key goes, or ends.
        vanished: what is staged are the keys that the source has, alone: rows with others go, or end.
        keep_existing: rows whose key is in the table already are left as they are (append with a cursor and a
            key: what is read again at ties is dropped).
        allow_missing: columns of the table that do not come become null instead of refusing the load.
        widens: a column that comes in a wider type makes the table's column as wide.
        raw: what is set aside may be messages that could not be decoded: it has the columns `core.batch.RAW`.
        run, cluster_by: the run's id, and columns by which upkeep keeps files apart, for the metadata.
        memory_bytes: what prepare may hold.
    """

    stream: str
    mode: Mode
    schema: pa.Schema
    keys: tuple[str, ...] = ()
    keys_unique: bool = False
    order_by: str = ""
    history: History | None = None
    deleted: str = ""
    vanished: bool = False
    keep_existing: bool = False
    allow_missing: bool = False
    widens: bool = False
    raw: bool = False
    run: str = ""
    cluster_by: tuple[str, ...] = ()
    memory_bytes: int = 256 << 20


class Table(Protocol):
    """A table of ours."""

    name: TableName

    def exists(self) -> bool:
        """True once a first load was published, or its schema created."""
        ...

    def schema(self, at: int | datetime | None = None) -> pa.Schema:
        """Arrow schema at a version or instant, by default now."""
        ...

    def position(self, stream: str) -> Position | None:
        """From the last commit, never from a second store. None before the first.

        Raises:
            PositionLost: the table was restored, re-created or copied by a hand that is not ours.
        """
        ...

    def load(self, request: LoadRequest) -> Load:
        """A load on the newest version; creates the table (empty, invisible) when there is none.

        Raises:
            SchemaChanged: the columns do not fit, and the rules allow no way.
        """
        ...

    def mount(self, at: int | datetime | None = None) -> Mount:
        """The rows at a version or instant, by default now, for an engine."""
        ...

    def quarantined(self) -> Mount | None:
        """The rows that were set aside by loads that were committed; None when there never were any."""
        ...

    def scan(
        self, columns: list[str] | None = None, where: str | None = None, at: int | datetime | None = None
    ) -> pa.RecordBatchReader:
        """A stream of rows, in no order; where is a SQL predicate."""
        ...

    def versions(self, limit: int = 20) -> list[Version]:
        """The newest versions first."""
        ...

    def compact(
        self,
        run: str,
        stopped: Callable[[], bool],
        alone: Callable[[], AbstractContextManager[object]],
        order_by: Sequence[str] = (),
    ) -> Compacted | None:
        """Puts small files together, one bounded step; moves rows and changes none. It yields to writers:
        None when there is nothing to do, or somebody else was in the way.

        Args:
            run: id of the run, for the commit's metadata.
            stopped: asked between batches: gives up, and leaves the table as it is.
            alone: held while the commit is made, against loads of this process.
            order_by: columns; files that lie over one another by them are put in order, too.
        """
        ...

    def upkeep(self, order_by: Sequence[str] | None = None) -> Upkeep:
        """How the table lies, for who decides about `compact`; by default in the order of its newest load."""
        ...

    def expire(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Forgets versions that were replaced before an instant, and what only they chose; never what a
        stream's position, or a load that is under way, is to be judged by."""
        ...

    def vacuum(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Deletes data files that only versions need that were replaced before an instant, and leftovers."""
        ...

    def undo(self, run: str = "") -> Version:
        """Takes the last load back, data and position together; starts a new epoch (protocol, line 14)."""
        ...

    def accept(self, stream: str, resync: bool) -> None:
        """Ends PositionLost: trust the last known position (resync False), or begin anew (True)."""
        ...


class Lake(Protocol):
    """Where tables lie."""

    def table(self, name: TableName) -> Table:
        """The table of that name, whether it exists or not."""
        ...

    def tables(self) -> Iterator[TableName]:
        """The names of all tables that exist, sorted."""
        ...

    def sweep(self, before: datetime, dry_run: bool = False) -> list[str]:
        """Deletes what lies where no table is, and was left before an instant; its paths."""
        ...
