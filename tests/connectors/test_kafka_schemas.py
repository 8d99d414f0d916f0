"""Avro and Protobuf through a schema registry: every type, schemas that move on, messages that are broken."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastavro import parse_schema, schemaless_writer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from asgard.connectors.kafka import KafkaConfig, KafkaSource, KafkaStreamOptions
from asgard.core.errors import AuthenticationError, ConfigError, QueryError
from asgard.core.types import canonical_batch, canonical_schema
from tests.connectors.test_kafka import read
from tests.servers.api import Api, Reply
from tests.servers.kafka import Broker
from tests.servers.registry import apicurio

SECRET = "canary-reg1stry"

CITY = [{"name": "city", "type": "string"}]
EVERY = {
    "type": "record",
    "name": "Every",
    "namespace": "shop",
    "fields": [
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "int"},
        {"name": "big", "type": "long"},
        {"name": "single", "type": "float"},
        {"name": "double", "type": "double"},
        {"name": "raw", "type": "bytes"},
        {"name": "text", "type": ["null", "string"], "default": None},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "clock", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}},
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
        {
            "name": "address",
            "type": [
                "null",
                {"type": "record", "name": "Address", "fields": [{"name": "city", "type": "string"}]},
            ],
        },
        {"name": "other", "type": ["null", "shop.Address"]},
        {"name": "either", "type": ["int", "string", "bytes"]},
        {
            "name": "tree",
            "type": {
                "type": "record",
                "name": "Tree",
                "fields": [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Tree"]}],
            },
        },
    ],
}
ROW: dict[str, Any] = {
    "flag": True, "small": -(2**31), "big": 2**63 - 1, "single": 0.5, "double": math.pi, "raw": b"\x00\xff",
    "text": "é", "day": -719162, "at": 253402300799999999, "local": -1, "clock": 86_399_999_999,
    "amount": Decimal("123456789012345678901234567890123456.78"),
    "id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "colour": "BLUE", "hash": b"ab", "tags": ["a", None], "counts": {"x": 1}, "address": {"city": "Rome"},
    "other": None, "either": "5", "tree": {"v": 1, "next": {"v": 2, "next": None}},
}  # fmt: skip

PROTO = """
syntax = "proto3";
package shop;
enum Colour { RED = 0; BLUE = 1; }
message Ignored { int32 x = 1; }
message Every {
  message Address { string city = 1; }
  bool flag = 1; int32 small = 2; sint64 big = 3; uint64 huge = 4; float single = 5; double real = 6;
  bytes raw = 7; optional string text = 8; Colour colour = 9; repeated int32 numbers = 10;
  map<string, Address> places = 11; Address address = 12; Every child = 13; fixed32 fixed = 14;
}
"""


class StandIn:
    """A registry that answers as Confluent's documentation says."""

    def __init__(self, api: Api) -> None:
        self.url = api.url
        self._api = api
        self._count = 0

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        self._count += 1
        number = self._count
        document = {"schema": schema, **({} if kind == "AVRO" else {"schemaType": kind})}
        newest = {"subject": subject, "version": number, "id": number, **document}
        self._api.on(f"/schemas/ids/{number}", self._signed(document))
        self._api.on(f"/subjects/{subject}/versions/latest", self._signed(newest))
        return number

    @staticmethod
    def _signed(document: dict[str, Any]) -> Callable[[Api.Asked], Reply]:
        def answer(asked: Api.Asked) -> Reply:
            if "authorization" in asked.headers and "cmVhZGVy" not in asked.headers["authorization"]:
                return Reply(401, {"error_code": 40101, "message": f"not {asked.headers['authorization']}"})
            return Reply(200, document)

        return answer


@pytest.fixture
def registry() -> Iterator[StandIn]:
    with Api() as api:
        yield StandIn(api)


def source_of(broker: Broker, url: str, **registry: Any) -> KafkaSource:
    about = {"url": url, **registry}
    return KafkaSource(
        KafkaConfig.model_validate(
            {"bootstrap_servers": broker.bootstrap, "timeout_seconds": 5, "schema_registry": about}
        ),
        "log",
    )


def avro(number: int, schema: Any, row: Any) -> bytes:
    body = io.BytesIO()
    schemaless_writer(body, parse_schema(schema), row)
    return b"\x00" + number.to_bytes(4, "big") + body.getvalue()


