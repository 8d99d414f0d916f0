"""A model's SELECT in DuckDB's SQL, as the SELECT of Spark that gives the same table, or a clear refusal.

This file knows statements: which tables and columns a query sees, what its columns are called, how it is
grouped, ordered and put together with others. Expressions are `transform.portable`'s, aggregates and windows
`transform.aggregates`'. Nothing is passed on as it was written: every name and every value is resolved, typed
and written anew, so what is not known to be equal on both engines cannot slip through (Promise 9).

Where the rows of a table decide, the writer must: ties in an ORDER BY under a LIMIT, or in a window's, are
taken in any order by each engine.

Reference: https://duckdb.org/docs/stable/sql/query_syntax/select,
https://spark.apache.org/docs/latest/sql-ref-syntax-qry-select.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp

from asgard.core.errors import QueryError
from asgard.core.names import fold
from asgard.transform.aggregates import Queries
from asgard.transform.dependencies import parsed, refuse_all_but_a_select, tables_in
from asgard.transform.kinds import Kind, of_arrow
from asgard.transform.typed import Refusal, Typed, only, quoted, refused

Columns = list[tuple[str, Kind]]
SIDES = {"": "INNER", "INNER": "INNER", "LEFT": "LEFT", "RIGHT": "RIGHT", "FULL": "FULL"}


def to_spark(sql: str, tables: Mapping[Any, pa.Schema], columns: pa.Schema | None = None) -> str:
    """The query of Spark that gives the same rows, in columns of the same names and types.

    Each table is one quoted name in it: `bronze.shop.orders`.

    Args:
        sql: one SELECT of DuckDB's SQL.
        tables: every table that it reads, by its name (a `TableName` or text), and its columns.
        columns: what DuckDB says that its result has, if it was asked: the last word about names and types.

    Raises:
        QueryError: it is no SELECT, or something in it is not known to be equal on both; names it, with line
            and column where they are known, and with a way around it.
    """
    statement = parsed(sql)
    refuse_all_but_a_select(statement, sql)
    known = {fold(str(name)): (str(name), schema) for name, schema in tables.items()}
    try:
        written, found = _query(statement, _Scope(known))
        for (name, kind), column in zip(found, columns or (), strict=False):
            if kind.name == "null" or (name, kind.stored) != (column.name, of_arrow(column.type)):
                what = f"on DuckDB it is {column.name}, {column.type}, and {name}, {kind} was expected"
                raise refused(statement, what, "CAST the columns of the result to their types")
    except Refusal as refusal:
        raise QueryError(
            f"engine: spark refuses this: {refusal.what}",
            hint=refusal.hint or "write it another way, or build the model with engine: duckdb",
            where=_place(refusal.node),
        ) from None
    return written


def in_spark(sql: str) -> str:
    """A query in Spark's own SQL, with each table as the one quoted name that an engine attaches it under.

    Raises:
        QueryError: it is not one SELECT over tables.
    """
    statement = parsed(sql, "spark")
    refuse_all_but_a_select(statement, sql)
    for table in list(tables_in(statement)):
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("this", exp.to_identifier(".".join(part.name for part in table.parts), quoted=True))
        table.set("db", None)
        table.set("catalog", None)
    for column in statement.find_all(exp.Column):  # they are found by the table's last name now
        column.set("db", None)
        column.set("catalog", None)
    return statement.sql("spark")


@dataclass
class _Scope:
    """What the names of one query mean; it is what `typed.Writing` asks.

    Attributes:
        tables: the tables that there are.
        ctes: the queries named before.
        outer: the query around this one.
        sources: what stands after FROM: its alias and its columns.
        aliases: columns of this query so far, by their names: an expression may use them.
    """

    tables: Mapping[str, tuple[str, pa.Schema]]
    ctes: dict[str, tuple[str, Columns]] = field(default_factory=dict)
    outer: _Scope | None = None
    sources: dict[str, tuple[str, Columns]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, Typed] = field(default_factory=dict)

    def inside(self) -> _Scope:
        """The scope of a query inside of this one, which sees its columns."""
        return _Scope(self.tables, dict(self.ctes), self)

    def beside(self) -> _Scope:
        """The scope of a query in its FROM, which sees none of them."""
        return _Scope(self.tables, dict(self.ctes))

    def column(self, node: exp.Column) -> Typed:
        """The column that a name means, here or around here."""
        if isinstance(node.this, exp.Star):
            raise refused(node)
        scope: _Scope | None = self
        while scope is not None:
            found = scope._own(node)
            if found is not None:
                return found
            scope = scope.outer
        raise Refusal(f"there is no column {node.sql('duckdb')}", node)

    def _own(self, node: exp.Column) -> Typed | None:
        name = fold(node.name)
        qualifier = ".".join(fold(part.name) for part in node.parts[:-1])
        if qualifier:
            alias = self.paths.get(qualifier)
            sources = [self.sources[alias]] if alias is not None else []
        elif name in self.merged:
            sources = [self.sources[self.merged[name]]]
        else:
            sources = list(self.sources.values())
        found = [
            Typed(f"{quoted(alias)}.{quoted(column)}", kind)
            for alias, columns in sources
            for column, kind in columns
            if fold(column) == name
        ]
        if len(found) > 1:
            raise Refusal(f"{node.sql('duckdb')} could be a column of several tables", node, "name its table")
        if not found and not qualifier:
            return self.aliases.get(name)
        return found[0] if found else None

    def subquery(self, node: exp.Expr) -> tuple[str, Columns]:
        """A query inside of an expression."""
        query = node.this if isinstance(node, exp.Subquery) else node
        return _query(query, self.inside())


def _query(node: exp.Expr, scope: _Scope) -> tuple[str, Columns]:
    """A SELECT or a union of some, with what is named before it."""
    if isinstance(node, exp.Subquery):
        only(node, "this")
        return _query(node.this, scope)
    before = _named_queries(node, scope)
    if isinstance(node, exp.Select):
        sql, columns = _select(node, scope)
    elif isinstance(node, exp.SetOperation):
        sql, columns = _set_operation(node, scope)
    else:
        raise refused(node)
    return f"{before}{sql}", columns


def _named_queries(node: exp.Expr, scope: _Scope) -> str:
    named = node.args.get("with_")
    if named is None:
        return ""
    only(named, "expressions")
    written = []
    for cte in named.expressions:
        only(cte, "this", "alias")
        only(cte.args["alias"], "this")
        sql, columns = _query(cte.this, scope.beside())
        name = f"{cte.alias}@{len(scope.ctes)}"  # its own: Spark must not take a table of that name for it
        scope.ctes[fold(cte.alias)] = (name, columns)
        written.append(f"{quoted(name)} AS ({sql})")
    return f"WITH {', '.join(written)} "


def _set_operation(node: exp.SetOperation, scope: _Scope) -> tuple[str, Columns]:
    only(node, "this", "expression", "distinct", "order", "limit", "offset", "with_")
    sides = [_query(side, scope.beside()) for side in (node.this, node.expression)]
    (one, columns), (other, others) = sides
    if [kind for _, kind in columns] != [kind for _, kind in others]:
        shown = [", ".join(str(kind) for _, kind in side) for side in (columns, others)]
        raise refused(node, f"the two sides have other types: {shown[0]} and {shown[1]}", "CAST them to one")
    distinct = bool(node.args.get("distinct"))
    if distinct or not isinstance(node, exp.Union):
        _refuse_floats(node, columns)
    word = type(node).__name__.upper() + ("" if distinct else " ALL")
    sql = f"({one}) {word} ({other})"
    scope.aliases = {fold(name): Typed(quoted(name), kind) for name, kind in columns}
    return _ended(node, sql, scope, columns), columns


def _select(node: exp.Select, scope: _Scope) -> tuple[str, Columns]:
    handled = ("expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct")
    only(node, *handled, "order", "limit", "offset", "with_")
    written_from = _from(node, scope)
    queries = Queries(scope)
    items = _items(node, scope)
    columns = [(name, typed.kind) for name, typed in items]
    _refuse_twins(node, columns)
    shown = [f"{typed.sql} AS {quoted(name)}" for name, typed in items]
    distinct, qualify = node.args.get("distinct"), node.args.get("qualify")
    if qualify is not None:
        if distinct is not None:
            raise refused(node, "QUALIFY beside DISTINCT is not portable", "put one of them into a CTE")
        shown.append(f"{queries.condition(qualify.this)} AS `_asgard_qualify`")
    if distinct is not None:
        only(distinct)
        _refuse_floats(node, columns)
    parts = ["SELECT DISTINCT" if distinct is not None else "SELECT", ", ".join(shown)]
    if written_from:
        parts.append(f"FROM {written_from}")
    if (where := node.args.get("where")) is not None:
        parts.append(f"WHERE {queries.condition(where.this)}")
    parts += _grouped(node, scope, items)
    if (having := node.args.get("having")) is not None:
        parts.append(f"HAVING {queries.condition(having.this)}")
    sql = " ".join(parts)
    if qualify is not None:  # which Spark does not have
        names = ", ".join(quoted(name) for name, _ in columns)
        sql = f"SELECT {names} FROM ({sql}) WHERE `_asgard_qualify`"
    return _ended(node, sql, scope, columns), columns


# ---- FROM


def _from(node: exp.Select, scope: _Scope) -> str:
    start = node.args.get("from_")
    if start is None:
        return ""
    only(start, "this")
    written = _source(start.this, scope)
    for join in node.args.get("joins") or ():
        written += _join(join, scope)
    return written


def _source(node: exp.Expr, scope: _Scope) -> str:
    """A table, a named query or a query in parentheses, under its alias."""
    if isinstance(node, exp.Subquery):
        only(node, "this", "alias")
        sql, columns = _query(node.this, scope.beside())
        return f"({sql}) AS {_seen(node, node.alias or '_asgard_subquery', (), columns, scope)}"
    if not isinstance(node, exp.Table):
        raise refused(node)
    only(node, "this", "db", "catalog", "alias")
    parts = tuple(part.name for part in node.parts)
    if len(parts) == 1 and fold(parts[0]) in scope.ctes:
        name, columns = scope.ctes[fold(parts[0])]
    else:
        found = scope.tables.get(fold(".".join(parts)))
        if found is None:
            raise Refusal(f"there is no table {'.'.join(parts)}", node, "asgard tables lists what there is")
        name, columns = found[0], [(column.name, of_arrow(column.type)) for column in found[1]]
    paths = () if node.alias else tuple(".".join(parts[at:]) for at in range(len(parts) - 1))
    return f"{quoted(name)} AS {_seen(node, node.alias or parts[-1], paths, columns, scope)}"


def _seen(node: exp.Expr, alias: str, paths: tuple[str, ...], columns: Columns, scope: _Scope) -> str:
    """Makes a source visible under its alias and its longer names."""
    if (given := node.args.get("alias")) is not None:
        only(given, "this")
    key = fold(alias)
    if key in scope.sources:
        raise refused(node, f"two tables are called {alias} here", "give them names with AS")
    scope.sources[key] = (alias, columns)
    for path in (alias, *paths):
        scope.paths[fold(path)] = key
    return quoted(alias)


def _join(node: exp.Join, scope: _Scope) -> str:
    only(node, "this", "side", "kind", "on", "using")
    side, kind = (str(node.args.get(name) or "").upper() for name in ("side", "kind"))
    before = list(scope.sources)
    known = dict(scope.sources)
    source = _source(node.this, scope)
    if kind == "CROSS" or (not side and not kind and not node.args.get("on") and not node.args.get("using")):
        return f" CROSS JOIN {source}"
    if kind not in ("", "INNER", "OUTER", "SEMI", "ANTI") or side not in SIDES:
        raise refused(node)
    word = f"LEFT {kind}" if kind in ("SEMI", "ANTI") else SIDES[side]
    if node.args.get("using"):
        condition = _using(node, scope, before, word)
    elif node.args.get("on") is not None:
        condition = Queries(scope).condition(node.args["on"])
    else:
        raise refused(node)
    if kind in ("SEMI", "ANTI"):
        gone = next(name for name in scope.sources if name not in known)
        del scope.sources[gone]
        scope.paths = {path: name for path, name in scope.paths.items() if name != gone}
    return f" {word} JOIN {source} ON {condition}"


def _using(node: exp.Join, scope: _Scope, before: list[str], word: str) -> str:
    """The condition of USING; the column is the left table's, which has no nulls but those of the row."""
    if word in ("RIGHT", "FULL") or len(before) != 1:
        raise refused(node, "USING is not portable here", "write ON, and COALESCE the columns")
    right = next(name for name in scope.sources if name not in before)
    conditions = []
    for name in node.args["using"]:
        sides = [exp.column(name.name, table=scope.sources[side][0]) for side in (before[0], right)]
        conditions.append(Queries(scope).write(exp.EQ(this=sides[0], expression=sides[1])).sql)
        if not word.startswith("LEFT "):
            scope.merged[fold(name.name)] = before[0]
    return " AND ".join(conditions)


