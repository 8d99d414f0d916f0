"""From the project's tables to steps of a run: which streams are meant, how each is read, where it lands."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Self

import pyarrow as pa

from asgard.app.checks.contract_files import table_checks
from asgard.app.config.contract_specs import agreed_contract, check_contract
from asgard.app.config.project import Project, SourceSpec, TableSpec
from asgard.app.project.workspace import Workspace
from asgard.app.sources.backfill import backfilling
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError, Refused, SchemaChanged
from asgard.core.events import Kind
from asgard.core.names import lake_names, stream_table
from asgard.core.secret import reveal
from asgard.core.source import Feature, Source
from asgard.core.stream import Mode, Selection, Stream
from asgard.core.table import TableName
from asgard.flow.follow import Following, follow
from asgard.flow.ingest import Pipeline, ingest
from asgard.flow.outcome import Outcome
from asgard.flow.run import Step
from asgard.flow.setting import Setting
from asgard.flow.window import Window
from asgard.quality.drift import Contract, Rule
from asgard.quality.failing import question_of
from asgard.quality.masking import Masking, misused
from asgard.quality.spec import checks_of

Work = Callable[[Setting], Outcome]
MOST_SMALL_BYTES = 8 << 20
"""Tables up to this size are loaded several at a time: larger ones keep all workers busy by themselves."""


@dataclass(frozen=True)
class Wanted:
    """One stream of the project.

    Attributes:
        source: name of the source.
        stream: the stream's own name, as the source calls it.
        spec: what the project says about it.
        table: where it lands.
        size_bytes: how large the source takes it to be; None where it was not asked, or does not know.
    """

    source: str
    stream: str
    spec: TableSpec
    table: TableName
    size_bytes: int | None = None


@dataclass
class OpenSources:
    """Sources that the steps of a run share: connected once for each thread, and anew after a failure."""

    workspace: Workspace
    cancel: Cancel
    _open: dict[tuple[int, str], Source] = field(default_factory=dict)

    def get(self, name: str) -> Source:
        """The source, connected by an earlier step of this thread or not yet."""
        key = (threading.get_ident(), name)
        if key not in self._open:
            self._open[key] = self.workspace.source(name, self.cancel)
        return self._open[key]

    def drop(self, name: str) -> None:
        """Forgets a source whose connection may be broken."""
        source = self._open.pop((threading.get_ident(), name), None)
        if source is not None:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for source in self._open.values():
                stack.callback(source.close)


def ingest_steps(
    sources: OpenSources,
    selectors: Sequence[str],
    *,
    full_refresh: bool = False,
    between: tuple[str, str] | None = None,
) -> tuple[list[Step], set[str]]:
    """One step for each chosen stream, in the project's order, and the selectors that chose any.

    A source that cannot list its streams for a wildcard becomes one step that fails with the reason.
    """
    steps: list[Step] = []
    matched: set[str] = set()
    for name, spec in sources.workspace.project.sources.items():
        near = {selector for selector in selectors if _may_match(selector, name)}
        if selectors and not near:
            continue
        try:
            wanted = expand(sources, name, spec)
        except AsgardError as error:
            steps.append(_failing_step(f"bronze.{name}", error))
            matched |= near
            continue
        refused = {one.table: step for one, step in _new_tables_refused(sources, wanted)}
        for one in wanted:
            chose = {selector for selector in near if _matches(selector, one)}
            if one.table in refused and (chose or not selectors):
                steps.append(refused[one.table])
                matched |= chose
            elif chose or not selectors:
                steps.append(_ingest_step(sources, one, full_refresh=full_refresh, between=between))
                matched |= chose
    return steps, matched


def expand(sources: OpenSources, name: str, spec: SourceSpec) -> list[Wanted]:
    """The streams that a source's tables mean; wildcards are looked up in the source.

    Raises:
        AsgardError: the source was asked, and failed.
    """
    found: list[tuple[str, TableSpec, int | None]] = []
    named = {entry.name for entry in spec.tables}
    for table in spec.tables:
        if not table.enabled:
            continue
        if not table.is_pattern:
            found.append((table.name, table, None))
            continue
        for stream in sources.get(name).streams(table.name):
            excluded = any(
                fnmatchcase(stream.name, pattern) or fnmatchcase(stream.full_name, pattern)
                for pattern in table.exclude
            )
            if not excluded and not named & {stream.name, stream.full_name}:
                found.append((stream.full_name, table, stream.size_bytes))
    wished = [spec.table or stream_table(*_namespace_and_name(stream)) for stream, spec, _ in found]
    twice = sorted(name for name, count in Counter(wished).items() if count > 1)
    if twice:
        raise ConfigError(
            f"several streams of {name} would be the table {', '.join(twice)}",
            hint="give each a name of its own with `table:`, or exclude one",
        )
    # Sorted: which of two names that differ in case stays as it is must not hang on the source's order.
    lake = lake_names(sorted(wished), reserved=())
    return [
        Wanted(name, stream, table, TableName("bronze", name, lake[wish]), size_bytes)
        for (stream, table, size_bytes), wish in zip(found, wished, strict=True)
    ]


def _namespace_and_name(stream: str) -> tuple[str, str]:
    namespace, _, name = stream.rpartition(".")
    return namespace, name


def _may_match(selector: str, source: str) -> bool:
    head = selector.removeprefix("bronze.").split(".")[0]
    return fnmatchcase(source, head)


def _matches(selector: str, wanted: Wanted) -> bool:
    names = (wanted.source, f"{wanted.source}.{wanted.stream}", f"{wanted.source}.{wanted.table.name}",
             str(wanted.table), "bronze")  # fmt: skip
    return any(fnmatchcase(name, selector) for name in names)


def _failing_step(name: str, error: AsgardError) -> Step:
    def work(setting: Setting) -> Outcome:
        raise error

    return Step(name, work)


def _new_tables_refused(sources: OpenSources, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Step]]:
    """A step that fails for each stream that is new under a name with wildcards, where tables are frozen.

    With none of the pattern's tables in the lake, it is the first load, which brings them all.
    """
    workspace = sources.workspace
    patterns: dict[str, list[Wanted]] = {}
    for one in wanted:
        contract = contract_of(workspace.project, one.source, one.spec)
        if one.spec.is_pattern and contract.tables is Rule.FREEZE:
            patterns.setdefault(one.spec.name, []).append(one)
    for pattern, streams in patterns.items():
        new = [one for one in streams if not workspace.lake.table(one.table).exists()]
        for one in new if len(new) < len(streams) else []:
            error = SchemaChanged(
                f"{one.stream} is new, and schema_contract freezes the tables of {pattern}",
                hint="name it in tables:, exclude it, or set tables: evolve",
                where={"source": one.source, "stream": one.stream},
            )
            yield one, _failing_step(str(one.table), error)


def _ingest_step(
    sources: OpenSources, wanted: Wanted, *, full_refresh: bool, between: tuple[str, str] | None
) -> Step:
    workspace = sources.workspace

    def work(setting: Setting) -> Outcome:
        if between is None and is_log(workspace, wanted):
            return follow(following(workspace, wanted, setting.cancel, anew=full_refresh), setting)
        try:
            wished = pipeline(sources.get(wanted.source), workspace, wanted, anew=full_refresh)
            outcome = ingest(wished if between is None else backfilling(wished, between), setting)
        except AsgardError:
            sources.drop(wanted.source)
            raise
        outcome.about["deletes"] = deletes_seen(wanted.spec)
        return outcome

    return Step(
        str(wanted.table),
        _again_with_new_secrets(workspace, wanted, work),
        about={"mode": str(wanted.spec.mode)},
        small=_is_small(workspace, wanted),
    )


def _is_small(workspace: Workspace, wanted: Wanted) -> bool:
    """Whether a table may be loaded beside others: its source says that it is small and takes several
    connections, and no check of it looks at another table, which has to be loaded before."""
    source, spec = workspace.project.sources[wanted.source], wanted.spec
    if wanted.size_bytes is None or wanted.size_bytes > MOST_SMALL_BYTES or spec.contract is not None:
        return False
    if Feature.SPLITS not in source.connector_class.features:
        return False
    if getattr(source.config, "max_parallel", None) is not None:
        return False  # whoever counts the connections gets them one table after another
    return not any("to" in question_of(check).options for check in checks_of(spec.checks))


def _again_with_new_secrets(workspace: Workspace, wanted: Wanted, work: Work) -> Work:
    """Work that is done again after a refusal, if the source's secrets were exchanged since it began.

    With the same ones it is not: systems lock accounts that try a wrong password too often.
    """

    def working(setting: Setting) -> Outcome:
        while True:
            used = workspace.project.sources[wanted.source].config
            try:
                return work(setting)
            except Refused as error:
                with suppress(AsgardError):  # of the stores: what the source said is what has to be told
                    workspace.look_up_anew()
                if workspace.project.sources[wanted.source].config == used:
                    raise
                setting.tell(Kind.RETRIED, {"attempt": 1, "after_seconds": 0.0, "error": error.as_dict()})

    return working


def follow_steps(
    sources: OpenSources, selectors: Sequence[str], drain: Cancel
) -> tuple[list[Step], set[str]]:
    """One step that does not end for each chosen log, and the selectors that chose any.

    Without selectors all logs of the project are meant.

    Raises:
        ConfigError: a selector chose something that ends by itself.
        AsgardError: a source was asked for its streams, and failed.
    """
    steps: list[Step] = []
    matched: set[str] = set()
    for name, spec in sources.workspace.project.sources.items():
        near = {selector for selector in selectors if _may_match(selector, name)}
        if selectors and not near:
            continue
        for one in expand(sources, name, spec):
            chose = {selector for selector in near if _matches(selector, one)}
            if is_log(sources.workspace, one):
                if chose or not selectors:
                    steps.append(_follow_step(sources.workspace, one, sources.cancel, drain))
            elif chose:
                raise ConfigError(
                    f"{one.source}.{one.stream} cannot be followed: it ends by itself",
                    hint="asgard run without --follow loads it; --follow is for logs such as Kafka's topics",
                )
            matched |= chose
    return steps, matched


def _follow_step(workspace: Workspace, wanted: Wanted, cancel: Cancel, drain: Cancel) -> Step:
    def work(setting: Setting) -> Outcome:
        return follow(replace(following(workspace, wanted, cancel), endless=True, drain=drain), setting)

    return Step(
        str(wanted.table),
        _again_with_new_secrets(workspace, wanted, work),
        about={"mode": str(wanted.spec.mode)},
    )


def is_log(workspace: Workspace, wanted: Wanted) -> bool:
    """Whether the stream's source never ends by itself."""
    return Feature.ENDLESS in workspace.project.sources[wanted.source].connector_class.features


