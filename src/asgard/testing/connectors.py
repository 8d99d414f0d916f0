"""What every connector has to keep, as functions that a test runner calls with a `Harness`.

    import pytest
    from asgard.testing.connectors import CASES, Harness, run_case

    @pytest.mark.parametrize("case", CASES)
    def test_contract(case, harness: Harness) -> None:
        run_case(harness, case)

A harness is a connector with a working configuration and a source that the tests may change. Needs no test
runner itself: every case asserts.
"""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.source_reading import read_source
from asgard.app.config.yaml_text import tree_of
from asgard.core.batch import Batch, Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Cancelled, PositionLost, QueryError
from asgard.core.position import DONE, Position, Token
from asgard.core.source import Feature, ReadSettings, Source
from asgard.core.stream import Mode, Selection, Split, Stream

OTHER_WORDS = {
    "timeout": "timeout_seconds", "timeout_s": "timeout_seconds", "batch_size": "batch_rows",
    "chunk_size": "batch_rows", "fetch_size": "batch_rows", "page_rows": "batch_rows",
    "workers": "max_parallel", "threads": "max_parallel", "parallelism": "max_parallel",
    "concurrency": "max_parallel", "user": "username", "uri": "url", "passwd": "password",
}  # fmt: skip
"""Names that options must not have, and the canonical ones. As aliases they are welcome."""


