"""Golden tables of delta-kernel-rs: the lake reads what Spark wrote, and writes rightly or not at all."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.errors import AsgardError, DataError
from asgard.core.table import TableName
from asgard.engines.duckdb import DuckDBEngine
from asgard.lake.delta.table import LakeTable
from asgard.testing.content import content_hash
from tests.reference.project import project

WRITABLE = ("basic-with-inserts-merge", "data-reader-primitives", "time-travel-schema-changes-a")
READ_ONLY = {
    "basic-decimal-table": "partitioned by part",
    "dv-partitioned-with-checkpoint": "partitioned by part",
    "kernel-timestamp-int96": "partitioned by part",
    "table-with-columnmapping-mode-name": "column mapping",
}
"""Table to the reason why loads refuse it."""
LOG_ONLY = "checkpoint"
"""A table of which the archive has the log, and none of the data files."""
READABLE = (*WRITABLE, *READ_ONLY)


def unpacked(reference: Path, name: str, folder: Path) -> Path:
    archive = reference / "lakehouse" / "delta-golden" / f"{name}.tar.zst"
    with (
        pa.CompressedInputStream(pa.OSFile(str(archive)), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")
    return folder / name


def expected(golden: Path) -> pa.Table:
    parts = sorted((golden / "expected").glob("*.parquet"))
    return pa.concat_tables(pq.read_table(part) for part in parts)


def opened(golden: Path) -> LakeTable:
    return LakeTable(TableName("bronze", "golden", golden.name), golden / "delta")


def by_engine(table: LakeTable, at: int | None = None) -> pa.Table:
    with DuckDBEngine(256 << 20) as engine:
        engine.attach(table.name, table.mount(at))
        return engine.query(f'SELECT * FROM "bronze"."golden"."{table.name.parts[-1]}"').read_all()


def test_every_archive_is_looked_at(reference: Path) -> None:
    archives = (reference / "lakehouse" / "delta-golden").glob("*.tar.zst")
    assert {archive.name.removesuffix(".tar.zst") for archive in archives} == {*READABLE, LOG_ONLY}


@pytest.mark.parametrize("name", READABLE)
def test_the_lake_and_the_engine_read_what_is_expected(reference: Path, tmp_path: Path, name: str) -> None:
    golden = unpacked(reference, name, tmp_path)
    table, wanted = opened(golden), content_hash(expected(golden))
    assert content_hash(table.scan()) == wanted
    assert content_hash(by_engine(table)) == wanted
    first = table.schema().names[0]
    some = content_hash(table.scan(columns=[first], where=f'"{first}" IS NOT NULL'))
    whole = expected(golden).select([first])
    assert some == content_hash(whole.filter(whole[first].is_valid()))


@pytest.mark.parametrize("name", READABLE)
def test_every_version_reads_the_same_by_both(reference: Path, tmp_path: Path, name: str) -> None:
    table = opened(unpacked(reference, name, tmp_path))
    versions = [version.version for version in table.versions(100)]
    assert versions == list(range(versions[0], -1, -1))
    hashes = [content_hash(table.scan(at=version)) for version in versions]
    assert hashes == [content_hash(by_engine(table, version)) for version in versions]


def test_deletion_vectors_take_rows_away_version_by_version(reference: Path, tmp_path: Path) -> None:
    table = opened(unpacked(reference, "dv-partitioned-with-checkpoint", tmp_path))
    rows = [table.scan(at=version).read_all().num_rows for version in range(16)]
    # The first commit wrote 50 rows; each later one deleted one of them.
    assert rows == list(range(50, 34, -1))


def test_an_inserting_merge_is_seen_from_both_sides(reference: Path, tmp_path: Path) -> None:
    table = opened(unpacked(reference, "basic-with-inserts-merge", tmp_path))
    before, after = (table.scan(at=version).read_all() for version in (0, 1))
    assert sorted(before["id"].to_pylist()) == list(range(100))
    assert after.num_rows == 140


def test_a_table_whose_files_are_gone_is_a_clear_error(reference: Path, tmp_path: Path) -> None:
    table = opened(unpacked(reference, LOG_ONLY, tmp_path))
    log = table.mount()
    state: set[str] = set()
    for commit in sorted((tmp_path / LOG_ONLY / "delta" / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            state |= {action["add"]["path"]} if "add" in action else set()
            state -= {action["remove"]["path"]} if "remove" in action else set()
    assert {Path(file).name for file in log.files} == state
    with pytest.raises(DataError, match="damaged or were taken away"):
        table.scan().read_all()
    with pytest.raises(AsgardError):
        by_engine(table)


def _load(folder: Path, golden: Path, mode: str, key: str = "") -> AsgardError | None:
    """Loads the expected rows into the golden table, which is put into a project's lake."""
    wanted = folder / "project"
    place = wanted / "lake" / "bronze" / "s" / golden.name
    place.parent.mkdir(parents=True)
    (golden / "delta").rename(place)
    pq.write_table(expected(golden), folder / "rows.parquet")
    table = {
        "name": golden.name,
        "path": "rows.parquet",
        "mode": mode,
        **({"primary_key": key} if key else {}),
    }
    summary = project(wanted, {"type": "files", "path": str(folder)}, [table]).run(check=False)
    (outcome,) = summary.outcomes
    return outcome.error


@pytest.mark.parametrize("name", READ_ONLY)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_that_cannot_be_written_is_refused_and_stays(
    reference: Path, tmp_path: Path, name: str, mode: str
) -> None:
    golden = unpacked(reference, name, tmp_path)
    wanted = content_hash(expected(golden))
    error = _load(tmp_path, golden, mode)
    assert isinstance(error, DataError)
    assert READ_ONLY[name] in str(error)
    assert error.hint
    table = LakeTable(TableName("bronze", "s", name), tmp_path / "project" / "lake" / "bronze" / "s" / name)
    assert content_hash(table.scan()) == wanted
    assert all(version.run == "" for version in table.versions())


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_load_goes_on_with_a_foreign_table(reference: Path, tmp_path: Path, name: str, mode: str) -> None:
    golden = unpacked(reference, name, tmp_path)
    rows = expected(golden)
    wanted = pa.concat_tables([rows, rows]) if mode == "append" else rows
    assert _load(tmp_path, golden, mode) is None
    place = tmp_path / "project" / "lake" / "bronze" / "s" / name
    table = LakeTable(TableName("bronze", "golden", name), place)
    assert content_hash(table.scan()) == content_hash(wanted)
    before = table.versions(2)[1].version
    assert content_hash(table.scan(at=before)) == content_hash(rows)


def test_a_merge_into_a_foreign_table_adds_nothing_that_is_there(reference: Path, tmp_path: Path) -> None:
    golden = unpacked(reference, "time-travel-schema-changes-a", tmp_path)
    rows = expected(golden)
    assert _load(tmp_path, golden, "merge", key="id") is None
    place = tmp_path / "project" / "lake" / "bronze" / "s" / golden.name
    assert content_hash(LakeTable(TableName("bronze", "s", golden.name), place).scan()) == content_hash(rows)


def test_a_merge_by_a_key_that_is_null_is_refused(reference: Path, tmp_path: Path) -> None:
    golden = unpacked(reference, "data-reader-primitives", tmp_path)
    error = _load(tmp_path, golden, "merge", key="as_int")
    assert isinstance(error, DataError)
    assert "as_int is null" in error.what