def following(workspace: Workspace, wanted: Wanted, cancel: Cancel, *, anew: bool = False) -> Following:
    """How a log is read into its table: with a source of its own, because logs are read at the same time."""

    @contextmanager
    def opened() -> Iterator[Pipeline]:
        source = workspace.source(wanted.source, cancel)
        try:
            yield pipeline(source, workspace, wanted, anew=anew)
        finally:
            source.close()

    spec = wanted.spec.window
    window = Window(spec.seconds, spec.rows, spec.size) if spec else Window()
    return Following(opened, window)


def pipeline(source: Source, workspace: Workspace, wanted: Wanted, *, anew: bool = False) -> Pipeline:
    """How one stream is read and where it lands; asks the source for the stream's schema.

    Args:
        anew: reads everything and replaces the table, whatever the mode.

    Raises:
        QueryError: the stream, a key or the cursor is not there.
    """
    spec = wanted.spec
    stream = source.describe(wanted.stream, spec.options, spec.query)
    keys = spec.primary_key or stream.primary_key
    for column in filter(None, (*keys, spec.cursor, spec.soft_delete)):
        if column not in stream.schema.names:
            raise ConfigError(
                f"{wanted.stream} has no column {column!r}, which is its key, cursor or soft_delete",
                hint=f"its columns: {', '.join(stream.schema.names)}",
            )
    mode = spec.mode or Mode.REPLACE
    if mode in (Mode.MERGE, Mode.HISTORY) and not keys:
        raise ConfigError(
            f"{wanted.stream} has mode {mode}, but no primary key",
            hint="give it primary_key: [column, ...]",
        )
    history = _history(source, wanted, stream) if mode is Mode.HISTORY else None
    if history is not None:
        mode = Mode.MERGE if spec.cursor else Mode.REPLACE
    contract = contract_of(workspace.project, wanted.source, spec)
    ends_missing = history is not None and mode is Mode.REPLACE
    check_contract(contract, wanted.stream, ends_missing=ends_missing)
    masking = masking_of(workspace.project, wanted.source, wanted.stream, spec)
    if masking is not None:
        kept = keys if spec.primary_key or mode is not Mode.REPLACE else ()
        for column, what, hint in misused(spec.mask, kept, spec.cursor):
            raise ConfigError(f"{wanted.stream}: {column} {what}", hint=hint)
    selection = Selection(
        stream=stream,
        mode=Mode.REPLACE if anew else mode,
        primary_key=tuple(keys),
        cursor=spec.cursor,
        cursor_lag=spec.cursor_lag or 0.0,
        query=spec.query,
        options=spec.options,
    )
    table = workspace.lake.table(wanted.table)
    checks = table_checks(workspace.project, spec, wanted.table)
    return Pipeline(
        source,
        selection,
        table,
        checks,
        spec.allow_missing,
        anew=anew,
        masking=masking,
        history=history,
        deleted=spec.soft_delete or "",
        keys=_keys_alone(source, wanted, selection) if spec.detect_deletes else None,
        contract=contract,
        cluster_by=spec.cluster_by,
    )


