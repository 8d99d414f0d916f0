"""One stream from its source into its table: plan, read, stage, audit, publish, acknowledge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asgard.core.check import Check
from asgard.core.errors import AsgardError, SchemaChanged
from asgard.core.events import Kind
from asgard.core.names import VALID_FROM, lake_names
from asgard.core.position import Position, Token
from asgard.core.source import Plan, Source
from asgard.core.stream import Mode, Selection, Split
from asgard.core.table import History, LoadRequest, Table
from asgard.core.types import is_metadata_column
from asgard.flow.drift import tell_discards, tell_evolution
from asgard.flow.landing import Standard, land
from asgard.flow.outcome import Outcome
from asgard.flow.reading import Landing, Tally, stage_splits
from asgard.flow.setting import Setting
from asgard.flow.terms import refuse_loss
from asgard.quality.drift import Contract, agree
from asgard.quality.masking import Masking, remasked


@dataclass(frozen=True)
class Pipeline:
    """One stream and the table that it goes to.

    Attributes:
        source: opened; used by this step alone while it runs.
        selection: what is read and how; names are the source's.
        table: where it goes.
        checks: what the rows must be up to; columns may be named as the source or as the lake does.
        allow_missing: a column that vanished from the source becomes null instead of refusing the load.
        anew: reads from the beginning, whatever the table's position says.
        backfill: merges what the selection lets through, and leaves the table's position where it is.
        masking: what may not lie in clear in the table.
        history: keeps every version of a row: the column that says since when it holds, or an empty text for
            the time of the load; None keeps the last. The selection's mode says how much is read each time:
            merge what changed, replace everything, and then keys that did not come end.
        deleted: the source's column by which a row says that it is deleted; empty: none does.
        keys: reads the keys alone, to find rows that the source has no more; None: nobody looks.
        cluster_by: columns by which upkeep keeps files apart; None: the key, or else the cursor.
        contract: what becomes of drift.
    """

    source: Source
    selection: Selection
    table: Table
    checks: tuple[Check, ...] = ()
    allow_missing: bool = False
    anew: bool = False
    backfill: bool = False
    masking: Masking | None = None
    history: str | None = None
    deleted: str = ""
    keys: Selection | None = None
    contract: Contract = field(default_factory=Contract)
    cluster_by: tuple[str, ...] | None = None

    @property
    def masks_a_key(self) -> bool:
        """Whether values of the key may not lie in clear."""
        return self.masking is not None and any(
            key in self.masking.masks for key in self.selection.primary_key
        )


def ingest(pipeline: Pipeline, setting: Setting) -> Outcome:
    """Brings the table up to the source, from the table's own last commit on.

    A load that is killed or fails leaves the table as it was: the next call reads the position from the
    last commit and goes on there (Promise 1).

    Raises:
        AsgardError: with the source, stream and table in `where`.
    """
    outcome = Outcome(setting.step)
    started = setting.clock.monotonic()
    stream = pipeline.selection.stream
    try:
        while _one_plan(pipeline, setting, outcome):
            pass  # a half-read plan was finished from an older snapshot: the next plan catches up
        if pipeline.keys is not None and not pipeline.backfill:
            end_vanished(pipeline, pipeline.keys, setting, outcome)
    except AsgardError as error:
        raise error.at(source=pipeline.source.name, stream=stream.full_name) from error
    finally:
        outcome.seconds = setting.clock.monotonic() - started
    return outcome


def _one_plan(pipeline: Pipeline, setting: Setting, outcome: Outcome) -> bool:
    """Reads one plan to its end; True when another has to follow."""
    selection, table = pipeline.selection, pipeline.table
    stream = selection.stream
    first_load = not table.exists()
    if pipeline.history is None and not first_load:
        refuse_loss(selection.mode, table.schema())
    position = table.position(stream.id) or Position()
    increments = selection.cursor is not None and selection.mode is not Mode.REPLACE
    goes_on = not (pipeline.anew or pipeline.backfill) and (increments or position.half_read)
    kept = position
    if not goes_on:
        position = Position(epoch=position.epoch)
    since = {stream.id: position} if goes_on else {}
    planned_at = setting.clock.now()
    with pipeline.source.plan([selection], since, parallel=setting.budget.parallel) as plan:
        for warning in plan.warnings:
            outcome.warnings.append(warning)
            setting.tell(Kind.WARNING, {"what": warning})
        stream = plan.stream_of(selection)
        names = lake_names(stream.schema.names, known_names(table))
        landing = Landing.of(stream.schema, names, setting.run, planned_at, masking=pipeline.masking)
        landing = under_contract(pipeline, landing)
        if pipeline.history is not None:
            landing = landing.with_ranges(pipeline.history)
        refuse_remasked(pipeline, landing)
        tally = Tally(len(plan.splits), outcome.rows_read, outcome.bytes_read)
        whole = not pipeline.backfill and not (goes_on and position.token is not None)
        request = _request(pipeline, landing, setting, first_load=first_load, whole=whole)
        for parcel, reached in _parcels(plan, stream.id, position, pipeline, setting.budget.parallel):
            reached = kept if pipeline.backfill else reached
            with table.load(request) as load:
                tell_evolution(load, landing, setting, outcome)
                staged, aside = stage_splits(pipeline.source, parcel, load, landing, tally, setting)
                standard = standard_of(pipeline, landing)
                commit, verdict = land(load, staged, reached, standard, setting, aside)
            outcome.commits.append(commit)
            outcome.checks = list(verdict.results)
            plan.acknowledge(stream.id, reached)  # Promise 3: only now may the source forget
        outcome.rows_read, outcome.bytes_read = tally.rows, tally.size_bytes
        tell_discards(landing, setting, outcome)
        return stream.id in plan.resumed


def under_contract(pipeline: Pipeline, landing: Landing) -> Landing:
    """The landing with what the pipeline's contract makes of the table's columns and of those that come.

    Raises:
        SchemaChanged: the contract freezes what is new.
    """
    contract, selection = pipeline.contract, pipeline.selection
    if contract == Contract():
        return landing
    # Who reads a history anew keeps it, and with it the rules.
    anew = (pipeline.anew and pipeline.history is None) or not pipeline.table.exists()
    asked = (*selection.primary_key, selection.cursor, pipeline.deleted, pipeline.history)
    agreement = agree(
        None if anew else pipeline.table.schema(),
        landing.own,
        contract,
        needed={landing.names[name] for name in asked if name},
        allow_missing=pipeline.allow_missing,
    )
    return landing.under(agreement)


def standard_of(pipeline: Pipeline, landing: Landing) -> Standard:
    """What a load of the pipeline must be up to."""
    checks = tuple(in_lake_names(check, landing.names) for check in pipeline.checks)
    if pipeline.history is not None:
        checks = tuple(map(of_versions, checks))
    previous = pipeline.table.mount().rows if checks and pipeline.table.exists() else None
    mode = pipeline.selection.mode if pipeline.history is None else Mode.HISTORY
    return Standard(checks, mode, previous, pipeline.table.name)


def _parcels(
    plan: Plan, stream: str, position: Position, pipeline: Pipeline, parallel: int
) -> Iterator[tuple[Sequence[Split], Position]]:
    """What is published together, and the position that it reaches.

    Splits of a resumable plan are published in waves, so that a kill loses no more than the splits in
    flight; everything else is one parcel: all of it or nothing. So is one whose key is masked: splits are
    often ranges of the key, and their names would be in the position in clear.
    """
    token: Token | None = plan.tokens.get(stream)
    if stream not in plan.resumable or token is None or pipeline.masks_a_key or pipeline.history is not None:
        yield plan.splits, position.finished(token)
        return
    waves = [plan.splits[start : start + parallel] for start in range(0, len(plan.splits), parallel)] or [()]
    for wave in waves[:-1]:
        position = position.with_splits_done([split.id for split in wave], token)
        yield wave, position
    yield waves[-1], position.finished(token)


def _request(
    pipeline: Pipeline, landing: Landing, setting: Setting, *, first_load: bool, whole: bool
) -> LoadRequest:
    selection = pipeline.selection
    keys = tuple(landing.names.get(key, key) for key in selection.primary_key)
    keys_unique = bool(keys) and set(selection.stream.primary_key) == set(selection.primary_key)
    mode = selection.mode
    if mode is Mode.MERGE and first_load and keys_unique and not pipeline.deleted:
        # All splits show one snapshot, in which the source holds the key unique, and the table was not there:
        # no row can meet another, so every wave may skip looking for it among the waves before.
        mode = Mode.APPEND
    keep_existing = selection.mode is Mode.APPEND and bool(keys) and selection.cursor is not None
    history = None
    if pipeline.history is not None:
        mode = Mode.HISTORY
        history = History(bool(pipeline.history), landing.extracted_at if whole else None)
    return LoadRequest(
        stream=selection.stream.id,
        mode=mode,
        schema=landing.schema,
        keys=keys if mode in (Mode.MERGE, Mode.HISTORY) or keep_existing else (),
        keys_unique=keys_unique,
        cluster_by=clustered_by(pipeline, landing),
        history=history,
        deleted=landing.names[pipeline.deleted] if pipeline.deleted else "",
        keep_existing=keep_existing,
        allow_missing=landing.allows_missing(pipeline.allow_missing),
        widens=landing.widens,
        run=setting.run,
        memory_bytes=setting.budget.engine_bytes,
    )


def clustered_by(pipeline: Pipeline, landing: Landing) -> tuple[str, ...]:
    """The columns by which upkeep keeps the files of the table apart, as the lake calls them."""
    selection, wished = pipeline.selection, pipeline.cluster_by
    if wished is None:
        cursor = (selection.cursor,) if selection.cursor else ()
        keeps = selection.mode is not Mode.REPLACE or pipeline.history is not None
        wished = (tuple(selection.primary_key) or cursor) if keeps else ()
    return tuple(landing.names.get(name, name) for name in wished)


def end_vanished(pipeline: Pipeline, keys: Selection, setting: Setting, outcome: Outcome) -> None:
    """Takes rows out of the table, or ends them, whose key the source has no more, as its keys are now.

    They were all read before the keys are: a row that comes in between is missed by neither.
    """
    table, now = pipeline.table, setting.clock.now()
    with pipeline.source.plan([keys], {}, parallel=setting.budget.parallel) as plan:
        stream = plan.stream_of(keys)
        known = known_names(table)
        names = {key: known[key] for key in keys.primary_key}
        landing = Landing.of(stream.schema, names, setting.run, now)
        request = LoadRequest(
            stream=stream.id,
            mode=Mode.MERGE if pipeline.history is None else Mode.HISTORY,
            schema=landing.schema,
            keys=tuple(names.values()),
            history=History(closes_at=now),
            vanished=True,
            allow_missing=True,
            run=setting.run,
            memory_bytes=setting.budget.engine_bytes,
        )
        with table.load(request) as load:
            staged, _ = stage_splits(
                pipeline.source, plan.splits, load, landing, Tally(len(plan.splits)), setting
            )
            prepared = load.prepare(staged)
            if not prepared.is_empty:
                outcome.commits.append(load.publish(prepared, load.position or Position()))


def refuse_remasked(pipeline: Pipeline, landing: Landing) -> None:
    """Sees that rows that come and rows that stay are masked in the same way.

    Raises:
        SchemaChanged: they are not.
    """
    replaces = pipeline.selection.mode is Mode.REPLACE and pipeline.history is None
    if replaces or not pipeline.table.exists():
        return
    if differing := remasked(pipeline.table.schema(), landing.own):
        raise SchemaChanged(
            f"{', '.join(differing)}: the rows in {pipeline.table.name} are masked in another way, "
            "by another key, or not at all",
            hint="--full-refresh reads them anew; older versions of the table keep what they have",
        )


def known_names(table: Table) -> Mapping[str, str]:
    """Source column to lake column, as the table has them; empty for a table that does not exist."""
    if not table.exists():
        return {}
    known = {}
    for column in table.schema():
        original = (column.metadata or {}).get(b"asgard.name")
        if original is not None and not is_metadata_column(column.name):
            known[original.decode()] = column.name
    return known


def of_versions(check: Check) -> Check:
    """A check for a table that keeps every version of a row: of one instant there is but one."""
    return replace(check, columns=(*check.columns, VALID_FROM)) if check.kind == "unique" else check


def in_lake_names(check: Check, names: Mapping[str, str]) -> Check:
    """A check that may name columns as the source does, about the lake's columns."""
    return replace(check, columns=tuple(names.get(column, column) for column in check.columns))