def protobuf(number: int, proto: str, row: dict[str, Any], folder: Path, path: bytes = b"\x02\x02") -> bytes:
    """A message of the file's second type: one index, which is 1, both in zigzag."""
    (folder / "x.proto").write_text(proto)
    command = ["", f"-I{folder}", f"--descriptor_set_out={folder / 'out'}", str(folder / "x.proto")]
    assert protoc.main(command) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "out").read_bytes()).file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Every"))
    return b"\x00" + number.to_bytes(4, "big") + path + kind(**row).SerializeToString()


def test_every_avro_type_comes_exactly(kafka: Broker, registry: StandIn) -> None:
    _check_avro(kafka, registry)


@pytest.mark.cluster
def test_every_avro_type_comes_exactly_by_a_real_registry(kafka: Broker) -> None:
    with apicurio() as real:
        _check_avro(kafka, real)


def _check_avro(kafka: Broker, registry: Any) -> None:
    topic = kafka.create_topic()
    number = registry.register(f"{topic}-value", json.dumps(EVERY))
    kafka.send(topic, avro(number, EVERY, ROW), {"key": "gone", "value": None})
    with source_of(kafka, registry.url) as source:
        stream = source.describe(topic, KafkaStreamOptions(format="avro"))
        rows, _, rejected = read(source, topic, format="avro")
    assert not rejected
    row = rows[0]
    plain = {name: row[name] for name in ROW if name not in ("at", "day", "local", "clock", "either", "tree")}
    assert plain == {**{name: ROW[name] for name in plain}, "counts": [("x", 1)]}
    assert (row["either"], row["tree"]) == ('"5"', '{"v":1,"next":{"v":2,"next":null}}')
    assert row["_rescued"] is None
    assert [str(row[name]) for name in ("day", "at", "clock")] == [
        "0001-01-01", "9999-12-31 23:59:59.999999+00:00", "23:59:59.999999"
    ]  # fmt: skip
    assert row["local"].isoformat() == "1969-12-31T23:59:59.999000"
    assert rows[1]["_kafka_tombstone"]
    assert all(rows[1][name] is None for name in ROW)
    assert stream.schema.field("amount").type == pa.decimal128(38, 2)
    assert stream.schema.field("id").metadata == {b"asgard.type": b"uuid"}
    batch = pa.RecordBatch.from_pylist(rows, stream.schema)
    canonical_batch(batch, canonical_schema(stream.schema))  # the lake carries all of it