def contract_of(project: Project, source: str, spec: TableSpec) -> Contract:
    """What becomes of drift in a table: what it says, else its source, else the project."""
    of_source = project.sources[source].schema_contract if source in project.sources else None
    return agreed_contract(spec.schema_contract, of_source, project.schema_contract)


def _keys_alone(source: Source, wanted: Wanted, selection: Selection) -> Selection:
    """How all keys of a stream are read, and nothing else where the connector can leave columns out."""
    spec, keys = wanted.spec, selection.primary_key
    if masked := [key for key in keys if key in spec.mask]:
        raise ConfigError(
            f"{wanted.stream}: {masked[0]} is masked: the keys of the source cannot be compared with it",
            hint="leave detect_deletes out, or choose a key that may lie in clear",
        )
    if Feature.SNAPSHOT not in source.features:
        raise ConfigError(
            f"{wanted.stream}: {source.type} reads its keys in no snapshot: one that it passes over while "
            "rows move would be taken for deleted, and never come back",
            hint="use soft_delete, mode: replace, or --full-refresh from time to time",
        )
    options, stream = spec.options, selection.stream
    if spec.query is None and hasattr(options, "exclude_columns"):
        others = tuple(name for name in stream.schema.names if name not in keys)
        excluded = (*options.exclude_columns, *others)
        options = options.model_copy(update={"exclude_columns": excluded})
        stream = source.describe(wanted.stream, options, spec.query)
    return Selection(stream, primary_key=keys, query=spec.query, options=options)


