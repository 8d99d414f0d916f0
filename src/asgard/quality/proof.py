"""Checks that the figures of the files answer: what their statistics prove is not read again.

A staged file's footer says how many values of a column are null, and between which numbers the others lie.
Where that decides a check, its rows need no scan: a share of a load's cost that nobody notices missing. Only
a pass is proven by bounds; which rows fail is for the scan to say.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.table import ColumnFigures
from asgard.quality.predicates import Column, columns_of, is_infinite, number_of
from asgard.quality.tables import Tables


def proven(check: Check, tables: Tables) -> tuple[int, int] | None:
    """How many rows of the load a check looks at and how many of them fail; None when a scan has to say.

    Raises:
        ConfigError: the check does not fit its column.
    """
    if check.kind not in {"not_null", "between", "non_negative"} or tables.fresh.rows is None:
        return None
    (column,) = columns_of(check, tables.schema)
    known = tables.fresh.figures.get(column.name)
    if known is None:
        return None
    if check.kind == "not_null":
        return tables.fresh.rows, known.nulls
    bounds = {"min": 0} if check.kind == "non_negative" else check.options
    return (tables.fresh.rows - known.nulls, 0) if _within(check, column, known, bounds) else None


def span(column: Column, tables: Tables) -> tuple[int, int] | None:
    """The least and the greatest value of an integer column in the load; None when they are not known."""
    known = tables.fresh.figures.get(column.name)
    if known is None or known.smallest is None or not at.is_integer(column.type):
        return None
    return known.smallest, known.largest


def _within(check: Check, column: Column, known: ColumnFigures, bounds: Any) -> bool:
    if known.smallest is None or any(is_infinite(bounds.get(side)) for side in ("min", "max")):
        return False
    low, high = (
        _comparable(number_of(check, column, bounds[side]), column.type) if side in bounds else None
        for side in ("min", "max")
    )
    above = low is None or known.smallest > low or (known.smallest == low and not bounds.get("strict_min"))
    below = high is None or known.largest < high or (known.largest == high and not bounds.get("strict_max"))
    return above and below


def _comparable(bound: Decimal, type_: pa.DataType) -> Decimal | float:
    """The bound as the scan compares it: doubles with doubles, exact numbers exactly."""
    return float(bound) if at.is_floating(type_) else bound
