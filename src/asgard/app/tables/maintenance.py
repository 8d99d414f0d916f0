"""Wishes about the upkeep of tables: small files are put together, files that nobody needs go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asgard.app.project.workspace import Workspace
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.table import Table, TableName

KEPT = timedelta(days=7)
"""How long versions stay readable: longer than the longest load and query."""
LEAST_KEPT = timedelta(hours=1)


@dataclass(frozen=True)
class Maintained:
    """What the upkeep of a table did.

    Attributes:
        files_before, files_after: of those that were put together; 0 where there was nothing to do.
        deleted_files, deleted_bytes: that no version needs any more which is kept.
        oldest_version: that can still be read.
        error: why it was left as it is.
    """

    table: str
    files_before: int = 0
    files_after: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    oldest_version: int | None = None
    error: AsgardError | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return known if self.error is None else {**known, "error": self.error.as_dict()}


def maintain(
    workspace: Workspace,
    names: Sequence[str] = (),
    *,
    keep: timedelta = KEPT,
    dry_run: bool = False,
    cancel: Cancel | None = None,
) -> Iterator[Maintained]:
    """Looks after tables one by one; all of the lake when none is named. A table that fails keeps no other.

    Args:
        keep: versions that were the newest one so long ago or later stay readable.
        dry_run: changes nothing, and says what would be deleted.

    Raises:
        ConfigError: there is no table of a name, or `keep` is too short.
    """
    if keep < LEAST_KEPT:
        raise ConfigError(
            f"versions of the last {keep} are too few: loads and queries on their way need theirs",
            hint="--keep 1h is the least, 7d the default",
        )
    chosen = [workspace.table(name).name for name in names] or list(workspace.lake.tables())
    cancel = cancel or Cancel()
    for name in chosen:
        cancel.check()
        try:
            yield _one(name, workspace.lake.table(name), datetime.now(UTC) - keep, dry_run, cancel)
        except AsgardError as error:
            yield Maintained(str(name), error=error)


def _one(name: TableName, table: Table, before: datetime, dry_run: bool, cancel: Cancel) -> Maintained:
    files_before = files_after = 0
    alone: Callable[[], AbstractContextManager[object]] = nullcontext
    while not dry_run and (done := table.compact("", lambda: cancel.requested, alone)) is not None:
        files_before += done.files_before
        files_after += done.files_after
    cancel.check()
    gone = table.vacuum(before, dry_run)
    oldest = gone.oldest_version if gone.oldest_version >= 0 else None
    return Maintained(str(name), files_before, files_after, gone.files, gone.size_bytes, oldest)
