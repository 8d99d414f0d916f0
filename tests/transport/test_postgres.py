"""Signing in to PostgreSQL: TLS as libpq means it, every error in our words, the password in none."""

from __future__ import annotations

import subprocess
import threading
import traceback
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    Cancelled,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import Secret
from asgard.transport import postgres_bulk
from asgard.transport.postgres import Connection, explained, session_settings, trusted_roots
from asgard.transport.postgres import Server as Address
from asgard.transport.postgres_bulk import BulkReader
from tests.servers.postgres import Server


def address(server: Server, **given: Any) -> Address:
    fields: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "database": "postgres",
        "username": server.user,
        "password": Secret(server.password),
        "ssl_mode": "verify-full" if server.ca_file else "disable",
        "ssl_root_cert": server.ca_file,
    }
    return Address(**{**fields, **given})


def refused(server: Server, **given: Any) -> AsgardError:
    with pytest.raises(AsgardError) as caught:
        Connection(address(server, **given))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.as_dict())
    assert server.password not in told
    assert "canary" not in told
    assert caught.value.hint
    return caught.value


@pytest.fixture
def other_authority(tmp_path: Path) -> str:
    """An authority that has signed nothing."""
    file = tmp_path / "other.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"]
    subprocess.run(
        [*command, "-keyout", tmp_path / "other.key", "-out", file], check=True, capture_output=True
    )
    return str(file)


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca", "verify-full"])
def test_tls_comes_about_where_the_server_has_it(pg15: Server, mode: str) -> None:
    for host in ("127.0.0.1", "localhost"):
        connection = Connection(address(pg15, ssl_mode=mode, host=host))
        assert connection.encrypted
        [(snapshot,)] = connection.rows("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()")
        bulk = BulkReader(address(pg15, ssl_mode=mode, host=host), snapshot, connection.version)
        [batch] = bulk.stream(
            "SELECT ssl AS c0 FROM pg_stat_ssl WHERE pid = pg_backend_pid()", lambda text: None
        )
        assert batch.to_pylist() == [{"c0": True}]
        bulk.close()
        connection.close()


def test_require_encrypts_and_verifies_nobody(pg15: Server) -> None:
    connection = Connection(address(pg15, ssl_mode="require", ssl_root_cert=None))
    assert connection.encrypted
    connection.close()


def test_a_stranger_is_not_taken_for_the_server(pg15: Server, other_authority: str) -> None:
    for mode in ("verify-ca", "verify-full"):
        error = refused(pg15, ssl_mode=mode, ssl_root_cert=other_authority)
        assert isinstance(error, ConfigError)
        assert "certificate verify failed" in error.what
        assert "ssl_root_cert" in error.hint
    # By default the system's authorities are trusted, and ours is none of them.
    assert "certificate verify failed" in refused(pg15, ssl_root_cert=None).what
    missing = refused(pg15, ssl_root_cert="/nowhere/ca.crt")
    assert isinstance(missing, ConfigError)
    assert "/nowhere/ca.crt" in missing.what


