"""mongo-java-server for tests: MongoDB's protocol and query language in memory, on loopback, with TLS.

It is not MongoDB itself, of which no package can be had: it has no sessions, snapshots, views or shards, and
forgets subtypes of binaries. Signing in is ours (MongoServer.java). It comes from Maven Central by `mvn` into
.tools/servers, once. A server that cannot start is a failure, never a skip.

In tests ask for the fixture `mongodb`; elsewhere `with mongo_server() as server:`.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
from pymongo.database import Database

from tests.servers.postgres import Account, ServerFailed, make_certificates

HOST = "127.0.0.1"
VERSION = "1.47.0"
USER = "asgard"
# Every character that a URI has to quote; what it must never do is turn up in a text.
PASSWORD = "c@nary p:w/d?'%1\\x"
START_SECONDS = 60
SOURCE = Path(__file__).with_name("MongoServer.java")
HOME = Path(__file__).resolve().parents[2] / ".tools" / "servers" / f"mongo-java-server-{VERSION}"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>asgard</groupId><artifactId>mongodb</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>de.bwaldvogel</groupId><artifactId>mongo-java-server</artifactId>
<version>{VERSION}</version></dependency>
</dependencies></project>
"""
HEAP_MEGABYTES = 256
JAVA = (
    *("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-Djava.util.Arrays.useLegacyMergeSort=true",  # its $sample sorts by an order that is none
)


@dataclass(frozen=True)
class MongoServer:
    """A running server and its user. `ca_file` is set where it speaks TLS, and nothing else."""

    port: int
    ca_file: str | None = None
    host: str = HOST
    user: str = USER
    password: str = PASSWORD
    pid: int | None = None

    @contextmanager
    def database(self) -> Iterator[Database[dict[str, Any]]]:
        """A new database of its own name, dropped afterwards."""
        tls: dict[str, Any] = {"tls": True, "tlsCAFile": self.ca_file} if self.ca_file else {}
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            self.host, self.port, username=self.user, password=self.password, **tls
        )
        name = f"t_{uuid.uuid4().hex[:16]}"
        with client:
            yield client[name]
            client.drop_database(name)


@contextmanager
def mongo_server(tls: bool = False, heap_megabytes: int = HEAP_MEGABYTES) -> Iterator[MongoServer]:
    """A server for this block alone. It ends when its standard input does: with us, however we end."""
    classes = _installed()
    folder = Path(tempfile.mkdtemp(prefix="asgard-mongodb-"))
    keys, ca_file = _keys(folder) if tls else ("", None)
    with socket.create_server((HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *JAVA,
                f"-Xmx{heap_megabytes}m",
                "-cp",
                f"{classes}:{HOME}/libs/*",
                "Server",
                str(port),
                USER,
                PASSWORD,
                keys,
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        _await(process, port, folder / "log")
        yield MongoServer(port, ca_file, pid=process.pid)
    finally:
        process.kill()
        process.wait(20)
        if process.stdin:
            process.stdin.close()
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise ServerFailed(f"mongo-java-server did not start:\n{log.read_text()[-4000:]}")


def _keys(folder: Path) -> tuple[str, str]:
    """A key store for the server, and the file of its authority."""
    ca_file = make_certificates(folder, Account())
    keys = folder / "keys.p12"
    _run(
        *("openssl", "pkcs12", "-export", "-name", "1", "-passout", "pass:test", "-out", str(keys)),
        *("-inkey", str(folder / "server.key"), "-in", str(folder / "server.crt")),
    )
    return str(keys), str(ca_file)


def _installed() -> Path:
    """The folder of our own classes; libraries and classes are made where they are missing."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HOME / "complete").exists():
            (HOME / "pom.xml").write_text(POM)
            libraries = (f"-DoutputDirectory={HOME / 'libs'}", "-DincludeScope=runtime")
            _run("mvn", "-q", "-B", "-f", str(HOME / "pom.xml"), "dependency:copy-dependencies", *libraries)
            (HOME / "complete").touch()
        classes = HOME / "classes"
        compiled = classes / "Server.class"
        if not compiled.exists() or compiled.stat().st_mtime < SOURCE.stat().st_mtime:
            _run("javac", "-cp", f"{HOME}/libs/*", "-d", str(classes), str(SOURCE))
    return classes


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except FileNotFoundError as error:
        raise ServerFailed(f"mongo-java-server needs {command[0]}: install a JDK and Maven") from error
    if done.returncode:
        raise ServerFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
