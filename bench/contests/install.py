"""What a default install takes on the disk, bytecode included, as pip leaves it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bench.contest import Bar, Contender, Contest
from bench.environments import REPOSITORY, REQUIREMENTS, as_pip_does, uv
from bench.measure import Command
from bench.setting import Setting

MOST_BYTES = 550e6
PEERS = ("dlt", "sling", "connectorx", "adbc", "duckdb")


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest; once, as a disk does not vary."""
    folder = setting.folder / "install"
    ours = _installed(folder, "asgard", (str(REPOSITORY),), "pip install asgard-platform")
    peers = [_installed(folder, name, REQUIREMENTS[name], " ".join(REQUIREMENTS[name])) for name in PEERS]
    yield Contest(
        "install",
        "Installed size (wall time is with warm download caches)",
        [ours, *peers],
        [Bar("asgard", "written_bytes", MOST_BYTES)],
        most_repeats=1,
    )


def _installed(folder: Path, name: str, requirements: tuple[str, ...], note: str) -> Contender:
    python = "out/venv/bin/python"
    wanted = " ".join(f"'{one}'" for one in requirements)
    steps = (
        f"'{uv()}' venv --quiet --python '{sys.executable}' out/venv && "
        f"'{uv()}' pip install --quiet --compile-bytecode --link-mode copy --python {python} {wanted}"
    )
    return Contender(name, note, Command(("sh", "-c", steps), folder / name, as_pip_does()))
