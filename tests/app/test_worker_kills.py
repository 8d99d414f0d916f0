"""A minute of SIGKILL at random: of workers, of guards and of runs (make test-long)."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from asgard.app.config.project import load_project
from asgard.app.jobs.jobs import JobWish, add_job, open_jobs
from tests.app.worker_process import dismiss, hire, noted

SECONDS, PATIENCE_SECONDS = 60, 60
QUICK = {"clock": False, "lease_seconds": 2.0, "first_pause_seconds": 0.1}


def kill_below(worker: int, *, guards: bool) -> int:
    """Kills the guards of a worker, or what they guard; gives how many that were."""
    killed = 0
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(worker).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if ("guard.py" in " ".join(child.cmdline()[:3])) is guards:
                    child.kill()
                    killed += 1
    return killed


@pytest.mark.long
@pytest.mark.timeout(400)
def test_whatever_is_killed_every_job_is_done_and_none_runs_twice(tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text('{"version": 1}')
    project = load_project(tmp_path / "asgard.yml")
    notes = tmp_path / "notes"
    added = {add_job(project, JobWish(("short",), attempts=9999))["job"] for _ in range(40)}
    workers = [hire(project.file, notes, **QUICK) for _ in range(2)]
    kills: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            time.sleep(random.uniform(0.05, 0.8))
            victim, chosen = random.choice(["worker", "guard", "run"]), random.randrange(2)
            if victim == "worker":
                dismiss(workers[chosen])
                workers[chosen] = hire(project.file, notes, **QUICK)
                kills[victim] += 1
            else:
                kills[victim] += kill_below(workers[chosen].pid, guards=victim == "guard")
        end = time.monotonic() + PATIENCE_SECONDS
        with open_jobs(project) as store:
            while {job.status for job in store.queue.jobs(limit=100)} != {"done"}:
                assert time.monotonic() < end, "not every job was done"
                time.sleep(0.1)
    finally:
        dismiss(*workers)
    assert min(kills.values()) > 0
    assert len(kills) == 3
    assert noted(notes, "TWICE") == []
    begun = Counter((job, attempt) for job, attempt, _ in noted(notes, "begin"))
    assert set(begun.values()) == {1}
    assert {job for job, _, _ in noted(notes, "end")} == added
