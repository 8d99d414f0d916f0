"""MongoDB's protocol: signing in, TLS, read preference and concern, and what its errors mean to us.

Knows pymongo, which opens, pools and watches the connections, and the server's error codes. Leaves to others
what is asked: documents come as BSON bytes, whatever is in them.

Reference: https://www.mongodb.com/docs/manual/reference/connection-string/
Reference: https://www.mongodb.com/docs/manual/reference/error-codes/
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus, urlsplit

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import Secret, redact, reveal

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database


@dataclass(frozen=True)
class Server:
    """Where a deployment is and how to sign in.

    Attributes:
        url: a whole connection string; what else is set goes before what it says.
        ssl_mode: disable, require (encrypts, verifies nobody), verify-ca, verify-full; None as the URL says.
        connection_timeout_seconds: how long a server is looked for.
        timeout_seconds: how long an answer may take, so that a dead connection is noticed.
        options: further options of a connection string.
    """

    database: str
    host: str = "localhost"
    port: int = 27017
    username: str | None = None
    password: Secret | None = None
    url: Secret | None = None
    auth_source: str | None = None
    replica_set: str | None = None
    ssl_mode: str | None = "require"
    ssl_root_cert: str | None = None
    connection_timeout_seconds: float = 30
    timeout_seconds: float = 300
    read_preference: str = "primary"
    read_concern: str = "majority"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`host:port/database`, for messages."""
        return f"{self.address}/{self.database}"

    @property
    def address(self) -> str:
        """The host and port, or those in the URL."""
        if self.url is None:
            return self.host if ":" in self.host or "," in self.host else f"{self.host}:{self.port}"
        return urlsplit(reveal(self.url) or "").netloc.rpartition("@")[2]

    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine on the way to the server."""
        host = self.address.rsplit(":", 1)[0].strip("[]")
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"

    def parameters(self) -> dict[str, Any]:
        """pymongo's keyword arguments."""
        given: dict[str, Any] = {
            "appname": "asgard",
            "serverSelectionTimeoutMS": int(self.connection_timeout_seconds * 1000),
            "connectTimeoutMS": int(self.connection_timeout_seconds * 1000),
            "socketTimeoutMS": int(self.timeout_seconds * 1000),
            "datetime_conversion": "DATETIME_MS",  # Python's datetime ends at the year 9999
            **self.options,
        }
        if self.url is None:
            given |= {"host": self.host, "port": self.port}
        else:
            given |= {"host": reveal(self.url)}
        if self.username is not None:
            given |= {"username": self.username, "password": reveal(self.password)}
        if self.username is not None and self.url is None:
            given |= {"authSource": self.auth_source or "admin"}
        elif self.auth_source is not None:
            given |= {"authSource": self.auth_source}
        if self.replica_set is not None:
            given |= {"replicaSet": self.replica_set}
        return given | self._tls()

    def _tls(self) -> dict[str, Any]:
        if self.ssl_mode is None:
            return {}
        if self.ssl_mode == "disable":
            return {"tls": False}
        roots = {"tlsCAFile": self.ssl_root_cert} if self.ssl_root_cert else {}
        return {
            "tls": True,
            **(roots if self.ssl_mode != "require" else {"tlsAllowInvalidCertificates": True}),
            **({"tlsAllowInvalidHostnames": True} if self.ssl_mode in ("require", "verify-ca") else {}),
        }

    def clean(self, text: str) -> str:
        """A foreign text without the password and the URL, however they were quoted."""
        url = reveal(self.url) or ""
        password = reveal(self.password) or ""
        with suppress(ValueError):
            password = password or unquote_plus(urlsplit(url).password or "")
        return redact(text, [url, password, quote_plus(password), repr(password)[1:-1]])


