"""A table ten times as large as the memory that a run may have, and a peak that does not grow with the table.

Where the machine lets us make a cgroup, the kernel ends a run that takes more than its memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.carriers import counted
from bench.contest import Bar, Contender, Contest
from bench.contests.extract import project
from bench.environments import asgard
from bench.measure import Command
from bench.setting import Setting
from bench.tables import Database, database, load_long_rows, load_short_rows

MEMORY_BYTES = 512_000_000
TIMES = 10
FLAT = 1.15
CGROUPS = Path("/sys/fs/cgroup")


def contests(setting: Setting) -> Iterator[Contest]:
    """Ten times the cap; 2 M rows against 20 M."""
    with database() as source, memory_group(MEMORY_BYTES) as group:
        size = MEMORY_BYTES * TIMES // (20 if setting.quick else 1)
        load_long_rows(source, "long_rows", size)
        how = "in a cgroup of that size" if group else "measured only: this machine lets us make no cgroup"
        yield Contest(
            "memory-capped",
            f"A table of {size / 1e6:,.0f} MB under --memory 512MB, {how}",
            [_asgard(setting, source, "asgard", "long_rows", group)],
            [Bar("asgard", "peak_bytes", MEMORY_BYTES)],
            server_pid=source.server.pid,
            most_repeats=1,
        )
        source.execute("DROP TABLE long_rows")
        few = setting.sized(2_000_000, 100_000)
        load_short_rows(source, "few_rows", few)
        load_short_rows(source, "many_rows", few * 10)
        yield Contest(
            "memory-flat",
            f"The peak from {few:,} to {few * 10:,} rows, default settings",
            [
                _asgard(setting, source, "few rows", "few_rows", None),
                _asgard(setting, source, "many rows", "many_rows", None),
            ],
            [Bar("many rows", "peak_bytes", FLAT, "few rows")],
            server_pid=source.server.pid,
        )


def _asgard(setting: Setting, source: Database, name: str, table: str, group: Path | None) -> Contender:
    folder = setting.folder / "memory" / table
    checks = [{"not_null": ["id"]}, {"non_negative": ["amount"]}]
    document = project(source, {"name": table, "mode": "replace", "checks": checks}, folder / "out")
    argv: tuple[str, ...] = (asgard(), "run")
    if table == "long_rows":
        argv = (*argv, "--memory", "512MB")
    if group:
        argv = ("sh", "-c", f"echo $$ > '{group}/cgroup.procs' && exec \"$@\"", "sh", *argv)

    def write_project() -> None:
        (folder / "asgard.yml").write_text(json.dumps(document))

    rows = source.count(table)
    return Contender(
        name,
        "asgard run, 2 checks",
        Command(argv, folder),
        before=write_project,
        judge=lambda _: counted(folder / "out", rows),
    )


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path | None]:
    """A cgroup with so much memory and no swap; None where we may not make one.

    Reference: https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    group = None
    for parent, limit, swap in (
        (CGROUPS / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        (CGROUPS, "memory.max", "memory.swap.max"),
    ):
        new = parent / f"asgard-bench-{os.getpid()}"
        with suppress(OSError):
            new.mkdir()
            group = new
            (new / limit).write_text(str(limit_bytes))
            with suppress(OSError):
                (new / swap).write_text(str(limit_bytes if "memsw" in swap else 0))
            break
        if group:
            group.rmdir()
            group = None
    try:
        yield group
    finally:
        if group:
            with suppress(OSError):
                group.rmdir()
