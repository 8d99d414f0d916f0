"""The plain kinds of checks that look at rows: missing values, bounds, lists, patterns, types, expressions.

A predicate is true for a bad row; false or null for every other. Missing values are the matter of `not_null`
alone: for the other kinds a null is fine, as in SQL's own CHECK. NaN lies between no bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality import types
from asgard.quality.families import RowKind, column, text_column
from asgard.quality.kinds import PATTERNS
from asgard.quality.phrases import Forms, being, listed, range_text
from asgard.quality.predicates import ALWAYS, NEVER, Column, beyond, member, text
from asgard.quality.tables import Tables


def _bad_not_null(check: Check, tables: Tables) -> str:
    return f"{column(check, tables).sql} IS NULL"


def _bad_non_negative(check: Check, tables: Tables) -> str:
    return _outside(check, column(check, tables), {"min": 0})


def _bad_between(check: Check, tables: Tables) -> str:
    return _outside(check, column(check, tables), check.options)


def _outside(check: Check, column: Column, bounds: Mapping[str, Any]) -> str:
    numeric = all(isinstance(bounds[key], int | float | Decimal) for key in ("min", "max") if key in bounds)
    if column.is_text and numeric:
        # A number that the source calls text: what cannot be read as a number lies nowhere.
        number = f"TRY_CAST({column.sql} AS DOUBLE)"
        as_number = Column(column.name, pa.float64())
        sides = [beyond(check, as_number, number, key, bounds) for key in ("min", "max")]
        return _any([f"({column.sql} IS NOT NULL AND {number} IS NULL)", f"isnan({number})", *sides])
    sides = [beyond(check, column, column.sql, key, bounds) for key in ("min", "max")]
    return _any([f"isnan({column.sql})" if at.is_floating(column.type) else NEVER, *sides])


def _any(parts: list[str]) -> str:
    real = [part for part in parts if part != NEVER]
    return "(" + " OR ".join(real or [NEVER]) + ")"


def _bad_accepted_values(check: Check, tables: Tables) -> str:
    found = column(check, tables)
    members = [member(check, found, value) for value in check.options["values"]]
    among = ", ".join(one for one in members if one is not None)
    return f"({found.sql} NOT IN ({among}))" if among else f"({found.sql} IS NOT NULL)"


def _bad_matches(check: Check, tables: Tables) -> str:
    found = text_column(check, tables, "match a pattern")
    pattern = check.options["pattern"]
    return f"NOT regexp_full_match({found.sql}, {text(PATTERNS.get(pattern, pattern))})"


def _bad_of_type(check: Check, tables: Tables) -> str:
    found = column(check, tables)
    wanted = types.parsed(check.options["type"])
    if wanted is None:
        raise ConfigError(f"{check.options['type']!r} is no SQL type", where={"check": check.name})
    if found.is_text:
        return types.unreadable(found.sql, wanted)
    return NEVER if types.carries(found.type, wanted) else ALWAYS


def _bad_expression(check: Check, tables: Tables) -> str:
    # On lines of its own: a comment at its end must not swallow the bracket.
    return f"NOT (\n{check.options['sql']}\n)"


def _not_null(check: Check) -> tuple[Forms, Forms]:
    (column,) = check.columns
    return (f"has {column}", f"have {column}"), (f"has no {column}", f"have no {column}")


def _between(check: Check) -> tuple[Forms, Forms]:
    return being(range_text(check.options))


def _accepted_values(check: Check) -> tuple[Forms, Forms]:
    return being(f"one of {listed(check.options['values'])}")


def _matches(check: Check) -> tuple[Forms, Forms]:
    pattern = check.options["pattern"]
    named = {"email": "email address", "url": "URL", "uuid": "UUID"}
    if pattern not in named:
        return (
            (f"matches {pattern}", f"match {pattern}"),
            (f"does not match {pattern}", f"do not match {pattern}"),
        )
    article = "an" if pattern == "email" else "a"
    one, many = f"{article} {named[pattern]}", f"{named[pattern]}{'es' if pattern == 'email' else 's'}"
    return (f"is {one}", f"are {many}"), (f"is not {one}", f"are not {many}")


def _of_type(check: Check) -> tuple[Forms, Forms]:
    kind = check.options["type"]
    return (f"is a {kind}", f"are {kind}"), (f"cannot be read as {kind}", f"cannot be read as {kind}")


def _referential(check: Check) -> tuple[Forms, Forms]:
    return being(f"in {check.options['to']}.{check.options['field']}")


def _expression(check: Check) -> tuple[Forms, Forms]:
    sql = " ".join(check.options["sql"].split())
    return (f"keeps to {sql}", f"keep to {sql}"), (f"breaks {sql}", f"break {sql}")


KINDS = {
    "not_null": RowKind(_bad_not_null, _not_null, noun="row", every_row=True),
    "non_negative": RowKind(_bad_non_negative, lambda check: being("zero or more")),
    "between": RowKind(_bad_between, _between),
    "accepted_values": RowKind(_bad_accepted_values, _accepted_values),
    "matches": RowKind(_bad_matches, _matches),
    "type": RowKind(_bad_of_type, _of_type),
    "expression": RowKind(_bad_expression, _expression, noun="row", every_row=True),
}
