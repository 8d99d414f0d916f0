"""A bare consumer of a topic, as fast as the driver is. Arguments: BOOTSTRAP TOPIC MESSAGES [FOLDER].

With a folder it writes values with their partitions and offsets to one Parquet file, and keeps no position.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

BATCH_MESSAGES = 10_000
SCHEMA = pa.schema([("partition", pa.int32()), ("offset", pa.int64()), ("value", pa.binary())])


def main(bootstrap: str, topic: str, messages: str, folder: str = "") -> None:
    """Ends when so many messages came."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 32_768,
            "fetch.queue.backoff.ms": 5,
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    left = int(messages)
    writer = _writer(folder)
    while left:
        found = consumer.consume(BATCH_MESSAGES, 0.1)
        left -= len(found)
        if writer is not None and found:
            writer.write_batch(_batch(found))
    if writer is not None:
        writer.close()
    consumer.close()


def _writer(folder: str) -> Any:
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(Path(folder) / "part-0.parquet", SCHEMA, compression="zstd", compression_level=1)


def _batch(messages: list[Any]) -> pa.RecordBatch:
    arrays = [
        pa.array([message.partition() for message in messages], pa.int32()),
        pa.array([message.offset() for message in messages], pa.int64()),
        pa.array([message.value() for message in messages], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


if __name__ == "__main__":
    main(*sys.argv[1:])
