"""What Delta's tests say of loads, said of Iceberg: the same tests, on the other format's table."""

from __future__ import annotations

from types import ModuleType
from typing import Any

LONG = {
    "test_rows_with_their_own_time_come_to_what_the_model_says",
    "test_loads_by_their_time_come_to_what_the_model_says",
    "test_merges_come_to_what_the_model_says",
    "test_every_difference_of_a_value_is_a_version_and_none_is_no_version",
    "test_keys_larger_than_the_memory_are_spilled",
    "test_wide_rows_are_read_in_small_batches",
}
"""Those that run with the long ones here."""


def borrowed(module: ModuleType, *left_out: str) -> dict[str, Any]:
    """The tests and fixtures of a module, but for those that speak of Delta alone."""
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert set(left_out) <= {*tests}, "a test that is left out is not there any more"
    kept = {name: test for name, test in tests.items() if name not in left_out}  # in one order everywhere
    fixtures = {
        name: value
        for name, value in vars(module).items()
        if type(value).__name__ == "FixtureFunctionDefinition"
    }
    return {**fixtures, **kept}
