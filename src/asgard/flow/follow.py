"""A log into its table: read on, commit by windows, go on from the table's own last commit.

The road of `flow.ingest` for sources that never end by themselves (Feature.ENDLESS). Every window is a commit
of its own, with the position behind its last row (Promise 1): a kill costs what was read since. Messages that
could not be decoded go to the quarantine in the same commit. A plain run is the same road with an end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from asgard.core.batch import RAW, REASON, Batch, Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Bug, Cancelled, ConfigError
from asgard.core.events import Kind
from asgard.core.names import lake_names
from asgard.core.position import Position, Token
from asgard.core.source import Plan, Reader
from asgard.core.stream import Mode
from asgard.core.table import Commit, Load, LoadRequest, Staged
from asgard.flow.drift import tell_discards, tell_evolution
from asgard.flow.ingest import (
    Pipeline,
    clustered_by,
    known_names,
    refuse_remasked,
    standard_of,
    under_contract,
)
from asgard.flow.landing import land
from asgard.flow.outcome import Outcome, Status
from asgard.flow.reading import POLL_SECONDS, Landing, Tally
from asgard.flow.setting import Setting
from asgard.flow.tidying import Tidier
from asgard.flow.window import UNTIL_THE_END, Meter, Window

PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Before the next attempts; the last for all that follow. A commit begins them anew."""
UNMASKED = "could not be decoded; its bytes are not kept, because columns of this table are masked"
REJECTED_BYTES = 8 << 20
"""What is held of messages for the quarantine before it is written."""


@dataclass(frozen=True)
class Following:
    """How a log is followed.

    Attributes:
        open: opens the source and says what goes where; called again after an error, which may have broken
            a connection.
        window: what goes into one commit.
        endless: goes on for ever; else to what there is when the plan is made.
        drain: asked for: what was read is committed, and the following ends well.
    """

    open: Callable[[], AbstractContextManager[Pipeline]]
    window: Window = field(default_factory=Window)
    endless: bool = False
    drain: Cancel = field(default_factory=Cancel)


def follow(following: Following, setting: Setting) -> Outcome:
    """Brings the table up to the log; when it is endless, keeps it there until the drain is asked for.

    An endless one tries again, as often as it takes, what the error's class says may heal.

    Raises:
        AsgardError: with the source and the stream in `where`; what was committed stays.
    """
    outcome = Outcome(setting.step)
    started = setting.clock.monotonic()
    attempt = 0
    try:
        while True:
            commits = len(outcome.commits) and outcome.commits[-1].version
            try:
                _attempt(following, setting, outcome)
                outcome.status = Status.DONE if outcome.commits else Status.UNCHANGED
                return outcome
            except AsgardError as error:
                if not (following.endless and error.retryable):
                    raise
                moved = len(outcome.commits) and outcome.commits[-1].version != commits
                attempt = 1 if moved else attempt + 1
                if _pause(attempt, error, following.drain, setting):
                    return outcome
    finally:
        outcome.seconds = setting.clock.monotonic() - started


def _pause(attempt: int, error: AsgardError, drain: Cancel, setting: Setting) -> bool:
    """Waits before the next attempt; True when the drain was asked for instead."""
    seconds = PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS)) - 1] * random.uniform(0.5, 1.0)
    setting.tell(
        Kind.RETRIED, {"attempt": attempt, "after_seconds": round(seconds, 1), "error": error.as_dict()}
    )
    forget = setting.cancel.on_cancel(lambda: drain.cancel("cancelled"))
    try:
        drain.sleep(seconds)
    except Cancelled:
        setting.cancel.check()
        return True
    finally:
        forget()
    return False


def _attempt(following: Following, setting: Setting, outcome: Outcome) -> None:
    with following.open() as pipeline:
        source, selection = pipeline.source, replace(pipeline.selection, endless=following.endless)
        stream = selection.stream
        if following.endless and selection.mode is Mode.REPLACE:
            raise ConfigError(
                f"{stream.full_name} never ends, so it cannot be replaced as a whole",
                hint="mode: append, or merge with a primary_key",
                where={"source": source.name, "stream": stream.full_name},
            )
        try:
            replaces = pipeline.anew or selection.mode is Mode.REPLACE
            position = pipeline.table.position(stream.id) or Position()
            since = {} if replaces or position.token is None else {stream.id: position}
            with source.plan([selection], since) as plan:
                for warning in plan.warnings:
                    outcome.warnings.append(warning)
                    setting.tell(Kind.WARNING, {"what": warning})
                _Road(pipeline, plan, position, following, setting, outcome).walk()
        except AsgardError as error:
            raise error.at(source=source.name, stream=stream.full_name) from error


