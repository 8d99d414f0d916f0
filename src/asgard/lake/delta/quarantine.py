"""The quarantine twin: rows that a load set aside, in a Delta table below the main one.

It lies at `_asgard/quarantine/<generation>` and has the table's columns and `_asgard_reason`. Its files are
partitioned by stream and by the integer of their load; they are committed before the table's own commit
(protocol, line 8) and seen only when that integer was committed there. A new generation begins when a column
changes its type.

Reference: docs/decisions/0020-exactly-once-on-delta.md
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from asgard.core.errors import Conflict
from asgard.core.table import DataFile, Mount
from asgard.lake.delta.commits import MARK, sync_log
from asgard.lake.delta.snapshot import LakeFile, Snapshot, add_actions
from asgard.lake.folder import Folder
from asgard.lake.schemas import (
    declare_naive_timestamps,
    has_naive_timestamps,
    needs_naive_timestamps,
    to_delta,
)

REASON = "_asgard_reason"
STREAM = "_asgard_stream"
LOAD = "_asgard_load"
MOST_ATTEMPTS = 20
Result = TypeVar("Result")

Visible = Callable[[str, int], bool]
"""Whether the table committed this integer of this stream."""


@dataclass(frozen=True)
class Set:
    """Files of one load in one generation: what was set aside together."""

    stream: str
    number: int
    files: tuple[LakeFile, ...]
    rows: int


class Quarantine:
    """The generations of a table's twin.

    Args:
        folder: the table's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._root = folder / "_asgard/quarantine"

    def place_for(self, schema: pa.Schema) -> Folder:
        """The folder where rows of the schema are to be staged: of the newest generation that takes them."""
        generations = self.generations()
        if not generations:
            return self._root / "1"
        newest = generations[-1]
        snapshot = Snapshot.open(newest)
        if snapshot is None or not _changed(snapshot.schema, schema):
            return newest
        return self._root / str(int(newest.name) + 1)

    def commit(
        self, place: Folder, schema: pa.Schema, files: Sequence[DataFile], stream: str, number: int
    ) -> None:
        """Protocol 8: commits the files under the integer, durably. Done already, when it has them."""
        app = f"asgard/quarantine/{stream}"
        partition: dict[str, str | None] = {STREAM: stream, LOAD: str(number)}

        def attempt() -> int:
            handle = self._ready(place, schema)
            if handle.transaction_version(app) == number:
                return handle.version()
            return _commit(handle, [_add(file, partition) for file in files], Transaction(app, number))

        sync_log(place, _repeatedly(attempt))

    def forget(self, wrong: Callable[[str, int], bool]) -> None:
        """Takes sets out, durably, that no commit of the table can choose any more."""

        def attempt(place: Folder) -> int | None:
            snapshot = Snapshot.open(place)
            lost = [one for one in _sets(snapshot) if wrong(one.stream, one.number)] if snapshot else []
            if snapshot is None or not lost:
                return None
            return _commit(snapshot.handle, [action for one in lost for action in _removes(one)])

        for place in self.generations():
            version = _repeatedly(partial(attempt, place))
            if version is not None:
                sync_log(place, version)

    def forget_failed(self, stream: str, last: int, before: int | None) -> None:
        """Protocol 8: takes out what was set aside between two integers of a stream that the table has: by
        attempts that failed, and loads that were undone. Nobody can commit them any more, and from the next
        integer on nothing else would tell them apart."""
        if self.exists:
            self.forget(lambda of, number: of == stream and (before or 0) < number < last)

    def mount(self, visible: Visible) -> Mount | None:
        """The rows of committed loads, of the newest generation that has some; None when there are none."""
        for place in reversed(self.generations()):
            snapshot = Snapshot.open(place)
            shown = [one for one in _sets(snapshot) if visible(one.stream, one.number)] if snapshot else []
            if snapshot is None or not shown:
                continue
            columns = [field for field in snapshot.schema if field.name not in (REASON, STREAM, LOAD)]
            schema = pa.schema([*columns, snapshot.schema.field(REASON)])
            files = [file for one in shown for file in one.files]
            return snapshot.mounted(files, schema, sum(one.rows for one in shown))
        return None

    @property
    def exists(self) -> bool:
        """Whether anything was ever set aside."""
        return bool(self.generations())

    def generations(self) -> list[Folder]:
        """The folders of the twin's tables, the oldest first."""
        numbers = (int(name) for name in self._root.folders() if name.isdigit())
        return [self._root / str(number) for number in sorted(numbers)]

    def _ready(self, place: Folder, schema: pa.Schema) -> DeltaTable:
        """The twin with at least these columns, made or widened when it is not."""
        snapshot = Snapshot.open(place)
        if snapshot is None:
            columns = [field for field in schema if not needs_naive_timestamps(pa.schema([field]))]
            own = pa.schema([*columns, pa.field(STREAM, pa.string()), pa.field(LOAD, pa.int64())])
            place.make_delta(to_delta(own), mode="ignore", partition_by=[STREAM, LOAD])
            return self._ready(place, schema)
        new = pa.schema([field for field in schema if field.name not in snapshot.schema.names])
        if needs_naive_timestamps(new) and not has_naive_timestamps(snapshot.handle):
            declare_naive_timestamps(snapshot.handle)
            return self._ready(place, schema)
        if new.names:
            snapshot.handle.alter.add_columns(list(to_delta(new).fields))
            return place.delta()
        return snapshot.handle


def _commit(
    handle: DeltaTable, actions: Sequence[AddAction | RemoveAction], *transactions: Transaction
) -> int:
    """One commit as the very next version; that version."""
    version = handle.version() + 1
    handle.create_write_transaction(
        list(actions),
        "append",
        handle.schema(),
        partition_by=[STREAM, LOAD],
        commit_properties=CommitProperties(
            custom_metadata={MARK: "1"}, app_transactions=list(transactions), max_commit_retries=0
        ),
    )
    return version


def _repeatedly(attempt: Callable[[], Result]) -> Result:
    """Tries until nobody else was faster."""
    for number in range(MOST_ATTEMPTS):
        with suppress(CommitFailedError):
            return attempt()
        time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**number, 1.0))
    raise Conflict(f"other writers of the quarantine were faster {MOST_ATTEMPTS} times", hint="run again")


def _changed(there: pa.Schema, comes: pa.Schema) -> bool:
    return any(field.name in there.names and there.field(field.name).type != field.type for field in comes)


def _sets(snapshot: Snapshot) -> Iterator[Set]:
    """What was set aside, load by load."""
    adds = add_actions(snapshot.handle)
    found: dict[tuple[str, int], list[LakeFile]] = {}
    wanted = ["path", "size_bytes", "num_records", f"partition.{STREAM}", f"partition.{LOAD}"]
    for row in adds.select(wanted).to_pylist():
        key = (row[f"partition.{STREAM}"], int(row[f"partition.{LOAD}"]))
        found.setdefault(key, []).append(LakeFile(row["path"], row["size_bytes"], row["num_records"]))
    for (stream, number), files in found.items():
        yield Set(stream, number, tuple(files), sum(file.rows or 0 for file in files))


def _add(file: DataFile, partition: dict[str, str | None]) -> AddAction:
    return AddAction(file.path, file.size_bytes, partition, int(time.time() * 1000), True, file.stats)


def _removes(one: Set) -> list[RemoveAction]:
    partition: dict[str, str | None] = {STREAM: one.stream, LOAD: str(one.number)}
    now = int(time.time() * 1000)
    return [RemoveAction(file.path, True, now, partition_values=partition) for file in one.files]
