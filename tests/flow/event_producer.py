"""Sends events of about 1 KB to a Kafka topic in transactions, at a rate, until it is killed.

    python -m tests.flow.event_producer BOOTSTRAP TOPIC EVENTS_PER_SECOND JOURNAL

Every tenth transaction is aborted. The ids of each transaction go to the journal after the broker said that
it is committed. Started anew after a kill it ends what the killed one left open, as any producer of that
transactional id does.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

from confluent_kafka import KafkaException, Producer

TRANSACTION_SECONDS = 0.1


def main(bootstrap: str, topic: str, events_per_second: int, journal: Path) -> None:
    life = uuid.uuid4().hex[:8]
    producer = _producer(bootstrap, topic)
    number, events = 0, int(events_per_second * TRANSACTION_SECONDS)
    with journal.open("a") as acknowledged:
        while True:
            began = time.monotonic()
            aborted = number % 10 == 9
            ids = [f"{life}-{number}-{event}" for event in range(events)]
            try:
                producer.begin_transaction()
                for one in ids:
                    event = {"id": one, "aborted": aborted, "filling": f"{one} " * 50}
                    producer.produce(topic, json.dumps(event).encode(), key=one)
                if aborted:
                    producer.abort_transaction(30)
                else:
                    producer.commit_transaction(30)
            except KafkaException:  # the broker was killed: whether the transaction counts, it will tell
                producer = _producer(bootstrap, topic)
                continue
            if not aborted:
                acknowledged.write("".join(f"{one}\n" for one in ids))
                acknowledged.flush()
            number += 1
            time.sleep(max(began + TRANSACTION_SECONDS - time.monotonic(), 0))


def _producer(bootstrap: str, topic: str) -> Producer:
    while True:
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"events-{topic}",
                "transaction.timeout.ms": 10_000,
                "linger.ms": 5,
                "log_level": 0,
                "reconnect.backoff.max.ms": 500,
            }
        )
        try:
            producer.init_transactions(30)
        except KafkaException:
            time.sleep(0.2)
            continue
        return producer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
