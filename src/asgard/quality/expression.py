"""A SQL expression that a user wrote as a check: one that speaks of a single row and of nothing else."""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp

REFUSED = (
    (exp.Query, "a subquery"),
    (exp.Window, "a window function"),
    (exp.AggFunc, "an aggregate"),
    (exp.Star, "a star"),
    (exp.Alias, "an alias"),
    (exp.Placeholder, "a placeholder"),
    (exp.Parameter, "a parameter"),
)
"""What would make it more than a statement about one row."""


def fault_of(sql: str) -> str:
    """What is wrong with it as a check, empty when nothing is.

    >>> fault_of("amount >= tax"), fault_of("amount >= (SELECT 1)")
    ('', 'must speak of one row alone, this has a subquery: (SELECT 1)')
    """
    try:
        statements = [part for part in sqlglot.parse(sql, dialect="duckdb") if part is not None]
    except sqlglot.errors.SqlglotError as error:
        return f"is no SQL expression: {_place(error)}"
    if len(statements) != 1:
        return f"must be one SQL expression, this is {len(statements)}"
    (found,) = statements
    if not isinstance(found, exp.Condition | exp.Query):
        return f"must be a SQL expression that is true or false, this is {found.key.upper()}"
    for node in found.walk():
        for kind, name in REFUSED:
            if isinstance(node, kind):
                return f"must speak of one row alone, this has {name}: {node.sql('duckdb')}"
    if isinstance(found, exp.Literal):
        return "must be true or false, this is a value"
    return ""


def _place(error: sqlglot.errors.SqlglotError) -> str:
    known = getattr(error, "errors", None) or [{}]
    first = known[0]
    if not first.get("description"):
        return str(error).splitlines()[0]
    what = re.sub(r"Required keyword: '\w+' missing.*", "something is missing", str(first["description"]))
    return f"{what} (line {first.get('line')}, column {first.get('col')})"


TABLE = "_asgard_table"


def query_fault_of(sql: str) -> str:
    """What is wrong with it as a query over `{table}`, empty when nothing is.

    >>> query_fault_of("SELECT count(*) FROM {table}"), query_fault_of("SELECT 1 FROM orders")
    ('', 'may read {table} alone, this reads orders')
    """
    try:
        parts = sqlglot.parse(sql.replace("{table}", TABLE), dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        return f"is no SQL: {_place(error)}"
    statements = [part for part in parts if part is not None]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return "must be one SELECT"
    found = statements[0]
    known = {cte.alias.casefold() for cte in found.find_all(exp.CTE)} | {TABLE}
    others = [t.sql("duckdb") for t in found.find_all(exp.Table) if t.name.casefold() not in known or t.db]
    if others:
        return f"may read {{table}} alone, this reads {', '.join(others)}"
    if not any(table.name == TABLE for table in found.find_all(exp.Table)):
        return "must read {table}"
    return ""
