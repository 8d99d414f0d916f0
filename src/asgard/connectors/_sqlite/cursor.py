"""How far a SQLite table was read, and what has to be read now: bounds of a cursor column, found in the
snapshot in which the rows are read.

With a primary key the rows at the last bound are read again and recognised by it, so that rows which share
the bound's value are never missed (Promise 7). Without a key every row may come only once: the bound itself
is left out. Values keep SQLite's own form; nothing passes through a float or a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgard.connectors._sqlite.columns import identifier
from asgard.core.errors import ConfigError, DataError, PositionLost
from asgard.core.position import Token
from asgard.core.stream import Selection
from asgard.transport.text_times import lowered

FORMAT = 1
KINDS: dict[str, type[Any]] = {"integer": int, "real": float, "text": str}
Value = int | float | str


@dataclass(frozen=True)
class Bounds:
    """What is read: from `low` to `high`.

    Attributes:
        previous: where the last load ended; None for a first load.
        low: where reading begins: `previous` less the lag.
        high: the highest value in the snapshot; None when there is none.
        reached: where the stream stands afterwards; never below `previous`.
    """

    previous: Value | None
    low: Value | None
    high: Value | None
    reached: Value | None


@dataclass
class Cursor:
    """The cursor of one selection.

    Attributes:
        relation: what stands behind FROM.
        identity: what tells this database from another one under its name.
        grows_by_itself: SQLite gives its values in the order of commits, each once.
        warnings: what the user should know; filled by `bounds`.
    """

    relation: str
    selection: Selection
    identity: Mapping[str, Any]
    grows_by_itself: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def _name(self) -> str:
        assert self.selection.cursor is not None
        return self.selection.cursor

    @property
    def _keyed(self) -> bool:
        return bool(self.selection.primary_key)

    @property
    def _where(self) -> dict[str, str]:
        return {"stream": self.selection.stream.name, "column": self._name}

    def bounds(self, connection: Any, token: Token | None, until: str | None) -> Bounds:
        """Looks the bounds up in the connection's snapshot.

        Raises:
            DataError: the column has values that cannot be compared with each other.
            PositionLost: the token is not of this cursor, or the database is another one.
            ConfigError: the lag cannot be taken from such values.
        """
        high = self._highest(connection)
        previous = self._previous(token)
        if previous is not None and high is not None and isinstance(previous, str) != isinstance(high, str):
            raise self._lost(f"the last load ended at {previous!r}, now the highest value is {high!r}")
        if until is not None and high is not None:
            high = min(high, _like(high, until))
        reached = high
        if previous is not None and (high is None or high < previous):  # type: ignore[operator]
            self._look_at_fall(token, previous, high)
            reached = previous
        self._warn(connection, previous)
        return Bounds(previous, self._lowered(previous), high, reached)

    def condition(self, bounds: Bounds) -> tuple[str, list[Value]]:
        """The WHERE of the rows, and its parameters."""
        column = self._compared(bounds.high)
        if bounds.high is None:
            return f"{column} IS NULL", []
        if bounds.low is None:
            return f"({column} <= ? OR {column} IS NULL)", [bounds.high]
        if self._keyed:
            return f"({column} BETWEEN ? AND ? OR {column} IS NULL)", [bounds.low, bounds.high]
        return f"({column} > ? AND {column} <= ?)", [bounds.low, bounds.high]

    def token(self, bounds: Bounds) -> Token | None:
        """Where the stream stands once the rows are in the table."""
        if bounds.reached is None:
            return None
        value = bounds.reached
        return json.dumps(
            {
                "format": FORMAT,
                "cursor": self._name,
                "kind": _kind(value),
                "value": value if isinstance(value, str) else repr(value),
                **self.identity,
            },
            sort_keys=True,
        )

    def _compared(self, value: Value | None) -> str:
        """The column as it is compared: texts by their bytes, whatever collation the column has."""
        return identifier(self._name) + (" COLLATE BINARY" if isinstance(value, str) else "")

    def _highest(self, connection: Any) -> Value | None:
        def extremes(column: str) -> tuple[Any, Any]:
            lowest, highest = (
                f"(SELECT {extreme}({column}) FROM {self.relation})" for extreme in ("min", "max")
            )
            found: tuple[Any, Any] = connection.execute(f"SELECT {lowest}, {highest}").fetchone()
            return found

        low, high = extremes(identifier(self._name))
        if isinstance(high, str):
            low, high = extremes(self._compared(high))
        kinds = {"number" if isinstance(v, int | float) else type(v).__name__ for v in (low, high)}
        if kinds <= {"NoneType", "number"} or kinds <= {"NoneType", "str"}:
            return None if high is None else high
        raise DataError(
            f"the cursor {self._name} has values that cannot be compared: from {low!r} to {high!r}",
            hint="choose a column with values of one type as cursor",
            where=self._where,
        )

    def _previous(self, token: Token | None) -> Value | None:
        if token is None:
            return None
        try:
            document = json.loads(token)
            kind, value, cursor = document["kind"], document["value"], document["cursor"]
            known: Value = KINDS[kind](value)
            if document["format"] != FORMAT:
                raise KeyError("format")
        except (ValueError, KeyError, TypeError) as error:
            raise self._lost(f"the position {token!r} is not of this connector") from error
        if cursor != self._name:
            raise self._lost(f"the cursor was {cursor!r}, now it is {self._name!r}")
        return known

    def _look_at_fall(self, token: Token | None, previous: Value, high: Value | None) -> None:
        """The highest value is lower than it was: rows were deleted, or this is another database."""
        known = json.loads(token or "{}")
        other = [key for key, value in self.identity.items() if known.get(key, value) != value]
        if other and high is not None:
            raise self._lost(
                f"the last load ended at {previous!r}, the highest value now is {high!r}, and the file or "
                "its tables were made anew since"
            )
        self.warnings.append(
            f"{self.selection.stream.name}: the highest {self._name} is {high!r}, the last load ended at "
            f"{previous!r}: rows were deleted, and new ones below that are not read"
        )

    def _lost(self, what: str) -> PositionLost:
        hint = f"asgard resync {self.selection.stream.name} loads the table anew"
        return PositionLost(what, hint=hint, where=self._where)

    def _lowered(self, previous: Value | None) -> Value | None:
        lag = self.selection.cursor_lag
        if previous is None or not lag or not self._keyed:
            return previous
        if isinstance(previous, int):
            return previous - math.ceil(lag)
        if isinstance(previous, float):
            return previous - lag
        low = lowered(previous, lag)
        if low is None:
            raise ConfigError(
                f"cursor_lag cannot be taken from {previous!r}",
                hint="it needs a cursor of numbers, or of times as YYYY-MM-DD HH:MM:SS",
                where=self._where,
            )
        return low

    def _warn(self, connection: Any, previous: Value | None) -> None:
        stream, lag = self.selection.stream.name, self.selection.cursor_lag
        if not self._keyed:
            if lag:
                self.warnings.append(f"{stream}: cursor_lag does nothing without a primary_key")
            if not self.grows_by_itself:
                self.warnings.append(
                    f"{stream}: without a primary_key, rows that come later with a {self._name} that was "
                    "loaded already are not read"
                )
            empty = f"SELECT 1 FROM {self.relation} WHERE {identifier(self._name)} IS NULL LIMIT 1"
            if connection.execute(empty).fetchone():
                self.warnings.append(f"{stream}: rows without a {self._name} are only read by the first load")
        elif not lag and not self.grows_by_itself:
            self.warnings.append(
                f"{stream}: a row that is committed late with a lower {self._name} is not seen; cursor_lag "
                "reads so much again"
            )


def _kind(value: Value) -> str:
    return next(kind for kind, known in KINDS.items() if isinstance(value, known))


def _like(value: Value, text: str) -> Value:
    try:
        return type(value)(text)
    except ValueError as error:
        raise ConfigError(f"the bound {text!r} is no {_kind(value)} as the cursor is") from error
