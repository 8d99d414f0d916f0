"""The faulty network does what it says, byte for byte, or the tests that use it prove nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.servers.faults import HOST, Fault, FaultyNetwork, faulty_network

TEXT = bytes(range(256)) * 400


@pytest.fixture
def network() -> Iterator[FaultyNetwork]:
    """A network to a server that sends TEXT to whoever says a byte, and ends."""
    listener = socket.create_server((HOST, 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if connection.recv(1):
                connection.sendall(TEXT)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with faulty_network(HOST, listener.getsockname()[1]) as made:
        yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def received(network: FaultyNetwork, timeout_seconds: float = 5.0) -> tuple[bytes, str]:
    """What a client gets, and how it ends: end, reset or timeout."""
    got = b""
    with closing(socket.create_connection((network.host, network.port), timeout_seconds)) as client:
        client.sendall(b"!")
        try:
            while part := client.recv(65_536):
                got += part
        except ConnectionResetError:
            return got, "reset"
        except TimeoutError:
            return got, "timeout"
    return got, "end"


def test_an_unarmed_network_passes_everything(network: FaultyNetwork) -> None:
    assert received(network) == (TEXT, "end")
    assert network.passed_bytes == [len(TEXT)]


@pytest.mark.parametrize("at_byte", [0, 1, 1000, 65_536, len(TEXT) - 1])
def test_a_cut_comes_after_exactly_so_many_bytes(network: FaultyNetwork, at_byte: int) -> None:
    network.arm(Fault.cut(at_byte))
    assert received(network) == (TEXT[:at_byte], "end")
    assert network.fired == 1


def test_a_reset_looks_like_one(network: FaultyNetwork) -> None:
    network.arm(Fault.reset(1000))
    got, end = received(network)
    assert end == "reset"
    assert TEXT[:1000].startswith(got)  # a reset may overtake what was sent before it


@pytest.mark.parametrize("at_byte", [0, 1000])
def test_half_open_never_ends_by_itself(network: FaultyNetwork, at_byte: int) -> None:
    network.arm(Fault.half_open(at_byte))
    assert received(network, 0.3) == (TEXT[:at_byte], "timeout")


def test_what_the_client_sends_can_be_lost_too(network: FaultyNetwork) -> None:
    network.arm(Fault.half_open().towards_server())
    assert received(network, 0.3) == (b"", "timeout")


def test_it_strikes_as_often_as_it_is_armed(network: FaultyNetwork) -> None:
    network.arm(Fault.cut(10), times=1)
    assert received(network) == (TEXT[:10], "end")
    assert received(network) == (TEXT, "end")
    network.arm(Fault.cut(20))
    network.heal()
    assert received(network) == (TEXT, "end")


def test_drip_and_delay_change_no_byte(network: FaultyNetwork) -> None:
    network.arm(Fault.drip(for_bytes=3000, at_byte=500))
    assert received(network) == (TEXT, "end")
    network.arm(Fault.delay(0.2, for_bytes=10))
    began = time.monotonic()
    assert received(network) == (TEXT, "end")
    assert time.monotonic() - began >= 0.2


def test_everything_can_be_cut_at_once(network: FaultyNetwork) -> None:
    with closing(socket.create_connection((network.host, network.port), 5)) as client:
        network.arm(Fault.half_open(1000))
        client.sendall(b"!")
        assert client.recv(1000) == TEXT[:1000]
        network.cut_all()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_server_that_is_not_there_resets() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with faulty_network(HOST, port) as network:
        assert received_or_reset(network) == "reset"


def received_or_reset(network: FaultyNetwork) -> str:
    try:
        return received(network)[1]
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