@dataclass(frozen=True)
class Wanted:
    """A stream of the harness's source.

    Attributes:
        name: as the source calls it.
        options: for the connector's `StreamOptions`.
        rows: how many rows it has.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True)
class CursorWanted:
    """A stream that can be read from a cursor on.

    Attributes:
        add_rows: adds rows with higher cursors to the source, and returns how many.
        future: a token as if everything up to a far future had been read; None where no token can say that.
    """

    stream: Wanted
    cursor: str
    add_rows: Callable[[], int]
    primary_key: tuple[str, ...] = ()
    future: Token | None = None


@dataclass(frozen=True)
class Harness:
    """A connector, and something to try it on.

    Attributes:
        name: the registered one.
        connector: the Source class.
        config: a working configuration, for `Config`.
        bad_configs: configurations that cannot work, and the error that `check` or the first reading of
            `stream` must raise for each.
        stream: a stream with at least 3 rows.
        cursor: None for connectors without Feature.CURSOR.
        query: a query with rows, for connectors with Feature.QUERY.
        secrets: plain values that the configuration has and no text may show.
        lists_streams: False for sources that cannot tell what they have.
    """

    name: str
    connector: Any
    config: Mapping[str, Any]
    stream: Wanted
    bad_configs: tuple[tuple[Mapping[str, Any], type[AsgardError]], ...]
    cursor: CursorWanted | None = None
    query: str | None = None
    secrets: tuple[str, ...] = ()
    lists_streams: bool = True

    @contextmanager
    def source(
        self, config: Mapping[str, Any] | None = None, settings: ReadSettings | None = None
    ) -> Iterator[Source]:
        """A source of the connector, closed afterwards."""
        made: Source = self.connector(
            self.connector.Config.model_validate(config or self.config), "tried", settings
        )
        try:
            yield made
        finally:
            made.close()
            made.close()  # more than once is fine

    def selection(self, source: Source, wanted: Wanted | None = None, **how: Any) -> Selection:
        """The stream as a pipeline would select it."""
        chosen = wanted or self.stream
        options = self.connector.StreamOptions.model_validate(chosen.options)
        return Selection(source.describe(chosen.name, options), options=options, **how)


Case = Callable[[Harness], None]


@contextmanager
def _refused(wanted: type[AsgardError], secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """What is inside must raise that error, with what happened, what to do next, and no secret."""
    found: AsgardError | None = None
    try:
        yield
    except AsgardError as error:
        found = error
    assert found is not None, f"nothing was wrong; {wanted.__name__} was expected"
    assert isinstance(found, wanted), f"{type(found).__name__}, not {wanted.__name__}: {found}"
    assert found.what
    assert found.hint or isinstance(found, Cancelled), f"no next step: {found}"
    assert not [secret for secret in secrets if secret in str(found)]


def read_all(source: Source, splits: tuple[Split, ...], schema: pa.Schema) -> pa.Table:
    """The rows of splits, through their readers; every batch must have the schema."""
    batches: list[pa.RecordBatch] = []
    for split in splits:
        reader = source.open(split)
        try:
            while not isinstance(polled := reader.poll(1 << 20, 1.0), Progress) or not polled.done:
                if isinstance(polled, Batch):
                    assert (polled.stream, polled.split) == (split.stream, split.id)
                    assert polled.data.schema.equals(schema, check_metadata=False), (
                        f"a batch has {polled.data.schema}, the stream {schema}"
                    )
                    assert polled.data.num_rows, "an empty batch"
                    batches.append(polled.data)
        finally:
            reader.close()
            reader.close()  # more than once is fine
    return pa.Table.from_batches(batches, schema=schema)


def content(table: pa.Table) -> list[str]:
    """The rows in an order of their own."""
    return sorted(repr(row) for row in table.to_pylist())


def _loaded(harness: Harness, source: Source, parallel: int = 1) -> pa.Table:
    selection = harness.selection(source)
    with source.plan([selection], {}, parallel=parallel) as plan:
        return read_all(source, plan.splits, selection.stream.schema)


# ---- who it is


def has_its_own_name(harness: Harness) -> None:
    """The type, the file and the registered name are one; the file says what it follows."""
    module = importlib.import_module(harness.connector.__module__)
    assert harness.connector.type == harness.name
    assert module.__name__.rsplit(".", 1)[-1] == harness.name
    assert module.CONNECTOR is harness.connector
    assert "Reference:" in (module.__doc__ or "")


def describes_its_options(harness: Harness) -> None:
    """Every option has a JSON Schema and a help text, and the canonical name for what it means."""
    for model in (harness.connector.Config, harness.connector.StreamOptions):
        json.dumps(model.model_json_schema())
        for name, about in model.model_fields.items():
            assert name not in OTHER_WORDS, f"{name} is called {OTHER_WORDS[name]} everywhere"
            plain = name in {"host", "port", "username", "password"}
            assert about.description or plain, f"{model.__name__}.{name} has no description"


def has_examples_that_validate(harness: Harness) -> None:
    """At least two, each read as a project file is read."""
    assert len(harness.connector.examples) >= 2
    titles = [example.title for example in harness.connector.examples]
    assert len(set(titles)) == len(titles)
    for example in harness.connector.examples:
        mistakes = Mistakes()
        spec = read_source("example", tree_of(dict(example.config)), "example", mistakes)
        mistakes.raise_if_any()
        assert spec is not None
        assert spec.type == harness.name
        assert spec.tables, f"the example {example.title!r} loads nothing"


def keeps_secrets(harness: Harness) -> None:
    """No secret in a repr, in a split, in a token, or in the error of a stream that is not there."""
    with harness.source() as source:
        texts = [repr(source.config), str(source.config), repr(source), source.config.model_dump_json()]
        selection = harness.selection(source)
        with source.plan([selection], {}) as plan:
            texts += [repr(plan.splits), json.dumps([dict(split.spec) for split in plan.splits])]
            texts += [pickle.dumps(split).decode("latin-1") for split in plan.splits]
            texts += plan.tokens.values()
        try:
            source.describe("no_such_stream")
        except AsgardError as error:
            texts += [str(error), repr(error.as_dict())]
    for secret in harness.secrets:
        assert not [text for text in texts if secret in text]


# ---- whether it answers


def accepts_a_good_configuration(harness: Harness) -> None:
    """`check` says nothing, twice."""
    with harness.source() as source:
        source.check()
        source.check()


def refuses_bad_configurations(harness: Harness) -> None:
    """Each with the class that says who must act, and with a next step."""
    assert harness.bad_configs
    for config, wanted in harness.bad_configs:
        with harness.source(config) as source, _refused(wanted, harness.secrets):
            source.check()
            harness.selection(source)


def lists_what_there_is(harness: Harness) -> None:
    """Streams have ids and names of their own, the wanted one is among them, and patterns choose."""
    with harness.source() as source:
        found = list(source.streams())
        assert len({stream.id for stream in found}) == len(found)
        assert len({stream.full_name for stream in found}) == len(found)
        if not harness.lists_streams:
            return
        names = {stream.full_name for stream in found}
        assert found
        pattern = f"{sorted(names)[0][:1]}*"
        chosen = {stream.full_name for stream in source.streams(pattern)}
        fitting = {
            s.full_name for s in found if fnmatchcase(s.name, pattern) or fnmatchcase(s.full_name, pattern)
        }
        assert chosen == fitting
        assert not list(source.streams("no_such_stream_at_all"))


def names_a_stream_that_is_not_there(harness: Harness) -> None:
    """With a QueryError that says what to do."""
    with harness.source() as source, _refused(QueryError):
        source.describe("no_such_stream")


def takes_a_query(harness: Harness) -> None:
    """As a stream of the name that is wanted."""
    if Feature.QUERY not in harness.connector.features:
        assert harness.query is None
        return
    assert harness.query is not None
    with harness.source() as source:
        stream = source.describe("asked", None, harness.query)
        assert stream.name == "asked"
        with source.plan([Selection(stream, query=harness.query)], {}) as plan:
            assert read_all(source, plan.splits, stream.schema).num_rows


# ---- whether it reads


def reads_what_it_describes(harness: Harness) -> None:
    """Every batch has the stream's schema, and all rows come."""
    with harness.source() as source:
        assert _loaded(harness, source).num_rows == harness.stream.rows >= 3


