"""Wishes about the upkeep of tables: files are put together and in order, and what nobody needs goes.

What costs nothing comes first: versions that nobody keeps are forgotten, then files that nobody needs are
deleted. Then files are written anew, step by step, of all tables the step next that spares readers most for
its bytes: the files that a reader need not open any more, for each MiB that is written. A budget of time or
of bytes ends it between two steps; what is left is told, and the next upkeep goes on there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asgard.app.project.workspace import Workspace
from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.events import Emit, Event, Kind
from asgard.core.table import Table, Upkeep

KEPT = timedelta(days=7)
"""How long versions stay readable: longer than the longest load and query."""
LOG_KEPT = timedelta(days=30)
"""How long the log tells who did what, also where the rows cannot be read any more."""
LEAST_KEPT = timedelta(hours=1)
NOWHERE = "elsewhere in the lake"


@dataclass(frozen=True)
class UpkeepWish:
    """What is to be done.

    Attributes:
        tables: their names; all of the lake when none is named.
        keep: versions that were the newest one so long ago or later stay readable.
        keep_log: the log tells of versions as old as that.
        seconds: no step begins later than that; None for no bound.
        size_bytes: no step begins once so much was written; None for no bound.
        cluster: puts files in order that lie over one another, too.
        dry_run: changes nothing, and says what would be done.
        run: id of the run, for the commits' metadata.
    """

    tables: Sequence[str] = ()
    keep: timedelta = KEPT
    keep_log: timedelta = LOG_KEPT
    seconds: float | None = None
    size_bytes: int | None = None
    cluster: bool = True
    dry_run: bool = False
    run: str = ""

    def check(self) -> None:
        """Raises ConfigError where too little would be kept."""
        if self.keep < LEAST_KEPT or self.keep_log < LEAST_KEPT:
            kept = min(self.keep, self.keep_log)
            raise ConfigError(
                f"versions of the last {kept} are too few: loads and queries on their way need theirs",
                hint="--keep 1h is the least, 7d the default",
            )


@dataclass
class Maintained:
    """What the upkeep of a table did.

    Attributes:
        files_before, files_after: of those that were written anew; 0 where there was nothing to do.
        written_bytes: of those that they are.
        deleted_files, deleted_bytes: that no version needs any more which is kept.
        log_files, log_bytes: taken from the log.
        oldest_version: that can still be read.
        left_files, left_bytes: that the next step would write anew.
        error: why it was left as it is.
    """

    table: str
    files_before: int = 0
    files_after: int = 0
    written_bytes: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    log_files: int = 0
    log_bytes: int = 0
    oldest_version: int | None = None
    left_files: int = 0
    left_bytes: int = 0
    error: AsgardError | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return known if self.error is None else {**known, "error": self.error.as_dict()}


def maintain(
    workspace: Workspace, wish: UpkeepWish, emit: Emit = lambda event: None, cancel: Cancel | None = None
) -> list[Maintained]:
    """Looks after tables. One that fails keeps no other, and no load fails for it.

    Args:
        emit: is told of every step.
        cancel: ends it, also within a step; what was done stays.

    Returns:
        What was done and what is left, table by table; last of all what lay where no table is, if anything.

    Raises:
        ConfigError: there is no table of a name, or too little would be kept.
    """
    wish.check()
    names = [workspace.table(name).name for name in wish.tables] or list(workspace.lake.tables())
    work = _Work(wish, emit, cancel or Cancel())
    tables = [_Looked(workspace.lake.table(name), Maintained(str(name))) for name in names]
    for one in tables:
        work.tidy(one)
    work.step_by_step([one for one in tables if one.done.error is None])
    done = [one.done for one in tables]
    if not wish.tables and not work.cancel.requested:
        done += work.swept(workspace)
    return done


@dataclass
class _Looked:
    table: Table
    done: Maintained
    upkeep: Upkeep = field(default_factory=Upkeep)
    is_busy: bool = False

    @property
    def wants_a_step(self) -> bool:
        """Whether there is one to do, and nobody is in the way."""
        return bool(self.upkeep.files) and not self.is_busy and self.done.error is None

    @property
    def worth(self) -> float:
        """The files that a reader is spared for each MiB that the next step writes."""
        return (self.upkeep.files - 1) / max(self.upkeep.size_bytes / MEBIBYTE, 1.0)


@dataclass
class _Work:
    wish: UpkeepWish
    emit: Emit
    cancel: Cancel
    began: float = field(default_factory=time.monotonic)
    written_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no other step may begin."""
        wish = self.wish
        late = wish.seconds is not None and time.monotonic() - self.began >= wish.seconds
        full = wish.size_bytes is not None and self.written_bytes >= wish.size_bytes
        return late or full or self.cancel.requested

    def tidy(self, one: _Looked) -> None:
        """What writes nothing: versions that nobody keeps are forgotten, files that nobody needs deleted."""
        wish, done, now = self.wish, one.done, datetime.now(UTC)
        if self.cancel.requested:
            return
        try:
            gone = one.table.vacuum(now - wish.keep, wish.dry_run)
            # The log last: what it tells no more, vacuum cannot judge any more either.
            forgotten = one.table.expire(now - max(wish.keep, wish.keep_log), wish.dry_run)
            one.upkeep = self._upkeep(one.table)
        except AsgardError as error:
            done.error = error
            return
        done.deleted_files, done.deleted_bytes = gone.files, gone.size_bytes
        done.log_files, done.log_bytes = forgotten.files, forgotten.size_bytes
        oldest = max(gone.oldest_version, forgotten.oldest_version)
        done.oldest_version = oldest if oldest >= 0 else None
        self._leave(one)
        if gone.files or forgotten.files:
            self._tell(one, files_deleted=gone.files, log_files_deleted=forgotten.files)

    def step_by_step(self, tables: Sequence[_Looked]) -> None:
        """Writes files anew, of all tables what is worth most next, until nothing is or it is over."""
        while not self.wish.dry_run and not self.is_over:
            wanting = [one for one in tables if one.wants_a_step]
            if not wanting:
                return
            self._step(max(wanting, key=lambda one: one.worth))

    def _step(self, one: _Looked) -> None:
        order_by = one.upkeep.order_by if self.wish.cluster else ()
        alone: Callable[[], AbstractContextManager[object]] = nullcontext
        try:
            step = one.table.compact(self.wish.run, lambda: self.cancel.requested, alone, order_by)
            one.upkeep = self._upkeep(one.table)
        except AsgardError as error:
            one.done.error = error
            return
        if step is None:
            one.is_busy = True  # a writer is at work there; the next upkeep does it
        else:
            self.written_bytes += step.size_bytes
            one.done.files_before += step.files_before
            one.done.files_after += step.files_after
            one.done.written_bytes += step.size_bytes
            self._tell(
                one,
                version=step.version,
                files_before=step.files_before,
                files_after=step.files_after,
                bytes=step.size_bytes,
            )
        self._leave(one)

    def swept(self, workspace: Workspace) -> list[Maintained]:
        """What killed first loads left where no table is."""
        try:
            paths = workspace.lake.sweep(datetime.now(UTC) - self.wish.keep, self.wish.dry_run)
        except AsgardError as error:
            return [Maintained(NOWHERE, error=error)]
        return [Maintained(NOWHERE, deleted_files=len(paths))] if paths else []

    def _upkeep(self, table: Table) -> Upkeep:
        return table.upkeep(None if self.wish.cluster else ())

    def _leave(self, one: _Looked) -> None:
        one.done.left_files, one.done.left_bytes = one.upkeep.files, one.upkeep.size_bytes

    def _tell(self, one: _Looked, **known: int) -> None:
        self.emit(Event(Kind.COMPACTED, self.wish.run, one.done.table, known))
