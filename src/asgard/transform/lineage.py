"""Which columns each column of a SELECT is made of, and which columns choose its rows.

A value flows directly (as it is, transformed, aggregated) or a column has a say indirectly: in a condition, a
join, a group, an order, a window. Through CTEs, subqueries, unions and stars, as far as the columns of the
tables are known. The words are OpenLineage's.

Reference: https://openlineage.io/docs/spec/facets/dataset-facets/column_lineage_facet
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from asgard.core.errors import QueryError
from asgard.core.names import RESERVED_PREFIX, fold
from asgard.core.table import TableName
from asgard.transform.dependencies import DIALECT, parsed
from asgard.transform.differences import UNKNOWN_AGGREGATES


class Use(StrEnum):
    """How a column is used: the first three directly, the others indirectly."""

    IDENTITY = "IDENTITY"
    TRANSFORMATION = "TRANSFORMATION"
    AGGREGATION = "AGGREGATION"
    JOIN = "JOIN"
    GROUP_BY = "GROUP_BY"
    FILTER = "FILTER"
    SORT = "SORT"
    WINDOW = "WINDOW"
    CONDITIONAL = "CONDITIONAL"

    @property
    def is_direct(self) -> bool:
        """Whether the value itself flows."""
        return self in DIRECT


DIRECT = (Use.IDENTITY, Use.TRANSFORMATION, Use.AGGREGATION)
"""From weak to strong: what is aggregated once is no identity behind it."""


@dataclass(frozen=True, order=True)
class Origin:
    """A column of a table that is read. `*` stands for columns that are not known."""

    table: str
    column: str


Inputs = dict[Origin, set[Use]]


@dataclass(frozen=True)
class Lineage:
    """What the columns of a SELECT are made of.

    Attributes:
        columns: output column to the columns that it is made of, and how.
        rows: columns that choose which rows there are, and how.
    """

    columns: Mapping[str, Mapping[Origin, frozenset[Use]]]
    rows: Mapping[Origin, frozenset[Use]]


def lineage_of(sql: str, columns: Mapping[TableName, Iterable[str]], dialect: str = DIALECT) -> Lineage:
    """The lineage of one SELECT.

    Args:
        columns: of the tables that it reads, as far as they are known: stars need them.

    Raises:
        QueryError: the SQL cannot be read.
    """
    names = {
        fold(str(table)): (str(table), {fold(one): one for one in known}) for table, known in columns.items()
    }
    statement = _flattened(parsed(sql, dialect), names)
    schema: dict[str, object] = {
        table: dict.fromkeys(known, "unknown") for table, (_, known) in names.items()
    }
    try:
        qualified = qualify(
            statement,
            schema=schema,
            dialect=dialect,
            validate_qualify_columns=False,
            quote_identifiers=False,
            identify=False,
        )
        scope = build_scope(qualified)
    except (SqlglotError, RecursionError) as error:
        raise QueryError(
            f"the columns of this SELECT cannot be followed: {str(error).splitlines()[0]}"
        ) from error
    if scope is None:
        return Lineage({}, {})
    made = _Walk().of(scope)

    def named(inputs: Inputs) -> dict[Origin, frozenset[Use]]:
        found = {}
        for origin, uses in sorted(inputs.items()):
            table, known = names.get(origin.table, (origin.table, {}))
            found[Origin(table, known.get(fold(origin.column), origin.column))] = frozenset(uses)
        return found

    outputs = {
        name: named(inputs) for name, inputs in made.outputs.items() if not name.startswith(RESERVED_PREFIX)
    }
    return Lineage(outputs, named(made.rows))


def _flattened(statement: exp.Expr, names: Mapping[str, object]) -> exp.Expr:
    """With tables of one name instead of several parts, so that layers of two and of three are alike."""
    for table in list(statement.find_all(exp.Table)):
        if len(table.parts) < 2 or isinstance(table.this, exp.Func):
            continue
        flat = fold(".".join(part.name for part in table.parts))
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        table.set("this", exp.to_identifier(flat, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
    for column in statement.find_all(exp.Column):
        column.set("db", None)
        column.set("catalog", None)
    return statement


@dataclass
class _Made:
    """What a query makes: its columns in their order, and what chooses its rows."""

    outputs: dict[str, Inputs] = field(default_factory=dict)
    rows: Inputs = field(default_factory=dict)
    open_table: str = ""
    """A table whose columns are not known: whatever is asked of it is there."""

    def column(self, name: str) -> Inputs:
        """One column; whatever it is asked for where nothing is known."""
        if name in self.outputs:
            return self.outputs[name]
        star = self.outputs.get("*", {})
        if self.open_table:
            return {Origin(self.open_table, name): {Use.IDENTITY}}
        return {
            Origin(origin.table, name): set(uses) for origin, uses in star.items() if origin.column == "*"
        }


class _Walk:
    """Follows columns through scopes, each of which is looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, _Made] = {}

    def of(self, scope: Scope) -> _Made:
        """What a scope makes."""
        key = id(scope.expression)
        if key not in self._known:
            self._known[key] = _Made()  # a recursive CTE finds itself, with nothing more to tell
            self._known[key] = self._made(scope)
        return self._known[key]

    def _made(self, scope: Scope) -> _Made:
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            return self._united(scope, query)
        if isinstance(query, exp.Select):
            return _Selected(self, scope, query).made()
        inner = query.this if isinstance(query, exp.Subquery | exp.Paren) else None
        below = next((child for child in scope.traverse() if child.expression is inner), None)
        return self.of(below) if below is not None and below is not scope else _Made()

    def _united(self, scope: Scope, query: exp.SetOperation) -> _Made:
        sides = [self.of(side) for side in scope.set_operation_scopes]
        if len(sides) != 2:
            return _Made()
        left, right = sides
        made = _Made(rows=_merged(left.rows, right.rows))
        if isinstance(query, exp.Except | exp.Intersect):
            made.outputs = dict(left.outputs)
            for inputs in right.outputs.values():
                made.rows = _merged(made.rows, _used(inputs, Use.FILTER))
            return made
        by_name = bool(query.args.get("by_name"))
        others = list(right.outputs.values())
        for number, (name, inputs) in enumerate(left.outputs.items()):
            other = right.outputs.get(name) if by_name else (others[number] if number < len(others) else None)
            made.outputs[name] = _merged(inputs, other or {})
        if by_name:
            made.outputs |= {n: inputs for n, inputs in right.outputs.items() if n not in made.outputs}
        return made


