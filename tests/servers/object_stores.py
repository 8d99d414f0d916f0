"""Object stores for tests: on loopback and free ports, in memory or a folder of their own, gone afterwards.

moto stands in for S3 and STS, Azurite for Azure: both are there within seconds. MinIO and fake-gcs-server are
built from their sources, which takes minutes the first time, and are for `make test-cluster`. Each is
installed below .tools/servers where it is missing; one that cannot start is a failure, never a skip.

In tests: `shared_store("moto")`; elsewhere `with object_store("moto") as server:`.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import urllib3

from asgard.transport.aws import Keys, signed_params
from tests.servers import postgres
from tests.servers.postgres import HOST, ServerFailed, held_root, leave_note

CACHE = Path(__file__).resolve().parents[2] / ".tools" / "servers"
ACCESS_KEY = "asgardtestkey"
# A secret with the characters that URLs and signatures trip over.
SECRET_KEY = "c@nary/s3+secret=%25"
AZURE_KEY = "Y2FuYXJ5IGtleSBvZiBhIHRlc3QgYWNjb3VudCwgMzIgYnl0ZXM="
AZURE_ACCOUNT = "asgardtest"
MOTO = "moto[s3,server]==5.2.5"
AZURITE = "azurite@3.35.0"
START_SECONDS = 60
BUILD_SECONDS = 1800


@dataclass(frozen=True)
class Kind:
    """How a store is had, started, and known to be ready.

    Attributes:
        program: gives the file to run, installed if it is missing.
        arguments: port and data folder to what stands behind the program.
        ready: a path that is answered when it is up, if only by a refusal.
    """

    program: Callable[[], Path]
    arguments: Callable[[int, Path], Sequence[str]]
    ready: str = "/"


@dataclass(frozen=True)
class ObjectServer:
    """A running store."""

    kind: str
    url: str
    pid: int | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def s3_config(self, bucket: str, **more: Any) -> dict[str, Any]:
        """What the connector `s3` wants to know."""
        return {
            "bucket": bucket,
            "endpoint_url": self.url,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "region": "us-east-1",
            **more,
        }

    def azure_config(self, container: str, **more: Any) -> dict[str, Any]:
        """What the connector `azure` wants to know."""
        return {
            "container": container,
            "account": AZURE_ACCOUNT,
            "account_key": AZURE_KEY,
            "endpoint_url": f"{self.url}/{AZURE_ACCOUNT}",
            **more,
        }


def shared_store(kind: str) -> ObjectServer:
    """The session's server of this kind, started by whichever worker asks first."""
    return _described(postgres.shared(kind, lambda root: _start(kind, root)))


@contextmanager
def object_store(kind: str) -> Iterator[ObjectServer]:
    """A server for this block alone, outside of pytest too."""
    with held_root() as root:
        yield _described(_start(kind, root))


def _described(server: postgres.Server) -> ObjectServer:
    return ObjectServer(server.version, f"http://{server.host}:{server.port}", server.pid)


def _start(kind: str, root: Path) -> postgres.Server:
    program = KINDS[kind].program()
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=root))
    for _ in range(3):  # somebody else may take the free port first
        server = _launch(kind, program, folder)
        if server is not None:
            return server
    raise ServerFailed(f"{kind} did not start:\n{(folder / 'log').read_text()[-2000:]}")


