"""The catalog of a lake of Iceberg tables: it says which metadata file of each table is the newest.

By default a SQLite file in the lake's own folder, in the form of Iceberg's JDBC catalog, so that Spark, Trino
and pyiceberg open it under the same name; or a server that speaks Iceberg's REST protocol. It knows how each
is opened and what its errors mean; what is in a table is asked by others.

Reference: https://iceberg.apache.org/rest-catalog-spec/,
https://iceberg.apache.org/docs/latest/jdbc/, docs/decisions/0186-iceberg-catalogs.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    OAuthError,
    RESTError,
    TableAlreadyExistsError,
    UnauthorizedError,
)
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import RequestException, SSLError
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    Conflict,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import Secret, redact, reveal

NAME = "asgard"
"""What the catalog in the lake's folder is called: who opens it by another name finds no tables."""
FILE = "catalog.db"
LOCKED_SECONDS = 60
"""How long a commit waits for others that hold the file."""
SILENT_SECONDS = 60
"""How long a server may send nothing."""
MOST_KNOWN = 64
"""Of so many tables the newest metadata is held."""
UNREADABLE = "%?#;\\"
TOKENS = "v1/oauth/tokens"
"""Where a server gives out tokens that does not say otherwise; pyiceberg's own default misses a slash."""


@dataclass(frozen=True)
class RestAccess:
    """A server that is the catalog, and who we are to it.

    Attributes:
        uri: where it is, without `/v1`.
        warehouse: which of its warehouses; empty: the one that it has.
        credential: `CLIENT:SECRET`, for which it gives a token.
        token: one that is there already.
        oauth2_server_uri: who gives tokens; empty: the catalog itself.
        scope: what the token is for; empty: `catalog`.
        headers: sent with every request.
        ca_file: the authority of its certificate; empty: those of the machine.
    """

    uri: str
    warehouse: str = ""
    credential: Secret | None = None
    token: Secret | None = None
    oauth2_server_uri: str = ""
    scope: str = ""
    headers: Mapping[str, Secret] = field(default_factory=dict)
    ca_file: str = ""

    @property
    def secrets(self) -> list[str]:
        """Every text that no error may show."""
        secret = (reveal(self.credential) or "").rpartition(":")[2]
        return [text for text in (secret, reveal(self.token), *self._revealed().values()) if text]

    def properties(self) -> dict[str, Any]:
        """What pyiceberg calls them."""
        said = {
            "uri": self.uri.rstrip("/"),
            "warehouse": self.warehouse,
            "credential": reveal(self.credential) or "",
            "token": reveal(self.token) or "",
            "oauth2-server-uri": self.oauth2_server_uri or f"{self.uri.rstrip('/')}/{TOKENS}",
            "scope": self.scope,
        }
        headers = {f"header.{name}": value for name, value in self._revealed().items()}
        tls = {"ssl": {"cabundle": self.ca_file}} if self.ca_file else {}
        return {**{key: value for key, value in said.items() if value}, **headers, **tls}

    def _revealed(self) -> dict[str, str]:
        return {name: reveal(value) or "" for name, value in self.headers.items()}


def check_folder(folder: Path) -> None:
    """Raises ConfigError for folders that the readers of Iceberg's tables look for elsewhere: they take paths
    for URLs, and drop what stands behind a ? or a #, so that all files of a table would be one."""
    wrong = sorted({character for character in UNREADABLE if character in str(folder)})
    if wrong:
        raise ConfigError(
            f"a lake of Iceberg tables cannot lie at {folder}: its path has {' and '.join(wrong)} in it",
            hint="choose another location",
        )


def open_sqlite(folder: Path, create: bool, **properties: Any) -> Catalog | None:
    """The catalog in a lake's folder.

    Args:
        folder: the lake's, absolute.
        create: makes folder and file where they are missing.
        properties: further ones of pyiceberg's, such as `py-io-impl`.

    Returns:
        None when there is none yet.

    Raises:
        AsgardError: it cannot be opened.
    """
    file = folder / FILE
    if not create and not file.exists():
        return None
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    with translated_catalog(str(file)):
        return _SqliteCatalog(file, warehouse=f"file://{folder}", **properties)


def open_rest(access: RestAccess, **properties: Any) -> Catalog:
    """The catalog that a server is; it is asked for its configuration at once.

    Raises:
        Unreachable: nobody answers there.
        AuthenticationError: it does not know us.
        Refused: it knows us, and does not let us.
        ConfigError: what answers is no REST catalog.
    """
    with translated_catalog(access.uri, access.secrets):
        return _PatientRestCatalog(NAME, **properties, **access.properties())


