"""Addresses that a server listens at and is asked from: which need no token, and who counts as one asker."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

IPV6_NETWORK_BITS = 64


def needs_token(host: str) -> bool:
    """Whether whoever asks a server that listens at this host must show a token: everywhere but at loopback.

    A name that means a loopback address and another one needs one, as does one that means nothing.

    >>> needs_token("127.0.0.1"), needs_token("::1"), needs_token("0.0.0.0"), needs_token("")
    (False, False, True, True)
    """
    if not host:
        return True
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return True
    return not all(_is_loopback(str(address[0])) for *_, address in found)


def is_local_page(host: str | None, origin: str | None) -> bool:
    """Whether a request that shows no token comes from this machine's own pages or programs.

    A page of somebody else that is open in a browser here can send requests to loopback, too. It gives itself
    away by its `Origin`; or by the `Host` that it asks, if it lets its own name mean 127.0.0.1.

    Args:
        host, origin: the request's headers; None for one that it does not have.

    >>> is_local_page("localhost:8000", None), is_local_page("evil.example:8000", None)
    (True, False)
    >>> is_local_page("localhost:8000", "https://evil.example")
    False
    """
    if host is None or re.search("[@/]", host) or not _means_this_machine(f"http://{host}"):
        return False
    return origin is None or (_means_this_machine(origin) and urlsplit(origin).netloc == host)


def network_of(address: str) -> str:
    """Who counts as one asker: an address of IPv4, a network of IPv6, of which one machine has billions.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2:3:4"), network_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, IPV6_NETWORK_BITS), strict=False))


def _means_this_machine(url: str) -> bool:
    """Whether it says so itself: a name that is looked up may be anybody's."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or host.endswith(".localhost") or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
