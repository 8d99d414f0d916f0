"""Apache Kafka: topics as tables, each message once, from partitions that are assigned and never negotiated.

How far a topic was read is kept with the rows in the table's own commit, by partition and offset, so a
message is in the table exactly once whatever is killed; no consumer group takes part. Only committed
transactions are shown. Values and keys are bytes, text, JSON, Avro or Protobuf, by a schema registry where
there is one; what cannot be decoded goes to the quarantine with its bytes, and stops nobody.

A plain run reads up to what is committed when it begins, `asgard run --follow` goes on. `start` says where a
first load begins: with the oldest message, the next one, an instant or offsets.

Reference: https://kafka.apache.org/documentation/, https://kafka.apache.org/protocol,
https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from asgard.connectors._kafka.avro import AvroDecoder
from asgard.connectors._kafka.client import Access, Session, access_of
from asgard.connectors._kafka.offsets import Standing, Wish, bounds, edge_of, instant_milliseconds
from asgard.connectors._kafka.protobuf import ProtobufDecoder
from asgard.connectors._kafka.reader import KafkaReader, Log
from asgard.connectors._kafka.registry import Registry
from asgard.connectors._kafka.rows import KEY, OFFSET, PARTITION, Rows, schema_of
from asgard.connectors._kafka.values import (
    Decoder,
    JsonColumnsDecoder,
    JsonDecoder,
    RawDecoder,
    TextDecoder,
    UnframedDecoder,
)
from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError, QueryError
from asgard.core.position import Position, Token
from asgard.core.secret import Secret, reveal
from asgard.core.source import Example, Feature, Plan, Reader, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import ColumnTypes
from asgard.transport.http import HttpSettings

EDGE_WORDS = ("earliest", "latest")


def _checked_edge(value: Any) -> Any:
    if isinstance(value, str) and value not in EDGE_WORDS:
        try:
            instant_milliseconds(value, "it")
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.hint}") from error
    return value


Edge = Annotated[str | dict[int, int], BeforeValidator(edge_of), AfterValidator(_checked_edge)]
"""`earliest`, `latest`, an instant, or offsets by partition."""


class SchemaRegistryConfig(Config):
    """Where schemas are registered, by Confluent's API."""

    url: str = Field(min_length=1, description="http://host:8081, or what the API's paths come behind.")
    username: str | None = None
    password: Secret | None = None
    ca_file: LocalPath | None = Field(
        default=None, description="PEM file of the authorities that its certificate is checked by."
    )


class KafkaConfig(Config):
    """How the cluster is reached."""

    bootstrap_servers: str = Field(
        validation_alias=AliasChoices("bootstrap_servers", "brokers", "hosts"),
        min_length=1,
        description="Brokers to ask first: host:port, several with commas between them.",
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] | None = Field(
        default=None,
        description="By default sasl_ssl with a username, ssl with a certificate, else plaintext.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="How the username is proved."
    )
    username: str | None = None
    password: Secret | None = None
    ca_file: LocalPath | None = Field(
        default=None,
        description="PEM file of the authorities that certificates are checked by; else the system's.",
    )
    certificate_file: LocalPath | None = Field(
        default=None, description="PEM file of our own certificate, where brokers ask for one."
    )
    key_file: LocalPath | None = Field(default=None, description="PEM file of its key.")
    key_password: Secret | None = Field(default=None, description="Of the key file.")
    schema_registry: SchemaRegistryConfig | None = Field(
        default=None, description="Where the schemas of Avro and Protobuf messages are registered."
    )
    group_id: str | None = Field(
        default=None,
        min_length=1,
        description="A consumer group that is told how far the lake is, for monitoring; never read.",
    )
    connection_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        validation_alias=AliasChoices("connection_timeout_seconds", "connection_timeout"),
        description="How long the first answer may take.",
    )
    timeout_seconds: float = Field(
        default=30.0, gt=0, description="How long brokers that have answered may be silent."
    )


