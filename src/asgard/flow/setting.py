"""What every step of a run is given from outside: `flow` chooses no engine, no clock, no listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from asgard.core.budget import Budget
from asgard.core.cancel import Cancel
from asgard.core.clock import Clock, SystemClock
from asgard.core.engine import Engine
from asgard.core.events import Emit, Event, Kind
from asgard.core.table import Mount, TableName
from asgard.quality.tables import Past


def _nothing_measured(table: str, check: str) -> Past | None:
    return None


@dataclass(frozen=True)
class Setting:
    """The surroundings of a step.

    Attributes:
        run: id of the run.
        budget: memory and workers.
        cancel: asked before every batch and every commit.
        emit: where events go.
        open_engine: opens an engine that keeps to the given bytes.
        resolve: the newest mount of a table by name, for checks that look at other tables and for models.
        step: name of the step that events are about.
        past: what a check measured at earlier loads of a table, by their names; None where nothing is known.
    """

    run: str
    budget: Budget
    cancel: Cancel
    emit: Emit
    open_engine: Callable[[int], Engine]
    resolve: Callable[[TableName], Mount]
    clock: Clock = field(default_factory=SystemClock)
    step: str = ""
    past: Callable[[str, str], Past | None] = _nothing_measured

    def for_step(self, step: str) -> Setting:
        """The same surroundings for one step."""
        return replace(self, step=step)

    def tell(self, kind: Kind, data: Mapping[str, Any] | None = None) -> None:
        """Emits an event about the step."""
        self.emit(Event(kind, self.run, self.step, data or {}, self.clock.now()))
