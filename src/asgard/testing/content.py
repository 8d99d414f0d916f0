"""Order-free content hashes: whether a source and a lake table hold the same values, whatever the row order.

Each column has the sum of a hash of each of its values, and the table has the sum of a hash of each row, so
that values which changed places between rows are seen too. Equal hashes and equal `*rows` mean that nothing
was lost, repeated, bent or moved (a chance of 2**-64 aside; nothing here resists somebody who wants to
collide).

What counts as equal: values are hashed in their canonical type (`asgard.core.types`), so int32 and int64,
string and large_string, a uuid and its text have one hash. Null, NaN, 0.0, -0.0, "" and an empty list all
differ; NaNs are one value whatever their payload. Decimals count with their scale (1.10 is not 1.1): compare
with a table of a wider type by giving its schema. Maps have no order, lists do. Columns and struct fields go
by name, their order does not matter.

It is arithmetic of Arrow kernels modulo 2**64, without DuckDB: what moves the data does not judge itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.types import canonical_batch, canonical_schema, is_metadata_column

Data: TypeAlias = "pa.RecordBatch | pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]"
Words = Any
"""An Arrow array of uint64."""

MODULUS = 1 << 64
BASE = 0x9E3779B97F4A7C15
CHUNK_ROWS = 1 << 16
CHUNK_WORDS = 1 << 18
U64 = pa.uint64()


class ContentHash:
    """Adds up batches, in any order and of any size.

    Args:
        schema: values are cast to it before they are hashed; None hashes them in their own canonical types.
            All batches must then have the same columns.
        columns: which columns count; None counts all but Asgard's own (`extracted_at`, `_asgard_...`).
    """

    def __init__(self, schema: pa.Schema | None = None, columns: Iterable[str] | None = None) -> None:
        self.schema = schema
        self.columns = None if columns is None else frozenset(columns)
        self.rows = 0
        self._sums: dict[str, tuple[int, int]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Counts the rows of a batch.

        Raises:
            DataError: a value cannot be carried in the canonical type, or in the schema's.
        """
        batch = batch.select([name for name in batch.schema.names if self._counts(name)])
        target = canonical_schema(batch.schema if self.schema is None else self.schema)
        target = pa.schema([field for field in target if self._counts(field.name)])
        for start in range(0, max(batch.num_rows, 1), CHUNK_ROWS):
            self._add_chunk(canonical_batch(batch.slice(start, CHUNK_ROWS), target))
        self.rows += batch.num_rows

    def result(self) -> dict[str, str]:
        """Column to 32 hex digits, and `*rows` (the count), `*row` (the hash of whole rows)."""
        known = {name: f"{first:016x}{second:016x}" for name, (first, second) in sorted(self._sums.items())}
        return {**known, "*rows": str(self.rows)}

    def _counts(self, name: str) -> bool:
        return not is_metadata_column(name) if self.columns is None else name in self.columns

    def _add_chunk(self, batch: pa.RecordBatch) -> None:
        row = _repeated(0, batch.num_rows)
        for field, array in zip(batch.schema, batch.columns, strict=True):
            values = _hashes(array)
            self._sum(field.name, values)
            row = pc.add(row, pc.multiply(values, _odd(field.name)))
        self._sum("*row", _mixed(row))

    def _sum(self, name: str, values: Words) -> None:
        """The sums of the hashes and of their squares: together they tell multisets apart."""
        first, second = self._sums.get(name, (0, 0))
        first += pc.sum(values).as_py() or 0
        second += pc.sum(pc.multiply(values, values)).as_py() or 0
        self._sums[name] = (first % MODULUS, second % MODULUS)


def content_hash(
    data: Data, schema: pa.Schema | None = None, columns: Iterable[str] | None = None
) -> dict[str, str]:
    """The content of a batch, table, reader or several batches: column to hash, `*rows`, `*row`.

    Args:
        data: what to hash; readers are read to their end, a batch at a time.
        schema: values are cast to it first; the lake table's, when it is wider than the source.
        columns: which columns count; None counts all but Asgard's own (`extracted_at`, `_asgard_...`).
    """
    total = ContentHash(schema, columns)
    for batch in _batches(data):
        total.add(batch)
    return total.result()


