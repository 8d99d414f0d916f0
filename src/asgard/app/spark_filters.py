"""Spark's filters as a condition in the source's own SQL.

Spark looks at every row again, so that a condition may let too many rows through, and never too few. What a
database and Spark may see differently is therefore left to Spark: the order of texts (collations), floats,
nulls (a value may become null on the way), and whatever the source calls by a type of its own.

Reference: https://spark.apache.org/docs/latest/api/python/reference/pyspark.sql/datasource.html
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as t
from pyspark.sql.datasource import (
    EqualNullSafe,
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    IsNotNull,
    LessThan,
    LessThanOrEqual,
)

from asgard.app.elsewhere import Reading
from asgard.core.types import TYPE, metadata

COMPARISONS: dict[type[Filter], str] = {
    EqualTo: "=",
    EqualNullSafe: "=",
    GreaterThan: ">",
    GreaterThanOrEqual: ">=",
    LessThan: "<",
    LessThanOrEqual: "<=",
}
MOST_VALUES = 1000
PLAIN_TEXT = re.compile(r"[^\x00-\x1f\\]*")
"""Texts that every database reads alike between single quotes."""


def condition(filters: Iterable[Filter], reading: Reading) -> str | None:
    """What of the filters the source can look at itself; None for nothing."""
    schema = reading.arrow_schema
    parts = [_part(one, reading, schema) for one in filters]
    told = [part for part in parts if part]
    return " AND ".join(told) or None


def _part(one: Filter, reading: Reading, schema: pa.Schema) -> str | None:
    path: tuple[str, ...] = getattr(one, "attribute", ())
    if not reading.quote or len(path) != 1 or path[0] not in reading.filterable:
        return None
    field = schema.field(path[0])
    if TYPE in metadata(field):
        return None
    quote = reading.quote
    name = f"{quote}{field.name.replace(quote, quote * 2)}{quote}"
    if isinstance(one, IsNotNull):
        return f"{name} IS NOT NULL"
    if isinstance(one, In):
        values = [_literal(value, field.type) for value in one.value if value is not None]
        if not values or None in values or len(values) > MOST_VALUES:
            return None
        return f"{name} IN ({', '.join(str(value) for value in values)})"
    sign = COMPARISONS.get(type(one))
    if sign is None or (t.is_string(field.type) and sign != "="):
        return None
    value = _literal(getattr(one, "value", None), field.type)
    return None if value is None else f"{name} {sign} {value}"


def _literal(value: Any, type: pa.DataType) -> str | None:
    if t.is_signed_integer(type) and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if t.is_decimal(type) and isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if t.is_string(type) and isinstance(value, str) and PLAIN_TEXT.fullmatch(value):
        return "'" + value.replace("'", "''") + "'"
    if t.is_date32(type) and value.__class__ is datetime.date:
        return f"'{value.isoformat()}'"
    if t.is_timestamp(type) and isinstance(value, datetime.datetime):
        if (type.tz is None) != (value.tzinfo is None):
            return None
        moment = value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
        return f"'{moment.isoformat(' ', 'microseconds')}'"  # all sessions of ours are in UTC
    return None
