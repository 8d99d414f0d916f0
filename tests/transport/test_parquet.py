"""Parquet files that other writers left: old times, checksums."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import DataError
from asgard.transport.files import FoundFile, find_files
from asgard.transport.parquet import parquet_schema, read_parquet


def _found(path: Path) -> FoundFile:
    return find_files(path.parent, path.name)[0]


def _rows(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    file = _found(path)
    schema = schema or parquet_schema([file])
    return pa.Table.from_batches(list(read_parquet(file, [0], schema, 1 << 20, Cancel())), schema)


def _int96(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    return path


@pytest.mark.parametrize("nested", [False, True])
def test_int96_times_of_every_year(tmp_path: Path, nested: bool) -> None:
    times: list[Any] = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None]
    times += [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29, 1, 2, 3, 4)]
    kind: pa.DataType = pa.timestamp("us")
    if nested:
        kind = pa.list_(pa.struct([("at", kind)]))
        times = [[{"at": time}, {"at": None}] for time in times] + [None, []]
    table = pa.table({"id": range(len(times)), "t.x": pa.array(times, kind)})
    assert _rows(_int96(tmp_path / "t.parquet", table)).to_pylist() == table.to_pylist()


def test_int96_times_with_nanoseconds_are_not_cut(tmp_path: Path) -> None:
    nanos = [-1, 1_700_000_000_123_456_789, None, 0]
    path = _int96(tmp_path / "t.parquet", pa.table({"t": pa.array(nanos, pa.timestamp("ns"))}))
    with pytest.raises(DataError, match="columns"):
        _rows(path)
    text = _rows(path, pa.schema([("t", pa.string())]))
    assert text["t"].to_pylist()[:2] == ["1969-12-31 23:59:59.999999999", "2023-11-14 22:13:20.123456789"]


def test_a_page_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"v": [f"value {number}" for number in range(100)]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"value 42", b"value 24"))
    with pytest.raises(DataError, match="CRC"):
        _rows(path)
