"""The table of 12 columns that checks and merges work on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.environments import CACHE, REPOSITORY

FULL_ROWS = 10_000_000
QUICK_ROWS = 200_000


def worker(name: str, *arguments: object) -> tuple[str, ...]:
    """The call of a script of bench/workers, from any folder."""
    program = f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
    program += f"runpy.run_module('bench.workers.{name}', run_name='__main__', alter_sys=True)"
    return (sys.executable, "-c", program, *(str(argument) for argument in arguments))


@cache
def made(rows: int) -> Path:
    """The folder of a table of so many rows: `plain` is Parquet, `lake` is Asgard's.

    It is made anew once in each run of the benchmark, as today's Asgard lays it out.
    """
    folder = CACHE / "data" / f"orders-{rows}"
    shutil.rmtree(folder, ignore_errors=True)
    print(f"bench: making a table of {rows:,} rows", file=sys.stderr, flush=True)
    subprocess.run(worker("make_table", rows, folder), check=True)
    return folder
