"""Folders to spill into: nobody shares one, and those of killed processes are swept."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asgard.transport import duck
from asgard.transport.spill import PREFIX, SpillFolder, sweep

SPILL = """
import sys, time
from asgard.transport import duck
connection = duck.connect(memory_bytes=64 << 20, threads=1, spill_folder=sys.argv[1])
rows = connection.sql("SELECT repeat('k', 100) || i AS k FROM range(1_000_000) t(i) ORDER BY hash(i)")
reader = rows.to_arrow_reader(1000)
reader.read_next_batch()
print("spilled", flush=True)
time.sleep(600)
"""


@pytest.fixture
def spilling(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that has spilled, and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", SPILL, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "spilled\n"
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_what_a_killed_process_spilled_goes_with_the_next(
    spilling: subprocess.Popen[str], tmp_path: Path
) -> None:
    (theirs,) = tmp_path.iterdir()
    try:
        assert sum(file.stat().st_size for file in theirs.iterdir()) > 1 << 20
        assert sweep(tmp_path) == []  # it lives
        assert theirs.exists()
    finally:
        _kill(spilling)
    connection = duck.connect(spill_folder=tmp_path)
    assert not theirs.exists()
    connection.close()


def test_a_folder_goes_with_its_connection(tmp_path: Path) -> None:
    connection = duck.connect(spill_folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert sweep(tmp_path) == []  # its own are as safe as those of others
    connection.close()
    del connection
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere, shared = tmp_path / "elsewhere", tmp_path / "shared"
    shared.mkdir()
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (shared / f"{PREFIX}link").symlink_to(elsewhere)
    (shared / f"{PREFIX}no-lock").mkdir()
    (shared / f"{PREFIX}file").touch()
    (shared / "of-somebody").mkdir()
    before = sorted(shared.iterdir())
    assert sweep(shared) == []
    assert sorted(shared.iterdir()) == before
    assert (elsewhere / "lock").exists()


def test_a_forked_child_leaves_its_parents_folder(tmp_path: Path) -> None:
    folder = SpillFolder(tmp_path)
    child = subprocess.run(  # forks in a process of its own: this one may have threads
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "from pathlib import Path\n"
            "from asgard.transport import duck\n"
            "connection = duck.connect(spill_folder=sys.argv[1])\n"
            "before = sorted(Path(sys.argv[1]).iterdir())\n"
            "if os.fork() == 0:\n"
            "    sys.exit()\n"
            "os.wait()\n"
            "assert sorted(Path(sys.argv[1]).iterdir()) == before, before\n",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_where_no_folder_can_be_made_a_query_that_fits_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    connection = duck.connect(spill_folder=tmp_path / "file" / "below")
    assert connection.sql("SELECT 1").fetchall() == [(1,)]
    connection.close()
    assert os.listdir(tmp_path) == ["file"]
