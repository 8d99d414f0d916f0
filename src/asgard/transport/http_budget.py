"""How many requests a host is asked within a time: one budget for everybody who asks it with one account.

A request counts until so long after its answer, so that the server, which saw it before that, never counts
more than are allowed, however long each was on its way.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from asgard.core.cancel import Cancel

LOOK_AGAIN_SECONDS = 0.02
"""How long to wait when all that are allowed are on their way."""


class RateBudget:
    """At most so many requests within any so many seconds. Used from any thread.

    Args:
        most: requests; a fraction stretches the time. None for no limit.
        seconds: within which they may be made.
    """

    def __init__(self, most: float | None = None, seconds: float = 1.0) -> None:
        self._most = None if most is None else max(math.floor(most), 1)
        self._seconds = seconds if most is None or self._most is None else seconds * self._most / most
        self._under_way = 0
        self._answered: deque[float] = deque()
        self._not_before = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, cancel: Cancel) -> Iterator[None]:
        """Waits until a request may be made, and counts it.

        Raises:
            Cancelled: while it waits.
        """
        cancel.check()
        while (wait_seconds := self._begin()) > 0:
            cancel.sleep(wait_seconds)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if self._most is not None:
                    self._answered.append(time.monotonic())

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long: the server said so to one of us, and means all."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _begin(self) -> float:
        """0 when the request may be made now, and is counted; else how long to wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._not_before:
                return self._not_before - now
            if self._most is not None:
                while self._answered and self._answered[0] + self._seconds <= now:
                    self._answered.popleft()
                if self._under_way + len(self._answered) >= self._most:
                    full = self._answered and self._under_way < self._most
                    return self._answered[0] + self._seconds - now if full else LOOK_AGAIN_SECONDS
            self._under_way += 1
            return 0.0


_shared: dict[Hashable, RateBudget] = {}
_sharing = threading.Lock()


def shared_budget(account: Hashable, most: float | None, seconds: float) -> RateBudget:
    """The one budget of an account in this process: it outlives the connections, which come and go."""
    with _sharing:
        return _shared.setdefault((account, most, seconds), RateBudget(most, seconds))
