"""Wishes about tables that have a contract: ask it, or write one from a table as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from asgard.app.checks.checks import answers, checks_of_table, contracts_of
from asgard.app.checks.contract_files import ContractFile, contract_files
from asgard.app.config.specs import TableSpec
from asgard.app.project.workspace import Workspace
from asgard.core.check import Check, CheckResult
from asgard.core.stream import Mode
from asgard.core.table import TableName

FLAGS = ("not_null", "unique")
"""Kinds of checks that a contract says at the column itself."""


def named_contracts(workspace: Workspace) -> list[ContractFile]:
    """The contracts that the project's file and its models name."""
    of_models = [ContractFile(str(one.name), one.contract) for one in workspace.models if one.contract]
    return [*contract_files(workspace.project), *of_models]


def check_contracts(workspace: Workspace, names: Sequence[str]) -> Iterator[tuple[str, CheckResult]]:
    """Asks the contracts of tables that exist, and no other checks, over all their rows.

    Args:
        names: tables; all that have a contract when empty.

    Raises:
        ConfigError: there is no table of a name, or none of these has a contract.
    """
    chosen = {workspace.table(name).name for name in names}
    for table, checks in contracts_of(workspace):
        if not chosen or table in chosen:
            yield from ((str(table), result) for result in answers(workspace, table, checks))


def contract_of_table(workspace: Workspace, name: str, contract_id: str = "") -> dict[str, Any]:
    """A contract of a table as it is now: its columns, and the checks that the project has for it.

    Raises:
        ConfigError: there is no table of that name.
    """
    from asgard.quality.odcs import read_contract
    from asgard.quality.odcs_writing import Heading, write_contract

    table = workspace.table(name)
    keys = next(_keys(workspace, table.name), ())
    heading = Heading(
        id=contract_id or hashlib.sha256(f"{workspace.project.name}/{table.name}".encode()).hexdigest()[:32],
        table=table.name.name,
        physical=str(table.name),
        primary_key=keys,
        created_at=datetime.now(UTC),
    )
    checks = checks_of_table(workspace, table.name)
    # What the columns alone promise is no rule besides: a contract that is written again says the same.
    implied = read_contract(write_contract(heading, table.schema(), ()), heading.table).checks
    told = [_asked(check) for check in implied if check.kind not in FLAGS]
    return write_contract(heading, table.schema(), [one for one in checks if _asked(one) not in told])


def _asked(check: Check) -> tuple[Any, ...]:
    return check.kind, check.columns, dict(check.options), check.mostly, check.on_fail


def _keys(workspace: Workspace, name: TableName) -> Iterator[tuple[str, ...]]:
    """What tells rows apart, as source or model say; of a history nothing does: keys come once a version."""
    yield from (spec.primary_key for spec in _specs(workspace, name) if spec.mode is not Mode.HISTORY)
    models = (model.spec for model in workspace.models if model.name == name)
    yield from (spec.primary_key for spec in models if spec.mode is Mode.MERGE)


def _specs(workspace: Workspace, name: TableName) -> Iterator[TableSpec]:
    source = workspace.project.sources.get(name.source)
    for spec in source.tables if source else ():
        if (spec.table or spec.name.rpartition(".")[2]).casefold() == name.name.casefold():
            yield spec
