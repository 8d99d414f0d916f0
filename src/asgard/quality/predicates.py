"""What makes a row bad, as SQL: one predicate for each kind of check that looks at rows.

A predicate is true for a bad row; false or null for every other. Missing values are the matter of `not_null`
alone: for the other kinds a null is fine, as in SQL's own CHECK. NaN lies between no bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from asgard.quality.kinds import PATTERNS

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


def bad(check: Check, schema: pa.Schema) -> str | None:
    """The predicate of a check that looks at each row by itself; None for a check of another sort.

    Raises:
        ConfigError: the check does not fit the column.
    """
    make = _PREDICATES.get(check.kind)
    return None if make is None else make(check, columns_of(check, schema))


def looked_at(check: Check, schema: pa.Schema) -> str | None:
    """The column whose values the check looks at, quoted; None when it looks at every row."""
    if check.kind in {"not_null", "expression"} or len(check.columns) != 1:
        return None
    (column,) = columns_of(check, schema)
    return column.sql


def _not_null(check: Check, columns: tuple[Column, ...]) -> str:
    return f"{columns[0].sql} IS NULL"


def _non_negative(check: Check, columns: tuple[Column, ...]) -> str:
    return _outside(check, columns[0], {"min": 0})


def _between(check: Check, columns: tuple[Column, ...]) -> str:
    return _outside(check, columns[0], check.options)


def _outside(check: Check, column: Column, bounds: Mapping[str, Any]) -> str:
    numeric = all(isinstance(bounds[key], int | float | Decimal) for key in ("min", "max") if key in bounds)
    if column.is_text and numeric:
        # A number that the source calls text: what cannot be read as a number lies nowhere.
        number = f"TRY_CAST({column.sql} AS DOUBLE)"
        as_number = Column(column.name, pa.float64())
        sides = [_beyond(check, as_number, number, key, bounds) for key in ("min", "max")]
        return _any([f"({column.sql} IS NOT NULL AND {number} IS NULL)", f"isnan({number})", *sides])
    sides = [_beyond(check, column, column.sql, key, bounds) for key in ("min", "max")]
    return _any([f"isnan({column.sql})" if at.is_floating(column.type) else NEVER, *sides])


def _any(parts: list[str]) -> str:
    real = [part for part in parts if part != NEVER]
    return "(" + " OR ".join(real or [NEVER]) + ")"


def _beyond(check: Check, column: Column, sql: str, side: str, bounds: Mapping[str, Any]) -> str:
    """True beyond a bound. Bounds of exact columns are brought to the column's own scale: to compare
    decimal(38,0) with 0.5 would widen the column beyond what there is."""
    if side not in bounds:
        return NEVER
    value = bounds[side]
    sign = "<" if side == "min" else ">"
    exact = at.is_integer(column.type) or at.is_decimal(column.type)
    if not exact:
        return f"{sql} {sign} {literal(check, column, value)}"
    number = number_of(check, column, value)
    scale, largest = _exact_range(column.type)
    if abs(number) > largest:
        return ALWAYS if (side == "min") == (number > 0) else NEVER
    rounding = ROUND_CEILING if side == "min" else ROUND_FLOOR
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
    zoned = at.is_timestamp(column.type) and column.type.tz is not None
    return f"CAST({text(moment.isoformat())} AS {'TIMESTAMPTZ' if zoned else 'TIMESTAMP'})"


def _accepted_values(check: Check, columns: tuple[Column, ...]) -> str:
    (column,) = columns
    members = [_member(check, column, value) for value in check.options["values"]]
    listed = ", ".join(member for member in members if member is not None)
    return f"({column.sql} NOT IN ({listed}))" if listed else f"({column.sql} IS NOT NULL)"


def _member(check: Check, column: Column, value: Any) -> str | None:
    """The literal; None for a number that the column's exact type cannot hold, which no row can equal."""
    if at.is_integer(column.type) or at.is_decimal(column.type):
        number = number_of(check, column, value)
        scale, largest = _exact_range(column.type)
        whole = number.scaleb(scale, Context(prec=80))
        if abs(number) > largest or whole != whole.to_integral_value():
            return None
    return literal(check, column, value)


def _matches(check: Check, columns: tuple[Column, ...]) -> str:
    (column,) = columns
    if not column.is_text:
        raise ConfigError(
            f"{column.name} is {column.type}, and only texts can match a pattern", where={"check": check.name}
        )
    pattern = check.options["pattern"]
    return f"NOT regexp_full_match({column.sql}, {text(PATTERNS.get(pattern, pattern))})"


def _type(check: Check, columns: tuple[Column, ...]) -> str:
    (column,) = columns
    wanted = types.parsed(check.options["type"])
    if wanted is None:
        raise ConfigError(f"{check.options['type']!r} is no SQL type", where={"check": check.name})
    if column.is_text:
        return types.unreadable(column.sql, wanted)
    return NEVER if types.carries(column.type, wanted) else ALWAYS


def _expression(check: Check, columns: tuple[Column, ...]) -> str:
    # On lines of its own: a comment at its end must not swallow the bracket.
    return f"NOT (\n{check.options['sql']}\n)"


_PREDICATES: dict[str, Callable[[Check, tuple[Column, ...]], str]] = {
    "not_null": _not_null,
    "non_negative": _non_negative,
    "between": _between,
    "accepted_values": _accepted_values,
    "matches": _matches,
    "type": _type,
    "expression": _expression,
}
