"""What goes wrong with HTTP, in our words: foreign exceptions and statuses, most specific first.

Reference: https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import urllib3.exceptions as foreign

from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, DataError, QueryError, Refused
from asgard.core.errors import Unreachable as _Unreachable

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
NEVER_SENT = (foreign.NewConnectionError, foreign.ConnectTimeoutError)
FOREIGN = (foreign.HTTPError, OSError, ValueError)
"""Everything that a request raises: the library's own, the socket's, and what cannot be encoded."""
_NO_REQUEST = (
    foreign.LocationValueError, foreign.URLSchemeUnknown, foreign.InvalidHeader,
    foreign.UnrewindableBodyError,
)  # fmt: skip


def may_heal(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, (foreign.DecodeError, ValueError)):
        return False
    return "CERTIFICATE_VERIFY_FAILED" not in str(error)


def translated(error: Exception, told: str, host: str, url: str, timeout_seconds: float) -> AsgardError:
    """Our error for a foreign one.

    Args:
        told: the error's text without secrets.
        url: as people may see it.
    """
    where = {"url": url}
    if isinstance(error, foreign.DecodeError):
        return DataError(
            f"the answer of {host} cannot be unpacked: {told}", hint="is a proxy in between?", where=where
        )
    if isinstance(error, foreign.NameResolutionError | socket.gaierror):
        return _Unreachable(f"the name {host} is not known: {told}", hint="look at base_url", where=where)
    if isinstance(error, foreign.ProxyError | foreign.ProxySchemeUnknown):
        return _Unreachable(f"the proxy refused: {told}", hint="look at HTTPS_PROXY", where=where)
    if isinstance(error, foreign.SSLError) or "SSL" in told:
        return _no_tls(host, told, where)
    if isinstance(error, foreign.NewConnectionError | ConnectionRefusedError):
        return _Unreachable(
            f"{host} takes no connection: {told}", hint="is it running, and is base_url right?", where=where
        )
    if isinstance(error, foreign.TimeoutError | TimeoutError):
        return _Unreachable(
            f"{host} did not answer within {timeout_seconds:g} s",
            hint="raise timeout_seconds if it is slow",
            where=where,
        )
    if isinstance(error, _NO_REQUEST) or not isinstance(error, foreign.HTTPError | OSError):
        return ConfigError(
            f"the request is none: {told}", hint="look at base_url, path, headers", where=where
        )
    return _Unreachable(f"{host} broke off: {told}", hint="try later", where=where)


def _no_tls(host: str, told: str, where: Mapping[str, str]) -> AsgardError:
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return _Unreachable(
            f"the certificate of {host} is not trusted: {told}",
            hint="give the authority that signed it as ca_file, or mend base_url",
            where=where,
        )
    return _Unreachable(f"no TLS with {host}: {told}", hint="is it http:// instead of https://?", where=where)


def refusal(status: int, excerpt: str, url: str, attempts: int) -> AsgardError:
    """Our error for a status that is no answer.

    Args:
        excerpt: what the server says, without secrets.
        attempts: how often it was asked.
    """
    where = {"url": url}
    told = f"status {status}{excerpt}"
    if status == 401:
        return AuthenticationError(
            f"the credentials were refused: {told}",
            hint="look at auth_type and at the token, password or key",
            where=where,
        )
    if status in (403, 407):
        hint = "ask for the permission" if status == 403 else "the proxy wants credentials: set HTTPS_PROXY"
        return Refused(f"not allowed: {told}", hint=hint, where=where)
    if status in (404, 410):
        return QueryError(f"not found: {told}", hint="look at base_url and path", where=where)
    if status in AGAIN or status >= 500:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        hint = "lower rate_limit" if status == 429 else "try later"
        return _Unreachable(f"the server failed{tried}: {told}", hint=hint, where=where)
    return QueryError(
        f"the server does not take the request: {told}", hint="look at method, params and body", where=where
    )


def given_up(error: AsgardError, attempts: int) -> AsgardError:
    """The error after the last attempt: who tried several times with growing waits has done what a run would
    do again, so the run does not."""
    if attempts > 1:
        error.retryable = False
    return error
