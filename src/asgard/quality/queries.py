"""A query of one's own over the table: its figure has bounds, or no row may come back.

The table as it would be is called `{table}`; nothing else can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from asgard.core.check import Check
from asgard.quality.bounds import BoundedKind, figure_json, figure_text, number_of_text, wanted_text, within
from asgard.quality.families import Asked, Found, TableKind
from asgard.quality.kinds import Question, fault
from asgard.quality.phrases import some
from asgard.quality.tables import TABLE, Tables


def _checked(value: Any) -> Any:
    from asgard.quality.expression import query_fault_of  # with sqlglot, for the few projects that have one

    if isinstance(value, str) and (wrong := query_fault_of(value)):
        raise fault(wrong)
    return value


class Query(BoundedKind):
    """A SELECT over `{table}`: one figure that keeps to bounds; without bounds, no row may come back."""

    kind = "query"
    short = "sql"
    sql: Annotated[str, BeforeValidator(_checked)] = Field(min_length=1)

    def questions(self) -> Iterator[Question]:
        yield (), {"sql": self.sql, **self.bounds()}

    def default_name(self, columns: tuple[str, ...]) -> str:
        return f"{self.kind}({' '.join(self.sql.split())})"


def _bounded(check: Check) -> bool:
    return "min" in check.options or "max" in check.options


def _query(check: Check, tables: Tables) -> str:
    # On lines of its own: a comment at its end must not swallow the bracket.
    sql = f"(\n{check.options['sql'].rstrip().removesuffix(';').replace(TABLE, tables.whole_sql)}\n)"
    if _bounded(check):
        return f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {sql} LIMIT 2"
    return f"SELECT count(*) AS n FROM {sql}"


def _judged(check: Check, asked: Asked) -> Found:
    if not _bounded(check):
        rows = int(asked.row["n"])
        return Found(rows == 0, f"the query finds {some(rows, 'row')}", rows)
    if len(asked.rows) != 1 or len(asked.row) != 1:
        return Found(False, "the query must give one row with one figure")
    (value,) = asked.row.values()
    number = number_of_text(value)
    figure = value if number is None else number
    passed = within(check.options, figure)
    message = "the query gives " + ("nothing" if value is None else figure_text(figure))
    if not passed:
        message += f", {wanted_text(check.options)} is wanted"
    return Found(passed, message, figure_json(figure))


KINDS = {"query": TableKind(_judged, query=_query)}