def deletes_seen(spec: TableSpec) -> str:
    """Whether rows that the source deletes go from the table: `seen`, `marked` or `not seen`."""
    mode = spec.mode or Mode.REPLACE
    if mode is Mode.REPLACE or spec.detect_deletes or (mode is Mode.HISTORY and not spec.cursor):
        return "seen"
    return "marked" if spec.soft_delete else "not seen"


def _history(source: Source, wanted: Wanted, stream: Stream) -> str:
    """The column that says since when a version holds; empty for the time of the load."""
    if Feature.ENDLESS in source.features:
        raise ConfigError(
            f"{wanted.stream} is a log: it has every version already", hint="use mode: append, or merge"
        )
    cursor = wanted.spec.cursor
    if wanted.spec.valid_from != "cursor" or cursor is None:
        return ""
    kind = stream.schema.field(cursor).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise ConfigError(
            f"{wanted.stream}: the cursor {cursor} is {kind}: it does not say since when a row holds",
            hint="leave valid_from out: versions then begin with the load that brings them",
        )
    return cursor


def masking_of(project: Project, source: str, stream: str, spec: TableSpec) -> Masking | None:
    """The masks of a stream; None when it has none.

    Raises:
        ConfigError: they need a key, and the project has none.
        Refused, Unreachable: a store does not give the key.
    """
    if not spec.mask:
        return None
    if project.masking_key_unavailable is not None:
        raise project.masking_key_unavailable
    key = reveal(project.masking_key)
    may_miss = spec.is_pattern or spec.allow_missing
    return Masking(spec.mask, f"{source}.{stream}", key.encode() if key else None, may_miss)
