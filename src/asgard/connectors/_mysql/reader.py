"""Reads one split of MySQL: pieces of the wire as batches in the stream's schema."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress

import pyarrow as pa

from asgard.connectors._mysql.plan import BEGIN, Snapshot
from asgard.connectors._mysql.types import BY_NATURE, guard_error, value_of
from asgard.core.batch import Batch, Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, Cancelled
from asgard.core.source import Reader
from asgard.core.stream import Split
from asgard.transport.mysql import Connection, Server
from asgard.transport.mysql_rows import stream

MOST_PIECE_BYTES = 2 << 20
"""Larger pieces cost more: what was read has left the processor's cache before it is looked at."""


class MysqlReader(Reader):
    """One split, on a connection of the plan's snapshot; on one of its own where the plan is elsewhere."""

    def __init__(self, server: Server, split: Split, snapshot: Snapshot | None, cancel: Cancel) -> None:
        self._server = server
        self._split = split
        self._snapshot = snapshot
        self._cancel = cancel
        self._schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(split.spec["schema"])))
        self._connection: Connection | None = None
        self._batches: Generator[pa.RecordBatch] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._wanted_bytes = MOST_PIECE_BYTES
        self._forget: Callable[[], None] = lambda: None
        self._forget = cancel.on_cancel(self.close)

    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """Rows of about so many bytes; takes as long as the server takes."""
        self._refuse_closed()
        self._wanted_bytes = min(max_bytes, MOST_PIECE_BYTES)
        if self._batches is None:
            self._batches = self._read()
        try:
            batch = next(self._batches, None)
        except AsgardError:
            self._refuse_closed()  # a line that was broken off on purpose says so
            raise
        self._refuse_closed()
        if batch is None:
            return Progress(done=True)
        return Batch(self._split.stream, self._split.id, batch)

    def _refuse_closed(self) -> None:
        self._cancel.check()
        if self._closed:
            raise Cancelled("the reading was broken off", hint="run again: it goes on from the last commit")

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
        self._forget()

    def _read(self) -> Generator[pa.RecordBatch]:
        connection = self._taken()
        whole = False
        try:
            with self._lock:
                if self._closed:
                    return
                self._connection = connection
            spec = self._split.spec
            as_text = [how not in BY_NATURE for how in spec["how"]] + [True] * spec["guarded"]
            for arrays in stream(connection, spec["sql"], lambda: self._wanted_bytes, as_text):
                yield self._batch(arrays)
            whole = True
        finally:
            with self._lock:
                self._connection = None
            if self._snapshot is not None:
                self._snapshot.give_back(connection, whole)
            else:
                connection.close()

    def _taken(self) -> Connection:
        if self._snapshot is not None:
            return self._snapshot.take(self._cancel, lambda: not self._closed)
        connection = Connection(self._server)
        connection.rows(BEGIN)
        return connection

    def _batch(self, arrays: list[pa.Array]) -> pa.RecordBatch:
        spec = self._split.spec
        if spec["guarded"]:
            findings = arrays.pop()
            if findings.null_count < len(findings):
                found = findings.cast(pa.string()).drop_null()[0].as_py()
                raise guard_error(found, self._schema)
        columns = [
            value_of(array, field, how, spec["zero_dates"])
            for array, field, how in zip(arrays, self._schema, spec["how"], strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
