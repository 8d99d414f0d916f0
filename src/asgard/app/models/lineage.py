"""The wish to know what columns are made of, through all models down to bronze, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from asgard.app.project.workspace import Workspace
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.names import RESERVED_PREFIX, fold
from asgard.core.table import TableName
from asgard.transform.lineage import Lineage, Origin, Use, lineage_of
from asgard.transform.models import Model

__all__ = ["LineageGraph"]


@dataclass(frozen=True)
class Step:
    """One column from another: `target` is made of `source`, or chosen by it."""

    source: Origin
    target: Origin
    uses: frozenset[Use]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "from": f"{self.source.table}.{self.source.column}",
            "to": f"{self.target.table}.{self.target.column}",
            "uses": sorted(self.uses),
        }


class LineageGraph:
    """The columns of all models of a project. Columns of tables are those that the lake has, and those of
    models what their SQL makes now.

    Args:
        workspace: the project; its sources are not asked.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.unknown: dict[str, str] = {}
        """Models whose SQL cannot be followed, and why."""

    @cached_property
    def models(self) -> Mapping[str, Lineage]:
        """Model to its lineage, in the order in which they are built."""
        found: dict[str, Lineage] = {}
        for model in self._workspace.models:
            columns = {name: self._columns(name, found) for name in model.upstream}
            try:
                found[str(model.name)] = lineage_of(model.sql, columns, model.spec.dialect)
            except AsgardError as error:
                self.unknown[str(model.name)] = error.what
        return found

    def named(self, name: str) -> dict[str, Any]:
        """A table, or a column by the name of its table and its own: `gold.revenue.total`; as JSON.

        Raises:
            ConfigError: there is no such table or column.
        """
        try:
            return self.of(name)
        except ConfigError as error:
            table, dot, column = name.rpartition(".")
            if not dot:
                raise
            try:
                return self.of_column(table, column)
            except ConfigError as other:
                raise (error if "no table" in other.what else other) from None

    def of(self, name: str) -> dict[str, Any]:
        """A table: each of its columns with what it is made of, and what chooses its rows; as JSON.

        Raises:
            ConfigError: there is no such model or table.
        """
        table = self._table(name)
        if table not in self.models:
            columns: dict[str, list[dict[str, Any]]] = {one: [] for one in self._columns_of(table)}
            return {"table": table, "columns": columns, "rows": [], "read_by": self._readers(table)}
        known = self.models[table]
        return {
            "table": table,
            "columns": {name: _told(inputs) for name, inputs in known.columns.items()},
            "rows": _told(known.rows),
            "read_by": self._readers(table),
        }

    def of_column(self, name: str, column: str) -> dict[str, Any]:
        """A column: every step from the tables that are read to it, and every step from it on; as JSON.

        Raises:
            ConfigError: there is no such column.
        """
        table = self._table(name)
        known = {fold(one): one for one in self._columns_of(table)}
        if fold(column) not in known:
            raise ConfigError(f"{table} has no column {column}", hint=f"it has {', '.join(known.values())}")
        start = Origin(table, known[fold(column)])
        return {
            "table": table,
            "column": start.column,
            "upstream": [step.as_dict() for step in self._followed(start, self._made_of)],
            "downstream": [step.as_dict() for step in self._followed(start, self._used_by)],
        }

    def _followed(self, start: Origin, steps: Any) -> Iterator[Step]:
        """Every step away from a column, nearest first, each column's once."""
        waiting, seen = [start], {start}
        while waiting:
            here = waiting.pop(0)
            for step, there in steps(here):
                yield step
                if there not in seen:
                    seen.add(there)
                    waiting.append(there)

    def _made_of(self, column: Origin) -> Iterator[tuple[Step, Origin]]:
        known = self.models.get(column.table)
        for source, uses in (known.columns.get(column.column, {}) if known else {}).items():
            yield Step(source, column, uses), source

    def _used_by(self, column: Origin) -> Iterator[tuple[Step, Origin]]:
        for table, known in self.models.items():
            for name, inputs in known.columns.items():
                if column in inputs:
                    yield Step(column, Origin(table, name), inputs[column]), Origin(table, name)
            if column in known.rows:
                rows = Origin(table, "*")
                yield Step(column, rows, known.rows[column]), rows

    def _readers(self, table: str) -> list[str]:
        return [str(model.name) for model in self._workspace.models if table in map(str, model.upstream)]

    def _table(self, name: str) -> str:
        known = list(self.models)
        found = [one for one in known if fold(one) == fold(name)]
        found = found or [one for one in known if fold(one).endswith(fold(f".{name}"))]
        return found[0] if len(found) == 1 else str(self._workspace.table(name).name)

    def _columns_of(self, table: str) -> list[str]:
        if table in self.models and "*" not in self.models[table].columns:
            return list(self.models[table].columns)
        return list(self._columns(self._workspace.table(table).name, {}))

    def _columns(self, name: TableName, before: Mapping[str, Lineage]) -> Iterable[str]:
        known = before.get(str(name))
        if known is not None and known.columns and "*" not in known.columns:
            return list(known.columns)
        table = self._workspace.lake.table(name)
        there = table.schema().names if table.exists() else []
        return [column for column in there if not column.startswith(RESERVED_PREFIX)]


def model_lineage(workspace: Workspace, model: Model) -> Lineage:
    """The lineage of one model, by the columns that the tables it reads have now.

    Raises:
        QueryError: its SQL cannot be followed.
    """
    columns = {}
    for name in model.upstream:
        table = workspace.lake.table(name)
        columns[name] = table.schema().names if table.exists() else []
    return lineage_of(model.sql, columns, model.spec.dialect)


def _told(inputs: Mapping[Origin, frozenset[Use]]) -> list[dict[str, Any]]:
    return [
        {"table": origin.table, "column": origin.column, "uses": sorted(uses)}
        for origin, uses in inputs.items()
    ]
