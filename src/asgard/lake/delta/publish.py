"""The commit: data and position together, so that a kill neither loses nor repeats (Promise 1).

The numbers in the comments are lines of the protocol in docs/decisions/0020-exactly-once-on-delta.md.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, PostCommitHookProperties, Transaction
from deltalake.transaction import AddAction, RemoveAction

from asgard.core.errors import AsgardError, Conflict, PositionLost
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, LoadRequest, Staged
from asgard.lake.boundaries import reach
from asgard.lake.change import Change, check_presence
from asgard.lake.delta.carried import Newest
from asgard.lake.delta.commits import CLUSTER_BY, MARK, check_since, checkpoint, entry, sync_log
from asgard.lake.delta.deletion_vectors import ENABLED
from asgard.lake.delta.ledger import Ledger, Standing, app_id
from asgard.lake.delta.log_writer import Action, added, marked, put_commit, removed, vectors_enabled
from asgard.lake.delta.pinned import Base
from asgard.lake.delta.positions import Record, inline, next_number, number_at
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.snapshot import FORMAT_PROPERTY, Snapshot
from asgard.lake.disk import translated
from asgard.lake.folder import Folder
from asgard.lake.prepare import Preparation
from asgard.lake.schemas import (
    SchemaDocuments,
    declare_naive_timestamps,
    first_schema,
    needs_naive_timestamps,
    same_columns,
    to_delta,
)

MOST_ATTEMPTS = 30
RETENTION_SECONDS = 30 * 86_400.0
CHECKPOINT_EVERY = 20
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""Checkpoints are made after the commit is durable, by `Publisher` itself."""


@dataclass(frozen=True)
class SetAside:
    """Rows that go to the quarantine with the load."""

    place: Folder
    schema: pa.Schema
    staged: Staged


