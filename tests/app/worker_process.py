"""A worker as a process of its own, whose jobs are small scripts instead of loads.

Each job holds a lock of its own while it lives: one that finds it held writes `TWICE`. Its first selector
says what it does.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from asgard.app.config.project import Project
from asgard.app.jobs import worker
from asgard.core.cancel import Cancel
from asgard.state.queue import Job

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = """
import fcntl, os, random, signal, subprocess, sys, time
folder, job, attempt, what = sys.argv[1:5]
lock = open(os.path.join(folder, job + '.lock'), 'w')
notes = open(os.path.join(folder, 'notes'), 'a', buffering=1)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    notes.write(f'TWICE {job} {attempt} {os.getpid()}\\n')
    sys.exit(70)
notes.write(f'begin {job} {attempt} {os.getpid()}\\n')
if what == 'short':
    time.sleep(random.uniform(0, 0.4))
if what == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])
    notes.write(f'child {job} {attempt} {child.pid}\\n')
    time.sleep(600)
if what == 'steady':
    while not os.path.exists(os.path.join(folder, 'go')):
        time.sleep(0.02)
if what.startswith('exit') and not (what.endswith('once') and int(attempt) > 1):
    print('because of', what)
    sys.exit(int(what.split('-')[1]))
notes.write(f'end {job} {attempt} {os.getpid()}\\n')
"""


def hire(project: Path, notes: Path, **wish: Any) -> subprocess.Popen[bytes]:
    """Starts a worker for the project; jobs note in the folder `notes` what they do."""
    notes.mkdir(exist_ok=True)
    given = json.dumps({"project": str(project), **wish})
    return subprocess.Popen([sys.executable, "-m", __name__, given, str(notes)], cwd=REPOSITORY)


def dismiss(*workers: subprocess.Popen[bytes]) -> None:
    """Kills those that are there yet."""
    for one in workers:
        one.kill()
        one.wait()


def noted(notes: Path, *kinds: str) -> list[tuple[str, str, int]]:
    """What jobs noted, of these kinds: job, attempt, pid."""
    file = notes / "notes"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(job, attempt, int(pid)) for kind, job, attempt, pid in lines if kind in kinds]


def main() -> None:
    given, notes = sys.argv[1:]

    def command_of(project: Project, job: Job) -> list[str]:
        what = job.task["selectors"][0]
        return [sys.executable, "-S", "-c", SCRIPT, notes, job.id, str(job.attempt), what]

    worker.command_of = command_of
    drain, stop = Cancel(), Cancel()
    asked = iter([drain, stop])
    signal.signal(signal.SIGTERM, lambda number, frame: next(asked).cancel())
    worker.work(worker.WorkerWish(**json.loads(given)), lambda event: None, drain, stop)


if __name__ == "__main__":
    main()
