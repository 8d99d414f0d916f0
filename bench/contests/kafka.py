"""From a Kafka topic to the lake, beside a bare consumer, dlt and ingestr: messages of 1 KB, two partitions.

Asgard and the bare consumer know which message is the last; dlt is told how many there are, and ingestr ends
by itself when nothing more comes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asgard.core.table import TableName
from asgard.lake.delta.lake import DeltaLake
from bench.carriers import Carriers, counted, ingestr
from bench.contest import Bar, Contender, Contest
from bench.contests.orders import worker
from bench.measure import Command
from bench.setting import Setting
from tests.servers.kafka import Broker, kafka_broker

TOPIC = "events"
REFERENCE = "bare consumer to parquet"
DLT, INGESTR = PEERS = ("dlt to parquet", "ingestr to parquet")
COMPARED = ("wall_seconds", "client_cpu_seconds")
MOST_MEGABYTES = 420
HOWS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "asgard": ("asgard run, JSON checked and kept as text, committed Delta", {}),
    "asgard, raw": ("the same, values as bytes", {"format": "raw"}),
    "asgard, columns": (
        "the same, four fields as typed columns",
        {"columns": {"id": "int64", "name": "text", "amount": "float64", "at": "timestamptz"}},
    ),
}


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    messages = setting.sized(1_000_000, 50_000)
    with kafka_broker() as broker:
        _fill(broker, messages)
        folder = setting.folder / "kafka"
        limit = Command(worker("consume", broker.bootstrap, TOPIC, messages), folder / "limit")
        out = folder / "parquet" / "out"
        to_parquet = Command(worker("consume", broker.bootstrap, TOPIC, messages, out), folder / "parquet")
        contenders = [
            Contender("limit: bare consumer", "confluent-kafka, batches of 10,000, into nothing", limit),
            Contender(
                REFERENCE,
                "the same, pyarrow's writer, zstd 1; nothing checked, no position",
                to_parquet,
                judge=lambda _: counted(out, messages),
            ),
            *(_asgard(broker, folder, name, messages) for name in HOWS),
            *_others(Carriers(folder, messages), broker),
        ]
        bars = [
            Bar("asgard", "client_cpu_seconds", 2.0, REFERENCE),
            Bar("asgard, raw", "client_cpu_seconds", 1.6, REFERENCE),
            Bar("asgard", "peak_bytes", MOST_MEGABYTES * 1e6),
            *(
                Bar("asgard", metric, 1.0, peer)
                for peer in PEERS
                for metric in ("wall_seconds", "client_cpu_seconds")
            ),
        ]
        title = f"Kafka to the lake: {messages:,} messages of 1 KB"
        yield Contest("kafka", title, contenders, bars, messages, REFERENCE)


def _others(to: Carriers, broker: Broker) -> Iterator[Contender]:
    yield to.peer(
        "dlt-kafka",
        DLT,
        "as its source of Kafka, batches of 3,000, values as text",
        lambda env, own: env.script(
            "dlt_kafka", broker.bootstrap, TOPIC, to.rows, own / "out", own / "scratch"
        ),
    )
    uri = (
        f"kafka://?bootstrap_servers={broker.bootstrap}&group_id=bench-{broker.bootstrap.rpartition(':')[2]}"
    )
    yield to.peer(
        "ingestr",
        INGESTR,
        "1.1.21 (newer ones fetch their program), snappy, which is fixed; ends when nothing comes",
        ingestr(uri, TOPIC),
    )


def _asgard(broker: Broker, folder: Path, name: str, messages: int) -> Contender:
    note, options = HOWS[name]
    own = folder / name.replace(", ", "_")
    # Not the installed one: it has no extras, and Kafka's driver is one.
    command = Command((sys.executable, "-c", "from asgard.cli.main import main; main()", "run"), own)
    log = {
        "type": "kafka",
        "bootstrap_servers": broker.bootstrap,
        "tables": [{"name": TOPIC, **options}],
    }
    lake = {"format": "delta", "location": str(own / "out")}

    def write_project() -> None:
        document = {"version": 1, "lake": lake, "data_sources": {"log": log}}
        (own / "asgard.yml").write_text(json.dumps(document))

    def judge(_: object) -> str:
        rows = DeltaLake(own / "out").table(TableName("bronze", "log", TOPIC)).mount().rows
        return "" if rows == messages else f"wrote {rows} rows of {messages:,}"

    return Contender(name, note, command, before=write_project, judge=judge)


def _fill(broker: Broker, messages: int) -> None:
    broker.create_topic(partitions=2, name=TOPIC)
    producer = broker.producer(linger_ms=50, batch_size=500_000)
    for number in range(messages):
        event = {"id": number, "name": f"name {number}", "amount": number / 7, "at": "2026-01-01T00:00:00Z",
                 "filling": f"{number:08} " * 100}  # fmt: skip
        while True:
            try:
                producer.produce(TOPIC, json.dumps(event), key=str(number))
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("bench: the broker did not take the messages")
