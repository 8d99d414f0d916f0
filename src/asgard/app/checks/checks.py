"""The wish to know whether tables are good as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from asgard.app.checks.contract_files import table_checks
from asgard.app.project.workspace import Workspace
from asgard.app.sources.streams import OpenSources, expand
from asgard.core.cancel import Cancel
from asgard.core.check import Check, CheckResult
from asgard.core.stream import Mode
from asgard.core.table import Table, TableName
from asgard.flow.ingest import in_lake_names, known_names, of_versions
from asgard.quality.audit import AuditContext, audit


def check_tables(workspace: Workspace, names: Sequence[str]) -> Iterator[tuple[str, CheckResult]]:
    """Runs the checks of tables that exist, over all their rows; nothing is changed.

    Args:
        names: tables as `Workspace.table` takes them; all that have checks when empty.

    Yields:
        Table and answer. A row_count that compares with the last load has nothing to compare with here.

    Raises:
        ConfigError: there is no table of a name, or a check does not fit its table.
    """
    chosen = {workspace.table(name).name for name in names}
    for name, checks in all_checks(workspace):
        if not chosen or name in chosen:
            yield from ((str(name), result) for result in answers(workspace, name, checks))


def answers(workspace: Workspace, name: TableName, checks: Sequence[Check]) -> tuple[CheckResult, ...]:
    """The answers to checks about a table as it is; none when it does not exist yet.

    Raises:
        ConfigError: a check does not fit the table.
    """
    table = workspace.lake.table(name)
    if not checks or not table.exists():
        return ()
    mount = table.mount()
    context = AuditContext(
        Mode.REPLACE, previous_rows=mount.rows, now=datetime.now(UTC), resolve=workspace.mount
    )
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        return audit(engine, fitted(table, checks), mount, table.mount, context).results


def fitted(table: Table, checks: Sequence[Check]) -> list[Check]:
    """The checks in the table's own names of columns."""
    names = known_names(table)
    return [in_lake_names(check, names) for check in checks]


def all_checks(workspace: Workspace) -> Iterator[tuple[TableName, tuple[Check, ...]]]:
    """The tables of the project with their checks, those of their contracts among them."""
    with OpenSources(workspace, Cancel()) as sources:
        for name, spec in workspace.project.sources.items():
            if any(table.checks or table.contract for table in spec.tables):
                for wanted in expand(sources, name, spec):
                    checks = table_checks(workspace.project, wanted.spec, wanted.table)
                    versions = wanted.spec.mode is Mode.HISTORY
                    yield wanted.table, tuple(map(of_versions, checks)) if versions else checks
    for model in workspace.models:
        checks = (*model.checks, *model.promises)
        yield model.name, tuple(map(of_versions, checks)) if model.spec.mode is Mode.HISTORY else checks


def checks_of_table(workspace: Workspace, name: TableName) -> tuple[Check, ...]:
    """The checks that the project has for a table; none for one that it does not know."""
    return next((checks for table, checks in all_checks(workspace) if table == name), ())


def contracts_of(workspace: Workspace) -> Iterator[tuple[TableName, tuple[Check, ...]]]:
    """The tables that have a contract, with what it asks."""
    with OpenSources(workspace, Cancel()) as sources:
        for name, spec in workspace.project.sources.items():
            if any(table.contract for table in spec.tables):
                for wanted in expand(sources, name, spec):
                    if wanted.spec.contract is not None:
                        only = wanted.spec.model_copy(update={"checks": ()})
                        yield wanted.table, table_checks(workspace.project, only, wanted.table)
    for model in workspace.models:
        if model.promises:
            is_history = model.spec.mode is Mode.HISTORY
            yield model.name, tuple(map(of_versions, model.promises)) if is_history else model.promises


def declared_checks(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """What tables must be up to, as the project says it: by table, or by source and name with wildcards.

    No source is asked, and no table looked at.
    """
    known: dict[str, list[dict[str, Any]]] = {}
    for source, spec in workspace.project.sources.items():
        for table in spec.tables:
            if table.checks or table.contract:
                name = table.table or table.name
                named = TableName("bronze", source, name.rpartition(".")[2])
                checks = table_checks(workspace.project, table, named)
                known[f"bronze.{source}.{name}"] = [_described(check) for check in checks]
    for model in workspace.models:
        if model.checks or model.promises:
            known[str(model.name)] = [_described(check) for check in (*model.checks, *model.promises)]
    return known


def _described(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "kind": check.kind,
        "columns": list(check.columns),
        "severity": check.severity,
        "on_fail": str(check.on_fail),
    }