class KafkaStreamOptions(Config):
    """How one topic is read."""

    format: Literal["raw", "text", "json", "avro", "protobuf"] = Field(
        default="json",
        description="What values are: raw bytes, UTF-8 text, JSON; Avro or Protobuf by the schema registry.",
    )
    key_format: Literal["raw", "text", "json"] = Field(
        default="text", description="What keys are: raw bytes, UTF-8 text or JSON."
    )
    subject: str | None = Field(
        default=None,
        min_length=1,
        description="The subject of the values' schema; the topic's name with -value behind it by default.",
    )
    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Fields of JSON values that become columns, and their types; all the rest stays JSON in "
        "_rescued. Without any the whole value is one column.",
    )
    start: Edge = Field(
        default="earliest",
        description="Where a first load begins: earliest, latest, an instant such as "
        "2026-01-31T10:00:00Z, or {partition: offset}.",
    )
    stop: Edge | None = Field(
        default=None, description="Where reading ends, in the same words; by default with what there is."
    )
    lost_offsets: Literal["fail", "earliest"] = Field(
        default="fail",
        description="When the broker has deleted what was to be read next: fail, or go on at the earliest.",
    )


class KafkaSource(Source):
    """One Kafka cluster."""

    type = "kafka"
    Config = KafkaConfig
    StreamOptions = KafkaStreamOptions
    features = Feature.CURSOR | Feature.LATE_COMMITS | Feature.ENDLESS
    extra = "kafka"
    examples = (
        Example(
            "JSON messages as they are",
            {"type": "kafka", "bootstrap_servers": "localhost:9092", "tables": [{"name": "orders"}]},
            note="One run reads what is there; asgard run --follow goes on.",
        ),
        Example(
            "Fields as columns, from an instant on",
            {
                "type": "kafka",
                "bootstrap_servers": "broker1:9093,broker2:9093",
                "username": "reader",
                "password": "${KAFKA_PASSWORD}",
                "sasl_mechanism": "SCRAM-SHA-512",
                "tables": [
                    {
                        "name": "orders",
                        "columns": {"id": "int64", "amount": "decimal(12, 2)", "placed_at": "timestamptz"},
                        "start": "2026-01-01T00:00:00Z",
                    }
                ],
            },
            note="What a message has besides goes to _rescued; nothing is dropped.",
        ),
        Example(
            "Avro by a schema registry",
            {
                "type": "kafka",
                "bootstrap_servers": "localhost:9092",
                "schema_registry": {"url": "http://localhost:8081"},
                "tables": [{"name": "payments", "format": "avro"}],
            },
        ),
        Example(
            "The newest message of every key",
            {
                "type": "kafka",
                "bootstrap_servers": "localhost:9092",
                "tables": [{"name": "customers", "mode": "merge", "primary_key": "_kafka_key"}],
            },
            note="A key whose newest message is a tombstone stays, with _kafka_tombstone true.",
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: Session | None = None

    def check(self) -> None:
        """Asks for the names of the topics."""
        self._session.topics()

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """The topics that the user may see, Kafka's own left out, with the columns of JSON values."""
        for name in self._session.topics():
            if fnmatchcase(name, pattern):
                yield self._stream(name, KafkaStreamOptions())

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One topic; its columns are known by the options alone."""
        try:
            self._session.topic(name)
        except QueryError as error:
            names = self._session.topics()
            near = get_close_matches(name, names, 3, 0.5)
            raise QueryError(
                f"there is no topic {name!r}",
                hint=f"did you mean {' or '.join(near)}?"
                if near
                else f"there are: {', '.join(names) or 'none'}",
            ) from error
        return self._stream(name, options or KafkaStreamOptions())

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """One split for each topic: one reader takes all its partitions, at the speed of the driver.

        Bounded plans end behind the last transaction that is committed now; `until` is a token of the topic.
        """
        splits, tokens, warnings = [], {}, self._risks()
        for selection in selections:
            stream = selection.stream
            options: KafkaStreamOptions = selection.options or KafkaStreamOptions()
            position = since.get(stream.id)
            topic = self._session.topic(stream.name)
            wish = Wish(
                options.start,
                Standing.from_token(until).offsets if until else options.stop,
                options.lost_offsets == "earliest",
                selection.endless,
            )
            found = bounds(self._session, topic, position.token if position else None, wish)
            warnings += found.warnings
            start = found.start.to_token()
            spec = {"start": start, "stop": None, "options": options.model_dump(mode="json")}
            if found.stop is not None:
                spec["stop"] = {str(number): offset for number, offset in found.stop.items()}
                tokens[stream.id] = _ended(found.start, found.stop).to_token()
            splits.append(Split(stream.id, stream.id, spec))
        return Plan(splits, tokens, warnings=warnings)

    def open(self, split: Split, since: Token | None = None) -> Reader:
        """A reader of all partitions, from the plan's start or from a token of the split."""
        self.settings.cancel.check()
        options = KafkaStreamOptions.model_validate(split.spec["options"])
        stop = split.spec["stop"]
        log = Log(
            split,
            Standing.from_token(since or split.spec["start"]),
            None if stop is None else {int(number): offset for number, offset in stop.items()},
            self.config.group_id or "",
            2 * self.settings.batch_bytes,
        )
        access = self._access()
        # A session of its own: a source's is used by one thread, readers by theirs.
        session = Session(access, self.settings.cancel)
        rows = Rows(*self._decoders(split.stream, options))
        return KafkaReader(access, session, log, rows, self.settings.cancel)

    def close(self) -> None:
        """Gives the connections back."""
        self._known = None

    @property
    def _session(self) -> Session:
        if self._known is None:
            self._known = Session(self._access(), self.settings.cancel)
        return self._known

    def _access(self) -> Access:
        config: KafkaConfig = self.config
        options = (
            ("bootstrap.servers", config.bootstrap_servers),
            ("security.protocol", _protocol(config)),
            ("sasl.mechanism", config.sasl_mechanism if config.username else None),
            ("sasl.username", config.username),
            ("sasl.password", reveal(config.password)),
            ("ssl.ca.location", config.ca_file),
            ("ssl.certificate.location", config.certificate_file),
            ("ssl.key.location", config.key_file),
            ("ssl.key.password", reveal(config.key_password)),
        )
        secrets = (reveal(config.password), reveal(config.key_password))
        return access_of(options, (config.timeout_seconds, config.connection_timeout_seconds), secrets)

    def _risks(self) -> list[str]:
        if _protocol(self.config) == "sasl_plaintext":
            return [
                "the password and all messages go over the network unencrypted: security_protocol: sasl_ssl"
            ]
        return []

    def _stream(self, name: str, options: KafkaStreamOptions) -> Stream:
        schema = schema_of(*self._decoders(name, options))
        return Stream(name, name, "", schema, (PARTITION, OFFSET), (OFFSET,))

    def _decoders(self, topic: str, options: KafkaStreamOptions) -> tuple[Decoder, Decoder]:
        """Of keys, and of values."""
        keys = {"raw": RawDecoder, "text": TextDecoder, "json": JsonDecoder}
        return keys[options.key_format](KEY), self._value_decoder(topic, options)

    def _value_decoder(self, topic: str, options: KafkaStreamOptions) -> Decoder:
        if options.columns and options.format != "json":
            raise ConfigError(
                f"columns are fields of JSON, and {topic} is {options.format}", hint=_NO_COLUMNS
            )
        subject = options.subject or f"{topic}-value"
        if options.format == "avro":
            return AvroDecoder(self._registry(), subject)
        if options.format == "protobuf":
            return ProtobufDecoder(self._registry(), subject)
        if options.format == "json":
            decoder = JsonColumnsDecoder(options.columns) if options.columns else JsonDecoder()
            return UnframedDecoder(decoder) if self.config.schema_registry else decoder
        return RawDecoder() if options.format == "raw" else TextDecoder()

    def _registry(self) -> Registry:
        about: SchemaRegistryConfig | None = self.config.schema_registry
        if about is None:
            raise ConfigError(
                "Avro and Protobuf need a schema registry",
                hint="schema_registry: {url: http://localhost:8081}",
            )
        password = reveal(about.password) or ""
        settings = HttpSettings(
            base_url=about.url,
            headers={"Accept": "application/vnd.schemaregistry.v1+json"},
            basic=(about.username, password) if about.username else None,
            secrets=(password,) if password else (),
            timeout_seconds=self.config.timeout_seconds,
            ca_file=about.ca_file,
        )
        return Registry(settings, self.settings.cancel)


_NO_COLUMNS = "leave columns out: the schema says which there are"


def _protocol(config: KafkaConfig) -> str:
    if config.security_protocol:
        return config.security_protocol
    if config.username:
        return "sasl_ssl"
    return "ssl" if config.ca_file or config.certificate_file else "plaintext"


def _ended(start: Standing, stop: Mapping[int, int]) -> Standing:
    """Where a bounded plan ends. Terms stay where nothing is read: only a reader learns newer ones."""
    terms = {n: term for n, term in start.terms.items() if stop.get(n) == start.offsets[n]}
    return Standing(start.topic, start.topic_id, {**start.offsets, **stop}, terms)


CONNECTOR = KafkaSource