def reads_the_same_twice(harness: Harness) -> None:
    """From one source, and from another; with several splits as with one."""
    with harness.source() as source:
        first = content(_loaded(harness, source))
        assert content(_loaded(harness, source)) == first
        assert content(_loaded(harness, source, parallel=4)) == first
    with harness.source() as other:
        assert content(_loaded(harness, other)) == first


def reads_splits_elsewhere(harness: Harness) -> None:
    """A split is picklable, and another source reads it; its id is its own."""
    with harness.source() as source:
        selection = harness.selection(source)
        with source.plan([selection], {}, parallel=2) as plan:
            assert len({split.id for split in plan.splits}) == len(plan.splits)
            here = content(read_all(source, plan.splits, selection.stream.schema))
            travelled = pickle.loads(pickle.dumps(plan.splits))
            assert travelled == plan.splits
            with harness.source() as other:
                assert content(read_all(other, travelled, selection.stream.schema)) == here


def gives_splits_the_same_ids(harness: Harness) -> None:
    """Whoever plans, as long as the source does not change."""
    ids = []
    for _ in range(2):
        with harness.source() as source, source.plan([harness.selection(source)], {}, parallel=2) as plan:
            ids.append([split.id for split in plan.splits])
    assert ids[0] == ids[1]


def closes_what_it_opened(harness: Harness) -> None:
    """A reader that was closed has nothing more to give; a plan may be closed twice."""
    with harness.source() as source:
        plan = source.plan([harness.selection(source)], {})
        with plan:
            reader = source.open(plan.splits[0])
            reader.close()
            polled: object = None
            with suppress(Cancelled):
                polled = reader.poll(1 << 20, 0.1)
            assert polled is None or (isinstance(polled, Progress) and polled.done)
        plan.close()


def stops_when_it_is_cancelled(harness: Harness) -> None:
    """With Cancelled, wherever it is."""
    cancel = Cancel()
    with harness.source(settings=ReadSettings(cancel=cancel)) as source:
        selection = harness.selection(source)
        with source.plan([selection], {}) as plan:
            cancel.cancel()
            with _refused(Cancelled):
                read_all(source, plan.splits, selection.stream.schema)


# ---- how far it was read


def _since(stream: Stream, token: Token | None) -> dict[str, Position]:
    return {} if token is None else {stream.id: Position(token=token)}


