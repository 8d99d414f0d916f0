"""A cluster that does not answer: in plain words where, why, and what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asgard.connectors._kafka.reach import no_answer, parted
from asgard.connectors.kafka import KafkaConfig, KafkaSource
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Unreachable
from tests.servers.api import Api
from tests.servers.kafka import PASSWORD, USER, Broker

SIGN_IN = {"username": USER, "password": PASSWORD, "sasl_mechanism": "SCRAM-SHA-512"}


def failure(topic: str = "", **config: Any) -> AsgardError:
    """What `check` says, or who asks for a topic."""
    settings = {"connection_timeout_seconds": 1, **config}
    with (
        KafkaSource(KafkaConfig.model_validate(settings), "log") as source,
        pytest.raises(AsgardError) as told,
    ):
        source.describe(topic) if topic else source.check()
    text = str(told.value) + told.value.hint
    assert PASSWORD not in text
    assert "_TRANSPORT" not in text
    return told.value


@pytest.fixture
def closed() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_nobody_listens(closed: str) -> None:
    told = failure(bootstrap_servers=closed)
    assert isinstance(told, Unreachable)
    assert told.what == f"no broker at {closed} answered within 1 s: connection refused"
    assert "whether the broker runs" in told.hint
    several = failure(bootstrap_servers=f"{closed},no-such-host.invalid:9092")
    assert f"{closed}: connection refused" in several.what
    assert "there is no host 'no-such-host.invalid'" in several.what


def test_there_is_no_such_host() -> None:
    told = failure(bootstrap_servers="no-such-host.invalid:9092")
    assert isinstance(told, Unreachable)
    assert "there is no host 'no-such-host.invalid'" in told.what
    assert told.hint == "check the name in bootstrap_servers"


def test_the_first_answer_is_not_waited_for_as_long_as_later_ones(silent: str) -> None:
    config = KafkaConfig.model_validate({"bootstrap_servers": silent, "connection_timeout": 1})
    assert (config.connection_timeout_seconds, config.timeout_seconds) == (1, 30)
    began = time.monotonic()
    assert "gives no answer of Kafka's" in failure(bootstrap_servers=silent).what
    assert time.monotonic() - began < 25
    with KafkaSource(config, "log") as source, pytest.raises(Unreachable, match="gives no answer of Kafka's"):
        source.describe("orders")


def test_something_else_than_kafka_answers() -> None:
    with Api() as api:
        told = failure(bootstrap_servers=api.url.removeprefix("http://"))
    assert isinstance(told, ConfigError | Unreachable)
    assert api.url.removeprefix("http://") in told.what


def test_tls_where_there_is_none_and_none_where_there_is(kafka: Broker) -> None:
    plain = failure(bootstrap_servers=kafka.secure)
    assert isinstance(plain, Unreachable)
    assert "the port speaks TLS" in plain.what
    assert "security_protocol: ssl" in plain.hint
    unsafe = failure(bootstrap_servers=kafka.secure, **SIGN_IN, security_protocol="sasl_plaintext")
    assert "the port speaks TLS" in unsafe.what
    tls = failure(bootstrap_servers=kafka.bootstrap, security_protocol="ssl", ca_file=kafka.ca_file)
    assert "the port speaks no TLS" in tls.what
    assert "security_protocol: plaintext" in tls.hint


def test_certificates_that_do_not_prove_the_broker(kafka: Broker) -> None:
    unknown = failure(bootstrap_servers=kafka.secure, **SIGN_IN)
    assert isinstance(unknown, ConfigError)
    assert "ca_file must name the authorities" in unknown.hint


def test_sign_ins_that_fail(kafka: Broker) -> None:
    safe = {"bootstrap_servers": kafka.secure, "ca_file": kafka.ca_file}
    wrong = failure(**safe, **{**SIGN_IN, "password": "wr0ng"})
    assert isinstance(wrong, AuthenticationError)
    assert wrong.hint == "check username, password and sasl_mechanism"
    nobody = failure(**safe, security_protocol="ssl")
    assert isinstance(nobody, Unreachable)
    assert "one that wants a username" in nobody.hint
    needless = failure(bootstrap_servers=kafka.bootstrap, **SIGN_IN, security_protocol="sasl_plaintext")
    assert isinstance(needless, AuthenticationError)
    assert "leave username out" in needless.hint


def test_a_broker_is_advertised_where_nobody_finds_it(kafka: Broker) -> None:
    topic = kafka.create_topic()
    told = failure(topic, bootstrap_servers=f"127.0.0.1:{kafka.hidden_port}")
    assert isinstance(told, Unreachable)
    assert f"says that a broker is at 127.0.0.1:{kafka.faulty_port}, and there: Connect to" in told.what
    assert "advertised.listeners" in told.hint


def test_a_leader_that_is_gone_is_not_asked_for_ever(kafka: Broker) -> None:
    topic = kafka.create_topic()
    config = KafkaConfig.model_validate({"bootstrap_servers": f"127.0.0.1:{kafka.hidden_port}",
                                         "timeout_seconds": 1})  # fmt: skip
    session = KafkaSource(config, "log")._session
    for wanted in ("earliest", "latest", 1_700_000_000_000):
        with pytest.raises(Unreachable):
            session.offsets(topic, {0: wanted})


def test_addresses_are_parted() -> None:
    assert parted("broker1:9093") == ("broker1", 9093)
    assert parted("SASL_SSL://broker1:9093") == ("broker1", 9093)
    assert parted("broker1") == ("broker1", 9092)
    assert parted("[::1]:9093") == ("::1", 9093)


def test_the_last_of_what_was_told_of_an_advertised_broker_counts() -> None:
    told = [
        "a:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        "sasl_ssl://inner:9092/7: Failed to resolve 'inner:9092': Name or service not known (after 2ms in "
        "state CONNECT, 3 identical error(s) suppressed)",
        "1/2 brokers are down",
    ]
    error = no_answer("a:1", told, tls=True, seconds=10)
    assert error.what == (
        "no broker at a:1 answered within 10 s: the cluster says that a broker is at inner:9092, and there: "
        "Failed to resolve 'inner:9092': Name or service not known"
    )
