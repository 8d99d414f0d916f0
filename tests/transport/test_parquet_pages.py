"""What a Parquet file takes to read is known before anything is unpacked (Promise 5)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from asgard.core.cancel import Cancel
from asgard.core.errors import DataError
from asgard.transport.files import find_files
from asgard.transport.parquet import parquet_schema, read_parquet
from asgard.transport.parquet_pages import pages

MEBIBYTE = 1 << 20
RAGGED = pa.table(
    {
        "n": pa.array(range(50_000), pa.int64()),
        "text": [None if i % 7 == 0 else f"value {i % 1000} " * (i % 13) for i in range(50_000)],
        "list": [[i, None] * (i % 3) for i in range(50_000)],
        "nothing": pa.nulls(50_000),
    }
)


def _batches(path: Path, batch_bytes: int, reader_bytes: int) -> list[pa.RecordBatch]:
    (file,) = find_files(path.parent, path.name)
    return list(read_parquet(file, [0], parquet_schema([file]), batch_bytes, Cancel(), reader_bytes))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_pages_are_told_as_they_lie(tmp_path: Path, version: str, checksums: bool, compression: str) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(
        RAGGED,
        path,
        compression=compression,
        data_page_version=version,
        data_page_size=20_000,
        dictionary_pagesize_limit=30_000,
        write_page_checksum=checksums,
    )
    group = pq.ParquetFile(path).metadata.row_group(0)
    with path.open("rb") as file:
        for number in range(group.num_columns):
            chunk = group.column(number)
            found = list(pages(file, chunk))
            assert sum(page.values for page in found if not page.is_dictionary) == chunk.num_values
            assert [page.is_dictionary for page in found[:1]] == [chunk.has_dictionary_page]
            bodies = sum(page.packed_bytes for page in found)
            assert 0 < chunk.total_compressed_size - bodies < 200 * len(found)
            assert 0 < chunk.total_uncompressed_size - sum(p.unpacked_bytes for p in found) < 200 * len(found)


def test_long_least_and_greatest_values_in_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    text = "x" * 100_000
    pq.write_table(pa.table({"t": [text, f"{text}y"]}), path, use_dictionary=False, compression="none")
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with path.open("rb") as file:
        (page,) = pages(file, chunk)
    assert (page.values, page.is_dictionary) == (2, False)
    assert page.unpacked_bytes > 200_000


@pytest.mark.parametrize("use_dictionary", [False, True])
def test_a_value_larger_than_the_memory_is_refused_before_it_is_there(
    tmp_path: Path, use_dictionary: bool
) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(
        pa.table({"id": [1], "v": ["x" * 300 * MEBIBYTE]}),
        path,
        compression="zstd",
        use_dictionary=use_dictionary,
    )
    assert path.stat().st_size < 100_000
    read = f"""
import resource
from pathlib import Path
from tests.transport.test_parquet_pages import _batches
from asgard.core.errors import DataError
try:
    _batches(Path({str(path)!r}), 1 << 20, 64 << 20)
except DataError as error:
    print(error.where["column"], error.what, error.hint, sep="\\n")
with open("/proc/self/status") as status:
    (peak,) = [line for line in status if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)
"""
    told = subprocess.run(
        [sys.executable, "-c", read], capture_output=True, text=True, timeout=60, check=True
    )
    column, what, hint, peak = told.stdout.splitlines()
    assert column == "v"
    assert "a page of 1 values, 314,57" in what
    assert "allow it with 52 times the memory" in hint
    assert int(peak) < 250


def test_what_is_refused_is_read_with_the_memory_that_the_hint_names(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"v": ["x" * 3 * MEBIBYTE]}), path, compression="zstd")
    with pytest.raises(DataError, match="34 times"):
        _batches(path, MEBIBYTE, MEBIBYTE)
    (batch,) = _batches(path, MEBIBYTE, 34 * MEBIBYTE)
    assert batch.column("v")[0].as_py() == "x" * 3 * MEBIBYTE


def test_a_large_row_group_of_ordinary_pages_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    table = pa.table({"v": [f"{i:0500d}" for i in range(60_000)]})
    pq.write_table(table, path, compression="zstd", row_group_size=60_000)
    batches = _batches(path, MEBIBYTE, 8 * MEBIBYTE)  # 30 MB in pages of 1 MiB
    assert pa.Table.from_batches(batches).equals(table)
    assert max(batch.nbytes for batch in batches) < 2 * MEBIBYTE


def test_rows_that_refer_to_a_wide_value_come_in_small_batches(tmp_path: Path) -> None:
    """600 kB of file, 2 GB of rows: the footer tells of 37 bytes for each."""
    path = tmp_path / "same.parquet"
    wide = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int8()), pa.array(["x" * 600_000]))
    pq.write_table(pa.table({"v": wide}), path, compression="none", store_schema=False)
    (file,) = find_files(tmp_path)
    rows = 0
    for batch in read_parquet(file, [0], pa.schema([("v", pa.string())]), 8 * MEBIBYTE, Cancel()):
        assert batch.nbytes < 9 * MEBIBYTE
        rows += batch.num_rows
        if rows > 100:
            return
    raise AssertionError("there were fewer rows than were written")


@pytest.mark.parametrize(
    "header", [b"", b"\x15", b"\xff" * 40, b"\x00" * 40, b"\x1c" * 4000, b"\x18\xff\xff\xff"]
)
def test_a_damaged_header_is_told_as_damage(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(header)

    class Chunk:
        data_page_offset = 0
        dictionary_page_offset: Any = None
        total_compressed_size = 100

    with path.open("rb") as file, pytest.raises(ValueError, match=r"page header|nested|number"):
        list(pages(file, Chunk()))


class OpenKeys(encryption.KmsClient):  # type: ignore[misc] # pyarrow ships no types
    """Keys are wrapped by not wrapping them."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return bytes.fromhex(wrapped_key)


def test_columns_that_are_encrypted_below_a_plain_footer(tmp_path: Path) -> None:
    """Arrow ends the whole process when it is asked about them."""
    path = tmp_path / "t.parquet"
    table = pa.table({"open": [1], "secret": ["s"]})
    wanted = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"k": ["secret"]}, plaintext_footer=True
    )
    keys = encryption.CryptoFactory(OpenKeys)
    properties = keys.file_encryption_properties(encryption.KmsConnectionConfig(), wanted)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="is encrypted"):
        _batches(path, MEBIBYTE, 64 * MEBIBYTE)