class _Selected:
    """One SELECT over its sources."""

    def __init__(self, walk: _Walk, scope: Scope, select: exp.Select) -> None:
        self._walk = walk
        self._scope = scope
        self._select = select
        self._sources: dict[str, _Made] = {}
        self._own: dict[str, Inputs] = {}

    def made(self) -> _Made:
        """Its columns, and what chooses its rows."""
        for name, found in self._scope.sources.items():
            self._sources[name] = self._source(found)
        for column in self._select.expressions:
            is_star = isinstance(column, exp.Star)  # of tables whose columns are not known
            inputs = self._everything(self._sources.values()) if is_star else self._inputs(column)
            self._own[column.alias_or_name] = inputs
        rows: Inputs = {}
        for source in self._sources.values():
            rows = _merged(rows, source.rows)
        for use, expression in self._clauses():
            rows = _merged(rows, _used(self._inputs(expression), use))
        return _Made(self._own, rows)

    def _source(self, source: exp.Expr | Scope) -> _Made:
        if isinstance(source, exp.Table):
            # `qualify` puts the columns of known tables in; what others are asked for is taken as it is.
            return _Made({"*": {Origin(source.name, "*"): {Use.IDENTITY}}}, open_table=source.name)
        if isinstance(source, Scope) and isinstance(source.expression, exp.UDTF):
            inputs: Inputs = {}
            for child in source.expression.iter_expressions():
                if not isinstance(child, exp.TableAlias):
                    inputs = _merged(inputs, _used(self._inputs(child), Use.TRANSFORMATION))
            return _Made(_Any(inputs))
        return self._walk.of(source) if isinstance(source, Scope) else _Made()

    def _clauses(self) -> Iterator[tuple[Use, exp.Expr]]:
        args = self._select.args
        for part in ("where", "having", "qualify"):
            if args.get(part):
                yield Use.FILTER, args[part].this
        for join in args.get("joins") or []:
            for part in ("on", "match_condition"):
                if join.args.get(part):
                    yield Use.JOIN, join.args[part]
            for column in join.args.get("using") or []:
                yield Use.JOIN, column
        if args.get("group") and args["group"].args.get("all"):
            for column in self._select.expressions:
                if not any(_aggregates(node) for node in column.walk()):
                    yield Use.GROUP_BY, column
        for part, use in (("group", Use.GROUP_BY), ("order", Use.SORT)):
            for expression in args[part].expressions if args.get(part) else []:
                yield use, expression
        if isinstance(args.get("distinct"), exp.Distinct) and args["distinct"].args.get("on"):
            yield Use.GROUP_BY, args["distinct"].args["on"]

    def _inputs(self, node: exp.Expr, use: Use = Use.IDENTITY) -> Inputs:
        """What an expression is made of, when the whole of it is used in that way."""
        if isinstance(node, exp.Column):
            return _used(self._resolved(node), use)
        if isinstance(node, exp.Query):
            return self._query(node, use)
        if isinstance(node, exp.Alias | exp.Paren | exp.Ordered):
            return self._inputs(node.this, use)
        found: Inputs = {}
        for child, how in _parts(node):
            found = _merged(found, self._inputs(child, _stronger(use, how)))
        return found

    def _resolved(self, column: exp.Column) -> Inputs:
        if isinstance(column.this, exp.Star):
            return self._everything([one for name, one in self._sources.items() if name == column.table])
        if column.table in self._sources:
            return self._sources[column.table].column(column.name)
        if not column.table:
            if column.name in self._own:
                return self._own[column.name]
            if len(self._sources) == 1:
                return next(iter(self._sources.values())).column(column.name)
        outer = self._scope.parent
        if outer is not None and column.table in outer.sources:
            source = outer.sources[column.table]
            if isinstance(source, exp.Table):
                return {Origin(source.name, column.name): {Use.IDENTITY}}
            return self._walk.of(source).column(column.name)
        return {}

    def _everything(self, sources: Iterable[_Made]) -> Inputs:
        found: Inputs = {}
        for source in sources:
            for inputs in source.outputs.values():
                found = _merged(found, inputs)
        return found

    def _query(self, node: exp.Query, use: Use) -> Inputs:
        """A query in the place of a value: its columns flow, and what chooses its rows has a say."""
        inner: exp.Expr = node.unnest() if isinstance(node, exp.Subquery) else node
        scope = next((s for s in self._scope.subquery_scopes if s.expression is inner), None)
        if scope is None:
            return {}
        made = self._walk.of(scope)
        found = _used(made.rows, Use.CONDITIONAL if use.is_direct else use)
        for inputs in made.outputs.values():
            found = _merged(found, _used(inputs, _stronger(use, Use.TRANSFORMATION)))
        return found


