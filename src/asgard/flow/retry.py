"""Trying again: only what the error's class says may help, with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from asgard.core.errors import AsgardError
from asgard.core.events import Kind
from asgard.flow.setting import Setting

Result = TypeVar("Result")
PAUSES_SECONDS = (1.0, 5.0, 20.0)


def retrying(
    work: Callable[[], Result], setting: Setting, pauses: tuple[float, ...] = PAUSES_SECONDS
) -> Result:
    """Does the work; after a retryable error waits and does it again, once per pause.

    The work must begin at the last commit each time it is called: what was half done is not visible.

    Raises:
        AsgardError: the last error, when it is not retryable or no pause is left.
        Cancelled: the run was cancelled, also while waiting.
    """
    for attempt, pause in enumerate([*pauses, None], start=1):
        try:
            return work()
        except AsgardError as error:
            if not error.retryable or pause is None:
                raise
            wait_seconds = pause * random.uniform(0.5, 1.0)
            setting.tell(
                Kind.RETRIED,
                {"attempt": attempt, "after_seconds": round(wait_seconds, 1), "error": error.as_dict()},
            )
            setting.cancel.sleep(wait_seconds)
    raise AssertionError("unreachable")  # pragma: no cover
