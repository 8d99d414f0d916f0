"""What there is to read in a PostgreSQL database: tables, their columns, keys and sizes.

A fixed number of queries, however many tables there are. Knows pg_catalog; leaves types to `_postgres.types`.

Reference: https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.connectors._postgres.types import TIMES, Attribute, TypeInfo, TypeMap, quote
from asgard.core.errors import QueryError
from asgard.core.stream import Stream
from asgard.transport.postgres import Connection

BLOCK_BYTES = 8192
CHANGE_NAMES = re.compile(r"(updated|modified|changed|last_)", re.IGNORECASE)

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relhassubclass, c.reltuples::float8,
       (c.relpages + coalesce(x.relpages, 0))::bigint,
       a.names, a.types, a.mods, k.names, i.leading, s.serial,
       row_security_active(c.oid), c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class x ON x.oid = c.reltoastrelid AND c.reltoastrelid <> 0
LEFT JOIN LATERAL (
    SELECT array_agg(attname::text ORDER BY attnum) AS names,
           array_agg(atttypid::bigint ORDER BY attnum) AS types, array_agg(atttypmod ORDER BY attnum) AS mods
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true
LEFT JOIN LATERAL (
    SELECT array(SELECT attname::text FROM unnest(indkey::smallint[]) WITH ORDINALITY u(num, place)
                 JOIN pg_attribute ON attrelid = c.oid AND attnum = num
                 WHERE place <= {key_count} ORDER BY place) AS names
    FROM pg_index
    WHERE indrelid = c.oid AND indisunique AND indisvalid AND indimmediate
      AND indpred IS NULL AND indexprs IS NULL
      AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND NOT attnotnull
                      AND attnum = ANY (indkey::smallint[]))
    ORDER BY indisprimary DESC, indnatts, indexrelid LIMIT 1) k ON true
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT attname::text) AS leading
    FROM pg_index JOIN pg_attribute ON attrelid = c.oid AND attnum = indkey[0]
    WHERE indrelid = c.oid AND indisvalid AND indpred IS NULL) i ON true
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT attname::text) AS serial
    FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
    JOIN pg_attribute ON attrelid = c.oid AND attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = c.oid AND d.deptype IN ('a', 'i')) s ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {condition}
ORDER BY n.nspname, c.relname
"""
_VISIBLE = """
n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%%'
AND n.nspname NOT LIKE 'pg\\_temp\\_%%'
"""
_READABLE = "has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')"

_TYPES = """
WITH RECURSIVE used (oid) AS (
    SELECT unnest(%s::bigint[])::oid
    UNION
    SELECT next FROM used JOIN pg_type t USING (oid)
    CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) v (next) WHERE next <> 0
)
SELECT t.oid::bigint, format_type(t.oid, NULL), t.typtype::text,
       CASE WHEN EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
            THEN t.typelem ELSE 0 END::bigint,
       t.typbasetype::bigint, t.typtypmod,
       CASE WHEN EXISTS (SELECT FROM pg_cast WHERE castsource = t.oid AND casttarget = 'text'::regtype
                         AND castfunc <> 0)
            THEN (SELECT quote_ident(n.nspname) || '.' || quote_ident(p.proname) FROM pg_proc p
                  JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = t.typoutput) ELSE '' END
FROM used JOIN pg_type t USING (oid)
"""


@dataclass(frozen=True)
class Relation:
    """A table, view, materialized view or foreign table.

    Attributes:
        kind: relkind: r table, p partitioned, v view, m materialized view, f foreign.
        has_children: other tables inherit from it, or are its partitions.
        rows, size_bytes: estimates; None when unknown.
        keys: columns that are unique and never null; empty when there are none.
        leading: columns that an index begins with.
        serial: columns that a sequence fills.
        row_security: policies hide rows from this role.
        lockable: LOCK TABLE is possible for this role.
    """

    oid: int
    namespace: str
    name: str
    kind: str
    has_children: bool
    rows: int | None
    size_bytes: int | None
    columns: tuple[Attribute, ...]
    keys: tuple[str, ...]
    leading: frozenset[str]
    serial: frozenset[str]
    row_security: bool
    lockable: bool

    @property
    def full_name(self) -> str:
        """`schema.table`."""
        return f"{self.namespace}.{self.name}"

    @property
    def sql(self) -> str:
        """The qualified name, quoted."""
        return f"{quote(self.namespace)}.{quote(self.name)}"

    @property
    def source(self) -> str:
        """What stands behind FROM: a table for its own rows, without those of tables that inherit from it."""
        return f"{'ONLY ' if self.kind == 'r' else ''}{self.sql} AS {quote(self.name)}"

    def cursor_candidates(self, types: TypeMap) -> tuple[str, ...]:
        """Columns that could tell what changed, best first: times of change, then sequences, then times."""

        def rank(column: Attribute) -> int:
            is_time = types.base(column.type) in TIMES
            if is_time and CHANGE_NAMES.search(column.name):
                return 0 if column.name in self.leading else 1
            if column.name in self.serial:
                return 2
            return (3 if column.name in self.leading else 4) if is_time else 9

        ranked = sorted(self.columns, key=rank)
        return tuple(column.name for column in ranked if rank(column) < 9)

    def stream(self, database: str, types: TypeMap) -> Stream:
        """The relation as a stream, every column as it is best carried."""
        return Stream(
            id=f"{database}/{self.full_name}",
            name=self.name,
            namespace=self.namespace,
            schema=pa.schema([types.column(column).field for column in self.columns]),
            primary_key=self.keys,
            cursor_candidates=self.cursor_candidates(types),
            rows=self.rows,
            size_bytes=self.size_bytes,
        )


