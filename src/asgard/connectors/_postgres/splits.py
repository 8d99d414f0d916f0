"""Splits of a PostgreSQL stream: which pages of which table, and the SQL that reads them.

A table is split by ranges of pages (ctid), a partitioned one by partition first; the last range of each is
open to the end. Views, foreign tables and queries are one split. Rows that are so wide that DuckDB's 2048 at
a time would not fit into memory are measured first and read in narrower ranges.

Reference: https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from asgard.connectors._postgres.catalog import BLOCK_BYTES, Relation
from asgard.connectors._postgres.types import BYTEA, TEXT, VARCHAR, Attribute, Column, TypeMap, quote
from asgard.core.stream import Split
from asgard.transport.postgres import Connection

LEAST_SPLIT_PAGES = 2048
MOST_SPLIT_PAGES = 32768
"""16 MiB and 256 MiB: below, a second connection costs more than it saves; above, a killed first load would
lose too much."""
TID_RANGE_VERSION = 140000
"""From here on the server finds the rows of a range of pages without looking through the others."""
VECTOR_ROWS = 2048
SAMPLED_PAGES = 32
RANGE = "/*asgard: range*/ true"
"""Stands in a split's SQL where its rows are narrowed down."""
REFUSED = "asgard-refuses"

_PIECES = """
WITH RECURSIVE tree (oid) AS (
    SELECT %s::bigint::oid
    UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = oid WHERE %s
)
SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text,
       CASE WHEN c.relkind IN ('r', 'm')
            THEN pg_relation_size(c.oid) / current_setting('block_size')::bigint ELSE 0 END,
       coalesce(pg_relation_filenode(c.oid), 0)::bigint,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind <> 'p' ORDER BY c.oid
"""


@dataclass(frozen=True)
class Piece:
    """What is read by itself: a table, a partition, a view, a query.

    Attributes:
        oid: 0 for a query.
        sql: what stands behind FROM, under the name that the user knows.
        pages: how many there are; None where rows have no place that could be asked for.
        files: oid of each storage in it (several for a partitioned table that is read as a whole) to its
            file number, which changes when it is written anew.
        has_transactions: rows tell which transaction wrote them.
    """

    oid: int
    sql: str
    pages: int | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    has_transactions: bool = False

    @property
    def id(self) -> str:
        """For ids of splits: another one when rows may have moved."""
        return f"{self.oid}.{self.files.get(str(self.oid), 0)}"


@dataclass(frozen=True)
class Reading:
    """The columns of a stream, and the user's condition, for the SQL of its splits.

    Attributes:
        columns: what is read.
        attributes: the same as the catalog has them.
        where: the user's condition; empty when there is none.
    """

    columns: Sequence[Column]
    attributes: Sequence[Attribute]
    types: TypeMap
    where: str = ""

    def sql(self, source: str, condition: str) -> str:
        """The SELECT of a split: columns c0, c1, ..., `RANGE` where its pages go.

        Names are the split's own, because DuckDB does not tell "a" from "A".
        """
        asked = ", ".join(f"{column.expression} AS c{i}" for i, column in enumerate(self.columns))
        filters = self.filters(condition)
        guards = self._guards()
        if guards and len(filters) > 1:
            # A guard must see only rows that are wanted. OFFSET 0 keeps the server from turning that round.
            names = ", ".join(quote(attribute.name) for attribute in self.attributes)
            inner = f"SELECT {names} FROM {source} WHERE {' AND '.join(filters)} OFFSET 0"
            return f"SELECT {asked} FROM ({inner}) AS wanted WHERE {guards}"
        return f"SELECT {asked} FROM {source} WHERE {' AND '.join([*filters, *([guards] if guards else [])])}"

    def filters(self, condition: str) -> list[str]:
        """Which rows are wanted: the range, the user's condition, the cursor's."""
        return [RANGE, *(f"({each}\n)" for each in (self.where, condition) if each)]

    def _guards(self) -> str:
        """The condition that every row fulfils. Where one does not, the server fails on a cast of a text that
        says which column it is, because that is the one way to fail that a plain SELECT has."""
        guards = []
        for i, (column, attribute) in enumerate(zip(self.columns, self.attributes, strict=True)):
            if column.guard:
                value = f"left({quote(attribute.name)}::text, 60)"
                guards.append(f"({column.guard} OR ('{REFUSED}:{i}:' || {value})::boolean)")
        return f"({' AND '.join(guards)}) IS NOT FALSE" if guards else ""

    def width(self) -> str:
        """SQL for about how many bytes the row has on our side; empty when all columns are narrow."""
        widths = []
        for column, attribute in zip(self.columns, self.attributes, strict=True):
            name = quote(attribute.name)
            if not (
                t.is_string(column.field.type)
                or t.is_binary(column.field.type)
                or t.is_list(column.field.type)
            ):
                continue
            # The length of these is known without unpacking them.
            plain = self.types.base(attribute.type) in (TEXT, VARCHAR, BYTEA)
            widths.append(f"coalesce(octet_length({name if plain else f'{name}::text'}), 0)::bigint")
        return " + ".join(widths)

    def schema(self) -> pa.Schema:
        """The schema of the stream's batches."""
        return pa.schema([column.field for column in self.columns])


