"""Writes a project with the version of Asgard that runs this, for later versions to open.

    python -m tests.upgrade.make_golden NAME

Commands that the version does not have yet are left out. To write one with an older commit, check that out
beside this folder and put its src before ours: PYTHONPATH=OLDER/src.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.upgrade.market import live_a_market_day, write_market
from tests.upgrade.shop import FIRST_DAY, KEY, SECOND_DAY, STORED, live_a_day, write_project

GOLDEN = Path(__file__).parent / "golden"
START = "from asgard.cli.main import main; main()"
MAY_BE_MISSING = "No such command"


def asgard(folder: Path, *arguments: str, given: str = "") -> bool:
    """Runs a command of this version; False when it has no such command."""
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, "ASGARD_SECRET_KEY": KEY},
        check=False,
    )
    if MAY_BE_MISSING in done.stderr:
        return False
    if done.returncode != 0:
        raise SystemExit(f"asgard {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return True


POST_A_SINK = """
from asgard.app.config.project import load_project
from asgard.app.documents.sinks import NewSink, add_sink
add_sink(load_project("."), NewSink("local", "exports", "default", {"path": "exports"}))
"""


def post(folder: Path) -> None:
    """Keeps a document as a program would post it."""
    command = [sys.executable, "-c", POST_A_SINK]
    subprocess.run(command, cwd=folder, env={**os.environ, "ASGARD_SECRET_KEY": KEY}, check=True)


def write(folder: Path) -> None:
    """A project with two days of loads, and whatever else this version keeps."""
    write_project(folder)
    live_a_day(folder, FIRST_DAY)
    with_market = asgard(folder, "promote", "--help")
    if with_market:
        write_market(folder)
        live_a_market_day(folder, 0)
    asgard(folder, "run")
    if asgard(folder, "secrets", "set", STORED[0], given=STORED[1] + "\n"):
        write_project(folder, f"${{store:{STORED[0]}}}")
        if with_market:
            write_market(folder)
    asgard(folder, "users", "create", "ann", "--role", "editor", given="a long enough passphrase\n")
    asgard(folder, "tokens", "create", "--name", "ci", "--expires", "never")
    live_a_day(folder, SECOND_DAY)
    if with_market:
        live_a_market_day(folder, 1)
    asgard(folder, "run")
    if with_market:
        asgard(folder, "run", "--env", "dev")
        asgard(folder, "suites", "import", "prices.json")
        asgard(folder, "suites", "checkpoint", "daily", "--table", "prices", "--suite", "prices")
        asgard(folder, "suites", "run", "daily")
        asgard(folder, "schedules", "pause", "nightly")
        post(folder)
    asgard(folder, "jobs", "add", "shop.visits")


def pack(folder: Path, file: Path) -> None:
    """The folder as an archive that is the same whenever the folder is."""
    with tarfile.open(file, "w:xz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(str(path.relative_to(folder)))
                member.size = path.stat().st_size
                member.mtime = int(path.stat().st_mtime)
                member.mode = path.stat().st_mode & 0o777
                archive.addfile(member, io.BytesIO(path.read_bytes()))


def main() -> None:
    """Makes the archive of the name that was given."""
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        pack(Path(folder), GOLDEN / f"{sys.argv[1]}.tar.xz")


if __name__ == "__main__":
    main()
