"""Wishes about pipelines: what loads each source of the project file, when, and how it went the last time."""

from __future__ import annotations

from typing import Any

from asgard.app.config.project import Project
from asgard.app.config.specs import SourceSpec, TableSpec
from asgard.app.jobs.jobs import JobWish, add_job
from asgard.app.jobs.schedules import schedules_of
from asgard.app.runs.history import journal_file
from asgard.core.errors import ConfigError
from asgard.state.journal import SqliteJournal

LOOKED_BACK_RUNS = 50


def listed(project: Project) -> dict[str, dict[str, Any]]:
    """The pipelines by name, which is that of their source."""
    return {name: _described(project, spec) for name, spec in project.sources.items()}


def shown(project: Project, name: str) -> dict[str, Any]:
    """One of them, with its tables and the newest step of each among the last runs.

    Raises:
        ConfigError: there is none of that name.
    """
    spec = _spec(project, name)
    journal = SqliteJournal(journal_file(project.state_folder), project.workspace)
    last: dict[str, dict[str, Any]] = {}
    for run in journal.runs(LOOKED_BACK_RUNS):
        for step in journal.steps(run["run"]):
            if step["step"].startswith(f"bronze.{name}.".casefold()):
                last.setdefault(step["step"], {"run": run["run"], **step})
    tables = [_table(spec, one) for one in spec.tables]
    return {**_described(project, spec), "tables": tables, "last": list(last.values())}


def run_pipeline(project: Project, name: str) -> dict[str, Any]:
    """Puts a load of all tables of one into the queue; gives its job.

    Raises:
        ConfigError: there is none of that name.
    """
    return add_job(project, JobWish((_spec(project, name).name,)))


def _spec(project: Project, name: str) -> SourceSpec:
    if name not in project.sources:
        raise ConfigError(f"there is no pipeline {name!r}", hint="GET /pipelines lists them")
    return project.sources[name]


def _described(project: Project, spec: SourceSpec) -> dict[str, Any]:
    known = schedules_of(project).values()
    return {
        "pipeline": spec.name,
        "source": spec.name,
        "type": spec.type,
        "description": spec.description,
        "destination": f"bronze.{spec.name}",
        "tables": len(spec.tables),
        "schedules": [one.name for one in known if one.name.partition("/")[0] == spec.name],
        "available": spec.unavailable is None,
    }


def _table(spec: SourceSpec, table: TableSpec) -> dict[str, Any]:
    return {
        "stream": table.name,
        "mode": str(table.mode) if table.mode else None,
        "primary_key": list(table.primary_key),
        "cursor": table.cursor,
        "frequency": table.frequency or spec.frequency,
        "checks": len(table.checks),
        "enabled": table.enabled,
    }
