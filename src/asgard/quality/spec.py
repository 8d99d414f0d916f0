"""A check as users write it in YAML: one kind and what it takes, turned into `core.check.Check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from asgard.core.check import Check, OnFail
from asgard.core.config import Config
from asgard.quality import (
    anomalies,
    json_texts,
    kinds,
    pairs,
    queries,
    sets,
    shape,
    statistics,
    texts,
    whole,
)
from asgard.quality.failing import Failing
from asgard.quality.outliers import Outliers
from asgard.quality.registry import ROW_KINDS

WITHOUT_CONDITION = {"columns", "column_count", "column_type", "query"}
"""Kinds that look at no rows, or say themselves at which."""


class CheckSpec(Config):
    """One entry of `checks:`, for example `{not_null: [id, customer_id], severity: warning}`.

    Exactly one kind; `mostly`, `severity`, `on_fail` and `name` stand beside it or inside of it.

    >>> [check.name for check in CheckSpec.model_validate({"not_null": ["id", "day"]}).checks()]
    ['not_null(id)', 'not_null(day)']
    """

    not_null: kinds.NotNull | None = None
    unique: kinds.Unique | None = None
    between: kinds.Between | None = None
    accepted_values: kinds.AcceptedValues | None = None
    matches: kinds.Matches | None = None
    type: kinds.Type | None = None
    row_count: kinds.RowCount | None = None
    fresh: kinds.Fresh | None = None
    referential: kinds.Referential | None = None
    no_duplicates: kinds.NoDuplicates | None = None
    non_negative: kinds.NonNegative | None = None
    expression: kinds.Expression | None = None
    is_null: texts.Null | None = None
    rejected_values: sets.RejectedValues | None = None
    distinct_values: sets.DistinctValues | None = None
    most_common: sets.MostCommon | None = None
    length: texts.Length | None = None
    regex: texts.Regex | None = None
    like: texts.Like | None = None
    time_format: texts.TimeFormat | None = None
    is_json: json_texts.IsJson | None = None
    compare: pairs.Compare | None = None
    pair_values: pairs.PairValues | None = None
    different: pairs.Different | None = None
    sum_of: pairs.SumOf | None = None
    outliers: Outliers | None = None
    columns: shape.ColumnsAre | None = None
    column_count: shape.ColumnCount | None = None
    column_type: shape.ColumnType | None = None
    statistic: statistics.Statistic | None = None
    same_row_count: whole.SameRowCount | None = None
    query: queries.Query | None = None
    failing: Failing | None = None
    anomaly: anomalies.Anomaly | None = None
    mostly: float | None = Field(None, gt=0, le=1, description="the share of rows that has to be good")
    severity: Literal["info", "warning", "error", "critical"] | None = Field(
        None, description="for people and alerts"
    )
    on_fail: OnFail | None = Field(
        None, description="stop the load, set the bad rows aside (quarantine), or only warn"
    )
    name: str | None = Field(None, min_length=1, description="for reports")
    where: kinds.Condition | None = Field(
        None, description="SQL about one row: only rows for which it is true are looked at"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        found = [kind.kind for kind in self._kinds()]
        if len(found) != 1:
            have = " and ".join(found) if found else "none"
            raise PydanticCustomError("check", f"a check has exactly one kind, this has {have}")
        if self._said("mostly", None) is not None and found[0] not in ROW_KINDS:
            raise PydanticCustomError("check", f"mostly is about rows, and {found[0]} looks at none")
        if self._said("where", None) is not None and found[0] in WITHOUT_CONDITION:
            raise PydanticCustomError("check", f"where is about rows, and {found[0]} asks for none")
        return self

    def _kinds(self) -> list[kinds.Kind]:
        fields = (getattr(self, name) for name in type(self).model_fields)
        return [value for value in fields if isinstance(value, kinds.Kind)]

    def _said(self, option: str, default: Any) -> Any:
        """The option as it stands inside of the kind, beside it, or by default."""
        inside, beside = getattr(self._kinds()[0], option), getattr(self, option)
        return inside if inside is not None else beside if beside is not None else default

    def checks(self) -> tuple[Check, ...]:
        """The checks of this entry: one for each column of not_null, non_negative and type, else one."""
        (kind,) = self._kinds()
        questions = list(kind.questions())
        given, where = self._said("name", None), self._said("where", None)
        made = []
        for columns, options in questions:
            name = kind.default_name(columns) if given is None else given
            if given is not None and len(questions) > 1:
                name = f"{given}({', '.join(columns)})"
            made.append(
                Check(
                    kind=kind.kind,
                    columns=columns,
                    options=options if where is None else {**options, "where": where},
                    mostly=self._said("mostly", 1.0),
                    severity=self._said("severity", "error"),
                    on_fail=self._said("on_fail", OnFail.STOP),
                    name=name,
                )
            )
        return tuple(made)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """For editors: exactly one of the kinds, and no nulls."""
        full = handler.resolve_ref_schema(handler(schema))
        kinds.without_nulls(full)
        options = set(kinds.Kind.model_fields)
        full["oneOf"] = [{"required": [name]} for name in cls.model_fields if name not in options]
        return full


def checks_of(specs: Iterable[CheckSpec]) -> tuple[Check, ...]:
    """The checks of a table, with names that are unique in it: a second one of a name is `name #2`."""
    return uniquely_named(check for spec in specs for check in spec.checks())


def uniquely_named(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The same checks, the second one of a name called `name #2`."""
    seen: Counter[str] = Counter()
    made = []
    for check in checks:
        seen[check.name] += 1
        count = seen[check.name]
        made.append(check if count == 1 else replace(check, name=f"{check.name} #{count}"))
    return tuple(made)