class _Any(dict[str, Inputs]):
    """Columns of a function that makes rows: whichever is asked for is made of its arguments."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self._inputs = inputs

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Inputs:
        return self._inputs


def _parts(node: exp.Expr) -> Iterator[tuple[exp.Expr, Use]]:
    """The expressions of which one is made, and how it uses each."""
    if isinstance(node, exp.Window):
        yield node.this, Use.TRANSFORMATION
        for part in ("partition_by", "order"):
            found = node.args.get(part)
            for one in found if isinstance(found, list) else [found] if found else []:
                for expression in one.expressions if isinstance(one, exp.Order) else [one]:
                    yield expression, Use.WINDOW
    elif isinstance(node, exp.Filter):
        yield node.this, Use.AGGREGATION
        yield node.expression.this, Use.FILTER
    elif isinstance(node, exp.If):
        yield node.this, Use.CONDITIONAL
        for part in ("true", "false"):
            if node.args.get(part):
                yield node.args[part], Use.TRANSFORMATION
    elif isinstance(node, exp.Case):
        if node.this:
            yield node.this, Use.CONDITIONAL
        for branch in node.args["ifs"]:
            yield branch, Use.TRANSFORMATION
        if node.args.get("default"):
            yield node.args["default"], Use.TRANSFORMATION
    else:
        use = Use.AGGREGATION if _aggregates(node) else Use.TRANSFORMATION
        for child in node.iter_expressions():
            if not isinstance(child, exp.DataType | exp.Identifier):
                yield child, use


def _aggregates(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in UNKNOWN_AGGREGATES
    return isinstance(node, exp.AggFunc)


def _stronger(outer: Use, inner: Use) -> Use:
    """The use of what is used so inside of something that is used so."""
    if not outer.is_direct:
        return outer
    if not inner.is_direct:
        return inner
    return DIRECT[max(DIRECT.index(outer), DIRECT.index(inner))]


def _used(inputs: Inputs, use: Use) -> Inputs:
    return {origin: {_stronger(use, one) for one in uses} for origin, uses in inputs.items()}


def _merged(one: Inputs, other: Inputs) -> Inputs:
    found = {origin: set(uses) for origin, uses in one.items()}
    for origin, uses in other.items():
        found.setdefault(origin, set()).update(uses)
    return found
