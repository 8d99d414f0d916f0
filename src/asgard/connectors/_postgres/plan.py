"""One plan of PostgreSQL: the transaction that holds the snapshot, and what each stream reads in it.

Tables are locked against changes (ACCESS SHARE) before the snapshot is taken, because ALTER TABLE and
TRUNCATE do not keep old snapshots whole. Which rows are new is `_postgres.cursor`'s to say, how they are
split `_postgres.splits`'.

Reference: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asgard.connectors._postgres.catalog import Relation
from asgard.connectors._postgres.cursor import (
    XID_MODULUS,
    CursorColumn,
    Guard,
    Mark,
    Snapshot,
    bounded_condition,
    keyed_condition,
    trusted,
    window_condition,
)
from asgard.connectors._postgres.splits import (
    Piece,
    Reading,
    first_pages,
    is_wide,
    pieces_of,
    splits_of,
)
from asgard.connectors._postgres.types import NUMBERS, TIMES, Attribute, quote
from asgard.core.errors import ConfigError, PositionLost
from asgard.core.position import DONE, Position
from asgard.core.stream import Mode
from asgard.transport.postgres import Connection, session_settings
from asgard.transport.sql_plan import RESYNC, SqlPlan, SqlWish, StreamPlan

FLOATS = frozenset({700, 701})


@dataclass(frozen=True)
class Wish(SqlWish[Reading, Attribute, Relation]):
    """A stream as it is to be read."""

    guard: Guard = "snapshot"

    @property
    def cursor(self) -> CursorColumn | None:
        """The cursor; None when everything is read each time.

        Raises:
            QueryError: there is no such column.
        """
        found = self.cursor_attribute
        if found is None:
            return None
        types = self.reading.types
        base = types.base(found.type)
        kind: Any = "time" if base in TIMES else "number" if base in NUMBERS | FLOATS else "other"
        return CursorColumn(quote(found.name), types.name(found.type), kind)


@dataclass(frozen=True)
class Increment:
    """What is to be read of a stream with a cursor.

    Attributes:
        pieces: the tables that it lies in.
        since: where the last load ended; None for a first one.
        now: where this one will end.
        until: rows from this value of the cursor on are left for later; None for no such bound.
    """

    wish: Wish
    cursor: CursorColumn
    pieces: Sequence[Piece]
    since: Mark | None
    now: Mark
    until: str | None


class PostgresPlan(SqlPlan):
    """Holds the transaction of the snapshot until it is closed."""

    def __init__(self, connection: Connection, plans: Mapping[str, StreamPlan]) -> None:
        super().__init__(plans)
        self._connection = connection

    def close(self) -> None:
        """Ends the transaction; splits that are being read keep their snapshot."""
        self._connection.close()


def take_snapshot(connection: Connection, relations: Sequence[Relation]) -> Snapshot:
    """Begins the plan's transaction: locks first, then the snapshot.

    Raises:
        Unreachable: somebody is changing a table.
    """
    connection.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.rows(session_settings(connection.version))
    lockable = [relation.sql for relation in relations if relation.lockable]
    if lockable:
        connection.rows(f"LOCK TABLE {', '.join(lockable)} IN ACCESS SHARE MODE")
    name, xmin, xmax, standby, told = connection.row(
        "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_export_snapshot() END, "
        "txid_snapshot_xmin(s), txid_snapshot_xmax(s), pg_is_in_recovery(), "
        "has_function_privilege('pg_control_system()', 'EXECUTE') "
        "AND has_function_privilege('pg_control_checkpoint()', 'EXECUTE') FROM txid_current_snapshot() s"
    )
    system = ""
    if told:
        [system] = connection.row(
            "SELECT system_identifier || '/' || timeline_id FROM pg_control_system(), pg_control_checkpoint()"
        )
    return Snapshot(name, xmin, xmax, system, connection.version, standby)


class Planner:
    """Works out what each stream reads in one snapshot.

    Args:
        connection: the one that holds the snapshot.
        parallel: how many splits may be read at the same time.
        batch_bytes: about how large a batch may be.
    """

    def __init__(self, connection: Connection, snapshot: Snapshot, parallel: int, batch_bytes: int) -> None:
        self._connection = connection
        self._snapshot = snapshot
        # Who cannot join the snapshot has one of his own: then one reader sees it all.
        self._parallel = max(parallel, 1) if snapshot.id else 1
        self._batch_bytes = batch_bytes

    def plan(self, wish: Wish, position: Position | None, until: str | None) -> StreamPlan:
        """The splits, token and warnings of one stream.

        Raises:
            QueryError: the server does not know a name in the wish.
            PositionLost: the position does not belong to this table any more.
        """
        pieces = [Piece(0, wish.source)]
        if wish.relation is not None:
            pieces = pieces_of(self._connection, wish.relation, whole=not self._snapshot.id)
        out = StreamPlan(warnings=_warnings(wish))
        cursor = wish.cursor
        if cursor is None:
            self._split(out, wish, [(piece, "") for piece in pieces])
            return out
        guarded = wish.guard == "snapshot" and all(piece.has_transactions for piece in pieces)
        now = Mark(
            system=self._snapshot.system,
            oid=wish.relation.oid if wish.relation else 0,
            cursor=wish.selection.cursor or "",
            type=cursor.type,
            bound=None,
            xmin=self._snapshot.xmin if guarded else None,
            files={oid: file for piece in pieces for oid, file in piece.files.items()} if guarded else {},
        )
        whole = wish.selection.mode is Mode.REPLACE  # its bound is for a later increment
        if whole:
            position = None
        else:
            out.warnings += _cursor_warnings(wish, guarded)
        if position is not None and self._resume(out, wish, pieces, (position, now)):
            return out
        since = Mark.read(position.token) if position is not None and position.token is not None else None
        if since is not None:
            trusted(since, now, self._snapshot)
        if until or not guarded or self._bound_is_worth_it(wish):
            now = replace(now, bound=self._bound(wish, cursor, until), left_above=bool(until))
        wanted = Increment(wish, cursor, pieces, since, now, until)
        if whole or wish.selection.primary_key:
            self._keyed(out, wanted)
        elif guarded:
            self._window(out, wanted)
        else:
            self._bounded(out, wanted)
        return out

    def _resume(
        self, out: StreamPlan, wish: Wish, pieces: Sequence[Piece], state: tuple[Position, Mark]
    ) -> bool:
        """Finishes a half-read first load, if every page is still where it was."""
        position, now = state
        if position.pending is None or now.xmin is None or not wish.selection.primary_key:
            return False
        mark = Mark.read(position.pending)
        trusted(mark, now, self._snapshot)
        if not mark.pages or mark.files != now.files:
            out.warnings.append("the table was written anew since the first load began: it begins again")
            return False
        self._split(out, wish, [(piece, "") for piece in pieces], mark)
        out.splits = [split for split in out.splits if position.splits.get(split.id) != DONE]
        out.token, out.resumable, out.resumed = position.pending, True, True
        return True

    def _keyed(self, out: StreamPlan, wanted: Increment) -> None:
        wish, cursor, since, now = wanted.wish, wanted.cursor, wanted.since, wanted.now
        upper = ""
        if wanted.until:
            upper = f"({cursor.sql} < {cursor.value(wanted.until)} OR {cursor.sql} IS NULL)"
        if since is None:
            if wish.selection.mode is Mode.MERGE and now.xmin is not None and not wanted.until:
                now = replace(
                    now, pages={str(piece.oid): self._first_pages(piece) for piece in wanted.pieces}
                )
                out.resumable = True
            self._split(out, wish, [(piece, upper) for piece in wanted.pieces], now)
        else:
            lag = 0.0 if wish.guard == "off" else wish.selection.cursor_lag
            if now.xmin is None:
                since = replace(since, xmin=None)
            changed = keyed_condition(cursor, since, lag)
            conditions = [(piece, _or_attached(piece, since, changed, "true")) for piece in wanted.pieces]
            if upper:
                conditions = [(piece, f"{condition} AND {upper}") for piece, condition in conditions]
            self._split(out, wish, conditions)
        out.token = now.token()

    def _window(self, out: StreamPlan, wanted: Increment) -> None:
        wish, cursor, since, now = wanted.wish, wanted.cursor, wanted.since, wanted.now
        if wanted.until:
            raise ConfigError("an upper bound needs a primary_key", hint="give the table's primary_key")
        first = window_condition(cursor, None, now, 0.0)
        if since is None:
            self._split(out, wish, [(piece, first) for piece in wanted.pieces])
        else:
            if any(since.files.get(oid, file) != file for oid, file in now.files.items()):
                raise PositionLost(
                    "the table was written anew since the last load (TRUNCATE, VACUUM FULL, CLUSTER, ALTER "
                    "TABLE): without a key it cannot be told which of its rows are new",
                    hint=f"give a primary_key, or {RESYNC}",
                )
            window = window_condition(cursor, since, now, wish.selection.cursor_lag)
            self._split(
                out, wish, [(piece, _or_attached(piece, since, window, first)) for piece in wanted.pieces]
            )
        out.token = now.token()

    def _bounded(self, out: StreamPlan, wanted: Increment) -> None:
        wish, cursor, since, now = wanted.wish, wanted.cursor, wanted.since, wanted.now
        upper, before = now.bound, since.bound if since else None
        if upper is not None and wish.guard != "off" and wish.selection.cursor_lag:
            less = cursor.less(upper, wish.selection.cursor_lag)
            [upper] = self._connection.row(f"SELECT ({less})::{cursor.type}::text")
        if upper is not None and before is not None:
            # Rows may have been deleted: a bound that goes back would offer the others twice.
            [upper] = self._connection.row(
                f"SELECT greatest({cursor.value(upper)}, {cursor.value(before)})::text"
            )
        self._split(out, wish, [(piece, bounded_condition(cursor, since, upper)) for piece in wanted.pieces])
        out.token = replace(now, bound=upper or before).token()

    def _bound_is_worth_it(self, wish: Wish) -> bool:
        """Whether to look for the bound although transactions tell what is new: where that costs nothing, and
        where they may not tell all."""
        indexed = wish.relation is not None and wish.selection.cursor in wish.relation.leading
        wrapped = self._snapshot.xmin >= XID_MODULUS and not wish.selection.primary_key
        return indexed or wrapped or not self._snapshot.system

    def _bound(self, wish: Wish, cursor: CursorColumn, until: str | None) -> str | None:
        """The cursor's highest finite value in the snapshot, as the server writes it."""
        below = f" AND {cursor.sql} < {cursor.value(until)}" if until else ""
        # The text is made outside: ORDER BY would take it for the column that it is named after.
        highest = f"SELECT {cursor.sql} AS value FROM {wish.source} WHERE {cursor.finite}{below}"
        rows = self._connection.rows(
            f"SELECT value::text FROM ({highest} ORDER BY {cursor.sql} DESC LIMIT 1) AS highest"
        )
        return rows[0][0] if rows else None

    def _split(
        self,
        out: StreamPlan,
        wish: Wish,
        conditions: Sequence[tuple[Piece, str]],
        mark: Mark | None = None,
    ) -> None:
        """Makes the splits; where a mark says which pages, those."""
        reading = wish.reading
        schema = reading.schema().serialize().to_pybytes().hex()
        hints = {str(i): [c.reason, c.hint] for i, c in enumerate(reading.columns) if c.guard}
        for piece, condition in conditions:
            spec = {
                "snapshot": self._snapshot.id,
                "version": self._snapshot.version,
                "sql": reading.sql(piece.sql, condition),
                "schema": schema,
                "hints": hints,
            }
            if is_wide(self._connection, piece, reading, self._batch_bytes):
                filters = " AND ".join(reading.filters(condition))
                spec["widths"] = f"SELECT ctid::text, {reading.width()} FROM {piece.sql} WHERE {filters}"
            known = mark.pages.get(str(piece.oid)) if mark and mark.pages else None
            starts = known or self._first_pages(piece)
            out.splits += splits_of(wish.selection.stream.id, piece, starts, spec)
        if out.splits:
            # What the server would refuse is refused now, with its code.
            self._connection.rows(f"SELECT FROM ({out.splits[0].spec['sql']}) AS probe LIMIT 0")

    def _first_pages(self, piece: Piece) -> list[int]:
        return first_pages(piece, self._parallel, self._snapshot.version) if self._snapshot.id else [0]