def test_a_certificate_of_another_name_is_refused_by_verify_full_alone(
    pg15: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 127.0.0.2 is the same machine, and not in the certificate; the server listens on 127.0.0.1 alone.
    where = {"host": "stranger.invalid", "options": {"hostaddr": pg15.host}}
    error = refused(pg15, ssl_mode="verify-full", **where)
    assert "does not match host name" in error.what
    Connection(address(pg15, ssl_mode="verify-ca", **where)).close()


def test_a_server_without_tls(pg16: Server) -> None:
    for mode in ("require", "verify-ca", "verify-full"):
        error = refused(pg16, ssl_mode=mode)
        assert isinstance(error, ConfigError)
        assert "speaks no TLS" in error.what
        assert "ssl_mode: disable" in error.hint
    far = refused(pg16, ssl_mode="require", host="far.invalid", options={"hostaddr": pg16.host})
    assert "disable would send everything in the clear" in far.hint
    for mode in ("disable", "allow", "prefer"):
        connection = Connection(address(pg16, ssl_mode=mode))
        assert not connection.encrypted
        connection.close()


def test_a_server_that_wants_tls(pg15: Server) -> None:
    error = refused(pg15, ssl_mode="disable")
    assert isinstance(error, ConfigError)
    assert "accepts only TLS" in error.what


def test_the_systems_authorities_are_found() -> None:
    found = trusted_roots()
    assert found is None or Path(found).read_text(errors="replace").count("BEGIN CERTIFICATE") > 10


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("/run/postgresql", True), ("10.0.0.1", False),
     ("db.example.com", False)],
)  # fmt: skip
def test_loopback(host: str, local: bool) -> None:
    assert Address(host, 5432, "d").is_loopback() is local


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"password": Secret("wr0ng-canary")}, AuthenticationError, "refuses user asgard"),
        ({"username": "nobody"}, AuthenticationError, "refuses user nobody"),
        ({"password": None}, AuthenticationError, "no password supplied"),
        ({"database": "nowhere"}, ConfigError, 'has no database "nowhere"'),
        ({"port": 1}, Unreachable, "does not answer"),
        ({"host": "nowhere.invalid"}, Unreachable, "does not answer"),
        ({"host": "10.255.255.1", "connection_timeout_seconds": 2}, Unreachable, "does not answer"),
        ({"options": {"nonsense": "1"}}, ConfigError, "nonsense"),
        ({"ssl_mode": "maybe"}, ConfigError, "maybe"),
        ({"host": "a" * 70 + ".example"}, ConfigError, "no address"),
    ],
)
def test_what_fails_before_the_session_stands(
    pg16: Server, given: dict[str, Any], kind: type[AsgardError], says: str
) -> None:
    error = refused(pg16, **given)
    assert isinstance(error, kind)
    assert says in error.what
    assert isinstance(error, Unreachable) == error.retryable


def test_a_database_that_may_not_be_used(pg16: Server) -> None:
    pg16.execute("DROP ROLE IF EXISTS outsider; CREATE ROLE outsider LOGIN PASSWORD 'outsider'")
    name = pg16.create_database()
    pg16.execute(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    error = refused(pg16, database=name, username="outsider", password=Secret("outsider"))
    assert type(error) is Refused
    assert "GRANT CONNECT" in error.hint
    pg16.drop_database(name)
    pg16.execute("DROP ROLE outsider")


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("SELECT * FROM nowhere", QueryError, "nowhere"),
        ("SELECT nope", QueryError, "nope"),
        ("SELEC", QueryError, "syntax error"),
        ("SELECT * FROM nowhere.t", QueryError, "nowhere"),
        ("SELECT 1/0", DataError, "division by zero"),
        ("SELECT 'x'::int", DataError, "invalid input syntax"),
        ("SELECT pg_read_file('/etc/passwd')", Refused, "permission denied"),
        ("BEGIN READ ONLY; CREATE TABLE t (i int)", QueryError, "read-only"),
        ("SET statement_timeout = 50; SELECT pg_sleep(5)", Unreachable, "statement timeout"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unreachable, ""),
        ("RAISE", QueryError, "syntax error"),
        ("DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'AB123'; END $$", QueryError, "AB123"),
    ],
)
def test_what_the_server_answers_is_told_by_its_code(
    pg16: Server, sql: str, kind: type[AsgardError], says: str
) -> None:
    pg16.execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN PASSWORD 'plain'")
    connection = Connection(address(pg16, username="plain", password=Secret("plain")))
    with pytest.raises(AsgardError) as caught:
        connection.rows(sql)
    assert isinstance(caught.value, kind)
    assert says in caught.value.what
    assert caught.value.hint
    connection.close()
    connection.close()
    pg16.execute("DROP ROLE plain")


@pytest.mark.parametrize("sqlstate", sorted(psycopg.errors._sqlcodes))
def test_every_code_there_is_becomes_an_error_with_a_next_step(sqlstate: str) -> None:
    error = explained(Address("h", 1, "d"), sqlstate, "what happened")
    assert error.hint
    assert "what happened" in error.what


