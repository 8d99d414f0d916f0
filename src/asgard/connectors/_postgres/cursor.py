"""What a PostgreSQL stream's token says, and which rows are new since then.

A token is a Mark: the cursor's bound in the server's own text, and the number below which every transaction
was over when the bound was read (docs/decisions/0031). Rows of later transactions are new, whatever their
cursor says: that is what makes the cursor safe against late commits (Promise 7).

Reference: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from asgard.core.errors import ConfigError, PositionLost, Unreachable
from asgard.transport.sql_plan import RESYNC, CursorMark

XID_MODULUS = 1 << 32
Guard = Literal["snapshot", "lag", "off"]
WRAPPED_DAYS = 7
WRAPPED_UNITS = 1_000_000
"""How far below the last bound a row without a key may still turn up on a server whose transaction numbers
have wrapped around, where a very old row may look like a new one."""


@dataclass(frozen=True)
class Snapshot:
    """What the plan's transaction sees.

    Attributes:
        id: under which other connections join it; empty on a standby, where PostgreSQL 16 was seen to take
            rows of running transactions for rolled back in a joined snapshot, and to keep that.
        xmin: every transaction with a lower number (64 bit) is over.
        xmax: no transaction with this number or a higher one is seen.
        system: the cluster's identifier and timeline; empty where the server does not tell.
        standby: the server replays what another one does.
    """

    id: str
    xmin: int
    xmax: int
    system: str
    version: int
    standby: bool


@dataclass(frozen=True)
class Mark(CursorMark):
    """Where a stream stands: the content of a token. The bound is the cursor's highest finite value; None
    when there was none, or when it was not looked for.

    Attributes:
        system: of the snapshot.
        oid: of the table; 0 for a query.
        xmin: of the snapshot; None where rows do not tell their transaction.
        files: oid of each storage (the table, its partitions) to its file number, which changes when the
            table is written anew.
        pages: oid of each storage to the first pages of its splits, while a first load may be resumed.
        left_above: rows above the bound were left for later (`until`).
    """

    system: str
    oid: int
    xmin: int | None
    files: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[str, list[int]] | None = None
    left_above: bool = False


def trusted(mark: Mark, now: Mark, snapshot: Snapshot) -> None:
    """Sees that a position still belongs to this table and this server.

    Args:
        mark: of the position.
        now: of the table as it is, its bound aside.

    Raises:
        PositionLost: the table was re-created, the server restored or replaced, or the cursor changed.
        Unreachable: a standby has not yet replayed what was read already.
    """
    if mark.oid != now.oid:
        raise PositionLost(
            f"the table was dropped and created again since the last load (oid {mark.oid} is now {now.oid})",
            hint=RESYNC,
        )
    if (mark.cursor, mark.type) != (now.cursor, now.type):
        raise PositionLost(
            f"the position is of cursor {mark.cursor} ({mark.type}), wanted is {now.cursor} ({now.type})",
            hint=RESYNC,
        )
    if mark.xmin is None or now.xmin is None:
        return
    if mark.system and snapshot.system and mark.system != snapshot.system:
        raise PositionLost(
            "the server is another one, was restored or promoted since the last load "
            f"(cluster/timeline {mark.system} is now {snapshot.system}): rows may have come or gone unseen",
            hint=f"{RESYNC}; late_commit_guard: lag goes by the cursor alone",
        )
    if mark.xmin > snapshot.xmin:
        behind = f"the server is at transaction {snapshot.xmin}, the last load was at {mark.xmin}"
        if snapshot.standby:
            raise Unreachable(f"{behind}: this standby is behind", hint="wait, or read another one")
        raise PositionLost(f"{behind}: it was restored from an older state", hint=RESYNC)
    if snapshot.xmax - mark.xmin >= XID_MODULUS // 2:
        raise PositionLost(
            f"{snapshot.xmax - mark.xmin} transactions have passed since the last load, more than the rows "
            "remember",
            hint=RESYNC,
        )


def since_transaction(xmin: int) -> str:
    """The condition that a row was written by this transaction or a later one.

    `age` counts back from now modulo 2**32; rows older than half of that come out negative.
    """
    return f"age(xmin) BETWEEN 0 AND (SELECT age('{xmin % XID_MODULUS}'::xid))"


def literal(text: str) -> str:
    """The text quoted for SQL, whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in quoted else f"'{quoted}'"


