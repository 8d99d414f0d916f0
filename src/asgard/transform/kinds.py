"""Kinds of values in DuckDB's SQL: which kind an operation has, and how Spark writes and reaches it.

It knows the rules of DuckDB's result types as far as `transform.portable` needs them, for Spark must make the
same columns. What has no rule here is refused there.

Reference: https://duckdb.org/docs/stable/sql/data_types/numeric,
https://spark.apache.org/docs/latest/sql-ref-datatypes.html
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as t

WHOLES = {"int8": 3, "int16": 5, "int32": 10, "int64": 19, "huge": 38}
"""The integers, from the narrowest, and the digits that DuckDB gives them as decimals."""
MAX_DIGITS = 38
WORD_DIGITS = 18
"""Decimals of DuckDB that lie in 64 bits; calculation among them stays there, or overflows."""
EXACT_INTEGERS = 1 << 53
"""Up to here a double holds every integer."""

SPARK = {
    **{"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INT", "int64": "BIGINT"},
    **{"huge": "DECIMAL(38, 0)", "float": "FLOAT", "double": "DOUBLE", "text": "STRING", "blob": "BINARY"},
    **{"date": "DATE", "naive": "TIMESTAMP_NTZ", "instant": "TIMESTAMP", "null": "VOID"},
}
LIMITS = {"int8": 2**7, "int16": 2**15, "int32": 2**31, "int64": 2**63}
ARROW = {
    **{"bool": "bool", "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64"},
    **{"float": "float", "double": "double", "string": "text", "binary": "blob", "date32[day]": "date"},
}


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        name: bool, int8 to int64, huge (128 bits), decimal, float, double, text, blob, date, naive and
            instant (timestamps without and with zone), null (what NULL alone is), nested.
        digits, scale: of a decimal.
    """

    name: str
    digits: int = 0
    scale: int = 0

    @property
    def is_whole(self) -> bool:
        """An integer."""
        return self.name in WHOLES

    @property
    def is_exact(self) -> bool:
        """An integer or a decimal."""
        return self.is_whole or self.name == "decimal"

    @property
    def is_float(self) -> bool:
        """Of 32 or 64 bits."""
        return self.name in ("float", "double")

    @property
    def is_time(self) -> bool:
        """A date or a timestamp."""
        return self.name in ("date", "naive", "instant")

    @property
    def spark(self) -> str:
        """What Spark calls it."""
        return f"DECIMAL({self.digits}, {self.scale})" if self.name == "decimal" else SPARK[self.name]

    @property
    def stored(self) -> Kind:
        """What a table has for it."""
        return Kind("decimal", MAX_DIGITS, 0) if self.name == "huge" else self

    def as_decimal(self) -> Kind:
        """The decimal that DuckDB makes of an integer."""
        return Kind("decimal", WHOLES[self.name], 0) if self.is_whole else self

    def __str__(self) -> str:
        return f"decimal({self.digits},{self.scale})" if self.name == "decimal" else self.name


BOOL, INT32, INT64, HUGE = Kind("bool"), Kind("int32"), Kind("int64"), Kind("huge")
DOUBLE, TEXT, DATE, NAIVE, NULL = Kind("double"), Kind("text"), Kind("date"), Kind("naive"), Kind("null")


def decimal(digits: int, scale: int) -> Kind | None:
    """A decimal, if there is one of so many digits."""
    return Kind("decimal", digits, scale) if scale <= digits <= MAX_DIGITS else None


def of_arrow(type: pa.DataType) -> Kind:
    """The kind of a column of a table."""
    if t.is_decimal(type):
        return Kind("decimal", type.precision, type.scale)
    if t.is_timestamp(type):
        return Kind("instant" if type.tz else "naive")
    return Kind(ARROW.get(str(type), "nested"))


def whole(value: int) -> Kind:
    """The kind of an integer as it is written."""
    return Kind(next((name for name in ("int32", "int64") if value < LIMITS[name]), "huge"))


def common(one: Kind, other: Kind) -> Kind | None:
    """The kind in which DuckDB brings two values together, in CASE, COALESCE and comparisons; None where
    there is none that Spark has the same."""
    if one == other or other.name == "null":
        return one
    if one.name == "null":
        return other
    if one.is_whole and other.is_whole:
        return max(one, other, key=lambda kind: WHOLES[kind.name])
    if one.is_exact and other.is_exact:
        a, b = one.as_decimal(), other.as_decimal()
        scale = max(a.scale, b.scale)
        return decimal(max(a.digits - a.scale, b.digits - b.scale) + scale, scale)
    if one.is_float and other.is_float:
        return DOUBLE
    if DOUBLE in (one, other) and {one.name, other.name} & {"int8", "int16", "int32", "int64"}:
        return DOUBLE
    if {one.name, other.name} == {"date", "naive"}:
        return NAIVE
    return None


def summed(one: Kind, other: Kind) -> Kind | None:
    """The kind of a sum or a difference of two exact numbers."""
    if one.is_whole and other.is_whole:
        return common(one, other)
    a, b = one.as_decimal(), other.as_decimal()
    scale = max(a.scale, b.scale)
    digits = max(a.digits - a.scale, b.digits - b.scale) + scale + 1
    return decimal(_in_word(digits, a, b), scale) if digits <= MAX_DIGITS else None


def multiplied(one: Kind, other: Kind) -> Kind | None:
    """The kind of a product of two exact numbers."""
    if one.is_whole and other.is_whole:
        return common(one, other)
    a, b = one.as_decimal(), other.as_decimal()
    digits = a.digits + b.digits
    # Spark wants a digit more, and drops decimal places where it has none left.
    return decimal(_in_word(digits, a, b), a.scale + b.scale) if digits < MAX_DIGITS else None


def _in_word(digits: int, one: Kind, other: Kind) -> int:
    return min(digits, WORD_DIGITS) if max(one.digits, other.digits) <= WORD_DIGITS else digits
