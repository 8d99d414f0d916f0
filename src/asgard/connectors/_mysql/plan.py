"""One plan of MySQL: the connections that share one instant, and what each stream reads in it.

MySQL lends no snapshot from one connection to another. Several connections see the same instant only if they
all begin while nobody can commit: under a read lock of a moment, where the user may take one. Where not, one
connection reads everything, and the plan says so (docs/decisions/0091).

Reference: https://dev.mysql.com/doc/refman/8.0/en/innodb-consistent-read.html
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from asgard.connectors._mysql.catalog import Relation
from asgard.connectors._mysql.cursor import (
    CursorColumn,
    Guard,
    Mark,
    highest,
    later,
    tells_writers,
    wait_for_tick,
    wait_for_writers,
)
from asgard.connectors._mysql.splits import Reading, ranges_of, splits_of
from asgard.connectors._mysql.types import Attribute
from asgard.core.cancel import Cancel
from asgard.core.errors import Cancelled, QueryError, Refused, Unreachable
from asgard.core.position import DONE, Position
from asgard.core.stream import Mode
from asgard.transport.mysql import Connection, Server
from asgard.transport.sql_plan import SqlPlan, SqlWish, StreamPlan

GATE_SECONDS = 3
"""How long the moment's lock may be waited for: meanwhile others wait behind it."""
BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


@dataclass(frozen=True)
class Wish(SqlWish[Reading, Attribute, Relation]):
    """A stream as it is to be read."""

    guard: Guard = "transactions"

    @property
    def cursor(self) -> CursorColumn | None:
        """The cursor; None when everything is read each time.

        Raises:
            QueryError: there is no such column.
        """
        found = self.cursor_attribute
        if found is None:
            return None
        return CursorColumn.of(found)


class Snapshot:
    """Connections that see one instant, lent to whoever reads a split. Used by any thread."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.key = uuid.uuid4().hex
        self._free: queue.Queue[Connection] = queue.Queue()
        self._left = len(connections)
        self._closed = False
        for connection in connections:
            self._free.put(connection)

    def take(self, cancel: Cancel, wanted: Callable[[], bool]) -> Connection:
        """A connection that nobody else uses; waits for one while it is wanted.

        Raises:
            Unreachable: all of them broke off.
            Cancelled: it is not wanted any more.
        """
        while self._left > 0 and not self._closed:
            cancel.check()
            if not wanted():
                raise Cancelled(
                    "the reading was broken off", hint="run again: it goes on from the last commit"
                )
            with suppress(queue.Empty):
                return self._free.get(timeout=0.1)
        raise Unreachable("the connection that held the snapshot is gone", hint="try again")

    def give_back(self, connection: Connection, whole: bool) -> None:
        """Takes a connection back; one that is not whole is ended."""
        if whole and not self._closed:
            self._free.put(connection)
            return
        self._left -= 1
        connection.close()

    def close(self) -> None:
        """Ends the transactions; splits that are being read keep theirs."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()


class MysqlPlan(SqlPlan):
    """Holds the snapshot until it is closed."""

    def __init__(
        self, plans: Mapping[str, StreamPlan], close: Callable[[], None], warnings: Sequence[str]
    ) -> None:
        super().__init__(plans, warnings)
        self._close = close

    def close(self) -> None:
        """Ends the transactions that hold the snapshot."""
        self._close()


def take_snapshot(
    control: Connection, server: Server, count: int, cancel: Cancel
) -> tuple[Snapshot, list[str]]:
    """Begins transactions that see one instant, the control connection's among them.

    Returns:
        The snapshot; and a warning where it is of one connection although more were wanted.
    """
    others: list[Connection] = []
    if count < 2:
        control.rows(BEGIN)
        return Snapshot([control]), []
    try:
        others = [Connection(server) for _ in range(count - 1)]
        gate = Connection(server)
        forget = cancel.on_cancel(gate.cancel)
        try:
            gate.rows(f"SET SESSION lock_wait_timeout = {GATE_SECONDS}")
            gate.rows("FLUSH TABLES WITH READ LOCK")
            for connection in (control, *others):
                connection.rows(BEGIN)
        finally:
            forget()
            gate.close()
    except (Refused, Unreachable, QueryError) as error:
        for connection in others:
            connection.close()
        cancel.check()
        control.rows(BEGIN)
        why = "GRANT RELOAD ON *.* lets it" if isinstance(error, Refused) else error.what
        return Snapshot([control]), [
            f"the tables are read by one connection: no moment's lock gives several the same snapshot ({why})"
        ]
    except BaseException:
        for connection in others:
            connection.close()
        raise
    return Snapshot([control, *others]), []