def _launch(kind: str, program: Path, folder: Path) -> postgres.Server | None:
    """Starts the server and waits until it answers; None if it ended, its log says why."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    settings = {
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}",
        "HOME": str(folder),
    }
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [str(program), *KINDS[kind].arguments(port, folder)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
        )
    server = postgres.Server(
        version=kind,
        host=HOST,
        port=port,
        user=ACCESS_KEY,
        password=SECRET_KEY,
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
            url = f"http://{HOST}:{port}{KINDS[kind].ready}"
            if urllib3.request("GET", url, timeout=2, retries=False).status < 500:
                process.returncode = 0  # it is stopped by its number, maybe by another process
                return server
        try:
            process.wait(0.05)
            note.unlink()
            return None
        except subprocess.TimeoutExpired:
            pass
    server.stop()
    raise ServerFailed(f"{kind} was not ready after {START_SECONDS} s: {folder / 'log'}")


# ---- where they come from


def _installed(name: str, install: Callable[[Path], None], program: str) -> Path:
    """The program in a folder of its own below .tools/servers; made whole or not at all."""
    home = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / program).exists():
            shutil.rmtree(home, ignore_errors=True)
            try:
                install(home)
            except BaseException:
                shutil.rmtree(home, ignore_errors=True)
                raise
    return home / program


def _run(command: Sequence[str], seconds: int = 600, **environment: str) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except FileNotFoundError as error:
        raise ServerFailed(f"{command[0]} is missing: install it") from error
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _moto() -> Path:
    def install(home: Path) -> None:
        _run([sys.executable, "-m", "venv", str(home)])
        python = str(home / "bin" / "python")
        quick = CACHE.parent / "bin" / "uv"  # there after `make setup`
        pip = (
            [str(quick), "pip", "install", "--python", python]
            if quick.exists()
            else [python, "-m", "pip", "install"]
        )
        _run([*pip, "-q", MOTO])

    return _installed("moto-5.2.5", install, "bin/moto_server")


def _azurite() -> Path:
    def install(home: Path) -> None:
        home.mkdir()
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), AZURITE])

    return _installed("azurite-3.35.0", install, "node_modules/.bin/azurite-blob")


def _go(name: str, package: str) -> Callable[[], Path]:
    def install(home: Path) -> None:
        (home / "bin").mkdir(parents=True)
        command = ["go", "install", "-trimpath", "-ldflags", "-s -w", package]
        _run(command, BUILD_SECONDS, CGO_ENABLED="0", GOBIN=str(home / "bin"))

    return lambda: _installed(name, install, f"bin/{name}")


KINDS = {
    "moto": Kind(_moto, lambda port, _: ("-H", HOST, "-p", str(port))),
    "minio": Kind(
        _go("minio", "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"),
        lambda port, folder: ("server", "--address", f"{HOST}:{port}", "--quiet", str(folder / "data")),
    ),
    "azurite": Kind(
        _azurite,
        lambda port, folder: (
            *("--blobHost", HOST, "--blobPort", str(port), "--location", str(folder / "data")),
            *("--skipApiVersionCheck", "--silent"),
        ),
    ),
    "fake-gcs-server": Kind(
        _go("fake-gcs-server", "github.com/fsouza/fake-gcs-server@v1.56.1"),
        lambda port, _: (
            *("-backend", "memory", "-scheme", "http", "-host", HOST, "-port", str(port)),
            *("-public-host", f"{HOST}:{port}"),
        ),
    ),
}


# ---- what tests put into them


def new_bucket(server: ObjectServer) -> str:
    """A new, empty bucket of S3 of its own name, so that tests do not see each other."""
    name = f"t-{uuid.uuid4().hex[:16]}"
    s3_request(server, "PUT", f"/{name}")
    return name


def s3_request(server: ObjectServer, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
    """A request of S3 that the clients under test cannot make, signed by their own signer."""
    params = dict.fromkeys(filter(None, query.split("&")), "")
    by = (Keys(ACCESS_KEY, SECRET_KEY), "us-east-1", "s3")
    whole = signed_params(method, f"{server.url}{path}", params, by, datetime.now(UTC))
    answer = urllib3.request(method, f"{server.url}{path}?{urlencode(whole)}", body=body, retries=False)
    assert answer.status < 300, answer.data
    return answer.data


def new_container(server: ObjectServer) -> str:
    """A new, empty container of Azurite."""
    name, now = f"t-{uuid.uuid4().hex[:16]}", datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    path = f"/{AZURE_ACCOUNT}/{name}"
    told = f"x-ms-date:{now}\nx-ms-version:2023-11-03\n/{AZURE_ACCOUNT}{path}\nrestype:container"
    text = "PUT" + "\n" * 12 + told
    signed = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")).decode()
    headers = {
        "x-ms-date": now,
        "x-ms-version": "2023-11-03",
        "Authorization": f"SharedKey {AZURE_ACCOUNT}:{signed}",
    }
    url = f"{server.url}{path}?restype=container"
    answer = urllib3.request("PUT", url, headers=headers, retries=False)
    assert answer.status == 201, answer.data
    return name
