"""A project, opened: the one place that picks the engine and the connectors."""

from __future__ import annotations

import os
import time
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from asgard.app.config.project import Project, load_project
from asgard.app.project.opened_lake import opened_lake
from asgard.app.runs.history import journal_file
from asgard.core.budget import Budget
from asgard.core.cancel import Cancel
from asgard.core.engine import Engine
from asgard.core.errors import ConfigError
from asgard.core.source import ReadSettings, Source
from asgard.core.table import Lake, Mount, Table, TableName
from asgard.state.journal import SqliteJournal
from asgard.transform.models import Model

ASKED_JUST_NOW_SECONDS = 2.0
"""A store of secrets that did not answer so short ago is not asked again for the next table."""
LAYERS = ("bronze", "silver", "gold")


class Workspace:
    """What every wish needs: the project, its lake, its history, its sources and its budget.

    Args:
        project: the project file, read.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        # Arrow's own allocator keeps what it was given: 50 MB of a run's peak, for no more speed (Promise 5).
        pa.set_memory_pool(pa.system_memory_pool())
        self.budget = Budget(project.memory_bytes, project.parallel)
        self._looked_up_at = time.monotonic()

    @classmethod
    def open(
        cls,
        project: str | Path | None = None,
        env: str | None = None,
        *,
        memory: str | None = None,
        parallel: int | None = None,
        with_sources: bool = True,
    ) -> Workspace:
        """Reads the project file and opens it; an environment beside production as what it is.

        Args:
            project: the file; by default asgard.yml in this folder or one above.
            env: the environment whose overlay is laid over it.
            memory: what a run may hold, such as `512MB`; goes before the file's.
            parallel: splits read at the same time; goes before the file's.
            with_sources: False leaves them out, for who looks at tables alone.

        Raises:
            ConfigError: with every mistake of the file.
        """
        found = load_project(project, env, memory=memory, parallel=parallel, with_sources=with_sources)
        if found.beside:
            from asgard.app.project.environments import BesideWorkspace  # which is a workspace itself

            return BesideWorkspace(found)
        return cls(found)

    def look_up_anew(self, older_than_seconds: float = 0.0) -> None:
        """Looks up anew what the sources' options refer to: secrets are exchanged while a process runs.

        Args:
            older_than_seconds: what was looked up later than that ago counts as now.

        Raises:
            ConfigError, Refused, Unreachable: as when the project was opened; it stays as it was.
        """
        if time.monotonic() - self._looked_up_at >= older_than_seconds:
            before, self.project = self.project.lake, self.project.looked_up_anew()
            if before != self.project.lake:
                self.__dict__.pop("lake", None)
            self._looked_up_at = time.monotonic()

    @cached_property
    def lake(self) -> Lake:
        """Where the tables lie."""
        return opened_lake(self.project.lake, self.project.folder)

    @cached_property
    def journal(self) -> SqliteJournal:
        """The history of runs."""
        return SqliteJournal(journal_file(self.project.state_folder), self.project.workspace)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The project's models, in the order of their dependencies."""
        from asgard.app.project.model_files import read_models  # with sqlglot, which a load does not need

        return read_models(self.project)

    def open_engine(self, memory_bytes: int) -> Engine:
        """An embedded engine that keeps to its memory and spills beside the project's state."""
        from asgard.engines.duckdb import DuckDBEngine  # 30 MB, which a load without checks does not need

        return DuckDBEngine(
            memory_bytes=memory_bytes,
            threads=min(os.cpu_count() or 1, 4),
            spill_folder=self.project.state_folder / "spill",
        )

    def source(self, name: str, cancel: Cancel | None = None) -> Source:
        """A source by its name, not yet connected.

        Raises:
            ConfigError: there is none of that name.
            Refused, Unreachable: a store does not give a secret that it refers to, asked anew.
        """
        spec = self.project.sources.get(name)
        if spec is not None and spec.unavailable is not None:
            self.look_up_anew(older_than_seconds=ASKED_JUST_NOW_SECONDS)
            spec = self.project.sources[name]
            if spec.unavailable is not None:
                raise spec.unavailable
        if spec is None:
            raise ConfigError(
                f"there is no source {name!r}",
                hint=f"{self.project.file.name} has: {', '.join(self.project.sources) or 'none'}",
            )
        settings = ReadSettings(self.budget.batch_bytes, cancel or Cancel(), self.budget.reader_bytes)
        source: Source = spec.connector_class(spec.config, name, settings)
        return source

    def table(self, name: str) -> Table:
        """A table that exists, by `bronze.shop.orders`, or by the end of its name if that is clear.

        Raises:
            ConfigError: there is none, or more than one, of that name.
        """
        found = [one for one in self.lake.tables() if str(one) == name]
        found = found or [one for one in self.lake.tables() if f".{one}".lower().endswith(f".{name.lower()}")]
        if len(found) != 1:
            said = (
                f"{name!r} could be {' or '.join(map(str, found))}"
                if found
                else f"there is no table {name!r}"
            )
            raise ConfigError(said, hint="asgard tables lists what there is")
        return self.lake.table(found[0])

    def mount(self, name: TableName) -> Mount:
        """The newest version of a table, for an engine.

        Raises:
            ConfigError: it does not exist yet.
        """
        return self._existing(name).mount()

    def pinned(self, name: TableName) -> tuple[int, Mount]:
        """The newest version of a table, and its rows.

        Raises:
            ConfigError: it does not exist yet.
        """
        table = self._existing(name)
        version = table.versions(1)[0].version
        return version, table.mount(version)

    def _existing(self, name: TableName) -> Table:
        table = self.lake.table(name)
        if not table.exists():
            raise ConfigError(f"table {name} does not exist yet", hint=f"asgard run {name} makes it")
        return table
