"""Columns that become wider: which type holds both, and a table's files written anew with it.

Delta cannot hold a column in two types, so every file that stays is written anew in the commit that brings
the first wider value; a kill before it leaves the table as it was, and older versions keep their files and
their types. No value changes: a type is wider only if it holds every value of the other exactly (Promise 2).
Text is wider than nothing, and lists, structs and maps stay as they are.

Reference: docs/decisions/0181-widening-by-rewrite.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.types as t

from asgard.core.cast import MAX_DECIMAL_DIGITS
from asgard.core.table import Evolution, LoadRequest
from asgard.core.types import INTEGER_DIGITS, canonical_schema, reconcile, widened


def widening(table: pa.Schema, incoming: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of a table that have to become wider for what comes, with the type that holds both."""
    found = {}
    for column in canonical_schema(incoming):
        if column.name not in table.names:
            continue
        have = table.field(column.name).type
        wider = None if widened(have, column.type) else common_type(have, column.type)
        if wider is not None and wider != have:
            found[column.name] = wider
    return found


def with_types(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema with other types for some columns; field ids and what else is known of them stay."""
    return pa.schema([field.with_type(types.get(field.name, field.type)) for field in schema])


def evolved(table: pa.Schema, request: LoadRequest) -> tuple[pa.Schema, Evolution]:
    """The table's columns in the types that a load needs, and how what comes differs from them.

    Raises:
        SchemaChanged: it does not fit, and the request's rules allow no way.
    """
    wider = widening(table, request.schema) if request.widens else {}
    wide = with_types(table, wider)
    change = reconcile(wide, request.schema, request.allow_missing)
    rewritten = {name: (str(table.field(name).type), str(type)) for name, type in wider.items()}
    return wide, replace(change, rewritten=rewritten)


def sql_type(type: pa.DataType) -> str:
    """What DuckDB calls a type that columns are widened to."""
    if t.is_decimal(type):
        return f"DECIMAL({type.precision}, {type.scale})"
    if t.is_timestamp(type):
        return "TIMESTAMP"
    if t.is_floating(type):
        return "DOUBLE" if type.bit_width == 64 else "FLOAT"
    return {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}[type.bit_width]


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds every value of both exactly; None where there is none.

    A date is midnight in a time without a zone; in one with a zone that would be a guess.
    """
    if t.is_nested(one) or t.is_nested(other):
        return None
    for wide, narrow in ((one, other), (other, one)):
        if widened(wide, narrow):
            return wide
        if t.is_date(narrow) and t.is_timestamp(wide) and wide.tz is None:
            return wide
    if widened(pa.float64(), one) and widened(pa.float64(), other):
        return pa.float64()
    digits = [_digits(one), _digits(other)]
    if None in digits:
        return None
    whole = max(pair[0] for pair in digits if pair)
    scale = max(pair[1] for pair in digits if pair)
    return pa.decimal128(whole + scale, scale) if whole + scale <= MAX_DECIMAL_DIGITS else None


def _digits(type: pa.DataType) -> tuple[int, int] | None:
    """Digits before and behind the point; None for what is no exact number."""
    if t.is_decimal(type):
        return type.precision - type.scale, type.scale
    return (INTEGER_DIGITS[type.bit_width], 0) if t.is_signed_integer(type) else None
