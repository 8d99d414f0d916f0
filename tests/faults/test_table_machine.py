"""The state machine of tables, on every format: short with a fixed seed, long with thousands of steps."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.grounds import DeltaGround
from tests.faults.table_machine import machine

GROUNDS = {"delta": DeltaGround}
SHORT = settings(
    max_examples=12, stateful_step_count=25, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.parametrize("kind", GROUNDS)
def test_a_table_is_what_the_model_says_after_every_step(kind: str) -> None:
    run_state_machine_as_test(machine(GROUNDS[kind]), settings=SHORT)


@pytest.mark.long
@pytest.mark.parametrize("kind", GROUNDS)
def test_a_table_is_what_the_model_says_after_thousands_of_steps(kind: str) -> None:
    examples = int(os.environ.get("ASGARD_EXAMPLES", "300"))
    number = int(os.environ.get("ASGARD_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
    print(f"ASGARD_SEED={number}")
    how = settings(SHORT, max_examples=examples, derandomize=False)
    run_state_machine_as_test(seed(number)(machine(GROUNDS[kind])), settings=how)
