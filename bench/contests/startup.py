"""What a command costs before it does anything: `asgard --help`, `asgard runs --json`, the peers' help."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.contest import Bar, Contender, Contest
from bench.environments import QUIET, asgard, environment
from bench.measure import Command
from bench.setting import Setting

MOST_CPU_SECONDS = 0.3
PEERS = {
    "ingestr": ("bin/ingestr", "--help"),
    "sling": ("lib/**/sling-linux-amd64", "--help"),
    "dlt": ("bin/dlt", "--help"),
}


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    folder = setting.folder / "startup"
    contenders = [
        Contender(
            "limit: python", "an interpreter that does nothing", Command((sys.executable, "-c", ""), folder)
        ),
        Contender("asgard help", "asgard --help", Command((asgard(), "--help"), folder)),
        _runs(folder),
        *(_peer(name, folder) for name in PEERS),
    ]
    bars = [Bar(name, "client_cpu_seconds", MOST_CPU_SECONDS) for name in ("asgard help", "asgard runs")]
    yield Contest("startup", "Start-up of the command line", contenders, bars)


def _runs(folder: Path) -> Contender:
    """The history of a project with a file source."""

    def write_project() -> None:
        document = {
            "version": 1,
            "lake": {"location": "data/lakehouse"},
            "data_sources": {"drop": {"type": "files", "path": "*.csv"}},
        }
        (folder / "asgard.yml").write_text(json.dumps(document))

    command = Command((asgard(), "runs", "--json"), folder)
    return Contender("asgard runs", "asgard runs --json", command, before=write_project)


def _peer(name: str, folder: Path) -> Contender:
    env = environment(name)
    pattern, *arguments = PEERS[name]
    program = None if env.failure else env.file(pattern)
    note = f"{name} {' '.join(arguments)}"
    if program is None:
        return Contender(f"{name} help", note, failure=env.failure or f"there is no {pattern} in it")
    return Contender(f"{name} help", note, Command((str(program), *arguments), folder, QUIET))
