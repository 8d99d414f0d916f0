"""Wishes about suites of Great Expectations: take one over, show it, write one from a table's checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asgard.app.checks.checks import checks_of_table
from asgard.app.checks.expectation_store import ExpectationStores
from asgard.app.config.text_files import document_of
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError
from asgard.quality.entries import entry_of
from asgard.quality.suites import Suite, expectation_of, read_suite, write_suite


class _AnyParameter(Mapping[str, Any]):
    """Knows every parameter: what a suite asks can be looked at before its parameters are given."""

    def __getitem__(self, name: str) -> Any:
        return 1

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def import_suite(stores: ExpectationStores, file: Path, name: str = "", *, partial: bool = False) -> Suite:
    """Takes a suite over from its JSON file.

    Args:
        name: what it is called here; by default as it calls itself.
        partial: takes it although some of its expectations cannot be asked.

    Raises:
        ConfigError: it is no suite, or not every expectation can be asked.
    """
    document = document_of(file, str(file))
    suite = read_suite(document, _AnyParameter(), datetime.now(UTC))
    if suite.refused and not partial:
        hint = "--partial takes the others; what each expectation means is in the page about expectations"
        raise ConfigError("\n".join(suite.refused), hint=hint, where={"suite": suite.name})
    stores.suites.put(name or suite.name, {"document": document})
    return suite


def stored_suite(stores: ExpectationStores, name: str, parameters: Mapping[str, Any] | None = None) -> Suite:
    """A suite of the store; without parameters, for a look at what it asks.

    Raises:
        ConfigError: there is none, or a parameter is not known.
    """
    known = _AnyParameter() if parameters is None else parameters
    return read_suite(stores.suites.get(name)["document"], known, datetime.now(UTC))


def suite_of_table(
    workspace: Workspace, table: str, name: str, major: int
) -> tuple[dict[str, Any], list[str]]:
    """A suite with the checks of a table, and the names of those that Great Expectations does not know.

    Raises:
        ConfigError: there is no table of that name.
    """
    return write_suite(name, checks_of_table(workspace, workspace.table(table).name), major=major)


def observed(stores: ExpectationStores) -> dict[str, Any]:
    """What the newest validation of each suite observed, by the names that parameters refer to it with."""
    known: dict[str, Any] = {}
    for validation in stores.validations.all():  # by name, and so by time
        for result in validation["results"]:
            kind, column = result.get("expectation"), result.get("columns") or []
            if kind and "observed" in result:
                urn = f"urn:great_expectations:validations:{validation['suite']}:{kind}.result.observed_value"
                known[urn + (f":column={column[0]}" if column else "")] = result["observed"]
    return known


def expectation_name(suite: Suite, name: str) -> str | None:
    """The type of the expectation that a check of the suite came from."""
    check = next((check for check in suite.checks if check.name == name), None)
    found = expectation_of(check) if check is not None else None
    return found[0] if found else None


def entries_of(stores: ExpectationStores, name: str) -> list[dict[str, Any]]:
    """What a suite asks, as entries of `checks:`.

    Raises:
        ConfigError: there is none.
    """
    return [entry_of(check) for check in stored_suite(stores, name).checks]


def parameters_of(given: Sequence[str]) -> dict[str, Any]:
    """`rows=10` as a name with its value; numbers are numbers.

    Raises:
        ConfigError: one of them has no `=`.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise ConfigError(f"{one!r} is no parameter", hint="write NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
