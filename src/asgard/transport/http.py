"""HTTP for connectors: signs in, waits for its turn, tries again, and turns what goes wrong into our errors.

Knows statuses, Retry-After and rate-limit headers; leaves paging and records to connectors. A secret leaves
the process in the request alone: never for another host (redirects and next pages elsewhere are refused),
never in an error or a URL that is shown. Addresses that clouds give their credentials out at are refused.

Reference: https://www.rfc-editor.org/rfc/rfc9110, https://www.rfc-editor.org/rfc/rfc6585,
https://www.rfc-editor.org/rfc/rfc8288 (Link)
"""

from __future__ import annotations

import hashlib
import random
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson
import urllib3

from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError, DataError, Unreachable
from asgard.core.secret import STARS, redact
from asgard.transport.http_budget import shared_budget
from asgard.transport.http_errors import AGAIN, FOREIGN, NEVER_SENT, given_up, may_heal, refusal, translated
from asgard.transport.http_peers import check_peers
from asgard.transport.http_rules import (
    SECRET_NAME,
    asked_wait_seconds,
    backoff_seconds,
    metadata_address,
    metadata_refusal,
    origin_of,
    used_up_seconds,
    with_params,
)

MOST_BODY_BYTES = 256 * MEBIBYTE
PART_BYTES = 64 * 1024
MOST_REDIRECTS = 5
MOST_RENEWALS = 2
"""How often one request may find its token expired, before the credentials themselves are the reason."""
LONGEST_ASKED_WAIT_SECONDS = 900.0
"""How long a server may make us wait with Retry-After; beyond it the run fails and says until when."""
SHOWN_CHARACTERS = 300
CONNECTIONS = 8
_NEXT = re.compile(r"""<([^>]*)>[^<]*?;\s*rel\s*=\s*["']?[^"',;]*\bnext\b""", re.IGNORECASE)


@dataclass(frozen=True)
class HttpSettings:
    """How a host is talked to.

    Attributes:
        headers, params: sent with every request.
        basic: user and password for basic authentication.
        secrets: values that no text may show.
        max_retries: further attempts after the first.
        rate_limit: most requests within `rate_seconds`, of everybody in this process who has the same
            account; None for no limit.
        policies: name in the JSON of a 429 to its values, and to how many seconds to wait for each attempt
            so far; None where waiting does not help today.
        ca_file: PEM file of certificate authorities that are trusted besides the usual ones.
        tls: whom to trust and who we are, instead of the usual authorities and `ca_file`.
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
    rate_seconds: float = 1.0
    policies: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    ca_file: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    allow_metadata_addresses: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        url: absolute, or relative to the base.
        body: sent as JSON, a text as it is; None for no body.
        form: sent as a form, instead of a body.
        repeatable: asking twice does no harm, whatever the method.
    """

    url: str
    method: str = "GET"
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    repeatable: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether it may be asked again though it may have been done."""
        return self.repeatable or self.method in ("GET", "HEAD")


@dataclass(frozen=True)
class Answer:
    """What came back, with a status of 200 to 299, or one that the caller said it wants to see.

    Attributes:
        headers: names in lower case.
        next_link: the Link header's `next`; None when there is none.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    next_link: str | None
    asked_url: str = field(repr=False)
    shown: Callable[[str], str] = field(repr=False)

    @property
    def url(self) -> str:
        """Of the answer, without secrets; for people."""
        return self.shown(self.asked_url)

    def at(self, link: str) -> str:
        """The absolute URL of a link in the answer; as it is, with whatever secret is in it."""
        return urljoin(self.asked_url, link)


class Authorizer(Protocol):
    """Gives out credentials that change. Used from any thread."""

    def header(self) -> str:
        """What stands in `Authorization` now; asked before every attempt."""

    def expired(self, header: str) -> bool:
        """The server did not take it: True when another one is worth an attempt."""


