"""Every type that messages have, through a real broker: what arrives, and what is rescued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.connectors.kafka import KafkaStreamOptions
from asgard.core.types import canonical_batch, canonical_schema
from tests.connectors.kafka_types import AVRO, JSON, PROTOBUF, Field, avro_schema, proto_schema, rescued
from tests.connectors.test_kafka import read
from tests.connectors.test_kafka_schemas import StandIn, avro, protobuf, registry, source_of
from tests.connectors.type_pages import Case, told
from tests.servers.kafka import Broker

__all__ = ["registry"]


@pytest.mark.parametrize("field", JSON, ids=lambda field: field.word)
def test_fields_of_json_as_they_are_asked_for(kafka: Broker, registry: StandIn, field: Field) -> None:
    topic = kafka.create_topic()
    values = [*(value for value, _ in field.taken), *field.rescued]
    kafka.send(topic, *(f'{{"x": {value}}}' for value in values))
    with source_of(kafka, registry.url) as source:
        rows, _, rejected = read(source, topic, columns={"x": field.word})
    assert not rejected
    taken = [arrived for _, arrived in field.taken]
    assert told(row["x"] for row in rows) == told([*taken, *(None for _ in field.rescued)])
    assert [row["_rescued"] for row in rows] == [*(None for _ in taken), *map(rescued, field.rescued)]


def checked(rows: Sequence[dict[str, Any]], schema: pa.Schema, cases: Sequence[Case]) -> None:
    """That each case arrived in its field, and that the lake carries all of them."""
    for number, case in enumerate(cases):
        field = schema.field(f"f{number}")
        label = (field.metadata or {}).get(b"asgard.type", b"").decode()
        type = str(field.type).replace(f" ('{field.name}')", "")
        assert (case.made, type, label) == (case.made, case.arrow, case.label)
        assert (case.made, told([rows[0][field.name]])) == (case.made, told(case.wanted))
    assert rows[0]["_rescued"] is None
    canonical_batch(pa.RecordBatch.from_pylist(list(rows), schema), canonical_schema(schema))


def test_every_type_of_avro(kafka: Broker, registry: StandIn) -> None:
    topic, schema = kafka.create_topic(), avro_schema()
    number = registry.register(f"{topic}-value", json.dumps(schema))
    kafka.send(topic, avro(number, schema, {f"f{n}": case.given[0] for n, case in enumerate(AVRO)}))
    with source_of(kafka, registry.url) as source:
        stream = source.describe(topic, KafkaStreamOptions(format="avro"))
        rows, _, rejected = read(source, topic, format="avro")
    assert not rejected
    checked(rows, stream.schema, AVRO)


def test_every_type_of_protobuf(kafka: Broker, registry: StandIn, tmp_path: Path) -> None:
    topic, schema = kafka.create_topic(), proto_schema()
    number = registry.register(f"{topic}-value", schema, "PROTOBUF")
    row = {f"f{n}": case.given[0] for n, case in enumerate(PROTOBUF)}
    kafka.send(topic, protobuf(number, schema, row, tmp_path, b"\x00"))
    with source_of(kafka, registry.url) as source:
        stream = source.describe(topic, KafkaStreamOptions(format="protobuf"))
        rows, _, rejected = read(source, topic, format="protobuf")
    assert not rejected
    checked(rows, stream.schema, PROTOBUF)
