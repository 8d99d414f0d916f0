"""Commits 1,000 rows again and again; CPU ms a commit at the first, at the 100th and at the 500th.

Arguments: HOW FOLDER COMMITS. HOW is `asgard`, `deltalake` (its handle opened anew for each commit, as a
process that comes and goes does) or `deltalake-kept`; `asgard-iceberg` or `pyiceberg`, on a SQLite catalog.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import deltalake
import pyarrow as pa

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Table
from asgard.lake.delta.lake import DeltaLake
from bench.workers.loads import NAME, request

Commit = Callable[[pa.RecordBatch, int], None]
ROWS = 1000
WINDOW = 20


def main(how: str, folder: str, commits: str) -> None:
    """The figures are means over twenty commits: each has one checkpoint."""
    commit = CONTENDERS[how](folder)
    milliseconds = []
    for number in range(int(commits)):
        rows = pa.record_batch(
            {
                "id": pa.array(range(number * ROWS, (number + 1) * ROWS), pa.int64()),
                "text": pa.array([f"row {number}-{row}" for row in range(ROWS)]),
            }
        )
        before = time.process_time()
        commit(rows, number)
        milliseconds.append((time.process_time() - before) * 1000)
    middle = len(milliseconds) // 3
    told = {
        "first_ms": milliseconds[1 : WINDOW + 1],
        "hundredth_ms": milliseconds[middle - WINDOW // 2 : middle + WINDOW // 2],
        "last_ms": milliseconds[-WINDOW:],
    }
    print(json.dumps({name: sum(values) / len(values) for name, values in told.items()}))


def _asgard(table: Table) -> Commit:
    def commit(rows: pa.RecordBatch, number: int) -> None:
        with table.load(request(rows.schema, Mode.APPEND)) as load:
            load.publish(load.prepare([load.stage([rows])]), Position().finished(str(number)))

    return commit


def _asgard_delta(folder: str) -> Commit:
    return _asgard(DeltaLake(Path(folder)).table(NAME))


def _asgard_iceberg(folder: str) -> Commit:
    from asgard.lake.iceberg.lake import IcebergLake

    return _asgard(IcebergLake(Path(folder)).table(NAME))


def _pyiceberg(folder: str) -> Commit:
    from pyiceberg.catalog import load_catalog

    Path(folder).mkdir(parents=True, exist_ok=True)
    catalog = load_catalog("own", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder)
    catalog.create_namespace("bronze")

    def commit(rows: pa.RecordBatch, number: int) -> None:
        if not number:
            catalog.create_table("bronze.commits", rows.schema)
        catalog.load_table("bronze.commits").append(pa.table(rows))

    return commit


def _deltalake(folder: str, kept: bool) -> Commit:
    path = Path(folder) / "table"
    handle: deltalake.DeltaTable | None = None

    def commit(rows: pa.RecordBatch, number: int) -> None:
        nonlocal handle
        target = handle if kept and handle else str(path)
        deltalake.write_deltalake(target, pa.table(rows), mode="append")
        if kept and handle is None:
            handle = deltalake.DeltaTable(path)

    return commit


CONTENDERS: dict[str, Callable[[str], Commit]] = {
    "asgard": _asgard_delta,
    "deltalake": partial(_deltalake, kept=False),
    "deltalake-kept": partial(_deltalake, kept=True),
    "asgard-iceberg": _asgard_iceberg,
    "pyiceberg": _pyiceberg,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
