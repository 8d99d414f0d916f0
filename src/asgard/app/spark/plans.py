"""Plans of sources that the driver holds open while Spark reads their splits.

Spark asks a data source for its partitions in a Python process of its own, which ends with the answer; a
snapshot would end with it. So that process asks the driver's Python, over a socket in a folder that only
this user can enter, and the plan is made and kept here. It is closed when no job of the application has been
active for a while (`hold_seconds`), on `close`, and with the process: nobody can tell when Spark has no use
for a partition any more, which it may read again at any time.

Reference: https://spark.apache.org/docs/latest/api/python/tutorial/sql/python_data_source.html
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from asgard.app.sources.elsewhere import Held, Reading
from asgard.core.errors import Bug
from asgard.core.stream import Split

TICK_SECONDS = 0.5
HOLD_SECONDS = 300.0


@dataclass(frozen=True)
class Request:
    """What the driver is asked for.

    Attributes:
        partitions: how many splits may be read at once; None for what the cluster can do.
        hold_seconds: for how long the plan outlives the last active job.
    """

    reading: Reading
    partitions: int | None = None
    hold_seconds: float = HOLD_SECONDS


@dataclass
class _Kept:
    held: Held
    hold_seconds: float
    used_at: float = field(default_factory=time.monotonic)


class Keeper:
    """Holds the plans of one Spark application.

    Args:
        context: the application's `SparkContext`.

    Attributes:
        address: where plans are asked for; of no use on another machine.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._folder = tempfile.mkdtemp(prefix="asgard-plans-")  # of this user alone
        self.address = os.path.join(self._folder, "driver")
        self._listener = Listener(self.address, family="AF_UNIX")
        self._kept: list[_Kept] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        for work in (self._listen, self._watch):
            threading.Thread(target=work, name="asgard-plans", daemon=True).start()
        atexit.register(self.close)

    @property
    def open_plans(self) -> int:
        """How many plans are held now."""
        with self._lock:
            return len(self._kept)

    @property
    def ended(self) -> bool:
        """Whether it holds plans no more."""
        return self._ended.is_set()

    def release(self) -> None:
        """Closes all plans that are held now."""
        with self._lock:
            kept, self._kept = self._kept, []
        for one in kept:
            one.held.close()

    def close(self) -> None:
        """Closes all plans and takes no more; more than once is fine."""
        if self._ended.is_set():
            return
        self._ended.set()
        with suppress(OSError):
            Client(self.address, family="AF_UNIX").close()  # whom the listener waits for
        self.release()
        atexit.unregister(self.close)

    def _listen(self) -> None:
        try:
            while not self._ended.is_set():
                with suppress(OSError, EOFError):
                    connection = self._listener.accept()
                    threading.Thread(
                        target=self._answer, args=(connection,), name="asgard-plan", daemon=True
                    ).start()
        finally:
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, connection: Connection) -> None:
        with connection, suppress(OSError, EOFError):
            request: Request = connection.recv()
            try:
                connection.send(self._planned(request))
            except Exception as error:
                connection.send(error)

    def _planned(self, request: Request) -> tuple[Split, ...]:
        held = Held(request.reading, request.partitions or self._context.defaultParallelism)
        if not held.holds:
            held.close()
            return held.splits
        with self._lock:
            if not self._ended.is_set():
                self._kept.append(_Kept(held, request.hold_seconds))
                return held.splits
        held.close()
        raise Bug("the driver ends")

    def _watch(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            with self._lock:
                kept = list(self._kept)
            if self._context._jsc is None:  # it was stopped
                self.close()
            elif kept:
                self._look_at(kept)

    def _look_at(self, kept: list[_Kept]) -> None:
        now = time.monotonic()
        try:
            busy = bool(self._context.statusTracker().getActiveJobsIds())
        except Exception:  # of py4j: the JVM is gone, or going
            return
        for one in kept:
            if busy:
                one.used_at = now
            elif now - one.used_at >= one.hold_seconds:
                with self._lock:
                    self._kept = [other for other in self._kept if other is not one]
                one.held.close()


def planned(address: str, request: Request) -> list[Split | None]:
    """The splits of a reading; one None stands for the whole stream, to be planned by who reads it.

    Args:
        address: of the driver's keeper; empty where there is none, as on Spark Connect. Then only plans that
            hold nothing are split.

    Raises:
        AsgardError: what the source says while it plans.
    """
    if not request.reading.lends:
        return [None]
    if address and os.path.exists(address):
        with Client(address, family="AF_UNIX") as connection:
            connection.send(request)
            answer = connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return list(answer)
    held = Held(request.reading, request.partitions or os.cpu_count() or 1)
    held.close()
    return [None] if held.holds else list(held.splits)
