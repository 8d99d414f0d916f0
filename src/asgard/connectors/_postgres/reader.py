"""Reads one split of PostgreSQL: small batches gathered to the wished size, in the stream's schema."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import pyarrow as pa

from asgard.connectors._postgres.splits import RANGE, REFUSED, narrow_ranges, page_range
from asgard.connectors._postgres.types import refuse_unbound_times
from asgard.core.batch import Batch, Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Cancelled, DataError
from asgard.core.source import Reader
from asgard.core.stream import Split
from asgard.transport.postgres import Connection, Server, session_settings
from asgard.transport.postgres_bulk import BulkReader

MEASURED_ROWS = 1000
MOST_BATCH_BYTES = 2 << 20
"""Larger batches cost more: what DuckDB made has left the processor's cache before it is gathered."""


class PostgresReader(Reader):
    """One split, on a connection of its own; it signs in at the first poll, in the thread that reads."""

    def __init__(self, server: Server, split: Split, cancel: Cancel) -> None:
        self._server = server
        self._split = split
        self._cancel = cancel
        self._schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(split.spec["schema"])))
        self._bulk: BulkReader | None = None
        self._chunks: Generator[pa.RecordBatch] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._batch_bytes = 0
        self._forget: Callable[[], None] = lambda: None
        self._forget = cancel.on_cancel(self.close)

    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """Rows of about so many bytes; takes as long as the server takes."""
        self._refuse_closed()
        self._batch_bytes = max_bytes = min(max_bytes, MOST_BATCH_BYTES)
        if self._chunks is None:
            self._chunks = self._open()
        gathered: list[pa.RecordBatch] = []
        held_bytes = 0
        for chunk in self._chunks:
            gathered.append(chunk)
            held_bytes += chunk.nbytes
            if held_bytes >= max_bytes:
                break
        self._refuse_closed()
        if not gathered:
            return Progress(done=True)
        return Batch(self._split.stream, self._split.id, self._finished(gathered))

    def _refuse_closed(self) -> None:
        self._cancel.check()
        if self._closed:
            raise Cancelled("the reading was broken off", hint="run again: it goes on from the last commit")

    def close(self) -> None:
        """Ends the reading; what the server is doing for it is broken off."""
        with self._lock:
            self._closed = True
            bulk, self._bulk = self._bulk, None
        if bulk is not None:
            bulk.cancel()
        if self._chunks is not None:
            with suppress(ValueError):  # another thread is in it, and ends it when the server breaks off
                self._chunks.close()
        self._forget()

    def _open(self) -> Generator[pa.RecordBatch]:
        spec = self._split.spec
        bulk = BulkReader(self._server, spec["snapshot"], spec["version"])
        with self._lock:
            if self._closed:
                bulk.close()
                return
            self._bulk = bulk
        try:
            for condition in self._ranges():
                yield from bulk.stream(spec["sql"].replace(RANGE, condition, 1), self._explained)
        finally:
            with self._lock:
                self._bulk = None
            bulk.close()

    def _ranges(self) -> Iterator[str]:
        spec = self._split.spec
        pages = page_range(spec.get("first"), spec.get("end"))
        if "widths" not in spec:
            yield pages
            return
        connection = Connection(self._server)
        try:
            connection.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if spec["snapshot"]:
                connection.rows(f"SET TRANSACTION SNAPSHOT '{spec['snapshot']}'")
            connection.rows(session_settings(spec["version"]))
            rows = connection.stream(spec["widths"].replace(RANGE, pages, 1), MEASURED_ROWS)
            for narrow in narrow_ranges(rows, lambda: self._batch_bytes):
                yield f"{pages} AND {narrow}"
        finally:
            connection.close()

    def _finished(self, chunks: list[pa.RecordBatch]) -> pa.RecordBatch:
        """One batch in the stream's schema, its times looked through."""
        table = pa.Table.from_batches(chunks).combine_chunks()
        columns = [
            array.chunk(0) if array.type == field.type else array.chunk(0).cast(field.type)
            for field, array in zip(self._schema, table.columns, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        refuse_unbound_times(batch)
        return batch

    def _explained(self, text: str) -> AsgardError | None:
        """The error of a guard, from the text on which the server failed."""
        found = re.search(rf"{REFUSED}:(\d+):([^\n]*?)\"?$", text, re.MULTILINE)
        if not found:
            return None
        reason, hint = self._split.spec["hints"][found[1]]
        return DataError(
            f"{found[2]!r}: {reason}", hint=hint, where={"column": self._schema.field(int(found[1])).name}
        )
