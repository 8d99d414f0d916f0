"""Iceberg's own REST catalog server for tests: on loopback, over SQLite, with a token, gone afterwards.

It is the reference implementation of Iceberg's tests (`RESTCatalogServlet` over `JdbcCatalog`), started by a
main class of ours (IcebergServer.java): 34 MB from Maven Central by `mvn` into .tools/servers, once; it
answers in a second. One server of a session has a catalog for each test, told apart by the first step of the
path. A server that cannot start is a failure, never a skip.

In tests `shared_iceberg_rest().catalog()`; elsewhere `with iceberg_rest_server() as server:`.

Reference: https://iceberg.apache.org/rest-catalog-spec/
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import urllib3

from tests.servers import postgres
from tests.servers.postgres import HOST, ServerFailed, held_root, leave_note

VERSION = "1.11.0"
KIND = "iceberg-rest"
CLIENT = "asgard"
# Client secrets and tokens are told apart from all other text by this word; it must never turn up in any.
SECRET = "canary-iceberg-secret"
TOKEN = "canary-iceberg-token"
START_SECONDS = 60
SOURCE = Path(__file__).with_name("IcebergServer.java")
HOME = Path(__file__).resolve().parents[2] / ".tools" / "servers" / f"{KIND}-{VERSION}"
JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>asgard</groupId><artifactId>iceberg-rest</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.iceberg</groupId><artifactId>iceberg-core</artifactId>
<version>{VERSION}</version></dependency>
<dependency><groupId>org.apache.iceberg</groupId><artifactId>iceberg-core</artifactId>
<version>{VERSION}</version><classifier>tests</classifier></dependency>
<dependency><groupId>org.eclipse.jetty.ee10</groupId><artifactId>jetty-ee10-servlet</artifactId>
<version>12.1.0</version></dependency>
<dependency><groupId>org.xerial</groupId><artifactId>sqlite-jdbc</artifactId>
<version>3.50.3.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId>
<version>2.0.17</version></dependency>
</dependencies></project>
"""


@dataclass(frozen=True)
class RestServer:
    """A running server. It knows one client, and gives it one token."""

    url: str
    pid: int

    def catalog(self, name: str = "") -> str:
        """The URI of a catalog: of a new, empty one by default."""
        return f"{self.url}/{name or uuid.uuid4().hex[:12]}"

    def properties(self, uri: str, **more: str) -> dict[str, str]:
        """The same for `pyiceberg.catalog.load_catalog`, with the client's credential."""
        who = {"credential": f"{CLIENT}:{SECRET}", "oauth2-server-uri": f"{uri}/v1/oauth/tokens"}
        return {"type": "rest", "uri": uri, **who, **more}

    def config(self, uri: str, **more: Any) -> dict[str, Any]:
        """What a project file says of a catalog under `lake: catalog:`."""
        return {"type": "rest", "uri": uri, "credential": f"{CLIENT}:{SECRET}", **more}


def shared_iceberg_rest() -> RestServer:
    """The session's server, started by whichever worker asks first."""
    return _described(postgres.shared(KIND, _start))


@contextmanager
def iceberg_rest_server() -> Iterator[RestServer]:
    """A server for this block alone, outside of pytest too."""
    with held_root() as root:
        yield _described(_start(root))


def _described(server: postgres.Server) -> RestServer:
    return RestServer(f"http://{server.host}:{server.port}", server.pid)


def _start(root: Path) -> postgres.Server:
    classes = _installed()
    folder = Path(tempfile.mkdtemp(prefix=f"{KIND}-", dir=root))
    for _ in range(3):  # somebody else may take the free port first
        server = _launch(classes, folder)
        if server is not None:
            return server
    raise ServerFailed(f"the REST catalog did not start:\n{(folder / 'log').read_text()[-2000:]}")


def _launch(classes: Path, folder: Path) -> postgres.Server | None:
    """Starts the server and waits until it answers; None if it ended, its log says why."""
    with socket.create_server((HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    path = f"{classes}{os.pathsep}{HOME / 'jars'}/*"
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [*JAVA, "-cp", path, "IcebergServer", str(port), str(folder), CLIENT, SECRET, TOKEN],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
        )
    server = postgres.Server(
        version=KIND,
        host=HOST,
        port=port,
        user=CLIENT,
        password=SECRET,
        ca_file=None,
        folder=str(folder),
        pid=process.pid,
        born=psutil.Process(process.pid).create_time(),
        ending=signal.SIGKILL,  # nothing in it is to be kept
    )
    note = leave_note(server, folder.parent)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(urllib3.exceptions.HTTPError):
            if (
                urllib3.request("GET", f"http://{HOST}:{port}/up/v1/config", timeout=2, retries=False).status
                == 401
            ):
                process.returncode = 0  # it is stopped by its number, maybe by another process
                return server
        try:
            process.wait(0.05)
            note.unlink()
            return None
        except subprocess.TimeoutExpired:
            pass
    server.stop()
    raise ServerFailed(f"the REST catalog was not ready after {START_SECONDS} s: {folder / 'log'}")


def _installed() -> Path:
    """The folder of our own classes; jars and classes are made where they are missing."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HOME / "jars").exists():
            (HOME / "pom.xml").write_text(POM)
            draft = f"-DoutputDirectory={HOME / 'draft'}"
            _run("mvn", "-q", "-B", "-f", str(HOME / "pom.xml"), "dependency:copy-dependencies", draft)
            (HOME / "draft").rename(HOME / "jars")
        classes = HOME / "classes"
        compiled = classes / "IcebergServer.class"
        if not compiled.exists() or compiled.stat().st_mtime < SOURCE.stat().st_mtime:
            shutil.rmtree(classes, ignore_errors=True)
            _run("javac", "-cp", f"{HOME}/jars/*", "-d", str(classes), str(SOURCE))
    return classes


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except FileNotFoundError as error:
        raise ServerFailed(f"the REST catalog needs {command[0]}: install a JDK and Maven") from error
    if done.returncode:
        raise ServerFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
