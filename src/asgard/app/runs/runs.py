"""Wishes about runs: do one, list them, show one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

from asgard.app.checks.measurements import open_measurements
from asgard.app.config.lineage_spec import Listener, Nobody
from asgard.app.models.models import Choice, building_step, chosen_models
from asgard.app.project.environments import changed_models
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.app.sources.streams import OpenSources, follow_steps, ingest_steps
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.flow.endless import run_endless
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import to_all
from asgard.state.journal import new_run_id

__all__ = ["RunWish", "Summary", "run"]

JUST_OPENED_SECONDS = 5.0
"""A project that was opened so short ago, by the command that runs it, does not ask for its secrets twice."""


@dataclass(frozen=True)
class RunWish:
    """What is to be run.

    Attributes:
        selectors: sources (`shop`), streams (`shop.orders`), tables (`bronze.shop.orders`), models
            (`gold.revenue`, `+gold.revenue` with what it reads, `silver.*`); none for everything.
        full_refresh: reads every chosen stream anew and replaces its table; builds every chosen model.
        drain: follows the chosen logs until it is asked for; None for a run that ends. Models are not built.
        run_id: what the run is called; empty for a new id.
        between: reads only rows whose cursor is in this range, its end left out, and merges them; see
            `app.sources.backfill`. Models are not built.
    """

    selectors: tuple[str, ...] = ()
    full_refresh: bool = False
    drain: Cancel | None = None
    run_id: str = ""
    between: tuple[str, str] | None = None


def run(workspace: Workspace, wish: RunWish, emit: Emit, cancel: Cancel | None = None) -> Summary:
    """Loads the chosen streams and builds the chosen models.

    Events go to `emit` and to the run's own log; the run and its steps go to the history.

    Raises:
        ConfigError: a selector matches nothing. Failures of steps are in the summary.
        Refused, Unreachable: a store does not give a secret that a source refers to.
    """
    cancel = cancel or Cancel()
    workspace.look_up_anew(older_than_seconds=JUST_OPENED_SECONDS)
    run_id = wish.run_id or new_run_id()
    log = RunLog(workspace.project, run_id)
    lineage = _lineage(workspace)
    measurements = open_measurements(workspace.project.state_folder)
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel,
        emit=to_all([emit, log, measurements, lineage]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
        past=measurements.past,
    )
    selector = " ".join(wish.selectors)
    if wish.drain is not None:
        with closing(log), closing(lineage), OpenSources(workspace, cancel) as sources:
            steps = _followed(sources, wish.selectors, wish.drain)
            # Each log has its part for good: none of them ends and gives it back (Promise 5).
            workspace.budget = workspace.budget.shared(len(steps))
            setting = replace(setting, budget=workspace.budget)
            project = str(workspace.project.file)
            return run_endless(steps, setting, workspace.journal, selector, project)
    choice = chosen_models(workspace.models, wish.selectors)
    with OpenSources(workspace, cancel) as sources:
        steps = _steps(sources, choice, wish)
        try:
            return run_steps(steps, setting, workspace.journal, selector, str(workspace.project.file))
        finally:
            lineage.close()
            log.close()


def _lineage(workspace: Workspace) -> Listener:
    if workspace.project.lineage.openlineage is None:
        return Nobody()
    from asgard.app.models.lineage_events import lineage_listener  # with sqlglot and HTTP

    return lineage_listener(workspace, workspace.project.lineage.openlineage)


def _followed(sources: OpenSources, selectors: tuple[str, ...], drain: Cancel) -> list[Step]:
    steps, matched = follow_steps(sources, selectors, drain)
    for selector in selectors:
        if selector not in matched:
            raise ConfigError(
                f"nothing matches {selector!r}", hint="--follow takes sources and streams, no models"
            )
    if not steps:
        raise ConfigError(
            "there is no log to follow", hint="--follow is for sources that never end, such as kafka"
        )
    return steps


def _steps(sources: OpenSources, choice: Choice, wish: RunWish) -> list[Step]:
    """Streams first, then models in their order."""
    workspace, selectors = sources.workspace, wish.selectors
    if workspace.project.beside:
        return _steps_beside(workspace, choice, wish)
    steps: list[Step] = []
    wanted = [*choice.unmatched, *choice.needed]
    if wanted or not selectors:
        steps, matched = ingest_steps(sources, wanted, full_refresh=wish.full_refresh, between=wish.between)
        for selector, error in choice.unmatched.items():
            if selector not in matched:
                raise ConfigError(
                    f"nothing matches {selector!r}",
                    hint=f"it is no source, source.table, layer.table or model; {error.hint}",
                )
    if wish.between is None:
        steps += [building_step(workspace, model, rebuild=wish.full_refresh) for model in choice.models]
    if not steps:
        raise ConfigError(
            "there is nothing to run",
            hint="asgard.yml names the sources and their tables, models/ holds the models",
        )
    return steps


def _steps_beside(workspace: Workspace, choice: Choice, wish: RunWish) -> list[Step]:
    """The models that are another than production's; what they read of bronze is production's."""
    if choice.unmatched:
        told = ", ".join(choice.unmatched)
        raise ConfigError(
            f"{told} is no model, and {workspace.project.environment} builds models alone",
            hint="it reads production's bronze tables; without --env they are loaded",
        )
    models = changed_models(workspace, choice.models)
    return [building_step(workspace, model, rebuild=wish.full_refresh) for model in models]
