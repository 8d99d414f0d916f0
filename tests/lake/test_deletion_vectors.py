"""Deletion vectors: the format, and tables whose rows are marked as deleted instead of written anew."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyroaring import BitMap64

from asgard.core.errors import DataError
from asgard.core.stream import Mode
from asgard.core.table import Mount
from asgard.engines.duckdb import DuckDBEngine
from asgard.lake.delta.deletion_vectors import (
    NO_ROWS,
    Vector,
    numbers,
    read,
    to_z85,
    united,
    vector_prefix,
    written,
)
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.delta.table import LakeTable
from asgard.lake.folder import Ticket
from asgard.lake.local import LocalFolder
from asgard.testing.content import content_hash
from tests.lake.ground import content, delta, folder_of, load, rows, table_in, token, values
from tests.lake.vectors import EAGER, WIDE, filled, snapshot_of, vectors_of, wide


def ticket(folder: LocalFolder) -> Ticket:
    """Of a load on a table that is not there."""
    return folder.announce(-1)


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_in(tmp_path, EAGER)


# ---- the format


@pytest.mark.parametrize(
    "gone",
    [[0], [1, 5, 99], list(range(200_000)), list(range(0, 1_000_000, 7)), [2**31, 2**33 + 1]],
    ids=["one", "few", "run", "spread", "beyond 32 bits"],
)
def test_what_was_written_is_read(tmp_path: Path, gone: list[int]) -> None:
    folder = LocalFolder(tmp_path)
    sets, own = [BitMap64(gone), BitMap64([3])], ticket(folder)
    files = written(folder, own, sets)
    assert [name.startswith(vector_prefix(own.load)) for name in files.sizes] == [True]
    assert {path.name: path.stat().st_size for path in tmp_path.glob("*.bin")} == dict(files.sizes)
    assert [numbers(read(folder, vector)).to_pylist() for vector in files.vectors] == [gone, [3]]
    assert [vector.rows for vector in files.vectors] == [len(gone), 1]
    told = [Vector.from_log(json.loads(json.dumps(vector.to_log()))) for vector in files.vectors]
    assert told == list(files.vectors)


def test_a_vector_in_the_log_and_names_as_the_protocol_has_them() -> None:
    data = b"\xd1\xd3\x39\x64" + BitMap64([3, 4, 7, 11, 18, 29]).serialize()
    data += b"\0" * (-len(data) % 4)
    inline = Vector("i", to_z85(data), None, len(data), 6)
    assert numbers(read(LocalFolder(Path("nowhere")), inline)).to_pylist() == [3, 4, 7, 11, 18, 29]
    named = Vector("u", "ab^-aqEH.-t@S}K{vb[*k^", 4, 40, 6)
    assert named.file == "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"


def test_sets_are_united() -> None:
    one, other = pa.array([1, 5, 9], pa.int64()), pa.array([0, 5, 7], pa.int64())
    assert numbers(united(one, other)).to_pylist() == [0, 1, 5, 7, 9]
    assert numbers(united(one.slice(1), NO_ROWS)).to_pylist() == [5, 9]


@pytest.mark.parametrize("byte", [0, 4, 5, 20, -1])
def test_a_damaged_vector_is_no_vector(tmp_path: Path, byte: int) -> None:
    folder = LocalFolder(tmp_path)
    (vector,) = written(folder, ticket(folder), [BitMap64(range(0, 1000, 3))]).vectors
    path = tmp_path / vector.file
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read(folder, vector)
    path.unlink()
    with pytest.raises(DataError, match="not there"):
        read(folder, vector)


# ---- merges


def test_a_merge_marks_rows_and_writes_no_file_anew(table: LakeTable, tmp_path: Path) -> None:
    before = filled(table, 1000)
    parquet = {path.name for path in folder_of(tmp_path).glob("*.parquet")}
    done = load(table, Mode.MERGE, wide([(7, "new"), (500, "new"), (2000, "new")]), "1", keys=("id",))
    assert (done.rows_added, done.rows_removed, done.total_rows) == (3, 2, 1001)
    expected = sorted({**dict(before), 7: "new", 500: "new", 2000: "new"}.items())
    assert values(table.scan(["id", "v"]).read_all()) == sorted(expected, key=repr)
    assert len({path.name for path in folder_of(tmp_path).glob("*.parquet")} - parquet) == 1
    assert [vector.rows for vector in vectors_of(tmp_path)] == [2]
    assert content_hash(table.scan(at=1)) == content_hash(wide(before))
    assert (table.mount().rows, token(table)) == (1001, "1")


def test_marks_add_up_until_the_file_is_written_anew(table: LakeTable, tmp_path: Path) -> None:
    expected = dict(filled(table, 100))
    shares = []
    for number in range(30):
        load(table, Mode.MERGE, wide([(number, "new")]), str(number), keys=("id",))
        expected[number] = "new"
        shares.append(sum(vector.rows for vector in vectors_of(tmp_path)))
        assert values(table.scan(["id", "v"]).read_all()) == sorted(expected.items(), key=repr)
    assert max(shares) == 20
    assert min(shares[20:]) < 20


def test_random_merges_against_plain_python(table: LakeTable, tmp_path: Path) -> None:
    dice, expected = random.Random(7), dict(filled(table, 400))
    for number in range(25):
        keys = dice.sample(range(500), dice.choice([1, 5, 40, 120]))
        pairs = [(key, f"{number}") for key in keys]
        load(table, Mode.MERGE, wide(pairs), str(number), keys=("id",), keys_unique=True)
        expected |= dict(pairs)
        if number % 6 == 5:
            table.compact("run", lambda: False, _alone)
        assert values(table.scan(["id", "v"]).read_all()) == sorted(expected.items(), key=repr)
        assert table.mount().rows == len(expected)
    found = pa.RecordBatchReader.from_stream(delta(tmp_path).scan(columns=["id", "v"])).read_all()
    assert values(found) == sorted(expected.items(), key=repr)


def test_rows_that_are_gone_are_no_keys_any_more(table: LakeTable) -> None:
    filled(table, 100)
    schema = pa.schema([*WIDE, ("gone", pa.bool_())])
    dead = pa.RecordBatch.from_pylist([{"id": 5, "v": "x", "fill": "", "gone": True}], schema)
    load(table, Mode.MERGE, dead, "1", keys=("id",), deleted="gone")
    again = pa.RecordBatch.from_pylist([{"id": key, "v": "back", "fill": ""} for key in (5, 6)], WIDE)
    wishes: dict[str, Any] = {"keys": ("id",), "keep_existing": True, "allow_missing": True}
    load(table, Mode.APPEND, again, "2", **wishes)
    found = dict(values(table.scan(["id", "v"]).read_all()))
    assert (found[5], found[6], len(found)) == ("back", "old", 100)


def test_vanished_keys_are_marked(table: LakeTable, tmp_path: Path) -> None:
    filled(table, 100)
    keys = pa.RecordBatch.from_pylist([{"id": key} for key in range(100) if key not in (3, 50)])
    load(table, Mode.MERGE, keys, "1", keys=("id",), vanished=True, allow_missing=True)
    assert [key for (key,) in sorted(values(table.scan(["id"]).read_all()))] == [*range(3), *range(4, 50),
                                                                               *range(51, 100)]  # fmt: skip
    assert sum(vector.rows for vector in vectors_of(tmp_path)) == 2


def test_small_files_and_tables_that_say_no_are_written_anew(tmp_path: Path) -> None:
    for name, limits in (("small", None), ("never", table_limits(0.0))):
        table = table_in(tmp_path / name, limits)
        filled(table, 100)
        load(table, Mode.MERGE, wide([(7, "new")]), "1", keys=("id",))
        assert (vectors_of(tmp_path / name), table.mount().marked) == ([], {})
        assert "deletionVectors" not in (delta(tmp_path / name).protocol().reader_features or [])
    table = table_in(tmp_path / "told", EAGER)
    filled(table, 100)
    delta(tmp_path / "told").alter.set_table_properties({"delta.enableDeletionVectors": "false"})
    load(table, Mode.MERGE, wide([(7, "new")]), "1", keys=("id",))
    assert vectors_of(tmp_path / "told") == []
    assert dict(values(table.scan(["id", "v"]).read_all()))[7] == "new"


def table_limits(share: float) -> Any:
    from dataclasses import replace

    return replace(EAGER, gone_share=share)


# ---- readers


def test_files_of_a_table_with_vectors_are_no_files_that_tell_it(table: LakeTable) -> None:
    filled(table, 100)
    load(table, Mode.MERGE, wide([(7, "new")]), "1", keys=("id",))
    mount = table.mount()
    assert (mount.files, mount.rows) == ((), 100)
    assert [rows.to_pylist() for rows in mount.marked.values()].count([7]) == 1
    assert mount.reader is not None
    assert content_hash(mount.reader()) == content_hash(table.scan())


@pytest.mark.parametrize("hidden", [False, True], ids=["", "a column has a count's name"])
def test_the_engine_leaves_out_rows_that_are_gone_and_keeps_their_order(tmp_path: Path, hidden: bool) -> None:
    table = table_in(tmp_path, EAGER)
    names = ("id", "file_row_number") if hidden else ("id", "v")
    schema = pa.schema([pa.field(names[0], pa.int64()), pa.field(names[1], pa.string())])
    load(table, Mode.APPEND, rows(((key, "old") for key in range(50_000)), schema), "0")
    changed = rows(((key, "new") for key in range(0, 50_000, 9)), schema)
    load(table, Mode.MERGE, changed, "1", keys=("id",), keys_unique=True)
    assert vectors_of(tmp_path)
    with DuckDBEngine(256 << 20) as engine:
        engine.attach("t", table.mount())
        found = engine.query(f"SELECT id, {names[1]} FROM t").read_all()
        assert engine.query("SELECT count(*) FROM t WHERE id < 18").read_all().to_pylist() == [
            {"count_star()": 18}
        ]
    keys = [key for key, value in zip(*found.to_pydict().values(), strict=True) if value == "old"]
    assert keys == [key for key in range(50_000) if key % 9]
    assert content_hash(found) == content_hash(table.scan())
    assert table.scan(["id"], where="id % 9 = 0").read_all().num_rows == len(range(0, 50_000, 9))


def test_a_change_is_seen_before_it_is_published(table: LakeTable) -> None:
    from asgard.core.table import LoadRequest

    filled(table, 100)
    batch = wide([(3, "new"), (200, "new")])
    with table.load(LoadRequest("public.orders", Mode.MERGE, batch.schema, keys=("id",))) as one:
        prepared = one.prepare([one.stage([batch])])
        mount = prepared.mount()
        assert mount.reader is not None
        found = dict(values(mount.reader().read_all().select(["id", "v"])))
        assert (found[3], found[200], len(found), mount.rows) == ("new", "new", 101, 101)
    assert dict(values(table.scan(["id", "v"]).read_all()))[3] == "old"


def test_a_log_that_tells_of_other_files_is_not_read(table: LakeTable, tmp_path: Path) -> None:
    filled(table, 100)
    load(table, Mode.MERGE, wide([(7, "new")]), "1", keys=("id",))
    snapshot = snapshot_of(tmp_path)
    newest = folder_of(tmp_path) / "_delta_log" / f"{snapshot.version:020d}.json"
    lines = newest.read_text().splitlines(keepends=True)
    newest.write_text("".join(line for line in lines if not line.startswith('{"remove"')))
    again = Snapshot(LocalFolder(folder_of(tmp_path)), DeltaTable(folder_of(tmp_path)))
    newest.write_text("".join(line for line in lines if not line.startswith('{"add"')))
    with pytest.raises(DataError, match="other files"):
        _ = again.vectors


def _alone() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_content_of_mount_and_scan_are_the_same(table: LakeTable) -> None:
    filled(table, 300)
    load(table, Mode.MERGE, wide([(key, "new") for key in range(0, 300, 50)]), "1", keys=("id",))
    mount: Mount = table.mount()
    assert mount.reader is not None
    assert sorted(map(repr, values(mount.reader().read_all()))) == sorted(map(repr, content(table)))
