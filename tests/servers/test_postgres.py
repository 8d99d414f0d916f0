"""The test servers themselves: what other tests take for granted about them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from tests.conftest import REPOSITORY
from tests.servers.postgres import PASSWORD, Server, ServerFailed, postgres_server


@pytest.fixture(params=["pg15", "pg16", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def test_is_the_version_it_says(server: Server) -> None:
    assert server.execute("SHOW server_version")[0][0].split(".")[0] == server.version


def test_is_as_the_tests_need_it(server: Server) -> None:
    names = ["wal_level", "password_encryption", "server_encoding", "max_connections", "listen_addresses"]
    found = [server.execute(f"SHOW {name}")[0][0] for name in names]
    assert found == ["logical", "scram-sha-256", "UTF8", "100", "127.0.0.1"]
    assert server.execute("SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == [("C.UTF-8",)]


def test_listens_on_loopback_only(server: Server) -> None:
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections("all") if c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]


def test_wants_the_password(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="wrong"))


def test_fresh_databases_do_not_see_each_other(server: Server) -> None:
    one, two = server.create_database(), server.create_database()
    server.execute("CREATE TABLE t (i int); INSERT INTO t VALUES (1), (2)", one)
    assert server.execute("SELECT count(*) FROM t", one) == [(2,)]
    with pytest.raises(psycopg.errors.UndefinedTable):
        server.execute("SELECT count(*) FROM t", two)
    for name in (one, two):
        server.drop_database(name)


def test_speaks_tls_and_nothing_else(pg15: Server) -> None:
    assert pg15.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [
        (True, "TLSv1.3")
    ]
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(pg15.dsn(sslmode="disable"))
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(pg15.dsn(sslrootcert="system"))
    with psycopg.connect(pg15.dsn(host="localhost")) as by_name:
        assert by_name.pgconn.ssl_in_use


def test_a_server_of_ones_own_goes_with_its_block() -> None:
    begun = time.monotonic()
    with postgres_server("16", "work_mem = '7MB'\n") as server:
        assert time.monotonic() - begun < 20
        assert server.execute("SHOW work_mem") == [("7MB",)]
        assert server.password == PASSWORD
    assert not psutil.pid_exists(server.pid) or psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE
    assert not os.path.exists(server.folder)


def test_a_server_that_cannot_start_fails_with_its_log() -> None:
    with (
        pytest.raises(ServerFailed, match="unrecognized configuration parameter"),
        postgres_server("18", "nonsense = 1\n"),
    ):
        pass
    with pytest.raises(ServerFailed, match="no PostgreSQL 9"), postgres_server("9"):
        pass


def test_the_servers_of_a_killed_session_are_stopped_by_the_next() -> None:
    session = (
        "import os, signal\n"
        "from tests.servers.postgres import session_servers, shared_server\n"
        "with session_servers():\n"
        "    print(shared_server('16').pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", session], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    pid = int(killed.stdout)
    assert psutil.pid_exists(pid)
    following = "from tests.servers.postgres import session_servers\nwith session_servers(): pass\n"
    subprocess.run([sys.executable, "-c", following], cwd=REPOSITORY, check=True)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
