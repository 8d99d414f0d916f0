"""What a kind of check is to those who measure and judge: of rows, or of a whole table.

A kind of rows is a predicate that is true for a bad row. A kind of tables asks for figures, as aggregates
that share a scan or as a query of its own, and judges what comes back. Each family of kinds has a file, and
`asgard.quality.registry` has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality.phrases import Forms
from asgard.quality.predicates import Column, columns_of
from asgard.quality.tables import AuditContext, Tables

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RowKind:
    """A kind that looks at each row.

    Attributes:
        bad: SQL that is true for a bad row; false or null for every other.
        phrases: how good and bad rows are spoken of.
        noun: what is counted, `value` or `row`.
        every_row: all rows count; else those that have the check's only column.
        counted: SQL that is true for the rows that count, for kinds of several columns.
        alone: the predicate looks at other rows, too, and is asked in a query of its own.
    """

    bad: Callable[[Check, Tables], str]
    phrases: Callable[[Check], tuple[Forms, Forms]]
    noun: str = "value"
    every_row: bool = False
    counted: Callable[[Check, Tables], str] | None = None
    alone: bool = False


@dataclass(frozen=True)
class Asked:
    """What came back for a kind of tables.

    Attributes:
        rows: of its query; one row for aggregates, none for a kind that asks nothing.
        schema: the columns of the load.
    """

    rows: Rows
    schema: pa.Schema
    context: AuditContext

    @property
    def row(self) -> Mapping[str, Any]:
        """The only row."""
        return self.rows[0]


@dataclass(frozen=True)
class Found:
    """The answer of a kind of tables.

    Attributes:
        message: one sentence for people, with the figures.
        observed: the figure that was judged, as JSON.
    """

    passed: bool
    message: str
    observed: Any = None


@dataclass(frozen=True)
class TableKind:
    """A kind that looks at a table.

    Attributes:
        judge: the answer.
        aggregates: name to SQL, calculated in one scan with those of other checks.
        query: a SELECT of few rows, where aggregates do not do; empty where they do for this check.
        of_load: asks about the rows of the load; else about the table as it would be.
    """

    judge: Callable[[Check, Asked], Found]
    aggregates: Callable[[Check, Tables], Mapping[str, str]] | None = None
    query: Callable[[Check, Tables], str] | None = None
    of_load: bool = False


def column(check: Check, tables: Tables) -> Column:
    """The check's only column."""
    (found,) = columns_of(check, tables.schema)
    return found


def text_column(check: Check, tables: Tables, deed: str) -> Column:
    """The same, when it holds texts.

    Raises:
        ConfigError: it does not; says that only texts can `deed`.
    """
    found = column(check, tables)
    if not found.is_text:
        raise ConfigError(
            f"{found.name} is {found.type}, and only texts can {deed}", where={"check": check.name}
        )
    return found
