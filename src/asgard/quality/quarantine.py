"""Rows that are set aside: a load's rows parted into good and bad, the bad ones with the reason.

Which rows a failed check sets aside:
- checks of rows, and type of a text column: the rows that are bad;
- type of a column of another type: all rows of the load;
- unique, no_duplicates: all rows of the load whose key comes more than once in the table as it would be, the
  first among them too, because nothing says which one is right;
- referential: the rows whose value is not in the other table;
- kinds that judge a figure of a table (row_count, fresh, statistic, ...): all rows of the load.

Where a check has a condition (`where`), only rows that meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.core.table import Mount
from asgard.quality.failing import question_of
from asgard.quality.predicates import ALWAYS, identifier, text
from asgard.quality.registry import asks_whole, bad_rows
from asgard.quality.tables import AuditContext, attach

REASON = "_asgard_reason"


@dataclass(frozen=True)
class Parted:
    """The rows of a load in two streams, to be read one after the other; each reads the load anew.

    Rows keep the order in which they were staged, unless a check that looks at other rows (unique,
    no_duplicates, referential) is among those that failed.

    Attributes:
        schema: the load's columns; bad rows have the text column `_asgard_reason` behind them.
        reasons: SQL of the load's rows with the reason, empty for good rows.
    """

    engine: Engine
    schema: pa.Schema
    reasons: str

    def good_sql(self) -> str:
        """The rows that stay."""
        columns = ", ".join(identifier(name) for name in self.schema.names)
        return f"SELECT {columns} FROM ({self.reasons}) WHERE {REASON} = ''"

    def bad_sql(self) -> str:
        """The rows that are set aside; the reason is the names of the failed checks, joined by `; `."""
        return f"SELECT * FROM ({self.reasons}) WHERE {REASON} <> ''"

    def good(self) -> Iterator[pa.RecordBatch]:
        """The rows that stay, in the load's schema."""
        return self._batches(self.good_sql(), self.schema)

    def bad(self) -> Iterator[pa.RecordBatch]:
        """The rows that are set aside, in the load's schema and `_asgard_reason`."""
        return self._batches(self.bad_sql(), self.schema.append(pa.field(REASON, pa.string())))

    def _batches(self, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self.engine.query(sql) as reader:
            for batch in reader:
                yield batch.cast(schema)


def split_rows(
    engine: Engine,
    failed: Sequence[Check],
    fresh: Mount,
    whole: Callable[[], Mount],
    context: AuditContext,
) -> Parted:
    """Parts the rows of a load by checks that failed it; nothing is read before the streams are.

    Args:
        failed: the checks whose bad rows are set aside, at least one.
        fresh, whole, context: as for `audit`.

    Raises:
        ConfigError: a check does not fit the table.
    """
    tables = attach(engine, [question_of(check) for check in failed], fresh, whole, context, asks_whole)
    bad = ((bad_rows(check, tables) or ALWAYS, check.name) for check in failed)
    reasons = ", ".join(f"CASE WHEN {predicate} THEN {text(name)} END" for predicate, name in bad)
    sql = f"SELECT *, concat_ws('; ', {reasons}) AS {REASON} FROM {tables.fresh_sql}"
    return Parted(engine, fresh.schema, sql)
