"""The contract of what comes over the wire; `test_contract.py` holds it of what is unloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asgard.testing.connectors import CASES, Harness, run_case
from tests.connectors import harness_redshift


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    with ExitStack() as stack:
        yield stack.enter_context(harness_redshift.harness(tmp_path, request, unload_rows=1000))


@pytest.mark.parametrize("case", CASES)
def test_contract(harness: Harness, case: str) -> None:
    run_case(harness, case)
