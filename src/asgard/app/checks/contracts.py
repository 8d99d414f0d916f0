"""Contracts that come with the package: what the tables of well-known sources must be up to.

One JSON file for each connector, its tables' checks in the words of asgard.yml, so that they may be copied
there and changed.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from asgard.core.check import Check
from asgard.quality.spec import CheckSpec, checks_of

FOLDER = "ready_contracts"


def known_contracts() -> list[str]:
    """The connectors that have one."""
    return sorted(
        entry.name.removesuffix(".json")
        for entry in files("asgard.app.checks").joinpath(FOLDER).iterdir()
        if entry.name.endswith(".json")
    )


@cache
def contract(connector: str) -> dict[str, tuple[Check, ...]]:
    """Table to checks, of a connector that has a contract; empty for others."""
    if connector not in known_contracts():
        return {}
    text = files("asgard.app.checks").joinpath(FOLDER, f"{connector}.json").read_text(encoding="utf-8")
    return {
        table: checks_of(CheckSpec.model_validate(entry) for entry in entries)
        for table, entries in json.loads(text).items()
    }
