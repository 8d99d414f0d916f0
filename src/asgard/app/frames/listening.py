"""Who listens to what the Python face does: callbacks and Python's own logging, under the name `asgard`.

A run has listeners of its own beside these (`app.runs.runs`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgard.core.errors import AsgardError, Refused, Unreachable
from asgard.core.events import Event, Kind

LOGGER = logging.getLogger("asgard")
LOGGER.addHandler(logging.NullHandler())

_listeners: list[Callable[[Event], None]] = []
_lock = threading.Lock()


def listen(callback: Callable[[Event], None]) -> Callable[[], None]:
    """Calls the callback with every event of this process from now on, in the thread where it happens.

    A callback that raises is logged and called again at the next event; it stops nobody's work.

    Returns:
        A function that takes the callback away again.
    """
    with _lock:
        _listeners.append(callback)

    def stop() -> None:
        with _lock:
            if callback in _listeners:
                _listeners.remove(callback)

    return stop


def tell(event: Event) -> None:
    """Gives an event to every listener."""
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            LOGGER.exception("a listener failed at %s", event.kind)


@contextmanager
def connection_attempt(source: str, type_name: str) -> Iterator[None]:
    """Tells how an attempt to connect ended: `ok`, `refused`, `unreachable` or `failed`, and after how long.

    The event's data has source, type, outcome, seconds, and the error where there is one. The error goes on.
    """
    began = time.monotonic()
    data: dict[str, Any] = {"source": source, "type": type_name, "outcome": "ok"}
    try:
        yield
    except BaseException as error:
        data["outcome"] = _outcome(error)
        if isinstance(error, AsgardError):
            data["error"] = error.as_dict()
        raise
    finally:
        data["seconds"] = round(time.monotonic() - began, 6)
        level = logging.INFO if data["outcome"] == "ok" else logging.WARNING
        said = f": {data['error']['what']}" if "error" in data else ""
        LOGGER.log(level, "connection to %s (%s) %s in %.3f s%s", source, type_name, data["outcome"],
                   data["seconds"], said)  # fmt: skip
        tell(Event(Kind.CONNECTION, data=data))


def _outcome(error: BaseException) -> str:
    if isinstance(error, Refused):
        return "refused"
    return "unreachable" if isinstance(error, Unreachable) else "failed"