class HttpClient:
    """Connections to one host. Used from any thread."""

    def __init__(self, settings: HttpSettings, cancel: Cancel, authorizer: Authorizer | None = None) -> None:
        self._settings = settings
        self._cancel = cancel
        self._authorizer = authorizer
        self._base = _checked_base(settings.base_url)
        self._origin = origin_of(self._base)
        self._host = self._origin[1]
        self._place = urlsplit(self._base)._replace(path="", query="", fragment="").geturl()
        self._last_absolute = ("", "")
        account = hashlib.sha256(repr((settings.headers, settings.params, settings.basic)).encode()).digest()
        self._budget = shared_budget((self._origin, account), settings.rate_limit, settings.rate_seconds)
        self._checked_hosts: set[str] = set()
        self._sent: deque[str] = deque(maxlen=8)
        self._manager = _manager(self._base, settings)
        # All requests go to one host: its own pool saves looking it up, half of what a request costs.
        proxied = isinstance(self._manager, urllib3.ProxyManager)
        self._pool: Any = self._manager if proxied else self._manager.connection_from_url(self._base)
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "asgard",
            **urllib3.make_headers(accept_encoding=True),
            **settings.headers,
        }
        if settings.basic is not None:
            user, password = settings.basic
            basic = urllib3.make_headers(basic_auth=f"{user}:{password}".encode().decode("latin-1"))
            self._headers["Authorization"] = basic["authorization"]

    def send(self, request: Request, *, wanted: Sequence[int] = ()) -> Answer:
        """Asks until there is an answer, at most `max_retries` times more.

        What may have been done already is not asked again: other methods than GET and HEAD only if the
        server said 429, or never heard of it, or if the request is repeatable. An expired token is renewed
        in between. An error after several attempts is not retryable: nobody needs to try all that again.

        Args:
            wanted: further statuses that are an answer and no error.

        Raises:
            AuthenticationError, Refused, QueryError: 401, 403, other 4xx.
            Unreachable: no answer, or 429 and 5xx to the end.
            DataError: the answer is larger than 256 MiB, or cannot be unpacked.
            ConfigError: the host is a metadata address, or the answer sends us to another host.
        """
        url = self.absolute(request.url)
        attempt = renewals = 0
        while True:
            last = attempt == self._settings.max_retries
            header = self._authorizer.header() if self._authorizer else ""
            if header and header not in self._sent:
                self._sent += (header, header.rpartition(" ")[2])
            try:
                with self._budget.turn(self._cancel):
                    response = self._once(request, url, header)
            except FOREIGN as error:
                again = may_heal(error) and (request.is_safe or isinstance(error, NEVER_SENT))
                if last or not again:
                    raise given_up(self.translated(error, url), attempt + 1) from error
                self._cancel.sleep(backoff_seconds(attempt))
                attempt += 1
                continue
            used_up = used_up_seconds(response.headers, time.time())
            if used_up is not None and used_up <= LONGEST_ASKED_WAIT_SECONDS:
                self._budget.pause(used_up)
            if 200 <= response.status < 300 or response.status in wanted:
                return response
            if response.status == 401 and self._renewed(header, renewals):
                renewals += 1
                continue
            again = response.status == 429 or (response.status in AGAIN and request.is_safe)
            known, policy_seconds = self._policy(response)
            if last or not again or (known and policy_seconds is None):
                raise given_up(self._refusal(response, attempt + 1), attempt + 1)
            self._wait(response, attempt, policy_seconds)
            attempt += 1

    def absolute(self, url: str) -> str:
        """The URL with the base in front of it, if it needs one.

        Raises:
            ConfigError: it is of another host.
        """
        if url and url == self._last_absolute[0]:
            return self._last_absolute[1]  # of most lists only parameters change
        joined = url if re.match(r"https?://", url, re.IGNORECASE) else _joined(self._base, url)
        try:
            parts, base = urlsplit(joined), urlsplit(self._base)
            if parts.hostname == base.hostname and parts.scheme != base.scheme and parts.port is None:
                # Behind a proxy servers often take themselves for http; their credentials stay on https.
                joined = parts._replace(scheme=base.scheme, netloc=base.netloc).geturl()
            same = origin_of(joined) == self._origin
        except ValueError as error:
            raise ConfigError(f"{self.redacted(joined)} is no URL: {error}", hint="look at path") from error
        if not same:
            raise ConfigError(
                f"{self.shown(joined)} is of another host than {self._host}",
                hint="credentials are only sent to base_url: set it to that host if that is meant",
            )
        self._last_absolute = (url, joined)
        return joined

    def shown(self, url: str) -> str:
        """The URL without user, secrets and values of parameters that look secret."""
        parts = urlsplit(url)
        hidden = [
            (k, STARS if SECRET_NAME.search(k) else v)
            for k, v in parse_qsl(parts.query, keep_blank_values=True)
        ]
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        text = plain + ("?" + "&".join(f"{k}={v}" for k, v in hidden) if hidden else "")
        return self.redacted(text)

    def redacted(self, text: str) -> str:
        """The text without any of the settings' secrets, and without the tokens that were sent last."""
        return redact(text, [*self._settings.secrets, *(self._settings.basic or ())[1:], *self._sent])

    def without_secrets(self, url: str) -> str:
        """The URL as it may be kept: what every request sends by itself is not in it (Promise 6)."""
        parts = urlsplit(url)
        secrets = {*self._settings.secrets, *(self._settings.basic or ())[1:]}
        given = parse_qsl(parts.query, keep_blank_values=True)
        kept = [(k, v) for k, v in given if k not in self._settings.params and v not in secrets]
        if len(kept) == len(given) and "@" not in parts.netloc:
            return url
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=urlencode(kept)).geturl()

    def close(self) -> None:
        """Gives the connections back; more than once is fine."""
        self._manager.clear()

    def translated(self, error: Exception, url: str) -> AsgardError:
        """Our error for a foreign one."""
        told = self.redacted(str(error) or type(error).__name__)
        host = urlsplit(url).hostname or self._host
        return translated(error, told, host, self.shown(url), self._settings.timeout_seconds)

    def _once(self, request: Request, url: str, header: str) -> Answer:
        params: Mapping[str, Any] = {**self._settings.params, **request.params}
        method, (kind, body) = request.method, _encoded(request)
        headers = {**({"Content-Type": kind} if kind else {}), **self._headers}
        if header:
            headers["Authorization"] = header
        for _ in range(MOST_REDIRECTS + 1):
            self._refuse_metadata(urlsplit(url).hostname or "")
            target = with_params(url, params) if params else url
            response = self._pool.urlopen(
                method, self._asked(target), body=body, headers=headers, redirect=False, retries=False,
                preload_content=False,
            )  # fmt: skip
            try:
                location = response.get_redirect_location()
                content = _body(response)  # of a redirect too: the connection is used again
            finally:
                response.release_conn()
            if not location:
                told = {name.lower(): value for name, value in response.headers.items()}
                if not content and _ends_unsaid(response.status, told):
                    raise urllib3.exceptions.ProtocolError("the connection ended in the middle of the answer")
                link = _NEXT.search(told.get("link", ""))
                return Answer(response.status, told, content, link and link[1], target, self.shown)
            url = self.absolute(urljoin(target, str(location)))
            params = {}  # the new place has its own
            if response.status == 303:
                method, body = "GET", None
        raise ConfigError(f"{self.shown(url)} redirects again and again", hint="look at base_url and path")

    def _asked(self, target: str) -> str:
        """The URL as the pool takes it: without the host, where it has one of its own."""
        if self._pool is self._manager or not target.startswith(self._place):
            return target
        rest = target[len(self._place) :].partition("#")[0]
        return rest if rest.startswith("/") else f"/{rest}"

    def _refuse_metadata(self, host: str) -> None:
        if self._settings.allow_metadata_addresses or host in self._checked_hosts:
            return
        if (ip := metadata_address(host)) is not None:
            raise metadata_refusal(host, ip)
        self._checked_hosts.add(host)

    def _renewed(self, header: str, renewals: int) -> bool:
        return self._authorizer is not None and renewals < MOST_RENEWALS and self._authorizer.expired(header)

    def _wait(self, response: Answer, attempt: int, policy_seconds: float | None) -> None:
        asked = asked_wait_seconds(response.headers, time.time())
        if asked is None and policy_seconds is not None:
            asked = policy_seconds * (attempt + 1)
        if asked is None and response.status == 429 and self._settings.rate_limit:
            asked = self._settings.rate_seconds * (attempt + 1)
        if asked is None:
            self._cancel.sleep(backoff_seconds(attempt))
            return
        if asked > LONGEST_ASKED_WAIT_SECONDS:
            raise given_up(
                Unreachable(
                    f"the server wants us to wait for {asked:.0f} s",
                    hint="run again then, or lower rate_limit",
                    where={"url": response.url},
                ),
                attempt + 2,
            )
        if response.status == 429:
            self._budget.pause(asked)  # it means everybody who asks with this account, and so us too
        else:
            self._cancel.sleep(asked + random.uniform(0, 0.1))

    def _policy(self, response: Answer) -> tuple[bool, float | None]:
        """Whether a 429 names a policy that is known, and the seconds to wait by it."""
        if response.status == 429 and self._settings.policies:
            with suppress(orjson.JSONDecodeError):
                told = orjson.loads(response.content)
                for name, values in self._settings.policies.items():
                    if isinstance(told, dict) and told.get(name) in values:
                        return True, values[told[name]]
        return False, None

    def _refusal(self, response: Answer, attempts: int) -> AsgardError:
        excerpt = f": {self.excerpt(response.content)}" if response.content.strip() else ""
        return refusal(response.status, excerpt, response.url, attempts)

    def excerpt(self, content: bytes) -> str:
        """The first characters of an answer, on one line, without secrets."""
        text = self.redacted(" ".join(content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split()))
        return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _encoded(request: Request) -> tuple[str, bytes | None]:
    if request.form is not None:
        return "application/x-www-form-urlencoded", urlencode(request.form).encode()
    if request.body is None:
        return "", None
    if isinstance(request.body, str):
        return "text/plain; charset=utf-8", request.body.encode()
    return "application/json", orjson.dumps(request.body)


