"""Which tables a SQL statement reads, and what a model's statement must not say.

Tables are read out of the SQL itself: `bronze.shop.orders`, `silver.orders`, `gold.revenue`. Names of CTEs
are none, wherever they hide. Nothing is run here, and no schema is known.

Reference: https://duckdb.org/docs/stable/sql/statements/select
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import sqlglot
from sqlglot import exp

from asgard.core.errors import QueryError
from asgard.core.names import LAYERS, fold
from asgard.core.table import TableName

DIALECT = "duckdb"
MAKING_ROWS = {"RANGE", "GENERATE_SERIES", "UNNEST", "REPEAT", "REPEAT_ROW"}
"""Functions that a model may read from: they make rows out of their arguments."""
HIDING_NAMES = {"QUERY", "QUERY_TABLE"}


def tables_of(sql: str, known: Iterable[TableName] = (), dialect: str = DIALECT) -> tuple[TableName, ...]:
    """The tables that one statement reads, sorted, each once.

    Args:
        known: tables that there are: a name that differs from one of them in case alone is that one.

    Raises:
        QueryError: the SQL cannot be parsed, is more than one statement, or names what is no table of a
            layer; `where` has line and column.
    """
    by_fold = {fold(str(name)): name for name in known}
    found = {_named(table, sql, by_fold) for table in tables_in(parsed(sql, dialect))}
    return tuple(sorted(by_fold.get(fold(str(name)), name) for name in found))


def parsed(sql: str, dialect: str = DIALECT) -> exp.Expr:
    """The one statement.

    Raises:
        QueryError: as for `tables_of`.
    """
    try:
        statements = [part for part in sqlglot.parse(sql, dialect=dialect) if part is not None]
    except sqlglot.errors.ParseError as error:
        first = error.errors[0] if error.errors else {}
        column = (first.get("col") or 1) - len(first.get("highlight") or " ")
        what = _readable(str(first.get("description") or error))
        raise _error(what, (first.get("line") or 1, max(column, 0) + 1), _hint(sql)) from error
    except sqlglot.errors.SqlglotError as error:
        raise QueryError(f"this is no SQL: {str(error).splitlines()[0]}", hint=_hint(sql)) from error
    if len(statements) != 1:
        what = "there is no statement" if not statements else f"these are {len(statements)} statements"
        raise QueryError(f"{what}, wanted is one SELECT")
    return statements[0]


def names_read(sql: str, dialect: str = DIALECT) -> tuple[tuple[str, ...], ...]:
    """The names of tables as one SELECT writes them, each once: `("orders",)`, `("bronze", "s", "orders")`.

    Raises:
        QueryError: it is not exactly one SELECT over tables, or reaches for a file or an address; `where` has
            line and column.
    """
    statement = parsed(sql, dialect)
    refuse_all_but_a_select(statement, sql, said="this takes")
    return tuple(dict.fromkeys(_parts(table, sql)[0] for table in tables_in(statement)))


def refuse_all_but_a_select(statement: exp.Expr, sql: str, said: str = "a model is") -> None:
    """Lets nothing pass but one SELECT over tables: no other statement, no file, no address, no parameter.

    Args:
        said: how the message begins.

    Raises:
        QueryError: names what is refused, with line and column where they are known.
    """
    if isinstance(statement, exp.Pivot):
        raise QueryError(f"{said} one SELECT, this is PIVOT", hint="write SELECT * FROM (PIVOT ...)")
    if not isinstance(statement, exp.Query):
        raise QueryError(f"{said} one SELECT, this is {statement.key.upper()}")
    for node in statement.walk():
        if isinstance(node, exp.Into):
            raise QueryError("SELECT INTO is refused", hint="the model's file name is its table")
        if isinstance(node, exp.Placeholder | exp.Parameter):
            raise QueryError(f"the parameter {node.sql(DIALECT)} is refused: nobody would fill it in")
        if isinstance(node, exp.Table):
            _refuse_functions(node, sql)


def _refuse_functions(table: exp.Table, sql: str) -> None:
    if not isinstance(table.this, exp.Func):
        return
    function = table.this
    name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).upper()
    if name in MAKING_ROWS:
        return
    reason = "it hides which tables it reads" if name in HIDING_NAMES else "a model reads tables alone"
    hint = "" if name in HIDING_NAMES else "load files with a source, and read its bronze table"
    raise _error(f"{name.lower()} is refused: {reason}", _place_of(name, sql), hint)


def tables_in(statement: exp.Expr) -> Iterator[exp.Table]:
    """Everything in the place of a table that is neither a CTE nor a function."""
    for table in statement.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            continue
        if len(table.parts) == 1 and fold(table.name) in _ctes_around(table):
            continue
        yield table


def _ctes_around(table: exp.Table) -> set[str]:
    names: set[str] = set()
    node: exp.Expr | None = table
    while node is not None:
        names |= {fold(cte.alias) for cte in getattr(node, "ctes", [])}
        node = node.parent
    return names


def _parts(table: exp.Table, sql: str) -> tuple[tuple[str, ...], tuple[int, int]]:
    """A table's name in its parts, and its place."""
    parts = tuple(part.name for part in table.parts)
    written = ".".join(parts)
    first = table.parts[0]
    end, start = first.meta.get("end", 0), first.meta.get("start", 0)
    place = (first.meta.get("line", 1), first.meta.get("col", 1) - (end - start))
    if not all(isinstance(part, exp.Identifier) for part in table.parts):
        raise _error(f"{table.sql(DIALECT)} is no name of a table", place, _hint(sql))
    if len(parts) == 1 and re.search(r"[/.:*]", written):
        raise _error(
            f"{written} is a file or an address, and SQL reads tables alone",
            place,
            "load it with a source, and read its bronze table",
        )
    return parts, place


def _named(table: exp.Table, sql: str, known: dict[str, TableName]) -> TableName:
    parts, place = _parts(table, sql)
    written = ".".join(parts)
    layer = parts[0].lower()
    if layer not in LAYERS or len(parts) != (3 if layer == "bronze" else 2):
        near = [str(name) for name in known.values() if fold(name.name) == fold(parts[-1])]
        near = near or get_close_matches(written, map(str, known.values()))
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else ("tables are called bronze.<source>.<table>, silver.<table>, gold.<table>")
        )
        raise _error(f"{written} is no table of a layer", place, hint)
    return TableName(layer, parts[1] if layer == "bronze" else "", parts[-1])


def _place_of(word: str, sql: str) -> tuple[int, int] | None:
    found = re.search(rf"\b{re.escape(word)}\b", sql, re.IGNORECASE)
    if found is None:
        return None
    before = sql[: found.start()]
    return before.count("\n") + 1, found.start() - before.rfind("\n")


def _error(what: str, place: tuple[int, int] | None, hint: str = "") -> QueryError:
    where = {} if place is None else {"line": str(place[0]), "column": str(place[1])}
    return QueryError(what, hint=hint, where=where)


def _readable(description: str) -> str:
    description = re.sub(r"<Token token_type: \S+, text: (.*?), line: .*?>", r"\1", description)
    return re.sub(r"Required keyword: '(\w+)' missing for .*", r"something is missing here", description)


def _hint(sql: str) -> str:
    return (
        "there are no templates: write the names of tables as they are" if "{{" in sql or "{%" in sql else ""
    )
