"""A folder for the contract."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.files import FilesSource
from asgard.core.errors import ConfigError, DataError, QueryError
from asgard.testing.connectors import CursorWanted, Harness, Wanted


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    data = folder / "data"
    (data / "flights").mkdir(parents=True)
    for month in (1, 2):
        text = f"id,delay,carrier\n{month}1,1.5,007\n{month}2,,UA\n"
        (data / "flights" / f"{month}.csv.gz").write_bytes(gzip.compress(text.encode()))
    (data / "airports.jsonl").write_text('{"faa": "EWR"}\n')

    def add_rows() -> int:
        (data / "flights" / "3.csv.gz").write_bytes(gzip.compress(b"id,delay,carrier\n31,2,DL\n32,2,DL\n"))
        return 2

    (folder / "ragged").mkdir()
    (folder / "ragged" / "flights.csv").write_text("a,b\n1\n")
    (folder / "empty").mkdir()
    flights = Wanted("flights", {"path": "flights/*.csv.gz"}, rows=4)
    yield Harness(
        name="files",
        connector=FilesSource,
        config={"path": str(data)},
        stream=flights,
        bad_configs=(
            ({"path": str(folder / "dta")}, ConfigError),
            ({"path": str(folder / "empty")}, QueryError),
        ),
        cursor=CursorWanted(flights, "_file", add_rows),
    )
    with (
        Harness(
            "files", FilesSource, {"path": str(folder / "ragged")}, Wanted("flights"), bad_configs=()
        ).source() as source,
        pytest.raises(DataError, match="has 1 fields, the header has 2"),
    ):
        source.describe("flights")
