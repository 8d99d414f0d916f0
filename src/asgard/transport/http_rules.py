"""What HTTP clients keep to: how long to wait, which addresses never to ask, which names to hide.

Reference: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import re
import socket
from collections.abc import Mapping

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
SECRET_NAME = re.compile(
    r"pass|secret|token|credential|auth|api.?key|access.?key|^key$|session|signature|^sig$|cookie",
    re.IGNORECASE,
)
"""Names of headers and parameters whose values are not shown."""
_METADATA = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::254/128"),
    ipaddress.ip_network("100.100.100.200/32"),
)


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
    for prefix in ("x-ratelimit-", "ratelimit-", "x-rate-limit-"):
        left, reset = headers.get(f"{prefix}remaining"), headers.get(f"{prefix}reset", "")
        if left == "0" and re.fullmatch(r"\d+(\.\d+)?", reset):
            seconds = float(reset)
            return max(seconds - now, 0.0) if seconds > 1e9 else seconds
    return None


def backoff_seconds(attempt: int) -> float:
    """How long to wait before the next attempt when nobody says: twice as long each time."""
    return min(FIRST_WAIT_SECONDS * 2.0**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)


def metadata_address(host: str) -> str | None:
    """The address of the host at which clouds give credentials out; None when it has none of those.

    A name that cannot be looked up has none: connecting will tell, or a proxy knows it.
    """
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return None
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip.version == network.version and ip in network for network in _METADATA):
            return str(ip)
    return None
