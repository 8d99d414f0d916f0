"""MySQL's protocol, as MySQL and MariaDB speak it: signing in, TLS, session settings, and what errors mean.

Knows the driver's parameters and the servers' error numbers; with the files `mysql_*` beside it the one
importer of pymysql. Every wait has an end: signing in as a whole, and any silence of the server in the middle
of an answer. Leaves to others what is asked: catalogs and types are the connector's, rows come in bulk by
`mysql_rows`.

Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
Reference: https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
Reference: https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import Secret, redact, reveal

if TYPE_CHECKING:
    import pymysql

LOCK_TIMEOUT_SECONDS = 20
"""How long a statement waits for somebody who changes the table."""
CANCEL_TIMEOUT_SECONDS = 5
SILENT_MODES = frozenset({"PAD_CHAR_TO_FULL_LENGTH", "NO_ZERO_DATE", "NO_ZERO_IN_DATE"})
"""SQL modes that would give values another text, or refuse to compare them."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


@dataclass(frozen=True)
class Server:
    """Where a server is and how to sign in; `ssl_mode` means what libpq means by it.

    Attributes:
        host: a name, an address, or the path of a socket.
        ssl_root_cert: PEM file of the authorities that are trusted; None takes the system's.
        connection_timeout_seconds: for signing in as a whole, however slowly the server talks.
        read_timeout_seconds: how long the server may be silent in the middle of an answer.
    """

    host: str
    port: int
    database: str | None
    username: str | None = None
    password: Secret | None = None
    ssl_mode: str = "require"
    ssl_root_cert: str | None = None
    connection_timeout_seconds: float = 30
    read_timeout_seconds: float = 600

    @property
    def where(self) -> str:
        """`host:port/database`, for messages."""
        return f"{self.host}:{self.port}/{self.database or ''}"

    def clean(self, text: str) -> str:
        """A foreign text without the password."""
        plain = reveal(self.password) or ""
        return redact(text, [plain, plain.replace("'", "''"), plain.replace("\\", "\\\\")])

    def tls(self) -> dict[str, Any]:
        """The driver's parameters for the TLS mode.

        Raises:
            ConfigError: the file of authorities cannot be read.
        """
        if self.ssl_mode == "disable":
            return {"ssl_disabled": True}
        if self.ssl_mode in ("allow", "prefer"):
            return {}  # the driver then encrypts where the server can, and verifies nobody
        try:
            context = ssl.create_default_context(cafile=self.ssl_root_cert)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the authorities in {self.ssl_root_cert} cannot be read: {error}", hint="check ssl_root_cert"
            ) from error
        # Certificates that MySQL makes for itself lack what Python 3.13 insists on.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
        context.check_hostname = self.ssl_mode == "verify-full"
        if self.ssl_mode == "require" and self.ssl_root_cert is None:
            context.verify_mode = ssl.CERT_NONE
        return {"ssl": context}


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result, as the protocol describes it.

    Attributes:
        type: the protocol's type number.
        charset: number of the collation; 63 is binary.
        flags: of the protocol, for example 32 for unsigned.
        length: in bytes as it is shown; `decimals` digits after the point.
    """

    name: str
    type: int
    charset: int
    flags: int
    length: int
    decimals: int


class Connection:
    """A connection that speaks our errors. Used by one thread; only `cancel` may come from any.

    Args:
        server: whom to sign in to.

    Raises:
        AuthenticationError: the server does not accept who we say we are.
        ConfigError: there is no such database, or TLS does not come about.
        Unreachable: nobody answers in time.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._broken = False
        self._line: socket.socket | None = None
        tls = server.tls()
        with _connecting(server):
            self._connection = self._signed_in(tls)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def _signed_in(self, tls: dict[str, Any]) -> pymysql.Connection[Any]:
        driver = _driver()
        server, limit = self.server, self.server.connection_timeout_seconds
        connection = driver(
            host=server.host,
            port=server.port,
            user=server.username,
            # The driver would write the text in latin1; servers compare UTF-8.
            password=(reveal(server.password) or "").encode(),
            database=server.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=limit,
            read_timeout=min(limit, server.read_timeout_seconds),
            write_timeout=limit,
            program_name="asgard",
            defer_connect=True,
            **tls,
        )
        self._line, plain = _line(server.host, server.port, limit)
        # A server that sends a byte now and then never runs into a socket's timeout.
        watch = threading.Timer(limit, self.break_off)
        watch.daemon = True
        watch.start()
        try:
            connection.connect(plain)
            wanted = tls.get("ssl") is not None
            if wanted and not isinstance(connection._sock, ssl.SSLSocket):
                raise ConfigError(
                    f"{server.where} speaks no TLS", hint="ssl_mode: disable sends all in the clear"
                )
        except BaseException:
            plain.close()
            self._close_line()
            if self._broken:
                raise Unreachable(
                    f"{server.where} did not finish signing in within {limit:g} s", hint=_HINT_NETWORK
                ) from None
            raise
        finally:
            watch.cancel()
        connection._read_timeout = server.read_timeout_seconds
        return connection

    def _settle(self) -> None:
        """Makes the session give every value in one, known form, and never time out by itself."""
        [(version, mode, self.id)] = self.rows("SELECT version(), @@sql_mode, connection_id()")
        self.version_text: str = version
        self.is_mariadb = "mariadb" in version.lower()
        self.version = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        modes = ",".join(one for one in mode.split(",") if one and one not in SILENT_MODES)
        settings = {
            "time_zone": "'+00:00'",
            "sql_mode": f"'{modes}'",
            "sql_select_limit": "18446744073709551615",  # a lower one of the server would cut tables off
            "wait_timeout": "86400",
            "net_read_timeout": "3600",
            "net_write_timeout": "86400",  # the lake may be slower than the server is patient
            "lock_wait_timeout": str(LOCK_TIMEOUT_SECONDS),
        }
        if self.is_mariadb:
            settings |= {"max_statement_time": "0", "idle_transaction_timeout": "0"}
            settings |= {"idle_readonly_transaction_timeout": "0"}
        else:
            settings |= {"max_execution_time": "0"}
            if self.version >= (8,):
                settings |= {"information_schema_stats_expiry": "0"}
        self.rows("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in settings.items()))
        self.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects this connection."""
        return isinstance(self._connection._sock, ssl.SSLSocket)

    @property
    def raw(self) -> pymysql.Connection[Any]:
        """The driver's own connection, for the files `mysql_*` alone."""
        return self._connection

    def rows(self, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Runs one statement and gives all its rows."""
        with translated(self), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def columns(self, sql: str) -> list[ResultColumn]:
        """The columns that a query would give, each with its own character set; no row of it is read."""
        self.rows("SET character_set_results = NULL")
        with translated(self), self._connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {sql} LIMIT 0")
            result: Any = cursor._result
            found = [
                ResultColumn(f.name, f.type_code, f.charsetnr, f.flags, f.length, f.scale)
                for f in result.fields
            ]
        self.rows("SET character_set_results = utf8mb4")
        return found

    def break_off(self) -> None:
        """Ends the line under whatever waits for it. From any thread."""
        self._broken = True
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        """Breaks off the line and what the server does for it. From any thread; the connection is lost."""
        self.break_off()
        with suppress(AsgardError):
            side = Connection(_hurried(self.server))
            try:
                side.rows(f"KILL {self.id}")
            finally:
                side.close()

    def close(self) -> None:
        """Ends the connection and its transaction; more than once is fine."""
        if self._connection.open:
            self._connection._result = None  # rows that nobody wants are not waited for
            with suppress(Exception):
                self._connection.close()
        self._close_line()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _hurried(server: Server) -> Server:
    few = min(CANCEL_TIMEOUT_SECONDS, server.connection_timeout_seconds)
    return Server(
        server.host, server.port, None, server.username, server.password, server.ssl_mode,
        server.ssl_root_cert, few, few,
    )  # fmt: skip


def _driver() -> Any:
    """The driver's Connection, that never says a password in the clear to whoever asks for it."""
    try:
        import pymysql
    except ImportError as error:
        raise ConfigError(
            "the driver for MySQL is not installed", hint="pip install 'asgard-platform[mysql]'"
        ) from error

    class Careful(pymysql.Connection):  # type: ignore[misc]
        def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
            if plugin_name in (b"mysql_clear_password", b"dialog") and not self._secure:
                raise ConfigError(
                    "the server asks for the password in the clear, without TLS", hint="ssl_mode: verify-full"
                )
            return super()._process_auth(plugin_name, auth_packet, handler)

    return Careful


def _line(host: str, port: int, timeout_seconds: float) -> tuple[socket.socket, socket.socket]:
    """Two handles of one new connection: to break it off with, and to talk through."""
    if host.startswith("/"):
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(timeout_seconds)
        plain.connect(host)
    else:
        plain = socket.create_connection((host, port), timeout_seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return socket.socket(fileno=os.dup(plain.fileno())), plain


# ---- what goes wrong

_HINT_NETWORK = "check host and port, that the server runs, and what lies in between (firewall, VPN)"
_SIGN_IN = "check username and password, and from which hosts the server lets the user in"
_GRANT = "the user needs it: GRANT SELECT ON database.* TO the user"
_NAMES = "asgard discover lists what there is"
_WORDS = "see the names and words of the query, of where and of the cursor"
_AGAIN = "try again"

_NUMBERS: tuple[tuple[Sequence[int], type[AsgardError], str], ...] = (
    ((1045, 1130, 1698, 1820, 1862, 3118, 4151), AuthenticationError, _SIGN_IN),
    ((1049,), ConfigError, "check database: it is the name within the server"),
    ((1251, 2059, 2061, 3159), ConfigError, "ssl_mode: require or verify-full, and a newer way to sign in"),
    ((2026,), ConfigError, "ssl_mode, or TLS at the server"),
    ((1044, 1142, 1143, 1227, 1370, 1345, 1449), Refused, _GRANT),
    ((1051, 1146, 1109), QueryError, _NAMES),
    ((1792, 1290), QueryError, "a source is only read: the query must not change anything"),
    ((1205, 1213, 1412, 1615, 1637), Unreachable, "somebody changes the table: try again when they are done"),
    ((1040, 1203, 1226), Unreachable, "the server has no connection left: max_parallel asks for fewer"),
    ((1129,), Unreachable, "the server blocks this host after many broken connections: FLUSH HOSTS"),
    ((1021, 1037, 1038, 1041, 1114, 3675), Unreachable, "the server lacks memory or space"),
    ((1317, 1969, 3024, 1927), Unreachable, "the server broke the statement off"),
    ((1153, 1301, 3170), DataError, "a value is larger than the server's max_allowed_packet"),
    ((1264, 1292, 1366, 1367, 1411, 1441, 1690, 3141, 3140, 3037), DataError,
     "see the values that the query, where or the cursor's bound compare"),
)  # fmt: skip


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Turns what pymysql raises into ours, by the server's number."""
    import pymysql

    try:
        yield
    except pymysql.Error as error:
        raise explained(connection.server, error) from None
    except (OSError, struct.error, IndexError, AttributeError, RuntimeError, AssertionError) as error:
        # The driver, in the middle of bytes that make no sense, or of a line that was broken off.
        raise broken(connection.server, error) from None


def broken(server: Server, error: object) -> Unreachable:
    """The error of a connection that ended, or talks nonsense."""
    text = "it was silent for too long" if isinstance(error, TimeoutError) else server.clean(str(error))
    return Unreachable(f"the connection to {server.where} broke off: {text}", hint=_AGAIN)


def explained(server: Server, error: pymysql.Error) -> AsgardError:
    """Our error for one of the driver's, without the password."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = server.clean(str(error.args[-1]) if error.args else str(error)).strip()
    for numbers, kind, hint in _NUMBERS:
        if number in numbers:
            return kind(text, hint=hint)
    if number in (0, 1053, 1077, 1079, 1158, 1159, 1160, 1161, 4031) or 2000 <= number < 3000:
        return broken(server, text)
    return QueryError(f"{text} (error {number})", hint=_WORDS)


@contextmanager
def _connecting(server: Server) -> Iterator[None]:
    import pymysql

    try:
        yield
    except AsgardError:
        raise
    except pymysql.Error as error:
        cause = getattr(error, "original_exception", None)
        if _is_about_tls(cause) or "SSL is required" in str(error):
            raise _tls_failure(server, cause or error) from None
        found = explained(server, error)
        raise (_unanswered(server, found.what) if isinstance(found, Unreachable) else found) from None
    except OSError as error:
        if _is_about_tls(error):
            raise _tls_failure(server, error) from None
        raise _unanswered(server, str(error)) from None
    except (UnicodeError, OverflowError) as error:
        raise ConfigError(f"{server.where} is no address: {error}", hint="check host") from None
    except (struct.error, IndexError, ValueError, AttributeError, AssertionError, TypeError) as error:
        raise Unreachable(
            f"{server.host}:{server.port} does not speak MySQL's protocol: {server.clean(str(error))}",
            hint="check host and port",
        ) from None


def _is_about_tls(error: object) -> bool:
    """Whether TLS itself failed, and not the line below it."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _unanswered(server: Server, text: str) -> Unreachable:
    return Unreachable(f"{server.where} does not answer: {server.clean(text)}", hint=_HINT_NETWORK)


def _tls_failure(server: Server, error: object) -> ConfigError:
    text = server.clean(str(error))
    if "doesn't support" in text or "not support" in text:
        return ConfigError(
            f"{server.where} speaks no TLS, but ssl_mode is {server.ssl_mode}",
            hint="turn TLS on at the server; ssl_mode: disable is safe only where nothing leaves the machine",
        )
    return ConfigError(
        f"TLS with {server.where} does not come about: {text}",
        hint="ssl_root_cert: the PEM file of the authority that signed the server's certificate",
    )


def literal(text: str) -> str:
    """The text for SQL, whatever the SQL mode says about quotes and backslashes."""
    return f"_utf8mb4 X'{text.encode().hex()}'" if text else "''"


def quote(name: str) -> str:
    """The name quoted for SQL."""
    return "`" + name.replace("`", "``") + "`"