class Catalog:
    """The database's catalog, as one connection sees it.

    Args:
        connection: asked whenever something is wanted; nothing is kept but the types.
        schemas: only these; empty for all that are not the system's.
    """

    def __init__(self, connection: Connection, schemas: Sequence[str] = ()) -> None:
        self._connection = connection
        self._schemas = list(schemas)

    def matching(self, pattern: str) -> Iterator[Relation]:
        """What fits a glob over `table` and `schema.table`, in the catalog's order.

        Partitions come with their parent, and what may not be read is left out; a plain name is taken as it
        is.
        """
        if not re.search(r"[*?\[]", pattern):
            yield from self._named(pattern)
            return
        for relation in self._relations(f"NOT c.relispartition AND {_READABLE}", []):
            if fnmatchcase(relation.name, pattern) or fnmatchcase(relation.full_name, pattern):
                yield relation

    def relation(self, name: str) -> Relation:
        """The one of that name, with or without its schema.

        Raises:
            QueryError: there is none, or several; the hint names near ones or all.
        """
        found = self._named(name)
        if not found:
            known = self._connection.rows(
                f"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                f"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {self._condition()}",
                self._schemas and [self._schemas],
            )
            names = [name for pair in known for name in (pair[1], f"{pair[0]}.{pair[1]}")]
            near = get_close_matches(name, names, 3, 0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "asgard discover lists what there is"
            raise QueryError(f"there is no table or view {name!r}", hint=hint, where={"stream": name})
        if len(found) > 1:
            names = [relation.full_name for relation in found]
            raise QueryError(
                f"{name!r} is in several schemas", hint=f"write {' or '.join(names)}", where={"stream": name}
            )
        return found[0]

    def exactly(self, namespace: str, name: str) -> Relation:
        """The one of that schema and name.

        Raises:
            QueryError: it is gone.
        """
        for relation in self._relations("n.nspname = %s AND c.relname = %s", [namespace, name]):
            return relation
        raise QueryError(
            f"there is no table or view {namespace}.{name} any more",
            hint="asgard discover lists what there is",
        )

    def types(self, columns: Iterable[Attribute]) -> TypeMap:
        """What is known of the columns' types, in one query."""
        oids = sorted({column.type for column in columns})
        rows = self._connection.rows(_TYPES, [oids])
        scale = self._connection.row("SELECT scale(0::money::numeric)")[0] if 790 in oids else 2
        return TypeMap([TypeInfo(*row) for row in rows], scale)

    def _named(self, name: str) -> list[Relation]:
        condition = "(c.relname = %s OR n.nspname || '.' || c.relname = %s)"
        found = list(self._relations(condition, [name, name]))
        if len(found) < 2:
            return found
        path = self._connection.row("SELECT current_schemas(false)::text[]")[0]
        for schema in path:
            for relation in found:
                if relation.namespace == schema and relation.name == name:
                    return [relation]
        return found

    def _condition(self) -> str:
        return f"{_VISIBLE} AND n.nspname = ANY (%s)" if self._schemas else _VISIBLE

    def _relations(self, condition: str, parameters: list[Any]) -> Iterator[Relation]:
        condition = f"{condition} AND {self._condition()}"
        parameters = [*parameters, *([self._schemas] if self._schemas else [])]
        key_count = "indnkeyatts" if self._connection.version >= 110000 else "indnatts"
        sql = _TABLES.replace("{key_count}", key_count).replace("{condition}", condition)
        for row in self._connection.rows(sql, parameters or None):
            yield _relation(row)


def _relation(row: tuple[Any, ...]) -> Relation:
    oid, namespace, name, kind, has_children, rows, pages, names, types, mods, keys, leading, serial = row[
        :13
    ]
    stored = kind in ("r", "m")
    return Relation(
        oid=oid,
        namespace=namespace,
        name=name,
        kind=kind,
        has_children=has_children,
        rows=int(rows) if rows > 0 or (stored and rows == 0) else None,
        size_bytes=pages * BLOCK_BYTES if stored and rows >= 0 else None,
        columns=tuple(map(Attribute, names or (), types or (), mods or ())),
        keys=tuple(keys or ()),
        leading=frozenset(leading or ()),
        serial=frozenset(serial or ()),
        row_security=row[13],
        lockable=row[14],
    )
