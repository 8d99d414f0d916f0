"""Splits of a MySQL stream: which range of the key each worker reads, and the SQL that reads it.

A table whose primary key begins with an integer is split by ranges of it; the first and the last range are
open, so that together they leave nothing out. Everything else is one split.

Reference: https://dev.mysql.com/doc/refman/8.0/en/range-optimization.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from asgard.connectors._mysql.catalog import Relation
from asgard.connectors._mysql.types import Attribute, Column
from asgard.core.stream import Split, Stream
from asgard.transport.mysql import Connection, quote

LEAST_SPLIT_BYTES = 16 << 20
MOST_SPLIT_BYTES = 256 << 20
"""Below, a second connection costs more than it saves; above, a killed first load would lose too much."""
SHOWN_BYTES = 30


@dataclass(frozen=True)
class Reading:
    """The columns of a stream, and the user's condition, for the SQL of its splits.

    Attributes:
        columns: what is read.
        attributes: the same as the catalog has them.
        where: the user's condition; empty when there is none.
        zero_dates: refuse or null.
    """

    columns: Sequence[Column]
    attributes: Sequence[Attribute]
    where: str = ""
    zero_dates: str = "refuse"

    def schema(self) -> pa.Schema:
        """The schema of the stream's batches."""
        return pa.schema([column.field for column in self.columns])

    def sql(self, source: str, conditions: Sequence[str]) -> str:
        """The SELECT of a split: the columns, and behind them the guards' finding where there are guards."""
        asked = [column.expression for column in self.columns]
        if self.is_guarded:
            asked.append(self._finding())
        wanted = [f"({each}\n)" for each in (self.where, *conditions) if each]
        return f"SELECT {', '.join(asked)} FROM {source}" + (
            f" WHERE {' AND '.join(wanted)}" if wanted else ""
        )

    @property
    def is_guarded(self) -> bool:
        """Whether rows bring what the guards find."""
        return any(column.guard for column in self.columns)

    def _finding(self) -> str:
        """SQL for the column that breaks its guard, with the value's first bytes; null when none does."""
        cases = [
            f"WHEN NOT ({column.guard}) THEN CONCAT('{i}:', "
            f"HEX(SUBSTRING(CAST({quote(attribute.name)} AS BINARY), 1, {SHOWN_BYTES})))"
            for i, (column, attribute) in enumerate(zip(self.columns, self.attributes, strict=True))
            if column.guard
        ]
        return f"CASE {' '.join(cases)} END"


def ranges_of(connection: Connection, relation: Relation | None, parallel: int) -> list[int]:
    """Where the splits of a table begin; nothing where it is not split."""
    key = relation.split_column() if relation is not None else None
    if relation is None or key is None or not relation.size_bytes:
        return []
    few, many = -(-relation.size_bytes // MOST_SPLIT_BYTES), relation.size_bytes // LEAST_SPLIT_BYTES
    count = max(1, min(max(few, parallel), many))
    count = min(-(-count // parallel) * parallel, max(many, 1))
    if count < 2:
        return []
    name = quote(key.name)
    [(low, high)] = connection.rows(f"SELECT MIN({name}), MAX({name}) FROM {quote(relation.name)}")
    if low is None:
        return []
    width = high - low + 1
    return sorted({low + width * i // count for i in range(count)})


def splits_of(
    stream: Stream,
    relation: Relation | None,
    reading: Reading,
    rows: tuple[str, str],
    ranges: Sequence[int],
) -> list[Split]:
    """The splits of a stream; their ids are made of their ranges.

    Args:
        rows: what stands behind FROM, and the cursor's condition.
        ranges: where each begins; nothing for one split of all.
    """
    source, condition = rows
    spec = {
        "schema": reading.schema().serialize().to_pybytes().hex(),
        "how": [column.how for column in reading.columns],
        "zero_dates": reading.zero_dates,
        "guarded": reading.is_guarded,
    }
    key = relation.split_column() if relation is not None else None
    if relation is None or key is None or len(ranges) < 2:
        sql = reading.sql(source, [condition])
        return [Split("all", stream.id, {**spec, "sql": sql}, stream.rows, stream.size_bytes)]
    splits = []
    for i, first in enumerate(ranges):
        end = ranges[i + 1] if i + 1 < len(ranges) else None
        name = quote(key.name)
        parts = [f"{name} >= {first}"] if i else []
        parts += [f"{name} < {end}"] if end is not None else []
        size = stream.size_bytes // len(ranges) if stream.size_bytes is not None else None
        sql = reading.sql(source, [" AND ".join(parts), condition])
        id = f"{'' if not i else first}-{'' if end is None else end}"
        splits.append(Split(id, stream.id, {**spec, "sql": sql}, size_bytes=size))
    return splits
