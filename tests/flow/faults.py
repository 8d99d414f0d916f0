"""Ways to take a piece of the protocol out: the kill tests must notice each."""

from __future__ import annotations

from dataclasses import replace

from asgard.lake.delta.positions import Positions, Record


def nothing() -> None:
    """The product as it is."""


def forget_position() -> None:
    """The position record is written without its position."""
    put = Positions.put
    Positions.put = lambda self, record: put(self, _without_position(record))  # type: ignore[method-assign]


def _without_position(record: Record) -> Record:
    return replace(record, position=None)


FAULTS = {"": nothing, "forget-position": forget_position}
