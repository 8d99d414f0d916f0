"""Other hands: another Asgard on the same table, and tools that restore, compact, overwrite and delete.

Either the run notices, stops with a documented code and says the way out, or nothing that it says is untrue.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from asgard.core.names import VALID_TO
from tests.faults.arena import SCHEMA, Arena
from tests.faults.runs import Order
from tests.faults.test_machine import KINDS, MakeArena, loaded

TABLE = "bronze.shop.t"


def hand(arena: Arena) -> DeltaTable:
    return DeltaTable(arena.table_folder)


def theirs(arena: Arena) -> pa.Table:
    schema = pa.schema([(field.name, field.type) for field in arena.table.schema()])
    return pa.Table.from_pylist([{"id": 10_000, "v": "theirs", "n": 1, "changed": 1}], schema)


STOPS: dict[str, Callable[[Arena], object]] = {
    "restore": lambda arena: hand(arena).restore(1),
    "overwrite": lambda arena: write_deltalake(hand(arena), theirs(arena), mode="overwrite"),
    "delete of all rows": lambda arena: hand(arena).delete(),
    "log taken away": lambda arena: shutil.rmtree(arena.table_folder / "_delta_log"),
    "records taken away": lambda arena: shutil.rmtree(arena.table_folder / "_asgard"),
}


@pytest.mark.parametrize("deed", STOPS)
def test_what_takes_rows_or_positions_away_stops_the_run_until_somebody_decides(
    arena: MakeArena, deed: str
) -> None:
    one = loaded(arena)
    one.runs_well()
    STOPS[deed](one)
    one.change()
    seen = one.readers_see() if (one.table_folder / "_delta_log").exists() else None
    for _ in range(2):
        code, words = one.run()
        assert code == 4, words
        assert "resync" in words
        if seen is not None:
            assert one.readers_see() == seen
    code, words = one.asgard("resync", TABLE)
    assert code == 0, words
    one.runs_well()


def test_a_whole_table_that_is_restored_from_elsewhere_is_read_on_when_it_is_accepted(
    arena: MakeArena,
) -> None:
    one = loaded(arena, mode="merge", cursor=None)
    one.runs_well()
    hand(one).restore(1)
    code, words = one.asgard("resync", TABLE, "--accept")
    assert code == 0, words
    one.runs_well()


GOES_ON: dict[str, Callable[[Arena], object]] = {
    "compaction": lambda arena: hand(arena).optimize.compact(),
    "vacuum": lambda arena: hand(arena).vacuum(0, dry_run=False, enforce_retention_duration=False),
    "checkpoint": lambda arena: hand(arena).create_checkpoint(),
    "delete of rows that come again": lambda arena: hand(arena).delete("id % 7 = 0"),
}


@pytest.mark.parametrize("deed", GOES_ON)
@pytest.mark.parametrize("kind", ["merge", "history"])
def test_what_leaves_the_rows_is_gone_on_with(arena: MakeArena, kind: str, deed: str) -> None:
    one = loaded(arena, **KINDS[kind])
    one.runs_well()
    GOES_ON[deed](one)
    one.change()  # which changes every row whose id is a multiple of seven
    one.runs_well()


@pytest.mark.parametrize("wish", ["run", "resync"])
def test_data_files_that_were_deleted_are_told_and_read_anew(arena: MakeArena, wish: str) -> None:
    one = loaded(arena)
    one.runs_well()
    for path in one.table_folder.glob("*.parquet"):
        path.unlink()
    one.change()
    code, words = one.run()
    assert code == 4, words
    if wish == "resync":
        code, words = one.asgard("resync", TABLE)
        assert code == 0, words
        one.runs_well()
    else:
        code, words = one.asgard("run", "--full-refresh")
        assert (code, one.readers_see()) == (0, one.source()), words


# ---- two of us


@pytest.mark.parametrize("at", ["ticket_written", "staged", "prepared", "record_written", "before_commit"])
def test_a_run_that_was_asleep_while_another_one_loaded_goes_on_from_there(arena: MakeArena, at: str) -> None:
    """The sleeper loses its race, and begins again at the position that it finds."""
    one = loaded(arena)
    sleeper = one.start("run", orders=[Order(f"{at}:1", "send", "SIGSTOP")])
    assert sleeper.wait() == -signal.SIGSTOP
    one.runs_well()
    one.change()
    sleeper.go_on()
    assert sleeper.wait() == 0, sleeper.words
    assert one.readers_see() == one.source()
    one.runs_well()


@pytest.mark.parametrize("kind", ["merge", "history", "deletes"])
def test_two_runs_at_once_bring_every_row_once(arena: MakeArena, kind: str) -> None:
    one = loaded(arena, **KINDS[kind])
    processes = [one.start("run") for _ in range(3)]
    codes = [process.wait() for process in processes]
    assert set(codes) <= {0, 5}, [process.words for process in processes]
    assert 0 in codes
    assert one.readers_see() == one.source()
    one.runs_well()


def test_one_of_two_is_killed_while_it_sleeps(arena: MakeArena) -> None:
    one = loaded(arena)
    sleeper = one.start("run", orders=[Order("before_commit:1", "send", "SIGSTOP")])
    assert sleeper.wait() == -signal.SIGSTOP
    one.runs_well()
    os.kill(sleeper.pid, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    one.runs_well()
    unknown = {path.name for path in one.table_folder.glob("*.parquet")} - named(one)
    assert unknown == set()


def test_an_undo_while_a_run_sleeps_is_no_row_less(arena: MakeArena) -> None:
    one = loaded(arena)
    one.runs_well()
    one.change()
    sleeper = one.start("run", orders=[Order("before_commit:1", "send", "SIGSTOP")])
    assert sleeper.wait() == -signal.SIGSTOP
    code, words = one.asgard("tables", "undo", TABLE, "--yes")
    assert code == 0, words
    sleeper.go_on()
    assert sleeper.wait() == 0, sleeper.words
    assert one.readers_see() == one.source()


def test_a_restore_while_a_run_sleeps_stops_it(arena: MakeArena) -> None:
    one = loaded(arena)
    one.runs_well()
    one.change()
    sleeper = one.start("run", orders=[Order("before_commit:1", "send", "SIGSTOP")])
    assert sleeper.wait() == -signal.SIGSTOP
    hand(one).restore(1)
    seen = one.readers_see()
    sleeper.go_on()
    assert (sleeper.wait(), one.readers_see()) == (4, seen), sleeper.words
    assert one.asgard("resync", TABLE)[0] == 0
    one.runs_well()


def named(arena: Arena) -> set[str]:
    """Every data file that some version of the table names."""
    log = b"".join(path.read_bytes() for path in (arena.table_folder / "_delta_log").glob("*.json")).decode()
    return {path.name for path in arena.table_folder.glob("*.parquet") if path.name in log}


# ---- the second commit of `detect_deletes: keys`


@pytest.mark.parametrize("history", [False, True], ids=["merge", "history"])
@pytest.mark.parametrize(
    "at",
    [
        *("log_synced:1", "settled:1", "ticket_written:2", "staged:2", "prepared:2", "record_written:2"),
        *("before_commit:2", "committed:2", "log_synced:2", "settled:2"),
    ],
)
def test_a_kill_between_the_load_and_the_look_at_the_keys(arena: MakeArena, at: str, history: bool) -> None:
    """The rows that came are there; those that are gone in the source are gone with the next run."""
    one = loaded(arena, detect_deletes="keys", **({"mode": "history"} if history else {}))
    one.source_does("DELETE FROM t WHERE id % 5 = 1")
    code, words = one.run(Order(at, "send", "SIGKILL"))
    assert code == -signal.SIGKILL, words
    live = one.table.scan().read_all()
    if history:
        live = live.filter(pa.compute.field(VALID_TO).is_null())
    found = live.select(SCHEMA.names).to_pylist()
    there = {row["id"]: row for row in found}
    assert len(there) == len(found)
    gone = {key for key in there if key % 5 == 1}
    second = at in ("committed:2", "log_synced:2", "settled:2")
    assert bool(gone) != second
    assert len(there) - len(gone) == 600 - 120  # whoever came with the load is there, whatever was killed
    one.source_does("INSERT INTO t VALUES (1, 'again', 1, 10000)")  # a key that comes back
    one.runs_well()
