"""Where runs are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol


class Journal(Protocol):
    """The history of runs. It never decides what is in a table: the table's own commit does."""

    def start_run(self, run: str, selector: str, project: str) -> None:
        """Remembers that a run begins in this process."""
        ...

    def finish_run(self, run: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers how it ended; status is done, failed, cancelled or lost."""
        ...

    def record_step(self, run: str, step: str, status: str, summary: dict[str, Any]) -> None:
        """Remembers one step of it; the last record of a step wins."""
        ...

    def runs(self, limit: int = 20) -> Iterator[dict[str, Any]]:
        """The newest runs first."""
        ...
