"""Merges against a model in plain Python, over random loads, key types, file sizes and order columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.transaction import AddAction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.stream import Mode
from asgard.lake.local import LocalFolder
from asgard.lake.merge import KeyIndex, Keys
from asgard.lake.parquet import Limits
from asgard.lake.rewrite import BATCH_BYTES, rows_of
from tests.lake.ground import content, delta, load, table_in, unknown_files

HERE = LocalFolder(Path())

TINY = Limits(row_group_rows=3, file_bytes=1)
LONG = "x" * 70
NAN = float("nan")
KEYS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int64": (pa.int64(), [*range(-3, 9), 2**63 - 1, -(2**63)]),
    "int8": (pa.int8(), [-128, 127, 0, 1, 2, 3]),
    "string": (pa.string(), ["", "a", "A", "é", "é", " a", LONG, LONG + "a", LONG + "\U0010ffff", "0"]),
    "decimal": (pa.decimal128(38, 2), [Decimal(n) / 4 for n in range(-4, 6)] + [Decimal("9" * 36)]),
    "date": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), *(date(2026, 1, n) for n in range(1, 8))]),
    "timestamp": (pa.timestamp("us", "UTC"), [-(2**62), 2**62, -1, 0, 1, 2, 3]),
    "double": (pa.float64(), [0.5, -1.0, 1e300, float("inf"), 2.0, 3.0]),
    "binary": (pa.binary(), [b"", b"\x00", b"\xff", b"a", b"b"]),
    "boolean": (pa.bool_(), [True, False]),
}


@st.composite
def loads(draw: st.DrawFn, choices: int) -> list[tuple[Mode, list[list[tuple[int, int, int | None]]]]]:
    """Loads: mode, and per staged part the rows (which key, second key, order)."""
    row = st.tuples(st.integers(0, choices - 1), st.integers(0, 1), st.none() | st.integers(0, 3))
    part = st.lists(row, max_size=6)
    one = st.tuples(
        st.sampled_from([Mode.MERGE, Mode.MERGE, Mode.APPEND, Mode.REPLACE]), st.lists(part, max_size=3)
    )
    return draw(st.lists(one, min_size=1, max_size=4))


@pytest.mark.parametrize("kind", KEYS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_merges_come_to_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    type_, values = KEYS[kind]
    ordered = data.draw(st.booleans(), "ordered")
    lake = tmp_path_factory.mktemp("lake")
    table, model, counter = table_in(lake, TINY), dict[Any, Any](), 0
    schema = pa.schema([("k", type_), ("j", pa.int32()), ("o", pa.int64()), ("n", pa.int64())])
    for mode, parts in data.draw(loads(len(values)), "loads"):
        batches = []
        for part in parts or [[]]:
            numbers = range(counter, counter + len(part))
            counter += len(part)
            columns = [
                pa.array([values[k] for k, _, _ in part], type_),
                pa.array([j for _, j, _ in part], pa.int32()),
                pa.array([o for _, _, o in part], pa.int64()),
                pa.array(numbers, pa.int64()),
            ]
            batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        unique = mode is Mode.REPLACE
        load(
            table,
            mode,
            batches,
            "t",
            keys=() if unique else ("k", "j"),
            keep_existing=mode is Mode.APPEND,
            order_by="o" if ordered and not unique else "",
        )
        model = outcome(model, mode, batches, ordered)
    ours = table.scan(["n"]).read_all()
    assert sorted(ours.column(0).to_pylist()) == sorted(numbers_of(model))
    assert unknown_files(lake) == set()
    theirs = pa.RecordBatchReader.from_stream(delta(lake).scan(columns=["n"])).read_all()
    assert sorted(theirs.column(0).to_pylist()) == sorted(numbers_of(model))


Model = dict[Any, Any]


def outcome(model: Model, mode: Mode, batches: Sequence[pa.RecordBatch], ordered: bool) -> Model:
    """The table after a load: key to (order, number); under REPLACE all rows, told apart by number."""
    found: Model = {}
    for batch in batches:
        for k, j, order, number in zip(*(_raw(column) for column in batch.columns), strict=True):
            key = (k, j) if mode is not Mode.REPLACE else (k, j, number)
            rank = -1 if order is None else order
            if ordered and mode is not Mode.REPLACE and key in found and found[key][0] > rank:
                continue
            found[key] = (rank, number)
    if mode is Mode.REPLACE:
        return found
    keys = {key[:2] for key in found}
    if mode is Mode.APPEND:
        there = {key[:2] for key in model}
        return {**model, **{key: row for key, row in found.items() if key not in there}}
    return {**{key: row for key, row in model.items() if key[:2] not in keys}, **found}


def _raw(column: pa.Array) -> list[Any]:
    return (column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def numbers_of(model: Model) -> list[int]:
    return [number for _, number in model.values()]


def test_only_files_between_the_bounds_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, looked = table_in(tmp_path, Limits(row_group_rows=10, file_bytes=1)), []
    numbers = pa.record_batch({"id": pa.array(range(100)), "v": pa.array(["x"] * 100)})
    load(table, Mode.MERGE, numbers, "1", keys=("id",), keys_unique=True)
    matched = KeyIndex.matched
    monkeypatch.setattr(
        KeyIndex, "matched", lambda self, files: looked.append(len(files)) or matched(self, files)
    )
    load(table, Mode.MERGE, pa.record_batch({"id": pa.array([55, 61]), "v": ["y", "y"]}), "2", keys=("id",))
    assert looked == [2]
    assert [row for row in content(table) if row[1] == "y"] == [(55, "y"), (61, "y")]


def test_files_that_other_writers_made_are_merged_with(tmp_path: Path) -> None:
    """INT96 timestamps, large strings, no figures in the log, a name that the log has to encode."""
    table = table_in(tmp_path)
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("at", pa.timestamp("us", "UTC"))])
    at = pa.array([1_700_000_000_123_456] * 3).cast(pa.timestamp("us", "UTC"))
    ours = pa.RecordBatch.from_arrays([pa.array([1, 2, 3]), pa.array(["a", "b", "c"]), at], schema=schema)
    load(table, Mode.MERGE, ours, "1", keys=("id",))
    folder = Path(table.mount().files[0]).parent
    theirs = pa.table(
        [pa.array([4, 5, 6]), pa.array(["d", "e", "f"], pa.large_string()), at], names=schema.names
    )
    (folder / "a b%").mkdir()
    pq.write_table(theirs, folder / "a b%" / "x.parquet", use_deprecated_int96_timestamps=True)
    handle = delta(tmp_path)
    size_bytes = (folder / "a b%" / "x.parquet").stat().st_size
    action = AddAction("a b%/x.parquet", size_bytes, {}, 0, True, '{"numRecords":3}')
    handle.create_write_transaction([action], "append", handle.schema())
    assert len(content(table)) == 6
    changed = pa.RecordBatch.from_arrays([pa.array([2, 5]), pa.array(["B", "E"]), at[:2]], schema=schema)
    commit = load(table, Mode.MERGE, changed, "2", keys=("id",))
    assert [row[:2] for row in content(table)] == list(zip(range(1, 7), "aBcdEf", strict=True))
    assert {row[2] for row in content(table)} == set(at.to_pylist())
    assert (commit.rows_added, commit.rows_removed, commit.total_rows) == (2, 2, 6)
    load(table, Mode.REPLACE, changed, "3")
    assert len(content(table)) == 2


def test_rows_are_left_out_by_their_numbers(tmp_path: Path) -> None:
    paths = []
    for start in (0, 100):
        paths.append(str(tmp_path / f"{start}.parquet"))
        pq.write_table(pa.table({"n": pa.array(range(start, start + 100))}), paths[-1], row_group_size=30)
    gone = {paths[0]: pa.array([5]), paths[1]: pa.array([-1, 0, 29, 30, 31, 99])[1:]}
    schema = pa.schema([("n", pa.int64()), ("new", pa.string())])
    found = pa.Table.from_batches(rows_of(HERE, paths, schema, gone.__getitem__), schema)
    assert found.column("n").to_pylist() == [n for n in range(200) if n not in {5, 100, 129, 130, 131, 199}]
    assert found.column("new").null_count == len(found)


def test_wide_rows_are_read_in_small_batches(tmp_path: Path) -> None:
    """Values that a dictionary keeps once in the file are many in memory."""
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"v": ["x" * 100_000] * 1_000}), path)
    assert path.stat().st_size < 100_000
    schema = pa.schema([("v", pa.string())])
    sizes = [batch.nbytes for batch in rows_of(HERE, [str(path)], schema)]
    assert max(sizes) <= BATCH_BYTES
    assert sum(sizes) > 100_000_000


def test_keys_larger_than_the_memory_are_spilled(tmp_path: Path) -> None:
    many = 500_000
    keys = pa.array([f"{n * 7919 % many:040d}" for n in range(many)])
    path = str(tmp_path / "staged.parquet")
    pq.write_table(pa.table({"k": keys}), path)
    with KeyIndex(HERE, [path, path], Keys(("k",)), memory_bytes=64 << 20) as index:
        assert index.unwanted(True).count == many


@pytest.mark.parametrize("type_", [pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("comes", [[NAN], [0.5, NAN], [NAN, 7.0], [2.0]], ids=repr)
def test_keys_that_are_no_number_meet_each_other(
    tmp_path: Path, type_: pa.DataType, comes: list[float]
) -> None:
    """The figures of files leave NaN out, and DuckDB would skip a file for them."""
    table, schema = table_in(tmp_path, TINY), pa.schema([("k", type_), ("v", pa.string())])

    def batch(keys: list[float], value: str) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([{"k": key, "v": value} for key in keys], schema)

    there = [1.0, NAN, 2.0, 3.0, 4.0, 5.0]
    load(table, Mode.MERGE, batch(there, "old"), "1", keys=("k",))
    load(table, Mode.MERGE, batch(comes, "new"), "2", keys=("k",))
    new = {repr(key) for key in comes}
    wanted = sorted((key, "new" if key in new else "old") for key in {*map(repr, there), *new})
    assert sorted((repr(key), value) for key, value in content(table)) == wanted
    found = table.scan(where="k = 'nan'").read_all().to_pylist()
    assert [row["v"] for row in found] == ["new" if "nan" in new else "old"]
    kept = load(table, Mode.APPEND, batch(comes, "newer"), "3", keys=("k",), keep_existing=True)
    assert kept.rows_added == 0


@pytest.mark.parametrize("name", ["file_index", "file_row_number", "File_Row_Number"])
def test_columns_with_the_names_that_duckdb_counts_by_hide_no_row(tmp_path: Path, name: str) -> None:
    table = table_in(tmp_path)
    schema = pa.schema([("id", pa.int64()), (name, pa.int64())])

    def rows(*pairs: tuple[int, int]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([{"id": one, name: two} for one, two in pairs], schema)

    load(table, Mode.APPEND, rows((1, 0), (2, 0), (3, 1)), "a")
    load(table, Mode.MERGE, [rows((3, 7), (4, 0)), rows((4, 1))], "b", keys=("id",))
    assert content(table) == [(1, 0), (2, 0), (3, 7), (4, 1)]
    load(table, Mode.MERGE, rows((1, 7), (5, 0)), "c", keys=(name,))
    assert content(table) == [(1, 7), (4, 1), (5, 0)]


def test_rows_that_say_that_they_are_deleted_go_and_are_not_kept(tmp_path: Path) -> None:
    table = table_in(tmp_path, TINY)
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("gone", pa.bool_())])

    def rows(*found: tuple[int, str, bool | None]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(
            [dict(zip(schema.names, row, strict=True)) for row in found], schema
        )

    how = {"keys": ("id",), "deleted": "gone", "keys_unique": True}
    load(table, Mode.MERGE, rows((1, "a", False), (2, "b", True), (3, "c", None)), "1", **how)
    assert content(table) == [(1, "a", False), (3, "c", None)]
    load(table, Mode.MERGE, rows((1, "a", True), (4, "d", False)), "2", **how)
    assert content(table) == [(3, "c", None), (4, "d", False)]
    del how["keys_unique"]
    load(
        table, Mode.MERGE, rows((4, "x", True), (4, "e", False), (3, "y", False), (3, "z", True)), "3", **how
    )
    assert content(table) == [(4, "e", False)]


@pytest.mark.parametrize("left", [[], [2], [1, 2, 3, 9]])
def test_rows_whose_key_the_source_has_no_more_go(tmp_path: Path, left: list[int]) -> None:
    table = table_in(tmp_path, TINY)
    schema = pa.schema([("id", pa.int64()), ("v", pa.string())])
    load(
        table, Mode.APPEND, pa.RecordBatch.from_pylist([{"id": n, "v": "x"} for n in (1, 2, 3)], schema), "1"
    )
    keys = pa.RecordBatch.from_arrays([pa.array(left, pa.int64())], names=["id"])
    commit = load(table, Mode.MERGE, keys, "2", keys=("id",), vanished=True, allow_missing=True)
    assert content(table) == [(n, "x") for n in (1, 2, 3) if n in left]
    assert (commit.rows_added, commit.rows_removed) == (0, 3 - len({1, 2, 3} & {*left}))
    assert unknown_files(tmp_path) == set()
