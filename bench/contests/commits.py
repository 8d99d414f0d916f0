"""What a small commit costs, and whether it costs more when the table is older."""

from __future__ import annotations

from collections.abc import Iterator

from bench.contest import Bar, Contender, Contest
from bench.contests.orders import worker
from bench.measure import Command
from bench.setting import Setting

HOWS = {
    "asgard": "data and position in one commit, every file and its folder fsynced",
    "deltalake": "write_deltalake by path, as a process that comes and goes does; no fsync",
    "deltalake-kept": "write_deltalake on a handle that is kept; no fsync",
    "asgard-iceberg": "the same as asgard, in an Iceberg table of a SQLite catalog",
    "pyiceberg": "Table.append, the table loaded for each commit, on a SQLite catalog; it alone is fsynced",
}


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    commits = setting.sized(500, 100)
    contenders = [
        Contender(
            how,
            note,
            Command(
                worker("commits", how, setting.folder / "commits" / how / "out", commits),
                setting.folder / "commits" / how,
            ),
        )
        for how, note in HOWS.items()
    ]
    yield Contest(
        "commits",
        f"CPU of an append of 1,000 rows, over {commits} commits",
        contenders,
        [Bar("asgard", "last_ms", 1.0, "deltalake")],
        facts={"first_ms": "first ms", "hundredth_ms": "after a third ms", "last_ms": "last ms"},
    )