class Deployment:
    """The servers behind an address, as one thing to ask. Safe to use from several threads.

    Raises:
        ConfigError: pymongo is not installed, or an option makes no sense.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        pymongo = driver()
        with _configured(server):
            self._client: MongoClient[Any] = pymongo.MongoClient(**server.parameters())
            mode = pymongo.read_preferences.read_pref_mode_from_name(server.read_preference)
            self._database: Database[Any] = self._client.get_database(
                server.database,
                read_preference=pymongo.read_preferences.make_read_preference(mode, None),
                read_concern=pymongo.read_concern.ReadConcern(server.read_concern),
            )

    def database_names(self) -> list[str] | None:
        """The databases there are; None where this user may not know."""
        with suppress(Refused), translated(self._server):
            return list(self._client.list_database_names())
        return None

    def collections(self) -> dict[str, str]:
        """Name and type (collection, view, timeseries) of what this user may read; not the server's own."""
        with translated(self._server):
            found = list(self._database.list_collections(nameOnly=True, authorizedCollections=True))
        return {one["name"]: one["type"] for one in found if not one["name"].startswith("system.")}

    def collection_id(self, name: str) -> str | None:
        """What tells a collection from another of the same name; None where the server does not tell."""
        found: list[Mapping[str, Any]] = []
        with suppress(Refused), translated(self._server):
            found = list(self._database.list_collections(filter={"name": name}))
        uuid = found[0].get("info", {}).get("uuid") if found else None
        return None if uuid is None else bytes(uuid).hex()

    def command(self, command: dict[str, Any]) -> Mapping[str, Any]:
        """The answer to a command on the database."""
        with translated(self._server):
            return dict(self._database.command(command))

    def documents(self, collection: str, question: Mapping[str, Any]) -> list[Any]:
        """The documents of a question, decoded: for few. Dates are `DatetimeMS`."""
        with translated(self._server):
            if "pipeline" in question:
                return list(self._database[collection].aggregate(question["pipeline"]))
            return list(self._database[collection].find(**question))

    def raw_batches(
        self, collection: str, question: Mapping[str, Any], documents: int, most_bytes: int
    ) -> Iterator[bytes]:
        """The documents of a question as BSON, whole ones one behind the other.

        Args:
            question: the arguments of `find`, or `pipeline` for an aggregation.
            documents: how many the server puts into an answer, which is never larger than 16 MiB.
            most_bytes: about so much is put together.
        """
        with translated(self._server):
            yield from _together(self._raw(collection, question, documents), most_bytes)

    def _raw(self, collection: str, question: Mapping[str, Any], documents: int) -> Iterator[bytes]:
        if "pipeline" not in question:
            yield from self._database[collection].find_raw_batches(**question, batch_size=documents)
            return
        # Raw batches of an aggregation need a server that sends an empty first one, which not all do.
        raw = self._database.codec_options.with_options(document_class=driver().raw_bson.RawBSONDocument)
        asked = self._database.get_collection(collection, codec_options=raw)
        with asked.aggregate(question["pipeline"], allowDiskUse=True, batchSize=documents) as found:
            for document in found:
                yield document.raw

    def close(self) -> None:
        """Ends the connections; more than once is fine."""
        self._client.close()


class _Driver:
    """pymongo's parts that are needed here, imported when they are."""

    def __init__(self) -> None:
        import bson
        import numpy  # noqa: F401 - what comes is taken apart with it
        import pymongo
        from bson import json_util, raw_bson
        from pymongo import errors, read_concern, read_preferences

        self.MongoClient = pymongo.MongoClient
        self.bson, self.json_util, self.raw_bson = bson, json_util, raw_bson
        self.errors, self.read_concern, self.read_preferences = errors, read_concern, read_preferences


def driver() -> _Driver:
    """pymongo.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return _Driver()
    except ImportError as error:
        raise ConfigError(
            f"the driver of MongoDB is not there: {error}", hint="pip install 'asgard-platform[mongodb]'"
        ) from error


def from_extended_json(value: Any) -> Any:
    """What YAML or JSON says, with the types that Extended JSON has for what they have not.

    Raises:
        ConfigError: a `$` wrapper has a value that it cannot have.
    """
    tools = driver().json_util
    options = tools.JSONOptions(tz_aware=False, datetime_conversion=4)  # datetime where it can be one
    try:
        return tools.loads(tools.dumps(value), json_options=options)
    except (ValueError, TypeError, driver().bson.errors.BSONError) as error:
        raise ConfigError(
            f"this is no Extended JSON: {error}",
            hint='for example {"_id": {"$oid": "507f1f77bcf86cd799439011"}}',
        ) from error


def to_extended_json(value: Any) -> Any:
    """The inverse, in canonical form: plain JSON values."""
    tools = driver().json_util
    return json.loads(tools.dumps(value, json_options=tools.CANONICAL_JSON_OPTIONS))


def decimal_text(data: bytes) -> str:
    """A Decimal128 in the text that its specification gives it."""
    return str(driver().bson.decimal128.Decimal128.from_bid(data))


def near_names(wanted: str, known: Sequence[str]) -> str:
    """A hint that names what the wanted name may have meant."""
    near = get_close_matches(wanted, known, 3, 0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(sorted(known)[:10])}" if known else "there is none at all"


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Turns pymongo's exceptions into ours."""
    pymongo = driver()
    try:
        yield
    except pymongo.errors.OperationFailure as error:
        details = error.details or {}
        text = str(details.get("errmsg") or error)
        raise explained(server, error.code, text) from None
    except pymongo.errors.ServerSelectionTimeoutError as error:
        raise _not_found(server, server.clean(str(error))) from None
    except pymongo.errors.ConnectionFailure as error:
        text = server.clean(str(error)).split(" (configured timeouts")[0]
        raise Unreachable(f"the connection to {server.where} broke off: {text}", hint="try again") from None
    except (pymongo.errors.PyMongoError, pymongo.bson.errors.BSONError, ValueError, TypeError) as error:
        text = server.clean(f"{type(error).__name__}: {error}")
        raise QueryError(text, hint="see filter, pipeline and query") from None


