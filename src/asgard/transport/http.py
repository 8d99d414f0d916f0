"""HTTP for connectors: signs in, waits for its turn, tries again, and turns what goes wrong into our errors.

Knows statuses, Retry-After and rate-limit headers; leaves paging and records to connectors. A secret leaves
the process in the request alone: never for another host (redirects and next pages elsewhere are refused),
never in an error or a URL that is shown. Addresses that clouds give their credentials out at are refused.

Reference: https://www.rfc-editor.org/rfc/rfc9110, https://www.rfc-editor.org/rfc/rfc6585
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx

from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    Bug,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import STARS, redact
from asgard.transport.http_rules import SECRET_NAME, asked_wait_seconds, backoff_seconds, metadata_address

MOST_BODY_BYTES = 256 * MEBIBYTE
MOST_REDIRECTS = 5
LONGEST_ASKED_WAIT_SECONDS = 900.0
"""How long a server may make us wait with Retry-After; beyond it the run fails and says until when."""
SHOWN_CHARACTERS = 300
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class HttpSettings:
    """How a host is talked to.

    Attributes:
        headers, params: sent with every request.
        basic: user and password for basic authentication.
        secrets: values that no text may show.
        max_retries: further attempts after the first.
        rate_limit: most requests a second; None for no limit.
        ca_file: PEM file of certificate authorities that are trusted besides the usual ones.
        allow_metadata_addresses: link-local addresses are no mistake here.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    timeout_seconds: float = 30.0
    max_retries: int = 5
    rate_limit: float | None = None
    ca_file: str | None = None
    allow_metadata_addresses: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        url: absolute, or relative to the base.
        body: sent as JSON; None for no body.
    """

    url: str
    method: str = "GET"
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What came back, with a status of 200 to 299, or one that the caller said it wants to see.

    Attributes:
        url: of the answer, without secrets; for people.
        next_link: the Link header's `next`; None when there is none.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    url: str
    next_link: str | None = None
    asked_url: str = field(default="", repr=False)

    def at(self, link: str) -> str:
        """The absolute URL of a link in the answer; as it is, with whatever secret is in it."""
        return str(httpx.URL(self.asked_url).join(link))


class HttpClient:
    """Connections to one host. Used from any thread."""

    def __init__(self, settings: HttpSettings, cancel: Cancel) -> None:
        self._settings = settings
        self._cancel = cancel
        self._base = _checked_base(settings.base_url)
        self._origin = _origin(self._base)
        self._turn = threading.Lock()
        self._next_turn = 0.0
        self._checked_hosts: set[str] = set()
        self._client = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "asgard", **settings.headers},
            auth=settings.basic,
            timeout=settings.timeout_seconds,
            verify=_trust(settings.ca_file),
            follow_redirects=False,  # our own way: credentials stay with their host
        )

    def send(self, request: Request, *, wanted: Sequence[int] = ()) -> Answer:
        """Asks until there is an answer, at most `max_retries` times more.

        What may have been done already is not asked again: other methods than GET and HEAD only if the
        server said 429, or never heard of it.

        Args:
            wanted: further statuses that are an answer and no error.

        Raises:
            AuthenticationError, Refused, QueryError: 401, 403, other 4xx.
            Unreachable: no answer, or 429 and 5xx to the end.
            DataError: the answer is larger than 256 MiB, or cannot be unpacked.
            ConfigError: the host is a metadata address, or the answer sends us to another host.
        """
        url = self.absolute(request.url)
        for attempt in range(self._settings.max_retries + 1):
            last = attempt == self._settings.max_retries
            self._wait_for_turn()
            try:
                response = self._once(request, url)
            except httpx.HTTPError as error:
                again = request.method in ("GET", "HEAD") or isinstance(error, _NEVER_SENT)
                if last or not again or not _may_heal(error):
                    raise self.translated(error, url) from error
                self._cancel.sleep(backoff_seconds(attempt))
                continue
            except (httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict, ValueError) as error:
                raise self.translated(error, url) from error
            if 200 <= response.status < 300 or response.status in wanted:
                return response
            again = response.status == 429 or (
                response.status in _AGAIN and request.method in ("GET", "HEAD")
            )
            if last or not again:
                raise self._refusal(response, attempt + 1)
            self._cancel.sleep(self._wait_seconds(response, attempt))
        raise Bug("the last attempt neither answered nor failed")

    def absolute(self, url: str) -> str:
        """The URL with the base in front of it, if it needs one.

        Raises:
            ConfigError: it is of another host.
        """
        joined = url if re.match(r"https?://", url, re.IGNORECASE) else _joined(self._base, url)
        parts = httpx.URL(joined)
        if parts.host == self._base.host and parts.scheme != self._base.scheme and parts.port is None:
            # Behind a proxy servers often take themselves for http; their credentials stay on https.
            parts = parts.copy_with(scheme=self._base.scheme, port=self._base.port)
        if _origin(parts) != self._origin:
            raise ConfigError(
                f"{self.shown(joined)} is of another host than {self._base.host}",
                hint="credentials are only sent to base_url: set it to that host if that is meant",
            )
        return str(parts)

    def shown(self, url: str) -> str:
        """The URL without user, secrets and values of parameters that look secret."""
        parts = httpx.URL(url)
        hidden = [(k, STARS if SECRET_NAME.search(k) else v) for k, v in parts.params.multi_items()]
        plain = str(parts.copy_with(userinfo=b"", query=None))
        text = plain + ("?" + "&".join(f"{k}={v}" for k, v in hidden) if hidden else "")
        return self.redacted(text)

    def redacted(self, text: str) -> str:
        """The text without any of the settings' secrets."""
        return redact(text, [*self._settings.secrets, *(self._settings.basic or ())[1:]])

    def close(self) -> None:
        """Gives the connections back; more than once is fine."""
        self._client.close()

    def translated(self, error: Exception, url: str) -> AsgardError:
        """Our error for one of httpx's, most specific first."""
        told = self.redacted(str(error) or type(error).__name__)
        host = httpx.URL(url).host
        where = {"url": self.shown(url)}
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(
                f"{host} did not answer within {self._settings.timeout_seconds:g} s",
                hint="raise timeout_seconds if it is slow",
                where=where,
            )
        if isinstance(error, httpx.DecodingError):
            return DataError(f"the answer of {host} cannot be unpacked: {told}", where=where)
        if isinstance(error, httpx.ConnectError):
            return _unconnected(error, host, told, where)
        if isinstance(error, httpx.ProxyError):
            return Unreachable(f"the proxy refused: {told}", hint="look at HTTPS_PROXY", where=where)
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return ConfigError(
                f"the request is none: {told}", hint="look at base_url, path, headers", where=where
            )
        if isinstance(error, httpx.HTTPError | httpx.StreamError | httpx.CookieConflict):
            return Unreachable(f"{host} broke off: {told}", where=where)
        return ConfigError(f"the request is none: {told}", where=where)

    def _once(self, request: Request, url: str) -> Answer:
        params: Mapping[str, Any] = {**self._settings.params, **request.params}
        method, body = request.method, request.body
        for _ in range(MOST_REDIRECTS + 1):
            self._refuse_metadata(httpx.URL(url).host)
            target = httpx.URL(url).copy_merge_params(params) if params else httpx.URL(url)
            with self._client.stream(method, target, json=body) as response:
                if not response.has_redirect_location:
                    return Answer(
                        response.status_code,
                        dict(response.headers),
                        _body(response),
                        self.shown(str(response.url)),
                        response.links.get("next", {}).get("url"),
                        str(response.url),
                    )
                url = self.absolute(str(response.url.join(response.headers["location"])))
                if response.status_code == 303:
                    method, body = "GET", None
            params = {}  # the new place has its own
        raise ConfigError(f"{self.shown(url)} redirects again and again", hint="look at base_url and path")

    def _refuse_metadata(self, host: str) -> None:
        if self._settings.allow_metadata_addresses or host in self._checked_hosts:
            return
        if (ip := metadata_address(host)) is not None:
            raise ConfigError(
                f"{host} is {ip}, an address at which clouds give credentials out",
                hint="if it is meant, set allow_metadata_addresses: true",
            )
        self._checked_hosts.add(host)

    def _wait_for_turn(self) -> None:
        self._cancel.check()
        with self._turn:
            now = time.monotonic()
            mine = max(now, self._next_turn)
            if self._settings.rate_limit:
                self._next_turn = mine + 1.0 / self._settings.rate_limit
        if mine > now:
            self._cancel.sleep(mine - now)

    def _wait_seconds(self, response: Answer, attempt: int) -> float:
        asked = asked_wait_seconds(response.headers, time.time())
        if asked is None:
            return backoff_seconds(attempt)
        if asked > LONGEST_ASKED_WAIT_SECONDS:
            raise Unreachable(
                f"the server wants us to wait for {asked:.0f} s",
                hint="run again then, or lower rate_limit",
                where={"url": response.url},
            )
        return asked + random.uniform(0, 0.1)

    def _refusal(self, response: Answer, attempts: int) -> AsgardError:
        status, where = response.status, {"url": response.url}
        told = f"status {status}{self._excerpt(response)}"
        if status == 401:
            return AuthenticationError(
                f"the credentials were refused: {told}",
                hint="look at auth_type and at the token, password or key",
                where=where,
            )
        if status in (403, 407):
            hint = (
                "ask for the permission" if status == 403 else "the proxy wants credentials: set HTTPS_PROXY"
            )
            return Refused(f"not allowed: {told}", hint=hint, where=where)
        if status in (404, 410):
            return QueryError(f"not found: {told}", hint="look at base_url and path", where=where)
        if status in _AGAIN or status >= 500:
            tried = f" after {attempts} attempts" if attempts > 1 else ""
            hint = "lower rate_limit" if status == 429 else "try later"
            return Unreachable(f"the server failed{tried}: {told}", hint=hint, where=where)
        return QueryError(
            f"the server does not take the request: {told}",
            hint="look at method, params and body",
            where=where,
        )

    def _excerpt(self, response: Answer) -> str:
        return f": {self.excerpt(response.content)}" if response.content.strip() else ""

    def excerpt(self, content: bytes) -> str:
        """The first characters of an answer, on one line, without secrets."""
        text = self.redacted(" ".join(content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split()))
        return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _may_heal(error: Exception) -> bool:
    return not isinstance(
        error, httpx.UnsupportedProtocol | httpx.DecodingError | httpx.LocalProtocolError
    ) and ("CERTIFICATE_VERIFY_FAILED" not in str(error))


