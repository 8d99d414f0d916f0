"""What there is to read in a Redshift database: tables and views, external ones too.

Three queries, however many tables there are. Keys are not among the answers: Redshift lets a primary key be
declared and holds nobody to it, so that no column of it is known to be unique.

Reference: https://docs.aws.amazon.com/redshift/latest/dg/svv_views.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.connectors._redshift.types import TIMES, Attribute, column_of, literal, quote
from asgard.core.budget import MEBIBYTE
from asgard.core.errors import QueryError, Refused
from asgard.core.stream import Stream
from asgard.transport.postgres import Connection

CHANGE_NAMES = re.compile(r"(updated|modified|changed|last_)", re.IGNORECASE)
FIRST_SCHEMA = "public"
"""Where a name without its schema is looked for first."""
_SYSTEM = """
table_schema NOT IN ('pg_catalog', 'information_schema', 'pg_internal', 'pg_automv')
AND table_schema NOT LIKE 'pg!_temp!_%' ESCAPE '!' AND table_schema NOT LIKE 'pg!_toast%' ESCAPE '!'
"""
_TABLES = "SELECT table_schema, table_name, table_type FROM svv_tables WHERE {wanted} ORDER BY 1, 2"
_COLUMNS = """
SELECT table_schema, table_name, column_name, data_type, numeric_precision, numeric_scale
FROM svv_columns WHERE {wanted} ORDER BY table_schema, table_name, ordinal_position
"""
EXACT_NAMES = "SET enable_case_sensitive_identifier TO true"
_SIZES = 'SELECT "schema", "table", tbl_rows, size FROM svv_table_info'


@dataclass(frozen=True)
class Relation:
    """A table or view.

    Attributes:
        rows, size_bytes: as the last ANALYZE has them; None when unknown.
    """

    namespace: str
    name: str
    is_table: bool
    columns: tuple[Attribute, ...]
    rows: int | None = None
    size_bytes: int | None = None

    @property
    def full_name(self) -> str:
        """`schema.table`."""
        return f"{self.namespace}.{self.name}"

    @property
    def sql(self) -> str:
        """The qualified name, quoted."""
        return f"{quote(self.namespace)}.{quote(self.name)}"

    @property
    def has_exact_names(self) -> bool:
        """Whether a name of it has capitals, which the server folds unless it is told not to."""
        names = [self.namespace, self.name, *(column.name for column in self.columns)]
        return any(name != name.lower() for name in names)

    def stream(self, database: str, schema: pa.Schema | None = None) -> Stream:
        """The relation as a stream, every column as it is best carried or as the schema has it."""
        if schema is None:
            schema = pa.schema([column_of(column).field for column in self.columns])
        candidates = sorted((c for c in self.columns if c.type in TIMES), key=_rank)
        return Stream(
            id=f"{database}/{self.full_name}",
            name=self.name,
            namespace=self.namespace,
            schema=schema,
            cursor_candidates=tuple(c.name for c in candidates if c.name in schema.names),
            rows=self.rows,
            size_bytes=self.size_bytes,
        )


def _rank(column: Attribute) -> int:
    return 0 if CHANGE_NAMES.search(column.name) else 1


class Catalog:
    """The database's catalog, as one connection sees it; nothing is kept.

    Args:
        schemas: only these; empty for all that are not the system's.
    """

    def __init__(self, connection: Connection, schemas: Sequence[str] = ()) -> None:
        self._connection = connection
        self._schemas = tuple(schemas)

    def matching(self, pattern: str) -> Iterator[Relation]:
        """What fits a glob over `table` and `schema.table`, in the catalog's order."""
        is_glob = re.search(r"[*?\[]", pattern)
        sizes = self._sizes()
        for relation in self._relations("" if is_glob else _named(pattern), sizes):
            if not is_glob or fnmatchcase(relation.name, pattern) or fnmatchcase(relation.full_name, pattern):
                yield relation

    def relation(self, name: str) -> Relation:
        """The one of that name, with or without its schema.

        Raises:
            QueryError: there is none, or several; the hint names near ones or all.
        """
        found = list(self._relations(_named(name), {}))
        first = [relation for relation in found if relation.namespace == FIRST_SCHEMA]
        if len(found) > 1 and len(first) == 1:
            found = first
        if len(found) == 1:
            return found[0]
        if found:
            raise QueryError(
                f"{name!r} is in several schemas",
                hint=f"write {' or '.join(relation.full_name for relation in found)}",
                where={"stream": name},
            )
        known = self._connection.rows(_TABLES.format(wanted=self._wanted()))
        near = get_close_matches(name, [n for row in known for n in (row[1], f"{row[0]}.{row[1]}")], 3, 0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "asgard discover lists what there is"
        raise QueryError(f"there is no table or view {name!r}", hint=hint, where={"stream": name})

    def columns(self, source: str) -> list[Attribute]:
        """The columns of what stands behind FROM, as its rows will have them; none is read."""
        return [
            Attribute.of(*column) for column in self._connection.columns(f"SELECT * FROM {source} LIMIT 0")
        ]

    @contextmanager
    def exact_names(self, relation: Relation | None) -> Iterator[None]:
        """Takes quoted names as they are, where that is needed; a user's own query keeps the server's way."""
        if relation is None or not relation.has_exact_names:
            yield
            return
        self._connection.rows(EXACT_NAMES)
        yield
        self._connection.rows("RESET enable_case_sensitive_identifier")

    def _wanted(self) -> str:
        if not self._schemas:
            return _SYSTEM
        return f"{_SYSTEM} AND table_schema IN ({', '.join(map(literal, self._schemas))})"

    def _relations(self, named: str, sizes: dict[tuple[str, str], tuple[Any, ...]]) -> Iterator[Relation]:
        wanted = f"{self._wanted()} AND {named}" if named else self._wanted()
        columns = defaultdict(list)
        for schema, table, *about in self._connection.rows(_COLUMNS.format(wanted=wanted)):
            columns[schema, table].append(Attribute.listed(*about))
        for schema, table, kind in self._connection.rows(_TABLES.format(wanted=wanted)):
            rows, blocks = sizes.get((schema, table), (None, None))
            yield Relation(
                namespace=schema,
                name=table,
                is_table=kind in ("TABLE", "BASE TABLE"),
                columns=tuple(columns[schema, table]),
                rows=None if rows is None else int(rows),
                size_bytes=None if blocks is None else int(blocks) * MEBIBYTE,
            )

    def _sizes(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        try:
            rows = self._connection.rows(_SIZES)
        except Refused:  # superusers alone see it, unless somebody granted it
            return {}
        return {(schema, table): (count, size) for schema, table, count, size in rows}


def _named(name: str) -> str:
    return f"(table_name = {literal(name)} OR table_schema || '.' || table_name = {literal(name)})"
