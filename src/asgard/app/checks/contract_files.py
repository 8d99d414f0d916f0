"""Data contracts in files: read for a table of the project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asgard.app.config.project import Project
from asgard.app.config.specs import TableSpec
from asgard.app.config.text_files import document_of
from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.core.table import TableName
from asgard.quality.spec import checks_of, uniquely_named

if TYPE_CHECKING:
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
