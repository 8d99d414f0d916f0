"""Reads one split of Redshift: an unloaded file, or the texts of a statement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from asgard.connectors._redshift.access import Access
from asgard.connectors._redshift.plan import unhexed
from asgard.connectors._redshift.types import as_wished, from_parquet, from_texts
from asgard.core.batch import Batch, Progress
from asgard.core.errors import AsgardError, Cancelled, ConfigError, DataError
from asgard.core.source import Reader, ReadSettings
from asgard.core.stream import Split
from asgard.transport.objects import Bucket
from asgard.transport.parquet import parquet_schema, read_parquet, row_groups
from asgard.transport.postgres import Connection

FETCHED_ROWS = 500
MOST_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Way:
    """How a reader reaches its rows; the bucket is opened where it is needed."""

    access: Access
    bucket: Callable[[], Bucket | None]
    settings: ReadSettings


class RedshiftReader(Reader):
    """One split; it signs in at the first poll, in the thread that reads."""

    def __init__(self, way: Way, split: Split) -> None:
        self._way = way
        self._split = split
        self._schema = unhexed(split.spec["schema"])
        self._native = unhexed(split.spec["native"])
        self._connection: Connection | None = None
        self._batches: Generator[pa.RecordBatch] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._batch_bytes = way.settings.batch_bytes

    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """Rows of about so many bytes; takes as long as the server or the store takes."""
        self._refuse_closed()
        self._batch_bytes = max_bytes
        if self._batches is None:
            self._batches = self._read_file() if "file" in self._split.spec else self._read_rows()
        try:
            batch = next(self._batches, None)
        except AsgardError as error:
            self._refuse_closed()  # what was broken off on purpose says so
            raise error.at(stream=self._split.spec["name"]) from error
        self._refuse_closed()
        if batch is None:
            return Progress(done=True)
        return Batch(self._split.stream, self._split.id, batch)

    def close(self) -> None:
        """Ends the reading; what the server is doing for it is broken off."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()
        if self._batches is not None:
            with suppress(ValueError):  # another thread is in it, and ends it when the line breaks off
                self._batches.close()

    def _refuse_closed(self) -> None:
        self._way.settings.cancel.check()
        if self._closed:
            raise Cancelled("the reading was broken off", hint="run again: it goes on from the last commit")

    # ---- a file

    def _read_file(self) -> Generator[pa.RecordBatch]:
        spec, settings = self._split.spec, self._way.settings
        bucket = self._way.bucket()
        if bucket is None:
            raise ConfigError("the split lies in a bucket that is not configured", hint="set unload")
        found = bucket.find(spec["file"])
        if not found or found[0].size_bytes != spec["size_bytes"]:
            raise DataError(
                f"{bucket.location}/{spec['file']} is gone, or is not what was unloaded",
                hint="run again; does something remove or write files below `unload`?",
            )
        [file] = found
        groups = range(len(row_groups(file)))
        schema = parquet_schema([file])
        if schema.names != [f"c{n}" for n in range(len(self._native))]:
            raise DataError(
                f"{file.name} has the columns {schema.names}", hint="run again; the server wrote others"
            )
        rows = 0
        pieces = read_parquet(
            file, groups, schema, self._batch_bytes, settings.cancel, settings.reader_bytes
        )  # fmt: skip
        for batch in pieces:
            rows += batch.num_rows
            if batch.num_rows:
                yield self._finished(
                    from_parquet(array, native.type, field)
                    for array, native, field in zip(batch.columns, self._native, self._schema, strict=True)
                )
        if rows != spec["rows"]:
            raise DataError(f"{file.name} has {rows} rows, the server wrote {spec['rows']}", hint="run again")

    # ---- rows over the wire

    def _read_rows(self) -> Generator[pa.RecordBatch]:
        sql = self._split.spec["sql"]
        with self._way.access.connected(*self._split.spec["settings"], "BEGIN READ ONLY") as connection:
            with self._lock:
                if self._closed:
                    return
                self._connection = connection
            try:
                for rows in self._gathered(connection.texts(sql, FETCHED_ROWS)):
                    self._way.settings.cancel.check()
                    columns = zip(*rows, strict=True)
                    yield self._finished(
                        from_texts(texts, native.type, field)
                        for texts, native, field in zip(columns, self._native, self._schema, strict=True)
                    )
            finally:
                with self._lock:
                    self._connection = None

    def _gathered(self, rows: Iterator[tuple[str | None, ...]]) -> Iterator[list[tuple[str | None, ...]]]:
        """As many rows as make a batch."""
        held: list[tuple[str | None, ...]] = []
        held_bytes = 0
        for row in rows:
            held.append(row)
            held_bytes += sum(len(text) for text in row if text is not None)
            if len(held) == MOST_BATCH_ROWS or held_bytes >= self._batch_bytes:
                yield held
                held, held_bytes = [], 0
        if held:
            yield held

    def _finished(self, arrays: Iterator[pa.Array]) -> pa.RecordBatch:
        wished = [as_wished(array, field) for array, field in zip(arrays, self._schema, strict=True)]
        return pa.RecordBatch.from_arrays(wished, schema=self._schema)
