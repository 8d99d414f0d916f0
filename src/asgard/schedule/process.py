"""A command in a process group of its own that lives no longer than its lease and its worker.

Reference: https://man7.org/linux/man-pages/man7/signal.7.html, and `schedule.guard`
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from asgard.core.errors import Refused
from asgard.schedule import guard

LOG_BYTES = 8_000_000


class GuardedProcess:
    """Started at once; `renew` may come from any thread, everything else from one.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        log: takes what it says, up to `LOG_BYTES` and its last words.
        environment: its variables.
        until: the instant of `lease_clock` at which it is killed unless `renew` puts that off.

    Raises:
        Refused: the log or the process cannot be made.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], until: float
    ) -> None:
        reads, self._lease = os.pipe()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                [sys.executable, "-P", guard.__file__, str(reads), str(log), str(LOG_BYTES), *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[reads],
                process_group=0,
            )
        except (OSError, ValueError) as error:  # the second: a NUL, or half of a character, in an argument
            os.close(self._lease)
            raise Refused(f"cannot start a process: {error}", hint="see the rights of the folder") from error
        finally:
            os.close(reads)
        self._lock = threading.Lock()
        self.renew(until)

    @property
    def group(self) -> int:
        """The id of the process group."""
        return self._process.pid

    def renew(self, until: float) -> None:
        """Lets it live until this instant of `lease_clock`."""
        with self._lock, suppress(BrokenPipeError):  # it has ended
            if self._lease >= 0:
                os.write(self._lease, f"{until!r}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to all of the group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)

    def ended(self) -> int | None:
        """The exit code once no process of the group is left; what the command left behind is killed.

        The code of a signal is its number and 128. None while one lives.
        """
        if self._process.returncode is None:
            # Not reaped before the others are gone: so the group's number cannot be given to somebody else.
            over = os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if over is None:
                return None
            self.signal(signal.SIGKILL)
            if _living(self.group):
                return None
            self._process.wait()
            with self._lock:
                os.close(self._lease)
                self._lease = -1
        code = self._process.returncode
        return code if code >= 0 else 128 - code


def _living(group: int) -> bool:
    """Whether a process of the group does anything yet; those that only wait to be reaped do not."""
    if not Path("/proc/self/stat").exists():
        return False  # the signal has reached them; only Linux can be asked whether they are gone
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False
