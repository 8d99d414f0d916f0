"""What the SQL of checks is made of: columns, values in a column's own type, what lies beyond a bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality import types

NEVER = "false"
ALWAYS = "true"


@dataclass(frozen=True)
class Column:
    """A column of the table that is looked at."""

    name: str
    type: pa.DataType

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return identifier(self.name)

    @property
    def is_text(self) -> bool:
        """True for texts."""
        return types.is_text(self.type)


def identifier(name: str) -> str:
    """The name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """The text quoted for SQL."""
    return "'" + value.replace("'", "''") + "'"


def column_of(check: Check, schema: pa.Schema, name: str) -> Column:
    """The column of that name, without regard to case if none has it exactly.

    Raises:
        ConfigError: there is none; the hint names near ones.
    """
    exact = [field for field in schema if field.name == name]
    found = exact or [field for field in schema if field.name.casefold() == name.casefold()]
    if not found:
        near = get_close_matches(name, schema.names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"its columns: {', '.join(schema.names)}"
        raise ConfigError(f"the table has no column {name}", hint=hint, where={"check": check.name})
    return Column(found[0].name, found[0].type)


def columns_of(check: Check, schema: pa.Schema) -> tuple[Column, ...]:
    """The columns that the check is about; an expression's are left to the engine."""
    return tuple(column_of(check, schema, name) for name in check.columns)


def beyond(check: Check, column: Column, sql: str, side: str, bounds: Mapping[str, Any]) -> str:
    """SQL that is true beyond a bound, `min` or `max`; a strict bound is beyond itself.

    Bounds of exact columns are brought to the column's own scale: to compare decimal(38,0) with 0.5 would
    widen the column beyond what there is.
    """
    if side not in bounds:
        return NEVER
    value = bounds[side]
    strict = bool(bounds.get(f"strict_{side}"))
    sign = ("<" if side == "min" else ">") + ("=" if strict else "")
    exact = at.is_integer(column.type) or at.is_decimal(column.type)
    if not exact:
        return f"{sql} {sign} {literal(check, column, value)}"
    number = number_of(check, column, value)
    scale, largest = _exact_range(column.type)
    if abs(number) > largest:
        return ALWAYS if (side == "min") == (number > 0) else NEVER
    rounding = ROUND_CEILING if (side == "min") != strict else ROUND_FLOOR
    number = number.quantize(Decimal(1).scaleb(-scale), rounding, Context(prec=80))
    return f"{sql} {sign} CAST('{number:f}' AS {_exact_sql(column.type)})"


def _exact_range(kind: pa.DataType) -> tuple[int, Decimal]:
    if at.is_decimal(kind):
        return kind.scale, (Decimal(10) ** kind.precision - 1).scaleb(-kind.scale, Context(prec=80))
    signed = at.is_signed_integer(kind)
    return 0, Decimal(2 ** (kind.bit_width - signed) - 1)


def _exact_sql(kind: pa.DataType) -> str:
    if at.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    names = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}
    return ("U" if at.is_unsigned_integer(kind) else "") + names[kind.bit_width]


def number_of(check: Check, column: Column, value: Any) -> Decimal:
    """The bound of a check as an exact number.

    Raises:
        ConfigError: it is none, or not a finite one.
    """
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except InvalidOperation:
        raise _unfit(check, column, value) from None
    if isinstance(value, bool) or not number.is_finite():
        raise _unfit(check, column, value)
    return number


def _unfit(check: Check, column: Column, value: Any) -> ConfigError:
    return ConfigError(
        f"{value!r} cannot be compared with {column.name}, which is {column.type}",
        hint="write a value of the column's type",
        where={"check": check.name},
    )


def literal(check: Check, column: Column, value: Any) -> str:
    """The value as SQL, in the type of the column that it is compared with.

    Raises:
        ConfigError: it is no value of that type.
    """
    kind = column.type
    if column.is_text or at.is_dictionary(kind):
        return text(value.isoformat() if isinstance(value, date) else _plain(value))
    if at.is_boolean(kind):
        known = {"true": ALWAYS, "false": NEVER}
        if str(value).lower() not in known:
            raise _unfit(check, column, value)
        return known[str(value).lower()]
    if at.is_floating(kind):
        number = float(number_of(check, column, value)) if not is_infinite(value) else float(value)
        return f"CAST('{number!r}' AS {'FLOAT' if kind.bit_width < 64 else 'DOUBLE'})"
    if at.is_date(kind) or at.is_timestamp(kind):
        return _instant(check, column, value)
    if at.is_integer(kind) or at.is_decimal(kind):
        return f"CAST('{number_of(check, column, value):f}' AS {_exact_sql(kind)})"
    return text(_plain(value))


def is_infinite(value: Any) -> bool:
    """True for a bound beyond all numbers."""
    return isinstance(value, float) and math.isinf(value)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _instant(check: Check, column: Column, value: Any) -> str:
    try:
        moment = value if isinstance(value, date) else datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise _unfit(check, column, value) from None
    is_day = not isinstance(moment, datetime) or moment == datetime(moment.year, moment.month, moment.day)
    if at.is_date(column.type) and is_day:
        # Days are compared for a third of what it costs to make instants of a column of them.
        return f"CAST({text(moment.isoformat()[:10])} AS DATE)"
    zoned = at.is_timestamp(column.type) and column.type.tz is not None
    return f"CAST({text(moment.isoformat())} AS {'TIMESTAMPTZ' if zoned else 'TIMESTAMP'})"


def member(check: Check, column: Column, value: Any) -> str | None:
    """The literal; None for a number that the column's exact type cannot hold, which no row can equal."""
    if at.is_integer(column.type) or at.is_decimal(column.type):
        number = number_of(check, column, value)
        scale, largest = _exact_range(column.type)
        whole = number.scaleb(scale, Context(prec=80))
        if abs(number) > largest or whole != whole.to_integral_value():
            return None
    return literal(check, column, value)
