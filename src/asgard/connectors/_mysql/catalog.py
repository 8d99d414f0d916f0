"""What there is to read in a MySQL database: tables and views, their columns, keys and sizes.

A fixed number of queries, however many tables there are. Knows information_schema; leaves types to
`_mysql.types`.

Reference: https://dev.mysql.com/doc/refman/8.0/en/information-schema.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.connectors._mysql.types import INTEGERS, TIMES, Attribute, column_of
from asgard.core.errors import QueryError
from asgard.core.stream import Stream
from asgard.transport.mysql import Connection, quote

CHANGE_NAMES = re.compile(r"(updated|modified|changed|last_)", re.IGNORECASE)
SNAPSHOT_ENGINES = frozenset({"INNODB", "ROCKSDB", "TOKUDB"})

_TABLES = """
SELECT table_name, table_type, engine, table_rows, data_length FROM information_schema.tables
WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED'){named}
ORDER BY table_name
"""
_COLUMNS = """
SELECT table_name, column_name, data_type, column_type, coalesce(character_set_name, ''), extra
FROM information_schema.columns WHERE table_schema = %s{named} ORDER BY table_name, ordinal_position
"""
_KEYS = """
SELECT table_name, index_name, non_unique, column_name, nullable, sub_part FROM information_schema.statistics
WHERE table_schema = %s{named} ORDER BY table_name, index_name = 'PRIMARY' DESC, index_name, seq_in_index
"""
_JSON_CHECKS = """
SELECT table_name, check_clause FROM information_schema.check_constraints
WHERE constraint_schema = %s AND check_clause LIKE 'json_valid(%%'{named}
"""


@dataclass(frozen=True)
class Relation:
    """A table or view.

    Attributes:
        rows, size_bytes: estimates; None when unknown.
        keys: columns that are unique and never null, in the index's order; empty when there are none.
        leading: columns that an index begins with.
        serial: the column that counts by itself; empty when none does.
        keeps_snapshots: its engine shows a transaction one instant.
    """

    name: str
    is_view: bool
    rows: int | None
    size_bytes: int | None
    columns: tuple[Attribute, ...]
    keys: tuple[str, ...]
    leading: frozenset[str]
    serial: str
    keeps_snapshots: bool

    def cursor_candidates(self) -> tuple[str, ...]:
        """Columns that could tell what changed, best first: times of change, then counters, then times."""

        def rank(column: Attribute) -> int:
            is_time = column.base in TIMES
            if is_time and CHANGE_NAMES.search(column.name):
                return 0 if column.name in self.leading else 1
            if column.name == self.serial:
                return 2
            return (3 if column.name in self.leading else 4) if is_time else 9

        return tuple(column.name for column in sorted(self.columns, key=rank) if rank(column) < 9)

    def split_column(self) -> Attribute | None:
        """The column whose ranges are read by different workers: an integer that the key begins with."""
        first = next((column for column in self.columns if self.keys[:1] == (column.name,)), None)
        return first if first is not None and first.base in INTEGERS else None

    def stream(self, database: str, schema: pa.Schema | None = None) -> Stream:
        """The relation as a stream, every column as it is best carried or as the schema has it."""
        if schema is None:
            schema = pa.schema([column_of(column).field for column in self.columns])
        return Stream(
            id=f"{database}/{self.name}",
            name=self.name,
            namespace="",
            schema=schema,
            primary_key=self.keys if set(self.keys) <= set(schema.names) else (),
            cursor_candidates=tuple(name for name in self.cursor_candidates() if name in schema.names),
            rows=self.rows,
            size_bytes=self.size_bytes,
        )


class Catalog:
    """The database's catalog, as one connection sees it; nothing is kept."""

    def __init__(self, connection: Connection, database: str) -> None:
        self._connection = connection
        self._database = database

    def matching(self, pattern: str) -> Iterator[Relation]:
        """What fits a glob over the names, in their order; a plain name is taken as it is."""
        if not re.search(r"[*?\[]", pattern):
            yield from self._relations(pattern)
            return
        for relation in self._relations():
            if fnmatchcase(relation.name, pattern):
                yield relation

    def relation(self, name: str) -> Relation:
        """The one of that name.

        Raises:
            QueryError: there is none; the hint names near ones.
        """
        found = self._relations(name)
        if found:
            return found[0]
        rows = self._connection.rows(_TABLES.format(named=""), [self._database])
        near = get_close_matches(name, [row[0] for row in rows], 3, 0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "asgard discover lists what there is"
        raise QueryError(f"there is no table or view {name!r}", hint=hint, where={"stream": name})

    def query(self, sql: str) -> list[Attribute]:
        """The columns of a query; it is not run."""
        columns = self._connection.columns(sql)
        charsets = dict(
            self._connection.rows("SELECT id, character_set_name FROM information_schema.collations")
        )
        return [Attribute.of(column, charsets.get(column.charset) or "") for column in columns]

    def _relations(self, name: str | None = None) -> list[Relation]:
        tables = self._rows(_TABLES, name)
        columns, keys = defaultdict(list), defaultdict(list)
        for row in self._rows(_COLUMNS, name):
            columns[row[0]].append(row[1:])
        for row in self._rows(_KEYS, name):
            keys[row[0]].append(row[1:])
        checked: set[tuple[str, str]] = set()
        if self._connection.is_mariadb:
            for table, clause in self._rows(_JSON_CHECKS, name):
                # Which quotes the server writes is its SQL mode's business.
                if found := re.fullmatch(r"json_valid\(([`\"])(.*)\1\)", clause):
                    checked.add((table, found[2].replace(found[1] * 2, found[1])))
        return [_relation(row, columns[row[0]], keys[row[0]], checked) for row in tables if columns[row[0]]]

    def _rows(self, sql: str, name: str | None) -> list[tuple[Any, ...]]:
        parameters = [self._database, *([name] if name is not None else [])]
        named = "" if name is None else " AND table_name = %s"
        rows = self._connection.rows(sql.format(named=named), parameters)
        # The catalog does not tell `Orders` from `orders`, some servers' tables do.
        return [row for row in rows if name is None or row[0] == name]


def _relation(
    table: tuple[Any, ...],
    columns: list[tuple[Any, ...]],
    indexes: list[tuple[Any, ...]],
    checked: set[tuple[str, str]],
) -> Relation:
    name, kind, engine, rows, size = table
    is_view = kind == "VIEW"
    attributes = tuple(
        Attribute(
            column, str(base).lower(), str(type).lower(), charset, (name, column) in checked, not is_view
        )
        for column, base, type, charset, _ in columns
    )
    serial = next((column for column, *_, extra in columns if "auto_increment" in str(extra).lower()), "")
    keys: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for index, *about in indexes:
        keys[index].append(tuple(about))
    return Relation(
        name=name,
        is_view=is_view,
        rows=None if is_view or rows is None else int(rows),
        size_bytes=None if is_view or size is None else int(size),
        columns=attributes,
        keys=next((tuple(part[1] for part in parts) for parts in keys.values() if _is_key(parts)), ()),
        leading=frozenset(parts[0][1] for parts in keys.values() if parts[0][1] is not None),
        serial=serial,
        keeps_snapshots=is_view or str(engine).upper() in SNAPSHOT_ENGINES,
    )


def _is_key(parts: list[tuple[Any, ...]]) -> bool:
    """Whether an index tells every row apart: unique, of whole columns that are never null."""
    return all(
        not non_unique and column is not None and nullable != "YES" and sub_part is None
        for non_unique, column, nullable, sub_part in parts
    )


def source_of(relation: Relation | None, query: str) -> str:
    """What stands behind FROM: the table, or the user's query, which may end in a comment."""
    return quote(relation.name) if relation else "(" + query.strip().rstrip(";") + "\n) AS query"
