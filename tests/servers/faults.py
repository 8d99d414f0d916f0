"""A network that fails on purpose: a TCP proxy on loopback between a test and a real server.

    with faulty_network("127.0.0.1", server.port) as network:
        network.arm(Fault.reset(at_byte=100_000), times=1)
        ... a client that talks to network.host, network.port ...
        assert network.fired == 1

Knows bytes and nothing of what they mean, so every protocol can go through it. Bytes are counted on each
connection by itself, in the direction from the server to the client (`Fault.upstream` turns that round).
A server that tells its clients another address (Kafka, MongoDB) must be told to give the proxy's, for which
the proxy's port can be chosen.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal, Self

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Fault:
    """What goes wrong on a connection, and where.

    Attributes:
        kind: cut ends the connection as an orderly server does (FIN), reset as a crashed one (RST); stall
            keeps it open and passes nothing any more; drip passes single bytes; delay waits before chunks.
        at_byte: so many bytes are passed unharmed before.
        seconds: between two bytes, or before each chunk.
        for_bytes: how much is dripped or delayed; None for all the rest.
        upstream: counts and harms what the client sends, not what the server does.
    """

    kind: Literal["cut", "reset", "stall", "drip", "delay"]
    at_byte: int = 0
    seconds: float = 0.0
    for_bytes: int | None = None
    upstream: bool = False

    @classmethod
    def cut(cls, at_byte: int) -> Self:
        """The connection ends after so many bytes, maybe in the middle of a row."""
        return cls("cut", at_byte)

    @classmethod
    def reset(cls, at_byte: int) -> Self:
        """The same, but as if the server's machine had gone."""
        return cls("reset", at_byte)

    @classmethod
    def half_open(cls, at_byte: int = 0) -> Self:
        """Nothing comes any more, and nobody says so; at byte 0: accepted, and never answered."""
        return cls("stall", at_byte)

    @classmethod
    def drip(cls, for_bytes: int | None = None, seconds: float = 0.0, at_byte: int = 0) -> Self:
        """A byte at a time."""
        return cls("drip", at_byte, seconds, for_bytes)

    @classmethod
    def delay(cls, seconds: float, for_bytes: int | None = None, at_byte: int = 0) -> Self:
        """Every chunk comes late."""
        return cls("delay", at_byte, seconds, for_bytes)

    def towards_server(self) -> Self:
        """The same on the way from the client to the server."""
        return replace(self, upstream=True)


class FaultyNetwork:
    """The proxy. Connections pass unharmed until a fault is armed; `port` is where clients go.

    Attributes:
        fired: on how many connections the armed fault has struck.
        passed_bytes: what each connection brought from the server so far, in the order of their opening: the
            scale for `at_byte`.
    """

    def __init__(self, host: str, port: int, own_port: int = 0) -> None:
        self._server = (host, port)
        self._listener = socket.create_server((HOST, own_port), backlog=64)
        self._listener.settimeout(TICK_SECONDS)
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left = 0
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self.host = HOST
        self.port: int = self._listener.getsockname()[1]
        self.fired = 0
        self.passed_bytes: list[int] = []
        self._accepting = threading.Thread(target=self._accept, name="faulty-network", daemon=True)
        self._accepting.start()

    def arm(self, fault: Fault, times: int | None = None) -> None:
        """From now on connections suffer the fault, open ones too.

        Args:
            times: how many connections it strikes before the network is well again; None for all.
        """
        with self._lock:
            self._fault, self._left, self.fired = fault, -1 if times is None else times, 0

    def heal(self) -> None:
        """From now on nothing more goes wrong; what is stalled stays so."""
        with self._lock:
            self._fault = None

    def cut_all(self) -> None:
        """Ends every connection there is, now."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _reset(connection)

    def close(self) -> None:
        """Ends the proxy and what goes through it."""
        self._over.set()
        self._accepting.join(5)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, 5)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                number = len(self.passed_bytes)
                self.passed_bytes.append(0)
                self._open += [client, server]
            for one in (client, server):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair, upstream in (((server, client), False), ((client, server), True)):
                pump = threading.Thread(target=self._pump, args=(*pair, number, upstream), daemon=True)
                pump.start()

    def _pump(self, source: socket.socket, target: socket.socket, number: int, upstream: bool) -> None:
        """Passes bytes one way until the connection ends, or the fault ends it."""
        passed, struck = 0, False
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                fault = self._fault_at(passed + len(data), upstream, struck)
                if fault is None:
                    target.sendall(data)
                else:
                    struck = True
                    if not self._suffer(fault, data, passed, (source, target)):
                        return
                passed += len(data)
                if not upstream:
                    self.passed_bytes[number] = passed
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _fault_at(self, reached: int, upstream: bool, struck: bool) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or fault.upstream != upstream or reached <= fault.at_byte:
                return None
            if not struck:
                if self._left == 0:
                    return None
                self._left -= 1
                self.fired += 1
            return fault

    def _suffer(
        self, fault: Fault, data: bytes, passed: int, pair: tuple[socket.socket, socket.socket]
    ) -> bool:
        """Does to a chunk what the fault wants; False when nothing can follow."""
        target = pair[1]
        healthy = max(fault.at_byte - passed, 0)
        target.sendall(data[:healthy])
        harmed = data[healthy:]
        if fault.kind in ("drip", "delay"):
            self._slow(fault, harmed, passed + healthy, target)
            return True
        if fault.kind == "stall":
            self._over.wait()  # the sockets stay open, as when a cable is cut
        for one in pair:
            if fault.kind == "cut":
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            else:
                _reset(one)
        return False

    def _slow(self, fault: Fault, data: bytes, place: int, target: socket.socket) -> None:
        end = len(data) if fault.for_bytes is None else fault.at_byte + fault.for_bytes - place
        slow, rest = data[: max(end, 0)], data[max(end, 0) :]
        if fault.kind == "delay" and slow:
            self._over.wait(fault.seconds)
            target.sendall(slow)
        elif slow:
            for i in range(len(slow)):
                target.sendall(slow[i : i + 1])
                if fault.seconds:
                    self._over.wait(fault.seconds)
        if rest:
            target.sendall(rest)


def _reset(connection: socket.socket) -> None:
    """Ends a connection with RST; a reader that waits in it is woken first."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    with suppress(OSError):
        connection.close()


@contextmanager
def faulty_network(host: str, port: int, own_port: int = 0) -> Iterator[FaultyNetwork]:
    """A network to that server, for this block.

    Args:
        own_port: the port that clients go to; a free one by default.
    """
    network = FaultyNetwork(host, port, own_port)
    try:
        yield network
    finally:
        network.close()
