"""Two writers, one table: one wins, the other prepares again or gives way, and no row is lost or doubled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import Field, write_deltalake

from asgard.core.errors import Conflict
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.delta import publish
from asgard.lake.delta.publish import Publisher
from asgard.lake.delta.table import LakeTable
from tests.lake.ground import (
    SCHEMA,
    STREAM,
    content,
    delta,
    load,
    mounted,
    rows,
    set_aside,
    table_in,
    token,
    unknown_files,
)

A, B, C = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")], [(3, "c"), (4, "c")]
THEIRS = pa.table({"id": pa.array([2], pa.int64()), "v": ["theirs"]})


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows(A), "1")
    return table


def meanwhile(
    table: LakeTable, mode: Mode, deed: Callable[[], object], *, stream: str = STREAM, **wishes: object
) -> None:
    """A load of B that is prepared before the deed and published after it."""
    with table.load(LoadRequest(stream, mode, SCHEMA, **wishes)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        deed()
        one.publish(prepared, Position("2"))


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_another_load_of_the_stream_wins(table: LakeTable, tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(Conflict, match="another load of the same stream"):
        meanwhile(table, mode, lambda: load(table, Mode.APPEND, rows(C), "x"), keys=("id",))
    assert (content(table), token(table)) == (sorted(A + C), "x")
    assert unknown_files(tmp_path) == set()


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (Mode.APPEND, [*A, *B, (2, "theirs")]),
        (Mode.MERGE, [(1, "a"), (2, "b"), (3, "b")]),
        (Mode.REPLACE, B),
    ],
)
def test_another_hands_append_is_taken_in(
    table: LakeTable, tmp_path: Path, mode: Mode, wanted: list[tuple[int, str]]
) -> None:
    keys = ("id",) if mode is Mode.MERGE else ()
    meanwhile(table, mode, lambda: write_deltalake(delta(tmp_path), THEIRS, mode="append"), keys=keys)
    assert (content(table), token(table)) == (sorted(wanted), "2")
    assert unknown_files(tmp_path) == set()


def test_keys_that_another_hand_appended_are_left_as_they_are(table: LakeTable, tmp_path: Path) -> None:
    theirs = pa.table({"id": pa.array([3], pa.int64()), "v": ["theirs"]})
    meanwhile(
        table,
        Mode.APPEND,
        lambda: write_deltalake(delta(tmp_path), theirs, mode="append"),
        keys=("id",),
        keep_existing=True,
    )
    assert content(table) == [*A, (3, "theirs")]


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
def test_a_load_of_another_stream_is_taken_in(table: LakeTable, mode: Mode) -> None:
    meanwhile(
        table, mode, lambda: load(table, Mode.APPEND, rows([(9, "o")]), "o", stream="other"), keys=("id",)
    )
    assert (token(table), token(table, "other")) == ("2", "o")
    wanted = A + B if mode is Mode.APPEND else [(1, "a"), *B]
    assert content(table) == sorted([*wanted, (9, "o")])


def test_compaction_meanwhile(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.APPEND, rows(C), "x", stream="other")
    meanwhile(table, Mode.MERGE, delta(tmp_path).optimize.compact, keys=("id",))
    assert content(table) == [(1, "a"), (2, "b"), (3, "b"), (4, "c")]


def test_a_column_that_came_meanwhile(table: LakeTable, tmp_path: Path) -> None:
    meanwhile(
        table,
        Mode.MERGE,
        lambda: delta(tmp_path).alter.add_columns([Field("extra", "string")]),
        keys=("id",),
        allow_missing=True,
    )
    assert content(table) == [(1, "a", None), (2, "b", None), (3, "b", None)]


def test_two_first_loads(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    with pytest.raises(Conflict):
        meanwhile(table, Mode.APPEND, lambda: load(table, Mode.APPEND, rows(A), "1"))
    assert (content(table), token(table)) == (A, "1")


def test_two_first_loads_of_two_streams(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    meanwhile(table, Mode.APPEND, lambda: load(table, Mode.APPEND, rows(A), "1", stream="other"))
    assert (content(table), token(table), token(table, "other")) == (sorted(A + B), "2", "1")


def test_the_loser_leaves_no_rows_in_the_quarantine(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        aside = one.quarantine([set_aside([(70, "loser")])])
        load(table, Mode.APPEND, rows(C), "x", aside=set_aside([(71, "winner")]))
        with pytest.raises(Conflict):
            one.publish(prepared, Position("2"), aside)
    for number in range(3):
        shown = table.quarantined()
        assert shown is not None
        assert [row[0] for row in mounted(shown)] == [71]
        load(table, Mode.APPEND, rows([]), f"{number}")


def test_a_commit_that_landed_though_it_failed(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The integer says what happened, never the exception."""
    real = Publisher._commit

    def landed_and_failed(self: Publisher, change: object, number: int) -> None:
        real(self, change, number)  # type: ignore[arg-type]
        raise OSError("the network broke after the commit")

    monkeypatch.setattr(Publisher, "_commit", landed_and_failed)
    commit = load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    assert (commit.version, commit.rows_added, commit.rows_removed) == (2, 2, 1)
    assert (content(table), token(table)) == ([(1, "a"), (2, "b"), (3, "b")], "2")


