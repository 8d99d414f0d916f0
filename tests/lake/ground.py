"""What the lake's tests stand on: a table, small loads into it, and its rows as plain Python values."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, LoadRequest, Mount, TableName
from asgard.lake.delta.deletion_vectors import named_in
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits

NAME = TableName("bronze", "shop", "orders")
STREAM = "public.orders"
SCHEMA = pa.schema([("id", pa.int64()), ("v", pa.string())])


def table_in(folder: Path, limits: Limits | None = None, name: TableName = NAME) -> LakeTable:
    table = DeltaLake(folder, limits).table(name)
    assert isinstance(table, LakeTable)
    return table


def folder_of(lake: Path) -> Path:
    return lake / "bronze" / "shop" / "orders"


def rows(pairs: Iterable[tuple[int, str]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    first, second = schema.names
    return pa.RecordBatch.from_pylist([{first: one, second: two} for one, two in pairs], schema)


def load(
    table: LakeTable,
    mode: Mode,
    batches: pa.RecordBatch | Sequence[pa.RecordBatch],
    token: str,
    *,
    stream: str = STREAM,
    aside: pa.RecordBatch | None = None,
    **wishes: Any,
) -> Commit:
    """One load from first to last; each batch is staged by a call of its own."""
    parts = [batches] if isinstance(batches, pa.RecordBatch) else list(batches)
    with table.load(LoadRequest(stream, mode, parts[0].schema, **wishes)) as one:
        staged = [one.stage([part]) for part in parts]
        set_aside = one.quarantine([aside]) if aside is not None else None
        before = one.position or Position()
        return one.publish(one.prepare(staged), before.finished(token), set_aside)


def token(table: LakeTable, stream: str = STREAM) -> str | None:
    position = table.position(stream)
    return position.token if position else None


def content(table: LakeTable, at: int | None = None) -> list[tuple[Any, ...]]:
    return values(table.scan(at=at).read_all())


def mounted(mount: Mount) -> list[tuple[Any, ...]]:
    """The rows of a mount; missing columns are null."""
    assert mount.reader is None
    parts = []
    for path in mount.files:
        part = pq.ParquetFile(path).read()
        for column in mount.schema:
            if column.name not in part.schema.names:
                part = part.append_column(column.name, pa.nulls(part.num_rows, column.type))
        parts.append(part.select(mount.schema.names))
    found = [row for part in parts for row in values(part)]
    assert mount.rows is None or mount.rows == len(found)
    return sorted(found, key=repr)


def values(data: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in data.to_pylist()), key=repr)


def set_aside(pairs: Iterable[tuple[int, str]], reason: str = "bad") -> pa.RecordBatch:
    batch = rows(pairs)
    return batch.append_column("_asgard_reason", pa.array([reason] * batch.num_rows, pa.string()))


def delta(lake: Path) -> DeltaTable:
    """The table as another hand opens it."""
    return DeltaTable(folder_of(lake))


def copy_of(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target)


def unknown_files(lake: Path) -> set[str]:
    """Data files and deletion vectors in the table's folder that no version of its log names."""
    folder = folder_of(lake)
    log = b"".join(path.read_bytes() for path in (folder / "_delta_log").glob("*.json"))
    vectors = {path.name for path in folder.glob("*.bin")} - named_in(log)
    return {path.name for path in folder.glob("*.parquet") if path.name not in log.decode()} | vectors
