"""Processes that are born to be killed: at a named boundary, or after so many seconds.

One process has everything imported and forks a child for each order: starting Python anew for a hundred kills
would take longer than the kills. Orders are JSON objects, one a line; the answer is the child's exit code, or
minus the signal that ended it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asgard.lake import boundaries

FAILED = 99
"""What a child says that ended with an error."""


class Nursery:
    """Gives orders to a module that calls `serve`."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def run(self, *, kill_at: str = "", kill_after: float = 0.0, fault: str = "", **order: Any) -> int:
        """One process; its exit code, or minus the signal that ended it.

        Args:
            kill_at: `boundary:count`, the process kills itself there.
            kill_after: seconds, if not 0.
            fault: a piece of the protocol that is taken out.
            order: what the module's child is told.
        """
        assert self._process.stdin
        assert self._process.stdout
        whole = {**order, "kill_at": kill_at, "kill_after": kill_after, "fault": fault}
        self._process.stdin.write(json.dumps(whole, default=str) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def serve(child: Callable[[Mapping[str, Any]], int], faults: Mapping[str, Callable[[], None]]) -> None:
    """Follows orders until there are no more; `child` works in a process of its own."""
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_lived(child, faults, order))
        timer = threading.Timer(order["kill_after"], _kill, (pid,))
        if order["kill_after"]:
            timer.start()
        _, status = os.waitpid(pid, 0)
        timer.cancel()
        if order["kill_after"]:
            timer.join()
        sys.stdout.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
        sys.stdout.flush()


def _lived(
    child: Callable[[Mapping[str, Any]], int],
    faults: Mapping[str, Callable[[], None]],
    order: Mapping[str, Any],
) -> int:
    name, _, count = order["kill_at"].partition(":")
    boundaries._name, boundaries._left = name, int(count or 1)
    faults[order["fault"]]()
    try:
        return child(order)
    except BaseException:
        traceback.print_exc()
        return FAILED


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it was faster
        os.kill(pid, signal.SIGKILL)
