"""What a user's own class with five methods is to a pipeline."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from asgard.app.frames import listening
from asgard.app.frames.connector import BaseConnector, PlainSource, register_connector
from asgard.core import errors, registry
from asgard.core.batch import Batch, Progress
from asgard.core.errors import AsgardError, ConfigError, DataError, QueryError, Refused, Unreachable
from asgard.core.events import Event
from asgard.core.source import ReadSettings, Source
from asgard.core.stream import Mode, Selection

ROWS = [{"id": 1, "name": "ash"}, {"id": 2, "name": None}, {"id": 3, "name": "oak"}]


class Mine(BaseConnector):
    """Strict: the five methods, no more."""

    def connect(self) -> bool:
        self.connection = object()
        return True

    def disconnect(self) -> None:
        self.connection = None

    def validate_connection(self) -> bool:
        return self.connection is not None

    def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
        assert self.connection is not None
        return ROWS[:1] if query else ROWS

    def get_schema(self) -> dict[str, Any]:
        return {"data": {"id": "int64", "name": "string"}}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def events() -> Iterator[list[Event]]:
    heard: list[Event] = []
    stop = listening.listen(heard.append)
    yield heard
    stop()


def source_of(plain: type[BaseConnector], settings: ReadSettings | None = None, **options: Any) -> Source:
    register_connector("mine", plain)
    found = registry.connector_class("mine")
    source: Source = found(found.Config(**options), "trees", settings)
    return source


def rows_of(
    source: Source, name: str = "data", query: str | None = None, **wish: Any
) -> list[dict[str, Any]]:
    selection = Selection(source.describe(name, query=query), query=query, **wish)
    found: list[dict[str, Any]] = []
    with source.plan([selection], {}) as plan:
        assert plan.tokens == {}
        for split in plan.splits:
            reader = source.open(split)
            while not isinstance(polled := reader.poll(1 << 20, 1.0), Progress):
                assert isinstance(polled, Batch)
                assert polled.data.schema == selection.stream.schema
                found += polled.data.to_pylist()
    return found


def test_a_strict_subclass_is_one_stream_in_one_split() -> None:
    source = source_of(Mine)
    [stream] = source.streams()
    assert (stream.full_name, stream.schema) == (
        "data",
        pa.schema([("id", pa.int64()), ("name", pa.string())]),
    )
    assert rows_of(source) == ROWS
    assert rows_of(source, "few", query="one row") == ROWS[:1]
    assert source.type == "mine"
    assert registry.connector_class("mine") is registry.connector_class("mine")


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist, list, iter])
def test_every_frame_arrives(kind: Any) -> None:
    class Any_(Mine):
        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            return kind(ROWS)

    source = source_of(Any_)
    if kind is iter:
        with pytest.raises(ConfigError, match="trees came as list_iterator, which is no frame"):
            rows_of(source)
    else:
        assert rows_of(source) == ROWS


def test_the_first_rows_are_loaded_once() -> None:
    class Counted(Mine):
        loads = 0

        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            type(self).loads += 1
            return ROWS

    source = source_of(Counted)
    assert rows_of(source) == ROWS
    assert Counted.loads == 1
    assert rows_of(source) == ROWS
    assert Counted.loads == 2


def test_a_connector_that_streams_is_read_in_its_chunks() -> None:
    class Streaming(Mine):
        asked: list[int] = []  # noqa: RUF012

        def load_data_streaming(
            self, query: str | None = None, chunk_size: int = 1000, **kwargs: Any
        ) -> Iterator[Any]:
            self.asked.append(chunk_size)
            for start in range(0, 7, chunk_size):
                yield {"n": list(range(start, min(7, start + chunk_size)))}

    source = source_of(Streaming, chunk_size=3)
    assert rows_of(source) == [{"n": n} for n in range(7)]
    assert Streaming.asked == [3]


def test_later_chunks_are_not_bent() -> None:
    class Drifting(Mine):
        def load_data_streaming(
            self, query: str | None = None, chunk_size: int = 1000, **kwargs: Any
        ) -> Iterator[Any]:
            yield {"n": [1]}
            yield {"n": ["two"]}

    with pytest.raises(DataError, match="column n"):
        rows_of(source_of(Drifting))


def test_batches_keep_to_their_bytes() -> None:
    class Wide(Mine):
        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            return pa.table({"n": pa.array(range(100_000), pa.int64())})

    source = source_of(Wide, ReadSettings(batch_bytes=80_000))
    selection = Selection(source.describe("data"))
    with source.plan([selection], {}) as plan:
        batches = list(source.read(plan.splits[0]))
    assert max(batch.nbytes for batch in batches) <= 80_000
    assert [n for batch in batches for n in batch["n"].to_pylist()] == list(range(100_000))


class Shop(Mine):
    tables = {  # noqa: RUF012
        "orders": pa.schema([("id", pa.int32()), ("note", pa.string())]),
        "items": pa.schema([("id", pa.int8())]),
    }
    primary_key = ("id",)

    def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
        return {"id": [1, 2]} if kwargs["table"] == "orders" else [{"id": 9}]


def test_declared_tables_are_streams_with_their_schemas_and_keys() -> None:
    source = source_of(Shop)
    assert [(s.name, s.primary_key, s.schema.names) for s in source.streams()] == [
        ("orders", ("id",), ["id", "note"]),
        ("items", ("id",), ["id"]),
    ]
    assert [s.name for s in source.streams("item*")] == ["items"]
    assert rows_of(source, "orders") == [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert rows_of(source, "items") == [{"id": 9}]
    with pytest.raises(QueryError, match="trees has no table 'order'"):
        source.describe("order")


def test_a_cursor_is_refused() -> None:
    source = source_of(Mine)
    with pytest.raises(ConfigError, match="reads everything each time"):
        source.plan([Selection(source.describe("data"), Mode.APPEND, cursor="id")], {})


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (TimeoutError("slow"), Unreachable),
        (ConnectionRefusedError("no"), Unreachable),
        (PermissionError("not yours"), Refused),
        (KeyError("host"), errors.ConnectionError),
        (errors.AuthenticationError("who are you?"), errors.AuthenticationError),
    ],
)
def test_what_connect_raises_is_translated(
    raised: Exception, kind: type[AsgardError], events: list[Event]
) -> None:
    class Failing(Mine):
        def connect(self) -> bool:
            raise raised

    with pytest.raises(kind) as caught:
        source_of(Failing).check()
    assert type(caught.value) is kind
    assert [event.data["source"] for event in events] == ["trees"]
    assert events[0].data["outcome"] != "ok"
    assert events[0].data["error"]["type"] == kind.__name__


def test_a_connect_that_says_false_is_unreachable() -> None:
    class Away(Mine):
        def connect(self) -> bool:
            return False

    with pytest.raises(Unreachable, match="trees could not connect"):
        source_of(Away).check()
    with pytest.raises(Unreachable, match="Away could not connect"), Away({}):
        pass


def test_an_invalid_connection_is_unreachable() -> None:
    class Stale(Mine):
        def validate_connection(self) -> bool:
            return False

    source_of(Mine).check()
    with pytest.raises(Unreachable, match="is not valid"):
        source_of(Stale).check()


def test_no_secret_is_in_an_error_or_a_repr(caplog: pytest.LogCaptureFixture, events: list[Event]) -> None:
    class Chatty(Mine):
        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            raise ValueError(f"cannot log in with {self.config}")

    caplog.set_level(logging.INFO, "asgard")
    source = source_of(Chatty, user="me", password="c@nary p:w", nested={"auth": {"pin": "c@nary 2"}})
    with pytest.raises(DataError) as caught:
        rows_of(source)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {source.config!r} {source.config}"
    assert "c@nary" not in f"{shown} {events} {caplog.text}"
    assert "load_data of connector mine failed: ValueError: cannot log in with" in str(caught.value)


def test_close_disconnects() -> None:
    source = source_of(Mine)
    source.check()
    assert isinstance(source, PlainSource)
    connector = source._connector
    assert connector is not None
    source.close()
    source.close()
    assert connector.connection is None


def test_the_context_manager_connects_and_tells(events: list[Event]) -> None:
    with Mine({"a": 1}) as connector:
        assert connector.validate_connection()
        assert connector.load_data() == ROWS
        assert list(connector.load_data_streaming(chunk_size=2)) == [ROWS[:2], ROWS[2:]]
    assert not connector.validate_connection()
    [event] = events
    assert (event.data["source"], event.data["outcome"]) == ("Mine", "ok")
    assert 0 <= event.data["seconds"] < 5


def test_a_listener_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("listener down")

    stops = [listening.listen(broken), listening.listen(heard.append)]
    with Mine({}):
        pass
    for stop in stops:
        stop()
    with Mine({}):
        pass
    assert len(heard) == 1
    assert "listener down" in caplog.text


@pytest.mark.parametrize("wrong", [object, 5, "Mine", dict])
def test_what_is_no_connector_is_not_registered(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is no connector"):
        register_connector("wrong", wrong)


def test_missing_methods_are_named() -> None:
    class Half(BaseConnector):
        def connect(self) -> bool:
            return True

    with pytest.raises(ConfigError) as caught:
        register_connector("half", Half)
    assert caught.value.what == "Half lacks disconnect, get_schema, load_data, validate_connection"