def _batches(data: Data) -> Iterator[pa.RecordBatch]:
    if isinstance(data, pa.RecordBatch):
        yield data
        return
    if isinstance(data, pa.Table | pa.RecordBatchReader):
        yield pa.RecordBatch.from_pylist([], schema=data.schema)  # without rows there are columns, no batches
    yield from data.to_batches() if isinstance(data, pa.Table) else data


def _hashes(array: pa.Array) -> Words:
    """A hash of each value of an array of a canonical type."""
    if t.is_struct(array.type):
        values = _struct_hashes(array)
    elif t.is_map(array.type):
        values = _map_hashes(array)
    elif t.is_list(array.type):
        offsets = _offsets(array)
        values = _sequence_hashes(offsets, _hashes(array.flatten()), "list")
    elif t.is_string(array.type) or t.is_binary(array.type):
        values = _bytes_hashes(array)
    elif t.is_decimal(array.type):
        values = _decimal_hashes(array)
    else:
        words, kind = _fixed_words(array)
        values = _mixed(pc.bit_wise_xor(words, _seed(kind)))
    return pc.if_else(array.is_valid(), values, _seed("null")) if array.null_count else values


def _fixed_words(array: pa.Array) -> tuple[Words, str]:
    """One word that says the value, and what kind of value it is."""
    kind = array.type
    if t.is_floating(kind):
        values = array.cast(pa.float64())
        nan = pc.is_nan(values)
        return pc.if_else(nan, _seed("nan"), values.view(U64)), "float"
    if t.is_timestamp(kind):
        return array.view(U64), "timestamp" if kind.tz is None else "instant"
    if t.is_date(kind):
        return array.view(pa.int32()).cast(pa.int64()).view(U64), "date"
    return array.cast(pa.int64()).view(U64), "boolean" if t.is_boolean(kind) else "number"


def _decimal_hashes(array: pa.Array) -> Words:
    """Of both words of the digits; of the lower one alone, as an integer has it, where that says all."""
    _, digits = array.buffers()
    start, rows = 2 * array.offset, len(array)
    words = pa.Array.from_buffers(U64, start + 2 * rows, [None, digits])
    low = words.take(pa.arange(start, start + 2 * rows, 2))
    high = words.take(pa.arange(start + 1, start + 1 + 2 * rows, 2))
    kind = f"number/{array.type.scale}" if array.type.scale else "number"
    short = _mixed(pc.bit_wise_xor(low, _seed(kind)))
    sign = pc.if_else(pc.less(low.view(pa.int64()), 0), pa.scalar(MODULUS - 1, U64), pa.scalar(0, U64))
    long = _mixed(pc.add(short, pc.multiply(high, _odd("high"))))
    return pc.if_else(pc.equal(high, sign), short, long)


def _bytes_hashes(array: pa.Array) -> Words:
    _, positions, data = array.buffers()
    size = data.size if data is not None else 0
    offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, positions], offset=array.offset)
    raw = pa.Array.from_buffers(pa.uint8(), size, [None, data or pa.py_buffer(b"")])
    return _sequence_hashes(offsets, raw, "text" if t.is_string(array.type) else "binary")


def _struct_hashes(array: Any) -> Words:
    total = _repeated(0, len(array))
    for field, child in zip(array.type, array.flatten(), strict=True):
        total = pc.add(total, pc.multiply(_hashes(child), _odd(field.name)))
    return _mixed(pc.bit_wise_xor(total, _seed("struct")))


