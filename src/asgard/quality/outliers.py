"""Values far from the others of their column, in standard deviations. Calculated in double precision."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.types as at
from pydantic import Field

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality.families import RowKind, column
from asgard.quality.kinds import Kind, Name, Question
from asgard.quality.phrases import Forms
from asgard.quality.tables import Tables


class Outliers(Kind):
    """A column whose values must be fewer standard deviations than `below` away from their mean."""

    kind = "outliers"
    column: Name
    below: float = Field(gt=0, description="standard deviations")
    one_sided: bool = Field(False, description="only values above the mean are looked at")

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {"below": self.below, "one_sided": self.one_sided}


def _bad(check: Check, tables: Tables) -> str:
    found = column(check, tables)
    if not (at.is_integer(found.type) or at.is_decimal(found.type) or at.is_floating(found.type)):
        what = f"{found.name} is {found.type}, and only numbers have a standard deviation"
        raise ConfigError(what, where={"check": check.name})
    value = f"CAST({found.sql} AS DOUBLE)"
    mean = f"(SELECT avg({value}) FROM {tables.whole_sql})"
    spread = f"(SELECT stddev_samp({value}) FROM {tables.whole_sql})"
    away = f"({value} - {mean})" if check.options["one_sided"] else f"abs({value} - {mean})"
    return f"({away} >= {check.options['below']!r} * {spread} AND {spread} > 0)"


def _phrases(check: Check) -> tuple[Forms, Forms]:
    what = f"within {check.options['below']:g} standard deviations"
    return (f"is {what}", f"are {what}"), (f"is not {what}", f"are not {what}")


KINDS = {"outliers": RowKind(_bad, _phrases, alone=True)}