def test_avro_schemas_move_on_and_nothing_is_dropped(kafka: Broker, registry: StandIn) -> None:
    def schema(*fields: tuple[str, Any]) -> dict[str, Any]:
        return {"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields]}

    topic = kafka.create_topic()
    old = schema(("id", "int"), ("gone", "string"), ("note", "string"))
    new = schema(("id", "long"), ("note", "long"), ("more", ["null", "string"]))
    first = registry.register("own", json.dumps(old))
    second = registry.register("own", json.dumps(new))
    kafka.send(
        topic,
        avro(second, new, {"id": 2**40, "note": 7, "more": "x"}),
        avro(first, old, {"id": 1, "gone": "kept", "note": "text"}),
        avro(second, new, {"id": 3, "note": 8, "more": None}),
        b"\x00\x00\x00\x03\xe7rest",
        b"no frame",
        avro(second, new, {"id": 3, "note": 8, "more": None}) + b"tail",
        avro(first, old, {"id": 1, "gone": "kept", "note": "text"})[:-2],
    )
    with source_of(kafka, registry.url) as source:
        rows, _, rejected = read(source, topic, format="avro", subject="own")
    assert [(row["id"], row["note"], row["more"], row["_rescued"]) for row in rows] == [
        (2**40, 7, "x", None),
        (1, None, None, '{"note":"text","gone":"kept"}'),
        (3, 8, None, None),
    ]
    reasons = [row["_asgard_reason"] for row in rejected]
    assert [one["_kafka_offset"] for one in rejected] == [3, 4, 5, 6]
    assert "has no schema 999" in reasons[0]
    assert "does not begin with the number of a schema" in reasons[1]
    assert "ends 4 bytes before" in reasons[2]
    assert "is not what its schema says" in reasons[3]


def test_every_protobuf_type_comes_exactly(kafka: Broker, registry: StandIn, tmp_path: Path) -> None:
    _check_protobuf(kafka, registry, tmp_path)


@pytest.mark.cluster
def test_every_protobuf_type_comes_exactly_by_a_real_registry(kafka: Broker, tmp_path: Path) -> None:
    with apicurio() as real:
        _check_protobuf(kafka, real, tmp_path)


def _check_protobuf(kafka: Broker, registry: Any, folder: Path) -> None:
    proto = PROTO.replace("message Ignored { int32 x = 1; }\n", "") + "message Ignored { int32 x = 1; }\n"
    topic = kafka.create_topic()
    number = registry.register(f"{topic}-value", proto, "PROTOBUF")
    row = {
        "flag": True, "small": -5, "big": -(2**63), "huge": 2**64 - 1, "single": 0.5, "real": math.pi,
        "raw": b"\x00\xff", "text": "", "colour": 1, "numbers": [1, -1], "places": {"r": {"city": "Rome"}},
        "address": {"city": ""}, "child": {"small": 3}, "fixed": 2**32 - 1,
    }  # fmt: skip
    kafka.send(
        topic,
        protobuf(number, proto, row, folder, b"\x00"),
        protobuf(number, proto, {}, folder, b"\x02\x00"),
        protobuf(number, proto + "// new", {"colour": 7}, folder, b"\x00"),
        protobuf(number, proto.replace("= 14", "= 15"), {"fixed": 1}, folder, b"\x00"),
        protobuf(number, proto, row, folder, b"\x00")[:-1],
        protobuf(number, proto, row, folder, b"\x02\x12"),
    )
    with source_of(kafka, registry.url) as source:
        rows, _, rejected = read(source, topic, format="protobuf")
    first = {name: rows[0][name] for name in row}
    assert first == {**row, "colour": "BLUE", "places": [("r", {"city": "Rome"})], "child": '{"small":3}'}
    empty = {name: rows[1][name] for name in ("flag", "big", "text", "colour", "numbers", "address", "child")}
    assert empty == {"flag": False, "big": 0, "text": None, "colour": "RED", "numbers": [], "address": None,
                     "child": None}  # fmt: skip
    assert rows[2]["colour"] == "7"
    assert [one["_asgard_reason"].split(";")[0] for one in rejected] == [
        "value: it has fields that its schema does not have",
        "value: it is not what its schema says",
        "value: its schema has no message [9]",
    ]


def test_protobuf_schemas_move_on_and_messages_have_a_path(
    kafka: Broker, registry: StandIn, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    first = registry.register(f"{topic}-value", PROTO, "PROTOBUF")
    newer = 'syntax = "proto3"; package shop; message Every { int64 small = 2; string real = 6; }'
    registry.register(f"{topic}-value", newer, "PROTOBUF")
    kafka.send(topic, protobuf(first, PROTO, {"small": 1, "real": 0.5, "text": "t"}, tmp_path))
    with source_of(kafka, registry.url) as source:
        rows, _, rejected = read(source, topic, format="protobuf")
    assert not rejected
    assert (rows[0]["small"], rows[0]["real"]) == (1, None)
    assert json.loads(rows[0]["_rescued"]) == {"real": 0.5, "text": "t"}


def test_json_may_stand_behind_the_number_of_its_schema(kafka: Broker, registry: StandIn) -> None:
    topic = kafka.create_topic()
    kafka.send(topic, b'\x00\x00\x00\x00\x01{"n": 1}', '{"n": 2}')
    with source_of(kafka, registry.url) as source:
        assert [row["value"] for row in read(source, topic)[0]] == ['{"n": 1}', '{"n": 2}']


def test_what_is_wrong_with_the_registry_is_said(kafka: Broker, registry: StandIn) -> None:
    topic = kafka.create_topic()
    options = KafkaStreamOptions(format="avro")
    with source_of(kafka, registry.url) as source, pytest.raises(QueryError, match="no subject"):
        source.describe(topic, options)
    registry.register(f"{topic}-value", PROTO, "PROTOBUF")
    with source_of(kafka, registry.url) as source, pytest.raises(QueryError, match="is PROTOBUF") as wrong:
        source.describe(topic, options)
    assert wrong.value.hint == "format: protobuf"
    with (
        source_of(kafka, registry.url, username="somebody", password=SECRET) as source,
        pytest.raises(AuthenticationError) as refused,
    ):
        source.describe(topic, options)
    assert SECRET not in str(refused.value)
    with (
        KafkaSource(KafkaConfig(bootstrap_servers=kafka.bootstrap)) as source,
        pytest.raises(ConfigError, match="need a schema registry"),
    ):
        source.describe(topic, options)
