"""Rows that a failed check means, a few of them, to be shown to people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.core.table import Mount
from asgard.quality.failing import question_of
from asgard.quality.predicates import identifier
from asgard.quality.registry import asks_whole, bad_rows
from asgard.quality.tables import AuditContext, attach, is_own


@contextmanager
def failing_rows(
    engine: Engine, check: Check, mount: Mount, context: AuditContext, limit_rows: int
) -> Iterator[pa.RecordBatchReader | None]:
    """The first rows that the check finds bad, its own columns before the others; None for a kind that judges
    figures.

    Raises:
        ConfigError: the check does not fit the table.
    """
    tables = attach(engine, [question_of(check)], mount, lambda: mount, context, asks_whole)
    bad = bad_rows(check, tables)
    if bad is None:
        yield None
        return
    names = [name for name in mount.schema.names if not is_own(name)]
    own = {name.casefold() for name in check.columns}
    names.sort(key=lambda name: name.casefold() not in own)
    listed = ", ".join(identifier(name) for name in names)
    with engine.query(f"SELECT {listed} FROM {tables.fresh_sql} WHERE {bad} LIMIT {int(limit_rows)}") as rows:
        yield rows
