"""The plain face of a Source, on a source that counts: several splits, batches of odd sizes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import Field, SecretStr

from asgard.app.frames import listening
from asgard.app.frames.connector import BaseConnector, register_connector
from asgard.app.frames.query_cache import CACHE
from asgard.app.frames.source_connector import (
    FileConnector,
    PostgreSQLConnector,
    SourceConnector,
    get_connector_class,
)
from asgard.core import registry
from asgard.core.config import Config
from asgard.core.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionError,
    QueryError,
    ValidationError,
)
from asgard.core.events import Event
from asgard.core.position import Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream

SCHEMA = pa.schema(
    [pa.field("n", pa.int64()), pa.field("t", pa.string(), metadata={b"asgard.type": b"json"})]
)


class NumbersConfig(Config):
    rows: int = 10
    batch_rows: int = 3
    password: SecretStr | None = None
    tables_there: int = 1


class NumbersOptions(Config):
    start: int = Field(0, validation_alias="from")


class Numbers(Source):
    """Counts; its query is the number to begin with."""

    type = "numbers"
    Config: ClassVar[type[Config]] = NumbersConfig
    StreamOptions: ClassVar[type[Config]] = NumbersOptions
    features = Feature.QUERY | Feature.SPLITS
    opened: ClassVar[list[str]] = []
    closed: ClassVar[list[str]] = []

    def check(self) -> None:
        if self.config.password and self.config.password.get_secret_value() == "wrong c@nary":
            raise AuthenticationError("the password is wrong", hint="another one")

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        for number in range(self.config.tables_there):
            name = f"numbers{number}" if number else "numbers"
            if pattern in ("*", name):
                yield Stream(name, name, "", SCHEMA)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        if query == "nonsense":
            raise QueryError("nonsense is no number")
        return Stream(name, name, "", SCHEMA) if query else super().describe(name, options, query)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        (selection,) = selections
        start = int(selection.query or getattr(selection.options, "start", 0))
        half = self.config.rows // 2
        bounds = [(start, start + half), (start + half, start + self.config.rows)]
        closed = self.closed

        class Held(Plan):
            def close(self) -> None:
                closed.append(selection.stream.name)

        self.opened.append(selection.stream.name)
        return Held([Split(str(i), selection.stream.id, {"bounds": b}) for i, b in enumerate(bounds)])

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        first, last = split.spec["bounds"]
        for at in range(first, last, self.config.batch_rows):
            numbers = list(range(at, min(last, at + self.config.batch_rows)))
            yield pa.record_batch([numbers, [str(n) for n in numbers]], schema=SCHEMA)


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_connector("numbers", Numbers)
    Numbers.opened.clear()
    Numbers.closed.clear()
    CACHE.clear()


def made(**config: Any) -> SourceConnector:
    kind = get_connector_class("numbers")
    assert issubclass(kind, SourceConnector)
    return kind(config)


def numbers_of(frame: Any) -> list[int]:
    return (
        [int(n) for n in frame["n"].to_list()] if not isinstance(frame, pa.Table) else frame["n"].to_pylist()
    )


def test_a_whole_table_in_the_order_of_its_splits() -> None:
    with made(rows=11) as connector:
        assert connector.load_data(backend="arrow")["n"].to_pylist() == list(range(11))
        assert connector.load_data("100", backend="arrow")["n"].to_pylist() == list(range(100, 111))
    assert Numbers.closed == Numbers.opened == ["numbers", "query"]


@pytest.mark.parametrize(
    ("backend", "kind"), [("auto", pd.DataFrame), ("pandas", pd.DataFrame), ("polars", pl.DataFrame),
                          ("arrow", pa.Table)]
)  # fmt: skip
def test_backends(backend: str, kind: type) -> None:
    frame = made().load_data(backend=backend)
    assert isinstance(frame, kind)
    assert numbers_of(frame) == list(range(10))


def test_duckdb_gives_a_relation() -> None:
    relation = made().load_data(backend="duckdb")
    assert relation.aggregate("sum(n), max(t)").fetchall() == [(45, "9")]


def test_the_backend_of_the_configuration_counts() -> None:
    assert isinstance(made(backend="polars").load_data(), pl.DataFrame)
    assert isinstance(made(backend="polars").load_data(backend="arrow"), pa.Table)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("chunk_size", [1, 4, 8, 100])
def test_chunks_have_exactly_the_size_that_was_asked_for(rows: int, chunk_size: int) -> None:
    connector = made(rows=rows)
    chunks = [
        chunk["n"].to_pylist() for chunk in connector.load_data_streaming(None, chunk_size, backend="arrow")
    ]
    assert [n for chunk in chunks for n in chunk] == list(range(rows))
    assert [len(chunk) for chunk in chunks[:-1]] == [chunk_size] * max(0, len(chunks) - 1)
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)


def test_the_chunk_size_of_the_configuration_counts_else_a_thousand() -> None:
    sizes = [len(chunk) for chunk in made(rows=10, chunk_size=4).load_data_streaming()]
    assert sizes == [4, 4, 2]
    assert [len(chunk) for chunk in made(rows=2001, batch_rows=700).load_data_streaming()] == [1000, 1000, 1]


def test_an_abandoned_stream_gives_its_snapshot_back() -> None:
    chunks = made(rows=1000).load_data_streaming(chunk_size=10)
    assert len(next(chunks)) == 10
    assert Numbers.closed == []
    chunks.close()  # type: ignore[attr-defined]
    assert Numbers.closed == ["numbers"]


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 6, 10, 99])
def test_a_limit_is_kept(limit: int) -> None:
    connector = made()
    wanted = list(range(min(limit, 10)))
    assert numbers_of(connector.load_data(limit=limit)) == wanted
    streamed = connector.load_data_streaming(chunk_size=2, limit=limit, backend="arrow")
    assert [n for chunk in streamed for n in chunk["n"].to_pylist()] == wanted
    with pytest.raises(ConfigError, match="limit is -1"):
        connector.load_data(limit=-1)


def test_shapes_of_a_configuration_mean_the_same() -> None:
    shapes: list[dict[str, Any]] = [
        {"rows": 4, "from": 5},
        {"connection": {"rows": 4}, "from": 5},
        {"type": "numbers", "connection": {"rows": 4}, "tables": [{"name": "numbers", "from": 5}]},
        {"rows": 4, "query": "5"},
        {"rows": 4, "query": "5", "target_column": None, "chunk_size": None, "backend": "auto"},
    ]
    assert [numbers_of(made(**shape).load_data()) for shape in shapes] == [[5, 6, 7, 8]] * len(shapes)


def test_mistakes_in_a_configuration_are_told_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        made(rows="many", pasword="x")
    assert caught.value.what.splitlines() == [
        "config.rows: is text ('many'), must be a whole number",
        "config.pasword: is not a known key; did you mean password?",
    ]


def test_one_of_several_tables_must_be_named() -> None:
    connector = made(tables_there=3)
    with pytest.raises(ConfigError, match="several tables: numbers, numbers1, numbers2"):
        connector.load_data()
    assert numbers_of(connector.load_data(table="numbers1")) == list(range(10))
    with pytest.raises(QueryError):
        connector.load_data(table="numbers7")
    assert list(connector.get_schema()) == ["numbers", "numbers1", "numbers2"]
    assert connector.get_schema("numbers2") == {"numbers2": {"n": "int64", "t": "json"}}


def test_unknown_wishes_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        made().load_data(backnd="pandas")
    assert (caught.value.what, caught.value.hint) == ("a load takes no 'backnd'", "did you mean backend?")


def test_the_target_column_must_be_there_and_is_kept() -> None:
    frame = made(target_column="t").load_data()
    assert frame.attrs == {"target_column": "t"}
    table = made().load_data(target_column="n", backend="arrow")
    assert table.schema.metadata[b"asgard.target_column"] == b"n"
    [chunk, *_] = made(target_column="t").load_data_streaming(backend="arrow")
    assert chunk.schema.metadata[b"asgard.target_column"] == b"t"
    for load in (made().load_data, lambda **wish: list(made().load_data_streaming(**wish))):
        with pytest.raises(ValidationError) as caught:
            load(target_column="N_")
        assert "there is no column 'N_'" in caught.value.what


def test_repeated_queries_are_answered_from_memory_when_wished() -> None:
    connector, same, other = made(), made(), made(rows=4)
    for _ in range(2):
        assert numbers_of(connector.load_data("5", cache_seconds=60)) == list(range(5, 15))
    assert len(Numbers.opened) == 1
    assert numbers_of(same.load_data("5", cache_seconds=60, backend="polars")) == list(range(5, 15))
    assert len(Numbers.opened) == 1
    assert numbers_of(other.load_data("5", cache_seconds=60)) == list(range(5, 9))
    assert numbers_of(connector.load_data("6", cache_seconds=60)) == list(range(6, 16))
    connector.load_data("5")
    assert len(Numbers.opened) == 4
    with pytest.raises(ValidationError):
        connector.load_data("5", cache_seconds=60, target_column="gone")


def test_what_is_cached_is_not_changed_by_its_users() -> None:
    connector = made()
    frame = connector.load_data(cache_seconds=60)
    frame.loc[0, "n"] = 77
    frame["more"] = 1
    assert numbers_of(connector.load_data(cache_seconds=60)) == list(range(10))


def test_connections_are_events(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []
    stop = listening.listen(heard.append)
    caplog.set_level(logging.INFO, "asgard")
    with made():
        pass
    refused = made(password="wrong c@nary")
    with pytest.raises(AuthenticationError) as caught, refused:
        pass
    assert not refused.validate_connection()
    assert isinstance(refused.error, ConnectionError)
    stop()
    assert [(e.data["source"], e.data["outcome"]) for e in heard] == [
        ("numbers", "ok"),
        ("numbers", "refused"),
        ("numbers", "refused"),
    ]
    assert all(event.data["seconds"] >= 0 for event in heard)
    assert heard[1].data["error"]["hint"] == "another one"
    assert "connection to numbers (numbers) refused in" in caplog.text
    assert "c@nary" not in f"{heard} {caplog.text} {caught.value!r} {refused!r}"


def test_a_connector_can_be_disconnected_and_used_again() -> None:
    connector = made()
    assert connector.connect()
    assert connector.validate_connection()
    connector.disconnect()
    connector.disconnect()
    assert connector.connection is None
    assert numbers_of(connector.load_data()) == list(range(10))


def test_threads_share_the_cache_without_harm() -> None:
    failures: list[BaseException] = []

    def work(begin: int) -> None:
        try:
            connector = made(rows=500)
            for turn in range(20):
                start = (begin + turn) % 5
                got = connector.load_data(str(start), cache_seconds=60, cache_bytes=20_000, backend="arrow")
                assert got["n"].to_pylist() == list(range(start, start + 500))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert CACHE.size_bytes <= 20_000


def test_classes_are_found_by_type_and_alias() -> None:
    assert get_connector_class("numbers") is get_connector_class("numbers")
    assert get_connector_class("numbers").__name__ == "NumbersConnector"
    assert issubclass(get_connector_class("numbers"), BaseConnector)
    assert FileConnector.connector_type == "files"
    assert PostgreSQLConnector.connector_type == "postgres"
    with pytest.raises(ConfigError, match="there is no connector 'nubmers'") as caught:
        get_connector_class("nubmers")
    assert "did you mean numbers" in caught.value.hint