class Planner:
    """Works out what each stream reads, before the snapshot is taken.

    Args:
        connection: outside of any transaction.
        parallel: how many splits may be read at the same time.
    """

    def __init__(self, connection: Connection, parallel: int, cancel: Cancel) -> None:
        self._connection = connection
        self._parallel = max(parallel, 1)
        self._cancel = cancel

    def plan(self, wish: Wish, position: Position | None, until: str | None) -> StreamPlan:
        """The splits, token and warnings of one stream.

        Raises:
            QueryError: the server does not know a name in the wish.
            PositionLost: the position does not belong to this table any more.
        """
        out = StreamPlan(warnings=_warnings(wish))
        cursor = wish.cursor
        if cursor is None:
            self._split(out, wish, "", self._ranges(wish))
            return out
        whole = wish.selection.mode is Mode.REPLACE  # its bound is for a later increment
        if whole:
            position = None
        if position is not None and self._resume(out, wish, cursor, position):
            return out
        since = (
            Mark.read_of(position.token, cursor.name, cursor.base)
            if position is not None and position.token is not None
            else None
        )
        bound = self._bound(out, wish, cursor, since, until)
        now = Mark(cursor.name, cursor.base, bound, left_above=bool(until))
        if whole or wish.selection.primary_key:
            ranges = self._ranges(wish)
            if since is None and wish.selection.mode is Mode.MERGE and not until:
                now = replace(now, ranges=ranges)
                out.resumable = True
            lag = 0.0 if wish.guard == "off" else wish.selection.cursor_lag
            self._split(out, wish, cursor.keyed(since, lag, until), ranges)
        else:
            self._split(out, wish, cursor.unkeyed(since, bound), self._ranges(wish))
        out.token = now.token()
        return out

    def _resume(self, out: StreamPlan, wish: Wish, cursor: CursorColumn, position: Position) -> bool:
        """Finishes a half-read first load."""
        if position.pending is None or not wish.selection.primary_key:
            return False
        mark = Mark.read_of(position.pending, cursor.name, cursor.base)
        if mark.ranges is None:
            return False
        self._split(out, wish, "", mark.ranges)
        out.splits = [split for split in out.splits if position.splits.get(split.id) != DONE]
        out.token, out.resumable, out.resumed = position.pending, True, True
        return True

    def _bound(
        self, out: StreamPlan, wish: Wish, cursor: CursorColumn, since: Mark | None, until: str | None
    ) -> str | None:
        """A value up to which no row can still turn up, as far as the guard can tell."""
        before = since.bound if since is not None else None
        found = highest(self._connection, cursor, wish.source, until)
        keyed = bool(wish.selection.primary_key) or wish.selection.mode is Mode.REPLACE
        if found is not None and wish.guard == "transactions":
            found = self._guarded(out, wish, cursor, (found, before, keyed))
        elif wish.guard != "transactions":
            out.warnings.append(_unguarded(wish, ""))
        if found is not None and not keyed and wish.guard == "lag" and wish.selection.cursor_lag:
            less = cursor.less(found, wish.selection.cursor_lag)
            [(found,)] = self._connection.rows(f"SELECT {cursor.text_of(less)}")
        # Rows may have been deleted: a bound that goes back would offer the others twice.
        return later(self._connection, cursor, found, before)

    def _guarded(
        self, out: StreamPlan, wish: Wish, cursor: CursorColumn, state: tuple[str, str | None, bool]
    ) -> str | None:
        found, before, keyed = state
        why = tells_writers(self._connection)
        if wish.relation is not None and not wish.relation.keeps_snapshots:
            why = "has an engine without transactions, and"
        if why:
            out.warnings.append(_unguarded(wish, why))
            return found
        if not keyed and not wait_for_tick(self._connection, cursor, found, self._cancel):
            out.warnings.append(
                f"{wish.name}: a row that comes later with the same {cursor.name} as the last one is missed: "
                "a primary_key would find it"
            )
        if wait_for_writers(self._connection, self._cancel):
            return found
        out.warnings.append(
            f"{wish.name}: a transaction that has been writing for long may still bring an older "
            f"{cursor.name}: the cursor stays at {before or 'its beginning'} until it is over"
        )
        return before

    def _ranges(self, wish: Wish) -> list[int]:
        return ranges_of(self._connection, wish.relation, self._parallel)

    def _split(self, out: StreamPlan, wish: Wish, condition: str, ranges: Sequence[int]) -> None:
        out.splits += splits_of(
            wish.selection.stream, wish.relation, wish.reading, (wish.source, condition), ranges
        )


def probe(connection: Connection, plans: Mapping[str, StreamPlan]) -> None:
    """Lets the server look at each stream's SQL, in the snapshot: what it would refuse is refused now, and
    from here on nobody changes the tables' columns."""
    for plan in plans.values():
        for split in plan.splits[:1]:
            connection.rows(f"{split.spec['sql']} LIMIT 0")


def stamped(plans: Mapping[str, StreamPlan], snapshot: Snapshot) -> None:
    """Tells the splits which snapshot they belong to."""
    for plan in plans.values():
        plan.splits = [replace(one, spec={**one.spec, "snapshot": snapshot.key}) for one in plan.splits]


def _warnings(wish: Wish) -> list[str]:
    if wish.relation is None or wish.relation.keeps_snapshots:
        return []
    return [f"{wish.name} has an engine without snapshots: what is written meanwhile is half seen"]


def _unguarded(wish: Wish, why: str) -> str:
    """What can be missed, because of the guard that is wished or for a reason."""
    name, cursor, lag = wish.name, wish.selection.cursor, wish.selection.cursor_lag
    about = f"{name} {why}".rstrip()
    if wish.guard == "off":
        return (
            f"{about}: late_commit_guard is off: rows that commit late, or with an older {cursor}, are missed"
        )
    if not lag:
        return f"{about} has no cursor_lag: rows that commit late, or with an older {cursor}, are missed"
    return (
        f"{about} is read again from {lag:g} below its last {cursor}: what commits later than that, or with "
        f"an older {cursor}, is missed"
    )
