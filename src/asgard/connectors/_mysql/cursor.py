"""What a MySQL stream's token says, and which rows are new since then.

A token is a Mark: the cursor's bound in the server's own text. MySQL's rows do not tell which transaction
wrote them. So a bound is only trusted when every transaction that was writing while it was read is over
before the snapshot is taken: then no row below it can still turn up (Promise 7; docs/decisions/0092).

Reference: https://dev.mysql.com/doc/refman/8.0/en/information-schema-innodb-trx-table.html
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from typing import Literal

from asgard.connectors._mysql.types import BINARY, INTEGERS, NUMBERS, TIMES, Attribute
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, PositionLost, Refused
from asgard.transport.mysql import Connection, literal, quote
from asgard.transport.sql_plan import RESYNC, CursorMark

Guard = Literal["transactions", "lag", "off"]
MOST_WAIT_SECONDS = 5.0
"""How long a plan waits for transactions that are writing."""
LOOK_SECONDS = 0.12
"""The server makes its list of transactions anew only when nobody looked at it for a tenth of a second."""
MOST_LOOKS_APART = 6
"""So many LOOK_SECONDS may lie between two looks: several who wait must not keep the list old together."""
FIRST_READER = 1 << 48
"""Numbers from here on are of transactions that have written nothing."""

_TRANSACTIONS = """
SELECT trx_id + 0, trx_rows_modified, trx_mysql_thread_id = connection_id(), trx_foreign_key_checks
FROM information_schema.innodb_trx
"""


@dataclass(frozen=True)
class Mark(CursorMark):
    """Where a stream stands: the content of a token. Every row below its bound, or with it, that there will
    ever be was there.

    Attributes:
        ranges: where the splits of a first load begin, while it may be resumed.
        left_above: rows above the bound were left for later (`until`).
    """

    ranges: list[int] | None = None
    left_above: bool = False


@dataclass(frozen=True)
class CursorColumn:
    """The cursor, for conditions; values go from the server's text to the server, and nowhere else."""

    name: str
    base: str
    tick_seconds: float

    @classmethod
    def of(cls, attribute: Attribute) -> CursorColumn:
        """The column as a cursor.

        Raises:
            ConfigError: its values have no order that a bound could be of.
        """
        base = attribute.base
        if base not in NUMBERS | TIMES | BINARY | {"char", "varchar", "tinytext", "text"} or base == "vector":
            raise ConfigError(
                f"column {attribute.name!r} is {attribute.type}: it cannot be a cursor",
                hint="a cursor is a number, a date, a time or a text",
            )
        tick = 86_400.0 if base == "date" else 10.0 ** -attribute.digits[0] if base in TIMES else 0.0
        return cls(attribute.name, base, tick)

    @property
    def sql(self) -> str:
        """The column, quoted."""
        return quote(self.name)

    @property
    def is_time(self) -> bool:
        """Whether a lag is measured in seconds."""
        return self.base in TIMES

    def text_of(self, value: str) -> str:
        """SQL for the text of a value of the cursor's type, which `value` takes again."""
        if self.base in BINARY:
            return f"HEX({value})"
        if self.base in ("float", "double"):
            return f"CAST({value} * 1e0 AS CHAR)"
        return f"CAST({value} AS CHAR)"

    def value(self, text: str) -> str:
        """A bound as SQL.

        Raises:
            PositionLost: the text is no value of the cursor's type.
        """
        if self.base in BINARY:
            good = re.fullmatch("([0-9A-Fa-f]{2})*", text)
            sql = f"X'{text}'"
        elif self.base in NUMBERS:
            good = re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text)
            sql = f"{text}e0" if self.base in ("float", "double") and "e" not in text.lower() else text
        elif self.base in TIMES:
            good = re.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?", text)
            sql = f"CAST({literal(text)} AS {'DATE' if self.base == 'date' else 'DATETIME(6)'})"
        else:
            return literal(text)
        if not good:
            raise PositionLost(f"{text!r} is no value of {self.name} ({self.base})", hint=RESYNC)
        return sql

    def less(self, text: str, lag: float) -> str:
        """A bound with the lag taken off, worked out by the server."""
        if not lag:
            return self.value(text)
        if self.is_time:
            return f"({self.value(text)} - INTERVAL {round(lag * 1_000_000)} MICROSECOND)"
        if self.base in NUMBERS:
            return f"({self.value(text)} - {lag!r})"
        raise ConfigError(
            f"a cursor of type {self.base} knows no lag", hint="leave cursor_lag out, or take another cursor"
        )

    def keyed(self, since: Mark | None, lag: float, until: str | None) -> str:
        """Which rows a stream with a key reads: those at the bound come again, and the key tells them."""
        parts = []
        if since is not None and since.bound is not None:
            parts.append(f"({self.sql} >= {self.less(since.bound, lag)} OR {self.sql} IS NULL)")
        if until:
            parts.append(f"({self.sql} < {self.value(until)} OR {self.sql} IS NULL)")
        return " AND ".join(parts)

    def unkeyed(self, since: Mark | None, upper: str | None) -> str:
        """Which rows a stream without a key reads: each once, in the load whose bounds it is between."""
        if upper is None:
            return "false"
        until = f"{self.sql} <= {self.value(upper)}"
        if since is None or since.bound is None:
            return f"({until} OR {self.sql} IS NULL)"
        return f"({self.sql} > {self.value(since.bound)} AND {until})"