class Publisher:
    """Publishes one prepared load, once.

    Args:
        folder: the table's folder.
        request: what the load is to do.
        prefix: how the names of its files begin.
        preparation: works the same rows out on a newer version.
        set_aside: what goes to the quarantine; None when nothing does.
        newest: is told of the version that it makes.
    """

    def __init__(
        self,
        folder: Folder,
        request: LoadRequest,
        prefix: str,
        preparation: Preparation,
        set_aside: SetAside | None,
        newest: Newest,
    ) -> None:
        self._folder = folder
        self._request = request
        self._prefix = prefix
        self._preparation = preparation
        self._set_aside = set_aside
        self._newest = newest
        self._ledger = Ledger(folder)
        self._positions = self._ledger.positions(request.stream)
        self._quarantine = Quarantine(folder)
        self._documents = SchemaDocuments(folder / "_asgard")

    def publish(self, change: Change, position: Position) -> tuple[Commit, Change]:
        """Commits the change with the position, durably.

        Raises:
            Conflict: another load of the stream was faster, or staged files are gone.
            PositionLost: the table was restored or changed by an unknown hand meanwhile.
        """
        started, number, record = change.base, 0, None
        for attempt in range(MOST_ATTEMPTS):
            try:
                change = self._made_ready(change)
                if record is None:
                    self._clear_quarantine(change.base.standing)
                    record = self._record(change, position)
                    number = record.number
                    self._commit_quarantine(number)
                self._commit(change, record)
            except Exception as error:
                # 11: the integer says what happened, never the exception.
                landed = self._look(number, started, error)
                if landed is None:
                    change = self._again(change, error, attempt)
                    continue
                self._newest.forget()
                return self._finished(change, started, landed), change
            self._remember(change, record)
            return self._finished(change, started, change.base.version + 1), change
        raise Conflict(f"other writers were faster {MOST_ATTEMPTS} times", hint="run again")

    # ---- before the commit

    def _made_ready(self, change: Change) -> Change:
        """5: a table, its columns and features are commits of their own, each idempotent."""
        if change.base.snapshot is None:
            self._create(change)
            reach("table_created")
            change = self._moved(change, created=True)
        snapshot = change.base.snapshot
        assert snapshot is not None
        self._ledger.adopt(snapshot)
        evolved = False
        if needs_naive_timestamps(change.columns.table) and not snapshot.has_naive_timestamps:
            declare_naive_timestamps(snapshot.handle, _properties({"asgard.run": self._request.run}))
            change, evolved = self._moved(change), True
            snapshot = change.base.snapshot
            assert snapshot is not None
        if change.marks and snapshot.properties.get(ENABLED) != "true":
            told = {"asgard.run": self._request.run}
            put_commit(self._folder, snapshot.version + 1, vectors_enabled(snapshot), told)
            change, evolved = self._moved(change), True
        # A commit that takes every file out brings its columns itself.
        new = [] if _takes_all_out(change) else _new_fields(change)
        if new:
            self._documents.record(change.columns.table, change.columns.last_id)
            snapshot = change.base.snapshot
            assert snapshot is not None
            snapshot.handle.alter.add_columns(
                list(to_delta(pa.schema(new)).fields),
                commit_properties=_properties({"asgard.run": self._request.run}),
                post_commithook_properties=NO_HOOKS,
            )
            change, evolved = self._moved(change), True
        if evolved:
            reach("evolved")
        return change

    def _create(self, change: Change) -> None:
        self._documents.record(change.columns.table, change.columns.last_id)
        self._folder.make_delta(
            to_delta(first_schema(change.columns.table)),
            configuration={FORMAT_PROPERTY: "1"},
            # Without max_commit_retries=0 the slower of two creators makes version 1 with an id of its own.
            commit_properties=_properties({"asgard.run": self._request.run}),
            raise_if_key_not_exists=False,
        )

    def _record(self, change: Change, position: Position) -> Record:
        """7: the meaning of the integer, before the integer."""
        self._documents.record(change.columns.table, change.columns.last_id)
        standing = change.base.standing
        meaning = Record(
            number=next_number(standing.number),
            position=replace(position, epoch=standing.epoch),
            prev=standing.number,
            base=change.base.version,
            files=self._prefix,
            quarantined=self._set_aside.staged.rows if self._set_aside else 0,
            anew=standing.anew and self._request.vanished,  # whose rows are yet to come
            since=standing.record.since if standing.record else 0,
        )
        while True:
            meaning = meaning.replacing() if change.base.replaces else meaning
            if self._positions.put(meaning):
                break
            meaning = replace(meaning, number=meaning.number + 1)
        reach("record_written")
        return meaning

    def _clear_quarantine(self, standing: Standing) -> None:
        if standing.record is not None:
            self._quarantine.forget_failed(self._request.stream, standing.record.number, standing.record.prev)

    def _commit_quarantine(self, number: int) -> None:
        # 8: rows that are set aside go first; they show once the table has the integer.
        aside = self._set_aside
        if aside is None:
            return
        reach("before_quarantine_commit")
        self._quarantine.commit(aside.place, aside.schema, aside.staged.files, self._request.stream, number)
        reach("quarantine_committed")

    # ---- the commit

    def _commit(self, change: Change, record: Record) -> None:
        base, snapshot = change.base, change.base.snapshot
        assert snapshot is not None
        check_presence(self._folder, {file.path: file.size_bytes for file in change.adds})  # 9
        check_presence(self._folder, change.vector_files)
        if snapshot.log_identity() != base.log_identity:
            raise PositionLost("the table was re-created during the load", hint="run again")
        app = app_id(snapshot.table_id, self._request.stream, base.standing.epoch)  # 1
        number = Transaction(app, record.number)
        told = self._provenance(change, record)
        reach("before_commit")
        # 10: one transaction on the handle that was asked for the position, without a single retry: it
        # succeeds only as the very next version.
        if not _takes_all_out(change) and (snapshot.takes_plain_commits or change.touches_vectors):
            put_commit(self._folder, snapshot.version + 1, _actions(change), told, [number])
        else:
            self._commit_by_delta(snapshot, change, _properties(told, number))
        reach("committed")

    def _commit_by_delta(self, snapshot: Snapshot, change: Change, properties: CommitProperties) -> None:
        now = int(time.time() * 1000)
        adds = [AddAction(f.path, f.size_bytes, {}, now, True, f.stats) for f in change.adds]
        removes = [] if _takes_all_out(change) else [
            # Encoded anew by delta-rs: a path as the log has it would remove nothing, without a word.
            RemoveAction(unquote(f.path), True, now, f.size_bytes, {}) for f in change.removes
        ]  # fmt: skip
        snapshot.handle.create_write_transaction(
            [*adds, *removes],
            "overwrite" if _takes_all_out(change) else "append",
            to_delta(change.columns.table),
            commit_properties=properties,
            post_commithook_properties=NO_HOOKS,
        )

    def _provenance(self, change: Change, record: Record) -> dict[str, Any]:
        request = self._request
        told = {
            "asgard.run": request.run,
            "asgard.stream": request.stream,
            "asgard.load": str(record.number),
            "asgard.mode": str(request.mode),
            "asgard.rows_added": change.rows_added,
            "asgard.rows_removed": change.rows_removed,
            "isBlindAppend": request.mode is Mode.APPEND and not request.keys and not _takes_all_out(change),
            CLUSTER_BY: json.dumps(request.cluster_by) if request.cluster_by else None,
            **inline({request.stream: record}),
        }
        return {key: value for key, value in told.items() if value is not None}

    # ---- after an error

    def _look(self, number: int, started: Base, error: Exception) -> int | None:
        """11: opens the table afresh and lets the integer decide.

        Returns:
            The version that holds the commit, or None when the stream stands where it stood.

        Raises:
            Conflict: another load of the stream was faster.
            PositionLost: it is another table now.
        """
        snapshot = Snapshot.open(self._folder)
        if snapshot is None:
            return None
        self._ledger.check_identity(snapshot)
        epoch, current = self._ledger.current(snapshot, self._request.stream)
        if number and current == number:
            return self._version_of(number, started.version, snapshot.version)
        if (epoch, current) != (started.standing.epoch, started.standing.number):
            raise Conflict(
                "another load of the same stream was faster", hint="run again: it goes on from its position"
            ) from error
        return None

    def _version_of(self, number: int, since: int, upto: int) -> int:
        for version in range(upto, since, -1):
            found = entry(self._folder, version)
            if found is not None and found.provenance.get("asgard.load") == str(number):
                return version
        return upto

    def _again(self, change: Change, error: Exception, attempt: int) -> Change:
        """The change on the newest version, after a pause; or the error, when it was no race."""
        if not isinstance(self._as_ours(error), Conflict) or isinstance(error, AsgardError):
            raise error
        time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**attempt, 2.0))  # 13
        return self._moved(change)

    def _as_ours(self, error: Exception) -> Exception:
        try:
            with translated({}):
                raise error
        except AsgardError as ours:
            return ours

    def _moved(self, change: Change, created: bool = False) -> Change:
        """The change on a fresh handle: worked out again when files came or went meanwhile.

        Args:
            change: on an older version.
            created: whether the table came into being with this load just now.
        """
        base = Base.open(self._folder, self._request)
        before = change.base.standing
        if (base.standing.epoch, base.standing.number) != (before.epoch, before.number):
            raise Conflict("another load of the same stream was faster", hint="run again")
        if base.standing.record is None and change.base.snapshot is not None:
            _check_unchanged(self._folder, change.base.version, base.version)
        entries = (entry(self._folder, v) for v in range(change.base.version + 1, base.version + 1))
        same_files = all(found is not None and not found.touches_files for found in entries)
        columns = change.columns
        if not (created and base.version == 0) and not _same_schema(base, change.base):
            columns = base.columns(self._folder, self._request)
        if not same_columns(columns.staged, change.columns.staged):
            raise Conflict("the table's columns changed during the load", hint="run again")
        if same_files:
            return replace(change, base=base, columns=columns)
        # The version after the older base is taken: no attempt of ours can appear there any more.
        self._folder.delete(*change.rewritten)
        return self._preparation.change(base, columns, change.staged)

    # ---- after the commit

    def _remember(self, change: Change, record: Record) -> None:
        """Tells the next load of this process what the version holds that it made, where that is plain."""
        snapshot = change.base.snapshot
        if snapshot is None or change.removes or change.marks or _takes_all_out(change):
            self._newest.forget()
        else:
            app = app_id(snapshot.table_id, self._request.stream, change.base.standing.epoch)
            self._newest.made(snapshot, change.total_rows, app, record.number)

    def _finished(self, change: Change, started: Base, version: int) -> Commit:
        for written in range(started.version + 1, version + 1):
            sync_log(self._folder, written)  # 12
        reach("log_synced")
        if version % CHECKPOINT_EVERY == 0:
            self._tidy(change.base.standing.number)
        return Commit(
            version,
            change.rows_added,
            change.rows_removed,
            change.size_bytes,
            self._set_aside.staged.rows if self._set_aside else 0,
            change.total_rows,
        )

    def _tidy(self, before: int | None) -> None:
        """A checkpoint, so that the log stays quick to read; and records that nobody chooses any more go."""
        snapshot = Snapshot(self._folder, checkpoint(self._folder))
        _, current = self._ledger.current(snapshot, self._request.stream)
        self._positions.prune(RETENTION_SECONDS, [current, before])  # 15
        if current is not None and self._quarantine.exists:
            gone = min(self._positions.read(current).since, number_at(RETENTION_SECONDS))
            self._quarantine.forget(lambda stream, n: stream == self._request.stream and n < gone)


