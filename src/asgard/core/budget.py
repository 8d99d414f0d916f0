"""One Budget hands out memory: who holds no lease does not poll, which is back-pressure (Promise 5)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asgard.core.cancel import Cancel

MEBIBYTE = 1 << 20


class Budget:
    """Bytes and workers of one run.

    Args:
        memory_bytes: what the run may hold altogether, the interpreter and its libraries included.
        parallel: how many splits are read at the same time.
    """

    OVERHEAD_BYTES = 160 * MEBIBYTE
    """What Python and the libraries take before the first row (measured: 130 to 160 MiB)."""

    def __init__(self, memory_bytes: int, parallel: int) -> None:
        self.memory_bytes = memory_bytes
        self.parallel = max(1, parallel)
        self.data_bytes = max(memory_bytes - self.OVERHEAD_BYTES, 64 * MEBIBYTE)
        self._free = self.data_bytes
        self._changed = threading.Condition()

    def shared(self, among: int) -> Budget:
        """The budget of one of so many that work at the same time for as long as the run lasts."""
        return Budget(self.OVERHEAD_BYTES + self.data_bytes // max(among, 1), self.parallel)

    @property
    def engine_bytes(self) -> int:
        """What an embedded SQL engine may use while checks and merges run: no reader runs then."""
        return max(int(self.data_bytes * 0.8), 64 * MEBIBYTE)

    @property
    def batch_bytes(self) -> int:
        """How large one batch of one reader may be."""
        return max(min(self.data_bytes // (self.parallel * 8), 16 * MEBIBYTE), MEBIBYTE // 4)

    @property
    def reader_bytes(self) -> int:
        """What one reader may hold of something that cannot be read in parts."""
        return self.data_bytes // self.parallel

    @contextmanager
    def lease(self, size_bytes: int, cancel: Cancel) -> Iterator[None]:
        """Holds so many bytes; waits until they are free. A wish larger than all waits for all.

        Raises:
            Cancelled: the run was cancelled while waiting.
        """
        size = min(size_bytes, self.data_bytes)
        with self._changed:
            while self._free < size:
                cancel.check()
                self._changed.wait(0.2)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
