"""One Cancel goes everywhere: who may wait or loop looks at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from asgard.core.errors import Cancelled


class Cancel:
    """A request to stop, with an optional deadline. Safe to use from any thread.

    Args:
        timeout_seconds: cancels by itself after that long; None never.
    """

    def __init__(self, timeout_seconds: float | None = None) -> None:
        self._event = threading.Event()
        self._why = "cancelled"
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds

    def cancel(self, why: str = "cancelled") -> None:
        """Asks everybody to stop. The first reason stays; listeners are called once, in this thread."""
        with self._lock:
            if self._event.is_set():
                return
            self._why = why
            self._event.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def on_cancel(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener at the cancel, or at once when it has happened; what it gives takes it away."""
        with self._lock:
            if not self._event.is_set():
                self._listeners.append(listener)
                return lambda: self._forget(listener)
        listener()
        return lambda: None

    def _forget(self, listener: Callable[[], None]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    @property
    def requested(self) -> bool:
        """True once somebody cancelled or the deadline has passed."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.cancel("the time limit has passed")
        return self._event.is_set()

    def check(self) -> None:
        """Raises Cancelled when it is requested."""
        if self.requested:
            raise Cancelled(self._why, hint="run again: it goes on from the last commit")

    def wait(self) -> None:
        """Waits until it is requested; returns then."""
        while not self.requested:
            self._event.wait(1.0)

    def sleep(self, seconds: float) -> None:
        """Waits, and raises Cancelled as soon as it is requested."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._event.wait(min(left, 1.0))
        self.check()
