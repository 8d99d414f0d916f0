"""Events to people and programs: one JSON line each, in the run's own log file or on a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from asgard.core.events import Emit, Event, Kind


class EventLog:
    """Writes events to a file as JSON lines; a listener.

    Progress is left out: it is for screens. A log that cannot be written never stops a run: the first
    failure silences it, and `broken` says why.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._stream: IO[str] | None = None
        self.broken = ""

    def __call__(self, event: Event) -> None:
        """Writes one event."""
        if event.kind is Kind.STEP_PROGRESS or self.broken:
            return
        with self._lock:
            try:
                if self._stream is None:
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    self._stream = self._file.open("a", encoding="utf-8")
                self._stream.write(json.dumps(event.as_dict(), default=str) + "\n")
                self._stream.flush()
            except OSError as error:
                self.broken = str(error)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None


def to_all(listeners: Sequence[Emit]) -> Emit:
    """One listener that tells many."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit
