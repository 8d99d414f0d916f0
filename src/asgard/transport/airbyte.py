"""The public API of an Airbyte server, version 1: workspaces, sources, destinations, connections, jobs.

Knows its URLs, its sign-in, its pages, its errors and the states of its jobs. Leaves to `app` which workspace
a name means, what is put in place of what, and how long a job is followed. A configuration goes out in the
request alone: none is kept of an answer, and its secrets stand in no error (Promise 6).

Reference: https://reference.airbyte.com (openapi/airbyte/api.yaml of airbytehq/airbyte-platform)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    Conflict,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.transport.airbyte_answers import (
    Connection,
    Job,
    JobType,
    Kind,
    Named,
    actor_of,
    connection_of,
    document_of,
    hidden_in,
    job_of,
    problem_of,
    strange_answer,
    text_in,
)
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request
from asgard.transport.oauth import OAuthSettings, OAuthTokens

PAGE_ROWS = 100
"""The most that a page may have."""
CLOUD_HOST = "api.airbyte.com"
API_PATH = "/api/public/v1"
SHOWN_CHARACTERS = 300
_REFUSALS = (400, 403, 404, 409, 422)


@dataclass(frozen=True)
class AirbyteSettings:
    """Where the server is and how to sign in.

    Attributes:
        base_url: with or without `/api/public/v1`; of Airbyte's cloud with or without `/v1`.
        client_id, client_secret: of an application; None for a server that asks nobody who they are.
        timeout_seconds: how long to wait for an answer.
        making_seconds: the same where an end or a connection is made or changed, which the server tries out
            before it answers. Who gives up too early, and asks again, gets it twice.
    """

    base_url: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0
    making_seconds: float = 900.0
    max_retries: int = 5
    allow_metadata_addresses: bool = False

    def __post_init__(self) -> None:
        if (self.client_id is None) != (self.client_secret is None):
            given, missing = "AIRBYTE_CLIENT_ID", "AIRBYTE_CLIENT_SECRET"
            if self.client_id is None:
                given, missing = missing, given
            raise ConfigError(f"{given} is set, {missing} is not", hint="set both, or none of them")


class AirbyteClient:
    """Signed in to one server. Used from any thread; a context manager, whose end gives connections back."""

    def __init__(self, settings: AirbyteSettings, cancel: Cancel) -> None:
        self.base_url = api_url(settings.base_url)
        self.settings = settings
        self._cancel = cancel
        self._tokens = self._account()
        self._http = self._client(settings.timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back; more than once is fine."""
        self._http.close()
        if self._tokens is not None:
            self._tokens.close()

    def sleep(self, seconds: float) -> None:
        """Waits, and raises Cancelled as soon as that is asked for."""
        self._cancel.sleep(seconds)

    def workspaces(self) -> Iterator[Named]:
        """Those that the application may see."""
        for told in self._pages("workspaces", {}, "workspaceId"):
            yield Named(text_in(told, "workspaceId"), text_in(told, "name"))

    def actors(self, kind: Kind, workspace_id: str | None = None) -> Iterator[Named]:
        """Sources or destinations, of one workspace or of all."""
        for told in self._pages(f"{kind}s", _within(workspace_id), f"{kind}Id"):
            yield actor_of(kind, told)

    def actor(self, kind: Kind, actor_id: str) -> Named:
        """One of them.

        Raises:
            QueryError: there is none of that id.
        """
        return actor_of(kind, self._asked(Request(f"{kind}s/{_part(actor_id)}")))

    def create_actor(
        self, kind: Kind, workspace_id: str, name: str, configuration: Mapping[str, Any]
    ) -> Named:
        """Makes a source or a destination.

        Args:
            configuration: in the words of Airbyte's connector, with `sourceType` or `destinationType`.

        Raises:
            ConfigError: the server does not take the configuration.
            Unreachable: no answer; it may have been made.
        """
        body = {"name": name, "workspaceId": workspace_id, "configuration": configuration}
        with self._making(configuration) as http:
            return actor_of(kind, self._asked(Request(f"{kind}s", "POST", body=body), http))

    def replace_actor(self, kind: Kind, actor_id: str, name: str, configuration: Mapping[str, Any]) -> Named:
        """Gives a source or a destination another configuration, as a whole; its type stays."""
        body = {
            "name": name,
            "configuration": {k: v for k, v in configuration.items() if k != f"{kind}Type"},
        }
        request = Request(f"{kind}s/{_part(actor_id)}", "PUT", body=body, repeatable=True)
        with self._making(configuration) as http:
            return actor_of(kind, self._asked(request, http))

    def delete_actor(self, kind: Kind, actor_id: str) -> None:
        """Takes it away, with its connections; one that is gone already is no mistake."""
        self._deleted(f"{kind}s/{_part(actor_id)}")

    def connections(self, workspace_id: str | None = None) -> Iterator[Connection]:
        """Of one workspace or of all."""
        for told in self._pages("connections", _within(workspace_id), "connectionId"):
            yield connection_of(told)

    def connection(self, connection_id: str) -> Connection:
        """One of them.

        Raises:
            QueryError: there is none of that id.
        """
        return connection_of(self._asked(Request(f"connections/{_part(connection_id)}")))

    def create_connection(self, source_id: str, destination_id: str, **further: Any) -> Connection:
        """Makes a connection.

        Args:
            further: name, configurations, schedule, prefix, ... as `ConnectionCreateRequest` has them.
        """
        body = {"sourceId": source_id, "destinationId": destination_id, **further}
        with self._making({}) as http:
            return connection_of(self._asked(Request("connections", "POST", body=body), http))

    def patch_connection(self, connection_id: str, **changes: Any) -> Connection:
        """Changes what is named, as `ConnectionPatchRequest` has it."""
        request = Request(f"connections/{_part(connection_id)}", "PATCH", body=changes, repeatable=True)
        with self._making({}) as http:
            return connection_of(self._asked(request, http))

    def delete_connection(self, connection_id: str) -> None:
        """Takes it away; one that is gone already is no mistake."""
        self._deleted(f"connections/{_part(connection_id)}")

    def jobs(self, connection_id: str) -> Iterator[Job]:
        """The jobs of a connection, the newest first."""
        asked = {"connectionId": connection_id, "orderBy": "createdAt|DESC"}
        for told in self._pages("jobs", asked, "jobId"):
            yield job_of(told)

    def job(self, job_id: int) -> Job:
        """One job as it is now.

        Raises:
            QueryError: there is none of that id.
        """
        return job_of(self._asked(Request(f"jobs/{job_id}")))

    def create_job(self, connection_id: str, job_type: JobType) -> Job:
        """Starts one.

        Raises:
            Conflict: one of the connection is under way.
            Unreachable: no answer; it may have been started.
        """
        body = {"connectionId": connection_id, "jobType": str(job_type)}
        return job_of(self._asked(Request("jobs", "POST", body=body)))

    def cancel_job(self, job_id: int) -> Job:
        """Asks for its end, and says how it is then; one that has ended stays as it is."""
        return job_of(self._asked(Request(f"jobs/{job_id}", "DELETE", repeatable=True)))

    def _pages(self, path: str, asked: Mapping[str, Any], id_name: str) -> Iterator[dict[str, Any]]:
        """Every entry of a list.

        The link to the next page says only that there is one: servers build it from the address that they
        have behind their proxy, and what is counted here needs no other.
        """
        offset, seen = 0, set[str]()
        while True:
            params = {**asked, "limit": PAGE_ROWS, "offset": offset}
            told = self._asked(Request(path, params=params))
            entries = told.get("data")
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise strange_answer(f"the list of {path} has no data")
            new = [entry for entry in entries if str(entry.get(id_name)) not in seen]
            yield from new
            seen.update(str(entry.get(id_name)) for entry in new)
            if not entries or not told.get("next"):
                return
            if not new:
                raise strange_answer(f"the list of {path} has the same page twice, at offset {offset}")
            offset += len(entries)

    def _deleted(self, path: str) -> None:
        answer = self._sent(Request(path, "DELETE", repeatable=True), self._http, wanted=_REFUSALS)
        if answer.status in _REFUSALS and answer.status != 404:
            raise self._refusal(answer, self._http)

    def _asked(self, request: Request, http: HttpClient | None = None) -> dict[str, Any]:
        http = http or self._http
        answer = self._sent(request, http, wanted=_REFUSALS)
        if answer.status in _REFUSALS:
            raise self._refusal(answer, http)
        told = document_of(answer)
        if told is None:
            raise ConfigError(
                f"{answer.url} answers, but not as Airbyte's API does",
                hint="look at AIRBYTE_BASE_URL: http://HOST:8000/api/public/v1, or https://api.airbyte.com/v1",
            )
        return told

    def _sent(self, request: Request, http: HttpClient, wanted: tuple[int, ...]) -> Answer:
        try:
            return http.send(request, wanted=wanted)
        except AuthenticationError as error:
            error.hint = (
                "look at AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET: Airbyte shows them below Applications"
            )
            raise
        except Unreachable as error:
            error.hint = "is Airbyte running, and is AIRBYTE_BASE_URL right?"
            raise

    def _refusal(self, answer: Answer, http: HttpClient) -> AsgardError:
        where = {"url": answer.url}
        told = problem_of(answer, http.redacted)
        told = told if len(told) <= SHOWN_CHARACTERS else told[: SHOWN_CHARACTERS - 3] + "..."
        if answer.status == 403:
            hint = "give the permission to the person whose application this is"
            return Refused(f"Airbyte does not allow it: {told}", hint=hint, where=where)
        if answer.status == 404:
            return QueryError(f"Airbyte does not know it: {told}", hint="look at the id", where=where)
        if answer.status == 409:
            return Conflict(f"Airbyte is busy with something else: {told}", hint="try later", where=where)
        return ConfigError(
            f"Airbyte does not take the request: {told}",
            hint="the page of the connector in Airbyte's documentation names its options",
            where=where,
        )

    @contextmanager
    def _making(self, configuration: Mapping[str, Any]) -> Iterator[HttpClient]:
        """A patient client, whose errors show no secret of the configuration, whatever the server says."""
        http = self._client(self.settings.making_seconds, tuple(hidden_in(configuration)))
        try:
            yield http
        finally:
            http.close()

    def _client(self, timeout_seconds: float, secrets: tuple[str, ...] = ()) -> HttpClient:
        own = self.settings.client_secret
        settings = HttpSettings(
            base_url=self.base_url,
            secrets=(*secrets, *([own] if own else [])),
            timeout_seconds=timeout_seconds,
            max_retries=self.settings.max_retries,
            allow_metadata_addresses=self.settings.allow_metadata_addresses,
        )
        return HttpClient(settings, self._cancel, self._tokens)

    def _account(self) -> OAuthTokens | None:
        given = self.settings
        if given.client_id is None or given.client_secret is None:
            return None
        settings = OAuthSettings(
            token_url=f"{self.base_url}/applications/token",
            client_id=given.client_id,
            client_secret=given.client_secret,
            as_json=True,
            # The specification requires grant_type and describes grant-type; Airbyte's pages send the latter.
            fields={"grant-type": "client_credentials"},
            timeout_seconds=given.timeout_seconds,
            max_retries=given.max_retries,
            allow_metadata_addresses=given.allow_metadata_addresses,
        )
        return OAuthTokens(settings, self._cancel)


def api_url(base_url: str) -> str:
    """The address of the API for one that may lack its path: `http://host:8000`, `https://api.airbyte.com`.

    Raises:
        ConfigError: it is no address.
    """
    base = base_url.strip().rstrip("/")
    try:
        host, path = urlsplit(base).hostname, urlsplit(base).path
    except ValueError:
        host, path = None, ""
    if host is None or not base.startswith(("http://", "https://")):
        raise ConfigError(
            "the address of Airbyte does not begin with https:// and a host",
            hint="AIRBYTE_BASE_URL=http://HOST:8000",
        )
    if path.endswith("/v1"):
        return base
    if host == CLOUD_HOST:
        return f"{base}/v1"
    for known in ("/api/public", "/api"):
        if path.endswith(known):
            base = base.removesuffix(known)
            break
    return f"{base}{API_PATH}"


def _within(workspace_id: str | None) -> dict[str, Any]:
    return {} if workspace_id is None else {"workspaceIds": workspace_id}


def _part(given: str) -> str:
    """An id as a part of a path."""
    if not given.strip("."):
        raise ConfigError(f"{given!r} is no id", hint="Airbyte's ids are UUIDs")
    return quote(given, safe="")