def _unconnected(error: Exception, host: str, told: str, where: Mapping[str, str]) -> AsgardError:
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return Unreachable(
            f"the certificate of {host} is not trusted: {told}",
            hint="give the authority that signed it as ca_file, or mend base_url",
            where=where,
        )
    if "SSL" in told or "TLS" in told:
        return Unreachable(
            f"no TLS with {host}: {told}", hint="is it http:// instead of https://?", where=where
        )
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return Unreachable(f"the name {host} is not known: {told}", hint="look at base_url", where=where)
        cause = cause.__cause__ or cause.__context__
    return Unreachable(
        f"{host} takes no connection: {told}", hint="is it running, and is base_url right?", where=where
    )


def _body(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise DataError(
                f"one answer has more than {MOST_BODY_BYTES // MEBIBYTE} MiB", hint="ask for smaller pages"
            )
        parts.append(part)
    return b"".join(parts)


def _checked_base(base_url: str) -> httpx.URL:
    try:
        base = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"base_url is no URL: {error}", hint="https://api.example.com/v1") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ConfigError(
            f"base_url {base_url!r} does not begin with https:// and a host",
            hint="https://api.example.com/v1",
        )
    if base.userinfo:
        raise ConfigError("base_url has a user in it", hint="set username and password instead")
    return base


def _joined(base: httpx.URL, path: str) -> str:
    if path.startswith("?"):
        return f"{base}{path}"
    whole = str(base.copy_with(query=None, fragment=None)).rstrip("/")
    return f"{whole}/{path.lstrip('/')}" if path else whole


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


@cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Whose certificates are believed; made once, as reading all authorities takes long."""
    context = httpx.create_ssl_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {ca_file} has no certificates: {error}", hint="give a PEM file"
        ) from error
    return context
