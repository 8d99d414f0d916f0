"""From a plan to staged files: one worker a split, bounded by bytes, with the metadata columns added."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa

from asgard.core.batch import REASON, Batch, Progress
from asgard.core.columns import array_of, scalar_of
from asgard.core.errors import DataError
from asgard.core.events import Kind
from asgard.core.names import EXTRACTED_AT, VALID_FROM, VALID_TO
from asgard.core.source import Source
from asgard.core.stream import Split
from asgard.core.table import Load, Staged
from asgard.core.types import canonical_batch, canonical_schema, with_metadata
from asgard.flow.setting import Setting
from asgard.quality.drift import Agreement, refuse_strangers
from asgard.quality.masking import Masking

RUN_ID = "_asgard_run_id"
INSTANT = pa.timestamp("us", tz="UTC")
POLL_SECONDS = 1.0
ASIDE_BYTES = 8 << 20
"""What a split holds of rows that are set aside before they are written."""


@dataclass
class Landing:
    """How a stream's rows look in the lake.

    Attributes:
        names: source column to lake column.
        own: the columns' canonical Arrow schema, in lake names.
        schema: the same with the metadata columns at the end.
        run: id of the run, for every row.
        extracted_at: the instant of the plan, for every row.
        masking: what may not lie in clear; put on before anything else is done with a batch.
        since: of a history, the lake column that says since when a row holds; empty: since `extracted_at`.
        planned: the source columns that the plan knows.
        agreement: what becomes of drift; None where no contract says anything.
    """

    names: Mapping[str, str]
    own: pa.Schema
    schema: pa.Schema
    run: str
    extracted_at: datetime
    masking: Masking | None = None
    since: str = ""
    planned: frozenset[str] = frozenset()
    agreement: Agreement | None = None
    _constants: list[pa.Array] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls,
        schema: pa.Schema,
        names: Mapping[str, str],
        run: str,
        extracted_at: datetime,
        *,
        with_extracted_at: bool = True,
        masking: Masking | None = None,
    ) -> Landing:
        """The landing of rows with this schema; columns that `names` leaves out are dropped.

        Raises:
            ConfigError: a mask cannot be put on.
        """
        schema = masking.schema(schema) if masking else schema
        fields = [
            with_metadata(column.with_name(names[column.name]), {"asgard.name": column.name})
            for column in canonical_schema(schema)
            if column.name in names
        ]
        own = pa.schema(fields)
        if with_extracted_at:
            fields.append(pa.field(EXTRACTED_AT, INSTANT))
        fields.append(pa.field(RUN_ID, pa.string()))
        planned = frozenset(schema.names)
        return cls(names, own, pa.schema(fields), run, extracted_at, masking, planned=planned)

    def under(self, agreement: Agreement) -> Landing:
        """The same with the columns, and in the types, that a contract lets in."""
        constants = list(self.schema)[len(self.own) :]
        schema = pa.schema([*agreement.own, *constants])
        return replace(self, own=agreement.own, schema=schema, agreement=agreement)

    @property
    def widens(self) -> bool:
        """Whether a column's type may become wider in the table."""
        return self.agreement is not None and self.agreement.widens

    def allows_missing(self, asked: bool) -> bool:
        """Whether columns may vanish: it was asked for, or agreed on."""
        return asked or (self.agreement is not None and self.agreement.allow_missing)

    def with_ranges(self, since: str) -> Landing:
        """The same for rows that are versions, and hold since the source's column says; empty: since now."""
        schema = pa.schema([*self.schema, pa.field(VALID_FROM, INSTANT), pa.field(VALID_TO, INSTANT)])
        return replace(self, schema=schema, since=self.names[since] if since else "")

    def dressed(self, data: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as the lake takes it.

        Raises:
            DataError: a value does not fit the canonical type without loss; names the column.
            SchemaChanged: a column came that the plan does not know.
        """
        return self._completed(canonical_batch(self._renamed(data, strangers=False), self.own))

    def parted(self, data: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The batch as the lake takes it, and what of it its contract sets aside, with the reason; None when
        that is nothing.

        Raises:
            DataError, SchemaChanged: as `dressed`, where the contract does not say otherwise.
        """
        if self.agreement is None:
            return self.dressed(data), None
        parted = self.agreement.parted(self._renamed(data, strangers=True))
        good = self._completed(parted.good)
        if not parted.reasons:
            return good, None
        constants = self._constant(len(parted.reasons))
        bad = pa.RecordBatch.from_arrays([*parted.bad.columns, *constants], schema=_gaps(self.schema))
        return good, bad.append_column(REASON, array_of(parted.reasons, pa.string()))

    def _renamed(self, data: pa.RecordBatch, *, strangers: bool) -> pa.RecordBatch:
        """The batch masked and in lake names; what the plan does not know keeps its name, or is refused."""
        data = self.masking.applied(data) if self.masking else data
        new = [name for name in data.schema.names if name not in self.planned]
        if new and not strangers:
            refuse_strangers(new)
        kept = data.select([name for name in data.schema.names if name in self.names or name in new])
        return kept.rename_columns([self.names.get(name, name) for name in kept.schema.names])

    def _completed(self, canonical: pa.RecordBatch) -> pa.RecordBatch:
        constants = self._constant(canonical.num_rows)
        if self.since:
            constants[-2] = instants(canonical.column(self.since), self.since)
        return pa.RecordBatch.from_arrays([*canonical.columns, *constants], schema=self.schema)

    def _constant(self, rows: int) -> list[pa.Array]:
        # One array serves all batches, sliced: building it anew for each costs more than the writing.
        with self._lock:
            if not self._constants or len(self._constants[0]) < rows:
                constants = {
                    EXTRACTED_AT: self.extracted_at,
                    RUN_ID: self.run,
                    VALID_FROM: self.extracted_at,
                }
                most = max(rows, 65_536)
                self._constants = [
                    pa.nulls(most, column.type)
                    if column.name == VALID_TO
                    else pa.repeat(scalar_of(constants[column.name], column.type), most)
                    for column in list(self.schema)[len(self.own) :]
                ]
            return [array.slice(0, rows) for array in self._constants]


def _gaps(schema: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_nullable(True) for column in schema])