def test_a_commit_that_failed_without_a_race(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(self: Publisher, change: object, number: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Publisher, "_commit", failed)
    with pytest.raises(Exception, match="Input/output error"):
        load(table, Mode.APPEND, rows(B), "2")
    monkeypatch.undo()
    assert (content(table), token(table)) == (A, "1")


def test_files_of_a_commit_of_unknown_fate_stay(
    table: LakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the table cannot even be opened after the attempt, nothing is deleted that the log may name."""
    real = Publisher._commit

    def landed_and_lost(self: Publisher, change: object, number: int) -> None:
        real(self, change, number)  # type: ignore[arg-type]
        monkeypatch.setattr(publish.Snapshot, "open", classmethod(gone))
        raise OSError("the disk is gone")

    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Publisher, "_commit", landed_and_lost)
    with pytest.raises(Exception, match="Input/output error"):
        load(table, Mode.APPEND, rows(B), "2")
    monkeypatch.undo()
    assert (content(table), token(table)) == (sorted(A + B), "2")


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
def test_racing_threads_of_many_streams(tmp_path: Path, mode: Mode) -> None:
    """Each stream loads its own rows; every load of every stream lands once."""
    failures: list[BaseException] = []

    def work(stream: int) -> None:
        table = table_in(tmp_path)
        try:
            for number in range(4):
                pairs = [(stream * 100 + number * 2 + k, f"{stream}") for k in range(3)]
                load(table, mode, rows(pairs), f"{number}", stream=f"s{stream}", keys=("id",))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    table = table_in(tmp_path)
    assert [token(table, f"s{stream}") for stream in range(3)] == ["3"] * 3
    each = [0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8] if mode is Mode.APPEND else range(9)
    assert content(table) == sorted(
        ((stream * 100 + key, f"{stream}") for stream in range(3) for key in each), key=repr
    )


def test_racing_threads_of_one_stream(tmp_path: Path) -> None:
    """Both read on from the position that they find; the loser of each race drops its rows."""

    def work() -> None:
        table = table_in(tmp_path)
        while (done := int(token(table) or 0)) < 12:
            try:
                with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
                    done = int(one.position.token or 0) if one.position else 0
                    prepared = one.prepare([one.stage([rows([(done, "x")])])])
                    one.publish(prepared, Position(str(done + 1)))
            except Conflict:
                continue

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = table_in(tmp_path)
    number = int(token(table) or 0)
    assert number >= 12
    assert content(table) == sorted(((n, "x") for n in range(number)), key=repr)
    assert unknown_files(tmp_path) == set()