def highest(connection: Connection, cursor: CursorColumn, source: str, until: str | None) -> str | None:
    """The cursor's highest value, as the server writes it; None when there is none."""
    below = f" WHERE {cursor.sql} < {cursor.value(until)}" if until else ""
    highest = cursor.text_of(f"MAX({cursor.sql})")
    [(found,)] = connection.rows(f"SELECT {highest} FROM {source}{below}")
    return found.decode() if isinstance(found, bytes) else found


def later(connection: Connection, cursor: CursorColumn, one: str | None, other: str | None) -> str | None:
    """The higher one of two bounds, as the server compares them."""
    if one is None or other is None:
        return one if other is None else other
    [(is_higher,)] = connection.rows(f"SELECT {cursor.value(one)} >= {cursor.value(other)}")
    return one if is_higher else other


def tells_writers(connection: Connection) -> str:
    """Why this server cannot say which transactions are writing; empty when it can."""
    [(read_only,)] = connection.rows("SELECT @@global.read_only")
    if read_only:
        # What the primary has not sent yet is nowhere to be seen.
        return "is on a server that is read-only, as replicas are, and"
    try:
        connection.rows(_TRANSACTIONS)
    except Refused:
        return "is read by a user who may not see transactions (GRANT PROCESS ON *.*), and"
    return ""


def wait_for_writers(connection: Connection, cancel: Cancel) -> bool:
    """Waits until every transaction is over that is writing now; False when one takes too long.

    The server's list may be an old one. A transaction of our own that stands in it, by a mark that the one
    before did not have, proves that it was made after this call.
    """
    end = time.monotonic() + MOST_WAIT_SECONDS
    connection.rows("SET SESSION foreign_key_checks = 1 - @@foreign_key_checks")
    [(mark,)] = connection.rows("SELECT @@foreign_key_checks")
    connection.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    try:
        writers: set[int] | None = None
        apart = 1.0
        while writers is None or writers:
            if time.monotonic() > end:
                return False
            cancel.sleep(LOOK_SECONDS * random.uniform(1, apart))
            apart = min(2 * apart, MOST_LOOKS_APART)
            rows = connection.rows(_TRANSACTIONS)
            found = {number for number, modified, own, _ in rows if not own and _writes(number, modified)}
            if writers is not None:
                writers &= found
            elif any(own and checks == mark for _, _, own, checks in rows):
                writers = found
    finally:
        connection.rows("COMMIT")
    return True


def _writes(number: int, modified: int) -> bool:
    return 0 < number < FIRST_READER or modified > 0


def wait_for_tick(connection: Connection, cursor: CursorColumn, bound: str, cancel: Cancel) -> bool:
    """Waits until the clock has left the bound's own second (or what the column counts), in which more rows
    could come with the very same value; False where that takes too long."""
    if not cursor.is_time or cursor.base == "date":
        return cursor.base in INTEGERS
    end = time.monotonic() + MOST_WAIT_SECONDS
    micros = round(cursor.tick_seconds * 1_000_000)
    over = f"{cursor.value(bound)} + INTERVAL {micros} MICROSECOND <= utc_timestamp(6)"
    while not connection.rows(f"SELECT {over}")[0][0]:
        if time.monotonic() > end:
            return False
        cancel.sleep(LOOK_SECONDS)
    return True
