"""What commits leave behind: metadata that does not grow, durable before the catalog names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyiceberg.manifest import ManifestWriter

from asgard.core.errors import OutOfSpace
from asgard.core.stream import Mode
from asgard.lake.iceberg import durable
from asgard.lake.iceberg.birth import TABLE_PROPERTIES
from asgard.lake.iceberg.commit import MOST_MANIFESTS
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.iceberg.table import IcebergTable
from asgard.testing.content import content_hash
from tests.lake.ground import content, folder_of, load, rows, token
from tests.lake.iceberg.ground import as_any, count_of_metadata, iceberg_table, theirs

COMMITS = 40


@pytest.fixture
def table(tmp_path: Path) -> IcebergTable:
    return iceberg_table(tmp_path)


def manifests(table: IcebergTable) -> int:
    snapshot = Snapshot.open(table.place)
    assert snapshot is not None
    assert snapshot.at is not None
    return len(snapshot.at.manifests(snapshot.io))


def test_metadata_of_many_commits_stays_small(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLE_PROPERTIES, "write.metadata.previous-versions-max", "10")
    most = 0
    for number in range(COMMITS):
        load(as_any(table), Mode.APPEND, rows([(number, "x")]), str(number))
        most = max(most, manifests(table))
    assert most == MOST_MANIFESTS - 1
    assert count_of_metadata(tmp_path)["metadata"] == 11
    wanted = content_hash(rows([(number, "x") for number in range(COMMITS)]))
    assert content_hash(table.scan()) == wanted
    assert content_hash(theirs(table).scan().to_arrow()) == wanted
    assert content(as_any(table), at=20) == sorted([(number, "x") for number in range(20)], key=repr)


def test_manifests_of_files_that_went_are_left_out(table: IcebergTable) -> None:
    for number in range(6):
        load(as_any(table), Mode.MERGE, rows([(1, f"{number}")]), str(number), keys=("id",))
        assert manifests(table) <= 2  # the new file, and once more the one that went
    assert content(as_any(table)) == [(1, "5")]
    assert theirs(table).scan().to_arrow().num_rows == 1


def test_what_the_catalog_names_is_durable_before(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    load(as_any(table), Mode.APPEND, rows([(1, "a")]), "1")
    metadata = folder_of(tmp_path) / "metadata"
    written = {str(path) for path in metadata.iterdir()}
    assert len(written) == 3
    assert written <= {*synced}
    assert str(metadata) in synced
    newest = theirs(table).metadata_location
    assert synced.index(newest) > max(synced.index(path) for path in written - {newest})


def test_a_disk_that_is_full_leaves_the_table_and_no_manifests(
    table: IcebergTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(as_any(table), Mode.APPEND, rows([(1, "a")]), "1")
    before = count_of_metadata(tmp_path)

    def full(self: ManifestWriter, entry: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ManifestWriter, "add_entry", full)
        with pytest.raises(Exception, match="No space left") as caught:
            load(as_any(table), Mode.APPEND, rows([(2, "b")]), "2")
    assert isinstance(caught.value, OutOfSpace)
    assert count_of_metadata(tmp_path) == before
    load(as_any(table), Mode.APPEND, rows([(2, "b")]), "2")
    assert (content(as_any(table)), token(as_any(table))) == ([(1, "a"), (2, "b")], "2")