def instants(column: pa.Array, name: str) -> pa.Array:
    """A date or time as instants in UTC: those without a zone are taken for UTC.

    Raises:
        DataError: one is null, or finer than microseconds.
    """
    if column.null_count:
        raise DataError(
            f"{name} is null in {column.null_count} rows: nothing says since when they hold",
            hint="valid_from: load takes the time of the load instead",
            where={"column": name},
        )
    try:
        naive = getattr(column.type, "tz", None) is None  # dates have none
        return (column.cast(pa.timestamp("us")) if naive else column).cast(INSTANT)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name} cannot be carried as an instant of microseconds: {error}",
            hint="valid_from: load takes the time of the load instead",
            where={"column": name},
        ) from error


@dataclass
class Tally:
    """What was read so far, for progress events; safe from several threads."""

    splits: int
    rows: int = 0
    size_bytes: int = 0
    splits_done: int = 0
    _told_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rows: int, size_bytes: int, setting: Setting) -> None:
        """Counts a batch; tells at most five times a second."""
        with self._lock:
            self.rows += rows
            self.size_bytes += size_bytes
            now = setting.clock.monotonic()
            if now - self._told_at < 0.2:
                return
            self._told_at = now
        self.tell(setting)

    def split_done(self, setting: Setting) -> None:
        """Counts a split that was read to its end."""
        with self._lock:
            self.splits_done += 1
        self.tell(setting)

    def tell(self, setting: Setting) -> None:
        """Emits the figures."""
        setting.tell(
            Kind.STEP_PROGRESS,
            {
                "rows": self.rows,
                "bytes": self.size_bytes,
                "splits_done": self.splits_done,
                "splits": self.splits,
            },
        )


def stage_splits(
    source: Source, splits: Sequence[Split], load: Load, landing: Landing, tally: Tally, setting: Setting
) -> tuple[list[Staged], Staged | None]:
    """Reads splits in parallel and stages their rows; what a contract sets aside is staged apart.

    The first error stops all: the other workers are closed, and what they staged goes with the load.
    """
    stop = threading.Event()
    aside: list[Staged] = []

    def work(split: Split) -> Staged:
        rows = _rows(source, split, tally, setting, stop.is_set)
        staged = load.stage(landed(rows, load, landing, aside))
        tally.split_done(setting)
        return staged

    setting.tell(Kind.STEP_PHASE, {"phase": "read"})
    with ThreadPoolExecutor(min(len(splits), setting.budget.parallel) or 1, "split") as pool:
        futures = [pool.submit(work, split) for split in splits]
        try:
            staged = [future.result() for future in futures]
            return staged, Staged(tuple(f for one in aside for f in one.files)) if aside else None
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise


def landed(
    batches: Generator[pa.RecordBatch], load: Load, landing: Landing, aside: list[Staged]
) -> Iterator[pa.RecordBatch]:
    """Batches as the lake takes them; what a contract sets aside is staged for the quarantine meanwhile."""
    waiting: list[pa.RecordBatch] = []
    with closing(batches):
        for batch in batches:
            good, bad = landing.parted(batch)
            if bad is not None:
                waiting.append(bad)
            if sum(one.nbytes for one in waiting) >= ASIDE_BYTES:
                aside.append(load.quarantine(waiting))
                waiting = []
            yield good
    if waiting:
        aside.append(load.quarantine(waiting))


def _rows(
    source: Source,
    split: Split,
    tally: Tally,
    setting: Setting,
    stopped: Callable[[], bool],
) -> Generator[pa.RecordBatch]:
    reader = source.open(split)
    forget = setting.cancel.on_cancel(reader.close)
    batch_bytes = setting.budget.batch_bytes
    try:
        while not stopped():
            setting.cancel.check()
            # Who holds no lease does not poll: a slow writer holds its reader back (Promise 5).
            with setting.budget.lease(batch_bytes * 2, setting.cancel):
                polled = reader.poll(batch_bytes, POLL_SECONDS)
                if isinstance(polled, Batch):
                    tally.add(polled.data.num_rows, polled.data.nbytes, setting)
                    yield polled.whole
                elif isinstance(polled, Progress) and polled.done:
                    return
    finally:
        forget()
        reader.close()
