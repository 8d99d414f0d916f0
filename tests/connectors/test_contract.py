"""Every connector that the registry finds keeps the contract; waivers stand here, with reasons."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asgard.core import registry
from asgard.testing.connectors import CASES, Harness, run_case, unknown_waivers

TYPES = registry.connector_names()
WAIVERS: dict[tuple[str, str], str] = {}


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    module = importlib.import_module(f"tests.connectors.harness_{request.param}")
    with ExitStack() as stack:
        yield stack.enter_context(module.harness(tmp_path, request))


@pytest.mark.parametrize("type_name", TYPES)
def test_every_connector_has_a_harness(type_name: str) -> None:
    assert importlib.util.find_spec(f"tests.connectors.harness_{type_name}"), (
        f"write tests/connectors/harness_{type_name}.py"
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("harness", TYPES, indirect=True)
def test_contract(harness: Harness, case: str) -> None:
    run_case(harness, case, WAIVERS)


def test_no_waiver_is_about_nothing() -> None:
    assert unknown_waivers(WAIVERS, TYPES) == []