class _Road:
    """One plan of a log, from its reader to the table."""

    def __init__(
        self,
        pipeline: Pipeline,
        plan: Plan,
        position: Position,
        following: Following,
        setting: Setting,
        outcome: Outcome,
    ) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._position = position
        self._following = following
        self._setting = setting
        self._outcome = outcome
        self._stream = pipeline.selection.stream
        self._window = UNTIL_THE_END if pipeline.selection.mode is Mode.REPLACE else following.window
        self._names = lake_names(self._stream.schema.names, known_names(pipeline.table))
        self._tally = Tally(1, outcome.rows_read, outcome.bytes_read)
        self._token: Token | None = position.token
        self._over = False
        self._rejected: _Rejected | None = None

    def walk(self) -> None:
        """Commits window by window until there is nothing more, or the drain is asked for."""
        if len(self._plan.splits) != 1:
            raise Bug(f"a log is one split, not {len(self._plan.splits)}")
        refuse_remasked(self._pipeline, self._landing())
        reader = self._pipeline.source.open(self._plan.splits[0])
        forget = self._setting.cancel.on_cancel(reader.close)
        tidier = Tidier(self._pipeline.table, self._setting)
        try:
            self._setting.tell(Kind.STEP_PHASE, {"phase": "read"})
            while (first := self._first(reader)) is not None or self._must_replace():
                self._window_of(first, reader, tidier)
        finally:
            tidier.close()
            forget()
            reader.close()
            self._outcome.rows_read, self._outcome.bytes_read = self._tally.rows, self._tally.size_bytes

    def _must_replace(self) -> bool:
        """Whether a commit has to follow although nothing came: an empty log empties the table, too."""
        replaces = self._pipeline.selection.mode is Mode.REPLACE
        return replaces and self._over and not self._outcome.commits

    def _first(self, reader: Reader) -> Batch | None:
        """The batch that opens a window; None at the end."""
        while not self._ending:
            self._setting.cancel.check()
            if (batch := self._polled(reader, min(POLL_SECONDS, self._window.seconds))) is not None:
                return batch
        return None

    @property
    def _ending(self) -> bool:
        return self._over or self._following.drain.requested

    def _polled(self, reader: Reader, seconds: float) -> Batch | None:
        polled = reader.poll(self._setting.budget.batch_bytes, seconds)
        if isinstance(polled, Progress):
            self._token = polled.token or self._token
            self._over = polled.done
            return None
        return polled

    def _window_of(self, first: Batch | None, reader: Reader, tidier: Tidier) -> None:
        setting, pipeline = self._setting, self._pipeline
        landing = self._landing()
        with pipeline.table.load(self._request(landing)) as load:
            tell_evolution(load, landing, setting, self._outcome)
            self._rejected = _Rejected(load, landing)
            staged = load.stage(self._batches(first, reader, landing))
            rejected = self._rejected.staged()
            with tidier.turn:
                reached = self._position.finished(self._token)
                standard = standard_of(pipeline, landing)
                commit, verdict = land(load, [staged], reached, standard, setting, rejected)
        tell_discards(landing, setting, self._outcome)
        self._tell(commit, reader)
        self._outcome.checks = list(verdict.results)
        self._plan.acknowledge(self._stream.id, reached)  # Promise 3: only now may the source forget
        if self._token is not None:
            reader.acknowledge(self._token)
        tidier.committed()

    def _landing(self) -> Landing:
        landing = Landing.of(
            self._stream.schema,
            self._names,
            self._setting.run,
            self._setting.clock.now(),
            masking=self._pipeline.masking,
        )
        return under_contract(self._pipeline, landing)

    def _batches(self, first: Batch | None, reader: Reader, landing: Landing) -> Iterator[pa.RecordBatch]:
        """The rows of one window, as the lake takes them."""
        setting, batch = self._setting, first
        meter = Meter(self._window, setting.clock.monotonic())
        size_bytes = setting.budget.batch_bytes * 2
        while True:
            # Who holds no lease does not poll: a slow writer holds its reader back (Promise 5).
            with setting.budget.lease(size_bytes, setting.cancel):
                if batch is not None:
                    self._token = batch.token or self._token
                    rejected = batch.rejected.nbytes if batch.rejected is not None else 0
                    meter.add(batch.data.num_rows, batch.data.nbytes + rejected)
                    self._tally.add(batch.data.num_rows, batch.data.nbytes, setting)
                    if batch.rejected is not None and self._rejected is not None:
                        self._rejected.add(batch.rejected)
                    if batch.data.num_rows:
                        good, bad = landing.parted(batch.data)
                        if bad is not None and self._rejected is not None:
                            self._rejected.set_aside(bad)
                        yield good
                setting.cancel.check()
                left = meter.left_seconds(setting.clock.monotonic())
                if self._ending or not left:
                    return
                batch = self._polled(reader, min(left, POLL_SECONDS))

    def _request(self, landing: Landing) -> LoadRequest:
        selection = self._pipeline.selection
        keys = tuple(landing.names.get(key, key) for key in selection.primary_key)
        return LoadRequest(
            stream=self._stream.id,
            mode=selection.mode,
            schema=landing.schema,
            keys=keys if selection.mode is Mode.MERGE else (),
            cluster_by=clustered_by(self._pipeline, landing),
            allow_missing=landing.allows_missing(self._pipeline.allow_missing),
            widens=landing.widens,
            raw=True,
            run=self._setting.run,
            memory_bytes=self._setting.budget.engine_bytes,
        )

    def _tell(self, commit: Commit, reader: Reader) -> None:
        outcome, setting = self._outcome, self._setting
        # One commit that sums up all: a list of them would grow for ever (Promise 5).
        outcome.commits = [_summed(outcome.commits[-1], commit)] if outcome.commits else [commit]
        rejected = self._rejected
        if rejected is not None and rejected.rows:
            what = f"{rejected.rows} messages could not be decoded and were set aside; {rejected.reason}"
            setting.tell(Kind.WARNING, {"what": what})
            if not outcome.warnings:
                outcome.warnings.append(what)
        lag = reader.lag_rows()
        if self._following.endless and lag is not None:
            setting.tell(Kind.LAG, {"rows": lag})


