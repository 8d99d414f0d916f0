"""How large a benchmark run is to be, and where it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contest import Contest
from bench.environments import CACHE


@dataclass(frozen=True)
class Setting:
    """What a run of the benchmark was asked for.

    Attributes:
        repeats: runs of each contender.
        quick: small tables, for trying the benchmark itself; its figures mean nothing.
        only: prefixes of contenders' names that take part; empty for all. References always do.
        folder: where the work is done.
    """

    repeats: int = 5
    quick: bool = False
    only: tuple[str, ...] = ()
    folder: Path = CACHE / "work"

    def sized(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full


Room = Callable[[Setting], Iterator[Contest]]
"""Gives contests one by one; what one of them needs (a server, data) is there until the next is asked for."""
