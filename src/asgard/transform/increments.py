"""Which tables a SELECT may read by what came to them: those of which new rows only ever make new rows.

For such a table f(old rows and new rows) is f(old rows) and f(new rows): filters, projections, joins with
what stays as it is, and UNION ALL. An aggregate, a window, DISTINCT, LIMIT or the other side of an outer join
look at rows together, so that a new row changes what an old one has made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from sqlglot import exp

from asgard.core.errors import ConfigError
from asgard.core.names import fold
from asgard.core.table import TableName
from asgard.transform.dependencies import DIALECT, parsed
from asgard.transform.differences import aggregates

CLAUSES = {
    "group": "GROUP BY",
    "having": "HAVING",
    "distinct": "DISTINCT",
    "qualify": "QUALIFY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "sample": "SAMPLE",
    "windows": "WINDOW",
    "pivots": "PIVOT",
}
Path = tuple[exp.Expr, ...]
"""From a table's place up to the whole statement."""


class _Together(Exception):
    """Rows are looked at together; says by what."""


def why_whole(sql: str, name: TableName, dialect: str = DIALECT) -> str:
    """Why a table cannot be read by what came to it; empty when it can."""
    try:
        paths = _paths(parsed(sql, dialect), name)
        if not paths:
            return "nothing is made of it"
        _refuse_joined(paths, "itself")
    except _Together as reason:
        return str(reason)
    return ""


def are_apart(sql: str, names: Iterable[TableName], dialect: str = DIALECT) -> bool:
    """Whether tables, each of which may be read by what came to it, may be read so at the same time: they
    stand in different branches of a UNION ALL, and meet in no join."""
    statement = parsed(sql, dialect)
    try:
        _refuse_joined([path for name in names for path in _paths(statement, name)], "another")
    except _Together:
        return False
    return True


def check_incremental(
    sql: str, incremental: bool | tuple[str, ...], upstream: Iterable[TableName], dialect: str = DIALECT
) -> None:
    """Sees that what a model wants to read by what came to it can be read so.

    Args:
        incremental: the tables that are to be; True for one of them at least.

    Raises:
        ConfigError: that would not make the rows that reading everything makes.
    """
    reasons = {fold(str(name)): why_whole(sql, name, dialect) for name in upstream}
    named = [] if isinstance(incremental, bool) else [fold(name) for name in incremental]
    hint = "leave incremental out: everything is read when something has changed"
    if strange := [name for name in named if name not in reasons]:
        raise ConfigError(
            f"incremental names {', '.join(strange)}, which the SELECT does not read", hint=hint
        )
    if not reasons:
        raise ConfigError("it cannot be incremental: it reads no table", hint=hint)
    refused = {name: why for name, why in reasons.items() if why and (name in named or not named)}
    if refused and (named or len(refused) == len(reasons)):
        told = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise ConfigError(f"it cannot be incremental: {told}", hint=hint)


def _paths(statement: exp.Expr, name: TableName) -> list[Path]:
    found: list[Path] = []
    for table in statement.find_all(exp.Table):
        if fold(".".join(part.name for part in table.parts)) == fold(str(name)):
            found += _upwards(table, (table,))
    return found


def _refuse_joined(paths: list[Path], other: str) -> None:
    for one, two in combinations(paths, 2):
        second = {id(node) for node in two}
        meeting = next(node for node in one if id(node) in second)
        if not isinstance(meeting, exp.Union):
            raise _Together(f"it is joined with {other}")


def _upwards(relation: exp.Expr, path: Path) -> Iterator[Path]:
    """The ways from a relation up to the whole statement; several where a CTE is read several times."""
    if relation.args.get("pivots") or relation.args.get("sample"):
        raise _Together("it is pivoted or sampled")
    place = relation.parent
    if isinstance(place, exp.From | exp.Join) and isinstance(place.parent, exp.Select):
        _check_joins(place, place.parent)
        yield from _query_upwards(place.parent, (*path, place.parent))
    else:
        raise _Together("it stands in a condition or an expression")


def _query_upwards(query: exp.Query, path: Path) -> Iterator[Path]:
    """The same from a query whose rows are new."""
    _check_clauses(query)
    place = query.parent
    if place is None:
        yield path
    elif isinstance(place, exp.Union) and not place.args.get("distinct"):
        yield from _query_upwards(place, (*path, place))
    elif isinstance(place, exp.SetOperation):
        raise _Together(f"of its rows a {place.key.upper()} keeps some")
    elif isinstance(place, exp.CTE):
        yield from _readers(place, path)
    elif isinstance(place, exp.Subquery):
        if place.is_wrapper and isinstance(place.parent, exp.SetOperation | None):
            yield from _query_upwards(place, (*path, place))
        else:
            yield from _upwards(place, (*path, place))
    else:
        raise _Together("it stands in a condition or an expression")


def _readers(cte: exp.CTE, path: Path) -> Iterator[Path]:
    with_ = cte.parent
    if not isinstance(with_, exp.With) or with_.recursive or with_.parent is None:
        raise _Together("it is read by recursion")
    for table in with_.parent.find_all(exp.Table):
        if len(table.parts) == 1 and fold(table.name) == fold(cte.alias):
            yield from _upwards(table, (*path, table))


def _check_clauses(query: exp.Expr) -> None:
    for part, word in CLAUSES.items():
        if query.args.get(part) and not (part == "distinct" and isinstance(query, exp.SetOperation)):
            raise _Together(f"{word} looks at its rows together")
    if isinstance(query, exp.Select):
        if aggregates(query.expressions):
            raise _Together("an aggregate looks at its rows together")
        for window in query.find_all(exp.Window):
            if window.find_ancestor(exp.Select) is query:
                raise _Together("a window looks at its rows together")


def _check_joins(place: exp.Expr, select: exp.Select) -> None:
    """A relation's own join must keep all of its rows or match them alone; so must those behind it."""
    joins: list[exp.Join] = select.args.get("joins") or []
    behind = joins
    if isinstance(place, exp.Join):
        if place.side in ("LEFT", "FULL") or place.kind in ("SEMI", "ANTI") or place.method:
            raise _Together(f"it is the other side of a {_join_said(place)}")
        behind = joins[next(n for n, join in enumerate(joins) if join is place) + 1 :]
    for join in behind:
        if join.side in ("RIGHT", "FULL") or join.method == "POSITIONAL":
            raise _Together(f"it is the other side of a {_join_said(join)}")


def _join_said(join: exp.Join) -> str:
    return " ".join(filter(None, (join.method, join.side, join.kind, "JOIN")))


def increment_sql(sql: str, names: Iterable[TableName], dialect: str = DIALECT) -> str:
    """The SELECT that makes what the new rows of some tables make: branches of a UNION ALL that read none of
    them have made their rows already, and make none again."""
    statement = parsed(sql, dialect)
    on_the_way = {id(node) for name in names for path in _paths(statement, name) for node in path}
    idle = [
        side
        for union in statement.find_all(exp.Union)
        if id(union) in on_the_way
        for side in (union.this, union.expression)
        if id(side) not in on_the_way
    ]
    if not idle:
        return sql
    for side in idle:
        inner = side if isinstance(side, exp.Subquery) else side.copy().subquery()
        nothing = exp.select("*").from_(inner.copy().as_("_made")).where(exp.false())
        side.replace(nothing)
    return str(statement.sql(dialect))
