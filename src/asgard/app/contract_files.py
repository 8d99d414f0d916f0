"""Data contracts in files: read for a table of the project, checked against its rows, written from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from asgard.app.mistakes import Mistakes
from asgard.app.project import Project
from asgard.app.specs import TableSpec
from asgard.app.yaml_text import read_yaml
from asgard.core.check import Check, CheckResult
from asgard.core.errors import ConfigError, Refused
from asgard.core.table import TableName
from asgard.quality.spec import checks_of, uniquely_named

if TYPE_CHECKING:
    from asgard.app.workspace import Workspace
    from asgard.quality.odcs import Contract


@dataclass(frozen=True)
class ContractFile:
    """A contract of a table of the project: `contracts/sales.odcs.yaml#orders`.

    Attributes:
        table: of the project, as asgard.yml names it; a pattern where it has a `*`.
        file: as it is written.
    """

    table: str
    file: str


def contract_files(project: Project) -> list[ContractFile]:
    """The contracts that the project's file names."""
    return [
        ContractFile(f"bronze.{source}.{table.table or table.name}", table.contract)
        for source, spec in project.sources.items()
        for table in spec.tables
        if table.contract is not None
    ]


def table_checks(project: Project, spec: TableSpec, table: TableName) -> tuple[Check, ...]:
    """What a table must be up to: its contract, and its own checks.

    Raises:
        ConfigError: the contract cannot be read, or has rules that cannot be asked.
    """
    own = checks_of(spec.checks)
    if spec.contract is None:
        return own
    return uniquely_named([*read_contract_file(project.folder, spec.contract, table.name).checks, *own])


def read_contract_file(folder: Path, file: str, table: str) -> Contract:
    """The part of a contract's file that is about a table.

    Args:
        folder: where a relative path begins.
        file: its path; behind a `#` what the contract calls the table, if that is another name.

    Raises:
        ConfigError: there is no such file, it is no contract, or has rules that cannot be asked.
    """
    from asgard.quality.odcs import read_contract  # with sqlglot, for the projects that have contracts

    path, _, name = file.partition("#")
    try:
        return read_contract(document_of(folder / path, file), name or table)
    except ConfigError as error:
        raise ConfigError(error.what, hint=error.hint, where={"file": file, **error.where}) from error


def document_of(path: Path, called: str) -> Any:
    """What a file of YAML or JSON says; dates stay texts.

    Raises:
        ConfigError: there is none, or it is no YAML.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {called}", hint="paths begin at the project file's folder")
    mistakes = Mistakes()
    node = read_yaml(path, called, mistakes)
    mistakes.raise_if_any()
    return None if node is None else node.plain()


def check_contracts(workspace: Workspace, names: Sequence[str]) -> Iterator[tuple[str, CheckResult]]:
    """Asks the contracts of tables that exist, and no other checks, over all their rows.

    Args:
        names: tables; all that have a contract when empty.

    Raises:
        ConfigError: there is no table of a name, or none of these has a contract.
    """
    from asgard.app.checks import answers, contracts_of  # which reads contracts by this module

    chosen = {workspace.table(name).name for name in names}
    for table, checks in contracts_of(workspace):
        if not chosen or table in chosen:
            yield from ((str(table), result) for result in answers(workspace, table, checks))


def contract_of_table(workspace: Workspace, name: str, contract_id: str = "") -> dict[str, Any]:
    """A contract of a table as it is now: its columns, and the checks that the project has for it.

    Raises:
        ConfigError: there is no table of that name.
    """
    from asgard.app.checks import checks_of_table
    from asgard.quality.odcs_writing import Heading, write_contract

    table = workspace.table(name)
    keys = next((spec.primary_key for spec in _specs(workspace, table.name)), ())
    heading = Heading(
        id=contract_id or hashlib.sha256(f"{workspace.project.name}/{table.name}".encode()).hexdigest()[:32],
        table=table.name.name,
        physical=str(table.name),
        primary_key=keys,
        created_at=datetime.now(UTC),
    )
    return write_contract(heading, table.schema(), checks_of_table(workspace, table.name))


def _specs(workspace: Workspace, name: TableName) -> Iterator[TableSpec]:
    source = workspace.project.sources.get(name.source)
    for spec in source.tables if source else ():
        if (spec.table or spec.name.rpartition(".")[2]).casefold() == name.name.casefold():
            yield spec


def yaml_of(document: Any) -> str:
    """A document as YAML, its keys in their order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def write_file(path: Path, text: str, *, replace: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        ConfigError: it is there already, and may not be replaced.
        Refused: it cannot be written.
    """
    if path.exists() and not replace:
        raise ConfigError(f"{path} is there already", hint="--force replaces it")
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
