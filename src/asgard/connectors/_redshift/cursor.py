"""What a Redshift stream's token says, and which rows are new since then.

A token is a CursorMark: the cursor's bound in the server's own text. Rows do not tell which transaction wrote
them, and nobody but a superuser sees who is writing: rows that commit late are found by `cursor_lag` alone.

Reference: https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation.html
"""

from __future__ import annotations

from dataclasses import dataclass

from asgard.connectors._redshift.types import NUMBERS, TEXTS, TIMES, Attribute, literal, quote
from asgard.core.errors import ConfigError
from asgard.transport.sql_plan import CursorMark


@dataclass(frozen=True)
class CursorColumn:
    """The cursor, for conditions; values go from the server's text to the server, and nowhere else."""

    name: str
    type: str
    precision: int = 0
    scale: int = 0

    @classmethod
    def of(cls, attribute: Attribute) -> CursorColumn:
        """The column as a cursor.

        Raises:
            ConfigError: its values have no order that a bound could be of.
        """
        if attribute.type not in NUMBERS | TIMES | TEXTS:
            raise ConfigError(
                f"column {attribute.name!r} is {attribute.type}: it cannot be a cursor",
                hint="a cursor is a whole or decimal number, a date, a timestamp or a text",
            )
        return cls(attribute.name, attribute.type, attribute.precision, attribute.scale)

    @property
    def sql(self) -> str:
        """The column, quoted."""
        return quote(self.name)

    def text_of(self, value: str) -> str:
        """SQL for the text of a value, which `value` takes again; a text is its own, however long."""
        return value if self.type in TEXTS else f"({value})::varchar"

    def value(self, text: str) -> str:
        """A bound as SQL."""
        if self.type in TEXTS:
            return literal(text)
        name = "bigint" if self.type == "oid" else self.type
        if name == "numeric":  # without digits it would be numeric(18, 0) there
            name = f"numeric({self.precision or 38}, {self.scale})"
        return f"{literal(text)}::{name}"

    def less(self, value: str, lag: float) -> str:
        """A bound as SQL with the lag taken off, worked out by the server.

        Raises:
            ConfigError: a text knows no lag.
        """
        if not lag:
            return value
        if self.type in TEXTS:
            raise ConfigError(
                f"a cursor of type {self.type} knows no lag",
                hint="leave cursor_lag out, or take another cursor",
            )
        if self.type in NUMBERS:
            return f"({value} - {lag!r})"
        length = f"{lag:.0f} seconds" if lag == int(lag) else f"{round(lag * 1_000_000)} microseconds"
        return f"({value} - interval '{length}')"

    def keyed(self, since: CursorMark | None, lag: float, until: str | None) -> str:
        """Which rows a stream with a key reads: those at the bound come again, and the key tells them."""
        parts = []
        if since is not None and since.bound is not None:
            bound = self.less(self.value(since.bound), lag)
            parts.append(f"({self.sql} >= {bound} OR {self.sql} IS NULL)")
        if until:
            parts.append(f"({self.sql} < {self.value(until)} OR {self.sql} IS NULL)")
        return " AND ".join(parts)

    def unkeyed(self, since: CursorMark | None, upper: str | None) -> str:
        """Which rows a stream without a key reads: each once, in the load whose bounds it is between."""
        if upper is None:
            return "false"
        until = f"{self.sql} <= {self.value(upper)}"
        if since is None or since.bound is None:
            return f"({until} OR {self.sql} IS NULL)"
        return f"({self.sql} > {self.value(since.bound)} AND {until})"
