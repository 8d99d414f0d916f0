"""What is done to a run from inside of its own process, when it reaches an instant.

Each deed is what an operator, a disk or a clock would do from outside; done from within, it strikes at
exactly that instant, every time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from asgard.core.clock import SystemClock

BALLAST = "ballast"


def fill(where: str) -> None:
    """The disk at a folder is full; where it is the machine's own, no file of this process grows any more."""
    if os.stat(where).st_dev == os.stat(os.path.dirname(where)).st_dev:
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        limit_file_size("0")
        return
    with suppress(OSError), (Path(where) / BALLAST).open("ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def limit_files(left: str) -> None:
    """The process may open a few files more, and then none."""
    open_now = len(os.listdir("/proc/self/fd"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_now + int(left), hard), hard))


def limit_file_size(size_bytes: str) -> None:
    """No file grows beyond so many bytes: a quota."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size_bytes), resource.RLIM_INFINITY))


def limit_memory(left_mb: str) -> None:
    """The process gets so much memory more, and then none."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(left_mb) * (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def forbid(where: str) -> None:
    """Nobody may write into the folders any more."""
    for folder, _, _ in os.walk(where):
        os.chmod(folder, 0o555)


def jump(days: str) -> None:
    """The clock jumps."""
    offset = float(days) * 86_400
    real, real_ns, now = time.time, time.time_ns, SystemClock.now
    time.time = lambda: real() + offset
    time.time_ns = lambda: real_ns() + int(offset * 1e9)

    def later(self: SystemClock) -> datetime:
        return now(self) + timedelta(seconds=offset)

    SystemClock.now = later  # type: ignore[method-assign]


def send(name: str) -> None:
    """A signal comes."""
    os.kill(os.getpid(), signal.Signals[name])


DEEDS: dict[str, Callable[[str], None]] = {
    "fill": fill,
    "limit_files": limit_files,
    "limit_file_size": limit_file_size,
    "limit_memory": limit_memory,
    "forbid": forbid,
    "jump": jump,
    "send": send,
}


def obey_rights() -> None:
    """Rights mean nothing to root: what is forbidden is tried without its privileges.

    Reference: https://man7.org/linux/man-pages/man2/capset.2.html
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")
