"""One run of one command, measured: wall, CPU of its process tree and of the server, memory, what it wrote.

CPU seconds and ratios within one run of the benchmark are the figures to trust. Wall time suffers from
whoever else works on the machine; how much they did is measured too (`other_cpu_seconds`).

Reference: https://man7.org/linux/man-pages/man5/proc.5.html
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 0.02
REASON_CHARACTERS = 200


@dataclass(frozen=True)
class Command:
    """What is started.

    Attributes:
        argv: program and arguments.
        folder: working folder; its `out` is what the command is to fill, its `log` takes what it prints.
        environment: variables besides those of this process.
        timeout_seconds: after that it is ended, and has failed.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 1800

    @property
    def out(self) -> Path:
        """Where the command writes what counts as its output."""
        return self.folder / "out"


@dataclass(frozen=True)
class Measurement:
    """What one run took. `None` is what was not measured.

    Attributes:
        wall_seconds: from the start to the end of the process.
        client_cpu_seconds: user and system time of the process and everything that it started.
        server_cpu_seconds: the same of the database server.
        other_cpu_seconds: what everybody else on the machine took meanwhile.
        peak_bytes: the largest sum of resident memory over the process tree; pages that several processes
            share count once for each.
        written_bytes: size of the output.
        facts: what the command itself told, in the JSON object of its last line.
        failure: why it does not count; empty when it does.
    """

    wall_seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float | None
    other_cpu_seconds: float
    peak_bytes: int
    written_bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


def measured(command: Command, server_pid: int | None = None) -> Measurement:
    """Runs the command to its end."""
    command.out.mkdir(parents=True, exist_ok=True)
    log = command.folder / "log"
    server_before = _tree_cpu_seconds(server_pid) if server_pid else 0.0
    busy_before = _machine_cpu_seconds()
    begun = time.perf_counter()
    with log.open("w") as printed:
        process = subprocess.Popen(
            command.argv,
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        with _Watch(process.pid, command.timeout_seconds) as watch:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    client = usage.ru_utime + usage.ru_stime
    busy = _machine_cpu_seconds() - busy_before
    server = None
    if server_pid:
        time.sleep(0.2)  # until the server has seen its backends off
        server = _tree_cpu_seconds(server_pid) - server_before
    return Measurement(
        wall_seconds=wall,
        client_cpu_seconds=client,
        server_cpu_seconds=server,
        other_cpu_seconds=max(busy - client - (server or 0.0), 0.0),
        peak_bytes=max(watch.peak_bytes, _own_peak_bytes(usage)),
        written_bytes=size_bytes(command.out),
        facts=_facts(log),
        failure=_failure(process.returncode, watch.timed_out, log),
    )


def size_bytes(path: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


class _Watch:
    """Looks at a process tree again and again, and ends it when its time is over."""

    def __init__(self, pid: int, timeout_seconds: float) -> None:
        self._pid = pid
        self._deadline = time.monotonic() + timeout_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak_bytes = 0
        self.timed_out = False

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident_bytes, _tree(self._pid))))
            if time.monotonic() > self._deadline and not self.timed_out:
                self.timed_out = True
                for pid in reversed(_tree(self._pid)):
                    os.kill(pid, 9)


def _tree(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                children = Path(f"/proc/{pid}/task/{task}/children").read_text()
                todo.extend(int(child) for child in children.split())
        except OSError:
            continue  # it has ended meanwhile
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _own_peak_bytes(usage: resource.struct_rusage) -> int:
    """The kernel's own peak of one process, which no sample misses. A child begins as a copy of this process,
    so that a figure no larger than ours says nothing about the child."""
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > ours else 0


def _tree_cpu_seconds(pid: int) -> float:
    """Of a process that lives on, of its living children and of those that it has seen off."""
    ticks = 0
    for number in _tree(pid):
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICKS_A_SECOND


def _machine_cpu_seconds() -> float:
    """What all processes together took since the machine started: everything but idle, wait and steal."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, soft = (int(value) for value in fields[:7])
    return (user + nice + system + irq + soft) / TICKS_A_SECOND


def _last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 20_000, 0))
        text = file.read().decode(errors="replace")
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace("\r", "\n")
    return [line.strip() for line in plain.splitlines() if line.strip()]


def _facts(log: Path) -> Mapping[str, Any]:
    lines = _last_lines(log)
    if lines and lines[-1].startswith("{"):
        try:
            told: dict[str, Any] = json.loads(lines[-1])
            return told
        except ValueError:
            return {}
    return {}


def _failure(code: int, timed_out: bool, log: Path) -> str:
    if timed_out:
        return "took longer than it was given"
    if code == 0:
        return ""
    lines = _last_lines(log)
    telling = [line for line in lines if len(line) > 30 and _TELLING.search(line)] or lines
    reason = (telling[-1] if telling else "it printed nothing").replace(f"{Path.cwd()}/", "")
    printable = "".join(
        character for character in reason if character.isprintable() and character != "\ufffd"
    )
    end = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{end}: {printable[:REASON_CHARACTERS]}"


_TELLING = re.compile("error|exception|fail|panic|fatal|not implemented", re.IGNORECASE)
