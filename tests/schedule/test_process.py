"""A guarded process lives no longer than its lease, its worker and its guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from asgard.core.errors import Refused
from asgard.schedule import process
from asgard.schedule.guard import LAST_WORDS_BYTES, lease_clock
from asgard.schedule.process import GuardedProcess

PATIENCE_SECONDS = 20.0
# A command with a child of its own: both write their numbers down, and both are deaf to SIGTERM.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])
with open(sys.argv[1] + '.part', 'w') as file:
    file.write(f'{os.getpid()} {child.pid}')
os.rename(sys.argv[1] + '.part', sys.argv[1])
time.sleep(600)
"""


def started(folder: Path, *command: str, seconds: float = 60.0) -> GuardedProcess:
    return GuardedProcess(
        [sys.executable, "-S", *command], folder, folder / "log", os.environ, lease_clock() + seconds
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def ended(guarded: GuardedProcess) -> int:
    until(lambda: guarded.ended() is not None)
    code = guarded.ended()
    assert code is not None
    return code


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(file: Path) -> list[int]:
    until(file.exists)
    return [int(pid) for pid in file.read_text().split()]


@pytest.mark.parametrize(
    "argument", ["a\0b", "\ud800", "x" * 4_000_000], ids=["NUL", "surrogate", "too long"]
)
def test_an_argument_that_no_process_takes_is_refused(tmp_path: Path, argument: str) -> None:
    with pytest.raises(Refused, match="cannot start a process"):
        started(tmp_path, "-c", "pass", argument)


@pytest.mark.parametrize("code", [0, 2, 5, 70])
def test_the_exit_code_and_the_words_of_a_command(tmp_path: Path, code: int) -> None:
    script = f"import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit({code})"
    assert ended(started(tmp_path, "-c", script)) == code
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_a_command_that_dies_of_a_signal(tmp_path: Path) -> None:
    assert ended(started(tmp_path, "-c", "import os; os.kill(os.getpid(), 11)")) == 128 + 11


def test_what_a_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    script = STUBBORN.replace("time.sleep(600)\n", "sys.exit(3)\n")
    guarded = started(tmp_path, "-c", script, str(tmp_path / "pids"))
    _, child = pids(tmp_path / "pids")
    assert ended(guarded) == 3
    assert not lives(child)


def test_at_the_end_of_its_lease_the_whole_group_is_killed(tmp_path: Path) -> None:
    guarded = started(tmp_path, "-c", STUBBORN, str(tmp_path / "pids"), seconds=60)
    both = pids(tmp_path / "pids")
    guarded.renew(lease_clock() + 0.3)
    assert ended(guarded) == 128 + signal.SIGKILL
    assert not any(map(lives, both))


def test_a_lease_that_is_renewed_keeps_it_alive(tmp_path: Path) -> None:
    guarded = started(tmp_path, "-c", "import time; time.sleep(2)", seconds=30)
    for _ in range(15):
        guarded.renew(lease_clock() + 5)
        time.sleep(0.1)
    assert ended(guarded) == 0


def test_a_stopped_worker_cannot_keep_a_run_alive(tmp_path: Path) -> None:
    """SIGSTOP is the worst of worlds: the pipe stays open, and nobody renews."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), "3"], cwd=Path(__file__).parents[2]
    )
    try:
        both = pids(tmp_path / "pids")
        worker.send_signal(signal.SIGSTOP)
        until(lambda: not any(map(lives, both)))
    finally:
        worker.kill()
        worker.wait()


WORKER = f"""
import sys, time
from pathlib import Path
from tests.schedule.test_process import started
folder = Path(sys.argv[1])
started(folder, '-c', {STUBBORN!r}, str(folder / 'pids'), seconds=float(sys.argv[2]))
time.sleep(600)
"""


def test_a_killed_worker_leaves_no_orphans(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), "600"], cwd=Path(__file__).parents[2]
    )
    both = pids(tmp_path / "pids")
    worker.kill()
    worker.wait()
    until(lambda: not any(map(lives, both)))


def test_a_killed_guard_takes_its_command_along(tmp_path: Path) -> None:
    guarded = started(tmp_path, "-c", STUBBORN, str(tmp_path / "pids"))
    both = pids(tmp_path / "pids")
    os.kill(guarded.group, signal.SIGKILL)
    assert ended(guarded) == 128 + signal.SIGKILL
    assert not any(map(lives, both))


def test_a_signal_reaches_the_command_and_not_the_guard(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(9));"
        "open(sys.argv[1], 'w').close(); time.sleep(600)"
    )
    guarded = started(tmp_path, "-c", script, str(tmp_path / "ready"))
    until((tmp_path / "ready").exists)
    guarded.signal(signal.SIGTERM)
    assert ended(guarded) == 9


def test_the_log_is_bounded_and_has_the_beginning_and_the_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 1000)
    script = "for n in range(100_000): print(f'line {n}')"
    assert ended(started(tmp_path, "-c", script)) == 0
    words = (tmp_path / "log").read_bytes()
    assert words.startswith(b"line 0\nline 1\n")
    assert words.endswith(b"line 99998\nline 99999\n")
    assert b" bytes are left out ..." in words
    assert len(words) <= 1000 + LAST_WORDS_BYTES + (1 << 16) + 100


def test_a_command_that_is_not_there_is_said_in_the_log(tmp_path: Path) -> None:
    guarded = GuardedProcess(
        [str(tmp_path / "nothing")], tmp_path, tmp_path / "log", os.environ, lease_clock() + 60
    )
    assert ended(guarded) == 127
    assert "nothing" in (tmp_path / "log").read_text()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot start"):
        GuardedProcess(["true"], tmp_path / "nowhere", tmp_path / "log", os.environ, lease_clock() + 60)
