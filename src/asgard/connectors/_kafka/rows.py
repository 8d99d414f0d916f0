"""Messages as record batches: where a message lies, its key and headers, and its value by a decoder.

_kafka_partition   int32                          which part of the log
_kafka_offset      int64                          its place there; both together name a message
_kafka_timestamp   timestamp(ms, UTC)             of the producer or the broker; null where there is none
_kafka_key         by `key_format`                null for messages without one
_kafka_headers     list of {key: text, value: bytes}, in their order; null where there are none
_kafka_tombstone   bool                           the message has no value: it takes its key's away
value, or columns  by `format`
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from asgard.connectors._kafka.values import Decoder
from asgard.core.batch import RAW, REASON

PARTITION, OFFSET, TIMESTAMP = "_kafka_partition", "_kafka_offset", "_kafka_timestamp"
KEY, HEADERS, TOMBSTONE = "_kafka_key", "_kafka_headers", "_kafka_tombstone"

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
PLACE = (
    pa.field(PARTITION, pa.int32(), nullable=False),
    pa.field(OFFSET, pa.int64(), nullable=False),
    pa.field(TIMESTAMP, pa.timestamp("ms", tz="UTC")),
)
REST = (pa.field(HEADERS, pa.list_(_HEADER)), pa.field(TOMBSTONE, pa.bool_(), nullable=False))


def schema_of(key: Decoder, value: Decoder) -> pa.Schema:
    """The columns of a topic."""
    return pa.schema([*PLACE, *key.fields, *REST, *value.fields])


class Rows:
    """Makes batches of messages. Used by one thread."""

    def __init__(self, key: Decoder, value: Decoder) -> None:
        self._key = key
        self._value = value
        self.schema = schema_of(key, value)
        self._rejected = pa.schema([*self.schema, *RAW, pa.field(REASON, pa.string())])

    def batch(self, messages: Sequence[Any]) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The messages that could be decoded, and those that could not, in their order."""
        keys = [message.key() for message in messages]
        values = [message.value() for message in messages]
        key, value = self._key.decode(keys), self._value.decode(values)
        arrays = [
            pa.array([message.partition() for message in messages], pa.int32()),
            pa.array([message.offset() for message in messages], pa.int64()),
            _timestamps(messages),
            *key.columns,
            _headers(messages),
            pa.array([one is None for one in values], pa.bool_()),
            *value.columns,
        ]
        whole = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        bad = sorted({*key.failures, *value.failures})
        if not bad:
            return whole, None
        reasons = [
            "; ".join(
                f"{what}: {failures[row]}"
                for what, failures in (("key", key.failures), ("value", value.failures))
                if row in failures
            )
            for row in bad
        ]
        good = sorted(set(range(len(messages))) - set(bad))
        rejected = pa.RecordBatch.from_arrays(
            [
                *whole.take(pa.array(bad, pa.int64())).columns,
                pa.array([keys[row] for row in bad], pa.binary()),
                pa.array([values[row] for row in bad], pa.binary()),
                pa.array(reasons, pa.string()),
            ],
            schema=self._rejected,
        )
        return whole.take(pa.array(good, pa.int64())), rejected


def _timestamps(messages: Sequence[Any]) -> pa.Array:
    # (kind, milliseconds); kind 0 says that there is none
    told = [message.timestamp() for message in messages]
    return pa.array([when if kind else None for kind, when in told], pa.int64()).cast(PLACE[2].type)


def _headers(messages: Sequence[Any]) -> pa.Array:
    lists = [message.headers() for message in messages]
    if not any(lists):
        return pa.nulls(len(lists), REST[0].type)
    ends = [0]
    for one in lists:
        ends.append(ends[-1] + len(one or ()))
    pairs = list(chain.from_iterable(one or () for one in lists))
    entries = pa.StructArray.from_arrays(
        [
            pa.array([name for name, _ in pairs], pa.string()),
            pa.array([_bytes(v) for _, v in pairs], pa.binary()),
        ],
        fields=list(_HEADER),
    )
    missing = pa.array([not one for one in lists], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), entries, type=REST[0].type, mask=missing)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
