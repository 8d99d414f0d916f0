"""What the tests of the PostgreSQL connector share: a source on a test server, and whole loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pyarrow as pa

from asgard.connectors.postgres import PostgresConfig, PostgresSource, PostgresStreamOptions
from asgard.core.batch import Batch, Progress
from asgard.core.position import Position
from asgard.core.source import Plan, ReadSettings
from asgard.core.stream import Mode, Selection, Split
from tests.servers.postgres import Server

BATCH_BYTES = 1 << 20


def source_of(
    server: Server, database: str = "postgres", settings: ReadSettings | None = None, **options: Any
) -> PostgresSource:
    """A source that signs in as the server's own user, with TLS where the server has it."""
    given = {
        "host": server.host,
        "port": server.port,
        "database": database,
        "username": server.user,
        "password": server.password,
        "ssl_mode": "verify-full" if server.ca_file else "disable",
        "ssl_root_cert": server.ca_file,
    }
    return PostgresSource(PostgresConfig(**{**given, **options}), "shop", settings)


def options(**given: Any) -> PostgresStreamOptions:
    return PostgresStreamOptions(**given)


def select(source: PostgresSource, name: str, **given: Any) -> Selection:
    """A described stream, selected: keywords are those of Selection."""
    stream = source.describe(name, given.get("options"), given.get("query"))
    if "primary_key" not in given and given.get("mode") is Mode.MERGE:
        given["primary_key"] = stream.primary_key
    return Selection(stream, **given)


def read_split(source: PostgresSource, split: Split, batch_bytes: int = BATCH_BYTES) -> list[pa.RecordBatch]:
    """All batches of a split."""
    reader = source.open(split)
    batches = []
    try:
        while not isinstance(polled := reader.poll(batch_bytes, 1.0), Progress):
            assert isinstance(polled, Batch)
            assert (polled.stream, polled.split) == (split.stream, split.id)
            batches.append(polled.data)
    finally:
        reader.close()
    return batches


@dataclass
class Load:
    """What a plan gave."""

    rows: pa.Table
    position: Position
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]
    resumable: bool
    resumed: bool

    def column(self, name: str) -> list[Any]:
        """The values of a column, sorted."""
        return sorted(self.rows[name].to_pylist())


def load(
    source: PostgresSource,
    selection: Selection,
    position: Position | None = None,
    until: str | None = None,
    parallel: int = 2,
) -> Load:
    """One plan read to its end."""
    stream = selection.stream
    since: Mapping[str, Position] = {stream.id: position} if position else {}
    with source.plan([selection], since, until, parallel) as plan:
        batches = [batch for split in plan.splits for batch in read_split(source, split)]
        reached = (position or Position()).finished(plan.tokens.get(stream.id))
    for batch in batches:
        assert batch.schema.equals(stream.schema, check_metadata=True)
    return Load(
        pa.Table.from_batches(batches, schema=stream.schema),
        reached,
        plan.splits,
        plan.warnings,
        stream.id in plan.resumable,
        stream.id in plan.resumed,
    )


def read_plan(source: PostgresSource, plan: Plan) -> pa.Table:
    """All rows of a plan of one stream."""
    return pa.Table.from_batches([b for split in plan.splits for b in read_split(source, split)])


def half_done(load_: Load, done: int) -> Position:
    """The position of a table that has only the first splits of a resumable first load."""
    token = load_.position.token
    assert token is not None
    return Position().with_splits_done([split.id for split in load_.splits[:done]], token)


def without(selection: Selection, **changes: Any) -> Selection:
    """The selection with fields replaced."""
    return replace(selection, **changes)


@dataclass(frozen=True)
class Shop:
    """A database of its own, and a source on it."""

    server: Server
    database: str
    source: PostgresSource

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.database)

    def connect(self) -> psycopg.Connection:
        return self.server.connect(self.database)

    def load(self, name: str, **given: Any) -> pa.Table:
        return load(self.source, select(self.source, name, **given)).rows
