"""A small process that stands between a worker and a run, and outlives neither.

It is the first of a process group of its own, in which it starts the command. A pipe from the worker brings
it lines with the instant until which the lease holds. The whole group is killed by one signal, the guard
with it, when the pipe ends, because the worker is gone, and when the lease ends before a new one came: a
worker that is stopped or cut off from its database must not let a run go on that another worker begins anew.

What the command says goes to a file that does not grow beyond a limit: its beginning, and at the end its last
words. Run by its path with the standard library alone, so that it starts in a few milliseconds.

Reference: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LOOK_SECONDS = 0.1
LAST_WORDS_BYTES = 64_000
CANNOT_START = 127
_SET_DEATH_SIGNAL = 1


def lease_clock() -> float:
    """Seconds that pass on all processes of this machine, also while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class BoundedLog:
    """A file that takes what comes up to a size, and the last words when it is closed."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file = file
        self._left_bytes = limit_bytes
        self._last: deque[bytes] = deque()
        self._last_bytes = self._dropped_bytes = 0

    def write(self, said: bytes) -> None:
        """A disk that is full must not end the run."""
        fits, rest = said[: self._left_bytes], said[self._left_bytes :]
        with suppress(OSError):
            self._file.write(fits)
        self._left_bytes -= len(fits)
        if rest:
            self._last.append(rest)
            self._last_bytes += len(rest)
        while self._last and self._last_bytes - len(self._last[0]) >= LAST_WORDS_BYTES:
            self._last_bytes -= len(self._last[0])
            self._dropped_bytes += len(self._last.popleft())

    def close(self) -> None:
        with suppress(OSError):
            if self._dropped_bytes:
                self._file.write(f"\n... {self._dropped_bytes} bytes are left out ...\n".encode())
            self._file.write(b"".join(self._last))
        self._file.close()


def guard(lease: int, log: BoundedLog, command: Sequence[str]) -> int:
    """Runs the command while the lease holds; gives its exit code, 128 + n for the signal n."""
    for number in (signal.SIGTERM, signal.SIGINT):  # they are for the command, which is of the same group
        signal.signal(number, lambda number, frame: None)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_dies_with_its_parent(),  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        log.write(f"cannot start {command[0]}: {error.strerror}\n".encode())
        return CANNOT_START
    assert child.stdout is not None
    said = child.stdout.fileno()
    watched = [lease, said]
    deadline, told = lease_clock() + 3600, b""
    while True:
        ended = child.poll() is not None
        ready, _, _ = select.select(watched, [], [], 0 if ended else LOOK_SECONDS)
        if lease in ready:
            news = os.read(lease, 4096)
            if not news:
                _kill_group()
            *lines, told = (told + news).split(b"\n")
            deadline = float(lines[-1]) if lines else deadline
        if lease_clock() >= deadline:
            _kill_group()
        if said in ready:
            words = os.read(said, 1 << 16)
            log.write(words)
            if not words:
                watched = [lease]
        elif ended:
            break
    log.close()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _kill_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _dies_with_its_parent() -> Callable[[], object] | None:
    """What makes Linux kill the command when the guard is killed."""
    if not sys.platform.startswith("linux"):
        return None
    control = ctypes.CDLL(None).prctl
    return lambda: control(_SET_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    lease_pipe, log_file, limit = sys.argv[1:4]
    with Path(log_file).open("ab", buffering=0) as opened:
        sys.exit(guard(int(lease_pipe), BoundedLog(opened, int(limit)), sys.argv[4:]))
