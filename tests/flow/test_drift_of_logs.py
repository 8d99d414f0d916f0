"""Drift of a log: the same rules, window by window, beside messages that nobody can decode."""

from __future__ import annotations

from pathlib import Path

from tests.flow.following import Lake
from tests.servers.kafka import Broker


def test_a_log_whose_column_became_text_goes_on_by_its_contract(kafka: Broker, tmp_path: Path) -> None:
    topic, folder = kafka.create_topic(), tmp_path / "lake"
    kafka.send(topic, '{"id": 1}')
    assert Lake(folder, kafka.bootstrap, topic, {"columns": {"id": "int64"}}).run() == 0
    kafka.send(topic, '{"id": "two"}', b"\xff", '{"new": "x"}')
    drifted = {"columns": {"id": "text", "new": "text"}}
    frozen = Lake(folder, kafka.bootstrap, topic, {**drifted, "schema_contract": "freeze"})
    assert frozen.run() == 4
    assert frozen.rows() == 1
    lake = Lake(
        folder,
        kafka.bootstrap,
        topic,
        {**drifted, "schema_contract": {"columns": "evolve", "types": "discard_row"}},
    )
    assert lake.run() == 0
    found = lake.query("SELECT id, new FROM events ORDER BY _kafka_offset")
    assert found == [{"id": 1, "new": None}, {"id": None, "new": "x"}]
    aside = [(row["_kafka_offset"], row["_asgard_raw_value"]) for row in lake.aside()]
    assert aside == [(1, None), (2, b"\xff")]
    assert lake.aside()[0]["_asgard_reason"] == "schema_contract: id is no int64: two"
