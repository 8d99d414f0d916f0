"""SQL types as checks name them: which Arrow types fulfil them, and which texts can be read as them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.types as at

INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64, "INT128": 128}
FLOAT_BITS = {"FLOAT": 32, "DOUBLE": 64}
FAMILIES = {
    **dict.fromkeys(INTEGER_BITS, "integer"),
    **dict.fromkeys(FLOAT_BITS, "float"),
    "DECIMAL": "decimal",
    "BOOLEAN": "boolean",
    "TEXT": "text",
    "VARCHAR": "text",
    "CHAR": "text",
    "NVARCHAR": "text",
    "JSON": "json",
    "UUID": "uuid",
    "VARBINARY": "binary",
    "BINARY": "binary",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPNTZ": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
}
"""sqlglot's name of a type to what is told apart here."""


@dataclass(frozen=True)
class SqlType:
    """A SQL type as far as checks tell types apart.

    Attributes:
        family: integer, float, decimal, boolean, text, json, uuid, binary, date, time, timestamp
            or timestamptz.
        bits: of integers and floats; 0 elsewhere.
        precision, scale: of decimals; None where none was written: then any will do.
    """

    family: str
    sql: str
    bits: int = 0
    precision: int | None = None
    scale: int | None = None


@cache
def parsed(text: str) -> SqlType | None:
    """The type that a text names, None when it names none of those that checks know.

    >>> parsed("decimal(12,2)")
    SqlType(family='decimal', sql='DECIMAL(12, 2)', bits=0, precision=12, scale=2)
    """
    import sqlglot  # heavy, and most projects name no type
    from sqlglot import exp

    try:
        kind = exp.DataType.build(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return None
    if not isinstance(kind.this, exp.DataType.Type) or kind.this.value not in FAMILIES:
        return None
    name = kind.this.value
    family = FAMILIES[name]
    numbers = [int(p.name) for p in kind.expressions if p.name.isdigit()] if "(" in text else []
    if family != "decimal":
        return SqlType(family, kind.sql("duckdb"), INTEGER_BITS.get(name, FLOAT_BITS.get(name, 0)))
    if not numbers:
        return SqlType(family, "DECIMAL")
    precision, scale = numbers[0], numbers[1] if len(numbers) > 1 else 0
    if not 0 < precision <= 38 or scale > precision:
        return None
    return SqlType(family, f"DECIMAL({precision}, {scale})", precision=precision, scale=scale)


def is_known_type(text: str) -> bool:
    """True for what `parsed` knows."""
    return parsed(text) is not None


def is_text(kind: pa.DataType) -> bool:
    """True for Arrow's text types, JSON included."""
    return bool(at.is_string(kind) or at.is_large_string(kind) or at.is_string_view(kind))


def carries(kind: pa.DataType, wanted: SqlType) -> bool:
    """True when every value of the Arrow type is a value of the SQL type."""
    if wanted.family == "integer":
        return bool(at.is_integer(kind) and kind.bit_width + at.is_unsigned_integer(kind) <= wanted.bits)
    if wanted.family == "float":
        return bool(at.is_floating(kind) and kind.bit_width <= wanted.bits)
    if wanted.family == "decimal":
        return _carries_decimal(kind, wanted)
    return family_of(kind) == wanted.family


def _carries_decimal(kind: pa.DataType, wanted: SqlType) -> bool:
    if at.is_integer(kind):
        precision, scale = len(str(2 ** (kind.bit_width - at.is_signed_integer(kind)))), 0
    elif at.is_decimal(kind):
        precision, scale = kind.precision, kind.scale
    else:
        return False
    if wanted.precision is None or wanted.scale is None:
        return True
    return bool(scale <= wanted.scale and precision - scale <= wanted.precision - wanted.scale)


def family_of(kind: pa.DataType) -> str:
    """The family of an Arrow type, empty for one that SQL types do not name."""
    if at.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    families = {
        "integer": at.is_integer,
        "float": at.is_floating,
        "decimal": at.is_decimal,
        "boolean": at.is_boolean,
        "text": is_text,
        "binary": lambda k: at.is_binary(k) or at.is_large_binary(k) or at.is_fixed_size_binary(k),
        "date": at.is_date,
        "time": at.is_time,
    }
    return next((family for family, holds in families.items() if holds(kind)), "")


def unreadable(column: str, wanted: SqlType) -> str:
    """SQL that is true for the texts that cannot be read as the type without losing something.

    A cast alone would take `1.5` for the integer 2 and `0.125` for the decimal(4,2) 0.13.
    """
    if wanted.family == "text":
        return "false"
    return f"({column} IS NOT NULL AND ({_fault(column, wanted)}))"


def _fault(column: str, wanted: SqlType) -> str:
    cast = f"TRY_CAST({column} AS {wanted.sql}) IS NULL"
    if wanted.family == "json":
        return f"NOT json_valid({column})"
    if wanted.family == "integer":
        return f"{cast} OR {_unlike(column, '[+-]?[0-9]+')}"
    if wanted.family == "decimal":
        shape = _unlike(column, "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)")
        if wanted.scale is None:
            return shape
        # Zeros behind the last digit that is kept are no loss.
        lost = f"regexp_matches({column}, '[.][0-9]{{{wanted.scale}}}0*[1-9]')"
        return f"{cast} OR {shape} OR {lost}"
    if wanted.family == "date":
        return f"{cast} OR {_unlike(column, '[+-]?[0-9]+-[0-9]+-[0-9]+( [(]BC[)])?')}"
    if wanted.family == "boolean":
        return f"lower(trim({column})) NOT IN ('true', 'false', 't', 'f', '1', '0', 'yes', 'no', 'y', 'n')"
    return cast


def _unlike(column: str, shape: str) -> str:
    return f"NOT regexp_full_match(trim({column}), '{shape}')"
