"""What HTTP clients keep to: how long to wait, which addresses never to ask, which names to hide, how URLs
are put together.

Reference: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after,
https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from asgard.core.errors import ConfigError

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
SECRET_NAME = re.compile(
    r"pass|secret|token|credential|auth|api.?key|access.?key|^key$|session|signature|^sig$|cookie",
    re.IGNORECASE,
)
"""Names of headers and parameters whose values are not shown."""
_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local: AWS, Google, Azure, and most others
        "fe80::/10",
        "fd00:ec2::/32",  # AWS: instances, containers, pods
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure, of the host
        "192.0.0.192/32",  # Oracle
    )
)
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
"""What those addresses are called within clouds; a proxy may know them where we do not."""
_IPV4_INSIDE = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""Networks of IPv6 whose last 32 bits are an address of IPv4."""


def asked_wait_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """How long the server asks us to wait: Retry-After (seconds or a date), or the reset of a used-up rate
    limit (seconds, or seconds since 1970); None when it does not say."""
    after = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        try:
            return max(email.utils.parsedate_to_datetime(after).timestamp() - now, 0.0)
        except ValueError:
            pass
    return used_up_seconds(headers, now)


_REMAINING = re.compile(r"(x-)?([a-z]+-)?rate-?limit-remaining")
_IN_ONE = re.compile(r"\b(?:remaining=|r=)0\b.*?\b(?:reset=|t=)(\d+)")
_SECONDS = re.compile(r"\d+(\.\d+)?")


def used_up_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """How long until there may be more requests, when these headers say that there may be none now: their
    reset (seconds, or seconds since 1970) or their interval; None when they do not say so.

    Args:
        headers: names in lower case.
    """
    for name, value in headers.items():
        if "rate" not in name:
            continue
        if found := _IN_ONE.search(value):
            return float(found[1])
        if value.strip() != "0" or not _REMAINING.fullmatch(name):
            continue
        reset = headers.get(name.replace("remaining", "reset"), "")
        if _SECONDS.fullmatch(reset):
            seconds = float(reset)
            return max(seconds - now, 0.0) if seconds > 1e9 else seconds
        interval = headers.get(name.replace("remaining", "interval-milliseconds"), "")
        if _SECONDS.fullmatch(interval):
            return float(interval) / 1000
    return None


def backoff_seconds(attempt: int) -> float:
    """How long to wait before the next attempt when nobody says: twice as long each time."""
    return min(FIRST_WAIT_SECONDS * 2.0**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)


def metadata_address(host: str) -> str | None:
    """The address of the host at which clouds give credentials out; None when it has none of those.

    A name that cannot be looked up has none, unless it is known for it: connecting will tell, or a proxy
    knows it. A name may mean something else a moment later: `http_peers` looks at what was connected to.
    """
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return host if host.rstrip(".").lower() in METADATA_NAMES else None
    return next((str(to[0]) for *_, to in found if gives_credentials_out(str(to[0]))), None)


def gives_credentials_out(address: str) -> bool:
    """Whether clouds give credentials out at this address of IPv4 or IPv6, or it is link-local."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _ipv4_inside(ip) or ip
    return any(ip.version == network.version and ip in network for network in _METADATA)


def _ipv4_inside(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(ip in network for network in _IPV4_INSIDE):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def metadata_refusal(host: str, address: str) -> ConfigError:
    """The error for a host that has such an address."""
    return ConfigError(
        f"{host} is {address}, an address at which clouds give credentials out",
        hint="if it is meant, set allow_metadata_addresses: true",
    )


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what decides who gets credentials."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """The URL with query parameters; those of the same name that it has are replaced."""
    parts = urlsplit(url)
    own = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in params]
    query = urlencode([*own, *_pairs(params)])
    return parts._replace(query=query).geturl()


def _pairs(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                yield name, ("true" if one else "false") if isinstance(one, bool) else str(one)
