"""How far a collection was read, and what has to be read now: bounds of a cursor field.

With a primary key the documents at the last bound are read again and recognised by it, so that those which
share the bound's value are never missed (Promise 7). Without a key every document may come only once: the
bound itself is left out. There is no snapshot: what is written late with a lower value is found only by
`cursor_lag`. Values keep their own type; times are milliseconds as BSON counts them, never a datetime.

Reference: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from asgard.core.errors import ConfigError, DataError, PositionLost
from asgard.core.position import Token
from asgard.core.stream import Selection
from asgard.transport.mongo import driver
from asgard.transport.text_times import lowered

FORMAT = 1
Filter = dict[str, Any]
NUMBERS = ("int", "double", "decimal")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Value:
    """A value of the cursor.

    Attributes:
        kind: date, int, double, decimal, string or objectId.
        text: milliseconds since 1970, digits, the text itself, hexadecimal digits.
    """

    kind: str
    text: str

    @property
    def bracket(self) -> str:
        """MongoDB compares only values of one bracket with each other."""
        return "number" if self.kind in NUMBERS else self.kind

    @property
    def order(self) -> Any:
        """Sorts values of one bracket as MongoDB does."""
        if self.bracket == "number":
            return Decimal(self.text)
        return int(self.text) if self.kind == "date" else self.text.encode()

    def bson(self) -> Any:
        """As the driver takes it."""
        bson = driver().bson
        made: dict[str, Callable[[str], Any]] = {
            "date": lambda text: bson.datetime_ms.DatetimeMS(int(text)),
            "int": lambda text: bson.int64.Int64(int(text)),
            "double": float,
            "decimal": bson.decimal128.Decimal128,
            "string": str,
            "objectId": bson.objectid.ObjectId,
        }
        return made[self.kind](self.text)

    def less(self, lag: float) -> Value | None:
        """The value with the lag taken off: seconds for times, else its own unit; None where none can be."""
        if self.kind == "date":
            return Value("date", str(int(self.text) - math.ceil(lag * 1000)))
        if self.kind == "objectId":  # its first four bytes are seconds
            seconds = max(int(self.text[:8], 16) - math.ceil(lag), 0)
            return Value("objectId", f"{seconds:08x}{'0' * 16}")
        if self.kind == "string":
            text = lowered(self.text, lag)
            return None if text is None else Value("string", text)
        if self.kind == "int":
            return Value("int", str(int(self.text) - math.ceil(lag)))
        if self.kind == "double":
            return Value("double", repr(float(self.text) - lag))
        return Value("decimal", str(Decimal(self.text) - Decimal(str(lag))))

    def like(self, text: str) -> Value:
        """A value of the same kind that the user wrote.

        Raises:
            ConfigError: the text is none.
        """
        try:
            if self.kind == "date":
                moment = datetime.fromisoformat(text)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return Value("date", str((moment - _EPOCH) // timedelta(milliseconds=1)))
            made = Value("decimal", str(Decimal(text))) if self.kind == "decimal" else Value(self.kind, text)
            made.bson()
        except (ValueError, InvalidOperation, driver().bson.errors.BSONError) as error:
            raise ConfigError(
                f"the bound {text!r} is no {self.kind} as the cursor is",
                hint="write it as the cursor's values",
            ) from error
        return made


def value_of(found: Any) -> Value | None:
    """What the server gave as a value of the cursor; None where it cannot be one."""
    bson = driver().bson
    if isinstance(found, bool):
        return None
    if isinstance(found, bson.datetime_ms.DatetimeMS):
        return Value("date", str(int(found)))
    if isinstance(found, int):
        return Value("int", str(int(found)))
    if isinstance(found, float):
        return Value("double", repr(found)) if math.isfinite(found) else None
    if isinstance(found, bson.decimal128.Decimal128):
        return Value("decimal", str(found)) if found.to_decimal().is_finite() else None
    if isinstance(found, bson.objectid.ObjectId):
        return Value("objectId", str(found))
    return Value("string", str(found)) if type(found) is str else None


@dataclass(frozen=True)
class Mark:
    """What a token says.

    Attributes:
        cursor: the field's path.
        bound: where the stream stands; None while it has no value at all.
        collection: the collection's own id, where the server tells it.
        ranges: where the splits of a first load begin, while it may be resumed; Extended JSON.
    """

    cursor: str
    bound: Value | None
    collection: str | None = None
    ranges: tuple[Any, ...] | None = None

    def token(self) -> Token:
        """The mark as text."""
        bound = None if self.bound is None else [self.bound.kind, self.bound.text]
        document = {"format": FORMAT, "cursor": self.cursor, "bound": bound, "collection": self.collection}
        return json.dumps({**document, **({} if self.ranges is None else {"ranges": self.ranges})})

    @classmethod
    def read(cls, token: Token, resync: str) -> Mark:
        """The mark of a token.

        Raises:
            PositionLost: it is none of ours, or of a newer format.
        """
        try:
            document = json.loads(token)
            if document["format"] != FORMAT:
                raise ValueError("unknown format")
            bound = None if document["bound"] is None else Value(*document["bound"])
            if bound is not None:
                bound.bson()
            ranges = document.get("ranges")
            return cls(document["cursor"], bound, document["collection"], ranges and tuple(ranges))
        except (ValueError, TypeError, KeyError, driver().bson.errors.BSONError) as error:
            raise PositionLost(f"the position {token!r} is not of this connector", hint=resync) from error


@dataclass
class Cursor:
    """The cursor of one selection.

    Attributes:
        path: as a query names the field.
        ask: gives the first document of a question: a filter and a sort direction of the field.
        collection: the collection's own id, where the server tells it.
        warnings: what the user should know; filled by `bounds`.
    """

    selection: Selection
    path: str
    ask: Callable[[Filter, int], Mapping[str, Any] | None]
    collection: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def keyed(self) -> bool:
        """Whether documents are told apart by a key, so that reading too many does no harm."""
        return bool(self.selection.primary_key)

    @property
    def resync(self) -> str:
        """What to do when the position is lost."""
        return f"asgard resync {self.selection.stream.name} loads the table anew"

    def highest(self, until: str | None) -> Value | None:
        """The bound that is read up to: the highest value there is now, or the user's.

        Raises:
            DataError: the field has values that cannot be compared with each other.
        """
        low, high = (self._extreme(direction) for direction in (1, -1))
        if low is None or high is None:
            return None
        if low.bracket != high.bracket:
            raise DataError(
                f"the cursor {self.path} has values that cannot be compared: from {low.text!r} ({low.kind}) "
                f"to {high.text!r} ({high.kind})",
                hint="choose a field with values of one type as cursor",
                where=self._where,
            )
        return min(high, high.like(until), key=lambda value: value.order) if until is not None else high

    def previous(self, token: Token) -> Value | None:
        """Where the last load ended.

        Raises:
            PositionLost: the token is not of this cursor.
        """
        mark = Mark.read(token, self.resync)
        if mark.cursor != self.path:
            raise PositionLost(
                f"the cursor was {mark.cursor!r}, now it is {self.path!r}",
                hint=self.resync,
                where=self._where,
            )
        return mark.bound

    def reached(self, token: Token | None, high: Value | None) -> Value | None:
        """Where the stream stands after reading up to `high`; never below the last load's end.

        Raises:
            PositionLost: the collection is another one, or its values are of another type.
        """
        previous = self.previous(token) if token is not None else None
        if previous is None or (high is not None and high.bracket != previous.bracket):
            if previous is not None and high is not None:
                raise PositionLost(
                    f"the last load ended at {previous.text!r} ({previous.kind}), now the highest value is "
                    f"{high.text!r} ({high.kind})",
                    hint=self.resync,
                    where=self._where,
                )
            return high
        if high is not None and high.order >= previous.order:
            return high
        self._look_at_fall(token or "", previous, high)
        return previous

    def condition(self, previous: Value | None, high: Value | None) -> Filter:
        """Which documents are read."""
        if high is None:
            return {self.path: None} if self.keyed or previous is None else {"$nor": [{}]}
        if previous is None:  # of whatever type: nothing that is there is left out
            below = {self.path: {"$not": {"$gt": high.bson()}}}
            # Some servers that speak this protocol hold NaN for the greatest number.
            return {"$or": [below, {self.path: math.nan}]} if high.bracket == "number" else below
        if not self.keyed:
            return {self.path: {"$gt": previous.bson(), "$lte": high.bson()}}
        low = self._lowered(previous)
        return {"$or": [{self.path: {"$gte": low.bson(), "$lte": high.bson()}}, {self.path: None}]}

    def warn(self) -> None:
        """Tells what this way of reading may miss."""
        stream, lag = self.selection.stream.name, self.selection.cursor_lag
        if not self.keyed:
            if lag:
                self.warnings.append(f"{stream}: cursor_lag does nothing without a primary_key")
            self.warnings.append(
                f"{stream}: without a primary_key, documents that come later with a {self.path} that was "
                "loaded already, or with none, are not read"
            )
        elif not lag:
            self.warnings.append(
                f"{stream}: a document that is written late with a lower {self.path} is not seen; cursor_lag "
                "reads so much again"
            )

    @property
    def _where(self) -> dict[str, str]:
        return {"stream": self.selection.stream.name, "column": self.path}

    def _extreme(self, direction: int) -> Value | None:
        found = self.ask({self.path: {"$nin": [None, math.nan]}}, direction)
        if found is None:
            return None
        value: Any = found
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        extreme = value_of(value)
        if extreme is None:
            raise DataError(
                f"the cursor {self.path} has the value {value!r}, which is no bound",
                hint="choose a field of times, finite numbers, texts or ObjectIds as cursor",
                where=self._where,
            )
        return extreme

    def _lowered(self, previous: Value) -> Value:
        lag = self.selection.cursor_lag
        low = previous.less(lag) if lag else previous
        if low is None:
            raise ConfigError(
                f"cursor_lag cannot be taken from {previous.text!r}",
                hint="it needs a cursor of numbers, of times, or of texts as YYYY-MM-DD HH:MM:SS",
                where=self._where,
            )
        return low

    def _look_at_fall(self, token: Token, previous: Value, high: Value | None) -> None:
        """The highest value is lower than it was: documents were deleted, or this is another collection."""
        known, now = Mark.read(token, self.resync).collection, high.text if high else "none"
        if known and self.collection and known != self.collection and high is not None:
            raise PositionLost(
                f"the last load ended at {previous.text!r}, the highest value now is {now!r}, and the "
                "collection was made anew since",
                hint=self.resync,
                where=self._where,
            )
        self.warnings.append(
            f"{self.selection.stream.name}: the highest {self.path} is {now}, the last load ended at "
            f"{previous.text}: documents were deleted, and new ones below that are not read"
        )