# ---- columns, groups, order


def _items(node: exp.Select, scope: _Scope) -> list[tuple[str, Typed]]:
    items: list[tuple[str, Typed]] = []
    queries = Queries(scope)
    for item in node.expressions:
        if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
            items += _star(item, scope)
            continue
        if isinstance(item, exp.Alias):
            only(item, "this", "alias")
            name, typed = item.alias, queries.write(item.this)
        elif isinstance(item, exp.Column):
            typed = scope.column(item)
            name = typed.sql.rpartition(".")[2].strip("`").replace("``", "`")
        elif scope.outer is not None:  # inside of an expression nobody calls it
            name, typed = f"column{len(items)}", queries.write(item)
        else:
            raise refused(item, f"the column {item.sql('duckdb')[:40]} has no name", "give it one with AS")
        items.append((name, typed))
        scope.aliases.setdefault(fold(name), typed)
    return items


def _star(item: exp.Expr, scope: _Scope) -> list[tuple[str, Typed]]:
    star = item.this if isinstance(item, exp.Column) else item
    only(star, "except_", "replace")
    aliases = list(scope.sources)
    if isinstance(item, exp.Column):
        path = ".".join(fold(part.name) for part in item.parts[:-1])
        if path not in scope.paths:
            raise Refusal(f"there is no table {path} here", item)
        aliases = [scope.paths[path]]
    elif scope.merged:
        raise refused(item, "* over a join with USING is not portable", "name the columns, or write ON")
    left_out = {fold(part.name) for part in star.args.get("except_") or ()}
    replaced = {fold(part.alias): part.this for part in star.args.get("replace") or ()}
    found = []
    for alias, columns in (scope.sources[name] for name in aliases):
        for name, kind in columns:
            typed = Typed(f"{quoted(alias)}.{quoted(name)}", kind)
            if fold(name) in replaced:
                typed = Queries(scope).write(replaced[fold(name)])
            if fold(name) not in left_out:
                found.append((name, typed))
    return found


