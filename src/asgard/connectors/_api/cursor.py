"""How far an API's stream was read: the bound of its cursor column, the page of a reading that was left, and
what the values so far proved of their types.

A record that changes behind the page that is being read is not seen any more, whatever the highest value is
that comes later. So the bound is never above the server's clock when the reading began (Promise 7). Values
keep the text in which the API gives them; times are compared as instants with all their digits.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from asgard.connectors._api.options import Increment
from asgard.connectors._api.pages import Mark
from asgard.core.errors import ConfigError, DataError, PositionLost
from asgard.core.position import Token
from asgard.transport.text_times import lowered

FORMAT = 1
Value = str | int | Decimal
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?"
)


@dataclass(frozen=True)
class Stand:
    """Where a stream stands, as its token says.

    Attributes:
        cursor: the column.
        value: everything up to here is in the table; None before the first value.
        highest: of the reading that was left; None when none was.
        began: when that reading began, seconds since 1970 by the server's clock.
        mark: the page at which it goes on.
        columns: what the values proved, as `RecordProofs` keeps it.
    """

    cursor: str
    value: Value | None = None
    highest: Value | None = None
    began: float | None = None
    mark: Mark | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token(self) -> Token:
        """As the table keeps it."""
        document = {
            "format": FORMAT,
            "cursor": self.cursor,
            "value": _written(self.value),
            "highest": _written(self.highest),
            "began": self.began,
            "mark": None if self.mark is None else self.mark.to_json(),
            "columns": dict(self.columns),
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def of(cls, token: Token, cursor: str, stream: str) -> Stand:
        """Reads a token.

        Raises:
            PositionLost: it is of another connector, another cursor, or a newer version.
        """
        hint = f"asgard resync {stream} loads the table anew"
        try:
            document = json.loads(token)
            if document["format"] != FORMAT:
                raise KeyError("format")
            mark = document["mark"]
            stand = cls(
                document["cursor"],
                _read(document["value"]),
                _read(document["highest"]),
                document["began"],
                None if mark is None else Mark.from_json(mark),
                document["columns"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PositionLost(
                f"the position {token!r} is not of this connector", hint=hint, where={"stream": stream}
            ) from error
        if stand.cursor != cursor:
            raise PositionLost(
                f"the cursor was {stand.cursor!r}, now it is {cursor!r}", hint=hint, where={"stream": stream}
            )
        return stand

    def left_at(self, mark: Mark, highest: Value | None, began: float, columns: Mapping[str, Any]) -> Stand:
        """After some pages of a reading that is not at its end."""
        return replace(self, mark=mark, highest=highest, began=began, columns=columns)

    def ended(
        self, highest: Value | None, began: float, columns: Mapping[str, Any], increment: Increment
    ) -> Stand:
        """After a reading's last page."""
        reached = None if highest is None else _no_later(highest, began, increment.format)
        if self.value is not None and (reached is None or _key(reached) < _key(self.value)):
            reached = self.value
        return Stand(self.cursor, reached, columns=columns)


def higher(one: Value | None, other: Value | None, where: Mapping[str, str]) -> Value | None:
    """The later of two values of the cursor.

    Raises:
        DataError: they cannot be compared.
    """
    if one is None or other is None:
        return other if one is None else one
    try:
        return other if _key(other) > _key(one) else one
    except TypeError as error:
        raise DataError(
            f"the cursor has values that cannot be compared: {one!r} and {other!r}",
            hint="choose a column with values of one kind as cursor",
            where=where,
        ) from error


def is_above(value: Any, bound: Value) -> bool:
    """Whether a record's value is above the bound; one that says nothing is not."""
    return value is not None and _key(_value(value)) > _key(bound)


def value_of(value: Any, where: Mapping[str, str]) -> Value | None:
    """A record's value of the cursor.

    Raises:
        DataError: it is neither text nor number.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise DataError(
            f"the cursor has the value {value!r}", hint="choose a column of text or numbers", where=where
        )
    return _value(value)


def sent(value: Value, lag_seconds: float, increment: Increment, where: Mapping[str, str]) -> str | int:
    """The bound as the server wants it, so far below the value.

    Raises:
        ConfigError: the lag, or the format, does not go with such values.
    """
    low = _lowered(value, lag_seconds, increment.format)
    moment = _seconds(low, increment.format)
    if low is None or (increment.format != "as_is" and moment is None):
        raise ConfigError(
            f"{value!r} is no time to be written as {increment.format}, or to be lowered",
            hint="set incremental.format to how the API writes it",
            where=where,
        )
    if increment.format == "as_is":
        return str(low) if isinstance(low, Decimal) else low
    assert moment is not None
    if increment.format in ("unix", "unix_ms"):
        return math.floor(moment * (1000 if increment.format == "unix_ms" else 1))
    at = _EPOCH + timedelta(microseconds=math.floor(moment * 1_000_000))
    if increment.format == "date":
        return at.date().isoformat()
    return at.isoformat(timespec="milliseconds" if at.microsecond % 1000 == 0 else "microseconds").replace(
        "+00:00", "Z"
    )


def server_clock(date: str, own: float) -> float:
    """Seconds since 1970 by a Date header; our own clock where there is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else own
    except ValueError:
        return own


def _no_later(value: Value, began: float, format: str) -> Value:
    moment = _seconds(value, format)
    if moment is None or moment <= Decimal(began):
        return value
    if not isinstance(value, str):
        scale = 1000 if _is_milliseconds(value, format) else 1
        return min(value, math.floor(began) * scale)
    text = (_EPOCH + timedelta(seconds=math.floor(began))).isoformat().replace("+00:00", "Z")
    return text if len(value) > len("YYYY-MM-DD") else text[:10]


def _lowered(value: Value, lag_seconds: float, format: str) -> Value | None:
    if not lag_seconds:
        return value
    if isinstance(value, str):
        return lowered(value, lag_seconds)
    scale = 1000 if _is_milliseconds(value, format) else 1
    return value - math.ceil(lag_seconds * scale)


def _is_milliseconds(value: int | Decimal, format: str) -> bool:
    """Whether a number of time counts milliseconds: such numbers of seconds lie beyond the year 5000."""
    return format in ("unix", "unix_ms", "iso", "date") and abs(Decimal(value)) > 100_000_000_000


def _seconds(value: Value | None, format: str) -> Decimal | None:
    """Seconds since 1970, exactly; None for what is no instant: texts without a zone, plain numbers."""
    if value is None:
        return None
    if isinstance(value, str):
        return _instant(value)
    if format == "as_is":
        return None
    return Decimal(value) / 1000 if _is_milliseconds(value, format) else Decimal(value)


def _instant(text: str) -> Decimal | None:
    found = _INSTANT.fullmatch(text)
    if found is None or (found[2] and not found[4]):
        return None
    zone = (found[4] or "Z").replace("UTC", "+00:00").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{zone}")
    except ValueError:
        return None
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    return Decimal(whole) + (Decimal(f"0.{found[3]}") if found[3] else 0)


def _key(value: Value) -> Any:
    """What values are compared by: instants as such, other texts as they are, numbers as numbers."""
    if isinstance(value, str):
        moment = _instant(value)
        return (0, moment) if moment is not None else (1, value)
    return value


def _value(value: Any) -> Value:
    return Decimal(repr(value)) if isinstance(value, float) else value


def _written(value: Value | None) -> list[str] | None:
    return None if value is None else ["text" if isinstance(value, str) else "number", str(value)]


def _read(written: Any) -> Value | None:
    if written is None:
        return None
    kind, text = written
    if kind == "text":
        return str(text)
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number
