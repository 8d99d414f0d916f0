"""Where a Redshift cluster or workgroup is, and as whom we sign in: a password, or one that IAM lends.

Reference: https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html
Reference: https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/API_GetCredentials.html
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, DataError, QueryError, Refused
from asgard.core.secret import Secret
from asgard.transport.aws import Identity, Keys, found_keys, signed_call, signed_post
from asgard.transport.aws_machine import machine_keys
from asgard.transport.postgres import Connection, Server

PORT = 5439
LENT_SECONDS = 3600
RENEWED_BEFORE = timedelta(minutes=2)
VERSION = "2012-12-01"
ENDED = "look at the keys, and whether they have expired"
WRONG_KEYS = re.compile(
    r"UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|ExpiredToken|InvalidClientTokenId|"
    r"MissingAuthenticationToken|IncompleteSignature"
)
SESSION = (
    "SET timezone TO 'UTC'",
    "SET datestyle TO 'ISO, MDY'",
    "SET extra_float_digits TO 2",
    "SET statement_timeout TO 0",
)
"""What gives every value in one, known form."""


@dataclass(frozen=True)
class Where:
    """What a configuration says of the server.

    Attributes:
        host: of the server; None where the API tells it.
        cluster, workgroup: the cluster's identifier, or the serverless workgroup's name.
        port: None for what the API tells, or 5439.
        password: None for one that IAM lends.
        endpoint_url: of the API, where it is not AWS's own.
    """

    host: str | None
    cluster: str | None
    workgroup: str | None
    port: int | None
    database: str
    username: str | None
    password: Secret | None
    ssl_mode: str
    ssl_root_cert: str | None
    connection_timeout_seconds: int
    identity: Identity
    endpoint_url: str | None


class Access:
    """Signs in; what the API lends is asked for anew before it ends. Used from any thread."""

    def __init__(self, where: Where, cancel: Cancel) -> None:
        self._where = where
        self._cancel = cancel
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._ends: datetime | None = None

    @contextmanager
    def connected(self, *statements: str) -> Iterator[Connection]:
        """A connection of one's own, with known settings; a cancel breaks off what it does.

        Args:
            statements: run before anything else.

        Raises:
            AuthenticationError, Refused: the server or the API does not accept who we are.
            ConfigError: there is no such cluster, workgroup or database.
            Unreachable: no answer.
        """
        connection = self._signed_in()
        forget = self._cancel.on_cancel(connection.cancel)
        try:
            for statement in (*SESSION, *statements):
                connection.rows(statement)
            yield connection
        except AsgardError:
            self._cancel.check()  # a statement that fails because it was cancelled says so
            raise
        finally:
            forget()
            connection.close()

    def _signed_in(self) -> Connection:
        try:
            return Connection(self.server())
        except AuthenticationError as error:
            hint = "check username and password"
            if "method 13" in error.what:
                hint = (
                    "the password is kept as SHA-256, which libpq cannot use: ALTER USER ... PASSWORD with a "
                    "md5 hash, or leave the password out and let IAM lend one"
                )
            raise AuthenticationError(error.what, hint=hint, where=error.where) from error

    def server(self) -> Server:
        """Where to sign in, and as whom now."""
        with self._lock:
            ended = self._ends is not None and datetime.now(UTC) + RENEWED_BEFORE > self._ends
            if self._server is None or ended:
                self._server = self._found()
            return self._server

    def _found(self) -> Server:
        where = self._where
        host, port = where.host, where.port
        if host is None:
            host, told = self._of_workgroup() if where.workgroup else self._of_cluster()
            port = port or told
        username, password = where.username, where.password
        if password is None:
            username, password = self._lent()
        return Server(
            host=host,
            port=port or PORT,
            database=where.database,
            username=username,
            password=password,
            ssl_mode=where.ssl_mode,
            ssl_root_cert=where.ssl_root_cert,
            connection_timeout_seconds=where.connection_timeout_seconds,
        )

    # ---- what the API tells and lends

    def _of_cluster(self) -> tuple[str, int]:
        found = self._asked("DescribeClusters", {"ClusterIdentifier": self._where.cluster or ""})
        endpoint = found.find(".//{*}Endpoint")
        address = endpoint.findtext("{*}Address") if endpoint is not None else None
        if endpoint is None or not address:
            raise ConfigError(
                f"cluster {self._where.cluster} has no endpoint: it is being made, or paused",
                hint="resume it, or try later",
            )
        return address, int(endpoint.findtext("{*}Port") or PORT)

    def _of_workgroup(self) -> tuple[str, int]:
        found = self._called("GetWorkgroup", {"workgroupName": self._where.workgroup or ""})
        endpoint = (found.get("workgroup") or {}).get("endpoint") or {}
        if not endpoint.get("address"):
            raise ConfigError(f"workgroup {self._where.workgroup} has no endpoint", hint="is it still made?")
        return str(endpoint["address"]), int(endpoint.get("port") or PORT)

    def _lent(self) -> tuple[str, Secret]:
        """A user and password that end."""
        where = self._where
        if where.workgroup:
            body = {"workgroupName": where.workgroup, "dbName": where.database}
            found = self._called("GetCredentials", body)
            user, password = found.get("dbUser"), found.get("dbPassword")
            ends = datetime.fromtimestamp(float(found.get("expiration") or 0), UTC)
        elif where.cluster:
            form = {"ClusterIdentifier": where.cluster, "DbName": where.database}
            form["DurationSeconds"] = str(LENT_SECONDS)
            if where.username:
                form |= {"DbUser": where.username, "AutoCreate": "false"}
            action = "GetClusterCredentials" if where.username else "GetClusterCredentialsWithIAM"
            told = self._asked(action, form)
            user, password = told.findtext(".//{*}DbUser"), told.findtext(".//{*}DbPassword")
            ends = _instant(told.findtext(".//{*}Expiration"))
        else:
            raise ConfigError(
                "there is no password, and nobody to lend one",
                hint="give password, or cluster_identifier or workgroup for one that IAM lends",
            )
        if not user or not password:
            raise AuthenticationError("the API lends no password", hint="look at redshift_endpoint_url")
        self._ends = ends
        return user, Secret(password)

    def _asked(self, action: str, form: Mapping[str, str]) -> ElementTree.Element:
        keys, region = self._signer()
        endpoint = self._where.endpoint_url or f"https://redshift.{region}.amazonaws.com"
        body = {"Action": action, "Version": VERSION, **form}
        try:
            answer = signed_post(endpoint, body, (keys, region, "redshift"), self._cancel)
            return ElementTree.fromstring(answer)
        except QueryError as error:
            hint = "look at cluster_identifier, database, username and region"
            raise ConfigError(f"{action}: {error.what}", hint=hint) from error
        except ElementTree.ParseError as error:
            raise DataError(
                f"{action} is answered by no XML", hint="look at redshift_endpoint_url"
            ) from error
        except AuthenticationError:
            raise
        except Refused as error:
            if WRONG_KEYS.search(error.what):
                raise AuthenticationError(f"{action}: {error.what}", hint=ENDED) from error
            raise Refused(f"{action}: {error.what}", hint=f"our keys need redshift:{action}") from error

    def _called(self, action: str, body: Mapping[str, str]) -> dict[str, Any]:
        keys, region = self._signer()
        endpoint = self._where.endpoint_url or f"https://redshift-serverless.{region}.amazonaws.com"
        by = (keys, region, "redshift-serverless")
        answer = signed_call(endpoint, f"RedshiftServerless.{action}", body, by, self._cancel)
        try:
            told = json.loads(answer.content)
            kind = str(told.get("__type", "")).rpartition("#")[2]
        except (ValueError, AttributeError) as error:
            raise DataError(
                f"{action} is answered by no JSON", hint="look at redshift_endpoint_url"
            ) from error
        if answer.status < 300:
            return dict(told)
        what = f"{action}: {kind} {told.get('message', '')}".rstrip()
        if kind.startswith("AccessDenied"):
            raise Refused(what, hint=f"our keys need redshift-serverless:{action}")
        if answer.status == 401 or WRONG_KEYS.search(kind):
            raise AuthenticationError(what, hint=ENDED)
        raise ConfigError(what, hint="look at workgroup, database and region")

    def _signer(self) -> tuple[Keys, str]:
        identity = self._where.identity
        keys = found_keys(identity, self._cancel) or machine_keys(identity, self._cancel)
        if keys is None:
            raise ConfigError(
                "there are no AWS keys, and the machine is lent none",
                hint="give host and password, or access_key and secret_key, a profile or the environment's",
            )
        return keys, identity.region_or_default()


def _instant(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.now(UTC)  # it is asked for anew each time
    return found if found.tzinfo else found.replace(tzinfo=UTC)
