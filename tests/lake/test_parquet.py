"""Staged files: every type as it was, every edge of row groups and files, figures that never lie."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.core.types import canonical_schema, widened
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.testing import arrow
from asgard.testing.content import content_hash
from tests.lake.ground import SCHEMA, folder_of, load, rows, table_in, values

COUNT = itertools.count()


@st.composite
def any_batches(draw: st.DrawFn) -> pa.RecordBatch:
    return draw(arrow.batches(draw(arrow.schemas())))


def written(folder: Path, data: pa.RecordBatch, limits: Limits | None = None) -> list[dict[str, Any]]:
    """The figures of the files that the rows come to."""
    folder.mkdir(exist_ok=True)
    files = ParquetFiles(LocalFolder(folder), lambda: f"{next(COUNT)}.parquet", data.schema, limits)
    files.write(data)
    return [json.loads(file.stats, parse_float=Decimal) for file in files.finish()]


def row_groups(path: Path | str) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


# ---- content


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=any_batches())
def test_every_type_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, batch: pa.RecordBatch
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    table = table_in(lake)
    load(table, Mode.APPEND, batch, "1")
    for there, comes in zip(table.schema(), canonical_schema(batch.schema), strict=True):
        assert there.name == comes.name
        assert widened(there.type, comes.type)
        assert widened(comes.type, there.type)
    wanted = content_hash(batch, columns=batch.schema.names)
    assert content_hash(table.scan(), columns=batch.schema.names) == wanted
    theirs = pa.RecordBatchReader.from_stream(DeltaTable(folder_of(lake)).scan())
    assert content_hash(theirs, columns=batch.schema.names) == wanted


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 200, 201])
@pytest.mark.parametrize("step", [1, 7, 100, 1000])
def test_edges_of_row_groups(tmp_path: Path, count: int, step: int) -> None:
    pairs = [(number, f"{number}" * (number % 3)) for number in range(count)]
    table = table_in(tmp_path, Limits(row_group_rows=100))
    batches = [rows(pairs[start : start + step]) for start in range(0, count, step)] or [rows([])]
    with table.load(LoadRequest("s", Mode.APPEND, SCHEMA)) as one:
        one.publish(one.prepare([one.stage(iter(batches))]), Position("1"))
    assert content_hash(table.scan()) == content_hash(rows(pairs))
    sizes = [size for path in table.mount().files for size in row_groups(path)]
    assert sum(sizes) == count
    assert max(sizes, default=0) <= 100
    assert len(sizes) <= -(-count // 50)


@pytest.mark.parametrize("count", [9, 10, 11, 30, 31])
def test_edges_of_files(tmp_path: Path, count: int) -> None:
    pairs = [(number, f"{number}") for number in range(count)]
    table = table_in(tmp_path, Limits(row_group_rows=10, file_bytes=1))
    load(table, Mode.APPEND, rows(pairs), "1")
    assert len(table.mount().files) == -(-count // 10)
    assert content_hash(table.scan()) == content_hash(rows(pairs))


def test_row_groups_are_bounded_by_bytes(tmp_path: Path) -> None:
    wide = pa.record_batch({"v": ["x" * 10_000] * 1000})
    written(tmp_path / "t", wide, Limits(row_group_bytes=1 << 20))
    (file,) = (tmp_path / "t").glob("*.parquet")
    sizes = row_groups(file)
    assert sum(sizes) == 1000
    assert max(sizes) * 10_000 <= 1 << 20
    assert len(sizes) <= 11


def test_files_grow_with_tables_whose_rows_change() -> None:
    limits = Limits(table_bytes=0)
    sizes = [limits.next_file_bytes(written_bytes) >> 20 for written_bytes in (0, 1 << 30, 1 << 40)]
    assert sizes == [16, 32, 128]
    assert Limits().next_file_bytes(0) >> 20 == 128


# ---- figures


FIGURES: dict[str, tuple[pa.Array, Any, Any]] = {
    "int8": (pa.array([3, None, -4], pa.int8()), -4, 3),
    "int64": (pa.array([2**63 - 1, -(2**63)], pa.int64()), -(2**63), 2**63 - 1),
    "float": (pa.array([1.5, -0.25], pa.float64()), Decimal("-0.25"), Decimal("1.5")),
    "infinite": (pa.array([1.5, float("inf")], pa.float64()), None, None),
    "nan": (pa.array([1.5, float("nan")], pa.float32()), None, None),
    "decimal": (
        pa.array([Decimal("1" * 36 + ".25"), Decimal("-0.01")], pa.decimal128(38, 2)),
        Decimal("-0.01"),
        Decimal("1" * 36 + ".25"),
    ),
    "small decimal": (
        pa.array([Decimal("-7.5"), Decimal("2.25")], pa.decimal128(9, 2)),
        Decimal("-7.50"),
        Decimal("2.25"),
    ),
    "date": (pa.array([date(1, 1, 1), date(9999, 12, 31)]), "0001-01-01", "9999-12-31"),
    "far date": (pa.array([0, 2**30], pa.int32()).cast(pa.date32()), None, None),
    "instant": (
        pa.array([datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)], pa.timestamp("us", "UTC")),
        "1969-12-31T23:59:59.999999Z",
        "1969-12-31T23:59:59.999999Z",
    ),
    "naive": (pa.array([5], pa.int64()).cast(pa.timestamp("us")), "1970-01-01T00:00:00.000005", None),
    "far instant": (pa.array([2**62], pa.int64()).cast(pa.timestamp("us")), None, None),
    "text": (pa.array(["a", None, "a", "b"]), "a", "b"),
    "text in no order": (pa.array(["b", "a", None]), None, None),
    "long text": (pa.array(["a" * 100, "b" * 100]), "a" * 64, "b" * 64 + "\U0010ffff"),
    "highest text": (pa.array(["\U0010ffff" * 100]), None, None),
    "very long text": (pa.array(["a" * 5000]), None, None),
    "bytes": (pa.array([b"a"]), None, None),
    "boolean": (pa.array([True, False]), None, None),
    "nothing": (pa.array([None, None], pa.int32()), None, None),
    "list": (pa.array([[1]]), None, None),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_figures_are_exact_or_absent(tmp_path: Path, kind: str) -> None:
    array, low, high = FIGURES[kind]
    (figures,) = written(tmp_path / "t", pa.record_batch({"x": array}))
    assert figures["numRecords"] == len(array)
    assert figures.get("minValues", {}).get("x") == low
    assert figures.get("maxValues", {}).get("x") == (low if kind == "naive" else high)
    nulls = figures.get("nullCount", {}).get("x")
    assert nulls == (None if kind == "list" else array.null_count)


def test_figures_come_from_all_row_groups(tmp_path: Path) -> None:
    data = pa.record_batch({"x": pa.array([5, None, 9, 1, None, None], pa.int32())})
    (figures,) = written(tmp_path / "t", data, Limits(row_group_rows=2))
    assert figures == {"numRecords": 6, "minValues": {"x": 1}, "maxValues": {"x": 9}, "nullCount": {"x": 3}}


def test_a_nested_column_does_not_lend_its_figures_to_another(tmp_path: Path) -> None:
    data = pa.record_batch(
        {
            "s": pa.array([{"a": 1, "b": [{"c": 7}]}]),
            "s.a": pa.array([5]),
            "m": pa.array([[("k", 3)]], _map()),
        }
    )
    data = data.append_column("last", pa.array([8]))
    (figures,) = written(tmp_path / "t", data)
    assert figures["minValues"] == {"s.a": 5, "last": 8}


def test_only_the_first_columns_and_the_keys_are_told(tmp_path: Path) -> None:
    data = pa.record_batch({f"c{number}": pa.array([number]) for number in range(50)})
    (tmp_path / "t").mkdir()
    files = ParquetFiles(LocalFolder(tmp_path / "t"), lambda: "x.parquet", data.schema, keys=("c40",))
    files.write(data)
    (file,) = files.finish()
    assert list(json.loads(file.stats)["minValues"]) == [*(f"c{number}" for number in range(32)), "c40"]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=any_batches())
def test_no_value_lies_outside_of_its_figures(
    tmp_path_factory: pytest.TempPathFactory, batch: pa.RecordBatch
) -> None:
    """As another reader takes them out of the log: typed, next to the values that it reads."""
    lake = tmp_path_factory.mktemp("lake")
    table = table_in(lake, Limits(row_group_rows=3, file_bytes=1))
    load(table, Mode.APPEND, batch, "1")
    handle = DeltaTable(folder_of(lake))
    adds = pa.RecordBatchReader.from_stream(handle.get_add_actions(flatten=True)).read_all()
    for add in adds.to_batches():
        for row in range(add.num_rows):
            data = pq.ParquetFile(folder_of(lake) / add.column("path")[row].as_py()).read()
            assert add.column("num_records")[row].as_py() == data.num_rows
            for name in data.schema.names:
                _check_column(add, row, data.column(name), name)


def _check_column(add: pa.RecordBatch, row: int, column: pa.ChunkedArray, name: str) -> None:
    for figure, is_outside in (("min", pc.less), ("max", pc.greater)):
        index = add.schema.get_field_index(f"{figure}.{name}")
        bound = add.column(index)[row] if index >= 0 else None
        if bound is not None and bound.is_valid:
            assert not pc.any(is_outside(column, bound.cast(column.type))).as_py()
    index = add.schema.get_field_index(f"null_count.{name}")
    if index >= 0 and add.column(index)[row].is_valid:
        assert add.column(index)[row].as_py() == column.null_count


def test_predicates_of_other_readers_find_rows_by_the_figures(tmp_path: Path) -> None:
    table = table_in(tmp_path, Limits(row_group_rows=1, file_bytes=1))
    texts = ["a" * 70 + end for end in ("", "b", "\U0010ffff")] + ["é", "z"]
    load(table, Mode.APPEND, rows(list(enumerate(texts)), SCHEMA), "1")
    for number, text in enumerate(texts):
        found = DeltaTable(folder_of(tmp_path)).scan(predicate=f"v = '{text}'")
        assert values(pa.RecordBatchReader.from_stream(found).read_all()) == [(number, text)]


# ---- encodings


def test_encodings_follow_the_values(tmp_path: Path) -> None:
    many = 10_000
    data = pa.record_batch(
        {
            "number": pa.array(range(many)),
            "cent": pa.array(range(many)).cast(pa.decimal128(19, 0)).cast(pa.decimal128(18, 0)),
            "state": pa.array(["new", "sent"] * (many // 2)),
            "text": pa.array([f"{number}-{number}" for number in range(many)]),
            "noise": pa.array([Random(number).getrandbits(62) for number in range(many)]),
        }
    )
    written(tmp_path / "t", data)
    (file,) = (tmp_path / "t").glob("*.parquet")
    group = pq.read_metadata(file).row_group(0)
    found = {group.column(i).path_in_schema: set(group.column(i).encodings) for i in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in found["number"] & found["cent"]
    assert "RLE_DICTIONARY" in found["state"]
    assert not {"RLE_DICTIONARY", "DELTA_BINARY_PACKED"} & found["text"]
    # Consecutive numbers and texts get smaller; numbers without order do not, and are not tried again.
    assert [group.column(i).compression for i in range(5)] == ["ZSTD"] * 4 + ["UNCOMPRESSED"]


def test_a_key_has_bounds_whatever_its_order(tmp_path: Path) -> None:
    data = pa.record_batch({"k": pa.array(["b", "a", "c"]), "v": pa.array(["b", "a", "c"])})
    files = ParquetFiles(LocalFolder(tmp_path), lambda: "one.parquet", data.schema, keys=["k"])
    files.write(data)
    (file,) = files.finish()
    figures = json.loads(file.stats)
    assert (figures["minValues"], figures["maxValues"]) == ({"k": "a"}, {"k": "c"})
    assert figures["nullCount"] == {"k": 0, "v": 0}


def test_nulls_are_told_without_bounds_and_over_all_row_groups(tmp_path: Path) -> None:
    data = pa.record_batch({"v": pa.array(["b", "a", None, None, None, "c"])})
    (figures,) = written(tmp_path / "t", data, Limits(row_group_rows=2))
    assert figures == {"numRecords": 6, "nullCount": {"v": 3}}


def _map() -> pa.DataType:
    return pa.map_(pa.string(), pa.int64())
