"""Sessions with a Kafka cluster: how it is spoken to, what it is asked, and what its errors mean.

The one place that knows confluent-kafka (librdkafka). Nothing here joins a consumer group: who reads which
partition from which offset is ours to say.

Reference: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md,
https://kafka.apache.org/protocol#protocol_error_codes
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asgard.connectors._kafka.reach import no_answer, sign_in_hint, tls_hint
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    DataError,
    PositionLost,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import redact

Result = TypeVar("Result")
ASK_SECONDS = 0.2
"""How long the driver is waited for before a cancel or an error that it told aside is looked for."""

MOST_TOLD = 100
"""Errors that the driver told aside and that are kept; it goes on telling as long as nobody answers."""

EARLIEST, LATEST = "earliest", "latest"

_REFUSED = {
    "TOPIC_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
}
_NOT_THERE = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID",
              "TOPIC_EXCEPTION"}  # fmt: skip
_LOST = {"OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET", "_LOG_TRUNCATION", "INCONSISTENT_TOPIC_ID"}
_AWAY = {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_RESOLVE", "_MSG_TIMED_OUT",
         "NETWORK_EXCEPTION", "BROKER_NOT_AVAILABLE", "_WAIT_COORD", "_DESTROY",
         "_NOENT"}  # fmt: skip
_DAMAGED = {"_BAD_MSG", "_BAD_COMPRESSION", "INVALID_MSG", "CORRUPT_MESSAGE"}
GROUP_ERRORS = frozenset({"GROUP_AUTHORIZATION_FAILED", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR",
                          "COORDINATOR_LOAD_IN_PROGRESS"})  # fmt: skip
"""Of the consumer group, which is for onlookers alone: reading goes on without it."""
LOST_HINT = (
    "asgard resync reads the topic anew from what it still holds; `lost_offsets: earliest` goes on there "
    "by itself, and says how much is gone"
)


@dataclass(frozen=True)
class Access:
    """How a cluster is spoken to.

    Attributes:
        settings: librdkafka's own, secrets among them.
        timeout_seconds: how long brokers that have answered may be silent.
        connection_timeout_seconds: how long the first answer may take.
        secrets: values that no text may show.
    """

    settings: Mapping[str, Any] = field(repr=False)
    timeout_seconds: float
    connection_timeout_seconds: float
    secrets: tuple[str, ...] = field(repr=False)

    def unanswered(self, told: Iterable[Any], seconds: float) -> Unreachable:
        """The error about brokers that were silent for so long, from what the driver told meanwhile."""
        said = [redact(one.str(), list(self.secrets)) for one in told if hasattr(one, "str")]
        tls = "ssl" in str(self.settings.get("security.protocol", ""))
        return no_answer(str(self.settings["bootstrap.servers"]), said, tls=tls, seconds=seconds)

    def translated(self, error: Any, **where: str) -> AsgardError:
        """The error of ours for one of the driver's (KafkaException or KafkaError)."""
        inner, name = _inner(error), _name_of(error)
        retriable = bool(hasattr(inner, "retriable") and inner.retriable())
        said = redact(inner.str() if hasattr(inner, "str") else str(inner), list(self.secrets))
        return _as_ours(name, f"{said} ({name})", retriable).at(**where)


def _inner(error: Any) -> Any:
    return error.args[0] if isinstance(error, Exception) and error.args else error


def _name_of(error: Any) -> str:
    inner = _inner(error)
    return str(inner.name()) if hasattr(inner, "name") else type(error).__name__