def _read_since(harness: Harness, token: Token | None) -> tuple[int, Token | None]:
    wanted = harness.cursor
    assert wanted is not None
    with harness.source() as source:
        mode = Mode.MERGE if wanted.primary_key else Mode.APPEND
        how = {"cursor": wanted.cursor, "primary_key": wanted.primary_key, "mode": mode}
        selection = harness.selection(source, wanted.stream, **how)
        with source.plan([selection], _since(selection.stream, token)) as plan:
            rows = read_all(source, plan.splits, selection.stream.schema).num_rows
            return rows, plan.tokens.get(selection.stream.id)


def goes_on_from_its_position(harness: Harness) -> None:
    """The second plan reads no more than the ties of the bound, a third what was added."""
    if harness.cursor is None:
        assert Feature.CURSOR not in harness.connector.features
        return
    assert Feature.CURSOR in harness.connector.features
    rows, token = _read_since(harness, None)
    assert rows == harness.cursor.stream.rows
    assert token is not None
    ties, again = _read_since(harness, token)
    assert again is not None
    assert ties < rows
    added = harness.cursor.add_rows()
    assert added
    found, last = _read_since(harness, again)
    assert found == ties + added, f"{added} rows were added, {found} came, {ties} of them again"
    assert last not in (None, again)


def resumes_half_read_plans(harness: Harness) -> None:
    """Splits that are in are left out; the plan says that another one has to follow."""
    wanted = harness.cursor
    if wanted is None or Feature.RESUME not in harness.connector.features:
        return
    with harness.source() as source:
        how = {"cursor": wanted.cursor, "primary_key": wanted.primary_key, "mode": Mode.MERGE}
        selection = harness.selection(source, wanted.stream, **how)
        stream = selection.stream
        with source.plan([selection], {}, parallel=2) as plan:
            if stream.id not in plan.resumable:
                return
            done, left = plan.splits[:1], plan.splits[1:]
            half = Position(pending=plan.tokens[stream.id], splits={split.id: DONE for split in done})
            rows = content(read_all(source, left, stream.schema))
        with source.plan([selection], {stream.id: half}, parallel=2) as resumed:
            assert stream.id in resumed.resumed
            assert resumed.tokens[stream.id] == half.pending
            assert not {split.id for split in resumed.splits} & {split.id for split in done}
            assert content(read_all(source, resumed.splits, stream.schema)) == rows


def stands_strange_positions(harness: Harness) -> None:
    """A position far ahead reads nothing and is kept; one of somebody else's is refused."""
    if harness.cursor is None:
        return
    for strange in ("", "{", '{"format": 99}', "null", "[]", '{"format": 1}'):
        with _refused(PositionLost):
            _read_since(harness, strange)
    if harness.cursor.future is not None:
        rows, token = _read_since(harness, harness.cursor.future)
        assert rows == 0
        assert _read_since(harness, token) == (0, token)


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        has_its_own_name,
        describes_its_options,
        has_examples_that_validate,
        keeps_secrets,
        accepts_a_good_configuration,
        refuses_bad_configurations,
        lists_what_there_is,
        names_a_stream_that_is_not_there,
        takes_a_query,
        reads_what_it_describes,
        reads_the_same_twice,
        reads_splits_elsewhere,
        gives_splits_the_same_ids,
        closes_what_it_opened,
        stops_when_it_is_cancelled,
        goes_on_from_its_position,
        resumes_half_read_plans,
        stands_strange_positions,
    )
}
"""Every case there is, by name."""


def run_case(harness: Harness, case: str, waivers: Mapping[tuple[str, str], str] | None = None) -> None:
    """Runs a case; one that is waived must fail.

    Args:
        waivers: (type, case) to the reason why the connector does not keep it. A waiver that is not needed
            any more is an error.
    """
    reason = (waivers or {}).get((harness.name, case))
    if reason is None:
        CASES[case](harness)
        return
    try:
        CASES[case](harness)
    except (AssertionError, AsgardError):
        return
    raise AssertionError(f"{harness.name} keeps {case} after all: take its waiver away ({reason})")


def unknown_waivers(waivers: Mapping[tuple[str, str], str], types: list[str]) -> list[tuple[str, str]]:
    """Waivers that name a connector or a case that is not there."""
    return [key for key in waivers if key[0] not in types or key[1] not in CASES]
