"""apache/parquet-testing: every file is read as Arrow reads it, or refused with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import asgard
from asgard.connectors.files import FilesConfig, FilesSource
from asgard.core.errors import AsgardError, DataError
from asgard.core.stream import Selection
from asgard.testing.content import content_hash
from tests.reference.project import outcomes, project

REFUSED = {
    **dict.fromkeys(
        (
            "aes256/encrypt_columns_and_footer.parquet.encrypted",
            "aes256/encrypt_columns_and_footer_ctr.parquet.encrypted",
            "aes256/encrypt_columns_and_footer_disable_aad_storage.parquet.encrypted",
            "aes256/encrypt_columns_plaintext_footer.parquet.encrypted",
            "aes256/uniform_encryption.parquet.encrypted",
            "encrypt_columns_and_footer.parquet.encrypted",
            "encrypt_columns_and_footer_aad.parquet.encrypted",
            "encrypt_columns_and_footer_bloom_filter.parquet.encrypted",
            "encrypt_columns_and_footer_ctr.parquet.encrypted",
            "encrypt_columns_and_footer_disable_aad_storage.parquet.encrypted",
            "encrypt_columns_plaintext_footer.parquet.encrypted",
            "external_key_material_java.parquet.encrypted",
            "uniform_encryption.parquet.encrypted",
        ),
        "is encrypted",
    ),
    "datapage_v1-corrupt-checksum.parquet": "CRC checksum verification failed",
    "rle-dict-uncompressed-corrupt-checksum.parquet": "CRC checksum verification failed",
    "incorrect_map_schema.parquet": "Map keys must be annotated as required",
    # Its last time is in the year 290000, which Arrow reads as another one.
    "int96_from_spark.parquet": "INT96 times that cannot be read exactly",
    # 4 kB that unpack into two values of 1 GiB.
    "large_string_map.brotli.parquet": "has to be held whole",
}
"""File to what the refusal says."""


def files(reference: Path) -> dict[str, Path]:
    data = reference / "parquet-testing" / "data"
    found = {p.relative_to(data).as_posix(): p for p in data.rglob("*.parquet*") if p.suffix != ".json"}
    missing = set(REFUSED) - set(found)
    assert not missing, f"named here, and not there: {missing}"
    return dict(sorted(found.items()))


def plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def as_arrow_reads_it(path: Path) -> pa.Table:
    return pq.ParquetFile(path, coerce_int96_timestamp_unit="us").read()


def as_the_connector_reads_it(path: Path) -> pa.Table:
    with FilesSource(FilesConfig(path=str(path), format="parquet"), "s") as source:
        (listed,) = source.streams()
        stream = source.describe(listed.name)
        with source.plan([Selection(stream)], {}) as plan:
            batches = [batch for split in plan.splits for batch in source.read(split)]
        return pa.Table.from_batches(batches, stream.schema)


def test_the_connector_reads_every_file_or_refuses_it(reference: Path) -> None:
    wrong = {}
    for name, path in files(reference).items():
        try:
            got = as_the_connector_reads_it(path)
        except AsgardError as error:
            if REFUSED.get(name, "read") not in str(error) or not isinstance(error, DataError):
                wrong[name] = f"refused: {error!r} {error}"
            continue
        if name in REFUSED:
            wrong[name] = "is read now: the entry of REFUSED is stale"
        elif content_hash(got) != content_hash(as_arrow_reads_it(path)):
            wrong[name] = "has other content than Arrow reads"
    assert not wrong


@pytest.fixture(scope="module")
def loaded(
    reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[asgard.Project, dict[str, AsgardError | None]]:
    folder = reference / "parquet-testing" / "data"
    tables = [{"name": plain(name), "path": name, "format": "parquet"} for name in files(reference)]
    opened = project(tmp_path_factory.mktemp("parquet"), {"type": "files", "path": str(folder)}, tables)
    return opened, outcomes(opened)


def test_a_run_loads_every_file_or_refuses_it(
    reference: Path, loaded: tuple[asgard.Project, dict[str, AsgardError | None]]
) -> None:
    _, ended = loaded
    steps = {f"bronze.s.{plain(name)}": name for name in files(reference)}
    assert set(ended) == set(steps)
    wrong = {}
    for step, error in ended.items():
        reason = REFUSED.get(steps[step])
        if (error is None) != (reason is None) or (reason or "") not in str(error):
            wrong[steps[step]] = str(error)
    assert not wrong


def test_the_lake_holds_what_the_files_hold(
    reference: Path, loaded: tuple[asgard.Project, dict[str, AsgardError | None]]
) -> None:
    opened, _ = loaded
    wrong = {}
    for name, path in files(reference).items():
        if name in REFUSED:
            continue
        expected = as_arrow_reads_it(path)
        table = opened.table(f"bronze.s.{plain(name)}", backend="arrow")
        # Names that Delta forbids have another one in the lake, and keep their own in the metadata.
        originals = [
            (field.metadata or {}).get(b"asgard.name", field.name.encode()) for field in table.schema
        ]
        table = table.rename_columns([original.decode() for original in originals])
        if content_hash(table) != content_hash(expected):
            wrong[name] = f"{table.schema} {expected.schema}"
    assert not wrong


def test_a_file_cut_at_any_place_is_refused(reference: Path, tmp_path: Path) -> None:
    whole = (reference / "parquet-testing" / "data" / "alltypes_plain.snappy.parquet").read_bytes()
    cut = tmp_path / "cut.parquet"
    for size in range(0, len(whole), 37):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError):
            as_the_connector_reads_it(cut)