def pieces_of(connection: Connection, relation: Relation, whole: bool) -> list[Piece]:
    """The parts of a relation that are read by themselves.

    A parent in an inheritance tree stands for its own rows: its children are streams of their own. A
    partitioned table stands for its partitions; where they cannot be read without it, it is one piece.

    Args:
        whole: one piece is wanted, whatever the relation is.
    """
    if relation.kind == "v":
        return [Piece(relation.oid, relation.source)]
    rows = connection.rows(_PIECES, [relation.oid, relation.kind == "p"])
    if relation.kind == "p" and (whole or relation.row_security or not all(row[5] for row in rows)):
        files = {str(row[0]): row[4] for row in rows}
        stored = all(row[2] in ("r", "m") for row in rows)
        return [Piece(relation.oid, relation.source, None, files, stored)]
    pieces = []
    for oid, name, kind, pages, file, _ in rows:
        stored = kind in ("r", "m")
        source = f"ONLY {name} AS {quote(relation.name)}"
        pieces.append(Piece(oid, source, pages if stored else None, {str(oid): file}, stored))
    return pieces


def first_pages(piece: Piece, parallel: int, version: int) -> list[int]:
    """The first page of each split of a piece."""
    if piece.pages is None or version < TID_RANGE_VERSION:
        return [0]
    few, many = -(-piece.pages // MOST_SPLIT_PAGES), piece.pages // LEAST_SPLIT_PAGES
    count = max(1, min(max(few, parallel), many))
    count = min(-(-count // parallel) * parallel, max(many, 1))
    return [piece.pages * i // count for i in range(count)]


def splits_of(stream: str, piece: Piece, starts: Sequence[int], spec: Mapping[str, Any]) -> list[Split]:
    """The splits of a piece. Their ids are made of the storage and its pages: they hold as long as rows stay
    where they are."""
    if len(starts) == 1:
        size = None if piece.pages is None else piece.pages * BLOCK_BYTES
        return [Split(piece.id, stream, dict(spec), size_bytes=size)]
    splits = []
    for first, end in zip(starts, [*starts[1:], None], strict=True):
        last = piece.pages or 0 if end is None else end
        splits.append(
            Split(
                f"{piece.id}:{first}-{'' if end is None else end}",
                stream,
                {**spec, "first": first, "end": end},
                size_bytes=max(last - first, 0) * BLOCK_BYTES,
            )
        )
    return splits


def page_range(first: int | None, end: int | None) -> str:
    """The condition of a split's pages."""
    parts = [f"ctid >= '({first},0)'::tid"] if first is not None else []
    if end is not None:
        parts.append(f"ctid < '({end},0)'::tid")
    return " AND ".join(parts) or "true"


def is_wide(connection: Connection, piece: Piece, reading: Reading, batch_bytes: int) -> bool:
    """Whether so many rows as DuckDB takes at a time would be far more than a batch; asks a few pages."""
    width = reading.width()
    if not piece.pages or not width or connection.version < TID_RANGE_VERSION:
        return False
    step = max(piece.pages // SAMPLED_PAGES, 1)
    ctids = ",".join(f'"({page},{row})"' for page in range(0, piece.pages, step) for row in (1, 2, 3))
    sample = f"SELECT {width} AS bytes FROM {piece.sql} WHERE ctid = ANY ('{{{ctids}}}'::tid[])"
    average = connection.row(f"SELECT coalesce(avg(bytes), 0)::float8 FROM ({sample}) AS sample")[0]
    return float(average) * VECTOR_ROWS > 2 * batch_bytes


def narrow_ranges(rows: Iterator[tuple[str, int]], batch_bytes: Callable[[], int]) -> Iterator[str]:
    """Conditions that cut a range of pages so that each part has about so many bytes.

    Together they leave nothing out, even if rows were added since they were measured.

    Args:
        rows: ctid and width of every row, in the table's order.
    """
    before, last, held, count = "", "", 0, 0
    for ctid, width in rows:
        if count and (held + width > batch_bytes() or count == VECTOR_ROWS):
            yield _between(before, last)
            before, held, count = last, 0, 0
        last, held, count = ctid, held + width, count + 1
    yield _between(before, "")


def _between(before: str, last: str) -> str:
    parts = [*([f"ctid > '{before}'::tid"] if before else []), *([f"ctid <= '{last}'::tid"] if last else [])]
    return " AND ".join(parts) or "true"
