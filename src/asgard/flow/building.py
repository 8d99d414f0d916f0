"""One model from the tables it reads into its own: query, stage, audit, publish.

A model's position is the version of every table it read: a model whose tables and text are unchanged has
nothing to do, and one that is killed starts again from the same versions (Promise 1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.core.errors import AsgardError
from asgard.core.events import Kind
from asgard.core.names import RESERVED_PREFIX, lake_names
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, Mount, Table, TableName
from asgard.flow.landing import Standard, land
from asgard.flow.outcome import Outcome, Status
from asgard.flow.reading import Landing, Tally
from asgard.flow.setting import Setting

STREAM = "model"


@dataclass(frozen=True)
class Building:
    """One model, ready to be built.

    Attributes:
        sql: one SELECT.
        mode, keys: what happens to the rows that are there.
        checks: what the rows must be up to.
        upstream: the tables it reads, pinned: name to (version, mount).
        fingerprint: of the model's text and options: a changed model is built anew.
    """

    sql: str
    table: Table
    mode: Mode
    keys: tuple[str, ...]
    checks: tuple[Check, ...]
    upstream: Mapping[TableName, tuple[int, Mount]]
    fingerprint: str

    @property
    def token(self) -> str:
        """The position that this building reaches."""
        versions = {str(name): version for name, (version, _) in sorted(self.upstream.items())}
        return json.dumps({"format": 1, "model": self.fingerprint, "upstream": versions}, sort_keys=True)

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
        if position.token == building.token and not rebuild:
            outcome.status = Status.UNCHANGED
            return outcome
        with setting.open_engine(setting.budget.engine_bytes) as engine:
            forget = setting.cancel.on_cancel(engine.interrupt)
            try:
                _build(building, position, engine, setting, outcome)
            finally:
                forget()
    except AsgardError as error:
        raise error.at(model=setting.step) from error
    finally:
        outcome.seconds = setting.clock.monotonic() - started
    return outcome


def _build(
    building: Building, position: Position, engine: Engine, setting: Setting, outcome: Outcome
) -> None:
    building.attach(engine)
    setting.tell(Kind.STEP_PHASE, {"phase": "query"})
    rows = engine.query(building.sql)
    own = [name for name in rows.schema.names if not name.startswith(RESERVED_PREFIX)]
    names = lake_names(own, reserved=())
    landing = Landing.of(rows.schema, names, setting.run, setting.clock.now(), with_extracted_at=False)
    request = LoadRequest(
        stream=STREAM,
        mode=building.mode,
        schema=landing.schema,
        keys=building.keys,
        run=setting.run,
        memory_bytes=setting.budget.engine_bytes,
    )
    tally = Tally(splits=1)
    with building.table.load(request) as load:
        outcome.evolution = load.evolution
        staged = load.stage(_batches(rows, landing, tally, setting))
        tally.split_done(setting)
        previous = building.table.mount().rows if building.table.exists() else None
        standard = Standard(building.checks, building.mode, previous, building.table.name)
        commit, verdict = land(load, [staged], position.finished(building.token), standard, setting)
    outcome.commits.append(commit)
    outcome.checks = list(verdict.results)
    outcome.rows_read, outcome.bytes_read = tally.rows, tally.size_bytes


def _batches(
    rows: pa.RecordBatchReader, landing: Landing, tally: Tally, setting: Setting
) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        setting.cancel.check()
        tally.add(batch.num_rows, batch.nbytes, setting)
        yield landing.dressed(batch)
