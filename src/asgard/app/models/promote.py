"""The wish to make an environment's tables production's: seen first as a plan, then each table in one commit.

A table's rows are written into production's folder anew, and become visible together with what they were
built from (Promise 1). Readers see the old table or the new one. When production was built by another model
since, or has read newer data, nothing is promoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgard.app.project.environments import BesideLake, beside
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.core.cancel import Cancel
from asgard.core.errors import Conflict, Refused
from asgard.core.events import Emit, Kind
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, TableName
from asgard.flow.news import digest
from asgard.flow.outcome import Outcome
from asgard.flow.plan import Columns, compared, hurt
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.observe.event_log import to_all
from asgard.state.journal import new_run_id
from asgard.transform.built import STREAM, Built, built_by
from asgard.transform.models import Model

__all__ = ["Promotion", "promote", "promotions"]


@dataclass(frozen=True)
class Promotion:
    """What would become of one table of production.

    Attributes:
        stale: why the environment's table is not ready: it has to be built first. Empty when it is.
        conflict: how production moved meanwhile; empty when it did not.
        columns: how they differ from production's.
        breaking, because: as for `flow.plan.Planned`.
        rows_before, rows_after: None where they are not known, or there is no table.
        versions: of the environment's own table.
    """

    model: Model
    stale: str = ""
    conflict: str = ""
    columns: Columns = field(default_factory=Columns)
    breaking: bool | None = False
    because: str = ""
    rows_before: int | None = None
    rows_after: int | None = None
    version: int = -1

    @property
    def name(self) -> TableName:
        """The table."""
        return self.model.name

    @property
    def problem(self) -> str:
        """Why it cannot be promoted; empty when it can."""
        return self.stale or self.conflict

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {
            "table": str(self.name),
            "action": "stale" if self.stale else "conflict" if self.conflict else "promote",
            "problem": self.problem or None,
            "columns": self.columns.as_dict() if self.columns else None,
            "breaking": self.breaking,
            "because": self.because or None,
            "rows_before": self.rows_before,
            "rows_after": self.rows_after,
        }
        return {key: value for key, value in known.items() if value is not None}


def promotions(workspace: Workspace) -> list[Promotion]:
    """What `promote` would do, table by table in their order.

    Raises:
        ConfigError: the environment is not beside production.
    """
    lake = beside(workspace)
    return [_promotion(lake, model) for model in workspace.models if model.name in lake.changed]


def promote(
    workspace: Workspace,
    emit: Emit,
    cancel: Cancel | None = None,
    *,
    force: bool = False,
    run_id: str = "",
) -> Summary:
    """Makes the environment's tables production's, each in one commit, those that are read first.

    Args:
        force: also where production moved meanwhile; what is stale is refused all the same.
        run_id: what the run is called; empty for a new id.

    Raises:
        ConfigError: the environment is not beside production.
        Refused: one of the tables is stale or in conflict; none was promoted.
    """
    lake = beside(workspace)
    planned = promotions(workspace)
    wrong = [one for one in planned if one.stale or (one.conflict and not force)]
    if wrong:
        raise Refused(
            "; ".join(f"{one.name}: {one.problem}" for one in wrong),
            hint=way_out(workspace.project.environment or ""),
        )
    run_id = run_id or new_run_id()
    log = RunLog(workspace.project, run_id)
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel or Cancel(),
        emit=to_all([emit, log]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
    )
    done: dict[TableName, int] = {}
    steps = [
        Step(
            str(one.name),
            _work(lake, one.model, done, force=force),
            frozenset(map(str, one.model.upstream)),
            {"mode": "promote"},
        )
        for one in planned
    ]
    try:
        selector = f"promote {workspace.project.environment}"
        return run_steps(steps, setting, workspace.journal, selector, str(workspace.project.file))
    finally:
        log.close()


def way_out(environment: str) -> str:
    """What to do where something cannot be promoted."""
    return (
        f"asgard run --env {environment} builds what is stale; --force replaces what moved in production; "
        "nothing was promoted"
    )


def _promotion(lake: BesideLake, model: Model) -> Promotion:
    own, theirs = lake.own.table(model.name), lake.production.table(model.name)
    built = Built.of(own.position(STREAM)) if own.exists() else None
    if built is None:
        return Promotion(model, stale="it was not built here")
    version = own.versions(1)[0].version
    before = theirs.mount() if theirs.exists() else None
    after = own.mount(version)
    columns = compared(before.schema, after.schema) if before else Columns()
    breaking, because = hurt(model, lake.built_in_production(model.name), columns)
    return Promotion(
        model,
        stale=_stale(lake, model, built),
        conflict=_conflict(lake, model, built),
        columns=columns,
        breaking=breaking,
        because=because,
        rows_before=before.rows if before else None,
        rows_after=after.rows,
        version=version,
    )


def _stale(lake: BesideLake, model: Model, built: Built) -> str:
    if not built.is_of(built_by(model)):
        return "its model changed since it was built"
    own = set(built.beside.get("own", ()))
    if own != {str(name) for name in model.upstream if name in lake.changed}:
        return "it was built from other tables than it would be now"
    for name in model.upstream:
        if str(name) in own and built.upstream[str(name)] != lake.own.table(name).versions(1)[0].version:
            return f"it was built from an older {name}"
    return ""


def _conflict(lake: BesideLake, model: Model, built: Built) -> str:
    there = lake.built_in_production(model.name)
    if (there.fingerprint if there else "") != built.beside.get("model", ""):
        return "production was built by another model meanwhile"
    if there is None:
        table = lake.production.table(model.name)
        return "production has a table of this name that no model built" if table.exists() else ""
    own = built.beside.get("own", ())
    for name, theirs in there.upstream.items():
        ours = built.upstream.get(name)
        if ours is not None and name not in own and theirs > ours:
            return f"production has read {name} up to version {theirs}, this only up to {ours}"
    if model.spec.mode is Mode.HISTORY:
        return "its history in production would be replaced; a run of production goes on with it"
    if model.spec.mode is not Mode.REPLACE and not model.spec.incremental:
        return f"its rows in production came about over time ({model.spec.mode}), and would be replaced"
    return ""


def _work(lake: BesideLake, model: Model, done: dict[TableName, int], *, force: bool) -> Any:
    def work(setting: Setting) -> Outcome:
        now = _promotion(lake, model)
        if now.stale or (now.conflict and not force):
            raise Refused(now.problem, hint="it moved while it was promoted: look at the plan again")
        outcome = Outcome(setting.step)
        done[model.name] = _publish(lake, now, done, setting, outcome)
        return outcome

    return work


def _publish(
    lake: BesideLake, now: Promotion, done: Mapping[TableName, int], setting: Setting, outcome: Outcome
) -> int:
    own, theirs = lake.own.table(now.name), lake.production.table(now.name)
    built = Built.of(own.position(STREAM))
    assert built is not None
    position = (theirs.position(STREAM) if theirs.exists() else None) or Position()
    rows = own.scan(at=now.version)
    request = LoadRequest(
        STREAM, Mode.REPLACE, rows.schema, run=setting.run, memory_bytes=setting.budget.engine_bytes
    )
    with theirs.load(request) as load:
        if (load.position or Position()) != position:
            raise Conflict("production was built meanwhile", hint="it is looked at anew")
        outcome.evolution = load.evolution
        setting.tell(Kind.STEP_PHASE, {"phase": "stage"})
        staged = load.stage(_watched(rows, setting, outcome))
        setting.cancel.check()
        token = _in_production(lake, built, done).token
        commit = load.publish(load.prepare([staged]), position.finished(token))
    outcome.commits.append(commit)
    outcome.about = {"action": "promote"}
    return commit.version


def _watched(rows: Any, setting: Setting, outcome: Outcome) -> Any:
    for batch in rows:
        setting.cancel.check()
        outcome.rows_read += batch.num_rows
        outcome.bytes_read += batch.nbytes
        yield batch


def _in_production(lake: BesideLake, built: Built, done: Mapping[TableName, int]) -> Built:
    """The same, as if production had built it: from its own tables, as they were promoted."""
    upstream, seen = dict(built.upstream), dict(built.seen)
    for name, version in done.items():
        if str(name) in upstream:
            upstream[str(name)] = version
            seen[str(name)] = digest(lake.production.table(name).mount(version))
    return Built(built.fingerprint, upstream, seen, built.definition)