def _as_ours(name: str, what: str, retriable: bool) -> AsgardError:
    if "AUTHENTICATION" in name:
        return AuthenticationError(what, hint=sign_in_hint(what))
    if name in _REFUSED:
        return Refused(
            what, hint="the user needs DESCRIBE and READ on the topic, and DESCRIBE on the cluster"
        )
    if name in _NOT_THERE:
        return QueryError(what, hint="asgard discover lists the topics that there are")
    if name in _LOST:
        return PositionLost(what, hint=LOST_HINT)
    if name in _DAMAGED and "APIVERSION_QUERY" in what:  # the first answer of all
        return ConfigError(what, hint="it is no broker that answers there: check bootstrap_servers")
    if name in _DAMAGED:
        return DataError(what, hint="the broker's log or the network damages messages; look at the broker")
    if name == "_SSL":
        return ConfigError(what, hint=tls_hint(what))
    if name == "_INVALID_ARG":
        return ConfigError(what, hint="an option has a value that Kafka's client does not take")
    if name in _AWAY or retriable:
        return Unreachable(what, hint="check bootstrap_servers, and whether the brokers run")
    return Unreachable(what, hint="look at the broker's log")


@dataclass(frozen=True)
class Topic:
    """A topic as it is now.

    Attributes:
        id: Kafka's own, another one when a topic of the name is made anew; empty from brokers before 2.8.
    """

    name: str
    id: str
    partitions: tuple[int, ...]


class Session:
    """Questions to a cluster. Used by one thread."""

    def __init__(self, access: Access, cancel: Cancel) -> None:
        self._access = access
        self._cancel = cancel
        self._told: deque[Any] = deque(maxlen=MOST_TOLD)
        self._answered = False
        settings = {**access.settings, "error_cb": self._told.append}
        try:
            self._admin = driver().admin.AdminClient(settings)
        except AsgardError:
            raise
        except Exception as error:
            raise access.translated(error) from error

    def topics(self) -> list[str]:
        """Names of all topics but Kafka's own, sorted.

        Raises:
            AuthenticationError, Refused, Unreachable, ConfigError: as the cluster said.
        """
        # Asked for all: asking for one by this call would make it on many clusters.
        found = self._repeated(lambda: self._admin.list_topics(timeout=ASK_SECONDS))
        return sorted(name for name in found.topics if not name.startswith("__"))

    def topic(self, name: str) -> Topic:
        """One topic, asked for so that it is not made by the asking.

        Raises:
            QueryError: there is none of the name; the hint names near ones.
        """
        return as_topic(name, self.answer(self.topic_soon(name), topic=name))

    def topic_soon(self, name: str) -> Future[Any]:
        """The same without waiting: what the driver will answer, for `as_topic`."""
        found: Future[Any] = self._admin.describe_topics(
            driver().TopicCollection([name]), request_timeout=self._access.timeout_seconds
        )[name]
        return found

    def offsets(self, topic: str, wanted: Mapping[int, str | int]) -> dict[int, int]:
        """Offsets by partition, of what is committed.

        Args:
            wanted: partition to `earliest`, `latest` (behind the last committed transaction) or an instant
                in milliseconds: then the first message since; behind the last where there is none.
        """
        if not wanted:
            return {}
        kafka = driver()
        spec = kafka.admin.OffsetSpec
        asked = {}
        for partition, what in wanted.items():
            named = {EARLIEST: spec.earliest, LATEST: spec.latest}.get(str(what))
            asked[kafka.TopicPartition(topic, partition)] = named() if named else spec.for_timestamp(what)
        answers = self._admin.list_offsets(
            asked,
            isolation_level=kafka.IsolationLevel.READ_COMMITTED,
            request_timeout=self._access.timeout_seconds,
        )
        found = {at.partition: self.answer(soon, topic=topic).offset for at, soon in answers.items()}
        missing = [partition for partition, offset in found.items() if offset < 0]
        if any(wanted[partition] in (EARLIEST, LATEST) for partition in missing):
            # The driver's way to say that the leader was not found: every log has a beginning and an end.
            raise self._access.unanswered(self._told, self._access.timeout_seconds).at(topic=topic)
        return {**found, **self.offsets(topic, dict.fromkeys(missing, LATEST))}

    def answer(self, future: Future[Any], **where: str) -> Any:
        """What a question brings; errors that the driver tells aside end the waiting."""
        seconds = self._patience
        end = time.monotonic() + seconds + 1
        while not future.done() and time.monotonic() < end:
            self._admin.poll(0)
            self._look_aside()
            self._cancel.check()
            time.sleep(0.005)
        try:
            found = future.result(timeout=0)
        except TimeoutError as error:
            raise self._access.unanswered(self._told, seconds).at(**where) from error
        except Exception as error:
            raise self._final(error, seconds).at(**where) from error
        self._answered = True
        return found

    def _repeated(self, ask: Callable[[], Result]) -> Result:
        """Asks in short turns, until there is an answer, a final error, or no time left."""
        seconds = self._patience
        end = time.monotonic() + seconds
        while True:
            self._cancel.check()
            try:
                found = ask()
            except Exception as error:
                self._admin.poll(0)
                self._look_aside()
                if not self._access.translated(error).retryable or time.monotonic() > end:
                    raise self._final(error, seconds) from error
            else:
                self._answered = True
                return found

    @property
    def _patience(self) -> float:
        """Seconds that an answer may take; nobody waits long for who never answered."""
        longest = self._access.timeout_seconds
        return longest if self._answered else min(longest, self._access.connection_timeout_seconds)

    def _final(self, error: Any, seconds: float) -> AsgardError:
        """The error of ours that a question ends with."""
        ours = self._access.translated(error)
        silent = isinstance(ours, Unreachable) and _name_of(error) in _AWAY
        return self._access.unanswered(self._told, seconds) if silent else ours

    def _look_aside(self) -> None:
        for told in self._told:
            ours = self._access.translated(told)
            if not ours.retryable:
                raise ours


