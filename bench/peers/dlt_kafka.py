"""A topic by dlt to Parquet. Arguments: BOOTSTRAP TOPIC MESSAGES OUT SCRATCH.

dlt's own source of Kafka is not in its package but copied into each project. This does the same: batches of a
consumer, each message a dictionary with its place and its value as text. The copied source ends when nothing
has come for some seconds; here it ends with the last message, so that waiting costs nobody time.

Reference: https://dlthub.com/docs/dlt-ecosystem/verified-sources/kafka
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

SCRATCH = sys.argv[5]
os.environ["DLT_DATA_DIR"] = f"{SCRATCH}/dlt"  # read when dlt is imported

import dlt  # type: ignore[import-not-found, unused-ignore] # noqa: E402
from confluent_kafka import Consumer, TopicPartition  # noqa: E402

BATCH_MESSAGES = 3000
"""As the copied source has it by default."""


def main(bootstrap: str, topic: str, messages: str, out: str) -> None:
    """The whole topic, without nested tables."""
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"file://{out}"),
        dataset_name="lake",
        pipelines_dir=f"{SCRATCH}/pipelines",
    )
    rows = dlt.resource(read(bootstrap, topic, int(messages)), name=topic, max_table_nesting=0)
    pipeline.run(rows, loader_file_format="parquet").raise_on_failed_jobs()


def read(bootstrap: str, topic: str, left: int) -> Iterator[list[dict[str, Any]]]:
    """Batches of messages."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "dlt", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    while left:
        found = consumer.consume(BATCH_MESSAGES, 1)
        left -= len(found)
        if found:
            yield [plain(message) for message in found]
    consumer.close()


def plain(message: Any) -> dict[str, Any]:
    """As the source's default processor."""
    _, milliseconds = message.timestamp()
    key = message.key()
    return {
        "_kafka__partition": message.partition(),
        "_kafka__topic": message.topic(),
        "_kafka__key": None if key is None else key.decode("utf-8"),
        "_kafka__offset": message.offset(),
        "_kafka__ts": milliseconds,
        "_kafka__data": message.value().decode("utf-8"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:5])
