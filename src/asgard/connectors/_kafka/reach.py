"""Why no broker answers: what the driver told aside, and what a look at the addresses themselves finds.

The driver says "broker transport failure" of a port where nobody listens, of one that speaks TLS to a client
that does not, and of a broker that is advertised by a name that only its own network knows. Here each gets
its own words and its own way out.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress

from asgard.core.errors import Unreachable

PROBE_SECONDS = 2.0
MOST_PROBED = 3
DEFAULT_PORT = 9092
_ADVERTISED = re.compile(r"(?:\w+://)?(?P<address>[^/\s]+)/\d+: (?P<reason>.*)")
"""A broker that the cluster named, by its number: those that the user named have `bootstrap` in its place."""
_LATER = re.compile(r" \(after \d+ms in state .*")


def no_answer(servers: str, told: Iterable[str], *, tls: bool, seconds: float) -> Unreachable:
    """The error about a cluster that does not answer.

    Args:
        servers: the addresses that the user gave, with commas between them.
        told: what the driver said aside, without secrets.
        tls: whether it was spoken to by TLS.
        seconds: how long it was waited for.
    """
    what = f"no broker at {servers} answered within {seconds:g} s"
    for said in reversed(list(told)):
        if found := _ADVERTISED.match(said):
            reason = _LATER.sub("", found["reason"])
            return Unreachable(
                f"{what}: the cluster says that a broker is at {found['address']}, and there: {reason}",
                hint="advertised.listeners of the broker must name an address that this machine reaches",
            )
    addresses = [one.strip() for one in servers.split(",") if one.strip()]
    reasons, hint = [], ""
    for address in addresses[:MOST_PROBED]:
        reason, way_out = _looked_at(address, tls)
        reasons.append(reason if len(addresses) == 1 else f"{address}: {reason}")
        hint = hint or way_out
    return Unreachable(f"{what}: {'; '.join(reasons)}", hint=hint)


def _looked_at(address: str, tls: bool) -> tuple[str, str]:
    """What is at an address, and what to do about it."""
    host, port = parted(address)
    try:
        with socket.create_connection((host, port), PROBE_SECONDS) as line:
            speaks_tls = _speaks_tls(line)
    except socket.gaierror:
        return f"there is no host {host!r}", "check the name in bootstrap_servers"
    except TimeoutError:
        return "no connection is made", "check host and port, and whether a firewall lets you through"
    except OSError as error:
        reason = error.strerror or str(error)
        return reason[:1].lower() + reason[1:], "check host and port, and whether the broker runs"
    if speaks_tls and not tls:
        return "the port speaks TLS", "security_protocol: ssl, or sasl_ssl with username and password"
    if tls and not speaks_tls:
        return (
            "the port speaks no TLS",
            "security_protocol: plaintext, or sasl_plaintext with a username; or name the port with TLS",
        )
    return (
        "somebody listens there, and gives no answer of Kafka's",
        "check that the port is a broker's; one that wants a username may say nothing to who gives none",
    )


def _speaks_tls(line: socket.socket) -> bool:
    line.settimeout(PROBE_SECONDS)
    context = ssl.create_default_context()
    # Nothing is sent over it: whose certificate it is does not matter to what is spoken.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError), context.wrap_socket(line):
        return True
    return False


def parted(address: str) -> tuple[str, int]:
    """Host and port of an address, which may name a protocol before them, and an IPv6 host in brackets."""
    bare = address.rpartition("://")[2]
    host, _, port = bare.rpartition(":") if re.search(r":\d+$", bare) else (bare, "", "")
    return (host or bare).strip("[]"), int(port or DEFAULT_PORT)


def tls_hint(text: str) -> str:
    """What to do about TLS that failed, by what the driver said of it."""
    if "verif" in text:
        return (
            "ca_file must name the authorities that the broker's certificate is signed by, and "
            "bootstrap_servers a host that it is for"
        )
    if "wrong version number" in text:
        return "the port speaks no TLS: name the one that does, or security_protocol: plaintext"
    return "check ca_file, certificate_file and security_protocol"


def sign_in_hint(text: str) -> str:
    """What to do about a sign-in that failed, by what the broker said of it."""
    offered = re.search(r"supported mechanisms: ?(?P<names>[\w,\- ]*)", text)
    if offered is None:
        return "check username, password and sasl_mechanism"
    names: Sequence[str] = [name for name in re.split(r"[,\s]+", offered["names"]) if name]
    if names:
        return f"sasl_mechanism: {' or '.join(names)}"
    return "the port takes no username: leave username out, or name the port that takes one"
