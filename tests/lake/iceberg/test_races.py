"""Two writers, one Iceberg table, and catalogs that do not say what they did: no row is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import Table
from pyiceberg.types import StringType

from asgard.core.errors import Conflict, Unreachable
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.iceberg.table import IcebergTable
from tests.lake.ground import SCHEMA, STREAM, content, folder_of, load, mounted, rows, set_aside, token
from tests.lake.iceberg.ground import as_any, iceberg_table, theirs, unknown_data_files

A, B, C = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")], [(3, "c"), (4, "c")]
THEIRS = pa.table({"id": pa.array([2], pa.int64()), "v": ["theirs"]})


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, rows(A), "1")
    return table


def meanwhile(
    table: IcebergTable, mode: Mode, deed: Callable[[], object], *, stream: str = STREAM, **wishes: Any
) -> None:
    """A load of B that is prepared before the deed and published after it."""
    with table.load(LoadRequest(stream, mode, SCHEMA, **wishes)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        deed()
        one.publish(prepared, Position("2"))


def lists_of_metadata(lake: Path) -> set[str]:
    return {path.name for path in (folder_of(lake) / "metadata").glob("snap-*.avro")}


# ---- who was faster


def test_pyiceberg_tries_again_and_lets_a_batch_in_twice(table: IcebergTable) -> None:
    """The trap for which its own transactions are left aside: both committers had read the same position."""
    slow, fast = theirs(table), theirs(table)
    for handle in (fast, slow):
        with handle.transaction() as together:
            together.append(THEIRS)
            together.set_properties(position="2")
    assert content(as_any(table)).count((2, "theirs")) == 2


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_another_load_of_the_stream_wins(table: IcebergTable, tmp_path: Path, mode: Mode) -> None:
    other = as_any(iceberg_table(tmp_path))
    with pytest.raises(Conflict, match="another load of the same stream"):
        meanwhile(table, mode, lambda: load(other, Mode.APPEND, rows(C), "x"), keys=("id",))
    assert (content(as_any(table)), token(as_any(table))) == (sorted(A + C), "x")
    assert unknown_data_files(tmp_path) == set()


def test_an_empty_load_of_the_stream_wins_too(table: IcebergTable, tmp_path: Path) -> None:
    other = as_any(iceberg_table(tmp_path))
    with pytest.raises(Conflict, match="another load of the same stream"):
        meanwhile(table, Mode.APPEND, lambda: load(other, Mode.APPEND, rows([]), "x"))
    assert (content(as_any(table)), token(as_any(table))) == (A, "x")


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (Mode.APPEND, [*A, *B, (2, "theirs")]),
        (Mode.MERGE, [(1, "a"), (2, "b"), (3, "b")]),
        (Mode.REPLACE, B),
    ],
)
def test_another_hands_append_is_taken_in(
    table: IcebergTable, tmp_path: Path, mode: Mode, wanted: list[tuple[int, str]]
) -> None:
    before = lists_of_metadata(tmp_path)
    keys = ("id",) if mode is Mode.MERGE else ()
    meanwhile(table, mode, lambda: theirs(table).append(THEIRS), keys=keys)
    assert (content(as_any(table)), token(as_any(table))) == (sorted(wanted), "2")
    assert unknown_data_files(tmp_path) == set()
    assert len(lists_of_metadata(tmp_path) - before) == 2  # that of the attempt that failed is gone


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
def test_a_load_of_another_stream_is_taken_in(table: IcebergTable, mode: Mode) -> None:
    other = as_any(table)
    meanwhile(
        table, mode, lambda: load(other, Mode.APPEND, rows([(9, "o")]), "o", stream="other"), keys=("id",)
    )
    assert (token(other), token(other, "other")) == ("2", "o")
    wanted = A + B if mode is Mode.APPEND else [(1, "a"), *B]
    assert content(other) == sorted([*wanted, (9, "o")])


def test_a_column_that_came_meanwhile(table: IcebergTable) -> None:
    def add() -> None:
        with theirs(table).update_schema() as update:
            update.add_column("extra", StringType())

    meanwhile(table, Mode.MERGE, add, keys=("id",), allow_missing=True)
    assert content(as_any(table)) == [(1, "a", None), (2, "b", None), (3, "b", None)]


def test_two_first_loads(tmp_path: Path) -> None:
    table, other = iceberg_table(tmp_path), as_any(iceberg_table(tmp_path))
    with pytest.raises(Conflict):
        meanwhile(table, Mode.APPEND, lambda: load(other, Mode.APPEND, rows(A), "1"))
    assert (content(as_any(table)), token(as_any(table))) == (A, "1")
    assert unknown_data_files(tmp_path) == set()


def test_two_first_loads_of_two_streams(tmp_path: Path) -> None:
    table, other = iceberg_table(tmp_path), as_any(iceberg_table(tmp_path))
    meanwhile(table, Mode.APPEND, lambda: load(other, Mode.APPEND, rows(A), "1", stream="other"))
    assert (content(other), token(other), token(other, "other")) == (sorted(A + B), "2", "1")


def test_the_loser_leaves_no_rows_in_the_quarantine(table: IcebergTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        aside = one.quarantine([set_aside([(70, "loser")])])
        load(as_any(table), Mode.APPEND, rows(C), "x", aside=set_aside([(71, "winner")]))
        with pytest.raises(Conflict):
            one.publish(prepared, Position("2"), aside)
    for number in range(3):
        shown = table.quarantined()
        assert shown is not None
        assert [row[0] for row in mounted(shown)] == [71]
        load(as_any(table), Mode.APPEND, rows([]), f"{number}")


# ---- what a catalog does not say


class Unsure:
    """A catalog whose first commit lands, or does not, and that says of neither."""

    def __init__(self, table: IcebergTable, lands: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.catalog: Any = table.place.catalogue.opened(create=True)
        self.lands = lands
        self.late: tuple[Any, ...] | None = None
        self.real = self.catalog.commit_table
        monkeypatch.setattr(self.catalog, "commit_table", self.commit)

    def commit(self, table: Table, requirements: Any, updates: Any) -> Any:
        if self.late is not None:
            return self.real(table, requirements, updates)
        self.late = (table, requirements, updates)
        if self.lands:
            self.real(*self.late)
        raise CommitStateUnknownException("502 Bad Gateway")

    def arrive(self) -> None:
        """The request that was on the way is carried out after all."""
        assert self.late is not None
        self.real(*self.late)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_a_commit_that_landed_though_nobody_said_so(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    Unsure(table, True, monkeypatch)
    commit = load(as_any(table), mode, rows(B), "2", keys=("id",))
    wanted = {Mode.APPEND: sorted(A + B), Mode.MERGE: [(1, "a"), *B], Mode.REPLACE: B}[mode]
    assert (content(as_any(table)), token(as_any(table)), commit.version) == (wanted, "2", 2)
    assert unknown_data_files(tmp_path) == set()


def test_a_commit_that_did_not_land_leaves_its_files_for_a_later_sweep(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = Unsure(table, False, monkeypatch)
    with pytest.raises(Unreachable, match="did not say whether it committed"):
        load(as_any(table), Mode.APPEND, rows(B), "2")
    assert len(unknown_data_files(tmp_path)) == 1  # the catalog may yet name them
    load(as_any(table), Mode.APPEND, rows(C), "3")
    assert unknown_data_files(tmp_path) == set()
    with pytest.raises(CommitFailedException):
        unsure.arrive()
    assert (content(as_any(table)), token(as_any(table))) == (sorted(A + C), "3")


def test_a_commit_that_lands_late_is_found_by_the_next_load(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = Unsure(table, False, monkeypatch)
    with pytest.raises(Unreachable):
        load(as_any(table), Mode.APPEND, rows(B), "2")
    unsure.arrive()
    assert (content(as_any(table)), token(as_any(table))) == (sorted(A + B), "2")
    load(as_any(table), Mode.APPEND, rows(C), "3")
    assert content(as_any(table)) == sorted(A + B + C)
    assert unknown_data_files(tmp_path) == set()
