"""A real Kafka broker (KRaft, one node) for tests and benchmarks: on loopback, on free ports.

Kafka comes from Maven Central by `mvn` into .tools/servers, once; it is formatted once, and an archive of its
loaded classes brings its start from six seconds to less than two. It listens three times: in plain text, with
TLS and SASL (SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN), and in plain text once more with another address
advertised, for a faulty network in front of it. A broker that cannot start is a failure, never a skip.

In tests ask for the fixture `kafka`; elsewhere `with kafka_broker() as broker:`.

Reference: https://kafka.apache.org/documentation/#kraft
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.postgres import Account, ServerFailed, make_certificates

HOST = "127.0.0.1"
VERSION = "4.1.0"
USER = "asgard"
PASSWORD = "canary-k4fka-9d2"
START_SECONDS = 60
HOME = Path(__file__).resolve().parents[2] / ".tools" / "servers" / f"kafka-{VERSION}"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>asgard</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency>
</dependencies></project>
"""

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},FAULTY://127.0.0.1:{hidden},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SECURE://localhost:{secure},FAULTY://127.0.0.1:{faulty}
listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,FAULTY:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.secure.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={folder}/server.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.dirs={folder}/data
num.partitions=2
message.max.bytes=22000000
log.retention.ms=-1
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=100
log.cleaner.backoff.ms=200
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

JAVA = (
    *("setpriv", "--pdeathsig", "KILL", "java"),  # the broker never outlives the tests
    *("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
)


@dataclass
class Broker:
    """A broker, running or stopped.

    Attributes:
        bootstrap: the address without TLS, `host:port`.
        secure: the address with TLS and SASL; users are `USER` with `PASSWORD`.
        ca_file: the authority of its certificate.
        hidden_port, faulty_port: where a faulty network finds it, and where clients look for that network.
    """

    folder: Path
    bootstrap: str
    secure: str
    ca_file: str
    hidden_port: int
    faulty_port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Starts it, also again after `kill`: what it had stays."""
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [*JAVA, *_archive(), "-cp", _class_path(), "kafka.Kafka", str(self.folder / "properties")],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        host, _, port = self.bootstrap.partition(":")
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.05)
        self.kill()
        raise ServerFailed(f"Kafka did not start:\n{(self.folder / 'log').read_text()[-4000:]}")

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    def create_topic(self, partitions: int = 1, name: str = "", **settings: str) -> str:
        """A new topic, of a name of its own; dots in names of settings are written as underscores."""
        from confluent_kafka.admin import NewTopic

        name = name or f"t{uuid.uuid4().hex[:12]}"
        config = {key.replace("_", "."): value for key, value in settings.items()}
        admin = self.admin()  # kept: with it what it was asked would go
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
        return name

    def admin(self) -> Any:
        """A confluent_kafka AdminClient."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def producer(self, **settings: Any) -> Any:
        """A confluent_kafka Producer that repeats nothing; names of settings as for `create_topic`."""
        from confluent_kafka import Producer

        own = {"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "log_level": 0}
        more = {key.replace("_", "."): value for key, value in settings.items()}
        return Producer({**own, "message.max.bytes": 21_500_000, **more})

    def send(self, topic: str, *messages: Any, partition: int = 0) -> None:
        """Sends messages in their order, and waits for them: values, or dicts of `produce`'s arguments."""
        producer = self.producer()
        for message in messages:
            about = message if isinstance(message, dict) else {"value": message}
            producer.produce(topic, **{"partition": partition, **about})
        assert producer.flush(30) == 0

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._process = None


@contextmanager
def kafka_broker() -> Iterator[Broker]:
    """A broker for this block alone."""
    _install()
    folder = Path(tempfile.mkdtemp(prefix="asgard-kafka-"))
    broker = None
    try:
        broker = _prepared(folder)
        broker.start()
        yield broker
    finally:
        if broker is not None:
            broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _prepared(folder: Path) -> Broker:
    ports = dict(zip(("plain", "secure", "hidden", "faulty", "controller"), _free_ports(5), strict=True))
    ca_file = make_certificates(folder, Account())
    (folder / "server.pem").write_text(
        (folder / "server.key").read_text() + (folder / "server.crt").read_text()
    )
    shutil.copytree(HOME / "formatted", folder / "data")
    (folder / "properties").write_text(SETTINGS.format(folder=folder, user=USER, password=PASSWORD, **ports))
    return Broker(
        folder=folder,
        bootstrap=f"{HOST}:{ports['plain']}",
        secure=f"localhost:{ports['secure']}",
        ca_file=str(ca_file),
        hidden_port=ports["hidden"],
        faulty_port=ports["faulty"],
    )


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


# ---- installing


def _class_path() -> str:
    # Listed: with a wildcard Java would not take the archive, whose class path must be the same.
    return ":".join(str(jar) for jar in sorted((HOME / "libs").glob("*.jar")))


def _archive() -> list[str]:
    archive = HOME / "classes.jsa"
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive.exists() else []


def _install() -> None:
    """Kafka's jars, a formatted folder and the archive of classes; done by whoever comes first."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (HOME / "classes.jsa").exists():
            return
        for tool in ("java", "mvn", "openssl", "setpriv"):
            if shutil.which(tool) is None:
                raise ServerFailed(
                    f"Kafka needs {tool}: apt-get install openjdk-17-jre-headless maven openssl util-linux"
                )
        (HOME / "pom.xml").write_text(POM)
        get = ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime")
        _run(*get, f"-DoutputDirectory={HOME / 'libs'}")
        _format()
        _archive_classes()


def _format() -> None:
    shutil.rmtree(HOME / "formatted", ignore_errors=True)
    settings = HOME / "format.properties"
    ports = {"plain": 1, "secure": 2, "hidden": 3, "faulty": 4, "controller": 5}
    text = SETTINGS.format(folder=HOME, user=USER, password=PASSWORD, **ports)
    settings.write_text(text.replace(f"log.dirs={HOME}/data", f"log.dirs={HOME}/formatted"))
    scram = [f"--add-scram=SCRAM-SHA-{n}=[name={USER},password={PASSWORD}]" for n in (256, 512)]
    tool = ("java", "-cp", _class_path(), "kafka.tools.StorageTool", "format", "-t", "YXNnYXJkLWthZmthLWlkMQ")
    _run(*tool, "-c", str(settings), *scram)


def _archive_classes() -> None:
    """Starts a broker once, and keeps the classes that it loaded."""
    folder = Path(tempfile.mkdtemp(prefix="asgard-kafka-"))
    try:
        broker = _prepared(folder)
        draft = HOME / "classes.part"
        command = [*JAVA, f"-XX:ArchiveClassesAtExit={draft}", "-cp", _class_path(), "kafka.Kafka"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, str(folder / "properties")], stdout=log, stderr=log)
        host, _, port = broker.bootstrap.partition(":")
        for _ in range(START_SECONDS * 10):
            with suppress(OSError), socket.create_connection((host, int(port)), 1):
                break
            time.sleep(0.1)
        process.terminate()
        process.wait(60)
        if not draft.exists():
            raise ServerFailed(f"Kafka left no archive of classes:\n{(folder / 'log').read_text()[-4000:]}")
        draft.rename(HOME / "classes.jsa")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
