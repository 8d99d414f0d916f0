"""One model from the tables it reads into its own: decide, query, stage, audit, publish.

A model's position is the version of every table it read: a model whose tables and text are unchanged has
nothing to do, and one that is killed starts again from the same versions (Promise 1).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, Conflict
from asgard.core.events import Kind
from asgard.core.names import RESERVED_PREFIX, lake_names
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import History, LoadRequest, Mount, Staged, Table, TableName
from asgard.flow.decision import Action, Decision, Question, Why, decide
from asgard.flow.drift import tell_discards, tell_evolution
from asgard.flow.ingest import of_versions
from asgard.flow.landing import Standard, land
from asgard.flow.news import digest
from asgard.flow.outcome import Outcome, Status
from asgard.flow.reading import Landing, Tally, landed
from asgard.flow.setting import Setting
from asgard.flow.terms import Terms
from asgard.transform.built import STREAM, Built, names_of

__all__ = ["STREAM", "Building", "build"]


@dataclass(frozen=True)
class Building:
    """One model, ready to be built.

    Attributes:
        sql: one SELECT.
        terms: how its rows are laid down.
        checks: what the rows must be up to.
        upstream: the tables it reads, pinned: name to (version, mount).
        fingerprint: of the model's text and options: a changed model is built anew.
        definition, beside: as `Built` keeps them.
        tables: the tables that it reads, to see what came to them.
        incremental, dialect: as for `Question`.
        open_engine: opens what runs the SELECT; None for the setting's. Checks stay with the setting's.
    """

    sql: str
    table: Table
    terms: Terms
    checks: tuple[Check, ...]
    upstream: Mapping[TableName, tuple[int, Mount]]
    fingerprint: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[TableName, Table] = field(default_factory=dict)
    incremental: bool | tuple[str, ...] = False
    dialect: str = "duckdb"
    open_engine: Callable[[int], Engine] | None = None

    @property
    def token(self) -> str:
        """The position that this building reaches."""
        return self.question.model.token

    @property
    def question(self) -> Question:
        """What is asked before it is built."""
        versions = {name: version for name, (version, _) in self.upstream.items()}
        seen = {name: digest(mount) for name, (_, mount) in self.upstream.items()}
        model = Built(
            self.fingerprint, names_of(versions), names_of(seen), dict(self.definition), dict(self.beside)
        )
        return Question(
            model, self.sql, self.terms.mode, self.upstream, self.tables, self.incremental, self.dialect
        )

    def attach(self, engine: Engine) -> None:
        """Makes readable what it reads."""
        for name, (_, mount) in self.upstream.items():
            engine.attach(name, mount)


def build(building: Building, setting: Setting, *, rebuild: bool = False) -> Outcome:
    """Brings a model's table up to its upstream tables.

    Args:
        rebuild: builds although nothing has changed.

    Raises:
        AsgardError: with the model in `where`.
    """
    outcome = Outcome(setting.step)
    started = setting.clock.monotonic()
    try:
        position = building.table.position(STREAM) or Position()
        decision = decide(building.question, Built.of(position), rebuild=rebuild)
        outcome.about = {
            "action": str(decision.action),
            "reasons": [one.as_dict() for one in decision.reasons],
        }
        if decision.action is Action.NOTHING:
            outcome.status = Status.UNCHANGED
            return outcome
        if decision.whole_because:
            outcome.warnings.append(f"built whole: {decision.whole_because}")
        opener = building.open_engine or setting.open_engine
        with opener(setting.budget.engine_bytes) as engine:
            forget = setting.cancel.on_cancel(engine.interrupt)
            try:
                building.attach(engine)
                _build(building, decision, position, engine, setting, outcome)
            finally:
                forget()
    except AsgardError as error:
        raise error.at(model=setting.step) from error
    finally:
        outcome.seconds = setting.clock.monotonic() - started
    return outcome


def _build(
    building: Building,
    decision: Decision,
    position: Position,
    engine: Engine,
    setting: Setting,
    outcome: Outcome,
) -> None:
    if decision.action is Action.INCREMENT:
        for name, mount in decision.rows.items():
            engine.attach(name, mount)
    setting.tell(Kind.STEP_PHASE, {"phase": "query"})
    rows = engine.query(decision.sql)
    table, terms = building.table, building.terms
    landing = landing_of(rows.schema, setting.run, setting.clock.now())
    anew = any(reason.why is Why.ASKED for reason in decision.reasons)
    landing = terms.landing(landing, table.schema() if table.exists() else None, anew=anew)
    tally = Tally(splits=1)
    with table.load(_request(building, decision, landing, setting)) as load:
        if (load.position or Position()) != position:
            # What is read was worked out from the position (Promise 1): another build was faster.
            raise Conflict("somebody else has built the table meanwhile", hint="it is decided anew")
        tell_evolution(load, landing, setting, outcome)
        aside: list[Staged] = []
        staged = load.stage(landed(_batches(rows, tally, setting), load, landing, aside))
        tally.split_done(setting)
        standard = _standard(building, decision)
        rejected = Staged(tuple(file for one in aside for file in one.files)) if aside else None
        reached = position.finished(building.token)
        commit, verdict = land(load, [staged], reached, standard, setting, rejected)
    tell_discards(landing, setting, outcome)
    outcome.commits.append(commit)
    outcome.checks = list(verdict.results)
    outcome.rows_read, outcome.bytes_read = tally.rows, tally.size_bytes


def landing_of(schema: pa.Schema, run: str, at: datetime) -> Landing:
    """How the columns of a SELECT lie in the lake, as far as the SELECT says it."""
    own = [name for name in schema.names if not name.startswith(RESERVED_PREFIX)]
    return Landing.of(schema, lake_names(own, reserved=()), run, at, with_extracted_at=False)


def _request(building: Building, decision: Decision, landing: Landing, setting: Setting) -> LoadRequest:
    terms, history = building.terms, None
    if terms.mode is Mode.HISTORY:
        # Of rows that came alone, nothing says which keys ended.
        closes_at = landing.extracted_at if decision.action is Action.WHOLE else None
        history = History(bool(terms.valid_from), closes_at)
    return LoadRequest(
        stream=STREAM,
        mode=decision.mode,
        schema=landing.schema,
        keys=terms.keys,
        cluster_by=terms.keys,
        history=history,
        allow_missing=landing.allows_missing(False),
        widens=landing.widens,
        run=setting.run,
        memory_bytes=setting.budget.engine_bytes,
    )


def _standard(building: Building, decision: Decision) -> Standard:
    table, is_history = building.table, building.terms.mode is Mode.HISTORY
    checks = tuple(map(of_versions, building.checks)) if is_history else building.checks
    previous = table.mount().rows if table.exists() else None
    return Standard(checks, decision.mode, previous, table.name, building.terms.alone)


def _batches(rows: pa.RecordBatchReader, tally: Tally, setting: Setting) -> Generator[pa.RecordBatch]:
    for batch in rows:
        setting.cancel.check()
        tally.add(batch.num_rows, batch.nbytes, setting)
        yield batch