def _or_attached(piece: Piece, since: Mark, known: str, attached: str) -> str:
    """A condition for the storages that a position knows, and another for those that came since: a partition
    that is attached brings rows of old transactions, and all of them are new."""
    if since.xmin is None:
        return known
    new = [oid for oid in piece.files if oid not in since.files]
    if len(new) < len(piece.files):
        if not new:
            return known
        return f"({known} OR (tableoid = ANY ('{{{','.join(new)}}}'::oid[]) AND {attached}))"
    return attached


def _warnings(wish: Wish) -> list[str]:
    relation, name = wish.relation, wish.selection.stream.full_name
    warnings = []
    if relation is not None and relation.row_security:
        warnings.append(f"{name} has row security: only the rows that its policies show this role are read")
    if relation is not None and relation.kind == "r" and relation.has_children:
        warnings.append(f"{name} has tables that inherit from it: their rows are read with them, not here")
    return warnings


def _cursor_warnings(wish: Wish, guarded: bool) -> list[str]:
    if guarded:
        return []
    name, cursor, lag = wish.selection.stream.full_name, wish.selection.cursor, wish.selection.cursor_lag
    if wish.guard == "off":
        return [
            f"{name}: late_commit_guard is off: rows that commit late, or with an older {cursor}, are missed"
        ]
    why = "" if wish.guard == "lag" else " does not tell which transaction wrote a row and"
    if not lag:
        return [
            f"{name}{why} has no cursor_lag: rows that commit late, or with an older {cursor}, are missed"
        ]
    return [
        f"{name}{why} is read again from {lag:g} below its last {cursor}: what commits later than that, or "
        f"with an older {cursor} or none, is missed"
    ]