def _check_unchanged(folder: Folder, since: int, upto: int) -> None:
    """Sees that nobody took rows away during a stream's first load, whose position would not be true then."""
    try:
        check_since(folder, since, upto)
    except PositionLost as error:
        raise Conflict(f"{error.what}: it is loaded on top of that", hint="run again") from error


def _properties(provenance: dict[str, Any], *transactions: Transaction) -> CommitProperties:
    return CommitProperties(
        custom_metadata={MARK: "1", **provenance},
        app_transactions=list(transactions),
        max_commit_retries=0,
    )


def _same_schema(one: Base, other: Base) -> bool:
    if one.snapshot is None or other.snapshot is None:
        return one.snapshot is other.snapshot
    return bool(one.snapshot.schema.equals(other.snapshot.schema, check_metadata=True))


def _actions(change: Change) -> list[Action]:
    """What the change says of files, in the log's own words."""
    snapshot = change.base.snapshot
    logged = snapshot.logged if snapshot is not None and change.marks else {}
    return [
        *map(added, change.adds),
        *map(removed, change.removes),
        *(removed(mark.file) for mark in change.marks),
        *(marked(logged[mark.file.path], mark.vector, mark.physical_rows) for mark in change.marks),
    ]


def _takes_all_out(change: Change) -> bool:
    """Whether no file of the base stays: only then delta-rs lets a column's type change."""
    return change.base.replaces or bool(change.columns.wider)


def _new_fields(change: Change) -> list[pa.Field]:
    snapshot = change.base.snapshot
    there = snapshot.schema.names if snapshot else []
    return [field for field in change.columns.table if field.name not in there]
