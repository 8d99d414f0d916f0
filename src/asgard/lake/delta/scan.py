"""Streams rows of a snapshot: plain files by Arrow, predicates by DuckDB, the rest by Delta's reader."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from asgard.core.errors import QueryError
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.disk import translated
from asgard.lake.rewrite import rows_of

BATCH_ROWS = 1 << 16


def scan(snapshot: Snapshot, columns: list[str] | None, where: str | None) -> pa.RecordBatchReader:
    """The rows, in no order.

    Args:
        snapshot: which version.
        columns: which columns, in this order; None for all.
        where: a predicate in DuckDB's SQL; None for all rows.

    Raises:
        QueryError: a column that is not there, or a predicate that is no predicate.
    """
    wanted = snapshot.schema.names if columns is None else columns
    strange = [name for name in wanted if name not in snapshot.schema.names]
    if strange:
        raise QueryError(
            f"the table has no column {', '.join(strange)}", hint=f"it has {', '.join(snapshot.schema.names)}"
        )
    schema = pa.schema([snapshot.schema.field(name) for name in wanted])
    if where is None:
        return pa.RecordBatchReader.from_batches(schema, _plain(snapshot, schema))
    return pa.RecordBatchReader.from_batches(schema, _filtered(snapshot, schema, where))


def _plain(snapshot: Snapshot, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with translated({}):  # files are opened as they are read: a missing one is noticed here
        if not snapshot.is_flat:
            yield from snapshot.reader(schema.names)
            return
        mount = snapshot.mount()
        if mount.marked:
            yield from rows_of(snapshot.folder, list(mount.marked), schema, mount.marked.__getitem__)
        else:
            yield from rows_of(snapshot.folder, mount.files, schema)


def _filtered(snapshot: Snapshot, schema: pa.Schema, where: str) -> Iterator[pa.RecordBatch]:
    from asgard.transport import duck  # DuckDB, which whole tables are read without

    connection = duck.connect(filesystem=snapshot.folder.filesystem)
    try:
        with duck.translated():
            mount = snapshot.mount()
            counted = mount.marked if not duck.COUNTS & {*map(str.lower, snapshot.schema.names)} else ()
            if files := mount.files or tuple(counted):
                listed = ", ".join(map(duck.literal, files))
                source = f"read_parquet([{listed}], union_by_name = true)"
                there = duck.columns_of(connection, f"FROM {source}")
                floats = duck.replacing_floats([field for field in snapshot.schema if field.name in there])
                kept = duck.keeping(connection, "_asgard_gone", mount.marked) if mount.marked else ""
                source = f"(SELECT *{floats} FROM {source}{kept})"
            else:
                reader = mount.reader() if mount.reader is not None else schema.empty_table()
                connection.register("_asgard_rows", reader)
                source = "_asgard_rows"
            names = ", ".join(duck.identifier(name) for name in schema.names)
            # One statement, not relations put together: those keep Python's lock while they look at files,
            # for which a file system of ours would wait.
            found = connection.execute(f"SELECT {names} FROM {source} WHERE {duck.predicate(where)}")
            for batch in found.to_arrow_reader(BATCH_ROWS):
                yield batch.cast(schema)
    finally:
        connection.close()