def _grouped(node: exp.Select, scope: _Scope, items: list[tuple[str, Typed]]) -> list[str]:
    group = node.args.get("group")
    if group is None:
        return []
    only(group, "expressions", "all")
    if group.args.get("all"):
        plain = [part for part in node.expressions if not _aggregates(part)]
        if any(isinstance(part, exp.Star) for part in node.find_all(exp.Star) if part.parent is node):
            raise refused(group, "GROUP BY ALL beside * is not portable", "name the columns")
        keys = [items[node.expressions.index(part)][1] for part in plain]
    else:
        keys = [_by_position(part, items) or Queries(scope).write(part) for part in group.expressions]
    for key in keys:
        if key.kind.is_float or key.kind.name == "nested":
            raise refused(group, f"a group of {key.kind} is not portable", "CAST it to DECIMAL or text")
    written = [key.sql for key in keys if key.value is None]
    return [f"GROUP BY {', '.join(written)}"] if written else []


def _aggregates(node: exp.Expr) -> bool:
    return any(
        not isinstance(found.parent, exp.Window)
        for found in node.find_all(exp.AggFunc)
        if not isinstance(found, exp.Lag | exp.Lead | exp.FirstValue | exp.LastValue)
    )


def _by_position(node: exp.Expr, items: list[tuple[str, Typed]]) -> Typed | None:
    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
        if not 0 < int(node.name) <= len(items):
            raise refused(node, f"there is no column {node.name}")
        return items[int(node.name) - 1][1]
    return None


