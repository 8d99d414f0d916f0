"""`asgard` in processes that something happens to: several at a time, forked from one that has all imported.

A run's exit code, its words and what it left behind are looked at from outside, as an operator would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
WELL = "at the start"
"""An instant that comes before the command."""


@dataclass(frozen=True)
class Order:
    """What is done to a command, and when.

    Attributes:
        at: the boundary, `staged` or `staged:2`, or `WELL`.
        deed: a name of `deeds.DEEDS`.
        how: what the deed is told.
    """

    at: str
    deed: str
    how: str = ""


class Process:
    """A command that has begun."""

    def __init__(self, runs: Runs, pid: int, words: Path) -> None:
        self._runs = runs
        self.pid = pid
        self._words = words

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it; while it is stopped, minus SIGSTOP."""
        return int(self._runs.ask({"wait": self.pid}))

    def go_on(self) -> None:
        """Wakes it."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def words(self) -> str:
        """What it said."""
        return self._words.read_text(errors="replace")


class Runs:
    """Starts commands of `asgard`."""

    def __init__(self) -> None:
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def start(
        self,
        folder: Path,
        *arguments: str,
        orders: Sequence[Order] = (),
        nobody: bool = False,
        words: Path | None = None,
    ) -> Process:
        """Begins a command in a folder.

        Args:
            nobody: rights count for it, whoever it is.
            words: where its words go.
        """
        self._count += 1
        words = words or folder / f"words-{self._count}.txt"
        words.touch()
        words.chmod(0o666)
        pid = self.ask(
            {
                "folder": str(folder),
                "arguments": arguments,
                "orders": [[one.at, one.deed, one.how] for one in orders],
                "nobody": nobody,
                "words": str(words),
            }
        )
        return Process(self, int(pid), words)

    def ask(self, question: Mapping[str, Any]) -> Any:
        """One line there, one line back."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process that all are forked from."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def serve() -> None:
    """Follows orders until there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], os.WUNTRACED)
            stopped = os.WIFSTOPPED(status)
            answer = -int(os.WSTOPSIG(status)) if stopped else os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(_lived(order))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _lived(order: Mapping[str, Any]) -> int:
    """One command, in a process of its own."""
    from asgard.cli.main import main
    from tests.faults.deeds import DEEDS, obey_rights
    from tests.faults.interruption import listening

    words = os.open(order["words"], os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(words, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    if order["nobody"]:
        obey_rights()
    counts: dict[str, int] = {}

    def reach(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        for at, deed, how in order["orders"]:
            if at in (name, f"{name}:{counts[name]}"):
                DEEDS[deed](how)

    sys.argv = ["asgard", *order["arguments"]]
    code = 99
    with listening(reach):
        try:
            reach(WELL)
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # what would be a trace on the screen and exit code 1
            traceback.print_exc()
            code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _prepare() -> None:
    """Imports what commands import late, and lets them try again without long pauses."""
    import pandas  # noqa: F401 - pyarrow imports it at its first array
    import pyarrow.parquet  # noqa: F401

    import asgard.app.runs.runs
    import asgard.app.tables.resync
    import asgard.app.tables.tables
    import asgard.cli.maintain
    import asgard.cli.runs
    import asgard.cli.screen
    import asgard.cli.tables
    import asgard.connectors.mysql
    import asgard.connectors.postgres
    import asgard.connectors.rest
    import asgard.connectors.sqlite
    import asgard.engines.duckdb
    import asgard.lake.delta.lake
    import asgard.lake.history
    import asgard.lake.merge  # noqa: F401
    from asgard.flow import retry

    retry.retrying.__defaults__ = ((0.01, 0.02, 0.03),)


if __name__ == "__main__":
    sys.modules["tests.faults.runs"] = sys.modules["__main__"]
    _prepare()
    serve()