class _SqliteCatalog(SqlCatalog):
    """The same without connections that are kept open, also over a fork, and with more patience."""

    def __init__(self, file: Path, **properties: Any) -> None:
        url = URL.create("sqlite", database=str(file))
        MetastoreCatalog.__init__(self, NAME, uri=str(url), **properties)
        patience = {"timeout": LOCKED_SECONDS}
        self.engine = create_engine(url, poolclass=NullPool, connect_args=patience)
        try:
            self._init_catalog()
        except OperationalError:  # another process made its tables between our look and our making them
            self._init_catalog()
        self._newest: dict[tuple[str, str], Table] = {}

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        """A metadata file never changes: it is read once, not three times for each commit."""
        key = (orm_table.table_namespace, orm_table.table_name)
        known = self._newest.get(key)
        if known is None or known.metadata_location != orm_table.metadata_location:
            known = self._know(key, super()._convert_orm_to_iceberg(orm_table))
        return Table(known.name(), known.metadata, known.metadata_location, known.io, self)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As SqlCatalog; what was written needs not be read."""
        done = super().commit_table(table, requirements, updates)
        key = (self.namespace_to_string(table.name()[:-1]), table.name()[-1])
        self._know(key, Table(table.name(), done.metadata, done.metadata_location, table.io, self))
        return done

    def _know(self, key: tuple[str, str], table: Table) -> Table:
        if len(self._newest) >= MOST_KNOWN:
            self._newest.clear()
        self._newest[key] = table
        return table


class _PatientRestCatalog(RestCatalog):
    """The same with an end to its patience: pyiceberg waits for ever for a server that says nothing."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Patience())
        return session


class _Patience(HTTPAdapter):
    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]
        options["timeout"] = options.get("timeout") or SILENT_SECONDS
        return super().send(request, **options)


@contextmanager
def translated_catalog(place: str, secrets: list[str] | None = None) -> Iterator[None]:
    """Turns exceptions of pyiceberg's catalogs into ours, most specific first.

    Args:
        place: the catalog's URI or file, for the texts.
        secrets: what they may not show.
    """
    try:
        yield
    except AsgardError:
        raise
    except (RESTError, RequestException, SQLAlchemyError, *_OF_CATALOGS) as error:
        ours = _as_ours(error, place)
        raise type(ours)(redact(ours.what, secrets or []), hint=ours.hint) from error


_OF_CATALOGS = (CommitFailedException, NoSuchNamespaceError, NoSuchTableError, TableAlreadyExistsError)


def _as_ours(error: Exception, place: str) -> AsgardError:
    """The error that tells who must act."""
    said = _first_line(error)
    match error:
        case SQLAlchemyError():
            return _of_file(error, place, said)
        case OAuthError() | UnauthorizedError() | AuthorizationExpiredError():
            hint = "see credential and token of lake.catalog: they are wrong, or not valid any more"
            return AuthenticationError(f"the catalog {place} does not know us: {said}", hint=hint)
        case ForbiddenError():
            hint = "let the user of lake.catalog create and change tables there"
            return Refused(f"the catalog {place} does not allow it: {said}", hint=hint)
        case TableAlreadyExistsError() | CommitFailedException():
            return Conflict(said, hint="run again")
        case NoSuchNamespaceError() | NoSuchTableError():
            return QueryError(f"the catalog {place} has no such table: {said}", hint="load it first")
        case CommitStateUnknownException():
            return Unreachable(f"the catalog {place} did not say whether it committed: {said}")
        case _:
            return _of_server(error, place, said)


def _of_file(error: SQLAlchemyError, place: str, said: str) -> AsgardError:
    if isinstance(error, OperationalError) and "locked" in said:
        return Unreachable(f"{place} was locked by others for {LOCKED_SECONDS} seconds")
    if isinstance(error, OperationalError):
        return Refused(f"{place} cannot be used: {said}", hint="check the rights of the folder and the file")
    return ConfigError(f"{place} is no catalog of Iceberg: {said}", hint="put it back from a backup")


def _of_server(error: Exception, place: str, said: str) -> AsgardError:
    if isinstance(error, SSLError):
        hint = "lake.catalog.ca_file names the file of its authority"
        return Refused(f"the certificate of {place} is not to be trusted: {said}", hint=hint)
    if isinstance(error, NotConnected):
        hint = "see lake.catalog.uri, and whether the server runs"
        return Unreachable(f"the catalog {place} does not answer", hint=hint)
    if "json" in said.lower():
        hint = "lake.catalog.uri is where the server's /v1 is, without the /v1"
        return ConfigError(f"what answers at {place} is no REST catalog", hint=hint)
    return Unreachable(f"the catalog {place}: {said}")


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
