"""An environment beside production: models that are another than production's are built in a place of their
own, everything else is read where it lies.

Nothing is copied to begin with, and nothing of production can be written. Which tables are the environment's
own follows from what tables say they were built from: once production has the same models, nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa

from asgard.app.config.project import Project
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError, Refused
from asgard.core.position import Position
from asgard.core.table import (
    Compacted,
    Lake,
    Load,
    LoadRequest,
    Mount,
    Table,
    TableName,
    Upkeep,
    Vacuumed,
    Version,
)
from asgard.transform.built import STREAM, Built, built_by
from asgard.transform.models import Model


class BesideWorkspace(Workspace):
    """The workspace of an environment whose file says `beside: true`."""

    @cached_property
    def lake(self) -> BesideLake:
        """Production's tables, and in the place of those that are made in another way, its own."""
        production = self.project.production()
        own = replace(self.project, lake=_own_place(self.project, production))
        return BesideLake(Workspace(production).lake, Workspace(own).lake, self.models)


def beside(workspace: Workspace) -> BesideLake:
    """The lake of an environment beside production.

    Raises:
        ConfigError: the environment is none of those.
    """
    if not isinstance(workspace, BesideWorkspace):
        name = workspace.project.environment
        raise ConfigError(
            f"the environment {name} is not beside production" if name else "this is production",
            hint="asgard.dev.yml with `beside: true` makes an environment dev that is",
        )
    return workspace.lake


def _own_place(project: Project, production: Project) -> Any:
    """Where the environment's own tables lie: where its file says, or in a folder beside production's."""
    spec, theirs = project.lake, production.lake
    if spec.catalog is not None and spec.catalog.uri is not None and spec.catalog == theirs.catalog:
        raise ConfigError(
            f"{project.environment} has no catalog of its own: its tables would be production's there",
            hint=f"set lake.catalog in asgard.{project.environment}.yml: another warehouse or server",
        )
    if spec.location.rstrip("/") != theirs.location.rstrip("/"):
        return spec
    _, separator, rest = spec.location.rstrip("/").partition("://")
    if separator and "/" not in rest:
        raise ConfigError(
            f"{project.environment} has no place of its own: the lake is the whole of {spec.location}",
            hint=f"set lake.location in asgard.{project.environment}.yml",
        )
    return spec.model_copy(update={"location": f"{spec.location.rstrip('/')}-{project.environment}"})


class BesideLake:
    """Two lakes as one.

    Args:
        production: read, and never written.
        own: of the environment.
        models: in their order.
    """

    def __init__(self, production: Lake, own: Lake, models: Sequence[Model]) -> None:
        self.production = production
        self.own = own
        self._models = models

    @cached_property
    def changed(self) -> frozenset[TableName]:
        """The tables of models that are another than those that built production, and those behind them."""
        found: set[TableName] = set()
        for model in self._models:
            built = self.built_in_production(model.name)
            if built is None or not built.is_of(built_by(model)) or found & set(model.upstream):
                found.add(model.name)
        return frozenset(found)

    def built_in_production(self, name: TableName) -> Built | None:
        """What production's table was built from; None when it was not, by a model."""
        table = self.production.table(name)
        return Built.of(table.position(STREAM)) if table.exists() else None

    def beside_of(self, model: Model) -> dict[str, Any]:
        """What is kept with the environment's table: which model stands in production now, and which of the
        tables that it reads are the environment's own."""
        built = self.built_in_production(model.name)
        own = sorted(str(name) for name in model.upstream if name in self.changed)
        return {"model": built.fingerprint if built else "", "own": own}

    def table(self, name: TableName) -> Table:
        """The environment's own table, or production's to be read."""
        return self.own.table(name) if name in self.changed else Production(self.production.table(name))

    def tables(self) -> Iterator[TableName]:
        """All that can be read, sorted."""
        there = {name for name in self.production.tables() if name not in self.changed}
        yield from sorted(there | {name for name in self.changed if self.own.table(name).exists()})

    def sweep(self, before: datetime, dry_run: bool = False) -> list[str]:
        """In the environment's own place alone."""
        return self.own.sweep(before, dry_run)


class Production:
    """A table of production, to be read alone."""

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self._table = table

    def exists(self) -> bool:
        """As production's."""
        return self._table.exists()

    def schema(self, at: int | datetime | None = None) -> pa.Schema:
        """As production's."""
        return self._table.schema(at)

    def position(self, stream: str) -> Position | None:
        """As production's."""
        return self._table.position(stream)

    def load(self, request: LoadRequest) -> Load:
        """Is refused."""
        raise self._refusal()

    def mount(self, at: int | datetime | None = None) -> Mount:
        """As production's."""
        return self._table.mount(at)

    def quarantined(self) -> Mount | None:
        """As production's."""
        return self._table.quarantined()

    def scan(
        self, columns: list[str] | None = None, where: str | None = None, at: int | datetime | None = None
    ) -> pa.RecordBatchReader:
        """As production's."""
        return self._table.scan(columns, where, at)

    def versions(self, limit: int = 20) -> list[Version]:
        """As production's."""
        return self._table.versions(limit)

    def compact(
        self,
        run: str,
        stopped: Callable[[], bool],
        alone: Callable[[], AbstractContextManager[object]],
        order_by: Sequence[str] = (),
    ) -> Compacted | None:
        """Does nothing: production tidies up itself."""
        return None

    def upkeep(self, order_by: Sequence[str] | None = None) -> Upkeep:
        """There is nothing to do from here."""
        return Upkeep()

    def expire(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Does nothing: production tidies up itself."""
        return Vacuumed(0, 0, -1)

    def vacuum(self, before: datetime, dry_run: bool = False) -> Vacuumed:
        """Does nothing: production tidies up itself."""
        return Vacuumed(0, 0, -1)

    def undo(self, run: str = "") -> Version:
        """Is refused."""
        raise self._refusal()

    def accept(self, stream: str, resync: bool) -> None:
        """Is refused."""
        raise self._refusal()

    def _refusal(self) -> Refused:
        return Refused(
            f"{self.name} is production's: this environment reads it and changes nothing",
            hint="without --env, production itself is changed",
        )


def changed_models(workspace: Workspace, models: Iterable[Model]) -> list[Model]:
    """Of some models those that are built here: all of them, but in an environment beside production."""
    if not isinstance(workspace, BesideWorkspace):
        return list(models)
    return [model for model in models if model.name in workspace.lake.changed]
