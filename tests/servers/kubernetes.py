"""A real API server of Kubernetes with its etcd, on loopback, for `make test-cluster`.

kube-apiserver is compiled from its sources, which takes many minutes the first time, into .tools/servers;
etcd is Debian's, installed by apt where it is missing. Nothing here runs a pod: there is neither a scheduler
nor a kubelet, so a test plays the operator by writing to `/status`, and no pod has a log. One that cannot be
had is a failure, never a skip.

In tests: `shared_cluster()`, and a namespace of your own from it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import psutil
import urllib3

from tests.servers import postgres
from tests.servers.postgres import HOST, ServerFailed, leave_note

CACHE = Path(__file__).resolve().parents[2] / ".tools" / "servers"
VERSION = "1.34.4"
BUILD_SECONDS = 3600
START_SECONDS = 120
ADMIN_TOKEN = "c@nary-of-the-cluster"
STAGED = re.compile(r"^\s*(k8s\.io/\S+) => \./staging/", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A running API server, asked as its administrator."""

    url: str
    ca_file: str
    folder: Path

    def ask(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", token: str = ""
    ) -> Answer:
        """One request, by the administrator or whoever the token names."""
        with urllib3.PoolManager(ca_certs=self.ca_file) as pool:
            answer = pool.request(
                method,
                self.url + path,
                body=None if body is None else json.dumps(body),
                headers={"Authorization": f"Bearer {token or ADMIN_TOKEN}", "Content-Type": kind},
                retries=False,
                timeout=30,
            )
        return Answer(answer.status, json.loads(answer.data) if answer.data[:1] == b"{" else {})

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an object, which must not be there yet."""
        answer = self.ask("POST", path, body)
        assert answer.status in (200, 201), answer
        return answer.body

    def namespace(self) -> str:
        """A new namespace of its own name, so that tests do not see each other."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        self.make("/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def account_token(self, namespace: str, account: str) -> str:
        """A token of a service account, as the kubelet would put it into a pod."""
        asked = {"spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.make(path, asked)["status"]["token"])

    def client_certificate(self, user: str, group: str) -> tuple[str, str]:
        """Certificate and key, as PEM texts, of a user that the cluster's authority vouches for."""
        at = Path(tempfile.mkdtemp(prefix="client-", dir=self.folder))
        new = ("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/O={group}/CN={user}")
        _run([*new, "-keyout", str(at / "key"), "-out", str(at / "csr")])
        sign = ("openssl", "x509", "-req", "-days", "2", "-in", str(at / "csr"), "-out", str(at / "crt"))
        _run([*sign, "-CA", self.ca_file, "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial"])
        return (at / "crt").read_text(), (at / "key").read_text()

    def until_served(self, path: str) -> None:
        """Waits until a kind that was just defined is served."""
        for _ in range(START_SECONDS * 10):
            if self.ask("GET", path).status == 200:
                return
            time.sleep(0.1)
        raise ServerFailed(f"{path} is not served after {START_SECONDS} s")


def base64_of(text: str) -> str:
    """How kubeconfig and Secrets carry what is in a file."""
    return base64.b64encode(text.encode()).decode()


def shared_cluster() -> Cluster:
    """The session's API server, started by whichever worker asks first."""
    server = postgres.shared("kubernetes", _start)
    return Cluster(f"https://{server.host}:{server.port}", str(server.ca_file), Path(server.folder))


# ---- starting


def _start(root: Path) -> postgres.Server:
    programs = etcd_program(), apiserver_program()
    folder = Path(tempfile.mkdtemp(prefix="kubernetes-", dir=root))
    postgres.make_certificates(folder, postgres.Account())
    _run(["openssl", "genrsa", "-out", str(folder / "accounts.key"), "2048"])
    (folder / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')
    for _ in range(3):  # somebody else may take a free port first
        server = _launch(programs, folder)
        if server is not None:
            return server
    raise ServerFailed("kube-apiserver did not start:\n" + _tail(folder))


def _launch(programs: tuple[Path, Path], folder: Path) -> postgres.Server | None:
    """Starts both and waits until the API is ready; None if one of them ended, the logs say why."""
    ports = _free_ports(3)
    etcd = _noted("etcd", programs[0], _of_etcd(ports, folder), ports[0], folder)
    api = _noted("kubernetes", programs[1], _of_apiserver(ports, folder), ports[2], folder)
    with urllib3.PoolManager(ca_certs=str(folder / "ca.crt")) as pool:
        for _ in range(START_SECONDS * 5):
            try:
                headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
                url = f"https://{HOST}:{ports[2]}/readyz"
                if pool.request("GET", url, headers=headers, retries=False, timeout=5).status == 200:
                    return api
            except urllib3.exceptions.HTTPError:
                pass
            if not all(psutil.pid_exists(server.pid) and _runs(server.pid) for server in (etcd, api)):
                break
            time.sleep(0.2)
    for server in (api, etcd):
        (folder.parent / f"server-{server.port}.json").unlink()
        _end(server.pid)
    return None


def _noted(version: str, program: Path, arguments: Sequence[str], port: int, folder: Path) -> postgres.Server:
    with (folder / f"{version}.log").open("a") as log:
        process = subprocess.Popen(
            [str(program), *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
        )
    server = postgres.Server(
        version=version,
        host=HOST,
        port=port,
        user="admin",
        password=ADMIN_TOKEN,
        ca_file=str(folder / "ca.crt"),
        folder=str(folder),
        pid=process.pid,
        born=psutil.Process(process.pid).create_time(),
        ending=SIGTERM,
    )
    leave_note(server, folder.parent)
    process.returncode = 0  # it is stopped by its number, maybe by another process
    return server


def _of_etcd(ports: Sequence[int], folder: Path) -> list[str]:
    clients, peers = f"http://{HOST}:{ports[0]}", f"http://{HOST}:{ports[1]}"
    return [
        *("--data-dir", str(folder / f"etcd-{ports[0]}"), "--unsafe-no-fsync"),
        *("--listen-client-urls", clients, "--advertise-client-urls", clients),
        *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        *("--initial-cluster", f"default={peers}"),
    ]


def _of_apiserver(ports: Sequence[int], folder: Path) -> list[str]:
    key = str(folder / "accounts.key")
    options = {
        "etcd-servers": f"http://{HOST}:{ports[0]}",
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": str(ports[2]),
        "cert-dir": str(folder / "made"),
        "tls-cert-file": str(folder / "server.crt"),
        "tls-private-key-file": str(folder / "server.key"),
        "client-ca-file": str(folder / "ca.crt"),
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/24",
        "authorization-mode": "RBAC",
        "token-auth-file": str(folder / "tokens.csv"),
        # Nobody makes the default account of a new namespace here, which pods would wait for.
        "disable-admission-plugins": "ServiceAccount",
        "endpoint-reconciler-type": "none",
    }
    return [f"--{name}={value}" for name, value in options.items()]


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(pid: int) -> None:
    if _runs(pid):
        process = psutil.Process(pid)
        process.terminate()
        process.wait(20)


def _tail(folder: Path) -> str:
    logs = (folder / f"{name}.log" for name in ("etcd", "kubernetes"))
    return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())


# ---- the programs


def etcd_program() -> Path:
    """Debian's etcd, installed if it is missing, without the service that apt would start."""
    found = shutil.which("etcd")
    if found is None:
        if shutil.which("apt-get") is None:
            raise ServerFailed("etcd is missing and there is no apt-get: install etcd")
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        wait = ("-o", "DPkg::Lock::Timeout=120")
        _run([*sudo, "apt-get", "update", "-q"])
        _run([*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", *wait, "etcd-server"])
        found = shutil.which("etcd")
    if found is None:
        raise ServerFailed("apt installed etcd-server, and there is still no etcd in PATH")
    return Path(found)


def apiserver_program() -> Path:
    """kube-apiserver, compiled if it is missing; made whole or not at all."""
    home = CACHE / f"kube-apiserver-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"kube-apiserver-{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "kube-apiserver").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            (home / "go.mod").write_text(_module(home))
            label = f"-s -w -X k8s.io/component-base/version.gitVersion=v{VERSION}"
            what = ("-o", "kube-apiserver.new", "k8s.io/kubernetes/cmd/kube-apiserver")
            _run(["go", "build", "-mod=mod", "-p", "2", "-trimpath", "-ldflags", label, *what], home)
            (home / "kube-apiserver.new").rename(home / "kube-apiserver")
    return home / "kube-apiserver"


def _module(home: Path) -> str:
    """A module that needs Kubernetes alone. Its own parts have no version of their own there: they are named
    as the releases that they are also published by."""
    told = _run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"], home)
    parts = STAGED.findall(Path(json.loads(told)["GoMod"]).read_text())
    release = VERSION.partition(".")[2]
    lines = "".join(f"\t{part} => {part} v0.{release}\n" for part in parts)
    return f"module apiserver\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v{VERSION}\n\nreplace (\n{lines})\n"


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    except FileNotFoundError as error:
        raise ServerFailed(f"{command[0]} is missing: install it") from error
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout
