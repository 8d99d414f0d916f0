"""A Kafka broker for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.kafka import KafkaSource
from asgard.core.errors import AuthenticationError, ConfigError, QueryError, Unreachable
from asgard.testing.connectors import CursorWanted, Harness, Wanted
from tests.servers.kafka import PASSWORD, USER, Broker


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    broker: Broker = request.getfixturevalue("kafka")
    topic = broker.create_topic(partitions=2)
    broker.send(topic, {"key": "a", "value": '{"id": 1}'}, {"key": "b", "value": '{"id": 2, "x": "y"}'})
    broker.send(topic, {"key": "a", "value": None}, {"value": b"[1, 2]"}, partition=1)

    def add_rows() -> int:
        broker.send(topic, '{"id": 3}', partition=1)
        return 1

    config = {
        "bootstrap_servers": broker.secure,
        "username": USER,
        "password": PASSWORD,
        "sasl_mechanism": "SCRAM-SHA-512",
        "ca_file": broker.ca_file,
        "timeout_seconds": 5,
    }
    messages = Wanted(topic, {"columns": {"id": "int64"}}, rows=4)
    yield Harness(
        name="kafka",
        connector=KafkaSource,
        config=config,
        stream=messages,
        bad_configs=(
            ({**config, "password": "wr0ng-canary"}, AuthenticationError),
            ({**config, "sasl_mechanism": "PLAIN", "username": "nobody"}, AuthenticationError),
            ({**config, "ca_file": None}, ConfigError),
            ({**config, "ca_file": str(folder / "missing.pem")}, ConfigError),
            ({**config, "bootstrap_servers": "127.0.0.1:1", "timeout_seconds": 1}, Unreachable),
        ),
        cursor=CursorWanted(messages, "_kafka_offset", add_rows),
        secrets=(PASSWORD, "wr0ng-canary"),
    )
    with Harness("kafka", KafkaSource, config, messages, ()).source() as source, pytest.raises(QueryError):
        source.describe(f"{topic}x")
