"""The machine fails a run: disk, rights, open files, memory, signals, clock. Nothing is silently wrong.

After each, readers see what they saw before or all that the run brought; the run ends with a documented code
and blames nobody's mistake; the next run that nothing happens to brings the table up to its source.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.arena import Arena, small_disk
from tests.faults.runs import WELL, Order

MakeArena = Callable[..., Arena]
BEFORE = ("ticket_written", "staged", "prepared", "record_written", "before_commit")
"""Boundaries of a run that has not committed; what is done there shows at the next write."""
QUARANTINE = {"checks": [{"between": {"column": "n", "max": 350}, "on_fail": "quarantine"}]}
ABORTED = -signal.SIGABRT


def suffer(arena: Arena, *orders: Order, ends: set[int], nobody: bool = False) -> int:
    """A run after which readers see either all or nothing of it."""
    before = arena.readers_see()
    code, words = arena.run(*orders, nobody=nobody)
    assert code in ends, (code, words)
    assert "mistake in Asgard" not in words
    arena.unharmed(before, code)
    return code


def loaded(make: MakeArena, **table: Any) -> Arena:
    """A project that was run, and has something to do."""
    arena = make(**table)
    arena.runs_well()
    arena.change()
    return arena


# ---- disk


@pytest.mark.parametrize("at", [WELL, *BEFORE])
def test_the_disk_of_the_lake_is_full(arena: MakeArena, at: str) -> None:
    one = loaded(arena)
    with small_disk(one.lake):
        suffer(one, Order(at, "fill", str(one.lake)), ends={5})
    one.runs_well()


def test_the_disk_of_the_lake_is_full_when_the_commit_is_there(arena: MakeArena) -> None:
    one = loaded(arena)
    with small_disk(one.lake):
        suffer(one, Order("committed", "fill", str(one.lake)), ends={0, 5})
    one.runs_well()


@pytest.mark.parametrize("at", ["before_quarantine_commit", "quarantine_committed"])
def test_the_disk_is_full_while_rows_are_set_aside(arena: MakeArena, at: str) -> None:
    one = arena(**QUARANTINE)
    code, words = one.run()
    assert code == 0, words
    one.change()
    before = one.readers_see()
    with small_disk(one.lake):
        code, words = one.run(Order(at, "fill", str(one.lake)))
    assert (code, one.readers_see()) == (5, before), words
    aside = one.table.quarantined()
    assert aside is None
    code, words = one.run()
    assert code == 0, words
    aside = one.table.quarantined()
    assert aside is not None
    assert aside.rows == 600 - 351


@pytest.mark.parametrize(("at", "ends"), [(WELL, {5}), ("staged", {5}), ("committed", {5})])
def test_the_disk_of_the_state_is_full(arena: MakeArena, at: str, ends: set[int]) -> None:
    """The history of runs lies there, and the run's log: data never."""
    one = loaded(arena)
    with small_disk(one.state):
        suffer(one, Order(at, "fill", str(one.state)), ends=ends)
    one.runs_well()


# ---- rights


@pytest.mark.parametrize("at", [WELL, *BEFORE])
def test_the_lake_may_not_be_written_any_more(arena: MakeArena, at: str) -> None:
    one = loaded(arena)
    suffer(one, Order(at, "forbid", str(one.lake)), ends={3}, nobody=True)
    one.allow()
    one.runs_well()


@pytest.mark.parametrize("at", [WELL, "staged", "committed"])
def test_the_state_may_not_be_written_any_more(arena: MakeArena, at: str) -> None:
    one = loaded(arena)
    suffer(one, Order(at, "forbid", str(one.state)), ends={3}, nobody=True)
    one.allow()
    one.runs_well()


# ---- open files and memory

NO_FILES = [(WELL, 0), (WELL, 3), (WELL, 6), (WELL, 10), ("ticket_written", 0), ("staged", 1), ("staged", 3)]
NO_MEMORY = [(WELL, 1), (WELL, 60), (WELL, 200), ("ticket_written", 8), ("staged", 1), ("staged", 40)]


def test_there_are_no_open_files_left_from_the_start(arena: MakeArena) -> None:
    one = loaded(arena)
    suffer(one, Order(WELL, "limit_files", "0"), ends={5})
    one.runs_well()


@pytest.mark.long  # which library is the first to miss something is chance
@pytest.mark.parametrize(("at", "left"), NO_FILES)
def test_there_are_no_open_files_left(arena: MakeArena, at: str, left: int) -> None:
    """DuckDB ends the process where it gets no thread: that is a kill like another."""
    one = loaded(arena)
    suffer(one, Order(at, "limit_files", str(left)), ends={0, 5, ABORTED})
    one.runs_well()


@pytest.mark.long
@pytest.mark.parametrize(("at", "left_mb"), NO_MEMORY)
def test_there_is_no_memory_left(arena: MakeArena, at: str, left_mb: int) -> None:
    """Libraries that get no memory may end the process."""
    one = loaded(arena)
    ended = {ABORTED, -signal.SIGSEGV, 127}
    suffer(one, Order(at, "limit_memory", str(left_mb)), ends={0, 5} | ended)
    one.runs_well()


# ---- signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("at", ["staged", "before_commit", "committed"])
def test_a_run_is_asked_to_stop(arena: MakeArena, at: str, name: str) -> None:
    one = loaded(arena)
    suffer(one, Order(at, "send", name), ends={130} if at == "staged" else {0})
    one.runs_well()


@pytest.mark.parametrize("at", [*BEFORE, "committed", "log_synced"])
def test_a_run_is_killed(arena: MakeArena, at: str) -> None:
    one = loaded(arena)
    suffer(one, Order(at, "send", "SIGKILL"), ends={-signal.SIGKILL})
    one.runs_well()


# ---- clock

KINDS: dict[str, dict[str, Any]] = {
    "merge": {},
    "history": {"mode": "history"},
    "history-whole": {"mode": "history", "cursor": None},
    "deletes": {"detect_deletes": "keys"},
    "quarantine": {"checks": [{"between": {"column": "n", "min": 0}, "on_fail": "quarantine"}]},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("days", [-5, 400])
def test_the_clock_jumps(arena: MakeArena, days: int, kind: str) -> None:
    """Before a load, in the middle of one, and back again: each run sees another clock."""
    one = loaded(arena, **KINDS[kind])
    for number, at in enumerate((WELL, "staged")):
        suffer(one, Order(at, "jump", str(days)), ends={0})
        one.change(20)
        if kind in ("deletes", "history-whole"):
            one.source_does(f"DELETE FROM t WHERE id % 31 = {number}")
        one.runs_well()
        one.change(20)
