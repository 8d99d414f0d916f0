"""The project's models: chosen, and made steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asgard.app.models.engines import engine_of
from asgard.app.project.environments import BesideLake
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError
from asgard.core.table import TableName
from asgard.flow.building import Building, build
from asgard.flow.decision import Question
from asgard.flow.outcome import Outcome
from asgard.flow.run import Step
from asgard.flow.setting import Setting
from asgard.flow.terms import Terms
from asgard.quality.drift import Contract, Rule
from asgard.transform.built import definition_of
from asgard.transform.models import Model
from asgard.transform.order import select


@dataclass(frozen=True)
class Choice:
    """What selectors mean among the models.

    Attributes:
        models: in the order of their dependencies.
        needed: tables of bronze that a `+` takes with it, as selectors of streams.
        unmatched: selector to the reason why it means no model.
    """

    models: list[Model]
    needed: list[str]
    unmatched: dict[str, ConfigError]


def chosen_models(models: Sequence[Model], selectors: Sequence[str]) -> Choice:
    """What selectors mean; without any all models."""
    if not selectors:
        return Choice(list(models), [], {})
    names: set[TableName] = set()
    needed: set[str] = set()
    unmatched: dict[str, ConfigError] = {}
    for selector in selectors:
        try:
            found = select(models, [selector])
        except ConfigError as error:
            unmatched[selector] = error
            continue
        names |= {model.name for model in found}
        if selector.startswith("+"):
            needed |= {str(up) for model in found for up in model.upstream if up.layer == "bronze"}
    return Choice([model for model in models if model.name in names], sorted(needed), unmatched)


def building_step(workspace: Workspace, model: Model, *, rebuild: bool = False) -> Step:
    """The step that builds a model. The versions it reads are pinned when the step begins."""

    def work(setting: Setting) -> Outcome:
        return build(_building(workspace, model), setting, rebuild=rebuild)

    needs = frozenset(map(str, model.upstream))
    return Step(str(model.name), work, needs, {"mode": str(model.spec.mode)})


def question_of(workspace: Workspace, model: Model) -> Question:
    """What is asked before a model is built, on the newest versions of what it reads.

    Raises:
        ConfigError: one of those tables does not exist yet.
    """
    return _building(workspace, model).question


def terms_of(model: Model) -> Terms:
    """How a model's rows are laid down."""
    spec = model.spec
    rules = {part: Rule(word) for part, word in model.drift.items()}
    return Terms(spec.mode, spec.primary_key, spec.valid_from or "", Contract(**rules))


def _building(workspace: Workspace, model: Model) -> Building:
    upstream = {name: workspace.pinned(name) for name in model.upstream}
    return Building(
        sql=model.sql,
        table=workspace.lake.table(model.name),
        terms=terms_of(model),
        checks=(*model.checks, *model.promises),
        upstream=upstream,
        fingerprint=model.fingerprint,
        definition=definition_of(model),
        beside=workspace.lake.beside_of(model) if isinstance(workspace.lake, BesideLake) else {},
        tables={name: workspace.lake.table(name) for name in model.upstream},
        incremental=model.spec.incremental,
        dialect=model.spec.dialect,
        open_engine=engine_of(workspace, model),
    )