class _Rejected:
    """Messages of one window that could not be decoded, on their way to the quarantine."""

    def __init__(self, load: Load, landing: Landing) -> None:
        self._load = load
        self._landing = landing
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._done: list[Staged] = []
        self.rows = 0
        self.reason = ""

    def add(self, rejected: pa.RecordBatch) -> None:
        """Takes messages that could not be decoded."""
        landing = self._landing
        own = [name for name in rejected.schema.names if landing.names.get(name) in landing.own.names]
        dressed = self._landing.dressed(rejected.select(own))
        beside = [*RAW, pa.field(REASON, pa.string())]
        arrays = [*dressed.columns, *(rejected.column(column.name) for column in beside)]
        if self._landing.masking is not None:
            # What could not be decoded cannot be masked: neither its bytes nor what is said of them may stay.
            arrays[-3:] = [pa.nulls(rejected.num_rows, column.type) for column in RAW]
            arrays.append(pa.repeat(UNMASKED, rejected.num_rows))
        batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*dressed.schema, *beside]))
        self.reason = self.reason or f"the first: {batch.column(REASON)[0].as_py()}"
        self.rows += batch.num_rows
        self.set_aside(batch)

    def set_aside(self, batch: pa.RecordBatch) -> None:
        """Takes rows with their reason; writes them when there are many."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= REJECTED_BYTES:
            self._write()

    def staged(self) -> Staged | None:
        """What was written; None when there was nothing."""
        self._write()
        return Staged(tuple(file for one in self._done for file in one.files)) if self._done else None

    def _write(self) -> None:
        if self._waiting:
            self._done.append(self._load.quarantine(self._waiting))
            self._waiting, self._waiting_bytes = [], 0


def _summed(before: Commit, last: Commit) -> Commit:
    def total(one: int | None, other: int | None) -> int | None:
        return None if one is None or other is None else one + other

    return Commit(
        version=last.version,
        rows_added=total(before.rows_added, last.rows_added),
        rows_removed=total(before.rows_removed, last.rows_removed),
        bytes_added=before.bytes_added + last.bytes_added,
        quarantined=before.quarantined + last.quarantined,
        total_rows=last.total_rows,
    )
