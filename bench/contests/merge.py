"""100,000 changed rows into a table of 10 M: Asgard's merge against `DeltaTable.merge` and DuckLake's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contest import Bar, Contender, Contest
from bench.contests.orders import FULL_ROWS, QUICK_ROWS, made, worker
from bench.environments import environment
from bench.measure import Command
from bench.setting import Setting

OTHERS = {
    "deltalake merge": ("DeltaTable.merge, predicate t.id = s.id", ()),
    "deltalake merge, bounded": ("the same with the keys' bounds in the predicate, by hand", ("bounded",)),
}


@dataclass(frozen=True)
class Task:
    """Changes and the table that they go into."""

    rows: int
    changed: int
    original: Path
    changes: Path
    folder: Path

    def contender(self, name: str, note: str, program: str, *options: str) -> Contender:
        """Merges into a copy of the table."""
        folder = self.folder / name.replace(" ", "_").replace(",", "")
        lake = folder / "lake"

        def copy() -> None:
            # Nobody writes into a file of a Delta table, so that the copies can share them.
            shutil.copytree(self.original, lake, copy_function=os.link)

        command = Command(worker(program, lake, self.changes, *options), folder)
        return Contender(
            name,
            note,
            command,
            before=copy,
            judge=lambda _: self._judged(lake),
            told=lambda: self._added(lake),
        )

    def ducklake(self) -> Contender:
        """Merges into a DuckLake table of the same rows, which is made anew for each run."""
        name, note = "ducklake merge", "MERGE INTO ... USING (id), DuckDB 1.5.5, 2 threads"
        peer, folder = environment("ducklake"), self.folder / "ducklake"
        if peer.failure:
            return Contender(name, note, failure=peer.failure)
        data = folder / "data"
        there: set[Path] = set()

        def make() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            plain = self.original.parent / "plain" / "*.parquet"
            subprocess.run(peer.script("ducklake_merge", "make", folder, plain), check=True)
            there.clear()
            there.update(data.rglob("*.parquet"))

        def added() -> dict[str, int]:
            sizes = [path.stat().st_size for path in data.rglob("*.parquet") if path not in there]
            return {"added_bytes": sum(sizes), "added_files": len(sizes)}

        return Contender(
            name,
            note,
            Command(peer.script("ducklake_merge", "merge", folder, self.changes), folder),
            before=make,
            judge=lambda _: self._as_wanted(peer.script("ducklake_merge", "read", folder)),
            told=added,
        )

    def _judged(self, lake: Path) -> str:
        return self._as_wanted(worker("merged", lake))

    def _as_wanted(self, reader: tuple[str, ...]) -> str:
        told = subprocess.run(reader, capture_output=True, text=True, check=False)
        if told.returncode:
            return f"the table cannot be read: {told.stderr.strip().splitlines()[-1]}"
        holds = json.loads(told.stdout)
        right = {"rows": self.rows, "keys": self.rows, "changed": self.changed}
        return "" if holds == right else f"the table holds {holds}"

    def _added(self, lake: Path) -> dict[str, int]:
        """The files with rows or marks that the original has not: its own are hard links of the copy's."""
        sizes = [path.stat() for path in lake.rglob("*") if path.suffix in (".parquet", ".bin")]
        added = [one.st_size for one in sizes if one.st_nlink == 1]
        return {"added_bytes": sum(added), "added_files": len(added)}


def contests(setting: Setting) -> Iterator[Contest]:
    """Keys all over the table; keys of its newest tenth."""
    rows = setting.sized(FULL_ROWS, QUICK_ROWS)
    table = made(rows)
    changed = rows // 100
    kinds = {
        "uniform": (0, 100, "keys all over the table"),
        "newest": (rows - rows // 10, 10, "keys of its newest tenth"),
    }
    for kind, (first, step, words) in kinds.items():
        changes = table / f"{kind}.parquet"
        subprocess.run(worker("make_changes", table, first, step, changed, changes), check=True)
        task = Task(rows, changed, table / "lake", changes, setting.folder / f"merge-{kind}")
        contenders = [
            task.contender("asgard", "the lake's own merge, start of Python included", "merge_asgard")
        ]
        contenders += [
            task.contender(name, note, "merge_deltalake", *options)
            for name, (note, options) in OTHERS.items()
        ]
        contenders.append(task.ducklake())
        bars = [
            Bar("asgard", metric, 1.0, name)
            for name in OTHERS
            for metric in ("client_cpu_seconds", "added_bytes", "wall_seconds", "peak_bytes")
        ]
        bars += [
            Bar("asgard", "client_cpu_seconds", 6.0),
            Bar("asgard", "added_bytes", 100e6),
            Bar("asgard", "client_cpu_seconds", 1.0, "ducklake merge"),
        ]
        yield Contest(
            f"merge-{kind}",
            f"Merge of {changed:,} changed rows into {rows:,}, {words}",
            contenders,
            bars,
            reference="deltalake merge",
            facts={"added_bytes": "added MB", "added_files": "added files"},
        )
