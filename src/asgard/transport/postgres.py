"""PostgreSQL's protocol: signing in, TLS, session settings, and what its errors mean to us.

Knows libpq's parameters and the SQLSTATE codes; the one importer of psycopg. Leaves to others what is asked:
catalogs and types are the connector's, rows in bulk come through `transport.postgres_bulk`.

Reference: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
Reference: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

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
from asgard.core.secret import Secret, redact, reveal

LOCK_TIMEOUT_SECONDS = 20
"""How long a statement waits for somebody who changes the table. Splits must not wait for ever: they would
wait for an ALTER TABLE that waits for the plan that waits for the splits."""


@dataclass(frozen=True)
class Server:
    """Where a server is and how to sign in; `ssl_mode` means what libpq means by it.

    Attributes:
        ssl_root_cert: PEM file of the authorities that are trusted; None takes libpq's own file, or the
            system's.
        options: further parameters of libpq.
    """

    host: str
    port: int
    database: str
    username: str | None = None
    password: Secret | None = None
    ssl_mode: str = "require"
    ssl_root_cert: str | None = None
    connection_timeout_seconds: int = 30
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`host:port/database`, for messages."""
        return f"{self.host}:{self.port}/{self.database}"

    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine on the way to the server."""
        if self.host == "localhost" or self.host.startswith("/"):
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def parameters(self) -> dict[str, str]:
        """libpq's parameters without the password and without who and where."""
        given: dict[str, str] = {
            "sslmode": self.ssl_mode,
            "connect_timeout": str(self.connection_timeout_seconds),
            "client_encoding": "UTF8",
            "application_name": "asgard",
            "keepalives_idle": "60",
        }
        roots = self.ssl_root_cert or (trusted_roots() if self.ssl_mode.startswith("verify") else None)
        return {**given, **({"sslrootcert": roots} if roots else {}), **self.options}

    def clean(self, text: str) -> str:
        """A foreign text without the password, however it was quoted."""
        plain = reveal(self.password) or ""
        quoted = plain.replace("\\", "\\\\").replace("'", "\\'")
        return redact(text, [plain, quoted, plain.replace("'", "''")])


def trusted_roots() -> str | None:
    """The file with the authorities that this system trusts, where libpq has none of its own."""
    if (Path.home() / ".postgresql" / "root.crt").exists():
        return None
    paths = ssl.get_default_verify_paths()
    known = [
        paths.cafile,
        paths.openssl_cafile,
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/cert.pem",
    ]
    return next((file for file in known if file and Path(file).exists()), None)


class Connection:
    """A connection that speaks our errors. Used by one thread; only `cancel` may come from any.

    Args:
        server: whom to sign in to.

    Raises:
        AuthenticationError: the server does not accept who we say we are.
        ConfigError: there is no such database, or TLS does not come about.
        Unreachable: nobody answers.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cancelled = False
        with _connecting(server):
            self._connection = psycopg.connect(
                host=server.host,
                port=server.port,
                dbname=server.database,
                user=server.username,
                password=reveal(server.password),
                autocommit=True,
                prepare_threshold=None,
                **server.parameters(),  # type: ignore[arg-type]
            )

    @property
    def version(self) -> int:
        """The server's version, for example 160004."""
        return self._connection.info.server_version

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects this connection."""
        return bool(self._connection.pgconn.ssl_in_use)

    @property
    def closed(self) -> bool:
        """Whether it was closed, or broke off."""
        return bool(self._connection.closed)

    def rows(self, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Runs one statement (several, without parameters) and gives all rows of the last."""
        self._refuse_cancelled()
        with translated(self._server):
            cursor = self._connection.execute(sql, parameters)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def row(self, sql: str, parameters: Sequence[object] | None = None) -> tuple[Any, ...]:
        """The one row of a statement that gives one."""
        return self.rows(sql, parameters)[0]

    def stream(self, sql: str, rows: int) -> Iterator[tuple[Any, ...]]:
        """Rows through a cursor of the server, so many at a time; needs a transaction."""
        self._refuse_cancelled()
        with translated(self._server), self._connection.cursor(name="asgard") as cursor:
            cursor.itersize = rows
            cursor.execute(sql)
            yield from cursor

    def texts(self, sql: str, rows: int) -> Iterator[tuple[str | None, ...]]:
        """Rows as they come over the wire, so many at a time, each value as the server's own text; needs no
        cursor of the server, which some hold in memory."""
        self._refuse_cancelled()
        with translated(self._server), self._connection.cursor() as cursor:
            for kind in psycopg.postgres.types:
                cursor.adapters.register_loader(kind.oid, TextLoader)
            yield from cursor.stream(sql, size=rows)

    def copy_out(self, sql: str) -> Iterator[bytes]:
        """What a COPY ... TO STDOUT gives, piece by piece."""
        self._refuse_cancelled()
        with translated(self._server), self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for piece in copy:
                yield bytes(piece)

    def copy_in(self, sql: str, pieces: Iterable[bytes]) -> None:
        """Gives a COPY ... FROM STDIN what another one gave; an error of `pieces` breaks it off."""
        self._refuse_cancelled()
        with translated(self._server), self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for piece in pieces:
                copy.write(piece)

    def columns(self, sql: str) -> list[tuple[str, int, int]]:
        """Name, type oid and type modifier of the columns that a query would give; it is not run."""
        with translated(self._server):
            result = self._connection.execute(sql).pgresult
            assert result is not None
            names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
            return [(name, result.ftype(i), result.fmod(i)) for i, name in enumerate(names)]

    def cancel(self) -> None:
        """Breaks off what the server is doing for this connection; nothing is begun on it any more."""
        self._cancelled = True  # the server forgets a cancel that comes between two statements
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=5)

    def _refuse_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled("the statement was broken off", hint="run again: it goes on from the last commit")

    def close(self) -> None:
        """Ends the connection and its transaction; more than once is fine."""
        with suppress(psycopg.Error):
            self._connection.close()


