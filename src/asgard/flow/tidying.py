"""Compaction beside a load that never ends: in a thread of its own, one bounded step at a time.

Its commits and those of the load take turns by a lock, so that they are never in each other's way. What goes
wrong here stops nobody: the table only stays slower to read.
"""

from __future__ import annotations

import threading

from asgard.core.errors import AsgardError
from asgard.core.events import Kind
from asgard.core.table import Table
from asgard.flow.setting import Setting

COMMITS_BETWEEN = 4
"""Looking costs a reading of the log: not after every commit."""
LEASE_BYTES = 48 << 20
"""What writing one file anew holds (measured)."""


class Tidier:
    """Puts the small files of one table together while it is written.

    Attributes:
        turn: held by whoever commits.
    """

    def __init__(self, table: Table, setting: Setting) -> None:
        self.turn = threading.Lock()
        self._table = table
        self._setting = setting
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._commits = 0

    def committed(self) -> None:
        """Hears of a commit; begins a step when it is time and none is under way."""
        self._commits += 1
        if self._commits % COMMITS_BETWEEN or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._step, name="tidy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the step that is under way; the table stays as it is."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _step(self) -> None:
        setting = self._setting
        try:
            with setting.budget.lease(LEASE_BYTES, setting.cancel):
                done = self._table.compact(setting.run, self._stopped, lambda: self.turn)
        except AsgardError as error:
            if not setting.cancel.requested:
                setting.tell(Kind.WARNING, {"what": f"small files could not be put together: {error.what}"})
            return
        if done is not None:
            setting.tell(
                Kind.COMPACTED,
                {
                    "version": done.version,
                    "files_before": done.files_before,
                    "files_after": done.files_after,
                    "bytes": done.size_bytes,
                },
            )

    def _stopped(self) -> bool:
        return self._over.is_set() or self._setting.cancel.requested
