"""A real schema registry for tests: Apicurio, with Confluent's API, on loopback; needs Java 21 or newer.

It comes from Maven Central by `mvn` into .tools/servers, once (160 MB), and takes about 15 seconds to start.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.servers.postgres import ServerFailed

VERSION = "3.3.3"
HOME = Path(__file__).resolve().parents[2] / ".tools" / "servers" / f"apicurio-{VERSION}"
START_SECONDS = 120


@dataclass(frozen=True)
class RealRegistry:
    """A running registry; `url` is what Confluent's paths come behind."""

    url: str

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """Registers a schema; its number."""
        body = json.dumps({"schema": schema, "schemaType": kind}).encode()
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions",
            body,
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["id"])


@contextmanager
def apicurio() -> Iterator[RealRegistry]:
    """A registry for this block alone."""
    _install()
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="asgard-apicurio-"))
    options = [f"-Dquarkus.http.port={ports[0]}", f"-Dquarkus.management.port={ports[1]}"]
    for room in ("http", "management"):
        options.append(f"-Dquarkus.{room}.host=127.0.0.1")
    memory = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    storage = ("-Dapicurio.storage.kind=sql", "-Dapicurio.storage.sql.kind=h2")
    command = ["setpriv", "--pdeathsig", "KILL", _java(), *memory, *storage, *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-jar", str(HOME / "quarkus-run.jar")], cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{ports[0]}/apis/ccompat/v7"
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{url}/subjects", timeout=2):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise ServerFailed(f"Apicurio did not start:\n{(folder / 'log').read_text()[-4000:]}")
            time.sleep(0.2)
        yield RealRegistry(url)
    finally:
        process.kill()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _java() -> str:
    for found in [*Path("/usr/lib/jvm").glob("*/bin/java"), Path(shutil.which("java") or "java")]:
        with suppress(OSError):
            told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
            version = told.partition('"')[2].partition(".")[0].partition('"')[0]
            if version.isdigit() and int(version) >= 21:
                return str(found)
    raise ServerFailed("Apicurio needs Java 21 or newer: apt-get install openjdk-21-jre-headless")


def _install() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (HOME / "quarkus-run.jar").exists():
            return
        copy = (
            "mvn",
            "-q",
            "-B",
            "dependency:copy",
            "-Dmdep.stripVersion=false",
            f"-DoutputDirectory={HOME}",
        )
        artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        done = subprocess.run([*copy, f"-Dartifact={artifact}"], capture_output=True, text=True, check=False)
        (archive,) = HOME.glob("*.tar.gz") if done.returncode == 0 else [None]
        if archive is None:
            raise ServerFailed(f"mvn could not bring Apicurio:\n{done.stdout}{done.stderr}")
        with tarfile.open(archive) as packed:
            packed.extractall(HOME, filter="data")
        archive.unlink()