def session_settings(version: int) -> str:
    """Statements that make this transaction give every value in one, known form, and never time out.

    They are local to the transaction, so that a connection pooler in between is left as it was.
    """
    settings = {
        "TimeZone": "'UTC'",
        "DateStyle": "'ISO, YMD'",
        "IntervalStyle": "'postgres'",
        "bytea_output": "'hex'",
        # From 12 on every positive value means the shortest text that reads back exactly; before, 3 does.
        "extra_float_digits": "1" if version >= 120000 else "3",
        "statement_timeout": "0",
        "lock_timeout": f"'{LOCK_TIMEOUT_SECONDS}s'",
        "idle_in_transaction_session_timeout": "0",
        "jit": "off" if version >= 110000 else "",
        "transaction_timeout": "0" if version >= 170000 else "",
    }
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items() if value)


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Turns psycopg's exceptions into ours, by SQLSTATE."""
    try:
        yield
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error)
        raise explained(server, error.sqlstate, text) from None


_CLASSES: tuple[tuple[str, type[AsgardError], str], ...] = (
    ("28", AuthenticationError, "check username and password, and the server's pg_hba.conf"),
    ("3D000", ConfigError, "psql -l, or the server's owner, knows the names of its databases"),
    ("42501", Refused, "the role needs it: GRANT USAGE ON SCHEMA ... and GRANT SELECT ON ... TO the role"),
    ("42P01", QueryError, "asgard discover lists what there is"),
    ("3F", QueryError, "asgard discover lists what there is"),
    ("42", QueryError, "see the names and words of the query, of where and of the cursor"),
    ("25006", QueryError, "a source is only read: the query must not change anything"),
    ("0A", QueryError, "the server cannot do what the query asks for"),
    ("54", QueryError, "the query is beyond the server's limits: a smaller one is within"),
    ("55P03", Unreachable, "somebody is changing the table: try again when they are done"),
    ("57014", Unreachable, "the server broke the statement off"),
    ("08", Unreachable, "check host, port, network and firewall"),
    (
        "53300",
        Unreachable,
        "the server has no connection left: fewer splits at a time (max_parallel) need fewer",
    ),
    ("53", Unreachable, "the server lacks memory or space: its owner can help"),
    ("57P", Unreachable, "the server ended the connection"),
    ("58", Unreachable, "the server's own log knows more"),
    ("40", Unreachable, "the server gave up for the sake of others: try again"),
    ("22", DataError, "see the values that the query, where or the cursor's bound compare"),
    ("XX", DataError, "the server's own log knows more"),
)


def explained(server: Server, sqlstate: str | None, message: str) -> AsgardError:
    """Our error for a code and text of the server, without the password."""
    text = server.clean(message).strip()
    if sqlstate is None:
        return Unreachable(f"the connection to {server.where} broke off: {text}", hint="try again")
    for prefix, kind, hint in _CLASSES:
        if sqlstate.startswith(prefix):
            return kind(text, hint=hint)
    return QueryError(f"{text} (SQLSTATE {sqlstate})", hint="PostgreSQL's manual lists the codes")


@contextmanager
def _connecting(server: Server) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _connection_failure(server, server.clean(str(error)).strip()) from None
    except (ValueError, UnicodeError) as error:
        raise ConfigError(
            f"{server.where} is no address: {server.clean(str(error))}", hint="check host"
        ) from None


def _connection_failure(server: Server, text: str) -> AsgardError:
    """libpq gives no code for what fails before the session stands: its text has to do."""
    last = re.sub(r"\s+", " ", re.split(r"FATAL:\s+", text)[-1]).strip()
    if re.search(r"SSL|certificate|no encryption", text) and "password authentication" not in text:
        return _tls_failure(server, last)
    if match := re.search(r'database ".*" does not exist', last):
        return ConfigError(
            f"{server.host}:{server.port} has no {match.group().removesuffix(' does not exist')}",
            hint="check database: it is the name within the server",
        )
    if re.search(
        r"password|authentication|role .* does not exist|pg_hba\.conf|not permitted to log in", last
    ):
        return AuthenticationError(
            f"{server.where} refuses user {server.username or '(the system user)'}: {last}",
            hint="check username and password, and the server's pg_hba.conf",
        )
    if re.search(r"permission denied", last):
        return Refused(f"{server.where}: {last}", hint="GRANT CONNECT ON DATABASE ... TO the role")
    if re.search(r"invalid (sslmode|connection option|integer|.* value)", text):
        return ConfigError(f"libpq refuses a parameter: {last}", hint="check options and ssl_mode")
    hint = "check host and port, that the server runs, and what lies in between (firewall, VPN)"
    return Unreachable(f"{server.where} does not answer: {last}", hint=hint)


def _tls_failure(server: Server, text: str) -> AsgardError:
    local = server.is_loopback()
    if "does not support SSL" in text:
        hint = (
            "the server is on this machine: ssl_mode: disable is safe there"
            if local
            else "turn TLS on at the server (ssl = on); ssl_mode: disable would send everything in the clear"
        )
        return ConfigError(f"{server.where} speaks no TLS, but ssl_mode is {server.ssl_mode}", hint=hint)
    if "no encryption" in text:
        return ConfigError(
            f"{server.where} accepts only TLS: {text}", hint="ssl_mode: require or verify-full"
        )
    hint = "ssl_root_cert: the PEM file of the authority that signed the server's certificate"
    return ConfigError(f"TLS with {server.where} does not come about: {text}", hint=hint)