def as_topic(name: str, about: Any) -> Topic:
    """The topic of an answer to `topic_soon`."""
    topic_id = "" if about.topic_id is None else str(about.topic_id)
    return Topic(name, topic_id, tuple(sorted(part.id for part in about.partitions)))


def driver() -> Any:
    """confluent_kafka.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise ConfigError(
            f"the driver of Kafka is not there: {error}", hint="pip install 'asgard-platform[kafka]'"
        ) from error
    return confluent_kafka


def consumer(access: Access, settings: Mapping[str, Any], told: Callable[[Any], None]) -> Any:
    """A consumer that belongs to no group's assignment and keeps no offsets of its own.

    Args:
        settings: of librdkafka, besides those of the access.
        told: called with errors that concern no single message.
    """
    own = {
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # never elsewhere without a word
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "enable.partition.eof": True,
        "check.crcs": True,
        "error_cb": told,
    }
    try:
        return driver().Consumer({**access.settings, **own, **settings})
    except AsgardError:
        raise
    except Exception as error:
        raise access.translated(error) from error


def places(topic: str, offsets: Mapping[int, int], epochs: Mapping[int, int] | None = None) -> list[Any]:
    """Offsets as the driver takes them.

    Args:
        epochs: the leader's term in which the message before the offset was written, where known: a broker
            that lost messages since then is found out by it.
    """
    terms, place = epochs or {}, driver().TopicPartition
    return [
        place(topic, partition, offset, leader_epoch=terms[partition])
        if partition in terms
        else place(topic, partition, offset)
        for partition, offset in sorted(offsets.items())
    ]


def access_of(
    options: Iterable[tuple[str, Any]],
    timeouts_seconds: tuple[float, float],
    secrets: Iterable[str | None],
) -> Access:
    """The access with these settings of librdkafka; those that are None are left out.

    Args:
        timeouts_seconds: for any answer, and for the first.
    """
    timeout_seconds, connection_timeout_seconds = timeouts_seconds
    common = {
        "log_level": 0,  # errors are told as errors, not to stderr
        "client.id": "asgard",
        "socket.keepalive.enable": True,
        "socket.timeout.ms": int(timeout_seconds * 1000),
        "reconnect.backoff.max.ms": 2000,
    }
    settings = {**common, **{key: value for key, value in options if value is not None}}
    known = tuple(secret for secret in secrets if secret)
    return Access(settings, timeout_seconds, connection_timeout_seconds, known)
