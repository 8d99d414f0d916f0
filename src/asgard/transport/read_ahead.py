"""Small files of a place that is far away, fetched before they are opened.

Ten thousand objects of a few kilobytes are mostly waiting: each takes a round trip. Several are on their way
at the same time, and no more than that are held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from asgard.core.budget import MEBIBYTE
from asgard.transport.files import FoundFile

SMALL_BYTES = MEBIBYTE
THREADS = 8
MOST_FILES = 16

Fetch = Callable[[FoundFile, int, int], memoryview]


class ReadAhead:
    """The small ones of some files, in their order. Used by the thread that reads them."""

    def __init__(self, fetch: Fetch, files: Sequence[FoundFile]) -> None:
        self._fetch = fetch
        self._waiting = deque(
            file for file in files if 0 < file.size_bytes <= SMALL_BYTES and not file.member
        )
        self._coming: dict[tuple[str, str], Future[memoryview]] = {}
        self._taken: tuple[tuple[str, str], memoryview] | None = None
        several = len(self._waiting) > 1
        self._pool = ThreadPoolExecutor(THREADS, "read-ahead") if several else None
        for _ in range(MOST_FILES):
            self._ask_next()

    def take(self, file: FoundFile) -> memoryview | None:
        """The file's bytes, until another is taken; None where they were not asked for.

        Raises:
            AsgardError: what the fetching failed of.
        """
        name = file.path, file.version
        future = self._coming.pop(name, None)
        if future is not None:
            self._ask_next()
            self._taken = name, future.result()
        return self._taken[1] if self._taken is not None and self._taken[0] == name else None

    def close(self) -> None:
        """Asks for no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask_next(self) -> None:
        if self._pool is not None and self._waiting:
            file = self._waiting.popleft()
            self._coming[file.path, file.version] = self._pool.submit(self._fetch, file, 0, file.size_bytes)
