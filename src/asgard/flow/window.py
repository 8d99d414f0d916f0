"""When a parcel of an endless stream is closed: by rows, bytes or seconds, whichever comes first."""

from __future__ import annotations

from dataclasses import dataclass

from asgard.core.budget import MEBIBYTE


@dataclass(frozen=True)
class Window:
    """How much goes into one commit.

    Attributes:
        seconds: after the first row of the parcel came.
        rows: of the parcel.
        size_bytes: of the parcel in Arrow's memory form, before it is packed.
    """

    seconds: float = 10.0
    rows: int = 1_000_000
    size_bytes: int = 256 * MEBIBYTE


UNTIL_THE_END = Window(float("inf"), 1 << 62, 1 << 62)
"""One parcel, however large: a replace shows all of it or nothing."""


class Meter:
    """What a parcel has so far.

    Args:
        began: by the same clock as `left_seconds` is asked with.
    """

    def __init__(self, window: Window, began: float) -> None:
        self._window = window
        self._began = began
        self._rows = 0
        self._size_bytes = 0

    def add(self, rows: int, size_bytes: int) -> None:
        """Counts a batch."""
        self._rows += rows
        self._size_bytes += size_bytes

    def left_seconds(self, now: float) -> float:
        """How long the parcel stays open; 0 when it is full."""
        if self._rows >= self._window.rows or self._size_bytes >= self._window.size_bytes:
            return 0.0
        return max(self._began + self._window.seconds - now, 0.0)
