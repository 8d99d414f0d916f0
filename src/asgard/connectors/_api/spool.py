"""What a plan fetched of one stream: answers as they came, and records with the types that were proved when
they came.

An API is asked once. Records are typed as they come, by what all values so far prove; where a later value
proves more (a fraction after whole numbers), the records before are parsed anew from the answers, which are
kept beside them in a file without a name. What is held in memory is one piece.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa

from asgard.connectors._api.answers import Form, Records, document_of, records_of
from asgard.connectors._api.pages import Page
from asgard.core.budget import MEBIBYTE
from asgard.core.columns import array_of
from asgard.transport import json_text
from asgard.transport.files import translated
from asgard.transport.json_records import RecordColumns, RecordProofs, typed_records

MEMORY_BYTES = 4 * MEBIBYTE
"""So much altogether waits in memory, more in a file."""
PIECE_ROWS = 5000
PIECE_BYTES = 2 * MEBIBYTE
MOST_KEYS = 200_000
"""How far back a record that comes again is recognised: pages shift by what was added meanwhile."""


@dataclass
class _Piece:
    """Some pages one behind the other.

    Attributes:
        start, sizes, typed_bytes: where their answers lie in the file, and behind them the typed records.
        forms: how each answer is read, and the columns of its parent.
        dropped: numbers of records that come again later.
    """

    start: int
    sizes: tuple[int, ...]
    forms: tuple[tuple[Form, Mapping[str, Any]], ...]
    typed_bytes: int
    rows: int
    dropped: set[int] = field(default_factory=set)


class Spool:
    """Records of one stream. Add pages, `finish`, then read `batches` as often as needed.

    Args:
        name: of the stream, for errors.
        proofs: what is known of the columns.
        key: columns that tell records apart; of those that come twice the last one stays.
        empty_is_null: empty texts in columns that are no text mean null.
    """

    def __init__(
        self, name: str, proofs: RecordProofs, key: Sequence[str] = (), *, empty_is_null: bool = False
    ) -> None:
        self.proofs = proofs
        self.rows = 0
        self.repeated = 0
        self.size_bytes = 0
        self._name = name
        self._key = tuple(key)
        self._empty_is_null = empty_is_null
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115
        self._pieces: list[_Piece] = []
        self._pages: list[Page] = []
        self._held: Records = []
        self._held_bytes = 0
        self._places: OrderedDict[Any, tuple[int, int]] = OrderedDict()

    def add(self, page: Page) -> None:
        """Takes a page; its records are typed when some more have come."""
        self._pages.append(page)
        self._held += page.records
        self._held_bytes += len(page.content)
        self.rows += len(page.records)
        self.size_bytes += len(page.content)
        if len(self._held) >= PIECE_ROWS or self._held_bytes >= PIECE_BYTES:
            self.finish()

    def finish(self) -> None:
        """Types what was added last."""
        if not self._pages:
            return
        if self._empty_is_null:
            self.proofs.see(self._held)
            batch = self._typed(self._held, self.proofs.schema)
        else:
            columns = RecordColumns(self._held)
            self.proofs.see(columns)
            batch = typed_records(columns, self.proofs.schema, self._name, self.proofs.dropped)
        typed = _written(batch)
        with translated("the temporary folder"):
            start = self._file.seek(0, 2)
            for page in self._pages:
                self._file.write(page.content)
            self._file.write(typed)
        piece = _Piece(
            start,
            tuple(len(page.content) for page in self._pages),
            tuple((page.form, page.extra) for page in self._pages),
            len(typed),
            len(self._held),
        )
        self._pieces.append(piece)
        if self._key:
            self._drop_repeated(len(self._pieces) - 1, self._held)
        self._pages, self._held, self._held_bytes = [], [], 0

    @property
    def schema(self) -> pa.Schema:
        """The columns with the types that all values prove."""
        return self.proofs.schema

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The records, each once, in the schema."""
        for piece in self._pieces:
            if piece.rows > len(piece.dropped):
                yield self._batch(piece, schema)

    def close(self) -> None:
        """Forgets everything."""
        self._file.close()

    def _batch(self, piece: _Piece, schema: pa.Schema) -> pa.RecordBatch:
        self._file.seek(piece.start + sum(piece.sizes))
        batch = _read(self._file.read(piece.typed_bytes))
        if not all(_is_kept(batch.schema, column) for column in schema):
            batch = self._typed(self._records(piece), schema)
        arrays = [
            batch.column(column.name)
            if column.name in batch.schema.names and batch.schema.field(column.name).type == column.type
            else pa.nulls(piece.rows, column.type)
            for column in schema
        ]
        whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
        if not piece.dropped:
            return whole
        return whole.take(
            array_of([row for row in range(piece.rows) if row not in piece.dropped], pa.int64())
        )

    def _records(self, piece: _Piece) -> Records:
        self._file.seek(piece.start)
        records: Records = []
        for size, (form, extra) in zip(piece.sizes, piece.forms, strict=True):
            content = self._file.read(size)
            records += records_of(document_of(content, form), form, extra) if content.strip() else []
        return records

    def _typed(self, records: Records, schema: pa.Schema) -> pa.RecordBatch:
        if self._empty_is_null:
            records = without_empty(records, schema)
        return typed_records(records, schema, self._name, self.proofs.dropped)

    def _drop_repeated(self, number: int, records: Records) -> None:
        """A record that comes again is of a page that shifted: what came last is what is there now."""
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                continue
            values = [record.get(column) for column in self._key]
            if None in values:
                continue  # no key: whether it may be is asked when it is merged
            plain = values[0] if len(values) == 1 and type(values[0]) in (int, str) else None
            key = json_text.dumps(values) if plain is None else plain
            before = self._places.pop(key, None)
            if before is not None:
                self._pieces[before[0]].dropped.add(before[1])
                self.repeated += 1
            self._places[key] = (number, row)
            if len(self._places) > MOST_KEYS:
                self._places.popitem(last=False)


def without_empty(records: Records, schema: pa.Schema) -> Records:
    """The records with null for empty texts in columns that are no text."""
    others = {column.name for column in schema if not pa.types.is_string(column.type)}
    return [
        {name: None if value == "" and name in others else value for name, value in record.items()}
        if isinstance(record, dict)
        else record
        for record in records
    ]


def _is_kept(typed: pa.Schema, column: pa.Field) -> bool:
    """Whether a column that was typed then is right now: of the same type, or of nothing but nulls."""
    index = typed.get_field_index(column.name)
    if index < 0 or pa.types.is_null(typed.field(index).type):
        return True
    then = typed.field(index)
    return bool(then.type == column.type and _label(then) == _label(column))


def _label(column: pa.Field) -> bytes:
    return bytes((column.metadata or {}).get(b"asgard.type", b""))


def _written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _read(content: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
        return reader.read_next_batch()
