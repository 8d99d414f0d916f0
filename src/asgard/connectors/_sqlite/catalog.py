"""What a SQLite database has: tables, views, queries; their columns, keys and sizes.

Reference: https://www.sqlite.org/pragma.html#pragma_table_xinfo
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.connectors._sqlite.columns import Column, identifier, look_sql, looked_types
from asgard.core.errors import QueryError
from asgard.core.stream import Stream
from asgard.transport.column_types import refuse_unknown

CHANGE_NAMES = re.compile(r"(updated|modified|changed|last_)", re.IGNORECASE)
MOST_LOOKED_COLUMNS = 250
"""A result may have 2,000 columns; looking takes seven for each."""


@dataclass(frozen=True)
class Relation:
    """A table, view or query.

    Attributes:
        sql: what stands behind FROM.
        whole: it is all of the table's rows.
        has_rowid: it is a table whose rows SQLite numbers.
        autoincrement: those numbers are never given twice.
    """

    name: str
    sql: str
    columns: tuple[Column, ...]
    whole: bool = True
    has_rowid: bool = False
    autoincrement: bool = False

    @property
    def rowid_column(self) -> str | None:
        """The column that is the rowid under another name."""
        keys = [column for column in self.columns if column.key]
        alone = len(keys) == 1 and keys[0].declared == "INTEGER"
        return keys[0].name if self.has_rowid and alone else None


def relations(connection: Any, pattern: str) -> Iterator[Relation]:
    """The tables and views whose names fit the glob, sorted by name."""
    for name, kind, without_rowid, strict in _listed(connection):
        if fnmatchcase(name, pattern) or fnmatchcase(f"main.{name}", pattern):
            yield _described(connection, name, kind, without_rowid, strict)


def named_relation(connection: Any, name: str) -> Relation:
    """One table or view; the database does not tell case in names.

    Raises:
        QueryError: there is none; the hint names near ones.
    """
    wanted = {name.casefold(), name.removeprefix("main.").casefold()}
    names = []
    for found, kind, without_rowid, strict in _listed(connection):
        if found.casefold() in wanted:
            return _described(connection, found, kind, without_rowid, strict)
        names.append(found)
    near = get_close_matches(name, names, 3, 0.5) or names[:10]
    raise QueryError(
        f"there is no table or view {name!r}",
        hint=f"there are: {', '.join(near)}" if near else "the database has no tables",
        where={"stream": name},
    )


def narrowed(relation: Relation, where: str | None, without: Collection[str]) -> Relation:
    """The relation with only the rows of a condition, and without some columns.

    Raises:
        QueryError: there is no such column.
    """
    refuse_unknown(without, [column.name for column in relation.columns], relation.name)
    kept = tuple(column for column in relation.columns if column.name not in without)
    if where is None:
        return replace(relation, columns=kept)
    # Lines of their own: the condition may end in a comment.
    return replace(
        relation, columns=kept, sql=f"(SELECT * FROM {relation.sql} WHERE (\n{where}\n))", whole=False
    )


def query_relation(connection: Any, name: str, query: str) -> Relation:
    """What a query of the user's gives."""
    sql = f"(\n{query.strip().rstrip(';')}\n)"  # lines of their own: the query may end in a comment
    described = connection.execute(f"SELECT * FROM {sql} LIMIT 0").description
    return Relation(name, sql, tuple(Column(name) for name, *_ in described))


def _listed(connection: Any) -> list[tuple[str, str, int, int]]:
    found: list[tuple[str, str, int, int]] = connection.execute(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' "
        "AND type IN ('table', 'view', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    return found


def _described(connection: Any, name: str, kind: str, without_rowid: int, strict: int) -> Relation:
    table = kind == "table"
    return Relation(
        name=name,
        sql=identifier(name),
        columns=tuple(_columns(connection, name, strict=bool(strict))),
        has_rowid=table and not without_rowid,
        autoincrement=table and _is_autoincrement(connection, name),
    )


def _columns(connection: Any, table: str, *, strict: bool) -> Iterator[Column]:
    found = connection.execute(
        'SELECT name, type, pk, "notnull" FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid', (table,)
    )
    for name, declared, key, required in found.fetchall():
        yield Column(name, (declared or "").strip().upper(), strict, key, bool(required))


def _is_autoincrement(connection: Any, table: str) -> bool:
    sql = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
    return bool(re.search(r"\bAUTOINCREMENT\b", (sql.fetchone() or ("",))[0] or "", re.IGNORECASE))


def as_stream(connection: Any, relation: Relation, schema: pa.Schema) -> Stream:
    """The relation as the rest of the house sees it."""
    return Stream(
        id=relation.name,
        name=relation.name,
        namespace="",
        schema=schema,
        primary_key=_sure_key(connection, relation),
        cursor_candidates=_cursor_candidates(relation),
        rows=_rows_estimate(connection, relation),
    )


def _sure_key(connection: Any, relation: Relation) -> tuple[str, ...]:
    """The primary key, if it holds no nulls: SQLite allows them in it, for old databases' sake."""
    keys = sorted((column for column in relation.columns if column.key), key=lambda column: column.key)
    doubtful = [k for k in keys if relation.has_rowid and not k.required and k.name != relation.rowid_column]
    for column in doubtful:
        if connection.execute(f"SELECT 1 FROM {relation.sql} WHERE {column.sql} IS NULL LIMIT 1").fetchone():
            return ()
    return tuple(column.name for column in keys)


def _cursor_candidates(relation: Relation) -> tuple[str, ...]:
    changed = [c.name for c in relation.columns if CHANGE_NAMES.search(c.name) and c.promised != "binary"]
    rowid = relation.rowid_column
    return (*changed, *([rowid] if rowid and rowid not in changed else []))


def _rows_estimate(connection: Any, relation: Relation) -> int | None:
    if not (relation.has_rowid and relation.whole):
        return None
    lowest, highest = connection.execute(
        f"SELECT (SELECT min(rowid) FROM {relation.sql}), (SELECT max(rowid) FROM {relation.sql})"
    ).fetchone()
    return 0 if highest is None else int(highest - lowest + 1)


def looked_schema(connection: Any, relation: Relation, pinned: Mapping[str, str]) -> pa.Schema:
    """The columns with their types; looks through those whose declaration promises nothing.

    Raises:
        DataError: columns hold values of several types; all of them are named.
    """
    unsure = [column for column in relation.columns if column.name not in pinned and not column.promised]
    looked: dict[str, str | None] = {}
    for start in range(0, len(unsure), MOST_LOOKED_COLUMNS):
        part = unsure[start : start + MOST_LOOKED_COLUMNS]
        looked |= looked_types(part, connection.execute(look_sql(part, relation.sql)).fetchone())
    return pa.schema(
        column.field(pinned.get(column.name) or column.promised or looked.get(column.name))
        for column in relation.columns
    )
