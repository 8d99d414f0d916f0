"""All checks of a load on staged files, before anything is visible (Promise 4).

Checks of rows look at the rows of this load. Those of the whole table (unique, no_duplicates, row_count,
fresh) look at the table as it would be, old and new rows together; of these, unique and no_duplicates answer
for the keys that this load brings, so that a load pays for itself and not for what was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asgard.core.check import Check, CheckResult, Verdict
from asgard.core.engine import Engine
from asgard.core.table import Mount
from asgard.quality.failing import question_of
from asgard.quality.measure import measured
from asgard.quality.registry import asks_whole
from asgard.quality.tables import AuditContext, attach
from asgard.quality.verdict import judged

__all__ = ["AuditContext", "audit"]


def audit(
    engine: Engine,
    checks: Sequence[Check],
    fresh: Mount,
    whole: Callable[[], Mount],
    context: AuditContext,
) -> Verdict:
    """Answers every check, those that failed and those that passed, in their order.

    Args:
        engine: runs DuckDB's SQL; names that begin with `_asgard_` are attached to it.
        checks: about columns of `fresh`.
        fresh: the rows of this load.
        whole: gives the table as it would be; called only when a check asks.
        context: what else is known about the load.

    Raises:
        ConfigError: a check does not fit the table: a column or a table is not there, or a value is of
            another type than its column.
        DataError: an expression cannot be calculated for a row.
    """
    if not checks:
        return Verdict()
    absent = _absent(checks, fresh)
    asked = [check for check in checks if check not in absent]
    tables = attach(engine, [question_of(check) for check in asked], fresh, whole, context, asks_whole)
    figures = iter(measured(engine, asked, tables))
    return Verdict(
        tuple(
            CheckResult(check, False, f"the table has no column {', '.join(check.columns)}")
            if check in absent
            else judged(check, next(figures), context)
            for check in checks
        )
    )


def _absent(checks: Sequence[Check], fresh: Mount) -> list[Check]:
    """Checks about a column that is not there although a check of `columns` wants it: they have failed."""
    there = {name.casefold() for name in fresh.schema.names}
    wanted = {name.casefold() for c in checks if c.kind == "columns" for name in c.columns}
    gone = wanted - there
    return [
        check
        for check in checks
        if check.kind != "columns" and any(name.casefold() in gone for name in check.columns)
    ]
