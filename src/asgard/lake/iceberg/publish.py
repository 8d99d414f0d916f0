"""The commit of a load: data and position together, so that a kill neither loses nor repeats (Promise 1).

The numbers in the comments are lines of the protocol in docs/decisions/0183-exactly-once-on-iceberg.md.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace
from typing import Any, cast

from pyiceberg.exceptions import CommitFailedException

from asgard.core.errors import AsgardError, Conflict
from asgard.core.position import Position
from asgard.core.table import Commit, LoadRequest, Staged
from asgard.lake.boundaries import reach
from asgard.lake.change import Change, check_presence
from asgard.lake.columns import Columns
from asgard.lake.delta.commits import CLUSTER_BY
from asgard.lake.delta.positions import next_number, number_at
from asgard.lake.delta.publish import RETENTION_SECONDS, SetAside
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.files import data_file
from asgard.lake.iceberg.pinned import Base
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import PREFIX, STREAM, Record, adopt, check_identity, recorded
from asgard.lake.iceberg.schemas import COLUMNS, columns_property, to_iceberg
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.prepare import Preparation
from asgard.lake.schemas import same_columns

MOST_ATTEMPTS = 30
TIDY_EVERY = 20


@dataclass(frozen=True)
class Landed:
    """A load that is in the table.

    Attributes:
        commit: as it is told.
        change: that became of it.
    """

    commit: Commit
    change: Change


class Publisher:
    """Publishes one prepared load, once.

    Args:
        place: of the table.
        request: what the load is to do.
        preparation: works the same rows out on a newer version.
        set_aside: what goes to the quarantine; None when nothing does.
    """

    def __init__(
        self, place: Place, request: LoadRequest, preparation: Preparation, set_aside: SetAside | None
    ) -> None:
        self._place = place
        self._request = request
        self._preparation = preparation
        self._set_aside = set_aside
        self._quarantine = Quarantine(place.folder)
        self.in_doubt = False
        """Whether a catalog may yet carry out a commit of this load."""

    def publish(self, change: Change, position: Position) -> Landed:
        """Commits the change with the position, durably.

        Raises:
            Conflict: another load of the stream was faster, or staged files are gone.
            PositionLost: the table was taken back or changed by an unknown hand meanwhile.
        """
        number = 0
        for attempt in range(MOST_ATTEMPTS):
            base = _base(change)
            try:
                if not number:
                    self._clear_quarantine(base.record)
                    number = next_number(base.record.number if base.record else None)
                    self._commit_quarantine(number)
                version, table_id = self._commit(change, position, number)
            except Exception as error:
                # 9: the record says what happened, never the exception.
                landed = self._look(base, number, error)
                if landed is None:
                    change = self._again(change, error, attempt)
                    continue
                version, table_id = landed
            return self._finished(change, number, version, table_id)
        raise Conflict(f"other writers were faster {MOST_ATTEMPTS} times", hint="run again")

    # ---- before the commit

    def _clear_quarantine(self, record: Record | None) -> None:
        """6: takes out what failed attempts set aside between the last two commits of the stream. Nobody can
        commit those numbers any more, and from the next commit on nothing else would tell them apart."""
        if record is None or not self._quarantine.exists:
            return
        last, before = record.number, record.prev or 0
        self._quarantine.forget(lambda stream, n: stream == self._request.stream and before < n < last)

    def _commit_quarantine(self, number: int) -> None:
        # 6: rows that are set aside go first; they show once the table has the number.
        aside = self._set_aside
        if aside is None:
            return
        reach("before_quarantine_commit")
        self._quarantine.commit(aside.place, aside.schema, aside.staged.files, self._request.stream, number)
        reach("quarantine_committed")

    # ---- the commit

    def _commit(self, change: Change, position: Position, number: int) -> tuple[int, str]:
        """The version that the commit made, and the table's id."""
        base = _base(change)
        snapshot, before = base.snapshot, base.record
        check_presence(self._place.data, {file.path: file.size_bytes for file in change.adds})  # 7
        metadata = snapshot.handle.metadata if snapshot else None
        schema_id = max((one.schema_id for one in metadata.schemas), default=-1) + 1 if metadata else 0
        schema = to_iceberg(change.columns.table, schema_id)
        draft = Draft(self._place, snapshot, schema)
        epoch = before.epoch if before else 0
        record = Record(
            number=number,
            epoch=epoch,
            position=replace(position, epoch=epoch),
            prev=before.number if before else None,
            snapshot=draft.snapshot_id,
            sequence=draft.sequence,
            anew=before is not None and before.anew and self._request.vanished,  # whose rows are yet to come
            since=number if base.replaces else before.since if before else 0,
        )
        columns = columns_property(
            change.columns.table, snapshot.properties.get(COLUMNS) if snapshot else None
        )
        changed = snapshot is None or not same_columns(snapshot.schema, change.columns.table)
        edit = Edit(
            adds=[data_file(self._place.data, file, change.columns.table) for file in change.adds],
            removes=None if base.replaces else [file.path for file in change.removes],
            summary=self._provenance(change, record, before),
            properties={PREFIX + self._request.stream: record.to_json(), COLUMNS: columns},
            schema=schema if changed else None,
        )
        reach("before_commit")
        try:
            draft.commit(edit)  # 8: a compare-and-swap, without a single retry
        except CommitFailedException:
            raise
        except Exception:
            self.in_doubt = self.in_doubt or draft.was_asked_for
            raise
        reach("committed")
        return draft.sequence, draft.table_id

    def _provenance(self, change: Change, record: Record, before: Record | None) -> dict[str, str]:
        request = self._request
        told = {
            "asgard.run": request.run,
            STREAM: request.stream,
            "asgard.load": record.number,
            "asgard.mode": request.mode,
            "asgard.rows_added": change.rows_added,
            "asgard.rows_removed": change.rows_removed,
            CLUSTER_BY: json.dumps(request.cluster_by) if request.cluster_by else None,
            "asgard.position": record.to_json(),
            "asgard.position_before": before.to_json() if before else "",
        }
        return {key: str(value) for key, value in told.items() if value is not None}

    # ---- after an error

    def _look(self, base: Base, number: int, error: Exception) -> tuple[int, str] | None:
        """9: opens the table afresh and lets the record decide.

        Returns:
            The version and the table's id when it holds the commit; None when the stream stands as before.

        Raises:
            Conflict: another load of the stream was faster.
            PositionLost: it is another table now.
        """
        snapshot = Snapshot.open(self._place)
        if snapshot is None:
            return None
        check_identity(snapshot)
        record = recorded(snapshot, self._request.stream)
        if number and record is not None and record.number == number:
            return record.sequence, snapshot.table_id
        if record != base.record:
            raise Conflict(
                "another load of the same stream was faster", hint="run again: it goes on from its position"
            ) from error
        return None

    def _again(self, change: Change, error: Exception, attempt: int) -> Change:
        """The change on the newest version, after a pause; or the error, when it was no race."""
        if not isinstance(error, CommitFailedException) or isinstance(error, AsgardError):
            raise error
        time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**attempt, 2.0))
        return self._moved(change)

    def _moved(self, change: Change) -> Change:
        """The change on a fresh handle: worked out again when the table has other files."""
        before = _base(change)
        base = Base.open(self._place, self._request)
        if base.record != before.record:
            raise Conflict("another load of the same stream was faster", hint="run again")
        columns = base.columns(self._request)
        if not same_columns(columns.staged, change.columns.staged):
            raise Conflict("the table's columns changed during the load", hint="run again")
        if base.version == before.version:
            return replace(change, base=cast(Any, base), columns=columns)
        # The main branch has moved: no attempt of ours can appear any more.
        self._place.data.delete(*change.rewritten)
        return worked_out(self._preparation, base, columns, change.staged)

    # ---- after the commit

    def _finished(self, change: Change, number: int, version: int, table_id: str) -> Landed:
        adopt(self._place.folder, table_id)
        reach("log_synced")
        self._tidy(change, number, version)
        commit = Commit(
            version,
            change.rows_added,
            change.rows_removed,
            sum(file.size_bytes for file in change.adds),
            self._set_aside.staged.rows if self._set_aside else 0,
            change.total_rows,
        )
        return Landed(commit, change)

    def _tidy(self, change: Change, number: int, version: int) -> None:
        """What was set aside from rows that are gone since long goes, too."""
        if version % TIDY_EVERY or not self._quarantine.exists:
            return
        base = _base(change)
        since = number if base.replaces else base.record.since if base.record else 0
        gone = min(since, number_at(RETENTION_SECONDS))
        self._quarantine.forget(lambda stream, n: stream == self._request.stream and n < gone)


def worked_out(preparation: Preparation, base: Base, columns: Columns, staged: tuple[Staged, ...]) -> Change:
    """The staged rows as a change of the base, of which nothing is asked that is Delta's alone."""
    return preparation.change(cast(Any, base), columns, staged)


def _base(change: Change) -> Base:
    return cast(Base, change.base)
