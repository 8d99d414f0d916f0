"""Every kind of check that there is, by its name."""

from __future__ import annotations

from asgard.core.check import Check
from asgard.quality import (
    anomalies,
    json_texts,
    outliers,
    pairs,
    plain,
    queries,
    references,
    repetition,
    sets,
    shape,
    statistics,
    texts,
    whole,
)
from asgard.quality.failing import question_of
from asgard.quality.families import RowKind, TableKind
from asgard.quality.tables import Tables

ROW_KINDS: dict[str, RowKind] = {
    **plain.KINDS,
    **sets.ROW_KINDS,
    **texts.KINDS,
    **json_texts.KINDS,
    **pairs.KINDS,
    **outliers.KINDS,
    **references.KINDS,
    **repetition.KINDS,
}
"""Kinds that find bad rows."""

TABLE_KINDS: dict[str, TableKind] = {
    **whole.KINDS,
    **statistics.KINDS,
    **sets.TABLE_KINDS,
    **shape.KINDS,
    **queries.KINDS,
    **anomalies.KINDS,
}
"""Kinds that judge figures."""

OF_WHOLE = {"unique", "no_duplicates", "outliers"}
"""Kinds of rows that ask about the table as it would be."""


def asks_whole(check: Check) -> bool:
    """Whether the check asks about the table as it would be; else about the rows of the load."""
    kind = question_of(check).kind
    return kind in OF_WHOLE or (kind in TABLE_KINDS and not TABLE_KINDS[kind].of_load)


def bad_rows(check: Check, tables: Tables) -> str | None:
    """SQL that is true for the rows of the load that a failed check means; None when it means all.

    Raises:
        ConfigError: the check does not fit the table.
    """
    asked = question_of(check)
    if asked.kind not in ROW_KINDS:
        return None
    where = asked.options.get("where", "")
    found = ROW_KINDS[asked.kind].bad(asked, tables.only(where))
    return f"((\n{where}\n) AND {found})" if where else found
