"""Twenty checks on 10 M rows of 12 columns in Parquet, as a load answers them before its commit."""

from __future__ import annotations

from collections.abc import Iterator

from bench.contest import Bar, Contender, Contest
from bench.contests.orders import FULL_ROWS, QUICK_ROWS, made
from bench.environments import REPOSITORY, environment, own
from bench.measure import Command
from bench.setting import Setting

MOST_CPU_SECONDS = 4.5


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    rows = setting.sized(FULL_ROWS, QUICK_ROWS)
    plain = made(rows) / "plain"
    folder = setting.folder / "checks"
    ours, path = (own().python, "-m", "bench.workers.checks"), {"PYTHONPATH": str(REPOSITORY)}
    contenders = [
        Contender(
            "asgard",
            "20 checks, one: the key is unique; what footers prove is not read; 256 MiB, 2 threads",
            Command((*ours, str(plain)), folder, path),
        ),
        Contender(
            "asgard, without unique",
            "the other 19",
            Command((*ours, str(plain), "without-unique"), folder, path),
        ),
    ]
    peer = environment("pointblank")
    note = "18 of them (no type, no row_count), ibis and DuckDB behind it"
    command = None if peer.failure else Command(peer.script("pointblank_checks", plain), folder)
    contenders.append(Contender("pointblank", note, command, failure=peer.failure))
    bars = [
        Bar("asgard", "client_cpu_seconds", MOST_CPU_SECONDS),
        Bar("asgard", "client_cpu_seconds", 1.0, "pointblank"),
    ]
    yield Contest("checks", f"20 checks on {rows:,} rows x 12 columns", contenders, bars, rows)
