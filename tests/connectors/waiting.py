"""Waiting for what a test needs to be so, however long a busy machine takes to make it so."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SECONDS = 60.0


def wait_until(so: Callable[[], object], what: str) -> None:
    """Returns as soon as it is so; fails with the words if it never is."""
    end = time.monotonic() + LONGEST_SECONDS
    while not so():
        assert time.monotonic() < end, f"in {LONGEST_SECONDS:g} s never: {what}"
        time.sleep(0.05)
