"""Contenders that carry rows of one source to Parquet files or a lake: limits, peers, and Asgard.

Each works in a folder of its own and fills its `out`; whoever does not write every row has failed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.contest import Bar, Contender
from bench.environments import QUIET, Environment, asgard, environment
from bench.measure import Command

Argv = Callable[[Environment, Path], Sequence[str]]
"""What a peer is called with, in its environment and folder."""

MOST_MEGABYTES = 300


@dataclass(frozen=True)
class Carriers:
    """Makes contenders that are to carry the same rows.

    Attributes:
        folder: where they work.
        rows: how many there are.
    """

    folder: Path
    rows: int

    def limit(self, name: str, note: str, argv: Sequence[str], failure: str = "") -> Contender:
        """One that reads everything and keeps nothing."""
        if failure:
            return Contender(name, note, failure=failure)
        return Contender(name, note, Command(tuple(argv), self._own(name), QUIET))

    def limit_of(self, kind: str, name: str, note: str, argv: Argv) -> Contender:
        """A limit that runs in an environment of a peer."""
        env = environment(kind)
        return self.limit(name, note, () if env.failure else argv(env, self._own(name)), env.failure)

    def peer(self, kind: str, name: str, note: str, argv: Argv) -> Contender:
        """One in an environment of its own; where that could not be installed, it has failed."""
        made = self.limit_of(kind, name, note, argv)
        return made if made.failure else replace(made, judge=self._judge(self._own(name)))

    def asgard(self, name: str, note: str, source: Mapping[str, Any], table: Mapping[str, Any]) -> Contender:
        """A whole project: a source with one table, into a committed Delta table, with default settings."""
        folder = self._own(name)
        document = {
            "version": 1,
            "lake": {"format": "delta", "location": str(folder / "out")},
            "data_sources": {"shop": {**source, "tables": [{"mode": "replace", **table}]}},
        }

        def write_project() -> None:
            (folder / "asgard.yml").write_text(json.dumps(document, indent=2, ensure_ascii=False))

        command = Command((asgard(str(source["type"])), "run"), folder)
        return Contender(name, note, command, before=write_project, judge=self._judge(folder))

    def _own(self, name: str) -> Path:
        return self.folder / "".join(c if c.isalnum() else "_" for c in name)

    def _judge(self, folder: Path) -> Callable[[object], str]:
        return lambda _: counted(folder / "out", self.rows)


def bars(contenders: Iterable[Contender]) -> list[Bar]:
    """Ours is to need no more than any peer that writes the same rows, and little memory."""
    made = [Bar("asgard", "peak_bytes", MOST_MEGABYTES * 1e6)]
    for contender in contenders:
        if contender.name.startswith(("connectorx", "dlt", "ingestr")):
            for metric in ("wall_seconds", "client_cpu_seconds", "peak_bytes"):
                made.append(Bar("asgard", metric, 1.0, contender.name))
    return made


def ingestr(source: str, table: str, *more: str) -> Argv:
    """Its program, from a table of a source to one Parquet file."""

    def argv(env: Environment, folder: Path) -> Sequence[str]:
        program = (str(env.folder / "bin" / "ingestr"), "ingest", "--yes", "--progress", "log")
        target = ("--dest-uri", f"parquet://{folder}/out/part-0.parquet", "--dest-table", "carried")
        return (
            *program,
            "--no-load-timestamp",
            "--source-uri",
            source,
            "--source-table",
            table,
            *target,
            *more,
        )

    return argv


def counted(out: Path, rows: int) -> str:
    """Why the Parquet files of a folder do not hold so many rows; empty when they do."""
    counter = environment("duckdb").script("count_rows", out)
    told = subprocess.run(counter, capture_output=True, text=True, check=False)
    found = json.loads(told.stdout)["rows"] if told.returncode == 0 else 0
    return "" if found == rows else f"wrote {found:,} rows of {rows:,}"