def _ended(node: exp.Expr, sql: str, scope: _Scope, columns: Columns) -> str:
    """The query with its ORDER BY, LIMIT and OFFSET."""
    order, limit, offset = (node.args.get(name) for name in ("order", "limit", "offset"))
    if order is not None:
        keys = ", ".join(_order_key(node, key, scope, columns) for key in order.expressions)
        sql = f"{sql} ORDER BY {keys}"
    elif limit is not None or offset is not None:
        raise refused(node, "which rows a LIMIT takes is not portable without ORDER BY", "add ORDER BY")
    for part, word in ((limit, "LIMIT"), (offset, "OFFSET")):
        if part is not None:
            only(part, "expression")
            sql = f"{sql} {word} {Queries(scope).whole(part.expression)}"
    return sql


def _order_key(node: exp.Expr, key: exp.Expr, scope: _Scope, columns: Columns) -> str:
    only(key, "this", "desc", "nulls_first")
    position = _by_position(key.this, [(name, Typed(quoted(name), kind)) for name, kind in columns])
    named = {fold(name): Typed(quoted(name), kind) for name, kind in columns}
    if position is not None:
        typed = position
    elif isinstance(key.this, exp.Column) and not key.this.table and fold(key.this.name) in named:
        typed = named[fold(key.this.name)]
    elif isinstance(node, exp.Select) and not node.args.get("distinct") and not node.args.get("qualify"):
        typed = Queries(scope).write(key.this)
    else:
        raise refused(key, "this ORDER BY must name columns of the result", "give the column a name with AS")
    if typed.kind.name == "nested":
        raise refused(key)
    return f"{typed.sql} {direction(key)}"


def direction(key: exp.Expr) -> str:
    """How a key is ordered: NULL is last unless it is said to be first."""
    nulls = "FIRST" if key.args.get("nulls_first") else "LAST"
    return f"{'DESC' if key.args.get('desc') else 'ASC'} NULLS {nulls}"


# ---- refusals


def _refuse_floats(node: exp.Expr, columns: Columns) -> None:
    for name, kind in columns:
        if kind.is_float or kind.name == "nested":
            raise refused(
                node, f"rows cannot be told apart by {name}, which is {kind}", "CAST it, or leave it out"
            )


def _refuse_twins(node: exp.Expr, columns: Columns) -> None:
    names = [fold(name) for name, _ in columns]
    twin = next((name for name in names if names.count(name) > 1), None)
    if twin is not None:
        raise refused(node, f"two columns are called {twin}", "give them names with AS")


def _place(node: exp.Expr) -> dict[str, str]:
    """Line and column of the first word of a node, as far as the parser remembers them."""
    for found in node.walk():
        if "line" in found.meta:
            end, start = found.meta.get("end", 0), found.meta.get("start", 0)
            return {"line": str(found.meta["line"]), "column": str(found.meta["col"] - (end - start))}
    return {}
