"""The wish to know what a run would build, and why. No source is asked, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asgard.app.models.models import chosen_models, question_of, terms_of
from asgard.app.project.environments import BesideLake, changed_models
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError
from asgard.core.table import Mount
from asgard.flow.decision import Action
from asgard.flow.plan import Candidate, Planned, Planner, Standing
from asgard.transform.models import Model

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """What a run would do with models, in their order.

    Attributes:
        environment: beside production; empty for production itself.
        models: all that were chosen; those with nothing to do, too. Beside production only those that are
            another there.
    """

    environment: str
    models: tuple[Planned, ...]

    @property
    def building(self) -> tuple[Planned, ...]:
        """Those that would be built."""
        return tuple(one for one in self.models if one.action is not Action.NOTHING and not one.blocked)

    @property
    def blocked(self) -> tuple[Planned, ...]:
        """Those that cannot be built as things are."""
        return tuple(one for one in self.models if one.blocked)

    @property
    def is_refused(self) -> bool:
        """Whether a model has reasons to be built, and its SQL or its contract forbids it."""
        return any(one.blocked and one.reasons for one in self.models)

    @property
    def is_breaking(self) -> bool:
        """Whether readers of a table may be hurt."""
        return any(one.breaking for one in self.building)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **({"environment": self.environment} if self.environment else {}),
            "build": len(self.building),
            "blocked": len(self.blocked),
            "breaking": self.is_breaking,
            "models": [one.as_dict() for one in self.models],
        }


def plan(workspace: Workspace, selectors: Sequence[str] = (), *, full: bool = False) -> Plan:
    """What `asgard run` would build of the chosen models, by what the tables say now.

    What a run would first read from sources is not known: the plan goes by the tables as they are.

    Args:
        selectors: as for a run: `gold.revenue`, `+gold.revenue`, `silver.orders+`, `silver.*`.
        full: everything is built whole, as with `--full`.

    Raises:
        ConfigError: a selector means no model, or a model's file has mistakes.
        PositionLost: a table says nothing that can be trusted about what it was built from.
    """
    choice = chosen_models(workspace.models, selectors)
    for selector, error in choice.unmatched.items():
        raise ConfigError(f"no model matches {selector!r}", hint=error.hint)
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        planner = Planner(engine, size_of, rebuild=full)
        models = changed_models(workspace, choice.models)
        planned = tuple(planner.plan(_candidate(workspace, model)) for model in models)
    project = workspace.project
    return Plan((project.environment or "") if project.beside else "", planned)


def _candidate(workspace: Workspace, model: Model) -> Candidate:
    table = workspace.lake.table(model.name)
    missing = tuple(name for name in model.upstream if not workspace.lake.table(name).exists())
    question = None if missing else question_of(workspace, model)
    lake = workspace.lake
    production = Standing.of(lake.production.table(model.name)) if isinstance(lake, BesideLake) else None
    return Candidate(model, table, question, missing, terms_of(model), production)


def size_of(mount: Mount) -> int | None:
    """Bytes of a table's files; None where they do not lie on this machine."""
    if mount.reader is not None and not mount.marked:
        return None
    with suppress(OSError):
        return sum(os.stat(file).st_size for file in (*mount.files, *mount.marked))
    return None