@contextmanager
def _configured(server: Server) -> Iterator[None]:
    """For what fails before anybody is asked: the URL, options, files; and the names of mongodb+srv."""
    try:
        yield
    except (driver().errors.PyMongoError, ValueError, TypeError, OSError) as error:
        text = server.clean(str(error))
        if "DNS" in text or "resolution" in text:
            raise Unreachable(
                f"{server.address} cannot be found: {text}", hint="check the name in url"
            ) from None
        raise ConfigError(
            f"the driver refuses the configuration: {text}", hint="check url, options and files"
        ) from None


_AUTHENTICATION = frozenset({11, 18, 8000, 334})
_REFUSED = frozenset({13, 33, 31})
_GONE = frozenset({43, 237, 175, 286})
_UNREACHABLE = frozenset(
    {
        6,
        7,
        50,
        63,
        89,
        91,
        133,
        134,
        150,
        189,
        202,
        234,
        262,
        290,
        9001,
        10107,
        11600,
        11602,
        13388,
        13435,
        13436,
    }
)
_MISSING = frozenset({26, 73})


def explained(server: Server, code: int | None, message: str) -> AsgardError:
    """Our error for a code and text of the server, without the password."""
    text = f"{server.clean(message).strip().rstrip('.')} (code {code})"
    if code in _AUTHENTICATION:
        who = server.username or "the user of the URL"
        return AuthenticationError(
            f"{server.where} refuses {who}: {text}",
            hint="check username and password, and auth_source: the database that the user was made in",
        )
    if code in _REFUSED:
        return Refused(
            f"{server.where}: {text}",
            hint="the user needs the role read on the database: "
            "db.grantRolesToUser(user, [{role: 'read', db: ...}])",
        )
    if code in _GONE:
        return Unreachable(
            f"the server gave the cursor up: {text}",
            hint="it waits ten minutes; run again, with smaller splits",
        )
    if code in _UNREACHABLE:
        return Unreachable(
            f"{server.where}: {text}", hint="the server is busy or changes its role: try again"
        )
    if code in _MISSING:
        return QueryError(text, hint="asgard discover lists what there is")
    if code == 292:
        return QueryError(text, hint="let the pipeline sort or group less, or filter first")
    return QueryError(text, hint="see the words of filter, pipeline and query")


def _not_found(server: Server, text: str) -> AsgardError:
    """No server fits within the timeout: nobody answers, TLS does not come about, or none has the role."""
    last = text.split(", Timeout:", maxsplit=1)[0].split(" (configured timeouts", maxsplit=1)[0]
    if ("certificate" in last or "SSL" in last) and "timed out" not in last:
        return _tls_failure(server, last)
    if "No replica set members" in last or "replica set" in last.lower():
        return Unreachable(f"{server.address}: {last}", hint="check replica_set and read_preference")
    hint = "check host and port, that the server runs, what lies between (firewall, VPN), and ssl_mode"
    return Unreachable(f"{server.address} does not answer: {last}", hint=hint)


def _tls_failure(server: Server, text: str) -> AsgardError:
    if "verify failed" in text or "mismatch" in text:
        hint = "ssl_root_cert: the PEM file of the authority that signed the server's certificate"
        return ConfigError(f"{server.address} is not trusted: {text}", hint=hint)
    local = (
        "ssl_mode: disable is safe on this machine" if server.is_loopback() else "turn TLS on at the server"
    )
    return ConfigError(
        f"TLS with {server.address} does not come about (ssl_mode {server.ssl_mode or 'of the URL'}): {text}",
        hint=f"does the server speak TLS? {local}",
    )


def _together(parts: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    held: list[bytes] = []
    held_bytes = 0
    for part in parts:
        held.append(part)
        held_bytes += len(part)
        if held_bytes >= most_bytes:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, held_bytes = [], 0
    if held:
        yield b"".join(held)
