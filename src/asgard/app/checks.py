"""The wish to know whether tables are good as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from asgard.app.streams import OpenSources, expand
from asgard.app.workspace import Workspace
from asgard.core.cancel import Cancel
from asgard.core.check import Check, CheckResult
from asgard.core.stream import Mode
from asgard.core.table import TableName
from asgard.flow.ingest import in_lake_names, known_names
from asgard.quality.audit import AuditContext, audit
from asgard.quality.spec import checks_of


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
    for name, checks in _all_checks(workspace):
        table = workspace.lake.table(name)
        if (chosen and name not in chosen) or not checks or not table.exists():
            continue
        mount = table.mount()
        fitted = [in_lake_names(check, known_names(table)) for check in checks]
        context = AuditContext(
            Mode.REPLACE, previous_rows=mount.rows, now=datetime.now(UTC), resolve=workspace.mount
        )
        with workspace.open_engine(workspace.budget.engine_bytes) as engine:
            verdict = audit(engine, fitted, mount, table.mount, context)
        for result in verdict.results:
            yield str(name), result


def _all_checks(workspace: Workspace) -> Iterator[tuple[TableName, tuple[Check, ...]]]:
    with OpenSources(workspace, Cancel()) as sources:
        for name, spec in workspace.project.sources.items():
            if any(table.checks for table in spec.tables):
                for wanted in expand(sources, name, spec):
                    yield wanted.table, checks_of(wanted.spec.checks)
    for model in workspace.models:
        yield model.name, model.checks


def declared_checks(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """What tables must be up to, as the project says it: by table, or by source and name with wildcards.

    No source is asked, and no table looked at.
    """
    known: dict[str, list[dict[str, Any]]] = {}
    for source, spec in workspace.project.sources.items():
        for table in spec.tables:
            if table.checks:
                known[f"bronze.{source}.{table.table or table.name}"] = [
                    _described(check) for check in checks_of(table.checks)
                ]
    for model in workspace.models:
        if model.checks:
            known[str(model.name)] = [_described(check) for check in model.checks]
    return known


def _described(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "kind": check.kind,
        "columns": list(check.columns),
        "severity": check.severity,
        "on_fail": str(check.on_fail),
    }