def _ends_unsaid(status: int, headers: Mapping[str, str]) -> bool:
    """Whether nothing but the connection's end says that there is no more: then no content may be all of an
    answer, or the rest of it was lost with its headers."""
    return status != 204 and "content-length" not in headers and "transfer-encoding" not in headers


def _body(response: urllib3.BaseHTTPResponse) -> bytes:
    parts, size = [], 0
    for part in response.stream(PART_BYTES, decode_content=True):
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise DataError(
                f"one answer has more than {MOST_BODY_BYTES // MEBIBYTE} MiB", hint="ask for smaller pages"
            )
        parts.append(part)
    return b"".join(parts)


def _checked_base(base_url: str) -> str:
    try:
        base = urlsplit(base_url)
        base.port  # noqa: B018 a port that is no number is found when it is asked for
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"base_url is no URL: {error}", hint="https://api.example.com/v1") from error
    if base.scheme not in ("http", "https") or not base.hostname or re.search(r"\s", base_url):
        raise ConfigError(
            f"base_url {base_url!r} does not begin with https:// and a host",
            hint="https://api.example.com/v1",
        )
    if "@" in base.netloc:
        raise ConfigError("base_url has a user in it", hint="set username and password instead")
    return base_url


def _joined(base: str, path: str) -> str:
    if path.startswith("?"):
        return f"{base}{path}"
    whole = urlsplit(base)._replace(query="", fragment="").geturl().rstrip("/")
    return f"{whole}/{path.lstrip('/')}" if path else whole


def _manager(base: str, settings: HttpSettings) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=settings.timeout_seconds, read=settings.timeout_seconds),
        "maxsize": CONNECTIONS,
    }
    parts = urlsplit(base)
    if parts.scheme == "https":
        options["ssl_context"] = settings.tls or _trust(settings.ca_file)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.hostname or ""):
        manager = urllib3.PoolManager(**options)
        if not settings.allow_metadata_addresses:
            check_peers(manager)
        return manager
    user = urlsplit(proxy)
    named = f"{user.username}:{user.password or ''}" if user.username else None
    headers = urllib3.make_headers(proxy_basic_auth=named)
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


@cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Whose certificates are believed; made once, as reading all authorities takes long."""
    context = ssl.create_default_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {ca_file} has no certificates: {error}", hint="give a PEM file"
        ) from error
    return context
