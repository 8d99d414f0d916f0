"""What tests of faults ask for: commands that something happens to, and projects that they are run in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.faults.arena import Arena
from tests.faults.runs import Runs


@pytest.fixture(scope="package")
def runs() -> Iterator[Runs]:
    with closing(Runs()) as runs:
        yield runs


@pytest.fixture
def arena(runs: Runs) -> Iterator[Callable[..., Arena]]:
    """Makes projects; taken away afterwards."""
    with ExitStack() as stack:
        yield lambda **table: stack.enter_context(closing(_made(runs, table)))


def _made(runs: Runs, table: dict[str, Any]) -> Arena:
    return Arena(runs, **table)
