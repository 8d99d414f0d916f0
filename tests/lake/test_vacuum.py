"""Vacuum: versions that are kept stay readable, loads on their way go through, garbage goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asgard.core.errors import AsgardError
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.delta.table import LakeTable
from asgard.lake.folder import Folder
from tests.lake.ground import SCHEMA, STREAM, content, folder_of, load, rows, table_in, unknown_files


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


def data_files(lake: Path) -> set[str]:
    return {path.name for path in folder_of(lake).glob("*.parquet")}


@pytest.fixture
def replaced(tmp_path: Path) -> LakeTable:
    """A table whose rows were replaced twice."""
    table = table_in(tmp_path)
    for number in (1, 2, 3):
        load(table, Mode.REPLACE, rows([(number, "x")]), f"t{number}")
    return table


def test_files_of_versions_that_nobody_keeps_go(tmp_path: Path, replaced: LakeTable) -> None:
    assert len(data_files(tmp_path)) == 3
    told = replaced.vacuum(now(), dry_run=True)
    assert (told.files, len(data_files(tmp_path))) == (2, 3)
    gone = replaced.vacuum(now())
    assert gone == told
    assert gone.oldest_version == replaced.versions(1)[0].version
    assert len(data_files(tmp_path)) == 1
    assert content(replaced) == [(3, "x")]
    with pytest.raises(AsgardError):
        content(replaced, at=1)


def test_versions_that_are_kept_are_read_as_before(tmp_path: Path, replaced: LakeTable) -> None:
    bound = replaced.versions(2)[1].at
    load(replaced, Mode.MERGE, rows([(3, "y"), (4, "z")]), "t4", keys=("id",))
    kept = [version.version for version in replaced.versions() if version.at >= bound]
    before = [content(replaced, at=version) for version in kept]
    assert replaced.vacuum(bound).files > 0
    assert [content(replaced, at=version) for version in kept] == before
    assert replaced.vacuum(bound).files == 0


def test_a_load_on_its_way_is_left_alone(tmp_path: Path, replaced: LakeTable) -> None:
    with replaced.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        staged = one.stage([rows([(9, "new")])])
        replaced.vacuum(now())
        one.publish(one.prepare([staged]), (one.position or Position()).finished("t9"))
    assert content(replaced) == [(3, "x"), (9, "new")]


def test_what_a_dead_load_or_nobody_left_goes_and_other_writers_files_stay(
    tmp_path: Path, replaced: LakeTable
) -> None:
    garbage = folder_of(tmp_path) / f"part-{'0' * 32}-{'1' * 12}.parquet"
    foreign = folder_of(tmp_path) / "part-00000-4c1f4ad2-c000.snappy.parquet"
    garbage.write_bytes(b"x")
    foreign.write_bytes(b"x")
    replaced.vacuum(now())
    assert unknown_files(tmp_path) == {foreign.name}


def test_the_last_load_cannot_be_undone_without_its_files_and_says_so(replaced: LakeTable) -> None:
    replaced.vacuum(now())
    with pytest.raises(AsgardError, match="vacuum"):
        replaced.undo()
    assert content(replaced) == [(3, "x")]
    load(replaced, Mode.APPEND, rows([(4, "y")]), "t4")
    assert content(replaced) == [(3, "x"), (4, "y")]


def test_versions_keep_their_numbers_while_others_commit(
    tmp_path: Path, replaced: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """delta-rs counts back from its own version, also over commits that came since it was opened."""
    opened, real = [], Snapshot.open

    def late(folder: Folder, at: int | datetime | None = None) -> Snapshot | None:
        snapshot = real(folder, at)
        if not opened:
            opened.append(snapshot)
            load(table_in(tmp_path), Mode.APPEND, rows([(4, "y")]), "t4")
        return snapshot

    monkeypatch.setattr(Snapshot, "open", late)
    assert [version.version for version in replaced.versions()] == [3, 2, 1, 0]
    assert replaced.versions(1)[0].version == 4
