"""Events on their way to a place that other machines can read: gathered, and written by another thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence

from asgard.core.errors import AsgardError
from asgard.core.events import Event, Kind

EVERY_SECONDS = 0.5
LAST_SECONDS = 10.0
MOST_WAITING = 20_000


class SharedEvents:
    """Gathers events and writes them some at a time; a listener.

    Progress is left out: it is for screens. A place that does not answer never stops a run: what could not be
    written is tried again with the next events, and at the end; `broken` says why the last try failed.

    Args:
        write: takes the number of the first line, counted from one, and lines of JSON. After an error it is
            called again with the same.
    """

    def __init__(self, write: Callable[[int, Sequence[str]], None]) -> None:
        self._write = write
        self._waiting: list[str] = []
        self._written = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.broken = ""

    def __call__(self, event: Event) -> None:
        """Takes one event; waits for nothing."""
        if event.kind is Kind.STEP_PROGRESS:
            return
        line = json.dumps(event.as_dict(), default=str)
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shared-events", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Writes what is left, for as long as that may take at the end of a run; more than once is fine."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)

    def _work(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._hand_over()
        self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            lines = list(self._waiting)
        if not lines:
            return
        try:
            self._write(self._written + 1, lines)
        except AsgardError as error:
            self.broken = error.what
            return
        self.broken = ""
        with self._lock:
            del self._waiting[: len(lines)]
            self._written += len(lines)
