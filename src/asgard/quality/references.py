"""References: values of a column that must be in a column of another table."""

from __future__ import annotations

from asgard.core.check import Check
from asgard.quality.families import RowKind, column
from asgard.quality.phrases import being
from asgard.quality.predicates import column_of
from asgard.quality.tables import Tables


def _orphan(check: Check, tables: Tables) -> str:
    own = column(check, tables)
    table, schema = tables.others[check.options["to"]]
    other = column_of(check, schema, check.options["field"])
    mine, theirs = own.sql, other.sql
    if own.is_text != other.is_text:  # a text that is no number is an orphan, not a failed cast
        mine, theirs = f"CAST({mine} AS VARCHAR)", f"CAST({theirs} AS VARCHAR)"
    known = f"SELECT {theirs} FROM {table} WHERE {other.sql} IS NOT NULL"
    return f"({own.sql} IS NOT NULL AND {mine} NOT IN ({known}))"


KINDS = {
    "referential": RowKind(
        _orphan, lambda check: being(f"in {check.options['to']}.{check.options['field']}"), alone=True
    ),
}
