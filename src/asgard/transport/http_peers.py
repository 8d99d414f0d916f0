"""Connections that look whom they reached before anything is sent.

A name may mean one address when it is checked and another when it is connected to. So the address that counts
is the one at the other end of the socket.

Reference: https://urllib3.readthedocs.io/en/stable/reference/urllib3.connection.html
"""

from __future__ import annotations

import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from asgard.transport.http_rules import gives_credentials_out, metadata_refusal


class _CheckedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _CheckedTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _CheckedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _CheckedConnection


class _CheckedTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CheckedTlsConnection


def check_peers(manager: urllib3.PoolManager) -> None:
    """Makes every connection of the manager refuse addresses at which clouds give credentials out.

    Its requests then raise ConfigError. Not for a manager that goes through a proxy: the proxy looks names
    up, and where it is itself was decided by whoever runs this machine.
    """
    manager.pool_classes_by_scheme = {"http": _CheckedPool, "https": _CheckedTlsPool}


def _checked(reached: socket.socket, host: str) -> socket.socket:
    peer = str(reached.getpeername()[0])
    if gives_credentials_out(peer):
        reached.close()
        raise metadata_refusal(host, peer)
    return reached
