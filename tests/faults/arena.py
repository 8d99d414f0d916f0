"""A project that faults happen to: a source that changes, a lake, and what readers see, by content."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asgard.core.names import VALID_FROM, VALID_TO
from asgard.core.table import Table, TableName
from asgard.lake.delta.lake import DeltaLake
from asgard.testing.content import content_hash
from tests.faults.deeds import BALLAST
from tests.faults.runs import Order, Process, Runs

SCHEMA = pa.schema([("id", pa.int64()), ("v", pa.string()), ("n", pa.int64()), ("changed", pa.int64())])
NOTHING = content_hash(pa.RecordBatch.from_pylist([], SCHEMA))
MEGABYTE = 1 << 20
Content = dict[str, str]


class Arena:
    """A project over a SQLite table.

    Args:
        runs: starts its commands.
        table: what asgard.yml says of the table, beside its name, key and cursor.
    """

    def __init__(self, runs: Runs, **table: Any) -> None:
        self.folder = Path(mkdtemp(prefix="asgard-faults-"))
        self.folder.chmod(0o777)  # some commands run as somebody else
        self.lake, self.state = self.folder / "lake", self.folder / ".asgard"
        for place in (self.lake, self.state):
            place.mkdir()
            place.chmod(0o777)
        self._runs = runs
        self._next = 0
        self.source_does("PRAGMA journal_mode = WAL")  # who sleeps while it reads keeps nobody from writing
        self.source_does("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER, changed INTEGER)")
        self.configure({"type": "sqlite", "database": "shop.db"}, **table)
        self.change()

    def configure(self, source: dict[str, Any], **table: Any) -> None:
        """Writes asgard.yml; JSON is YAML."""
        entry = {"name": "t", "mode": "merge", "primary_key": "id", "cursor": "changed", **table}
        entry = {key: value for key, value in entry.items() if value is not None}
        document = {
            "version": 1,
            "lake": {"location": "lake"},
            "data_sources": {"shop": {**source, "endpoints" if "path" in table else "tables": [entry]}},
        }
        (self.folder / "asgard.yml").write_text(json.dumps(document))

    def close(self) -> None:
        """Takes it all away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the source

    def source_does(self, sql: str, rows: Sequence[tuple[Any, ...]] | None = None) -> None:
        with closing(sqlite3.connect(self.folder / "shop.db")) as connection, connection:
            if rows is None:
                connection.execute(sql)
            else:
                connection.executemany(sql, rows)

    def change(self, rows: int = 300) -> None:
        """Adds rows, and changes some that are there."""
        first, self._next = self._next, self._next + rows
        moment = self._next
        self.source_does(
            "INSERT INTO t VALUES (?, ?, ?, ?)",
            [(number, f"value {number} " + "x" * 40, number, moment) for number in range(first, self._next)],
        )
        self.source_does(f"UPDATE t SET v = v || '+', changed = {moment} WHERE id % 7 = 0")

    def source(self) -> Content:
        """What the source holds."""
        with closing(sqlite3.connect(self.folder / "shop.db")) as connection:
            rows = connection.execute("SELECT id, v, n, changed FROM t").fetchall()
        dicts = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
        return content_hash(pa.RecordBatch.from_pylist(dicts, SCHEMA))

    # ---- the lake

    @property
    def table(self) -> Table:
        return DeltaLake(self.lake).table(TableName("bronze", "shop", "t"))

    @property
    def table_folder(self) -> Path:
        return self.lake / "bronze" / "shop" / "t"

    def readers_see(self) -> Content:
        """What the table holds; of a history, what holds now."""
        if not self.table.exists():
            return NOTHING
        rows = self.table.scan().read_all()
        if VALID_TO in rows.column_names:
            judge_ranges(rows)
            rows = rows.filter(pc.field(VALID_TO).is_null())
        return content_hash(rows.select(SCHEMA.names))

    def asgard(self, *arguments: str, orders: Sequence[Order] = (), nobody: bool = False) -> tuple[int, str]:
        """A command from first to last: its exit code and its words."""
        process = self.start(*arguments, orders=orders, nobody=nobody)
        return process.wait(), process.words

    def start(self, *arguments: str, orders: Sequence[Order] = (), nobody: bool = False) -> Process:
        """A command that begins."""
        return self._runs.start(self.folder, *arguments, orders=orders, nobody=nobody)

    def run(self, *orders: Order, nobody: bool = False) -> tuple[int, str]:
        """`asgard run`, to which something happens."""
        return self.asgard("run", orders=orders, nobody=nobody)

    def runs_well(self) -> None:
        """A run that nothing happens to, after which readers see what the source holds."""
        code, words = self.run()
        assert code == 0, words
        assert self.readers_see() == self.source()

    def allow(self) -> None:
        """Takes back what `deeds.forbid` did."""
        for place in (self.lake, self.state):
            for folder, _, _ in os.walk(place):
                Path(folder).chmod(0o777)

    def unharmed(self, before: Content, code: int) -> None:
        """Readers see what they saw before the run, or all of what it brought: nothing else."""
        now = self.readers_see()
        assert now in (before, self.source())
        assert code != 0 or now == self.source()


def judge_ranges(rows: pa.Table) -> None:
    """Of every key the ranges follow one another, none is empty, and the last alone may be open."""
    ranges: dict[int, list[tuple[datetime, datetime | None]]] = {}
    for row in rows.select(["id", VALID_FROM, VALID_TO]).to_pylist():
        ranges.setdefault(row["id"], []).append((row[VALID_FROM], row[VALID_TO]))
    for line in ranges.values():
        line.sort(key=lambda one: one[0])
        for since, until in line:
            assert until is None or since < until, line
        for (_, until), (following, _) in pairwise(line):
            assert until is not None, line
            assert until <= following, line


@contextmanager
def small_disk(folder: Path, size_bytes: int = 3 * MEGABYTE) -> Iterator[None]:
    """The folder is on a disk of its own, of that size, where this machine allows it."""
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, kept)
    options = f"size={size_bytes},mode=777"
    command = ["mount", "-t", "tmpfs", "-o", options, "asgard-faults", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield
        return
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
        (folder / BALLAST).unlink(missing_ok=True)
        shutil.rmtree(kept)
        shutil.copytree(folder, kept)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder)
        kept.rename(folder)