def test_the_password_goes_out_of_foreign_texts_however_it_is_quoted() -> None:
    server = Address("h", 1, "d", "u", Secret("it's a\\secret"))
    for form in ("it's a\\secret", "it\\'s a\\\\secret", "it''s a\\secret"):
        error = explained(server, "XX000", f"could not use password={form} here")
        assert error.what == "could not use password=********** here"
    assert "secret" not in repr(server)


def test_settings_are_local_to_the_transaction(pg18: Server) -> None:
    connection = Connection(address(pg18))
    for version in (100000, 140000, 180000):
        assert "transaction_timeout" in session_settings(version) or version < 170000
    connection.rows("BEGIN; " + session_settings(connection.version))
    assert connection.row("SELECT current_setting('TimeZone'), current_setting('jit')") == ("UTC", "off")
    connection.rows("COMMIT")
    assert connection.row("SELECT current_setting('TimeZone')") == ("America/St_Johns",)
    connection.close()


def test_a_statement_can_be_cancelled_from_another_thread(pg16: Server) -> None:
    connection = Connection(address(pg16))
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    with pytest.raises(Unreachable, match="canceling statement"):
        connection.rows("SELECT pg_sleep(20)")
    timer.join()
    connection.close()


# ---- rows in bulk


def snapshot_of(connection: Connection) -> str:
    [(name,)] = connection.rows(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()"
    )
    return str(name)


def test_bulk_keeps_the_password_out_of_everything(pg16: Server, capfd: pytest.CaptureFixture[str]) -> None:
    connection = Connection(address(pg16))
    bulk = BulkReader(address(pg16), snapshot_of(connection), connection.version)
    told = []
    for catalog in ("duckdb_secrets()", "duckdb_databases()", "duckdb_settings()", "duckdb_logs"):
        told.append(repr(bulk._duck.execute(f"SELECT * FROM {catalog}").fetchall()))
    with pytest.raises(AsgardError) as caught:
        list(bulk.stream("SELECT 1/(random()::int * 0) AS c0", lambda text: None))
    told += [
        str(caught.value),
        "".join(traceback.format_exception(caught.value)),
        repr(bulk),
        repr(vars(bulk)),
    ]
    bulk.close()
    connection.close()
    told += list(capfd.readouterr())
    assert not [text for text in told if "c@nary" in text]


def test_bulk_refuses_what_it_cannot_reach(pg16: Server) -> None:
    connection = Connection(address(pg16))
    snapshot = snapshot_of(connection)
    for given in ({"password": Secret("wr0ng-canary")}, {"port": 1}, {"database": "nowhere"}):
        with pytest.raises(Unreachable) as caught:
            BulkReader(address(pg16, **given), snapshot, connection.version)
        told = "".join(traceback.format_exception(caught.value))
        assert "canary" not in told
    with pytest.raises(Unreachable, match="held the snapshot is gone"):
        BulkReader(address(pg16), "00000000-00000000-1", connection.version)
    connection.close()


def test_bulk_leaves_nothing_in_the_shared_duckdb(pg16: Server) -> None:
    connection = Connection(address(pg16))
    snapshot = snapshot_of(connection)
    bulk = BulkReader(address(pg16), snapshot, connection.version)
    names = postgres_bulk._instance().cursor()

    def there() -> list[Any]:
        databases = names.execute("SELECT database_name FROM duckdb_databases() WHERE type = 'postgres'")
        return [*databases.fetchall(), *names.execute("SELECT name FROM duckdb_secrets()").fetchall()]

    assert len(there()) == 2
    bulk.close()
    bulk.close()
    assert there() == []
    connection.close()


def test_nothing_is_begun_on_a_connection_that_was_cancelled(pg16: Server) -> None:
    """The server forgets a cancel that comes while nothing runs."""
    connection = Connection(address(pg16))
    assert connection.rows("SELECT 1") == [(1,)]
    connection.cancel()
    for ask in (
        lambda: connection.rows("SELECT pg_sleep(600)"),
        lambda: list(connection.texts("SELECT pg_sleep(600)", 1)),
        lambda: list(connection.stream("SELECT pg_sleep(600)", 1)),
    ):
        with pytest.raises(Cancelled):
            ask()
    connection.close()
