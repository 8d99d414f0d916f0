"""Following a log: nothing lost and nothing twice, whoever is killed; drained by SIGTERM; few files.

What the table must hold is asked of the topic by a plain consumer, and compared by content.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import TopicPartition

from tests.flow.following import Follower, Lake, producing, truth
from tests.servers.kafka import Broker, kafka_broker


@pytest.fixture
def mortal() -> Iterator[Broker]:
    """A broker that the test may kill."""
    with kafka_broker() as broker:
        yield broker


def test_sigterm_commits_what_was_read_and_ends_well(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=2)
    kafka.send(topic, *(f'{{"id": {number}}}' for number in range(100)))
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"window": {"seconds": 3600, "rows": 90}})
    follower = Follower(lake)
    follower.until(lambda: lake.rows() >= 90)
    kafka.send(topic, '{"id": 100}', partition=1)
    time.sleep(1.5)  # read, and in a window that is open for an hour yet
    assert follower.stop() == 0
    assert sorted(row["id"] for row in lake.query("SELECT value::json->>'id' AS id FROM events")) == sorted(
        str(number) for number in range(101)
    )
    assert follower.events("run.finished")[0]["status"] == "done"
    assert lake.run() == 0  # and a plain run finds nothing more
    assert lake.rows() == 101


def test_a_second_signal_ends_at_once_and_keeps_what_was_committed(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, "1")
    lake = Lake(tmp_path / "lake", "127.0.0.1:1", topic)
    follower = Follower(lake)
    follower.until(lambda: bool(follower.events("retried")))  # waits for a broker that never comes
    assert follower.stop() == 0
    assert follower.events("retried")[0]["error"]["type"] == "Unreachable"


def test_what_nobody_can_decode_is_set_aside_with_its_bytes(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, "[1]", b"\xff\x00poison", {"key": b"\xfe", "value": '{"id": 2}'}, '{"id": 3}')
    checks = [{"not_null": "id", "on_fail": "quarantine"}]
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"columns": {"id": "int64"}, "checks": checks})
    follower = Follower(lake)
    follower.until(lambda: lake.rows() == 1)
    kafka.send(topic, b"{", '{"id": 5}')
    follower.until(lambda: lake.rows() == 2)
    assert follower.stop() == 0
    assert [row["id"] for row in lake.query("SELECT id FROM events ORDER BY id")] == [3, 5]
    aside = lake.aside()
    assert [(row["_kafka_offset"], row["_asgard_raw_key"], row["_asgard_raw_value"]) for row in aside] == [
        (0, None, None),
        (1, None, b"\xff\x00poison"),
        (2, b"\xfe", b'{"id": 2}'),
        (4, None, b"{"),
    ]
    assert aside[0]["_rescued"] == "[1]"
    assert "value: it is no JSON" in aside[1]["_asgard_reason"]
    assert "key: it is not UTF-8" in aside[2]["_asgard_reason"]
    assert any("could not be decoded" in told["what"] for told in follower.events("warning"))


def test_lag_is_told_when_it_is_known(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *("1" * 500 for _ in range(5000)))
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"window": {"rows": 1000}})
    follower = Follower(lake)
    follower.until(lambda: lake.rows() == 5000)
    assert follower.stop() == 0
    lags = [event["rows"] for event in follower.events("lag")]
    assert lags
    assert lags[-1] == 0
    assert lags == sorted(lags, reverse=True)


def test_small_files_are_put_together_while_the_log_is_followed(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"window": {"rows": 1, "seconds": 0.05}})
    follower = Follower(lake)
    producer = kafka.producer()
    for number in range(60):
        producer.produce(topic, f'{{"id": {number}}}')
        assert producer.flush(30) == 0
        if number % 2:
            follower.until(lambda: lake.rows() > number)  # noqa: B023 - it is asked here
    assert follower.stop() == 0
    mount = lake.mount()
    assert mount is not None
    assert len(follower.events("step.committed")) >= 30
    assert len(mount.files) < 20
    assert follower.events("compacted")
    assert lake.content() == truth(kafka, topic)[0]
    kafka.send(topic, '{"id": 60}')
    assert lake.run() == 0  # the position is as good as before
    assert lake.rows() == 61


def test_a_log_is_read_again_from_where_it_is_wished(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *map(str, range(6)))
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"window": {"rows": 2, "seconds": 0.1}})
    values = "SELECT value FROM events ORDER BY _kafka_offset, value"

    def held() -> str:
        return "".join(row["value"] for row in lake.query(values))

    assert lake.run() == 0
    assert held() == "012345"
    again = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"start": {"0": 4}, **lake.table})
    assert again.run() == 0  # a start is where a first load begins
    assert held() == "012345"
    assert again.run("--full-refresh") == 0
    assert held() == "45"
    kafka.send(topic, "6")
    assert again.run() == 0
    assert held() == "456"
    assert lake.resync() == 0
    kafka.send(topic, "7")
    assert again.run() == 0
    assert held() == "4567"
    _delete_records(kafka, topic, 8)
    assert again.run("--full-refresh") == 0
    assert lake.rows() == 0  # an empty log empties the table
    assert held() == ""


def test_the_newest_message_of_every_key_is_kept(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic(partitions=2)
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"mode": "merge", "primary_key": "_kafka_key"})
    follower = Follower(lake)
    for number in range(20):
        key = f"k{number % 4}"
        kafka.send(topic, {"key": key, "value": str(number)}, partition=number % 2)
    kafka.send(topic, {"key": "k1", "value": None}, partition=1)
    newest = "SELECT _kafka_key AS k, value AS v, _kafka_tombstone AS gone FROM events ORDER BY k"
    wanted = [("k0", "16", False), ("k1", None, True), ("k2", "18", False), ("k3", "19", False)]
    follower.until(lambda: lake.rows() == 4 and [tuple(r.values()) for r in lake.query(newest)] == wanted)
    assert follower.stop() == 0


def test_what_cannot_heal_ends_the_following_with_the_reason(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, *map(str, range(6)))
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, {"stop": {"0": 2}})
    assert lake.run() == 0
    _delete_records(kafka, topic, 4)
    strict = Follower(Lake(tmp_path / "lake", kafka.bootstrap, topic))
    assert strict.process.wait(60) == 4
    (ended,) = strict.events("step.finished")
    assert ended["error"]["type"] == "PositionLost"
    lenient = Follower(Lake(tmp_path / "lake", kafka.bootstrap, topic, {"lost_offsets": "earliest"}))
    lenient.until(lambda: lake.rows() == 4)
    assert lenient.stop() == 0
    assert any("2 offsets are gone" in told["what"] for told in lenient.events("warning"))


def test_what_ends_by_itself_cannot_be_followed(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", "127.0.0.1:1", "events")
    sqlite3.connect(lake.folder / "shop.db").execute("CREATE TABLE orders (id INTEGER)").connection.close()
    project = lake.folder / "asgard.yml"
    document = json.loads(project.read_text())
    shop = {"type": "sqlite", "database": "shop.db", "tables": ["orders"]}
    document["data_sources"] = {"shop": shop}
    project.write_text(json.dumps(document))
    for wrong in ((), ("shop",), ("shop.orders",), ("nothing",), ("--full-refresh",)):
        assert lake.run("--follow", *wrong) == 2


def _delete_records(broker: Broker, topic: str, offset: int) -> None:
    admin = broker.admin()
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
    deleted.result(30)


def test_whoever_is_killed_nothing_is_lost_and_nothing_comes_twice(
    mortal: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _attack(mortal, tmp_path, seconds=15, events_per_second=500)
    with capsys.disabled():
        print(f"\nfollowed: {told}")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_minutes_of_a_thousand_events_a_second_with_kills(
    mortal: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _attack(mortal, tmp_path, seconds=600, events_per_second=1000)
    with capsys.disabled():
        print(f"\nfollowed: {told}")


def _attack(broker: Broker, folder: Path, seconds: float, events_per_second: int) -> str:
    """Kills reader, producer and broker in turn while events flow; then compares the table with the topic."""
    topic = broker.create_topic(partitions=3)
    lake = Lake(folder / "lake", broker.bootstrap, topic)
    journal = folder / "acknowledged"
    follower = Follower(lake)
    memory_bytes: list[int] = []
    dice = random.Random(11)
    with producing(broker, topic, events_per_second, journal) as produce:
        produce()
        follower.until(lambda: lake.rows() > 0)
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end:
            time.sleep(dice.uniform(1.0, min(seconds / 6, 20.0)))
            memory_bytes.append(psutil.Process(follower.process.pid).memory_info().rss)
            if turn % 3 == 0:
                follower.kill()
                follower = Follower(lake)
            elif turn % 3 == 1:
                produce()
            else:
                broker.kill()
                broker.start()
            turn += 1
        time.sleep(2)
    assert turn >= 3
    _end_transaction(broker, topic)
    content, ids = truth(broker, topic)
    follower.until(lambda: lake.rows() >= len(ids), 120)
    assert follower.stop() == 0
    assert lake.content() == content
    missing = set(journal.read_text().split()) - ids
    assert not missing, f"the broker lost {len(missing)} events that it had acknowledged"
    (aborted,) = lake.query("SELECT count(*) AS n FROM events WHERE value LIKE '%\"aborted\": true%'")
    assert aborted["n"] == 0
    mount = lake.mount()
    assert mount is not None
    assert len(mount.files) < 60
    assert max(memory_bytes) < 420 << 20, memory_bytes
    commits = len(follower.events("step.committed"))
    return (
        f"{len(ids):,} events, {turn} kills, {commits} commits, {len(mount.files)} files, "
        f"at most {max(memory_bytes) >> 20} MiB"
    )


def _end_transaction(broker: Broker, topic: str) -> None:
    """Ends what the killed producer left open."""
    broker.producer(transactional_id=f"events-{topic}").init_transactions(30)
