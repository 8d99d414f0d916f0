"""Kafka, asked of a real broker: what is shown, what a position means, and what happens when the log is not
what it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from asgard.connectors._kafka import reader as _kafka_reader
from asgard.connectors.kafka import KafkaConfig, KafkaSource, KafkaStreamOptions
from asgard.core.batch import Batch, Progress
from asgard.core.errors import ConfigError, PositionLost, QueryError, Unreachable
from asgard.core.position import Position
from asgard.core.source import ReadSettings
from asgard.core.stream import Selection
from tests.connectors.waiting import wait_until
from tests.servers.faults import Fault, faulty_network
from tests.servers.kafka import Broker

MEGABYTE = 1_000_000


def source_of(broker: Broker, **config: Any) -> KafkaSource:
    given = {"bootstrap_servers": broker.bootstrap, "timeout_seconds": 5, **config}
    return KafkaSource(KafkaConfig.model_validate(given), "log")


def read(
    source: KafkaSource, topic: str, since: str | None = None, **options: Any
) -> tuple[list[dict[str, Any]], str, list[dict[str, Any]]]:
    """The rows that a bounded plan gives, the token that it reaches, and what could not be decoded."""
    wanted = KafkaStreamOptions.model_validate(options)
    stream = source.describe(topic, wanted)
    positions = {} if since is None else {topic: Position(token=since)}
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    with source.plan([Selection(stream, options=wanted)], positions) as plan:
        reader = source.open(plan.splits[0])
        end = time.monotonic() + 60
        while not isinstance(polled := reader.poll(1 << 20, 0.5), Progress) or not polled.done:
            assert time.monotonic() < end
            if isinstance(polled, Batch):
                rows += polled.data.to_pylist()
                rejected += polled.rejected.to_pylist() if polled.rejected else []
        reader.close()
        assert json.loads(polled.token or "")["offsets"] == json.loads(plan.tokens[topic])["offsets"]
        return rows, plan.tokens[topic], rejected


def values(rows: Sequence[dict[str, Any]]) -> list[Any]:
    return [row["value"] for row in rows]


@contextmanager
def following(source: KafkaSource, topic: str, since: str | None = None) -> Iterator[Any]:
    """An endless reader: called, it gives the values that come within a time."""
    stream = source.describe(topic)
    positions = {} if since is None else {topic: Position(token=since)}
    with source.plan([Selection(stream, endless=True)], positions) as plan:
        assert not plan.tokens
        reader = source.open(plan.splits[0])

        def more(count: int, seconds: float = 20) -> list[Any]:
            found: list[Any] = []
            end = time.monotonic() + seconds
            while len(found) < count and time.monotonic() < end:
                polled = reader.poll(1 << 20, 0.2)
                if isinstance(polled, Batch):
                    found += polled.data.column("value").to_pylist()
            return found

        more.reader = reader  # type: ignore[attr-defined]
        yield more
        reader.close()


# ---- what a message becomes


def test_place_time_key_headers_and_tombstones(kafka: Broker) -> None:
    topic = kafka.create_topic(partitions=2)
    headers = [("a", b"1"), ("a", b"\xff"), ("none", None)]
    kafka.send(topic, {"key": "k", "value": '{"n": 1}', "headers": headers, "timestamp": 1_700_000_000_123})
    kafka.send(topic, {"key": "k", "value": None}, {"value": b"null"}, partition=1)
    with source_of(kafka) as source:
        rows, _, rejected = read(source, topic)
    assert not rejected
    first, tombstone, null = sorted(rows, key=lambda row: (row["_kafka_partition"], row["_kafka_offset"]))
    assert first["_kafka_timestamp"].isoformat() == "2023-11-14T22:13:20.123000+00:00"
    assert (first["_kafka_key"], first["value"], first["_kafka_tombstone"]) == ("k", '{"n": 1}', False)
    assert [(one["key"], one["value"]) for one in first["_kafka_headers"]] == headers
    assert (tombstone["_kafka_partition"], tombstone["_kafka_offset"]) == (1, 0)
    assert (tombstone["_kafka_key"], tombstone["value"], tombstone["_kafka_tombstone"]) == ("k", None, True)
    assert (null["_kafka_key"], null["value"], null["_kafka_tombstone"]) == (None, "null", False)


def test_fields_that_fit_are_columns_and_the_rest_is_kept(kafka: Broker) -> None:
    topic = kafka.create_topic()
    kafka.send(
        topic,
        '{"id": 1, "amount": 12345678901234567890.12, "at": "2026-01-31T10:00:00.5+02:00", "ok": true}',
        '{"id": 9007199254740993, "amount": 0.1, "new": {"deep": [1, 2.50]}}',
        '{"id": "seven", "amount": "12.5", "at": "yesterday"}',
        '{"id": 1.5}',
        "[1, 2]",
        '"text"',
        "null",
        "{}",
    )
    columns = {"id": "int64", "amount": "decimal(24, 2)", "at": "timestamptz"}
    with source_of(kafka) as source:
        rows, _, rejected = read(source, topic, columns=columns)
    assert not rejected
    assert [row["id"] for row in rows] == [1, 9007199254740993, *[None] * 6]
    assert [str(row["amount"]) for row in rows[:3]] == ["12345678901234567890.12", "0.10", "12.50"]
    assert rows[0]["at"].isoformat() == "2026-01-31T08:00:00.500000+00:00"
    assert [row["_rescued"] for row in rows] == [
        '{"ok":true}',
        '{"new":{"deep":[1,2.5]}}',
        '{"id":"seven","at":"yesterday"}',
        '{"id":1.5}',
        "[1,2]",
        '"text"',
        "null",
        None,
    ]


@pytest.mark.parametrize("format_", ["raw", "text", "json"])
def test_values_come_to_the_letter_or_not_at_all(kafka: Broker, format_: str) -> None:
    topic = kafka.create_topic()
    sent = [
        b'{"n": 1.10}',
        b"  [1,2 ] ",
        b"\xff\xfe",
        b"",
        "é\u2028".encode(),
        b"1e999",
        b"NaN",
        b'"\\ud800"',
    ]
    kafka.send(topic, *sent)
    good = {
        "raw": sent,
        "text": ['{"n": 1.10}', "  [1,2 ] ", "", "é\u2028", "1e999", "NaN", '"\\ud800"'],
        "json": ['{"n": 1.10}', "  [1,2 ] ", "1e999", '"\\ud800"'],
    }[format_]
    with source_of(kafka) as source:
        rows, _, rejected = read(source, topic, format=format_)
    assert values(rows) == good
    assert [row["_asgard_raw_value"] for row in rejected] == [
        one for one in sent if one not in [g.encode() if isinstance(g, str) else g for g in good]
    ]
    assert all(row["_asgard_reason"].startswith("value: it is no") for row in rejected)


def test_a_message_of_twenty_megabytes(kafka: Broker) -> None:
    topic = kafka.create_topic(max_message_bytes="22000000")
    large = [json.dumps({"n": n, "filling": chr(65 + n) * 20 * MEGABYTE}) for n in range(3)]
    kafka.send(topic, '{"n": -1}', *large, '{"n": 3}')
    with source_of(kafka) as source:
        source.settings = ReadSettings(batch_bytes=MEGABYTE)
        assert values(read(source, topic)[0]) == ['{"n": -1}', *large, '{"n": 3}']


# ---- transactions


def test_only_committed_transactions_are_shown(kafka: Broker) -> None:
    topic = kafka.create_topic()
    producer = kafka.producer(transactional_id=f"p-{topic}")
    producer.init_transactions(30)
    for name, commit in (("a", True), ("b", False), ("c", True), ("d", False)):
        producer.begin_transaction()
        producer.produce(topic, f'"{name}"')
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    with source_of(kafka) as source:
        rows, token, _ = read(source, topic)
        assert values(rows) == ['"a"', '"c"']
        assert json.loads(token)["offsets"] == {"0": 8}  # behind the last marker
        assert read(source, topic, token)[0] == []
        producer.begin_transaction()
        producer.produce(topic, '"e"')
        producer.flush(30)
        assert read(source, topic, token)[0] == []  # open: a plain run does not wait for it
        with following(source, topic, token) as more:
            assert more(1, 1) == []
            producer.commit_transaction(30)
            assert more(1) == ['"e"']


# ---- where reading begins and ends


def test_start_and_stop_by_offsets_and_by_time(kafka: Broker) -> None:
    topic = kafka.create_topic(partitions=2)
    for number in range(6):
        at = {"value": str(number), "timestamp": 1_700_000_000_000 + number * 1000}
        kafka.send(topic, at, partition=number % 2)
    with source_of(kafka) as source:
        assert sorted(values(read(source, topic, start={"0": 1, "1": 2})[0])) == ["2", "4", "5"]
        assert sorted(values(read(source, topic, start="2023-11-14T22:13:23Z")[0])) == ["3", "4", "5"]
        assert sorted(values(read(source, topic, start="2023-11-14 22:13:23", stop={0: 2})[0])) == ["3", "5"]
        assert sorted(values(read(source, topic, stop="2023-11-14T22:13:22Z")[0])) == ["0", "1"]
        rows, token, _ = read(source, topic, start="latest")
        assert rows == []
        kafka.send(topic, "6")
        assert values(read(source, topic, token, start="latest")[0]) == ["6"]
        assert read(source, topic, start="2099-01-01")[0] == []
        with pytest.raises(ConfigError, match="names partition 7"):
            read(source, topic, start={7: 1})
    with pytest.raises(ValueError, match="write earliest"):
        KafkaStreamOptions.model_validate({"start": "yesterday"})


def test_a_log_that_was_compacted_is_read_over_its_gaps(kafka: Broker) -> None:
    topic = kafka.create_topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", delete_retention_ms="0"
    )
    for number in range(20):
        kafka.send(topic, {"key": "k", "value": str(number)})
    time.sleep(0.3)
    kafka.send(topic, {"key": "other", "value": "last"})

    def gaps() -> bool:
        with source_of(kafka) as source:
            return len(read(source, topic, format="text")[0]) < 21

    end = time.monotonic() + 40
    while not gaps() and time.monotonic() < end:
        kafka.send(topic, {"key": "other", "value": "last"})
        time.sleep(0.5)
    with source_of(kafka) as source:
        rows, token, _ = read(source, topic, format="text")
        newest = {row["_kafka_key"]: row["value"] for row in rows}
        assert newest == {"k": "19", "other": "last"}
        assert len(rows) < json.loads(token)["offsets"]["0"]
        assert read(source, topic, token, format="text")[0] == []


# ---- a log that is not what it was


def _delete_before(broker: Broker, topic: str, offset: int) -> None:
    admin = broker.admin()
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
    deleted.result(30)


def test_offsets_that_are_gone_are_told_and_passed_over_only_on_demand(kafka: Broker) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *map(str, range(10)))
    with source_of(kafka) as source:
        _, token, _ = read(source, topic, stop={0: 3})
        _delete_before(kafka, topic, 7)
        with pytest.raises(
            PositionLost, match=r"begins at offset 7 now, and 3 .* 4 offsets are gone"
        ) as lost:
            read(source, topic, token)
        assert "lost_offsets: earliest" in lost.value.hint
        rows, after, _ = read(source, topic, token, lost_offsets="earliest")
        assert values(rows) == ["7", "8", "9"]
        assert read(source, topic, after)[0] == []
        assert values(read(source, topic)[0]) == ["7", "8", "9"]  # a first load begins with what there is


def test_offsets_that_go_while_they_are_to_be_read(kafka: Broker) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *map(str, range(10)))
    with source_of(kafka) as source:
        stream = source.describe(topic)
        with source.plan([Selection(stream)], {}) as plan:
            _delete_before(kafka, topic, 7)
            reader = source.open(plan.splits[0])
            with pytest.raises(PositionLost, match="begins at offset 7 now, and 0 was to be read next"):
                reader.poll(1 << 20, 20)
            reader.close()


def test_a_topic_of_the_same_name_is_not_the_same_topic(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kafka_reader, "REFRESH_SECONDS", 0.2)
    topic = kafka.create_topic()
    kafka.send(topic, "1", "2")
    with source_of(kafka) as source:
        _, token, _ = read(source, topic)
        with following(source, topic, token) as more:
            assert more(1, 0.5) == []
            admin = kafka.admin()
            admin.delete_topics([topic])[topic].result(30)
            wait_until(lambda: topic not in admin.list_topics(timeout=30).topics, "the topic goes")
            kafka.create_topic(name=topic)
            kafka.send(topic, "3", "4", "5")
            with pytest.raises((PositionLost, QueryError)):
                more(1)
    with source_of(kafka) as source:
        with pytest.raises(PositionLost, match="was made anew"):
            read(source, topic, token)
        assert values(read(source, topic)[0]) == ["3", "4", "5"]


def test_new_partitions_are_read_from_their_first_message(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kafka_reader, "REFRESH_SECONDS", 0.2)
    topic = kafka.create_topic()
    kafka.send(topic, "1")
    with source_of(kafka) as source:
        _, token, _ = read(source, topic)
        with following(source, topic, token) as more:
            assert more(1, 0.5) == []
            admin = kafka.admin()
            admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
            there = lambda: admin.list_topics(topic, timeout=30).topics[topic].partitions  # noqa: E731
            wait_until(lambda: len(there()) == 3, "the partitions come")
            kafka.send(topic, "2", partition=2)
            assert more(1) == ["2"]
        assert values(read(source, topic, token)[0]) == ["2"]


# ---- a network that fails


@pytest.mark.parametrize(
    "fault",
    [
        Fault.cut(300_000),
        Fault.reset(300_001),
        Fault.half_open(300_000),
        Fault.drip(for_bytes=200, at_byte=300_000),
        Fault.delay(0.05, at_byte=100_000, for_bytes=1_000_000),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_failing_network_loses_nothing_and_repeats_nothing(kafka: Broker, fault: Fault) -> None:
    topic = kafka.create_topic()
    sent = [json.dumps({"n": number, "filling": "x" * 1000}) for number in range(2000)]
    kafka.send(topic, *sent)
    with faulty_network("127.0.0.1", kafka.hidden_port, kafka.faulty_port) as network:
        through = f"127.0.0.1:{kafka.faulty_port}"
        with source_of(kafka, bootstrap_servers=through, timeout_seconds=3) as source:
            source.describe(topic)
            network.arm(fault, times=2)
            assert values(read(source, topic)[0]) == sent
            assert network.fired


def test_a_network_that_is_gone_is_said_to_be_gone(kafka: Broker) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *("x" * 1000 for _ in range(3000)))
    with faulty_network("127.0.0.1", kafka.hidden_port, kafka.faulty_port) as network:
        through = f"127.0.0.1:{kafka.faulty_port}"
        with source_of(kafka, bootstrap_servers=through, timeout_seconds=1) as source:
            source.describe(topic)
            network.arm(Fault.half_open(300_000))
            with pytest.raises(Unreachable):
                read(source, topic, format="text")


def test_a_group_is_told_and_never_asked(kafka: Broker) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, "1", "2", "3")
    with source_of(kafka, group_id="onlookers") as source:
        with following(source, topic) as more:
            assert more(3) == ["1", "2", "3"]
            token = json.dumps({"format": 1, "topic": topic, "topic_id": "", "offsets": {"0": 2}})
            more.reader.acknowledge(token)
            wait_until(lambda: told_to(kafka, "onlookers") == [(topic, 2)], "the group is told")
        assert values(read(source, topic)[0]) == ["1", "2", "3"]
    assert told_to(kafka, "onlookers") == [(topic, 2)]


def told_to(kafka: Broker, group: str) -> list[tuple[str, int]]:
    """Topics and offsets that a consumer group has."""
    from confluent_kafka import ConsumerGroupTopicPartitions

    admin = kafka.admin()  # kept: with it what it was asked would go
    (told,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return [(one.topic, one.offset) for one in told.result(30).topic_partitions]


def test_schemas_are_those_of_the_options(kafka: Broker) -> None:
    topic = kafka.create_topic()
    with source_of(kafka) as source:
        raw = source.describe(topic, KafkaStreamOptions(format="raw", key_format="raw")).schema
        assert raw.field("_kafka_key").type == raw.field("value").type == pa.binary()
        assert source.describe(topic).primary_key == ("_kafka_partition", "_kafka_offset")
