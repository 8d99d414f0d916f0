"""How many rows a table has, how new the newest is, and whether it has as many rows as another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import pyarrow.types as at
from pydantic import BeforeValidator, Field

from asgard.core.check import Check
from asgard.quality.families import Asked, Found, TableKind, column
from asgard.quality.kinds import Kind, Question, checked_table
from asgard.quality.phrases import duration, some
from asgard.quality.predicates import Column
from asgard.quality.tables import Tables

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SameRowCount(Kind):
    """The table must have as many rows as another."""

    kind = "same_row_count"
    short = "to"
    to: Annotated[str, BeforeValidator(checked_table)] = Field(
        description="for example bronze.shop.customers"
    )

    def questions(self) -> Iterator[Question]:
        yield (), {"to": self.to}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return f"{self.kind}({self.to})"


def _row_count(check: Check, tables: Tables) -> str:
    known = tables.whole.rows
    return f"SELECT count(*) AS n FROM {tables.whole_sql}" if known is None else f"SELECT {known} AS n"


def _judged_row_count(check: Check, asked: Asked) -> Found:
    rows, before, wishes = int(asked.row["n"]), asked.context.previous_rows, check.options
    faults = []
    if rows < wishes.get("min", rows):
        faults.append(f"at least {wishes['min']:,} are wanted")
    if rows > wishes.get("max", rows):
        faults.append(f"at most {wishes['max']:,} are wanted")
    if before is not None and abs(rows - before) > Decimal(str(wishes.get("change", "Infinity"))) * before:
        faults.append(f"there were {before:,} before, and a change of {wishes['change']:.0%} is allowed")
    message = f"the table would have {some(rows, 'row')}"
    if faults:
        message += ": " + ", ".join(faults)
    return Found(not faults, message, rows)


def _same(check: Check, tables: Tables) -> str:
    other, _ = tables.others[check.options["to"]]
    return f"SELECT (SELECT count(*) FROM {tables.whole_sql}) AS n, (SELECT count(*) FROM {other}) AS other"


def _judged_same(check: Check, asked: Asked) -> Found:
    rows, other = int(asked.row["n"]), int(asked.row["other"])
    message = f"the table would have {some(rows, 'row')}, {check.options['to']} has {other:,}"
    return Found(rows == other, message, rows)


def _newest(check: Check, tables: Tables) -> Mapping[str, str]:
    return {"newest": f"max({_microseconds(column(check, tables))})"}


def _microseconds(of: Column) -> str:
    """Microseconds since 1970 of a time; a date counts to its end, and a naive time as UTC."""
    if at.is_date(of.type):
        return f"epoch_us(CAST({of.sql} AS TIMESTAMP)) + 86400000000"
    if of.is_text:
        return f"epoch_us(TRY_CAST({of.sql} AS TIMESTAMPTZ))"
    return f"epoch_us({of.sql})"


def _judged_fresh(check: Check, asked: Asked) -> Found:
    newest_us, allowed_seconds = asked.row["newest"], check.options["within_seconds"]
    (name,) = check.columns
    if newest_us is None:
        return Found(False, f"{name} has no value at all")
    age_us = (asked.context.now - EPOCH) // timedelta(microseconds=1) - newest_us
    message = (
        f"the newest {name} is {duration(max(age_us, 0) // 1_000_000)} old, "
        f"{duration(allowed_seconds)} is allowed"
    )
    return Found(age_us <= allowed_seconds * 1_000_000, message, _moment(newest_us))


def _moment(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds} microseconds since 1970"


KINDS = {
    "row_count": TableKind(_judged_row_count, query=_row_count),
    "same_row_count": TableKind(_judged_same, query=_same),
    "fresh": TableKind(_judged_fresh, aggregates=_newest),
}