def _map_hashes(array: Any) -> Words:
    key, value = array.type.key_field.with_name("key"), array.type.item_field.with_name("value")
    pairs = array.cast(pa.list_(pa.struct([key, value])))
    offsets, entries = _offsets(pairs), _hashes(pairs.flatten())
    ends = pc.cumulative_sum(pa.concat_arrays([_repeated(0, 1), entries])).take(offsets)
    return _mixed(pc.bit_wise_xor(_steps(ends), _seed("map")))


def _offsets(lists: pa.Array) -> pa.Array:
    """Where each list begins in its flattened values, and the end of the last."""
    lengths = pc.list_value_length(lists).fill_null(0)
    return pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int32()), lengths]))


def _sequence_hashes(offsets: pa.Array, words: pa.Array, kind: str) -> Words:
    """A hash of each run of words between two offsets, which the order of the words changes."""
    lengths = _steps(offsets).cast(U64)
    sums = pc.add(_polynomials(offsets, words), pc.multiply(lengths, _odd("length")))
    return _mixed(pc.bit_wise_xor(sums, _seed(kind)))


def _polynomials(offsets: pa.Array, words: pa.Array) -> Words:
    """Sum of word[j] * BASE**j of each run; in pieces, so that the tables of powers stay small."""
    rows, first, last = len(offsets) - 1, offsets[0].as_py() if len(offsets) else 0, offsets[-1].as_py()
    if last - first > CHUNK_WORDS:
        if rows == 1:
            return pa.array([_long_polynomial(words.slice(first, last - first))], U64)
        half = rows // 2
        pieces = (offsets.slice(0, half + 1), offsets.slice(half))
        return pa.concat_arrays([_polynomials(piece, words) for piece in pieces])
    powers, inverses = _powers()
    terms = pc.multiply(_spread(words.slice(first, last - first)), powers.slice(0, last - first))
    places = pc.subtract(offsets, pa.scalar(first, pa.int32()))
    ends = pc.cumulative_sum(pa.concat_arrays([_repeated(0, 1), terms])).take(places)
    return pc.multiply(_steps(ends), inverses.take(places.slice(0, rows)))


def _long_polynomial(words: pa.Array) -> int:
    total, powers = 0, _powers()[0]
    for start in range(0, len(words), CHUNK_WORDS):
        piece = _spread(words.slice(start, CHUNK_WORDS))
        value = pc.sum(pc.multiply(piece, powers.slice(0, len(piece)))).as_py()
        total += value * pow(BASE, start, MODULUS)
    return total % MODULUS


def _spread(words: pa.Array) -> Words:
    """Bytes as words that have nothing in common; words as they are."""
    return pc.take(_byte_words(), words, boundscheck=False) if t.is_uint8(words.type) else words


def _steps(ends: pa.Array) -> pa.Array:
    """The difference of each value to the one before it."""
    return pc.subtract(ends.slice(1), ends.slice(0, len(ends) - 1))


def _mixed(words: Words) -> Words:
    """Every bit of the word in every bit of the result (the finish of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = pc.bit_wise_xor(words, pc.shift_right(words, pa.scalar(shift, U64)))
        words = pc.multiply(words, pa.scalar(factor, U64))
    return pc.bit_wise_xor(words, pc.shift_right(words, pa.scalar(31, U64)))


@cache
def _powers() -> tuple[Words, Words]:
    """BASE**j and BASE**-j for j up to CHUNK_WORDS."""
    factors = (BASE, pow(BASE, -1, MODULUS))
    powers = [
        pc.cumulative_prod(pa.concat_arrays([_repeated(1, 1), _repeated(factor, CHUNK_WORDS)]))
        for factor in factors
    ]
    return powers[0], powers[1]


@cache
def _byte_words() -> Words:
    return pa.array([_number(f"byte {value}") for value in range(256)], U64)


def _repeated(value: int, rows: int) -> Words:
    return pa.repeat(pa.scalar(value, U64), rows)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


@cache
def _seed(name: str) -> pa.Scalar:
    return pa.scalar(_number(name), U64)


@cache
def _odd(name: str) -> pa.Scalar:
    return pa.scalar(_number(f"factor {name}") | 1, U64)
