"""Wishes about runs: do one, list them, show one."""

from __future__ import annotations

from dataclasses import dataclass

from asgard.app.history import log_file
from asgard.app.models import building_step, chosen_models
from asgard.app.streams import OpenSources, ingest_steps
from asgard.app.workspace import Workspace
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.flow.run import Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import EventLog, to_all
from asgard.state.journal import new_run_id


@dataclass(frozen=True)
class RunWish:
    """What is to be run.

    Attributes:
        selectors: sources (`shop`), streams (`shop.orders`), tables (`bronze.shop.orders`), models
            (`gold.revenue`, `+gold.revenue` with what it reads, `silver.*`); none for everything.
        full_refresh: reads every chosen stream anew and replaces its table; builds every chosen model.
    """

    selectors: tuple[str, ...] = ()
    full_refresh: bool = False


def run(workspace: Workspace, wish: RunWish, emit: Emit, cancel: Cancel | None = None) -> Summary:
    """Loads the chosen streams and builds the chosen models.

    Events go to `emit` and to the run's own log; the run and its steps go to the history.

    Raises:
        ConfigError: a selector matches nothing. Failures of steps are in the summary.
    """
    cancel = cancel or Cancel()
    run_id = new_run_id()
    log = EventLog(log_file(workspace.project.state_folder, run_id))
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel,
        emit=to_all([emit, log]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
    )
    with OpenSources(workspace, cancel) as sources:
        steps = ingest_steps(sources, wish.selectors, full_refresh=wish.full_refresh)
        models = chosen_models(workspace, wish.selectors)
        steps += [building_step(workspace, model, rebuild=wish.full_refresh) for model in models]
        if not steps:
            raise ConfigError(
                f"nothing matches {' '.join(wish.selectors)!r}"
                if wish.selectors
                else "there is nothing to run",
                hint="name a source, source.table, layer.table or a model; asgard.yml names the sources, "
                "models/ holds the models",
            )
        try:
            selector = " ".join(wish.selectors)
            return run_steps(steps, setting, workspace.journal, selector, str(workspace.project.file))
        finally:
            log.close()
