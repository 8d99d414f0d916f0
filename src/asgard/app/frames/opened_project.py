"""A project as Python programs use it: `asgard.Project("asgard.yml").run()`.

Translates only: what a run is, and what a query may name, is the business of the wishes that the commands use
as well.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from asgard.app.frames.frames import chosen_backend, from_arrow
from asgard.app.frames.listening import tell
from asgard.app.models import plan as plans
from asgard.app.models.plan import Plan
from asgard.app.project.workspace import Workspace
from asgard.app.runs import runs
from asgard.app.tables import tables
from asgard.flow.run import Summary


class Project:
    """A project, opened. Events of its runs go to `asgard.listen`.

    Args:
        file: the project file, or a folder at or below it; by default asgard.yml in this folder or above.
        env: the environment whose overlay is laid over it.
        memory: what a run may hold, such as `512MB`; the project's by default.
        parallel: splits read at the same time; the project's by default.

    Raises:
        ConfigError: with every mistake of the file.
    """

    def __init__(
        self,
        file: str | Path | None = None,
        env: str | None = None,
        *,
        memory: str | None = None,
        parallel: int | None = None,
    ) -> None:
        self._workspace = Workspace.open(file, env, memory=memory, parallel=parallel)

    @property
    def file(self) -> Path:
        """The project file."""
        return self._workspace.project.file

    def run(self, *selectors: str, full_refresh: bool = False, check: bool = True) -> Summary:
        """Loads streams and builds models.

        Args:
            selectors: sources (`shop`), streams (`shop.orders`), tables, models (`gold.revenue`,
                `+gold.revenue` with what it reads); none for everything.
            full_refresh: reads everything anew and replaces the tables.
            check: raises when a step failed; else the summary tells.

        Raises:
            AsgardError: the error of the first step that failed, after all others have ended.
        """
        summary = runs.run(self._workspace, runs.RunWish(selectors, full_refresh), tell)
        return _checked(summary, check)

    def plan(self, *selectors: str, full: bool = False) -> Plan:
        """What a run would build of the models, and why; nothing is built, and no source is asked.

        Args:
            selectors: models (`gold.revenue`, `+gold.revenue`, `silver.orders+`); none for all.
            full: everything is built whole, whatever changed.

        Raises:
            ConfigError: a selector means no model.
        """
        return plans.plan(self._workspace, selectors, full=full)

    def promote(self, *, force: bool = False, check: bool = True) -> Summary:
        """Makes the tables of an environment beside production production's, each in one commit.

        Args:
            force: also where production moved meanwhile.
            check: raises when a step failed; else the summary tells.

        Raises:
            Refused: production moved meanwhile, or something is to be built first; nothing was promoted.
            AsgardError: the error of the first step that failed.
        """
        from asgard.app.models.promote import promote  # for environments alone

        return _checked(promote(self._workspace, tell, force=force), check)

    def diff(self, a: str, b: str = "", **options: Any) -> dict[str, Any]:
        """How two tables differ, or two versions of one, as `asgard diff --json` tells it.

        Args:
            options: of `app.tables.diff.DiffWish`: at_a, at_b, keys, ignore, metadata, samples.

        Raises:
            ConfigError: there is no such table, version or key.
            DataError: a key comes twice.
        """
        from asgard.app.tables.diff import DiffWish, diff, diff_as_dict

        def opened(environment: str | None) -> Workspace:
            return (
                Workspace.open(self.file, environment, with_sources=False) if environment else self._workspace
            )

        return diff_as_dict(diff(opened, DiffWish(a, b, **options)))

    def lineage(self, table: str, column: str = "") -> dict[str, Any]:
        """What the columns of a table are made of; of one column, every step to it and from it.

        Raises:
            ConfigError: there is no such table or column.
        """
        from asgard.app.models.lineage import LineageGraph  # with sqlglot

        graph = LineageGraph(self._workspace)
        return graph.of_column(table, column) if column else graph.of(table)

    def query(self, sql: str, *, at: int | datetime | None = None, backend: str = "auto") -> Any:
        """The rows of one SELECT over `bronze.SOURCE.TABLE`, `silver.TABLE` and `gold.TABLE`, as a frame.

        Args:
            at: a version (for a query over one table) or an instant to which all tables are taken back.
            backend: pandas, polars, arrow or duckdb.

        Raises:
            QueryError: the statement is wrong.
            ConfigError: a table does not exist.
        """
        library = chosen_backend(backend)
        with tables.query(self._workspace, sql, at) as rows:
            return from_arrow(rows.read_all(), library)

    def table(self, name: str, *, at: int | datetime | None = None, backend: str = "auto") -> Any:
        """All rows of a table as a frame, by `bronze.shop.orders`, or the end of its name if that is clear.

        Raises:
            ConfigError: there is none, or more than one, of that name.
        """
        library = chosen_backend(backend)
        return from_arrow(self._workspace.table(name).scan(at=at).read_all(), library)

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        return [str(name) for name in self._workspace.lake.tables()]

    def __repr__(self) -> str:
        return f"Project({str(self.file)!r})"


def _checked(summary: Summary, check: bool) -> Summary:
    failures = [outcome.error for outcome in summary.outcomes if outcome.error is not None]
    if check and failures:
        raise failures[0]
    return summary
