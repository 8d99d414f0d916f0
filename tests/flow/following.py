"""What the tests of following share: a project over a topic, the process that follows it, and the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from asgard.app.project.workspace import Workspace
from asgard.core.table import Mount, TableName
from asgard.testing.content import ContentHash
from tests.servers.kafka import Broker

ROOT = Path(__file__).resolve().parents[2]
TRUTH = pa.schema([("_kafka_partition", pa.int32()), ("_kafka_offset", pa.int64()), ("value", pa.string())])
MAIN = "from asgard.cli.main import main; main()"


@dataclass
class Lake:
    """A project whose only source is a broker.

    Attributes:
        table: keys of the topic's entry besides its name.
    """

    folder: Path
    bootstrap: str
    topic: str
    table: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        entry = {"name": self.topic, "as": "events", "window": {"seconds": 0.5}, **self.table}
        source = {"type": "kafka", "bootstrap_servers": self.bootstrap, "timeout_seconds": 5}
        document = {"version": 1, "data_sources": {"log": {**source, "tables": [entry]}}}
        (self.folder / "asgard.yml").write_text(json.dumps(document))

    @contextmanager
    def engine(self) -> Iterator[tuple[Workspace, Any]]:
        workspace = Workspace.open(self.folder / "asgard.yml")
        with workspace.open_engine(128 << 20) as engine:
            yield workspace, engine

    def mount(self) -> Mount | None:
        table = Workspace.open(self.folder / "asgard.yml").lake.table(TableName("bronze", "log", "events"))
        return table.mount() if table.exists() else None

    def rows(self) -> int:
        """Of the table; 0 while there is none."""
        mount = self.mount()
        return (mount.rows or 0) if mount else 0

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query about `events`."""
        mount = self.mount()
        assert mount is not None
        with self.engine() as (_, engine):
            engine.attach("events", mount)
            return _rows(engine.query(sql))

    def content(self) -> dict[str, str]:
        """The table's rows as a hash, by place and value."""
        mount = self.mount()
        assert mount is not None
        content = ContentHash(TRUTH)
        with self.engine() as (_, engine):
            engine.attach("events", mount)
            for batch in engine.query(f"SELECT {', '.join(TRUTH.names)} FROM events"):
                content.add(batch)
        return content.result()

    def aside(self) -> list[dict[str, Any]]:
        """What was set aside, by place."""
        table = Workspace.open(self.folder / "asgard.yml").lake.table(TableName("bronze", "log", "events"))
        mount = table.quarantined()
        if mount is None:
            return []
        with self.engine() as (_, engine):
            engine.attach("aside", mount)
            found = engine.query("SELECT * FROM aside ORDER BY _kafka_partition, _kafka_offset")
            return _rows(found)

    def resync(self) -> int:
        """`asgard resync` of the table; the exit code."""
        command = [sys.executable, "-c", MAIN, "resync", "bronze.log.events"]
        return subprocess.run(command, cwd=self.folder, check=False).returncode

    def run(self, *arguments: str) -> int:
        """`asgard run` to its end; the exit code."""
        command = [sys.executable, "-c", MAIN, "run", *arguments]
        return subprocess.run(command, cwd=self.folder, check=False).returncode


class Follower:
    """`asgard run --follow --json` in a process of its own."""

    def __init__(self, lake: Lake) -> None:
        self.log = lake.folder / "follower.jsonl"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", "--follow", "--json"],
                cwd=lake.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Of one kind, of all followers of the lake; a line that a kill cut off tells nothing."""
        found = []
        for line in self.log.read_text().splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == kind:
                    found.append(event)
        return found

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Waits until something is so, as long as the process lives."""
        end = time.monotonic() + seconds
        while not true():
            told = self.log.read_text()[-3000:]
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {told}"
            assert time.monotonic() < end, f"not within {seconds} s: {told}"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def _rows(found: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.Table.from_batches(list(found), schema=found.schema).to_pylist()
    return rows


@contextmanager
def producing(broker: Broker, topic: str, events_per_second: int, journal: Path) -> Iterator[Any]:
    """Starts producers: called, it kills the last one, if there is one, and starts another."""
    running: list[subprocess.Popen[bytes]] = []

    def again() -> None:
        for one in running:
            os.kill(one.pid, signal.SIGKILL)
            one.wait(30)
        command = (sys.executable, "-m", "tests.flow.event_producer", broker.bootstrap, topic)
        running[:] = [subprocess.Popen([*command, str(events_per_second), str(journal)], cwd=ROOT)]

    try:
        yield again
    finally:
        for one in running:
            one.kill()
            one.wait(30)


def truth(broker: Broker, topic: str) -> tuple[dict[str, str], set[str]]:
    """What a plain consumer of committed messages finds in the topic: the content, and the events' ids.

    Call it when nobody writes: a producer's last transaction must have ended.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "truth",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    content, ids, left = ContentHash(TRUTH), set(), set(partitions)
    while left:
        messages = consumer.consume(5000, 1)
        left -= {message.partition() for message in messages if message.error() is not None}
        good = [message for message in messages if message.error() is None]
        values = [message.value().decode() for message in good]
        ids |= {json.loads(value)["id"] for value in values}
        columns = [
            pa.array([message.partition() for message in good], pa.int32()),
            pa.array([message.offset() for message in good], pa.int64()),
            pa.array(values, pa.string()),
        ]
        content.add(pa.RecordBatch.from_arrays(columns, schema=TRUTH))
    consumer.close()
    return content.result(), ids