@dataclass(frozen=True)
class CursorColumn:
    """The cursor, for conditions.

    Attributes:
        sql: the column, quoted.
        type: its type, as SQL writes it.
        kind: what a lag is measured in: time, number, or none.
    """

    sql: str
    type: str
    kind: Literal["time", "number", "other"]

    def value(self, text: str) -> str:
        """A bound as SQL, from the server's own text: never by way of a value of ours."""
        return f"{literal(text)}::{self.type}"

    def less(self, text: str, lag: float) -> str:
        """A bound with the lag taken off, worked out by the server."""
        if not lag:
            return self.value(text)
        if self.kind == "time":
            return f"({self.value(text)} - interval '{lag!r} seconds')"
        if self.kind == "number":
            return f"({self.value(text)}::numeric - {lag!r})"
        raise ConfigError(
            f"a cursor of type {self.type} knows no lag", hint="leave cursor_lag out, or take another cursor"
        )

    @property
    def finite(self) -> str:
        """The condition that a value can serve as bound: infinity would hide everything that follows."""
        if self.type in ("date", "timestamp without time zone", "timestamp with time zone"):
            return f"isfinite({self.sql})"
        if self.type in ("real", "double precision"):
            return f"{self.sql} < 'Infinity'"
        if self.type == "numeric":
            return f"{self.sql}::float8 < 'Infinity'"  # numeric knows infinity only from version 14 on
        return f"{self.sql} IS NOT NULL"


def keyed_condition(cursor: CursorColumn, mark: Mark, lag: float) -> str:
    """Which rows a stream with a key reads: too many is fine, the key tells them apart.

    Transactions alone tell what is new. The cursor is asked too where they may not: where the server cannot
    be told from another one, and where rows were left for later.
    """
    if mark.left_above and mark.bound is None:
        return "true"  # there was nothing below `until`: all was left
    parts = []
    if mark.xmin is not None:
        parts.append(since_transaction(mark.xmin))
    if mark.bound is not None and (mark.xmin is None or mark.left_above or not mark.system):
        parts.append(f"{cursor.sql} >= {cursor.less(mark.bound, lag)}")
    return "(" + " OR ".join(parts) + ")" if parts else "true"


def window_condition(cursor: CursorColumn, mark: Mark | None, now: Mark, lag: float) -> str:
    """Which rows a stream without a key reads: each once, in the load whose window its transaction is in."""
    if now.xmin is None:
        raise ValueError("a window of transactions needs transactions")
    done = f"NOT ({since_transaction(now.xmin)})"
    if mark is None or mark.xmin is None:
        return done
    condition = f"{done} AND {since_transaction(mark.xmin)}"
    if now.xmin < XID_MODULUS or mark.bound is None or cursor.kind == "other":
        return condition
    reach = max(lag, WRAPPED_DAYS * 86400.0 if cursor.kind == "time" else WRAPPED_UNITS)
    return f"{condition} AND ({cursor.sql} >= {cursor.less(mark.bound, reach)} OR {cursor.sql} IS NULL)"


def bounded_condition(cursor: CursorColumn, mark: Mark | None, upper: str | None) -> str:
    """Which rows a stream without key and without transactions reads: those between two bounds."""
    if upper is None:
        return "true" if mark is None or mark.bound is None else "false"
    until = f"{cursor.sql} <= {cursor.value(upper)}"
    if mark is None or mark.bound is None:
        return f"({until} OR {cursor.sql} IS NULL)"
    return f"({cursor.sql} > {cursor.value(mark.bound)} AND {until})"
