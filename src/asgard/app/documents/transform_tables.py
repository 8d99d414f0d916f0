"""What the names in a transform's SELECT mean: tables of its sink, by every name that people give them."""

from __future__ import annotations

from asgard.app.project.workspace import Workspace
from asgard.core.errors import QueryError
from asgard.core.names import LAYERS, fold
from asgard.core.table import TableName

SOURCE_DATA = "source_data"
"""The one bronze table that there is, or the one of that name."""


def tables_read(workspace: Workspace, sql: str) -> dict[tuple[str, ...], TableName]:
    """Which table each name of the statement means.

    Raises:
        QueryError: there is none, or more than one, of that name.
    """
    from asgard.transform.dependencies import names_read

    there = list(workspace.lake.tables())
    return {parts: _table(parts, there) for parts in names_read(sql)}


def _table(parts: tuple[str, ...], there: list[TableName]) -> TableName:
    written = ".".join(parts)
    bronze = [name for name in there if name.layer == "bronze"]
    if len(parts) == 1 and fold(written) == SOURCE_DATA:
        candidates = [name for name in bronze if fold(name.name) == SOURCE_DATA] or bronze
    elif len(parts) == 1:
        candidates = [name for name in bronze if fold(name.name) == fold(written)]
    elif fold(parts[0]) in LAYERS:
        candidates = [name for name in there if fold(str(name)) == fold(written)]
    else:
        candidates = [name for name in bronze if fold(f"{name.source}.{name.name}") == fold(written)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        listed = ", ".join(map(str, candidates[:10]))
        raise QueryError(f"{written} could be each of {len(candidates)} tables", hint=f"one of {listed}")
    known = ", ".join(map(str, bronze[:10]))
    raise QueryError(
        f"there is no table {written}", hint=f"there are: {known}" if known else "nothing is ingested yet"
    )
